//! Bindings for the BPF object `not_aya`, written by `cargo xtask bpf`.
//!
//! object 12ab not_aya_bpfeb.o
//! object 12ab not_aya_bpfel.o
#![cfg_attr(rustfmt, rustfmt_skip)]
#![allow(
    dead_code, non_camel_case_types, non_snake_case, non_upper_case_globals, unused_imports, unused_qualifications,
    reason = "names are those of C, and not all of them are used"
)]
#![allow(
    clippy::cast_lossless, clippy::doc_markdown, clippy::iter_not_returning_iterator,
    clippy::large_types_passed_by_value, clippy::len_without_is_empty, clippy::missing_errors_doc,
    clippy::module_inception, clippy::new_ret_no_self, clippy::pub_underscore_fields, clippy::should_implement_trait,
    clippy::similar_names, clippy::struct_field_names, clippy::trivially_copy_pass_by_ref, clippy::unreadable_literal,
    clippy::upper_case_acronyms, clippy::wrong_self_convention,
    reason = "the same, and what one user needs, another does not"
)]

/// What it needs of a kernel.
pub const KERNEL_NEEDS: ::bpfship_embed::KernelNeeds = ::bpfship_embed::KernelNeeds {
    oldest: Some((6, 9)),
    btf: false,
    features: &[
        ("6.9", "casts between address spaces"),
        ("6.9", "map type arena"),
        ("6.1", "map type user_ringbuf"),
        ("5.2", "global variables"),
        ("4.17", "raw_tp/… programs"),
        ("4.12", "map type array_of_maps"),
        ("4.2", "map type prog_array"),
        ("3.19", "map type array"),
    ],
};

/// The object for this target.
///
/// aya 0.14 does not set `__kconfig` variables, and refuses an object that reads one.
///
/// aya 0.14 looks up nothing of the kernel's by its name (`__ksym`), and refuses an object that does.
///
/// aya 0.14 knows no variables in an arena, and refuses an object that uses one.
///
/// aya 0.14 leaves the map `outer` empty, in which the source has others (`.values`).
///
/// aya 0.14 refuses an object with a map of programs that has `values`, as `jumps` does.
#[must_use]
pub fn object() -> &'static [u8] {
    ::bpfship_embed::embed!("not_aya")
}

/// Gives the object to the kernel: its maps now, its programs when they are attached.
///
/// Variables get their values from `overrides`.
pub fn load(overrides: &globals::Overrides) -> ::core::result::Result<::aya::Ebpf, ::aya::EbpfError> {
    let mut loader = ::aya::EbpfLoader::new();
    overrides.apply(&mut loader);
    loader.allow_unsupported_maps();
    loader.load(object())
}

/// The global variables: those that are not `static`.
pub mod globals {
    ::bpfship_embed::overrides! {
        list "list": u64,
        version "version": u32,
    }
    // `large` is too large to be set at once.

    // `.bss` has 131084 bytes, too many to be read at once.
}

/// The maps, each with its name and a typed handle.
pub mod maps {
    /// The map `arena`: arena
    ///
    /// aya 0.14 creates it, and has no type for it.
    pub mod arena {
        pub const NAME: &str = "arena";
    }

    /// The map `inner`: array
    pub mod inner {
        pub const NAME: &str = "inner";
        pub type Key = u32;
        pub type Value = u64;
        ::bpfship_embed::map!(Array, Value);
    }

    /// The map `jumps`: prog_array
    pub mod jumps {
        pub const NAME: &str = "jumps";
        ::bpfship_embed::map!(ProgramArray);
    }

    /// The map `outer`: array_of_maps
    pub mod outer {
        pub const NAME: &str = "outer";
        ::bpfship_embed::map!(ArrayOfMaps, ::aya::maps::MapData);
    }

    /// The map `requests`: user_ringbuf
    ///
    /// aya 0.14 creates it, and has no type for it.
    pub mod requests {
        pub const NAME: &str = "requests";
        pub type Value = super::super::Node;
    }
}

/// The programs, each with its name and a typed handle.
pub mod programs {
    /// The program `walks`, in section `raw_tp/sys_enter`
    pub mod walks {
        pub const NAME: &str = "walks";
        pub const SECTION: &str = "raw_tp/sys_enter";
        ::bpfship_embed::program!(RawTracePoint, raw_trace_point::RawTracePointLinkId, attach("sys_enter"));
    }
}

::bpfship_embed::plain_struct! {
    /// `struct node`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Node: size 16, align 8 {
        next: u64 = 0,
        value: u64 = 8,
    }
}
