//! Structs, unions and enums as Rust.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;

use anyhow::Result;

use super::names::{camel_case, free, identifier, plain};
use super::types::{Body, Content, Definition, Field, Member, Ty};

/// What else is at the top of bindings, and Rust's own names for what they are made of.
const TAKEN: [&str; 25] = [
    "object",
    "load",
    "globals",
    "maps",
    "programs",
    "KERNEL_NEEDS",
    "Self",
    "u8",
    "i8",
    "u16",
    "i16",
    "u32",
    "i32",
    "u64",
    "i64",
    "f32",
    "f64",
    "i128",
    "u128",
    "bool",
    "aya",
    "core",
    "bpfship_embed",
    "str",
    "std",
];

/// The module above.
const ABOVE: &str = "super";

/// The names of types, in their order. They depend on the names in C alone, and on the order of types only where two have one.
pub fn names(definitions: &[Definition]) -> Vec<String> {
    let mut taken: BTreeSet<String> = TAKEN.map(String::from).into();
    let mut order: Vec<usize> = (0..definitions.len()).collect();
    order.sort_by_key(|index| {
        let found = &definitions[*index];
        (!found.is_named, &found.words, found.kind, found.size)
    });
    let mut names = vec![String::new(); definitions.len()];
    for index in order {
        let Definition { words, kind, .. } = &definitions[index];
        let raw = plain(&words.replace(' ', "_"));
        names[index] = free([camel_case(words), identifier(&raw), format!("{raw}_{kind}")], &mut taken);
    }
    names
}

/// A type as Rust writes it, in a module this far below that of the types.
pub fn ty(ty: &Ty, names: &[String], depth: usize) -> String {
    match ty {
        Ty::Int { bytes, signed: true, .. } => format!("i{}", 8 * bytes),
        Ty::Int { bytes, .. } => format!("u{}", 8 * bytes),
        Ty::Float(bytes) => format!("f{}", 8 * bytes),
        Ty::Bytes(bytes) => format!("[u8; {bytes}]"),
        Ty::Array(element, length) => format!("[{}; {length}]", self::ty(element, names, depth)),
        Ty::Named(index) => format!("{}{}", [ABOVE, "::"].concat().repeat(depth), names[*index]),
    }
}

pub fn write(text: &mut String, definitions: &[Definition], names: &[String]) -> Result<()> {
    let mut order: Vec<usize> = (0..definitions.len()).collect();
    order.sort_by_key(|index| &names[*index]);
    for index in order {
        let (found, name) = (&definitions[index], &names[index]);
        let what = match found.is_named {
            true => format!("`{} {}`", found.kind, found.words),
            false => format!("The {} `{}`", found.kind, found.words.replace(' ', ".")),
        };
        match &found.body {
            Body::Fields(fields) => {
                let Definition { size, align, has_float, .. } = *found;
                structure(text, &Shape { name, what: &what, size, align, has_float }, fields, names, 0)?;
            }
            Body::Values { signed, values } => {
                writeln!(text, "\n::bpfship_embed::plain_enum! {{\n    /// {what}")?;
                enumeration(text, name, found, *signed, values)?;
            }
        }
    }
    Ok(())
}

fn enumeration(
    text: &mut String,
    name: &str,
    found: &Definition,
    signed: bool,
    values: &[(String, i128)],
) -> Result<()> {
    let number = ty(&Ty::Int { bytes: found.size, signed, bool: false }, &[], 0);
    writeln!(text, "    pub enum {name}: {number}, align {} {{", found.align)?;
    let mut taken = BTreeSet::new();
    for (value_name, value) in values {
        writeln!(text, "        {} = {value},", free([identifier(value_name)], &mut taken))?;
    }
    writeln!(text, "    }}\n}}")?;
    Ok(())
}

/// What a struct of C is as a whole.
pub struct Shape<'a> {
    pub name: &'a str,
    /// What it is in C.
    pub what: &'a str,
    pub size: u64,
    pub align: u64,
    pub has_float: bool,
}

/// A struct, and functions for the members that are no fields in Rust. `depth` is how far below the types it is.
pub fn structure(text: &mut String, shape: &Shape, fields: &[Field], names: &[String], depth: usize) -> Result<()> {
    let Shape { name, what, size, align, has_float } = shape;
    let equal = if *has_float { "" } else { "    #[derive(PartialEq, Eq, Hash)]\n" };
    writeln!(
        text,
        "\n::bpfship_embed::plain_struct! {{\n    /// {what}\n{equal}    pub struct {name}: size {size}, align {align} {{"
    )?;
    let mut taken = BTreeSet::new();
    // In the order of their offsets; `self` and `self_` are both `self_` in Rust.
    let mut names_of_members: VecDeque<String> = VecDeque::new();
    for field in fields {
        if let Content::Member(member) = &field.content {
            names_of_members.push_back(free([identifier(&member.name)], &mut taken));
        }
    }
    let mut accessors = String::new();
    let mut methods = BTreeSet::new();
    for Field { offset, size, content } in fields {
        match content {
            Content::Member(member) => {
                if let Ty::Int { bool: true, .. } = member.ty {
                    writeln!(text, "        /// A `bool`: 0 or 1")?;
                }
                let name = names_of_members.pop_front().unwrap_or_default();
                writeln!(text, "        {name}: {} = {offset},", ty(&member.ty, names, depth))?;
            }
            Content::Members(members) => {
                let list: Vec<String> = members.iter().map(|member| format!("`{}`", member.name)).collect();
                writeln!(text, "        /// {}", list.join(", "))?;
                let field = free([format!("bytes_{offset}")], &mut taken);
                writeln!(text, "        {field}: [u8; {size}] = {offset},")?;
                for member in members {
                    let of = ty(&member.ty, names, depth);
                    accessor(&mut accessors, member, *offset, &format!("{name}.{field}"), &of, &mut methods)?;
                }
            }
            Content::Padding => {
                let field = free([format!("padding_{offset}")], &mut taken);
                writeln!(text, "        #[doc(hidden)]\n        {field}: [u8; {size}] = {offset},")?;
            }
        }
    }
    writeln!(text, "    }}\n}}\n{accessors}")?;
    // A line for what follows, and none before it.
    text.truncate(text.trim_end().len());
    text.push('\n');
    Ok(())
}

/// A pair of functions that read and write a member in the bytes of a field, which begins at `base`.
fn accessor(
    text: &mut String,
    member: &Member,
    base: u64,
    field: &str,
    of: &str,
    methods: &mut BTreeSet<String>,
) -> Result<()> {
    let get = free([identifier(&member.name)], methods);
    let set = free([format!("set_{}", plain(&member.name))], methods);
    let (offset, bits) = (member.bit_offset - 8 * base, member.bit_size);
    if bits == 0 {
        writeln!(text, "::bpfship_embed::member!({field} at {}: {of}, {get}, {set});", offset / 8)?;
        return Ok(());
    }
    let (begin, end, from) = (offset / 8, (offset + bits).div_ceil(8), offset % 8);
    let is_bool = bits == 1 && matches!(member.ty, Ty::Int { bool: true, .. });
    let of = if is_bool { "bool" } else { of };
    writeln!(
        text,
        "::bpfship_embed::bit_field!({field}[{begin}..{end}] from {from}, {bits} bits: {of}, {get}, {set});"
    )?;
    Ok(())
}
