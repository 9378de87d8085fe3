//! Types as C writes them: around the name of what is declared.

use std::fmt::Write as _;

use anyhow::{Result, bail, ensure};

use super::{MAX_DEPTH, Wanted, Writer};
use crate::btf::parts::Member;
use crate::btf::{Field, Kind};
use crate::co_re;

/// What clang knows of numbers, by the words in their names.
const NUMBER_WORDS: [&str; 13] = [
    "char",
    "short",
    "int",
    "long",
    "signed",
    "unsigned",
    "_Bool",
    "__int128",
    "float",
    "double",
    "bool",
    "__int128_t",
    "__uint128_t",
];

/// Gaps of more bytes are filled by one member that has a name.
const LARGE_GAP: u64 = 16;

impl<'data> Writer<'_, 'data, '_> {
    /// `int *name[4]`.
    pub(super) fn declare(&mut self, id: u32, name: &str, indent: &str) -> Result<String> {
        ensure!(self.depth < MAX_DEPTH, "a type is within more than {MAX_DEPTH} others");
        self.depth += 1;
        let (mut id, mut inner, mut qualifiers) = (id, name.to_owned(), String::new());
        let base = loop {
            ensure!(inner.len() < 1 << 16, "a declaration has more than 64 kB");
            let Some(found) = self.btf.get(id) else { break "void".to_owned() };
            let target = found.target().unwrap_or_default();
            match found.kind {
                Kind::Const | Kind::Volatile if qualifiers.contains(&found.kind.to_string()) => {}
                Kind::Const | Kind::Volatile => qualifiers += &format!("{} ", found.kind),
                // Says nothing to a program that only reads.
                Kind::Restrict | Kind::TypeTag => {}
                Kind::Pointer => {
                    inner = format!("*{qualifiers}{inner}");
                    qualifiers.clear();
                    if self.is_behind(target) {
                        inner = format!("({inner})");
                    }
                }
                Kind::Array => inner = format!("{inner}[{}]", found.size().unwrap_or_default()),
                Kind::Prototype => {
                    let mut list = Vec::new();
                    for parameter in self.parameters(id)? {
                        // The last one stands for those that are not known.
                        list.push(if parameter == 0 { "...".into() } else { self.declare(parameter, "", indent)? });
                    }
                    let list = if list.is_empty() { "void".into() } else { list.join(", ") };
                    inner = format!("{inner}({list})");
                    qualifiers.clear();
                }
                _ => break self.base(id, indent)?,
            }
            id = target;
        };
        self.depth -= 1;
        Ok(format!("{qualifiers}{base} {inner}").trim_end().to_owned())
    }

    /// Whether a pointer to it needs parentheses.
    fn is_behind(&self, mut id: u32) -> bool {
        for _ in 0..MAX_DEPTH {
            match self.btf.get(id) {
                Some(found) if matches!(found.kind, Kind::Array | Kind::Prototype) => return true,
                Some(found) if matches!(found.kind, Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag) => {
                    id = found.target().unwrap_or_default();
                }
                _ => return false,
            }
        }
        false
    }

    fn base(&mut self, id: u32, indent: &str) -> Result<String> {
        let found = self.get(id)?;
        let (kind, is_named) = (found.kind, !found.name().is_empty());
        Ok(match kind {
            Kind::Int | Kind::Float => {
                let name = co_re::name(found)?;
                if !name.split(' ').all(|word| NUMBER_WORDS.contains(&word)) {
                    self.numbers.insert(id);
                }
                name
            }
            Kind::Struct | Kind::Union if !is_named => format!("{kind} {}", self.body(id, indent)?),
            Kind::Struct | Kind::Union => {
                self.tags.insert(id);
                format!("{kind} {}", self.names.of(id))
            }
            Kind::Forward => {
                let kind = if found.kind_flag() { "union" } else { "struct" };
                self.tags.insert(id);
                format!("{kind} {}", self.names.of(id))
            }
            Kind::Enum | Kind::Enum64 => format!("enum {}", self.names.of(id)),
            Kind::Typedef => self.names.of(id).to_owned(),
            kind => bail!("there is no value of a {kind}"),
        })
    }

    pub(super) fn parameters(&self, id: u32) -> Result<Vec<u32>> {
        let fields = self.get(id)?.fields.get(3..).unwrap_or_default().chunks(2);
        Ok(fields.filter_map(|parameter| if let [_, Field::Type(id)] = parameter { Some(*id) } else { None }).collect())
    }

    pub(super) fn enumeration(&self, id: u32) -> Result<String> {
        let found = self.get(id)?;
        let mut text = String::from("{\n");
        for (index, (_, value)) in found.values().iter().enumerate() {
            let suffix = match (found.kind, found.kind_flag()) {
                (Kind::Enum64, true) => "LL",
                (Kind::Enum64, false) => "ULL",
                _ => "",
            };
            // No number of C is so small.
            let value = match *value {
                value if value == i128::from(i64::MIN) => format!("({}LL - 1)", value + 1),
                value => format!("{value}{suffix}"),
            };
            writeln!(text, "\t{} = {value},", self.names.value(id, index))?;
        }
        let mode = match found.size() {
            Some(1) => " __attribute__((mode(QI)))",
            Some(2) => " __attribute__((mode(HI)))",
            Some(8) => " __attribute__((mode(DI)))",
            _ => "",
        };
        Ok(format!("{text}}}{mode}"))
    }

