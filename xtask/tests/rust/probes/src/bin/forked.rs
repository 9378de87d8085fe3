//! A tracepoint with the types of the kernel's BTF: how often a process was made, and by which one. C finds that in the task.
#![no_std]
#![no_main]

use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::BtfTracePointContext;

#[map]
static FORKS: Array<u64> = Array::with_max_entries(2, 0);

unsafe extern "C" {
    fn task_tgid(task: *const c_void) -> i32;
}

#[btf_tracepoint(function = "sched_process_fork")]
pub fn forked(context: BtfTracePointContext) -> i32 {
    if let Some(count) = FORKS.get_ptr_mut(0) {
        unsafe { *count += 1 };
    }
    let parent = unsafe { task_tgid(context.arg(0)) };
    if let (Some(by), true) = (FORKS.get_ptr_mut(1), parent == context.tgid() as i32) {
        unsafe { *by = parent as u64 };
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
