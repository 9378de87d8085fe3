//! Maps as Rust: their names, the types in them, and typed handles.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;

use super::aya::{self, Shape};
use super::model::{Map, Model};
use super::names::{free, identifier};
use super::types::Ty;
use super::types_text::ty;

pub fn write(text: &mut String, model: &Model, names: &[String]) -> Result<()> {
    writeln!(text, "\n/// The maps, each with its name and a typed handle.\npub mod maps {{")?;
    let mut taken = BTreeSet::new();
    for (index, map) in model.maps.iter().enumerate() {
        text.push_str(if index > 0 { "\n" } else { "" });
        let name = free([identifier(&map.name)], &mut taken);
        writeln!(text, "    /// The map `{}`: {}", map.name, map.kind_name())?;
        if aya::is_unsupported(map.kind) {
            writeln!(text, "    ///\n    /// aya 0.14 creates it, and has no type for it.")?;
        }
        writeln!(text, "    pub mod {name} {{")?;
        writeln!(text, "        pub const NAME: &str = {:?};", map.name)?;
        self::map(text, map, names)?;
        writeln!(text, "    }}")?;
    }
    writeln!(text, "}}")?;
    Ok(())
}

/// The size and the alignment of what is nothing but floats.
fn floats(ty: &Ty) -> Option<(u64, u64)> {
    match ty {
        Ty::Float(bytes) => Some((*bytes, *bytes)),
        Ty::Array(element, length) => floats(element).map(|(size, align)| (size * length, align)),
        _ => None,
    }
}

fn map(text: &mut String, map: &Map, names: &[String]) -> Result<()> {
    let found = aya::map(map.kind);
    let is_ring = matches!(found, Some((_, Shape::Ring)));
    // Else the values are descriptors of what the map consists of.
    let has_values = !matches!(found, Some((_, Shape::Plain | Shape::Key | Shape::Maps | Shape::KeyMaps)));
    let has_keys = !matches!(found, Some((_, Shape::Plain | Shape::Ring | Shape::Maps)));
    let key = map.key.as_ref().filter(|_| has_keys).map(|key| ty(key, names, 2));
    let value = map.value.as_ref().filter(|_| has_values).map(|value| ty(value, names, 2));
    let floats = |ty: &Option<Ty>| ty.as_ref().and_then(floats).filter(|_| !is_ring);
    for (what, rust, floats) in [("Key", &key, floats(&map.key)), ("Value", &value, floats(&map.value))] {
        match (rust, floats) {
            (Some(rust), Some((size, align))) => {
                let field = what.to_lowercase();
                writeln!(text, "        ::bpfship_embed::plain_struct! {{")?;
                writeln!(text, "            /// aya 0.14 takes floats in a struct only.")?;
                writeln!(text, "            pub struct {what}: size {size}, align {align} {{ {field}: {rust} = 0 }}")?;
                writeln!(text, "        }}")?;
            }
            (Some(rust), None) => {
                let what = if is_ring { "Event" } else { what };
                writeln!(text, "        pub type {what} = {rust};")?;
            }
            (None, _) => {}
        }
    }
    let Some((name, shape)) = found else { return Ok(()) };
    let types = match shape {
        Shape::Plain | Shape::Ring => "",
        Shape::Value if value.is_some() => ", Value",
        Shape::Key if key.is_some() => ", Key",
        Shape::KeyValue if key.is_some() && value.is_some() => ", Key, Value",
        Shape::Maps => ", ::aya::maps::MapData",
        Shape::KeyMaps if key.is_some() => ", Key, ::aya::maps::MapData",
        _ => return Ok(()),
    };
    match (is_ring, &value) {
        (true, Some(_)) => writeln!(text, "        ::bpfship_embed::ring_buffer!(Event);")?,
        (true, None) => writeln!(text, "        ::bpfship_embed::owned_map!({name});")?,
        (false, _) => writeln!(text, "        ::bpfship_embed::map!({name}{types});")?,
    }
    Ok(())
}
