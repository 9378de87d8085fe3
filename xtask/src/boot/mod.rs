//! Real kernels under QEMU: which kernels are known, how they are fetched or built, and what a guest does.

pub mod console;
pub mod facts;
pub mod guest_package;
pub mod initramfs;
pub mod kernel_image;
pub mod kernels;
pub mod machines;
pub mod memory;
pub mod plan;
pub mod run;
pub mod select;
pub mod verdict;
