//! Writes BTF in a canonical form, so that the bytes do not depend on where clang ran.
//!
//! clang keeps the structs that only pointers lead to in a map sorted by addresses in its own memory. What it makes of
//! them (forward declarations, and tags of pointers to them) is written in that order, after all other types, and so
//! are their names. The order was seen to change with the lengths of paths, with the size of the environment, and
//! between the x86_64 and the aarch64 build of one clang; nothing else was. So the types before those stay where they
//! are, and those come in the order in which others refer to them, first come, first served. This needs no comparison
//! of types, and two declarations of one name stay two. Strings come in the order of use.

use std::collections::HashMap;

use anyhow::Result;

use super::{Btf, EXT_HEADER, Field, HEADER, Kind, Type, magic};
use crate::Endian;

/// The canonical form of `.BTF` and `.BTF.ext`. The ids of types that `.BTF.ext` has stay, for an instruction may hold
/// the same id.
///
/// Fails for whatever is not understood completely: nothing is dropped by accident.
pub fn canonicalize_btf(btf: &[u8], ext: Option<&[u8]>, endian: Endian) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    let parsed = Btf::parse(btf, endian)?;
    let records = ext.map(|ext| parsed.records(ext, endian)).transpose()?.map(|tables| tables.concat());
    let order = order(&parsed, records.as_deref().unwrap_or_default());
    let mut ids = vec![0; order.len() + 1];
    for (new, old) in (1..).zip(&order) {
        ids[*old as usize] = new;
    }
    let mut writer = Writer::new(endian, |id| ids[id as usize]);
    let ordered = order.iter().filter_map(|id| parsed.get(*id));
    let types = writer.encode(ordered.flat_map(|found| &found.fields));
    let ext = ext.zip(records).map(|(ext, records)| [&ext[..EXT_HEADER], &writer.encode(&records)].concat());
    Ok((section(endian, &types, writer), ext))
}

/// A section `.BTF` of these types, which this writer encoded.
pub fn section<Ids: Fn(u32) -> u32>(endian: Endian, types: &[u8], mut writer: Writer<'_, Ids>) -> Vec<u8> {
    let [types_length, strings_length] = [types.len(), writer.strings.len()].map(|length| length as u32);
    let header = [HEADER as u32, 0, types_length, types_length, strings_length].map(Field::Number);
    [&magic(endian), &*writer.encode(&header), types, &writer.strings].concat()
}

/// The ids of all types in their canonical order.
fn order(btf: &Btf, records: &[Field]) -> Vec<u32> {
    let is_late = |found: &Type| matches!(found.kind, Kind::Forward | Kind::TypeTag);
    let last_kept = btf.types.iter().rposition(|found| !is_late(found)).map_or(0, |index| index as u32 + 1);
    // clang makes what instructions refer to before what this is about.
    let last_kept = records.iter().filter_map(Field::reference).fold(last_kept, u32::max);
    let all = 1..=btf.types.len() as u32;

    let mut order: Vec<u32> = (1..=last_kept).collect();
    let mut is_placed: Vec<bool> = std::iter::once(0).chain(all.clone()).map(|id| id <= last_kept).collect();
    let mut next = 0;
    while let Some(id) = order.get(next) {
        for reference in btf.get(*id).into_iter().flat_map(Type::references) {
            if !std::mem::replace(&mut is_placed[reference as usize], true) {
                order.push(reference);
            }
        }
        next += 1;
    }
    // What nothing refers to was not made for a pointer, and keeps its place.
    order.extend(all.filter(|id| !is_placed[*id as usize]));
    order
}

/// Writes fields with new ids, and gathers the strings.
pub struct Writer<'data, Ids> {
    endian: Endian,
    /// The new id of a type, by the old one.
    ids: Ids,
    strings: Vec<u8>,
    offsets: HashMap<&'data [u8], u32>,
}

impl<'data, Ids: Fn(u32) -> u32> Writer<'data, Ids> {
    pub fn new(endian: Endian, ids: Ids) -> Self {
        Writer { endian, ids, strings: vec![0], offsets: HashMap::from([(&b""[..], 0)]) }
    }

