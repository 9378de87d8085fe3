//! Bindings for the BPF object `floats`, written by `cargo xtask bpf`.
//!
//! object 12ab floats_bpfeb.o
//! object 12ab floats_bpfel.o
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
    oldest: Some((5, 8)),
    btf: false,
    features: &[
        ("5.8", "map type ringbuf"),
        ("4.17", "raw_tp/… programs"),
        ("3.19", "map type array"),
        ("3.19", "map type hash"),
    ],
};

/// The object for this target.
#[must_use]
pub fn object() -> &'static [u8] {
    ::bpfship_embed::embed!("floats")
}

/// Gives the object to the kernel: its maps now, its programs when they are attached.
///
/// Variables get their values from `overrides`.
pub fn load(overrides: &globals::Overrides) -> ::core::result::Result<::aya::Ebpf, ::aya::EbpfError> {
    let mut loader = ::aya::EbpfLoader::new();
    overrides.apply(&mut loader);
    loader.load(object())
}

/// The global variables: those that are not `static`.
pub mod globals {
    ::bpfship_embed::overrides! {
        half "half": f64,
        thirds "thirds": [f32; 2],
    }

    ::bpfship_embed::plain_struct! {
        /// The variables in `.data`
        pub struct Data: size 8, align 8 {
            half: f64 = 0,
        }
    }
    ::bpfship_embed::section!(data, ".data", 8 bytes, Data);

    ::bpfship_embed::plain_struct! {
        /// The variables in `.rodata`
        pub struct Rodata: size 8, align 8 {
            thirds: [f32; 2] = 0,
        }
    }
    ::bpfship_embed::section!(rodata, ".rodata", 8 bytes, Rodata);
}

/// The maps, each with its name and a typed handle.
pub mod maps {
    /// The map `average`: array
    pub mod average {
        pub const NAME: &str = "average";
        pub type Key = u32;
        ::bpfship_embed::plain_struct! {
            /// aya 0.14 takes floats in a struct only.
            pub struct Value: size 8, align 8 { value: f64 = 0 }
        }
        ::bpfship_embed::map!(Array, Value);
    }

    /// The map `events`: ringbuf
    pub mod events {
        pub const NAME: &str = "events";
        pub type Event = f64;
        ::bpfship_embed::ring_buffer!(Event);
    }

    /// The map `places`: hash
    pub mod places {
        pub const NAME: &str = "places";
        ::bpfship_embed::plain_struct! {
            /// aya 0.14 takes floats in a struct only.
            pub struct Key: size 8, align 4 { key: [f32; 2] = 0 }
        }
        ::bpfship_embed::plain_struct! {
            /// aya 0.14 takes floats in a struct only.
            pub struct Value: size 24, align 4 { value: [[f32; 2]; 3] = 0 }
        }
        ::bpfship_embed::map!(HashMap, Key, Value);
    }
}

/// The programs, each with its name and a typed handle.
pub mod programs {
    /// The program `nothing`, in section `raw_tp/sys_enter`
    pub mod nothing {
        pub const NAME: &str = "nothing";
        pub const SECTION: &str = "raw_tp/sys_enter";
        ::bpfship_embed::program!(RawTracePoint, raw_trace_point::RawTracePointLinkId, attach("sys_enter"));
    }
}
