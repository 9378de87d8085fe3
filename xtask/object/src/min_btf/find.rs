//! Which of a kernel's types a relocation means: the rules of libbpf, which aya has, too.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::btf::{Btf, Kind, Type};
use crate::co_re::{Question, Step, Subject, skip_mods_and_typedefs};

/// How far types of types are followed. libbpf has the same bound.
const MAX_DEPTH: usize = 32;

/// A type that is kept, and the member or value of it.
type Path = BTreeSet<(u32, Option<usize>)>;

/// An object's types, and a kernel's.
pub struct Search<'btf, 'data, 'kernel> {
    pub local: &'btf Btf<'data>,
    pub kernel: &'btf Btf<'kernel>,
}

/// The name that a kernel has for `name___flavor`.
pub fn without_flavor(name: &[u8]) -> &[u8] {
    let is_begin = |at: &usize| {
        let letters = &name[*at..];
        letters[0] != b'_' && letters[1..4] == *b"___" && letters[4] != b'_'
    };
    match (0..(name.len() + 1).saturating_sub(5)).rev().find(is_begin) {
        Some(at) => &name[..=at],
        None => name,
    }
}

impl Search<'_, '_, '_> {
    /// What of a kernel's type is asked for; none, if that type is not the one that is meant.
    pub fn find(&self, question: &Question, candidate: u32) -> Result<Option<Path>> {
        let (Some(root), Some(found)) = (self.local.get(question.root), self.kernel.get(candidate)) else {
            return Ok(None);
        };
        if !is_one_kind(root.kind, found.kind) {
            return Ok(None);
        }
        let mut path = Path::new();
        let is_it = match question.subject {
            Subject::Type if question.kind == "type_matches" => {
                self.keep_whole(candidate, false, &mut path, MAX_DEPTH)?;
                true
            }
            Subject::Type => {
                self.keep(candidate, true, &mut path, MAX_DEPTH)?;
                self.types_are_compatible(question.root, candidate, MAX_DEPTH)?
            }
            Subject::EnumValue => self.value(question, candidate, &mut path)?,
            Subject::Field => self.field(question, candidate, &mut path)?,
        };
        Ok(is_it.then_some(path))
    }

    /// Looks for a value of an enum by its name.
    fn value(&self, question: &Question, candidate: u32, path: &mut Path) -> Result<bool> {
        let [Step::Value(name)] = question.steps.as_slice() else { return Ok(false) };
        self.keep(candidate, false, path, MAX_DEPTH)?;
        let Some(id) = self.skip(candidate)? else { return Ok(false) };
        let values = self.kernel.get(id).map(Type::values).unwrap_or_default();
        let index = values.iter().position(|(found, _)| without_flavor(found) == without_flavor(name));
        path.insert((id, index));
        Ok(index.is_some())
    }

    /// Looks for a field, step by step.
    fn field(&self, question: &Question, candidate: u32, path: &mut Path) -> Result<bool> {
        self.keep(candidate, false, path, MAX_DEPTH)?;
        let mut at = candidate;
        // The member that the type is of, and whether it is the last one.
        let mut is_last = false;
        for step in &question.steps {
            let Some(id) = self.skip(at)? else { return Ok(false) };
            let Some(of) = self.kernel.get(id) else { return Ok(false) };
            let found = match step {
                Step::Member(name, local) => self.member(id, name, *local, path, MAX_DEPTH)?,
                Step::Element(number) if of.kind == Kind::Array => {
                    let length = of.size().unwrap_or_default() as usize;
                    // A flexible one has no length.
                    let is_there = *number < length || (length == 0 && is_last);
                    of.target().filter(|_| is_there).map(|element| (element, false))
                }
                _ => None,
            };
            let Some(next) = found else { return Ok(false) };
            (at, is_last) = next;
            self.keep(at, false, path, MAX_DEPTH)?;
        }
        Ok(true)
    }

    /// A member by its name, in what has no name, too: its type, and whether nothing follows it.
    fn member(&self, id: u32, name: &[u8], local: u32, path: &mut Path, depth: usize) -> Result<Option<(u32, bool)>> {
        let (Some(of), Some(depth)) = (self.kernel.get(id), depth.checked_sub(1)) else { return Ok(None) };
        let count = of.members().count();
        for (index, member) in of.members().enumerate() {
            let found = if member.name.is_empty() {
                match self.skip(member.type_id)? {
                    Some(inner) => self.member(inner, name, local, path, depth)?,
                    None => None,
                }
            } else if member.name == name {
                let is_it = self.fields_are_compatible(local, member.type_id, MAX_DEPTH)?;
                if !is_it {
                    return Ok(None);
                }
                Some((member.type_id, index + 1 == count))
            } else {
                None
            };
            if found.is_some() {
                path.insert((id, Some(index)));
                self.keep(member.type_id, false, path, MAX_DEPTH)?;
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// What a kernel's type stands for.
    fn skip(&self, mut id: u32) -> Result<Option<u32>> {
        for _ in 0..MAX_DEPTH {
            match self.kernel.get(id) {
                Some(found) if is_name_or_modifier(found.kind) => id = found.target().context("a name for nothing")?,
                Some(_) => return Ok(Some(id)),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Keeps a type and what its size depends on, but no members; and if they matter, the types that pointers lead to.
    fn keep(&self, id: u32, follow: bool, path: &mut Path, depth: usize) -> Result<()> {
        let Some(found) = self.kernel.get(id) else { return Ok(()) };
        ensure!(depth > 0, "a type of the kernel leads to more than {MAX_DEPTH} others");
        if path.contains(&(id, None)) {
            return Ok(());
        }
        path.insert((id, None));
        match found.kind {
            Kind::Pointer if !follow => Ok(()),
            Kind::Struct | Kind::Union => Ok(()),
            _ => found.references().try_for_each(|id| self.keep(id, follow, path, depth - 1)),
        }
    }

    /// Keeps a type with all that it consists of. Of what a pointer leads to, the name is enough.
    fn keep_whole(&self, id: u32, behind_pointer: bool, path: &mut Path, depth: usize) -> Result<()> {
        let Some(found) = self.kernel.get(id) else { return Ok(()) };
        ensure!(depth > 0, "a type of the kernel leads to more than {MAX_DEPTH} others");
        let is_composite = matches!(found.kind, Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64);
        let parts = if found.kind == Kind::Struct || found.kind == Kind::Union {
            found.members().count()
        } else {
            found.values().len()
        };
        let whole = is_composite && !behind_pointer;
        let last = (id, parts.checked_sub(1).filter(|_| whole));
        if path.contains(&last) {
            return Ok(());
        }
        path.insert((id, None));
        if whole {
            path.extend((0..parts).map(|index| (id, Some(index))));
        }
        if is_composite && !whole {
            return Ok(());
        }
        let behind_pointer = behind_pointer || found.kind == Kind::Pointer;
        found.references().try_for_each(|id| self.keep_whole(id, behind_pointer, path, depth - 1))
    }

    /// Whether a field may be read as the one that is meant.
    fn fields_are_compatible(&self, local: u32, kernel: u32, depth: usize) -> Result<bool> {
        let (Some(local), Some(depth)) = (skip_mods_and_typedefs(self.local, local).ok(), depth.checked_sub(1)) else {
            return Ok(false);
        };
        let Some(kernel) = self.skip(kernel)?.and_then(|id| self.kernel.get(id)) else { return Ok(false) };
        let is_composite = |found: &Type| matches!(found.kind, Kind::Struct | Kind::Union);
        if is_composite(local) && is_composite(kernel) {
            return Ok(true);
        }
        Ok(is_one_kind(local.kind, kernel.kind)
            && match local.kind {
                Kind::Pointer | Kind::Float => true,
                Kind::Forward | Kind::Enum | Kind::Enum64 => {
                    let (a, b) = (without_flavor(local.name()), without_flavor(kernel.name()));
                    a.is_empty() || b.is_empty() || a == b
                }
                Kind::Int => is_whole_int(local) && is_whole_int(kernel),
                Kind::Array => match (local.target(), kernel.target()) {
                    (Some(local), Some(kernel)) => self.fields_are_compatible(local, kernel, depth)?,
                    _ => false,
                },
                _ => false,
            })
    }

    /// Whether a type is the one that is meant, as far as libbpf looks: not at the members of structs.
    fn types_are_compatible(&self, local: u32, kernel: u32, depth: usize) -> Result<bool> {
        let Some(depth) = depth.checked_sub(1) else { return Ok(false) };
        let local = skip_mods_and_typedefs(self.local, local).ok();
        let kernel = self.skip(kernel)?.and_then(|id| self.kernel.get(id));
        let (local, kernel) = match (local, kernel) {
            (Some(local), Some(kernel)) => (local, kernel),
            // Both are void.
            (local, kernel) => return Ok(local.is_none() && kernel.is_none()),
        };
        if !is_one_kind(local.kind, kernel.kind) {
            return Ok(false);
        }
        Ok(match local.kind {
            Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Forward => true,
            Kind::Int => is_whole_int(local) && is_whole_int(kernel),
            Kind::Pointer | Kind::Array => match (local.target(), kernel.target()) {
                (Some(local), Some(kernel)) => self.types_are_compatible(local, kernel, depth)?,
                _ => false,
            },
            Kind::Prototype => {
                let pairs: Vec<(u32, u32)> = local.references().zip(kernel.references()).collect();
                local.references().count() == kernel.references().count()
                    && pairs.iter().try_fold(true, |all, (local, kernel)| {
                        anyhow::Ok(all && self.types_are_compatible(*local, *kernel, depth)?)
                    })?
            }
            _ => false,
        })
    }
}

/// Whether the two kinds may stand for each other: an enum has more bits on some kernels.
fn is_one_kind(a: Kind, b: Kind) -> bool {
    let is_enum = |kind| matches!(kind, Kind::Enum | Kind::Enum64);
    a == b || (is_enum(a) && is_enum(b))
}

/// The old way to write a bit field is an integer that begins within another.
fn is_whole_int(int: &Type) -> bool {
    int.number(3).is_some_and(|encoding| encoding >> 16 & 0xff == 0)
}

fn is_name_or_modifier(kind: Kind) -> bool {
    matches!(kind, Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag)
}

/// The types that decide whether a kernel's are those that are meant.
pub fn types_in_words(local: &Btf, question: &Question) -> Result<String> {
    let root = |root: &Type| format!("{} {}", root.kind, String::from_utf8_lossy(without_flavor(root.name())));
    let mut words: Vec<String> = local.get(question.root).map(root).into_iter().collect();
    for step in &question.steps {
        if let Step::Member(_, id) = step {
            words.push(type_in_words(local, *id, MAX_DEPTH));
        }
    }
    // libbpf looks at all of these.
    if question.subject == Subject::Type {
        words.push(type_in_words(local, question.root, MAX_DEPTH));
    }
    Ok(words.join(", "))
}

fn type_in_words(local: &Btf, id: u32, depth: usize) -> String {
    let (Ok(found), Some(depth)) = (skip_mods_and_typedefs(local, id), depth.checked_sub(1)) else {
        return "void".into();
    };
    let name = String::from_utf8_lossy(without_flavor(found.name()));
    match found.kind {
        Kind::Array | Kind::Prototype => {
            let of: Vec<String> = found.references().map(|id| type_in_words(local, id, depth)).collect();
            format!("{} of {}", found.kind, of.join(" and "))
        }
        Kind::Enum | Kind::Enum64 | Kind::Forward if !name.is_empty() => format!("{} {name}", found.kind),
        kind => kind.to_string(),
    }
}
