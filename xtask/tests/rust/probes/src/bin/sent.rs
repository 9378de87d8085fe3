//! What a cgroup sends: counted in bytes, for each processor.
#![no_std]
#![no_main]

use aya_ebpf::macros::{cgroup_skb, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::SkBuffContext;

#[map]
static BYTES: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

#[cgroup_skb(egress)]
pub fn sent(context: SkBuffContext) -> i32 {
    if let Some(bytes) = BYTES.get_ptr_mut(0) {
        unsafe { *bytes += u64::from(context.len()) };
    }
    1
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
