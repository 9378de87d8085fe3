//! Rust for what an object and its application share: types, maps, ring buffers, global variables and programs, for aya 0.14.
//!
//! Everything is text that is made from the bytes of objects alone: the same objects give the same text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::Endian;
use model::Model;

mod aya;
mod globals_text;
mod maps_text;
mod model;
mod names;
mod programs_text;
mod types;
mod types_text;

/// An object of a source.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// The name of its file: `tick_bpfel.o`.
    pub file: &'a str,
    /// In hexadecimal digits.
    pub sha256: &'a str,
    pub bytes: &'a [u8],
    /// The architectures that it is for, in Rust's words (`target_arch`); none if it is for all of its byte order that have no
    /// object of their own.
    pub arches: &'a [&'a str],
}

/// What is not in the objects.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// What the objects of the source share, as `embed!` takes it: `tick`.
    pub name: &'a str,
    /// Types that no map has: the events of perf buffers, most of all. Those that the objects do not have are left out.
    pub types: &'a [String],
}

/// Bindings, and the names of `types` that are among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bindings {
    pub text: String,
    pub types: BTreeSet<String>,
}

/// How the first line of all bindings ends.
pub const BY: &str = "written by `cargo xtask bpf`.";

/// Rust's words for what the header turns off.
const HEADER: &str = "\
#![cfg_attr(rustfmt, rustfmt_skip)]
#![allow(
    dead_code, non_camel_case_types, non_snake_case, non_upper_case_globals, unused_imports, unused_qualifications,
    reason = \"names are those of C, and not all of them are used\"
)]
#![allow(
    clippy::cast_lossless, clippy::doc_markdown, clippy::iter_not_returning_iterator,
    clippy::large_types_passed_by_value, clippy::len_without_is_empty, clippy::missing_errors_doc,
    clippy::module_inception, clippy::new_ret_no_self, clippy::pub_underscore_fields, clippy::should_implement_trait,
    clippy::similar_names, clippy::struct_field_names, clippy::trivially_copy_pass_by_ref, clippy::unreadable_literal,
    clippy::upper_case_acronyms, clippy::wrong_self_convention,
    reason = \"the same, and what one user needs, another does not\"
)]
";

/// Writes the bindings for all objects of one source.
pub fn render(objects: &[Object], options: &Options) -> Result<Bindings> {
    ensure!(!objects.is_empty(), "{} has no objects", options.name);
    let mut objects: Vec<&Object> = objects.iter().collect();
    objects.sort_by_key(|object| object.file);
    // Mostly, all say the same.
    let mut bodies: Vec<(String, Vec<(Endian, &Object)>)> = Vec::new();
    let mut types = BTreeSet::new();
    for object in &objects {
        let read = || format!("cannot write bindings for {}", object.file);
        let (endian, model) = Model::read(object.bytes, options.types).with_context(read)?;
        types.extend(model.found.iter().cloned());
        let body = body(&model, options).with_context(read)?;
        match bodies.iter_mut().find(|(other, _)| *other == body) {
            Some((_, same)) => same.push((endian, object)),
            None => bodies.push((body, vec![(endian, object)])),
        }
    }

    let mut text = format!("//! Bindings for the BPF object `{}`, {BY}\n//!\n", options.name);
    for object in &objects {
        writeln!(text, "//! object {} {}", object.sha256, object.file)?;
    }
    text.push_str(HEADER);
    match bodies.as_slice() {
        [(body, _)] => text.push_str(body),
        _ => {
            let with_own: BTreeMap<Endian, Vec<&str>> = own_arches(&objects, &bodies);
            for (number, (body, same)) in (1..).zip(&bodies) {
                let predicates: BTreeSet<String> =
                    same.iter().map(|(endian, object)| predicate(*endian, object, &with_own)).collect();
                let predicate = match predicates.len() {
                    1 => predicates.into_iter().collect::<String>(),
                    _ => format!("any({})", predicates.into_iter().collect::<Vec<_>>().join(", ")),
                };
                write!(text, "\n#[cfg({predicate})]\npub use layout_{number}::*;\n\n")?;
                let files: Vec<&str> = same.iter().map(|(_, object)| object.file).collect();
                writeln!(text, "/// What is in {}.", files.join(", "))?;
                write!(text, "#[cfg({predicate})]\npub mod layout_{number} {{\n{body}}}\n")?;
            }
        }
    }
    Ok(Bindings { text, types })
}

