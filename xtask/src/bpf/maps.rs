//! The maps of a BPF object, as loaders find them: described by BTF, by the older `struct bpf_map_def`, or made for variables.

use anyhow::{Context, Result, bail, ensure};
use object::{File, Object as _, ObjectSection as _, ObjectSymbol as _};

use crate::arch::Endian;
use crate::bpf::btf::{Btf, Type, Word};
use crate::bpf::co_re;
use crate::bpf::code;
use crate::bpf::code::is_global_data;

/// A map, and the numbers of its type and of the type of the maps in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Map {
    pub name: String,
    pub kind: u32,
    pub inner: Option<u32>,
}

/// The most that are read: in use are dozens.
const MAX_MAPS: usize = 1000;

/// Numbers of types that loaders choose.
const ARRAY: u32 = 2;
const STRUCT_OPS: u32 = 26;

pub fn read(file: &File, btf: Option<&Btf>, endian: Endian) -> Result<Vec<Map>> {
    let mut maps = Vec::new();
    for section in file.sections() {
        let name = section.name_bytes()?;
        ensure!(name != b".maps" || btf.is_some(), "it has maps that BTF describes, and no BTF");
        if is_global_data(name) && section.size() > 0 {
            maps.push(Map { name: code::name(name)?, kind: ARRAY, inner: None });
        }
    }
    for symbol in file.symbols().filter(|symbol| symbol.is_definition()) {
        let Some(section) = symbol.section_index() else { continue };
        let section = file.section_by_index(section)?;
        if section.name_bytes()? == b"maps" || section.name_bytes()?.starts_with(b"maps/") {
            let name = code::name(symbol.name_bytes()?)?;
            let begin = usize::try_from(symbol.address()).ok();
            let kind = begin.and_then(|begin| section.data().ok()?.get(begin..)?.first_chunk());
            let kind = *kind.with_context(|| format!("map `{name}` is not within its section"))?;
            let kind = match endian {
                Endian::Little => u32::from_le_bytes(kind),
                Endian::Big => u32::from_be_bytes(kind),
            };
            maps.push(Map { name, kind, inner: None });
        }
    }
    let Some(btf) = btf else {
        return Ok(maps);
    };
    let described = variables(btf, ".maps");
    ensure!(described.len() <= MAX_MAPS, "it has {} maps, and {MAX_MAPS} are enough", described.len());
    for variable in described {
        let name = co_re::name(variable)?;
        maps.push(from_btf(btf, variable, name.clone()).with_context(|| format!("map `{name}` in .BTF"))?);
    }
    for variable in [".struct_ops", ".struct_ops.link"].into_iter().flat_map(|section| variables(btf, section)) {
        maps.push(Map { name: co_re::name(variable)?, kind: STRUCT_OPS, inner: None });
    }
    Ok(maps)
}

/// What BTF says is in a section: variables, and functions of the kernel's.
pub fn variables<'btf, 'data>(btf: &'btf Btf<'data>, section: &str) -> Vec<&'btf Type<'data>> {
    let is_section = |found: &&Type| found.kind.name == "data section" && found.name() == section.as_bytes();
    let words = btf.types.iter().filter(is_section).flat_map(|found| &found.words);
    let id = |word: &Word| match word {
        Word::Type(id) => Some(*id),
        _ => None,
    };
    words.filter_map(id).filter_map(|id| btf.get(id)).collect()
}

/// A map of which a struct tells, in the types of pointers to arrays, how it shall be.
fn from_btf(btf: &Btf, variable: &Type, name: String) -> Result<Map> {
    let definition = follow(btf, variable)?;
    let inner = match member(definition, "values").map(|id| co_re::behind_names(btf, id)).transpose()? {
        // An array of pointers: to maps, or to programs, of which nothing has to be told.
        Some(values) if values.kind.name == "array" => match values.words.get(3) {
            Some(Word::Type(pointer)) => Some(follow(btf, co_re::behind_names(btf, *pointer)?)?),
            _ => None,
        },
        _ => None,
    };
    let inner = inner.filter(|inner| inner.kind.name == "struct").map(|inner| kind(btf, inner)).transpose()?;
    Ok(Map { name, kind: kind(btf, definition)?, inner })
}

fn kind(btf: &Btf, definition: &Type) -> Result<u32> {
    let id = member(definition, "type").context("nothing tells its type")?;
    let array = follow(btf, co_re::behind_names(btf, id)?)?;
    match (array.kind.name, array.words.as_slice()) {
        ("array", [.., Word::Number(count)]) => Ok(*count),
        _ => bail!("its type is told in a way that is not known"),
    }
}

/// The type that a variable or a pointer is of.
fn follow<'btf, 'data>(btf: &'btf Btf<'data>, from: &Type) -> Result<&'btf Type<'data>> {
    match from.words.get(2) {
        Some(Word::Type(id)) => co_re::behind_names(btf, *id),
        _ => bail!("a pointer is wanted where there is a {}", from.kind.name),
    }
}

fn member(of: &Type, name: &str) -> Option<u32> {
    of.words.get(3..)?.chunks(3).find_map(|member| match member {
        [Word::Name(found), Word::Type(id), _] if *found == name.as_bytes() => Some(*id),
        _ => None,
    })
}
