//! Compiled with bindings and run by a test: reads what a C compiler wrote, through the bindings, and writes it again.

mod floats;
mod layouts;
mod not_aya;

use layouts::globals::Data;
use layouts::{Bits, Enums, EnumsState, Large, LargeNegative, Negative, PackedBits, Small, UnsignedKind};

fn main() {
    let file = std::env::args().nth(1).expect("a file with the section .data");
    let bytes = std::fs::read(file).unwrap();
    let data: Data = bpfship_embed::get_begin(&bytes);

    let bits = data.bits_value;
    assert_eq!((bits.a(), bits.b(), bits.c(), bits.d()), (5, -7, true, Negative::NEGATIVE));
    assert_eq!((bits.e, bits.f, bits.g(), bits.h()), (0x89ab_cdef, 0x1234, 0xfe_dcba_9876, 0xab_cdef));
    assert_eq!((bits.i, bits.j(), bits.k, bits.last()), (0x5a, 0x55, 1, 2));
    let mut written = Bits { e: bits.e, f: bits.f, i: bits.i, k: bits.k, ..Default::default() };
    written.set_a(5);
    written.set_b(-7);
    written.set_c(true);
    written.set_d(Negative::NEGATIVE);
    written.set_g(0xfe_dcba_9876);
    written.set_h(0xab_cdef);
    written.set_j(0x55);
    written.set_last(2);
    assert_eq!(written, bits);

    let packed_bits = data.packed_bits_value;
    assert_eq!(
        (packed_bits.a, packed_bits.b(), packed_bits.c()),
        (0xa5, 0x0123_4567_89ab_cdef, -0x0123_4567_89ab_cdef)
    );
    let mut written = PackedBits { a: 0xa5, ..Default::default() };
    written.set_c(packed_bits.c());
    written.set_b(packed_bits.b());
    assert_eq!(written, packed_bits);

    let packed = data.packed_value;
    assert_eq!((packed.a, packed.b(), packed.c()), (1, 0x2345_6789, 0x0123_4567_89ab_cdef));
    assert_eq!((packed.d().b, packed.d().d), (7, [1, 2, 3]));

    let mut unions = data.unions_value;
    assert_eq!((unions.kind, unions.a(), unions.b()), (9, 0x0102_0304, 0x1122_3344_5566_7788));
    assert_eq!((unions.word(), &unions.address()[..4]), (unions.a(), &0x0102_0304_u32.to_ne_bytes()[..]));
    assert_eq!((unions.only, unions.second), (4, 77));
    unions.set_word(1);
    assert_eq!((unions.a(), unions.b()), (1, 0x1122_3344_5566_7788));

    let expected = Enums {
        a: Small::SMALL_B,
        b: Negative::NEGATIVE,
        c: UnsignedKind::KIND_MOST,
        d: Large::LARGE_B,
        e: LargeNegative::LARGE_NEGATIVE,
        state: EnumsState::STATE_ON,
        list: [Small::SMALL_A, Small::SMALL_B, Small::SMALL_A],
        ..Default::default()
    };
    assert_eq!(data.enums_value, expected);

    let numbers = data.numbers_value;
    assert_eq!((&numbers.text, numbers.s8, numbers.u8, numbers.yes), (b"text\0", -8, 200, 1));
    assert_eq!((numbers.answers, numbers.s16, numbers.s64, numbers.u64), ([0, 1, 1], -16, -64, u64::MAX));
    assert_eq!((numbers.f32, numbers.f64, i128::from_ne_bytes(numbers.wide)), (1.5, -2.25, -3));
    assert_eq!((numbers.table, numbers.after), ([[1, 2, 3], [4, 5, 6]], 12));

    let keywords = data.keywords_value;
    assert_eq!((keywords.r#type, keywords.self_, keywords.r#impl(), keywords.align), (1, 2, 3, 4));
    assert_eq!(data.odd, 3);

    let variables = floats::globals::Overrides { half: Some(0.5), ..Default::default() };
    let place = floats::maps::places::Value { value: [[0.0, 1.0]; 3] };
    assert_eq!((variables.half, place.value[2][1]), (Some(0.5), 1.0));
}
