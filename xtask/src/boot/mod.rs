//! Real kernels under QEMU: which there are, how they are got, and what a guest there does.

pub mod console;
pub mod facts;
pub mod guest;
pub mod initramfs;
pub mod kernel_image;
pub mod kernels;
pub mod machines;
pub mod plan;
pub mod verdict;