    pub fn encode<'field>(&mut self, fields: impl IntoIterator<Item = &'field Field<'data>>) -> Vec<u8>
    where
        'data: 'field,
    {
        let mut bytes = Vec::new();
        for field in fields {
            let number = match field {
                Field::Number(number) => *number,
                Field::Type(id) => (self.ids)(*id),
                Field::Name(name) => *self.offsets.entry(name).or_insert_with(|| {
                    let offset = self.strings.len() as u32;
                    self.strings.extend_from_slice(name);
                    self.strings.push(0);
                    offset
                }),
            };
            bytes.extend(match self.endian {
                Endian::Little => number.to_le_bytes(),
                Endian::Big => number.to_be_bytes(),
            });
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::Relocation;

    const STRINGS: &[u8] = b"\0int\0\0list\0next\0other\0far\0near\0user\0xdp\0prog.c\0return 0;\x000:1\0f\0unused\0";

    /// Where a string begins in `STRINGS`.
    fn name(wanted: &str) -> u32 {
        let at = STRINGS.windows(wanted.len() + 2).position(|found| {
            let inner = &found[1..found.len() - 1];
            inner == wanted.as_bytes() && found[0] == 0 && found.ends_with(&[0])
        });
        at.unwrap() as u32 + 1
    }

    const fn info(kind: u32, vlen: u32) -> u32 {
        kind << 24 | vlen
    }

    fn encode(words: &[u32], endian: Endian) -> Vec<u8> {
        let word = |word: &u32| match endian {
            Endian::Little => word.to_le_bytes(),
            Endian::Big => word.to_be_bytes(),
        };
        words.iter().flat_map(word).collect()
    }

    fn section(types: &[u32], strings: &[u8], endian: Endian) -> Vec<u8> {
        let length = 4 * types.len() as u32;
        let header = encode(&[24, 0, length, length, strings.len() as u32], endian);
        [&magic(endian)[..], &header, &encode(types, endian), strings].concat()
    }

    /// Types of every kind. Of the last four, those that pointers make, `late` gives the order.
    fn types(late: [usize; 4]) -> Vec<u32> {
        const FIRST: u32 = 21;
        let id = |which: usize| FIRST + late.iter().position(|placed| *placed == which).unwrap() as u32;
        let mut types = vec![
            vec![name("int"), info(1, 0), 4, 0x0100_0020],
            vec![name("list"), 1 << 31 | info(4, 3), 24, name("next"), 3, 0, name("other"), 4, 64, 0, 5, 128],
            vec![0, info(2, 0), id(0)],
            vec![0, info(2, 0), id(1)],
            vec![0, info(2, 0), 6],
            vec![0, info(2, 0), id(2)],
            vec![0, info(3, 0), 0, 1, 1, 4],
            vec![name("far"), info(7, 0), 0],
            vec![name("other"), info(8, 0), 10],
            vec![0, info(9, 0), 11],
            vec![0, info(10, 0), 12],
            vec![0, info(11, 0), 5],
            vec![0, info(13, 2), 1, name("next"), 3, 0, 0],
            vec![name("f"), info(12, 1), 13],
            vec![name("near"), info(14, 0), 1, 1],
            vec![name("xdp"), info(15, 1), 0, 15, 0, 4],
            vec![name("far"), info(16, 0), 8],
            vec![name("user"), info(17, 0), 14, u32::MAX],
            vec![name("int"), 1 << 31 | info(6, 1), 4, name("near"), 7],
            vec![name("int"), info(19, 1), 8, name("near"), 7, 9],
        ];
        assert_eq!(types.len() as u32 + 1, FIRST);
        let made: [Vec<u32>; 4] = [
            // Two structs of one name, which are not the same for those who know them.
            vec![name("far"), info(7, 0), 0],
            vec![name("far"), info(7, 0), 0],
            vec![name("user"), info(18, 0), id(3)],
            vec![name("near"), 1 << 31 | info(7, 0), 0],
        ];
        types.extend(late.map(|which| made[which].clone()));
        types.concat()
    }

    fn ext() -> Vec<u32> {
        let functions = [8, name("xdp"), 1, 0, 14];
        let lines = [16, name("xdp"), 2, 0, name("prog.c"), name("return 0;"), 1025, 8, name("prog.c"), 0, 2050];
        let relocations = [16, name("xdp"), 1, 16, 2, name("0:1"), 0];
        let lengths = [functions.len(), lines.len(), relocations.len()].map(|words| 4 * words as u32);
        let [f, l, r] = lengths;
        [&[32, 0, f, f, l, f + l, r][..], &functions, &lines, &relocations].concat()
    }

    fn ext_section(words: &[u32], endian: Endian) -> Vec<u8> {
        [&magic(endian)[..], &encode(words, endian)].concat()
    }

    fn orders() -> Vec<[usize; 4]> {
        let all = (0..256).map(|number| [number & 3, number >> 2 & 3, number >> 4 & 3, number >> 6]);
        all.filter(|order| (0..4).all(|which| order.contains(&which))).collect()
    }

    #[test]
    fn the_order_in_which_pointers_were_met_makes_no_difference() {
        assert_eq!(orders().len(), 24);
        for endian in Endian::ALL {
            let ext = ext_section(&ext(), endian);
            let one_form: Vec<_> = orders()
                .into_iter()
                .map(|late| canonicalize_btf(&section(&types(late), STRINGS, endian), Some(&ext), endian).unwrap())
                .collect();
            assert!(one_form.iter().all(|form| *form == one_form[0]));
            // All that is gone is a string that nothing uses, and one that is there twice.
            let before = section(&types([0, 1, 2, 3]), STRINGS, endian);
            assert_eq!(one_form[0].0.len(), before.len() - "unused\0\0".len());
        }
    }

    #[test]
    fn types_and_records_keep_their_meaning() {
        for endian in Endian::ALL {
            let before = (section(&types([3, 1, 0, 2]), STRINGS, endian), ext_section(&ext(), endian));
            let (btf, ext) = canonicalize_btf(&before.0, Some(&before.1), endian).unwrap();
            let (before_btf, after_btf) = (Btf::parse(&before.0, endian).unwrap(), Btf::parse(&btf, endian).unwrap());
            let ext = ext.unwrap();
            assert_eq!(before_btf.records(&before.1, endian).unwrap(), after_btf.records(&ext, endian).unwrap());
            let wanted = Relocation { section: b"xdp", offset: 16, type_id: 2, access: b"0:1", kind: 0 };
            assert_eq!(after_btf.relocations(&ext, endian).unwrap(), [wanted]);
            // Nothing but what clang made for pointers has another id.
            let moved = |id: u32| match id {
                21 => 24,
                23 => 21,
                24 => 23,
                id => id,
            };
            for id in 1..=24 {
                let mut before = before_btf.get(id).unwrap().fields.clone();
                for field in &mut before {
                    if let Field::Type(id) = field {
                        *id = moved(*id);
                    }
                }
                assert_eq!(before, after_btf.get(moved(id)).unwrap().fields, "type {id}");
            }
        }
    }

    #[test]
    fn what_instructions_refer_to_does_not_move() {
        let endian = Endian::Little;
        let mut ext = ext();
        let last = ext.len() - 3;
        ext[last] = 23;
        let before = section(&types([3, 1, 0, 2]), STRINGS, endian);
        let (btf, _) = canonicalize_btf(&before, Some(&ext_section(&ext, endian)), endian).unwrap();
        let (before, after) = (Btf::parse(&before, endian).unwrap(), Btf::parse(&btf, endian).unwrap());
        for id in 1..=23 {
            assert_eq!(before.get(id).unwrap().fields, after.get(id).unwrap().fields);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let endian = Endian::Little;
        let good = types([0, 1, 2, 3]);
        let with = |at: usize, word: u32| {
            let mut types = good.clone();
            types[at] = word;
            section(&types, STRINGS, endian)
        };
        let whole = section(&good, STRINGS, endian);
        for (bytes, complaint) in [
            (whole[..20].to_vec(), ".BTF is cut off: it has 20 bytes"),
            (whole[..whole.len() - 1].to_vec(), ".BTF does not consist of types and strings alone"),
            ([&whole[..], &[0]].concat(), ".BTF does not consist of types and strings alone"),
            (section(&good, STRINGS, Endian::Big), ".BTF is none of version 1 and of this byte order"),
            (section(&good, b"x\0", endian), "the strings in .BTF do not begin with the empty one"),
            (section(&good, b"\0x", endian), "the last string in .BTF has no end"),
            (section(&good, b"", endian), "the strings in .BTF do not begin with the empty one"),
            (with(1, info(20, 0)), "type 1 in .BTF: it is of kind 20, which this tool does not know"),
            (with(1, 0), "type 1 in .BTF: it is of kind 0, which this tool does not know"),
            (with(1, info(1, 3)), "type 1 in .BTF: its flags 0x1000003 are none that this tool knows for a int"),
            (with(1, 1 << 29 | info(1, 0)), "type 1 in .BTF: its flags 0x21000000 are none that this tool knows"),
            (with(0, name("int") + 1), "type 1 in .BTF: no string in .BTF begins at 2, where something has its name"),
            (with(5, info(4, 60_000)), "type 2 in .BTF: "),
            (with(18, 25), "there is a reference to type 25 in .BTF, which has 24 types"),
            (section(&good[..good.len() - 1], STRINGS, endian), "type 24 in .BTF: .BTF is cut off"),
        ] {
            let error = format!("{:#}", canonicalize_btf(&bytes, None, endian).unwrap_err());
            assert!(error.starts_with(complaint), "{error}\n{complaint}");
        }

        let good = ext();
        let with = |at: usize, word: u32| {
            let mut ext = good.clone();
            ext[at] = word;
            ext_section(&ext, endian)
        };
        for (bytes, complaint) in [
            (with(0, 24), "the header of .BTF.ext has 24 bytes where 32 are known"),
            (with(2, 4), ".BTF.ext does not consist of functions, lines and relocations alone"),
            (with(6, 24), ".BTF.ext does not consist of functions, lines and relocations alone"),
            (with(7, 12), "the functions in .BTF.ext: a record has 12 bytes where 8 are known"),
            (with(9, u32::MAX), "the functions in .BTF.ext: .BTF.ext is cut off"),
            (with(11, 25), "there is a reference to type 25 in .BTF, which has 24 types"),
            (with(13, 2), "the lines in .BTF.ext: no string in .BTF begins at 2, where something has its name"),
        ] {
            let error = format!("{:#}", canonicalize_btf(&whole, Some(&bytes), endian).unwrap_err());
            assert!(error.starts_with(complaint), "{error}\n{complaint}");
        }
    }

    /// Numbers that are the same in each run (xorshift).
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 16) as usize % end.max(1)
        }

        /// Changes, drops or repeats words.
        fn mutate(&mut self, words: &mut Vec<u32>) {
            for _ in 0..=self.below(2) {
                let at = self.below(words.len());
                let value =
                    [0, 1, self.below(30) as u32, self.below(80) as u32, info(self.below(22) as u32, 1), u32::MAX];
                match self.below(8) {
                    0 => words.truncate(at),
                    1 => drop(words.drain(at..(at + self.below(9)).min(words.len()))),
                    2 => words.extend_from_within(at..(at + self.below(9)).min(words.len())),
                    _ if words.is_empty() => {}
                    3 => words[at] ^= 1 << self.below(32),
                    _ => words[at] = value[self.below(value.len())],
                }
            }
        }

        /// Changes or drops bytes.
        fn mutate_bytes(&mut self, bytes: &mut Vec<u8>) {
            let at = self.below(bytes.len());
            match self.below(2) {
                0 => bytes.truncate(at),
                _ => bytes[at] = [0, 1, 0xff, self.below(256) as u8][self.below(4)],
            }
        }
    }

