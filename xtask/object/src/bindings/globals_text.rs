//! Global variables as Rust: set before an object is loaded, and read after.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;

use super::aya;
use super::model::{Model, Section};
use super::names::{camel_case, free, identifier, plain};
use super::types::{Body, Definition};
use super::types_text::{Shape, structure, ty};

pub fn write(text: &mut String, model: &Model, names: &[String]) -> Result<()> {
    let is_any = |section: &Section| !section.variables.is_empty();
    let variables = model.sections.iter().any(is_any);
    load(text, model, variables)?;
    if model.sections.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n/// The global variables: those that are not `static`.\npub mod globals {{")?;
    let mut taken = BTreeSet::from(["Overrides".to_owned()]);
    if variables {
        overrides(text, model, names)?;
    }
    for name in model.sections.iter().flat_map(|section| &section.large) {
        writeln!(text, "    // `{name}` is too large to be set at once.")?;
    }
    let mut sections = String::new();
    for section in model.sections.iter().filter(|section| is_any(section) || !section.large.is_empty()) {
        read(&mut sections, section, names, &mut taken)?;
    }
    for line in sections.lines() {
        writeln!(text, "{}{line}", if line.is_empty() { "" } else { "    " })?;
    }
    writeln!(text, "}}")?;
    Ok(())
}

fn load(text: &mut String, model: &Model, has_variables: bool) -> Result<()> {
    let parameter = if has_variables { "overrides: &globals::Overrides" } else { "" };
    writeln!(text, "\n/// Gives the object to the kernel: its maps now, its programs when they are attached.")?;
    if has_variables {
        writeln!(text, "///\n/// Variables get their values from `overrides`.")?;
    }
    writeln!(text, "pub fn load({parameter}) -> ::core::result::Result<::aya::Ebpf, ::aya::EbpfError> {{")?;
    writeln!(text, "    let mut loader = ::aya::EbpfLoader::new();")?;
    if has_variables {
        writeln!(text, "    overrides.apply(&mut loader);")?;
    }
    if model.maps.iter().any(|map| aya::is_unsupported(map.kind)) {
        writeln!(text, "    loader.allow_unsupported_maps();")?;
    }
    writeln!(text, "    loader.load(object())\n}}")?;
    Ok(())
}

fn overrides(text: &mut String, model: &Model, names: &[String]) -> Result<()> {
    let mut taken = BTreeSet::new();
    let variables: Vec<_> = model.sections.iter().flat_map(|section| &section.variables).collect();
    let variables: Vec<_> = variables
        .into_iter()
        .map(|(name, of)| (free([identifier(name)], &mut taken), name, ty(of, names, 1)))
        .collect();
    writeln!(text, "    ::bpfship_embed::overrides! {{")?;
    for (field, name, of) in &variables {
        writeln!(text, "        {field} {name:?}: {of},")?;
    }
    writeln!(text, "    }}")?;
    Ok(())
}

fn read(text: &mut String, section: &Section, names: &[String], taken: &mut BTreeSet<String>) -> Result<()> {
    let Section { name, size, whole, .. } = section;
    let Some(Definition { size: whole, align, has_float, body: Body::Fields(fields), .. }) = whole else {
        writeln!(text, "\n// `{name}` has {size} bytes, too many to be read at once.")?;
        return Ok(());
    };
    let of = free([camel_case(name)], taken);
    let what = format!("The variables in `{name}`");
    let shape = Shape { name: &of, what: &what, size: *whole, align: *align, has_float: *has_float };
    structure(text, &shape, fields, names, 1)?;
    let function = free([plain(&name.trim_start_matches('.').replace('.', "_"))], taken);
    writeln!(text, "::bpfship_embed::section!({function}, {name:?}, {size} bytes, {of});")?;
    Ok(())
}
