//! The maps of a BPF object, as loaders find them: described by BTF, by the older `struct bpf_map_def`, or made for
//! variables.

use anyhow::{Context, Result, bail, ensure};
use object::{File, Object as _, ObjectSection as _, ObjectSymbol as _};

use crate::btf::{Btf, Field, Kind, Type};
use crate::code::is_global_data;
use crate::{Endian, co_re, code};

/// A map, and the numbers of its type and of the type of the maps in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Map {
    pub name: String,
    pub kind: u32,
    pub inner: Option<u32>,
}

/// The most that are read: in use are dozens.
const MAX_MAPS: usize = 1000;

/// Where `__kconfig` variables are, which loaders set to the kernel's configuration, in a map of this name.
pub const KCONFIG: &str = ".kconfig";

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
    maps.extend(old_form(file, endian)?.into_iter().map(|map| Map { name: map.name, kind: map.kind, inner: None }));
    let Some(btf) = btf else {
        return Ok(maps);
    };
    let described = variables(btf, ".maps");
    ensure!(described.len() <= MAX_MAPS, "it has {} maps, and {MAX_MAPS} are enough", described.len());
    for variable in described {
        let name = co_re::name(variable)?;
        maps.push(from_btf(btf, variable, name.clone()).with_context(|| format!("map `{name}` in .BTF"))?);
    }
    for variable in struct_ops(btf) {
        maps.push(Map { name: co_re::name(variable)?, kind: STRUCT_OPS, inner: None });
    }
    if !variables(btf, KCONFIG).is_empty() {
        maps.push(Map { name: KCONFIG.into(), kind: ARRAY, inner: None });
    }
    Ok(maps)
}

/// A map that a `struct bpf_map_def` describes.
#[derive(Debug, PartialEq, Eq)]
pub struct OldMap {
    pub name: String,
    pub kind: u32,
    pub key_size: u32,
    pub value_size: u32,
}

/// The maps that are described as they were before there was BTF.
pub fn old_form(file: &File, endian: Endian) -> Result<Vec<OldMap>> {
    let mut maps = Vec::new();
    for symbol in file.symbols().filter(|symbol| symbol.is_definition()) {
        let Some(section) = symbol.section_index() else { continue };
        let section = file.section_by_index(section)?;
        if section.name_bytes()? == b"maps" || section.name_bytes()?.starts_with(b"maps/") {
            let name = code::name(symbol.name_bytes()?)?;
            let begin = usize::try_from(symbol.address()).ok();
            let numbers = begin.and_then(|begin| section.data().ok()?.get(begin..)?.first_chunk::<12>());
            let numbers = numbers.with_context(|| format!("map `{name}` is not within its section"))?;
            let number = |number: &[u8; 4]| match endian {
                Endian::Little => u32::from_le_bytes(*number),
                Endian::Big => u32::from_be_bytes(*number),
            };
            if let [kind, key_size, value_size] = numbers.as_chunks::<4>().0 {
                let (kind, key_size, value_size) = (number(kind), number(key_size), number(value_size));
                maps.push(OldMap { name, kind, key_size, value_size });
            }
        }
    }
    Ok(maps)
}

/// Structs of functions for the kernel to call.
pub fn struct_ops<'btf, 'data>(btf: &'btf Btf<'data>) -> impl Iterator<Item = &'btf Type<'data>> {
    [".struct_ops", ".struct_ops.link"].into_iter().flat_map(|section| variables(btf, section))
}

/// What a section contains according to BTF: variables, and functions of the kernel's.
pub fn variables<'btf, 'data>(btf: &'btf Btf<'data>, section: &str) -> Vec<&'btf Type<'data>> {
    let is_section = |found: &&Type| found.kind == Kind::DataSection && found.name() == section.as_bytes();
    let fields = btf.types.iter().filter(is_section).flat_map(|found| &found.fields);
    let id = |field: &Field| match field {
        Field::Type(id) => Some(*id),
        _ => None,
    };
    fields.filter_map(id).filter_map(|id| btf.get(id)).collect()
}

/// A map described by a struct: each member is a pointer, to a type or to an array whose length is a number.
fn from_btf(btf: &Btf, variable: &Type, name: String) -> Result<Map> {
    let definition = follow(btf, variable)?;
    let inner = match member(definition, "values").map(|id| co_re::skip_mods_and_typedefs(btf, id)).transpose()? {
        // An array of pointers: to maps, or to programs, which need no description.
        Some(values) if values.kind == Kind::Array => match values.fields.get(3) {
            Some(Field::Type(pointer)) => Some(follow(btf, co_re::skip_mods_and_typedefs(btf, *pointer)?)?),
            _ => None,
        },
        _ => None,
    };
    let inner = inner.filter(|inner| inner.kind == Kind::Struct).map(|inner| kind(btf, inner)).transpose()?;
    Ok(Map { name, kind: kind(btf, definition)?, inner })
}

/// The number of the type of a map.
pub fn kind(btf: &Btf, definition: &Type) -> Result<u32> {
    number(btf, definition, "type")?.context("it has no type")
}

/// A number in the description of a map: the length of an array.
pub fn number(btf: &Btf, definition: &Type, name: &str) -> Result<Option<u32>> {
    let Some(id) = member(definition, name) else { return Ok(None) };
    let array = follow(btf, co_re::skip_mods_and_typedefs(btf, id)?)?;
    match (array.kind, array.fields.as_slice()) {
        (Kind::Array, [.., Field::Number(count)]) => Ok(Some(*count)),
        _ => bail!("its {name} is not written as the length of an array"),
    }
}

/// The type that a variable or a pointer is of.
pub fn follow<'btf, 'data>(btf: &'btf Btf<'data>, from: &Type) -> Result<&'btf Type<'data>> {
    match from.fields.get(2) {
        Some(Field::Type(id)) => co_re::skip_mods_and_typedefs(btf, *id),
        _ => bail!("expected a pointer or a variable, found a {}", from.kind),
    }
}

/// The type of a member.
pub fn member(of: &Type, name: &str) -> Option<u32> {
    of.fields.get(3..)?.chunks(3).find_map(|member| match member {
        [Field::Name(found), Field::Type(id), _] if *found == name.as_bytes() => Some(*id),
        _ => None,
    })
}
