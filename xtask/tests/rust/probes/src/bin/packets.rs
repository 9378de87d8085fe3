//! XDP: a parser of headers, and a trie of addresses that are counted and passed on.
#![no_std]
#![no_main]

use core::mem::size_of;

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{Array, LpmTrie};
use aya_ebpf::programs::XdpContext;

#[repr(C)]
struct Ethernet {
    addresses: [u8; 12],
    kind: u16,
}

#[repr(C)]
struct Ipv4 {
    before: [u8; 12],
    source: [u8; 4],
}

/// What is in a packet. Its BTF is that of an enum with data.
enum Packet {
    Ipv4([u8; 4]),
    Other,
}

#[map]
static KNOWN: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(16, 1);

/// Packets from known addresses, from others, and of another kind.
#[map]
static PACKETS: Array<u64> = Array::with_max_entries(3, 0);

#[xdp]
pub fn packets(context: XdpContext) -> u32 {
    let index = match parse(&context) {
        Some(Packet::Ipv4(source)) if KNOWN.get(Key::new(32, source)).is_some() => 0,
        Some(Packet::Ipv4(_)) => 1,
        Some(Packet::Other) | None => 2,
    };
    if let Some(count) = PACKETS.get_ptr_mut(index) {
        unsafe { *count += 1 };
    }
    XDP_PASS
}

fn parse(context: &XdpContext) -> Option<Packet> {
    let ethernet: *const Ethernet = at(context, 0)?;
    match u16::from_be(unsafe { (*ethernet).kind }) {
        0x0800 => {
            let ipv4: *const Ipv4 = at(context, size_of::<Ethernet>())?;
            Some(Packet::Ipv4(unsafe { (*ipv4).source }))
        }
        _ => Some(Packet::Other),
    }
}

#[inline(always)]
fn at<T>(context: &XdpContext, offset: usize) -> Option<*const T> {
    let begin = context.data() + offset;
    (begin + size_of::<T>() <= context.data_end()).then_some(begin as *const T)
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
