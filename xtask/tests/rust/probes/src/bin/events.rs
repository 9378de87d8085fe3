//! Raw tracepoint and tracepoint: a ring buffer, a counter for each processor.
#![no_std]
#![no_main]

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{map, raw_tracepoint, tracepoint};
use aya_ebpf::maps::{PerCpuArray, RingBuf};
use aya_ebpf::programs::{RawTracePointContext, TracePointContext};

#[repr(C)]
pub struct Event {
    pub id: u32,
    pub pid: u32,
}

#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

#[map]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(2, 0);

#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn raw_enter(_: RawTracePointContext) -> i32 {
    report(0)
}

#[tracepoint]
pub fn enter(_: TracePointContext) -> u32 {
    report(1) as u32
}

#[inline(never)]
fn report(id: u32) -> i32 {
    if let Some(count) = COUNTS.get_ptr_mut(id) {
        unsafe { *count += 1 };
    }
    if let Some(mut entry) = EVENTS.reserve::<Event>(0) {
        entry.write(Event { id, pid: (bpf_get_current_pid_tgid() >> 32) as u32 });
        entry.submit(0);
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