    #[test]
    fn whatever_comes_is_refused_or_gets_a_form_that_stays() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let orders: Vec<_> = orders().into_iter().map(types).collect();
        let ext = ext();
        let mut understood = 0;
        for round in 0..100_000 {
            let endian = Endian::ALL[round & 1];
            let mut types = orders[random.below(orders.len())].clone();
            let mut records = ext.clone();
            let mut strings = STRINGS.to_vec();
            // A type or a record that is wrong, behind a header that is right; or anything else.
            match random.below(4) {
                0 => random.mutate(&mut types),
                1 => {
                    random.mutate(&mut records);
                    if records.len() > 7 {
                        records[6] =
                            (4 * records.len() as u32).saturating_sub(28 + records[2].wrapping_add(records[4]));
                    }
                }
                2 => random.mutate_bytes(&mut strings),
                _ => {}
            }
            let mut btf = section(&types, &strings, endian);
            let mut ext = ext_section(&records, endian);
            match random.below(6) {
                0 => random.mutate_bytes(&mut btf),
                1 => random.mutate_bytes(&mut ext),
                _ => {}
            }
            if let Ok((one_form, one_ext)) = canonicalize_btf(&btf, Some(&ext), endian) {
                understood += 1;
                Btf::parse(&btf, endian).unwrap().relocations(&ext, endian).unwrap();
                assert!(one_form.len() <= btf.len() && one_ext.as_ref().unwrap().len() == ext.len());
                let again = canonicalize_btf(&one_form, one_ext.as_deref(), endian).unwrap();
                assert!(again == (one_form, one_ext), "round {round}");
            }
        }
        assert!((20_000..80_000).contains(&understood), "{understood} of all were understood");
    }
}
