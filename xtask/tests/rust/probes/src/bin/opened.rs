//! A kprobe that hands on the second argument of a function of the kernel: registers differ between architectures.
#![no_std]
#![no_main]

use aya_ebpf::macros::{kprobe, map};
use aya_ebpf::maps::RingBuf;
use aya_ebpf::programs::ProbeContext;

#[map]
static NAMES: RingBuf = RingBuf::with_byte_size(4096, 0);

#[kprobe]
pub fn opened(context: ProbeContext) -> u32 {
    let Some(name) = context.arg::<u64>(1) else { return 1 };
    let _ = NAMES.output::<u64>(name, 0);
    0
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
