//! Perf buffers in place of a ring buffer, in the same object.

use std::{error, fmt};

/// Changes an object so that its map, a ring buffer, is an array of perf buffers, which kernels before 5.8 have, too. libbpf's
/// `bpf_map__set_type` does this to an open object, which aya has no function for.
///
/// The programs have to choose between `bpf_ringbuf_output` and `bpf_perf_event_output` by what the verifier knows when they are
/// loaded: the value of a constant variable, since Linux 5.5, or whether the kernel has a `struct bpf_ringbuf`.
///
/// # Errors
/// When the object has no such ring buffer in its BTF, or is cut off.
pub fn with_perf_buffers(object: &[u8], map: &str) -> Result<Vec<u8>, NoRingBuffer> {
    change(object, map).ok_or_else(|| NoRingBuffer(map.to_owned()))
}

/// The object has no ring buffer of this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRingBuffer(String);

impl fmt::Display for NoRingBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the BTF of the object has no ring buffer {}", self.0)
    }
}

impl error::Error for NoRingBuffer {}

/// Of `enum bpf_map_type`.
const PERF_EVENT_ARRAY: u32 = 4;
const RINGBUF: u32 = 27;

/// Kinds of types in BTF (the kernel's Documentation/bpf/btf.rst).
const ARRAY: u32 = 3;
const PTR: u32 = 2;
const STRUCT: u32 = 4;
const VAR: u32 = 14;

/// Words for, and before, other types: TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG.
const WORDS: [u32; 5] = [8, 9, 10, 11, 18];

/// The type of sections in ELF that have no bytes in the file.
const NOBITS: u32 = 8;

/// Bytes of a type that every type has: its name's offset, its kind and number of members, and its size or another type.
const TYPE_SIZE: usize = 12;

/// The new BTF is put behind all else, and only the header of its section is changed.
fn change(object: &[u8], map: &str) -> Option<Vec<u8>> {
    // Of 64 bits, and of either byte order.
    let is_big_endian = *object.strip_prefix(b"\x7fELF\x02")?.first()? == 2;
    let elf = Bytes { bytes: object, is_big_endian };
    let (headers, count, names) = (elf.u64(0x28)?, elf.u16(0x3c)?, elf.u16(0x3e)?);
    // What is cut off would be filled with BTF.
    elf.part(headers, usize::from(count) * 64)?;
    let header = |section: u16| headers + usize::from(section) * 64;
    let content = |header: usize| elf.part(elf.u64(header + 0x18)?, elf.u64(header + 0x20)?);
    let mut sections = (0..count).map(header);
    if !sections.clone().all(|at| elf.u32(at + 4) == Some(NOBITS) || content(at).is_some()) {
        return None;
    }
    let names = content((names < count).then(|| header(names))?)?;
    let section = sections.find(|at| elf.u32(*at).and_then(|name| names.text(name as usize)) == Some(b".BTF"))?;
    let btf = changed_btf(content(section)?, map.as_bytes())?;

    let mut changed = object.to_vec();
    changed.resize(object.len().next_multiple_of(8), 0);
    let place = [changed.len(), btf.len()].map(|number| elf.in_order((number as u64).to_be_bytes()));
    changed.get_mut(section + 0x18..section + 0x28)?.copy_from_slice(place.as_flattened());
    changed.extend(btf);
    Some(changed)
}

