//! Bindings for the BPF object `layouts`, written by `cargo xtask bpf`.
//!
//! object 12ab layouts_bpfeb.o
//! object 12ab layouts_bpfel.o
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
        ("5.2", "global variables"),
        ("4.17", "raw_tp/… programs"),
        ("4.11", "map type lpm_trie"),
        ("4.3", "map type perf_event_array"),
        ("4.1", "kprobe/… programs"),
        ("3.19", "helper map_lookup_elem"),
        ("3.19", "map type array"),
        ("3.19", "map type hash"),
    ],
};

/// The object for this target.
#[must_use]
pub fn object() -> &'static [u8] {
    ::bpfship_embed::embed!("layouts")
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
        counters "counters": [u64; 3],
        odd_names_value "odd_names_value": super::OddNames,
        unused_flexible "unused_flexible": u64,
        unused_wide "unused_wide": u64,
        bits_value "bits_value": super::Bits,
        enums_value "enums_value": super::Enums,
        keywords_value "keywords_value": super::Keywords,
        numbers_value "numbers_value": super::Numbers,
        odd "odd": u8,
        packed_bits_value "packed_bits_value": super::PackedBits,
        packed_value "packed_value": super::Packed,
        unions_value "unions_value": super::Unions,
        own_section "own_section": u32,
        limit "limit": u32,
        long_value "long_value": [u8; 48],
        probe_bits "probe_bits": [u32; 5],
        probe_enums "probe_enums": [u32; 9],
        probe_event "probe_event": [u32; 13],
        probe_flexible "probe_flexible": [u32; 4],
        probe_foo_bar "probe_foo_bar": [u32; 4],
        probe_keywords "probe_keywords": [u32; 14],
        probe_looks_aligned "probe_looks_aligned": [u32; 4],
        probe_number "probe_number": [u32; 4],
        probe_numbers "probe_numbers": [u32; 18],
        probe_packed "probe_packed": [u32; 6],
        probe_packed_bits "probe_packed_bits": [u32; 3],
        probe_padded "probe_padded": [u32; 7],
        probe_unions "probe_unions": [u32; 13],
        probe_wide "probe_wide": [u32; 3],
        probe_with_packed "probe_with_packed": [u32; 6],
        probe_with_wide "probe_with_wide": [u32; 5],
        verbose "verbose": u8,
    }

    ::bpfship_embed::plain_struct! {
        /// The variables in `.bss`
        #[derive(PartialEq, Eq, Hash)]
        pub struct Bss: size 128, align 8 {
            #[doc(hidden)]
            padding_0: [u8; 64] = 0,
            counters: [u64; 3] = 64,
            unused_flexible: u64 = 88,
            unused_wide: u64 = 96,
            odd_names_value: super::OddNames = 104,
            #[doc(hidden)]
            padding_124: [u8; 4] = 124,
        }
    }
    ::bpfship_embed::section!(bss, ".bss", 128 bytes, Bss);

    ::bpfship_embed::plain_struct! {
        /// The variables in `.data`
        pub struct Data: size 392, align 8 {
            bits_value: super::Bits = 0,
            packed_bits_value: super::PackedBits = 24,
            packed_value: super::Packed = 40,
            #[doc(hidden)]
            padding_93: [u8; 3] = 93,
            unions_value: super::Unions = 96,
            enums_value: super::Enums = 184,
            numbers_value: super::Numbers = 224,
            keywords_value: super::Keywords = 336,
            odd: u8 = 384,
            #[doc(hidden)]
            padding_385: [u8; 7] = 385,
        }
    }
    ::bpfship_embed::section!(data, ".data", 392 bytes, Data);

    ::bpfship_embed::plain_struct! {
        /// The variables in `.data.own`
        #[derive(PartialEq, Eq, Hash)]
        pub struct DataOwn: size 8, align 8 {
            own_section: u32 = 0,
            #[doc(hidden)]
            padding_4: [u8; 4] = 4,
        }
    }
    ::bpfship_embed::section!(data_own, ".data.own", 4 bytes, DataOwn);

    ::bpfship_embed::plain_struct! {
        /// The variables in `.rodata`
        #[derive(PartialEq, Eq, Hash)]
        pub struct Rodata: size 536, align 8 {
            probe_padded: [u32; 7] = 0,
            probe_wide: [u32; 3] = 28,
            probe_with_wide: [u32; 5] = 40,
            probe_packed: [u32; 6] = 60,
            probe_looks_aligned: [u32; 4] = 84,
            probe_with_packed: [u32; 6] = 100,
            probe_enums: [u32; 9] = 124,
            probe_bits: [u32; 5] = 160,
            probe_packed_bits: [u32; 3] = 180,
            probe_number: [u32; 4] = 192,
            probe_unions: [u32; 13] = 208,
            probe_keywords: [u32; 14] = 260,
            probe_foo_bar: [u32; 4] = 316,
            probe_numbers: [u32; 18] = 332,
            probe_flexible: [u32; 4] = 404,
            probe_event: [u32; 13] = 420,
            #[doc(hidden)]
            padding_472: [u8; 8] = 472,
            limit: u32 = 480,
            /// A `bool`: 0 or 1
            verbose: u8 = 484,
            #[doc(hidden)]
            padding_485: [u8; 3] = 485,
            long_value: [u8; 48] = 488,
        }
    }
    ::bpfship_embed::section!(rodata, ".rodata", 536 bytes, Rodata);
}

