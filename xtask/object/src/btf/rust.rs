//! Makes of the BTF that LLVM writes for Rust such BTF as the kernel takes.
//!
//! The kernel wants names that C could have, none where C has none, and the members of a struct in the order of their
//! places. It checks functions that are global one by one, for any arguments, and Rust's are not written for that: only what
//! the object itself has as a global symbol stays global.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::canonical::{Writer, section};
use super::{Btf, EXT_HEADER, Field, Kind};
use crate::Endian;

/// The most bytes of a name: `KSYM_NAME_LEN` was 128 until Linux 6.1.
const MAX_NAME: usize = 127;

/// The linkage of a function (`BTF_FUNC_*`), in the place of `vlen`.
const STATIC: u32 = 0;
const GLOBAL: u32 = 1;

/// What is known of the object that the BTF is of.
#[derive(Debug, Default)]
pub struct Origin<'a> {
    /// Where its global functions begin: name of the section, and bytes.
    pub global: BTreeSet<(Vec<u8>, u32)>,
    /// Rust's word for the architecture that it was compiled for. Crates have modules of that name, whose paths would make
    /// objects differ that are the same.
    pub arch: Option<&'a str>,
}

/// `.BTF` and `.BTF.ext` as the kernel takes them.
pub fn for_kernel(
    btf: &[u8],
    ext: Option<&[u8]>,
    endian: Endian,
    origin: &Origin,
) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    let parsed = Btf::parse(btf, endian)?;
    let mut tables = ext.map(|ext| parsed.records(ext, endian)).transpose()?.unwrap_or_default();
    let global = globals(&tables[0], &origin.global);
    let all = parsed.types.iter().flat_map(|found| &found.fields).chain(tables.iter().flatten());
    let names: BTreeSet<&[u8]> = all.filter_map(Field::name).collect();
    let plain: BTreeMap<&[u8], Vec<u8>> = names.iter().map(|name| (*name, plain(name, origin.arch))).collect();
    let paths: BTreeMap<&[u8], Vec<u8>> =
        names.iter().map(|name| (*name, without_arch(name, "/", origin.arch))).collect();

    let mut types: Vec<Vec<Field>> = Vec::new();
    for (id, found) in (1..).zip(&parsed.types) {
        let mut fields = found.fields.clone();
        match found.kind {
            Kind::Pointer | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::Array | Kind::Prototype => {
                fields[0] = Field::Name(b"");
                fields[1..].iter_mut().for_each(|field| rename(field, &plain));
            }
            Kind::Struct | Kind::Union => {
                fields.iter_mut().for_each(|field| rename(field, &plain));
                sort_members(&mut fields);
            }
            Kind::Function => {
                rename(&mut fields[0], &plain);
                if let Field::Number(info) = &mut fields[1]
                    && *info & 0xffff == GLOBAL
                    && !global.contains(&id)
                {
                    *info = *info & !0xffff | STATIC;
                }
            }
            // Of C's own types too, some have a space in their names. Loaders look variables and sections up by theirs.
            Kind::Int | Kind::Float | Kind::Variable | Kind::DataSection => {}
            Kind::Enum | Kind::Enum64 | Kind::Forward | Kind::Typedef | Kind::DeclarationTag | Kind::TypeTag => {
                fields.iter_mut().for_each(|field| rename(field, &plain))
            }
        }
        types.push(fields);
    }
    tables[1].iter_mut().for_each(|field| rename(field, &paths));

    let mut writer = Writer::new(endian, |id| id);
    let encoded = writer.encode(types.iter().flatten());
    let ext = ext.map(|ext| [&ext[..EXT_HEADER], &writer.encode(tables.iter().flatten())].concat());
    Ok((section(endian, &encoded, writer), ext))
}