    /// The members that are wanted.
    pub(super) fn members(&self, id: u32) -> Result<Vec<Member<'data>>> {
        let found = self.get(id)?;
        let Wanted::Named(names) = self.wanted else { return Ok(found.members().collect()) };
        let mut wanted = Vec::new();
        for member in found.members() {
            let is_wanted = match member.name {
                b"" => self.has_wanted(member.type_id, 0),
                name => std::str::from_utf8(name).is_ok_and(|name| names.contains(name)),
            };
            if is_wanted {
                wanted.push(member);
            }
        }
        Ok(wanted)
    }

    /// Whether a struct has a member that is wanted.
    pub(super) fn has_wanted(&self, id: u32, depth: usize) -> bool {
        let Wanted::Named(names) = self.wanted else { return true };
        let Ok(found) = co_re::skip_mods_and_typedefs(self.btf, id) else { return false };
        depth < MAX_DEPTH
            && found.members().any(|member| match member.name {
                b"" => self.has_wanted(member.type_id, depth + 1),
                name => std::str::from_utf8(name).is_ok_and(|name| names.contains(name)),
            })
    }

    /// A struct or union from `{` on.
    pub(super) fn body(&mut self, id: u32, indent: &str) -> Result<String> {
        let found = self.get(id)?;
        let (is_union, bits) = (found.kind == Kind::Union, 8 * u64::from(found.size().unwrap_or_default()));
        let packed = self.layouts.is_packed(id);
        // Else BPF, whose pointers are larger, has another layout anyway.
        let exact = self.layouts.pointer_size() == 8;
        let inner = format!("{indent}\t");
        let (mut text, mut at, mut align) = (String::from("{\n"), 0, 1);
        for member in self.members(id)? {
            let name = String::from_utf8_lossy(member.name);
            let (offset, width) = (u64::from(member.bit_offset), u64::from(member.bit_size));
            let own = if packed { 1 } else { self.layouts.align(member.type_id) };
            let natural = match width {
                _ if is_union => 0,
                0 => next_multiple(at, 8 * own),
                // It begins anew where it would not fit into one number of its type.
                _ if !packed && at % (8 * own) + width > 8 * self.layouts.size(member.type_id) => {
                    next_multiple(at, 8 * own)
                }
                _ => at,
            };
            if exact && !is_union && natural != offset {
                gap(&mut text, &inner, at, offset)?;
            }
            let declared = self.declare(member.type_id, &name, &inner)?;
            let width_text = if width > 0 { format!(" : {width}") } else { String::new() };
            writeln!(text, "{inner}{declared}{width_text};")?;
            let size = if width > 0 { width } else { 8 * self.layouts.size(member.type_id) };
            at = at.max(offset + size);
            align = align.max(own);
        }
        let whole = if packed { 1 } else { self.real_align(id)? };
        let mut attributes = String::new();
        if exact && next_multiple(at, 8 * whole) != bits {
            // In a union, beside the others.
            gap(&mut text, &inner, if is_union { 0 } else { at }, bits)?;
        }
        if packed {
            attributes += " __attribute__((packed))";
        } else if exact && align < whole {
            write!(attributes, " __attribute__((aligned({whole})))")?;
        }
        Ok(format!("{text}{indent}}}{attributes}"))
    }

    /// That of all members, wanted or not.
    fn real_align(&self, id: u32) -> Result<u64> {
        let aligns = self.get(id)?.members().map(|member| self.layouts.align(member.type_id));
        Ok(aligns.max().unwrap_or(1))
    }
}

/// Fills the bits between two members.
fn gap(text: &mut String, indent: &str, mut at: u64, end: u64) -> Result<()> {
    if at < end && !at.is_multiple_of(8) {
        let bits = (8 - at % 8).min(end - at);
        writeln!(text, "{indent}char : {bits};")?;
        at += bits;
    }
    if end.saturating_sub(at) / 8 > LARGE_GAP {
        let bytes = (end - at) / 8;
        writeln!(text, "{indent}char bytes_{}[{bytes}];", at / 8)?;
        at += 8 * bytes;
    }
    while at < end {
        let sizes = [(64, "long long"), (32, "int"), (16, "short"), (8, "char")];
        let fits = |(bits, _): &&(u64, &str)| at.is_multiple_of(*bits) && end - at >= *bits;
        let (bits, number) = sizes.iter().find(fits).copied().unwrap_or((end - at, "char"));
        writeln!(text, "{indent}{number} : {bits};")?;
        at += bits;
    }
    Ok(())
}

fn next_multiple(bits: u64, of: u64) -> u64 {
    bits.checked_next_multiple_of(of.max(1)).unwrap_or(bits)
}