/// The architectures of each byte order that have an object of their own.
fn own_arches<'a>(
    objects: &[&Object<'a>],
    bodies: &[(String, Vec<(Endian, &Object<'a>)>)],
) -> BTreeMap<Endian, Vec<&'a str>> {
    let mut arches: BTreeMap<Endian, Vec<&str>> = BTreeMap::new();
    for (endian, object) in bodies.iter().flat_map(|(_, same)| same) {
        arches.entry(*endian).or_default().extend(object.arches);
    }
    debug_assert!(
        arches.values().map(Vec::len).sum::<usize>() >= objects.iter().map(|object| object.arches.len()).sum()
    );
    arches.values_mut().for_each(|arches| arches.sort_unstable());
    arches
}

/// For which targets an object is, in the language of `cfg`.
fn predicate(endian: Endian, object: &Object, own: &BTreeMap<Endian, Vec<&str>>) -> String {
    let of = |arches: &[&str]| {
        let mut arches: Vec<String> = arches.iter().map(|arch| format!("target_arch = \"{arch}\"")).collect();
        arches.sort();
        match arches.len() {
            1 => arches.concat(),
            _ => format!("any({})", arches.join(", ")),
        }
    };
    let endian_is = format!("target_endian = \"{}\"", endian.name());
    match (object.arches, own.get(&endian).map(Vec::as_slice).unwrap_or_default()) {
        ([], []) => endian_is,
        ([], others) => format!("all({endian_is}, not({}))", of(others)),
        (arches, _) => format!("all({endian_is}, {})", of(arches)),
    }
}

fn body(model: &Model, options: &Options) -> Result<String> {
    let names = types_text::names(&model.definitions);
    let mut text = String::new();
    let refused: Vec<String> = model
        .programs
        .iter()
        .filter(|program| aya::program(&program.section).is_none())
        .map(|program| format!("`{}`", program.section))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    writeln!(text)?;
    kernel_needs(&mut text, model)?;
    writeln!(text, "\n/// The object for this target.")?;
    let mut notes = model.without_aya.clone();
    if !refused.is_empty() {
        notes.push(format!("aya 0.14 refuses an object with a section {}.", refused.join(", ")));
    }
    for note in &notes {
        writeln!(text, "///\n/// {note}")?;
    }
    writeln!(text, "#[must_use]\npub fn object() -> &'static [u8] {{")?;
    writeln!(text, "    ::bpfship_embed::embed!({:?})\n}}", options.name)?;
    globals_text::write(&mut text, model, &names)?;
    maps_text::write(&mut text, model, &names)?;
    programs_text::write(&mut text, model)?;
    types_text::write(&mut text, &model.definitions, &names)?;
    Ok(text)
}

fn kernel_needs(text: &mut String, model: &Model) -> Result<()> {
    let oldest = match model.oldest_kernel.as_ref().and_then(|kernel| kernel.split_once('.')) {
        Some((major, minor)) => format!("Some(({major}, {minor}))"),
        None => "None".into(),
    };
    writeln!(text, "/// What it needs of a kernel.")?;
    writeln!(text, "pub const KERNEL_NEEDS: ::bpfship_embed::KernelNeeds = ::bpfship_embed::KernelNeeds {{")?;
    writeln!(text, "    oldest: {oldest},\n    btf: {},\n    features: &[", model.needs_kernel_btf)?;
    for need in &model.needs {
        writeln!(text, "        ({:?}, {:?}),", need.kernel, need.what)?;
    }
    writeln!(text, "    ],\n}};")?;
    Ok(())
}