impl<'data> Field<'data> {
    fn name(&self) -> Option<&'data [u8]> {
        match self {
            Field::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// The ids of the functions that begin where a global symbol is.
fn globals(functions: &[Field], symbols: &BTreeSet<(Vec<u8>, u32)>) -> BTreeSet<u32> {
    let mut global = BTreeSet::new();
    let mut fields = functions.get(1..).unwrap_or_default();
    while let [Field::Name(section), Field::Number(count), rest @ ..] = fields {
        let (records, after) = rest.split_at(2 * *count as usize);
        fields = after;
        for record in records.as_chunks::<2>().0 {
            if let [Field::Number(offset), Field::Type(id)] = *record
                && symbols.contains(&(section.to_vec(), offset))
            {
                global.insert(id);
            }
        }
    }
    global
}

/// rustc gives members in the order of the source, and places them in its own.
fn sort_members(fields: &mut [Field]) {
    let members = fields[3..].as_chunks_mut::<3>().0;
    members.sort_by_key(|[.., offset]| match offset {
        // The size of a bit field is in the upper bits.
        Field::Number(offset) => *offset & 0x00ff_ffff,
        _ => 0,
    });
}

fn rename<'data>(field: &mut Field<'data>, names: &'data BTreeMap<&[u8], Vec<u8>>) {
    if let Field::Name(name) = field
        && let Some(other) = names.get(*name)
    {
        *name = other;
    }
}

/// A name that C could have, the same for the same name.
fn plain(name: &[u8], arch: Option<&str>) -> Vec<u8> {
    let name = without_arch(name, "::", arch);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut plain: Vec<u8> = Vec::new();
    for byte in &name {
        match is_plain(*byte) {
            true => plain.push(*byte),
            // As bpf-linker writes them.
            false => plain.extend(format!("_{byte:X}_").bytes()),
        }
    }
    if plain.first().is_some_and(u8::is_ascii_digit) {
        plain.insert(0, b'_');
    }
    if plain.len() > MAX_NAME {
        plain.truncate(MAX_NAME - 16);
        plain.extend(format!("{:016x}", fnv(&name)).bytes());
    }
    plain
}

/// A path of modules or folders that has no part named after the architecture. A part may say more (`armv7`).
fn without_arch(path: &[u8], separator: &str, arch: Option<&str>) -> Vec<u8> {
    let (Some(arch), Ok(path)) = (arch, str::from_utf8(path)) else { return path.to_vec() };
    let parts: Vec<&str> = path.split(separator).collect();
    let is_inner = |index: usize| index > 0 && index + 1 < parts.len();
    let is_arch = |part: &str| part.strip_prefix(arch).is_some_and(|rest| rest.chars().all(char::is_alphanumeric));
    let part = |(index, part): (usize, &&str)| {
        if is_inner(index) && is_arch(part) { "arch".to_owned() } else { (*part).into() }
    };
    parts.iter().enumerate().map(part).collect::<Vec<_>>().join(separator).into_bytes()
}

/// FNV-1a, which tells long names apart.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_such_as_c_could_have_and_stay_apart() {
        let plain = |name: &str| String::from_utf8(plain(name.as_bytes(), Some("x86_64"))).unwrap();
        assert_eq!(plain("Result<(), i32>"), "Result_3C__28__29__2C__20_i32_3E_");
        assert_eq!(plain("Option<bindings::x86_64::bpf_map>"), "Option_3C_bindings_3A__3A_arch_3A__3A_bpf_map_3E_");
        assert_eq!((plain("__0"), plain("0")), ("__0".into(), "_0".into()));
        let long = |last: &str| plain(&format!("{}{last}", "a".repeat(200)));
        assert_eq!(long("b").len(), MAX_NAME);
        assert_ne!(long("b"), long("c"));
        let path = |path: &str, arch| String::from_utf8(without_arch(path.as_bytes(), "/", Some(arch))).unwrap();
        assert_eq!(path("cargo/b-0.2/src/armv7/helpers.rs", "arm"), "cargo/b-0.2/src/arch/helpers.rs");
        assert_eq!(path("src/x86_64.rs", "x86_64"), "src/x86_64.rs");
    }

    const fn info(kind: u32, vlen: u32) -> u32 {
        kind << 24 | vlen
    }

    #[test]
    fn members_come_in_the_order_of_their_places_and_only_symbols_make_functions_global() {
        let endian = Endian::Big;
        // A name begins at: `*mut T` 1, `A<B>` 8, `late` 13, `early` 18, `f` 24, `xdp` 26.
        let strings = b"\0*mut T\0A<B>\0late\0early\0f\0xdp\0";
        let types = [
            [1, info(2, 0), 2].as_slice(),
            &[8, info(4, 2), 8, 13, 1, 32, 18, 1, 0],
            &[0, info(13, 0), 0],
            &[24, info(12, 1), 3],
            &[24, info(12, 1), 3],
        ]
        .concat();
        let word = |word: &u32| word.to_be_bytes();
        let length = 4 * types.len() as u32;
        let header = [24, 0, length, length, strings.len() as u32];
        let encoded: Vec<u8> = header.iter().chain(&types).flat_map(word).collect();
        let btf = [&[0xeb, 0x9f, 1, 0][..], &encoded, strings].concat();
        let ext = [32, 0, 28, 28, 0, 28, 0, 8, 26, 2, 0, 4, 16, 5];
        let ext = [&[0xeb, 0x9f, 1, 0][..], &ext.iter().flat_map(word).collect::<Vec<u8>>()].concat();
        let origin = Origin { global: [(b"xdp".to_vec(), 16)].into(), arch: None };
        let (btf, ext) = for_kernel(&btf, Some(&ext), endian, &origin).unwrap();
        let after = Btf::parse(&btf, endian).unwrap();
        after.records(&ext.unwrap(), endian).unwrap();
        assert_eq!(after.types[0].name(), b"");
        use Field::{Name, Number, Type};
        let members = [Name(b"early"), Type(1), Number(0), Name(b"late"), Type(1), Number(32)];
        assert_eq!((after.types[1].name(), &after.types[1].fields[3..]), (&b"A_3C_B_3E_"[..], &members[..]));
        let linkage = |id: usize| after.types[id].fields[1];
        assert_eq!((linkage(3), linkage(4)), (Number(info(12, STATIC)), Number(info(12, GLOBAL))));
    }
}