/// Gives the map's variable another struct as its type. What there is keeps its number and its place.
fn changed_btf(btf: Bytes<'_>, map: &[u8]) -> Option<Vec<u8>> {
    let header = btf.u32(4)? as usize;
    let rest = Bytes { bytes: btf.bytes.get(header..)?, ..btf };
    let part = |at, length| rest.part(btf.u32(at)? as usize, btf.u32(length)? as usize);
    let (types, names) = (part(8, 12)?, part(16, 20)?);
    let known = places(types)?;
    let place = |id: u32| known.get((id as usize).checked_sub(1)?).copied();
    let named = |at: usize| names.text(types.u32(at)? as usize);

    let variable = known.iter().copied().find(|at| kind(types, *at) == Some(VAR) && named(*at) == Some(map))?;
    let mut definition = place(types.u32(variable + 8)?)?;
    // Not for ever, if they lead back.
    for _ in 0..known.len() {
        if WORDS.contains(&kind(types, definition)?) {
            definition = place(types.u32(definition + 8)?)?;
        }
    }
    let members = (0..members(types, definition)?).map(|index| definition + TYPE_SIZE + 12 * index);
    let member = |name: &[u8]| types.u32(members.clone().find(|at| named(*at) == Some(name))? + 4);
    // `int (*type)[BPF_MAP_TYPE_RINGBUF]`: a pointer to an array of so many.
    let pointer = place(member(b"type")?)?;
    let array = place(types.u32(pointer + 8)?)?;
    if [definition, pointer, array].map(|at| kind(types, at)) != [STRUCT, PTR, ARRAY].map(Some)
        || types.u32(array + 20)? != RINGBUF
    {
        return None;
    }

    // All that an array of perf buffers is defined by is 4: its type, and the bytes of a key and of a value. It is pinned, if the
    // ring buffer was.
    let new_id = known.len() as u32 + 1;
    let four = [&b"type\0"[..], b"key_size\0", b"value_size\0"].map(|name| (name, new_id + 1));
    let pinning = member(b"pinning").map(|number| (&b"pinning\0"[..], number));
    let new_members: Vec<(&[u8], u32)> = four.into_iter().chain(pinning).collect();
    let mut new = vec![0, ARRAY << 24, 0, types.u32(array + 12)?, types.u32(array + 16)?, PERF_EVENT_ARRAY];
    new.extend([0, PTR << 24, new_id]);
    // The kernel wants the variable to have the size that it had, so the members lie one upon the other.
    new.extend([0, STRUCT << 24 | new_members.len() as u32, types.u32(definition + 8)?]);
    let mut name = names.bytes.len();
    for (new_name, of) in &new_members {
        new.extend([name as u32, *of, 0]);
        name += new_name.len();
    }
    let in_order = |number: u32| btf.in_order(number.to_be_bytes());
    let new: Vec<u8> = new.into_iter().flat_map(in_order).collect();

    let mut changed = btf.part(0, header)?.bytes.to_vec();
    // Where the types begin and how long they are, and the same of the names, which follow.
    let end = types.bytes.len() + new.len();
    let places = [0, end, end, name].map(|number| in_order(number as u32));
    changed.get_mut(8..24)?.copy_from_slice(places.as_flattened());
    changed.extend(types.bytes);
    changed.get_mut(header + variable + 8..)?.get_mut(..4)?.copy_from_slice(&in_order(new_id + 2));
    changed.extend(new);
    changed.extend(names.bytes);
    changed.extend(new_members.iter().flat_map(|(name, _)| *name));
    Some(changed)
}

/// Where each type begins, the first one's number being 1.
fn places(types: Bytes<'_>) -> Option<Vec<usize>> {
    let mut places = Vec::new();
    let mut at = 0;
    while at < types.bytes.len() {
        places.push(at);
        let members = members(types, at)?;
        at += TYPE_SIZE
            + match kind(types, at)? {
                // INT, VAR, DECL_TAG
                1 | VAR | 17 => 4,
                ARRAY => 12,
                // STRUCT, UNION, DATASEC, ENUM64
                STRUCT | 5 | 15 | 19 => 12 * members,
                // ENUM, FUNC_PROTO
                6 | 13 => 8 * members,
                // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
                PTR | 7..=12 | 16 | 18 => 0,
                _ => return None,
            };
    }
    // Else the last one is cut off.
    (at == types.bytes.len()).then_some(places)
}

fn kind(types: Bytes<'_>, at: usize) -> Option<u32> {
    Some(types.u32(at + 4)? >> 24 & 0x1f)
}

fn members(types: Bytes<'_>, at: usize) -> Option<usize> {
    Some(types.u32(at + 4)? as usize & 0xffff)
}

/// Bytes with numbers in the object's byte order.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
}

impl<'a> Bytes<'a> {
    fn part(self, at: usize, length: usize) -> Option<Self> {
        Some(Self { bytes: self.bytes.get(at..at.checked_add(length)?)?, ..self })
    }

    /// Up to the next NUL.
    fn text(self, at: usize) -> Option<&'a [u8]> {
        self.bytes.get(at..)?.split(|byte| *byte == 0).next()
    }

    fn u16(self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes(self.number(at)?))
    }

    fn u32(self, at: usize) -> Option<u32> {
        Some(u32::from_be_bytes(self.number(at)?))
    }

    fn u64(self, at: usize) -> Option<usize> {
        usize::try_from(u64::from_be_bytes(self.number(at)?)).ok()
    }

    fn number<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        let bytes = self.bytes.get(at..)?.first_chunk::<N>()?;
        Some(self.in_order(*bytes))
    }

    /// Big-endian bytes in the object's byte order, and the other way round.
    fn in_order<const N: usize>(self, mut bytes: [u8; N]) -> [u8; N] {
        if !self.is_big_endian {
            bytes.reverse();
        }
        bytes
    }
}
