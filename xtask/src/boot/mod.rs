//! Real kernels under QEMU: which there are, how they are got, and what a guest there does.

pub mod console;
pub mod facts;
pub mod initramfs;
pub mod kernel_image;
pub mod kernels;
pub mod machines;
pub mod memory;
pub mod plan;
pub mod run;
pub mod select;
pub mod verdict;