/// The maps, each with its name and a typed handle.
pub mod maps {
    /// The map `events`: ringbuf
    pub mod events {
        pub const NAME: &str = "events";
        pub type Event = super::super::Event;
        ::bpfship_embed::ring_buffer!(Event);
    }

    /// The map `match`: hash
    pub mod r#match {
        pub const NAME: &str = "match";
        pub type Key = super::super::MatchKey;
        pub type Value = super::super::MatchValue;
        ::bpfship_embed::map!(HashMap, Key, Value);
    }

    /// The map `routes`: lpm_trie
    pub mod routes {
        pub const NAME: &str = "routes";
        pub type Key = [u8; 4];
        pub type Value = super::super::Flexible;
        ::bpfship_embed::map!(LpmTrie, Key, Value);
    }

    /// The map `samples`: perf_event_array
    pub mod samples {
        pub const NAME: &str = "samples";
        ::bpfship_embed::map!(PerfEventArray);
    }

    /// The map `untyped`: hash
    pub mod untyped {
        pub const NAME: &str = "untyped";
        pub type Key = [u8; 6];
        pub type Value = [u8; 10];
        ::bpfship_embed::map!(HashMap, Key, Value);
    }
}

/// The programs, each with its name and a typed handle.
pub mod programs {
    /// The program `loop`, in section `raw_tp/sys_enter`
    pub mod r#loop {
        pub const NAME: &str = "loop";
        pub const SECTION: &str = "raw_tp/sys_enter";
        ::bpfship_embed::program!(RawTracePoint, raw_trace_point::RawTracePointLinkId, attach("sys_enter"));
    }

    /// The program `type`, in section `kprobe/do_unlinkat`
    pub mod r#type {
        pub const NAME: &str = "type";
        pub const SECTION: &str = "kprobe/do_unlinkat";
        ::bpfship_embed::program!(KProbe, kprobe::KProbeLinkId, attach("do_unlinkat", 0));
    }
}

::bpfship_embed::plain_struct! {
    /// `struct bits`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Bits: size 24, align 8 {
        /// `a`, `b`
        bytes_0: [u8; 1] = 0,
        /// `c`, `d`
        bytes_1: [u8; 2] = 1,
        #[doc(hidden)]
        padding_3: [u8; 1] = 3,
        e: u32 = 4,
        f: u16 = 8,
        /// `g`
        bytes_10: [u8; 5] = 10,
        #[doc(hidden)]
        padding_15: [u8; 1] = 15,
        /// `h`
        bytes_16: [u8; 3] = 16,
        i: u8 = 19,
        /// `j`
        bytes_20: [u8; 1] = 20,
        /// A `bool`: 0 or 1
        k: u8 = 21,
        /// `last`
        bytes_22: [u8; 1] = 22,
        #[doc(hidden)]
        padding_23: [u8; 1] = 23,
    }
}
::bpfship_embed::bit_field!(Bits.bytes_0[0..1] from 0, 3 bits: u32, a, set_a);
::bpfship_embed::bit_field!(Bits.bytes_0[0..1] from 3, 5 bits: i32, b, set_b);
::bpfship_embed::bit_field!(Bits.bytes_1[0..1] from 4, 1 bits: bool, c, set_c);
::bpfship_embed::bit_field!(Bits.bytes_1[0..2] from 5, 4 bits: Negative, d, set_d);
::bpfship_embed::bit_field!(Bits.bytes_10[0..5] from 0, 40 bits: u64, g, set_g);
::bpfship_embed::bit_field!(Bits.bytes_16[0..3] from 0, 24 bits: u64, h, set_h);
::bpfship_embed::bit_field!(Bits.bytes_20[0..1] from 0, 7 bits: u32, j, set_j);
::bpfship_embed::bit_field!(Bits.bytes_22[0..1] from 0, 2 bits: u8, last, set_last);

