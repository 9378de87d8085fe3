//! A tracepoint with the types of the kernel's BTF: how often a process was made.
#![no_std]
#![no_main]

use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::BtfTracePointContext;

#[map]
static FORKS: Array<u64> = Array::with_max_entries(1, 0);

#[btf_tracepoint(function = "sched_process_fork")]
pub fn forked(_: BtfTracePointContext) -> i32 {
    if let Some(count) = FORKS.get_ptr_mut(0) {
        unsafe { *count += 1 };
    }
    0
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
