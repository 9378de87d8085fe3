//! CO-RE relocations: what a program needs to know about the types of the running kernel, written as in C.

use anyhow::{Context, Result, bail, ensure};

use crate::btf::{Btf, Field, Kind, Relocation, Type};

/// What a relocation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Field,
    Type,
    EnumValue,
}

/// The kinds of relocations, by their numbers: enum bpf_core_relo_kind in include/uapi/linux/bpf.h, in libbpf's words.
const KINDS: [(&str, Subject); 13] = [
    ("byte_off", Subject::Field),
    ("byte_sz", Subject::Field),
    ("field_exists", Subject::Field),
    ("signed", Subject::Field),
    ("lshift_u64", Subject::Field),
    ("rshift_u64", Subject::Field),
    ("local_type_id", Subject::Type),
    ("target_type_id", Subject::Type),
    ("type_exists", Subject::Type),
    ("type_size", Subject::Type),
    ("enumval_exists", Subject::EnumValue),
    ("enumval_value", Subject::EnumValue),
    ("type_matches", Subject::Type),
];

/// The most steps to a field, and from a type to what it stands for. libbpf has the same bounds.
const MAX_STEPS: usize = 64;
const MAX_DEPTH: usize = 32;

/// Bytes of a name, and of the description of one relocation.
const MAX_NAME: usize = 1000;

/// What an instruction needs to know of the kernel: a relocation, with the names that its numbers stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question<'data> {
    /// In libbpf's words.
    pub kind: &'static str,
    pub subject: Subject,
    /// The type that it begins with, in the object's BTF.
    pub root: u32,
    /// Which of several in a row: a pointer's target is the first of them.
    pub first: usize,
    /// From there to the field or value. A member without a name is no step, for the kernel may have the same field without it.
    pub steps: Vec<Step<'data>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'data> {
    /// A member of a struct or union, and its type.
    Member(&'data [u8], u32),
    /// An element of an array.
    Element(usize),
    /// A value of an enum.
    Value(&'data [u8]),
}

impl<'data> Question<'data> {
    pub fn read(btf: &Btf<'data>, relocation: &Relocation) -> Result<Question<'data>> {
        let (kind, subject) =
            *KINDS.get(relocation.kind as usize).with_context(|| format!("kind {} is not known", relocation.kind))?;
        let mut question = Question { kind, subject, root: relocation.type_id, first: 0, steps: Vec::new() };
        let mut current = skip_mods_and_typedefs(btf, relocation.type_id)?;
        let access = std::str::from_utf8(relocation.access)?;
        let numbers: Vec<usize> = access.split(':').take(MAX_STEPS + 1).map(str::parse).collect::<Result<_, _>>()?;
        ensure!(numbers.len() <= MAX_STEPS, "it has more than {MAX_STEPS} steps");
        match (subject, numbers.as_slice()) {
            (Subject::Type, _) => {}
            (Subject::EnumValue, [value]) => question.steps.push(Step::Value(enumerator(current, *value)?)),
            (_, [first, fields @ ..]) => {
                question.first = *first;
                for field in fields {
                    let (step, next) = member(current, *field)?;
                    question.steps.extend(step);
                    current = skip_mods_and_typedefs(btf, next)?;
                }
            }
            (_, []) => bail!("it leads nowhere"),
        }
        Ok(question)
    }

    /// What it is about: a type, a field of it, or a value of an enum.
    pub fn text(&self, btf: &Btf) -> Result<String> {
        let root = skip_mods_and_typedefs(btf, self.root)?;
        let own = name(root)?;
        let mut text = match btf.get(self.root).map(name).transpose()? {
            _ if !own.is_empty() => format!("{} {own}", root.kind),
            // `typedef struct { … } name;`
            Some(name) if !name.is_empty() => name,
            _ => format!("{} without a name", root.kind),
        };
        if self.first != 0 {
            text += &format!("[{}]", self.first);
        }
        for step in &self.steps {
            text += &match step {
                Step::Member(name, _) | Step::Value(name) => format!(".{}", plain(name)?),
                Step::Element(number) => format!("[{number}]"),
            };
            ensure!(text.len() <= MAX_NAME, "what it is about has more than {MAX_NAME} letters");
        }
        Ok(text)
    }
}

/// The kind of a relocation, and what it is about.
pub fn describe(btf: &Btf, relocation: &Relocation) -> Result<(&'static str, String)> {
    let question = Question::read(btf, relocation)?;
    Ok((question.kind, question.text(btf)?))
}

/// The type that a typedef, or one with `const` or the like before it, stands for.
pub fn skip_mods_and_typedefs<'btf, 'data>(btf: &'btf Btf<'data>, mut id: u32) -> Result<&'btf Type<'data>> {
    for _ in 0..MAX_DEPTH {
        let found = btf.get(id).context("it is about void")?;
        match (found.kind, found.fields.as_slice()) {
            (
                Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag,
                [_, _, Field::Type(next)],
            ) => id = *next,
            _ => return Ok(found),
        }
    }
    bail!("a type is behind more than {MAX_DEPTH} names")
}

/// The step to the member with this number, if it has a name, and its type.
fn member<'data>(of: &Type<'data>, number: usize) -> Result<(Option<Step<'data>>, u32)> {
    match (of.kind, of.fields.as_slice()) {
        (Kind::Struct | Kind::Union, [_, _, _, members @ ..]) => match members.chunks(3).nth(number) {
            Some([Field::Name(b""), Field::Type(id), _]) => Ok((None, *id)),
            Some([Field::Name(name), Field::Type(id), _]) => Ok((Some(Step::Member(name, *id)), *id)),
            _ => bail!("there is no member {number} in {} {}", of.kind, name(of)?),
        },
        (Kind::Array, [_, _, _, Field::Type(element), ..]) => Ok((Some(Step::Element(number)), *element)),
        (kind, _) => bail!("there are no members in {kind} {}", name(of)?),
    }
}

fn enumerator<'data>(of: &Type<'data>, number: usize) -> Result<&'data [u8]> {
    let fields = match of.kind {
        Kind::Enum => 2,
        Kind::Enum64 => 3,
        kind => bail!("there are no values in {kind} {}", name(of)?),
    };
    match of.fields.get(3 + fields * number) {
        Some(Field::Name(name)) => Ok(name),
        _ => bail!("there is no value {number} in enum {}", name(of)?),
    }
}

pub fn name(of: &Type) -> Result<String> {
    plain(of.name())
}

fn plain(name: &[u8]) -> Result<String> {
    ensure!(name.len() <= MAX_NAME, "a type has a name of {} bytes, and {MAX_NAME} are enough", name.len());
    Ok(String::from_utf8_lossy(name).into_owned())
}