::bpfship_embed::plain_struct! {
    /// `struct Bool`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Bool: size 1, align 1 {
        /// `yes`
        bytes_0: [u8; 1] = 0,
    }
}
::bpfship_embed::bit_field!(Bool.bytes_0[0..1] from 0, 1 bits: bool, yes, set_yes);

::bpfship_embed::plain_struct! {
    /// `struct empty`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Empty: size 0, align 1 {
    }
}

::bpfship_embed::plain_struct! {
    /// `union empty_union`
    #[derive(PartialEq, Eq, Hash)]
    pub struct EmptyUnion: size 0, align 1 {
    }
}

::bpfship_embed::plain_struct! {
    /// `struct enums`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Enums: size 40, align 8 {
        a: Small = 0,
        #[doc(hidden)]
        padding_1: [u8; 3] = 1,
        b: Negative = 4,
        c: UnsignedKind = 8,
        #[doc(hidden)]
        padding_12: [u8; 4] = 12,
        d: Large = 16,
        e: LargeNegative = 24,
        state: EnumsState = 32,
        list: [Small; 3] = 36,
        #[doc(hidden)]
        padding_39: [u8; 1] = 39,
    }
}

::bpfship_embed::plain_enum! {
    /// The enum `enums.state`
    pub enum EnumsState: u32, align 4 {
        STATE_OFF = 0,
        STATE_ON = 1,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct event`
    pub struct Event: size 832, align 8 {
        padded: Padded = 0,
        #[doc(hidden)]
        padding_40: [u8; 24] = 40,
        with_wide: WithWide = 64,
        packed: Packed = 256,
        #[doc(hidden)]
        padding_309: [u8; 3] = 309,
        with_packed: WithPacked = 312,
        enums: Enums = 440,
        bits: Bits = 480,
        packed_bits: PackedBits = 504,
        unions: Unions = 520,
        keywords: Keywords = 608,
        foo_bar: foo_bar = 656,
        numbers: Numbers = 688,
        #[doc(hidden)]
        padding_800: [u8; 32] = 800,
    }
}

::bpfship_embed::plain_enum! {
    /// `enum fixed`
    pub enum Fixed: u8, align 1 {
        FIXED = 255,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct flexible`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Flexible: size 8, align 8 {
        length: u32 = 0,
        kind: u8 = 4,
        #[doc(hidden)]
        padding_5: [u8; 3] = 5,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct fooBar`
    #[derive(PartialEq, Eq, Hash)]
    pub struct FooBar: size 16, align 8 {
        a: foo_bar_struct = 0,
        #[doc(hidden)]
        padding_1: [u8; 7] = 1,
        b: u64 = 8,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct globals`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Globals: size 12, align 4 {
        result: Result = 0,
        #[doc(hidden)]
        padding_1: [u8; 3] = 1,
        low: u64_struct = 4,
        high: U64 = 8,
        #[doc(hidden)]
        padding_10: [u8; 2] = 10,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct keywords`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Keywords: size 48, align 8 {
        r#type: u32 = 0,
        self_: u32 = 4,
        Self_: u32 = 8,
        super_: u32 = 12,
        crate_: u32 = 16,
        r#match: u32 = 20,
        r#gen: u32 = 24,
        __: u32 = 28,
        /// `fn`, `impl`
        bytes_32: [u8; 4] = 32,
        padding_36: u32 = 36,
        align: u64 = 40,
    }
}
::bpfship_embed::member!(Keywords.bytes_32 at 0: u32, r#fn, set_fn);
::bpfship_embed::member!(Keywords.bytes_32 at 0: u32, r#impl, set_impl);

::bpfship_embed::plain_enum! {
    /// `enum large`
    pub enum Large: u64, align 8 {
        LARGE_A = 1,
        LARGE_B = 1311768467463790320,
    }
}

::bpfship_embed::plain_enum! {
    /// `enum large_negative`
    pub enum LargeNegative: i64, align 8 {
        LARGE_NEGATIVE = -1311768467463790320,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct looks_aligned`
    #[derive(PartialEq, Eq, Hash)]
    pub struct LooksAligned: size 16, align 8 {
        a: u64 = 0,
        b: u64 = 8,
    }
}

::bpfship_embed::plain_struct! {
    /// The struct `match.key`
    #[derive(PartialEq, Eq, Hash)]
    pub struct MatchKey: size 8, align 4 {
        pid: u32 = 0,
        cpu: u8 = 4,
        #[doc(hidden)]
        padding_5: [u8; 3] = 5,
    }
}

::bpfship_embed::plain_struct! {
    /// The union `match.value`
    #[derive(PartialEq, Eq, Hash)]
    pub struct MatchValue: size 8, align 8 {
        /// `count`, `pair`
        bytes_0: [u8; 8] = 0,
    }
}
::bpfship_embed::member!(MatchValue.bytes_0 at 0: u64, count, set_count);
::bpfship_embed::member!(MatchValue.bytes_0 at 0: [u32; 2], pair, set_pair);

::bpfship_embed::plain_enum! {
    /// `enum negative`
    pub enum Negative: i32, align 4 {
        NEGATIVE = -5,
        POSITIVE = 5,
    }
}

::bpfship_embed::plain_struct! {
    /// `union number`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Number: size 40, align 8 {
        /// `whole`, `halves`, `bytes`, `padded`
        bytes_0: [u8; 40] = 0,
    }
}
::bpfship_embed::member!(Number.bytes_0 at 0: u64, whole, set_whole);
::bpfship_embed::member!(Number.bytes_0 at 0: [u32; 2], halves, set_halves);
::bpfship_embed::member!(Number.bytes_0 at 0: [u8; 8], bytes, set_bytes);
::bpfship_embed::member!(Number.bytes_0 at 0: Padded, padded, set_padded);

::bpfship_embed::plain_struct! {
    /// `struct numbers`
    pub struct Numbers: size 112, align 8 {
        text: [u8; 5] = 0,
        s8: i8 = 5,
        u8: u8 = 6,
        /// A `bool`: 0 or 1
        yes: u8 = 7,
        answers: [u8; 3] = 8,
        #[doc(hidden)]
        padding_11: [u8; 1] = 11,
        s16: i16 = 12,
        #[doc(hidden)]
        padding_14: [u8; 2] = 14,
        s64: i64 = 16,
        u64: u64 = 24,
        f32: f32 = 32,
        #[doc(hidden)]
        padding_36: [u8; 4] = 36,
        f64: f64 = 40,
        wide: [u8; 16] = 48,
        pointer: u64 = 64,
        function: u64 = 72,
        list: [u64; 2] = 80,
        table: [[u16; 3]; 2] = 96,
        after: u32 = 108,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct odd_names`
    #[derive(PartialEq, Eq, Hash)]
    pub struct OddNames: size 20, align 4 {
        self_: u32 = 0,
        self__2: u32 = 4,
        a_b: u32 = 8,
        a_b_2: u32 = 12,
        one: Bool = 16,
        other: bool_struct = 17,
        fixed: Fixed = 18,
        #[doc(hidden)]
        padding_19: [u8; 1] = 19,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct option`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Option: size 1, align 1 {
        a: u8 = 0,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct packed`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Packed: size 53, align 1 {
        a: u8 = 0,
        /// `b`
        bytes_1: [u8; 4] = 1,
        /// `c`
        bytes_5: [u8; 8] = 5,
        /// `d`
        bytes_13: [u8; 40] = 13,
    }
}
::bpfship_embed::member!(Packed.bytes_1 at 0: u32, b, set_b);
::bpfship_embed::member!(Packed.bytes_5 at 0: u64, c, set_c);
::bpfship_embed::member!(Packed.bytes_13 at 0: Padded, d, set_d);

::bpfship_embed::plain_struct! {
    /// `struct packed_bits`
    #[derive(PartialEq, Eq, Hash)]
    pub struct PackedBits: size 16, align 8 {
        a: u8 = 0,
        /// `b`, `c`
        bytes_1: [u8; 15] = 1,
    }
}
::bpfship_embed::bit_field!(PackedBits.bytes_1[0..8] from 0, 61 bits: u64, b, set_b);
::bpfship_embed::bit_field!(PackedBits.bytes_1[7..15] from 5, 59 bits: i64, c, set_c);

::bpfship_embed::plain_struct! {
    /// `struct padded`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Padded: size 40, align 8 {
        a: u8 = 0,
        #[doc(hidden)]
        padding_1: [u8; 7] = 1,
        b: u64 = 8,
        c: u16 = 16,
        #[doc(hidden)]
        padding_18: [u8; 2] = 18,
        d: [u32; 3] = 20,
        e: u8 = 32,
        #[doc(hidden)]
        padding_33: [u8; 7] = 33,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct result`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Result: size 1, align 1 {
        option: Option = 0,
    }
}

::bpfship_embed::plain_struct! {
    /// The struct `routes.key`
    #[derive(PartialEq, Eq, Hash)]
    pub struct RoutesKey: size 8, align 4 {
        length: u32 = 0,
        address: [u8; 4] = 4,
    }
}

::bpfship_embed::plain_enum! {
    /// `enum small`
    pub enum Small: u8, align 1 {
        SMALL_A = 0,
        SMALL_B = 200,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct U64`
    #[derive(PartialEq, Eq, Hash)]
    pub struct U64: size 2, align 2 {
        a: u16 = 0,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct unions`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Unions: size 88, align 8 {
        kind: u32 = 0,
        #[doc(hidden)]
        padding_4: [u8; 4] = 4,
        /// `a`, `address`, `word`, `b`
        bytes_8: [u8; 16] = 8,
        only: u64 = 24,
        number: Number = 32,
        inner: UnionsInner = 72,
        list: [UnionsInner; 2] = 76,
        first: u16 = 84,
        second: u16 = 86,
    }
}
::bpfship_embed::member!(Unions.bytes_8 at 0: u32, a, set_a);
::bpfship_embed::member!(Unions.bytes_8 at 0: [u8; 16], address, set_address);
::bpfship_embed::member!(Unions.bytes_8 at 0: u32, word, set_word);
::bpfship_embed::member!(Unions.bytes_8 at 8: u64, b, set_b);

::bpfship_embed::plain_struct! {
    /// The struct `unions.inner`
    #[derive(PartialEq, Eq, Hash)]
    pub struct UnionsInner: size 4, align 2 {
        x: u8 = 0,
        #[doc(hidden)]
        padding_1: [u8; 1] = 1,
        y: u16 = 2,
    }
}

::bpfship_embed::plain_enum! {
    /// `enum unsigned_kind`
    pub enum UnsignedKind: u32, align 4 {
        KIND_EXEC = 1,
        KIND_EXIT = 2,
        KIND_MOST = 4294967295,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct wide`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Wide: size 64, align 4 {
        a: u32 = 0,
        #[doc(hidden)]
        padding_4: [u8; 60] = 4,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct with_packed`
    #[derive(PartialEq, Eq, Hash)]
    pub struct WithPacked: size 128, align 4 {
        a: u32 = 0,
        /// `b`
        bytes_4: [u8; 16] = 4,
        c: [Packed; 2] = 20,
        d: u16 = 126,
    }
}
::bpfship_embed::member!(WithPacked.bytes_4 at 0: LooksAligned, b, set_b);

::bpfship_embed::plain_struct! {
    /// `struct with_wide`
    #[derive(PartialEq, Eq, Hash)]
    pub struct WithWide: size 192, align 4 {
        a: u8 = 0,
        #[doc(hidden)]
        padding_1: [u8; 63] = 1,
        b: Wide = 64,
        c: u8 = 128,
        #[doc(hidden)]
        padding_129: [u8; 63] = 129,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct bool`
    #[derive(PartialEq, Eq, Hash)]
    pub struct bool_struct: size 1, align 1 {
        /// `no`
        bytes_0: [u8; 1] = 0,
    }
}
::bpfship_embed::bit_field!(bool_struct.bytes_0[0..1] from 0, 1 bits: bool, no, set_no);

::bpfship_embed::plain_struct! {
    /// `struct foo_bar`
    #[derive(PartialEq, Eq, Hash)]
    pub struct foo_bar: size 32, align 8 {
        a: FooBar = 0,
        b: Globals = 16,
        #[doc(hidden)]
        padding_28: [u8; 4] = 28,
    }
}

::bpfship_embed::plain_struct! {
    /// The struct `foo_bar`
    #[derive(PartialEq, Eq, Hash)]
    pub struct foo_bar_struct: size 1, align 1 {
        a: u8 = 0,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct u64`
    #[derive(PartialEq, Eq, Hash)]
    pub struct u64_struct: size 4, align 4 {
        a: u32 = 0,
    }
}
