//! Embeds checked-in BPF objects in a Rust program, and refuses those that do not match their sources.
#![doc = include_str!("../README.md")]
#![allow(clippy::needless_doctest_main, reason = "the README shows a whole build script")]

mod bindings;
mod bundle;
mod lock;
mod perf_buffers;
mod plain;

#[cfg(feature = "check")]
mod check;

pub use bundle::{Bundle, Found, Kernel, NoBtf, arch_in_path, bundle_for};
#[cfg(feature = "check")]
pub use check::{Error, Object, check, verify};
pub use lock::{Lock, is_source, is_source_folder};
pub use perf_buffers::{NoRingBuffer, with_perf_buffers};
pub use plain::{Bits, KernelNeeds, Plain, Record, WrongRecord, bits, bytes, get, get_begin, set, set_bits, view};

/// The bytes of an object, followed by zeros up to a multiple of 8, at an address from which a loader may read ELF
/// structs in place. For [`embed!`] only.
#[doc(hidden)]
#[repr(C, align(8))]
pub struct Aligned<const N: usize>(pub [u8; N]);

impl<const N: usize> Aligned<N> {
    /// `N` is the object's length rounded up to 8, so that the padding is zeros and not whatever a compiler leaves.
    pub const fn new(object: &[u8]) -> Self {
        assert!(N == object.len().next_multiple_of(8));
        let mut bytes = [0; N];
        bytes.split_at_mut(object.len()).0.copy_from_slice(object);
        Self(bytes)
    }
}

/// Embeds an object that the build script checked, and gives its bytes as `&'static [u8]`: `embed!("tick")` is
/// `objects/tick_bpfel.o` on a little-endian target, and `objects/tick_bpfeb.o` on a big-endian one; or that for the
/// architecture alone, such as `objects/tick_x86_bpfel.o`, if its source has one for each.
///
/// It is aligned to 8 bytes, in the ELF section `.bpf.tick`, where `cargo xtask dist` finds it again and compares it
/// with `bpf.lock`. Embed each object in one place: a second time would double the section.
#[macro_export]
macro_rules! embed {
    ($name:literal) => {{
        const OBJECT: &[u8] = include_bytes!(concat!(
            env!(
                "BPFSHIP_OBJECTS",
                "no build script has checked the BPF objects: call bpfship_embed::check in build.rs"
            ),
            "/",
            $name,
            ".o"
        ));
        #[used]
        #[unsafe(link_section = concat!(".bpf.", $name))]
        static EMBEDDED: $crate::Aligned<{ OBJECT.len().next_multiple_of(8) }> = $crate::Aligned::new(OBJECT);
        let bytes: &'static [u8] = EMBEDDED.0.split_at(OBJECT.len()).0;
        bytes
    }};
}

/// The BTF of kernels that the build script checked, for this architecture, as a [`Bundle`]: an empty one, if there is none.
///
/// It is in the ELF section `.btf.bundle`, where `cargo xtask dist` finds it again. Embed it in one place: a second time would double
/// it.
#[macro_export]
macro_rules! btf {
    () => {{
        const BYTES: &[u8] = include_bytes!(concat!(
            env!(
                "BPFSHIP_OBJECTS",
                "no build script has checked the BPF objects: call bpfship_embed::check in build.rs"
            ),
            "/btf"
        ));
        #[unsafe(link_section = ".btf.bundle")]
        static EMBEDDED: $crate::Aligned<{ BYTES.len().next_multiple_of(8) }> = $crate::Aligned::new(BYTES);
        $crate::Bundle::new(EMBEDDED.0.split_at(BYTES.len()).0)
    }};
}

/// The objects of this target that the build script checked, as `[(&str, &str); N]`: the name (`tick_bpfel`) and the
/// SHA-256 of each, in the order of the names.
#[macro_export]
macro_rules! objects {
    () => {
        include!(concat!(
            env!(
                "BPFSHIP_OBJECTS",
                "no build script has checked the BPF objects: call bpfship_embed::check in build.rs"
            ),
            "/objects.rs"
        ))
    };
}
