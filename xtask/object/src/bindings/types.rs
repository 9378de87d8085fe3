//! The types that bindings are for, laid out: from BTF to fields of which each has its offset.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

use crate::btf::{Btf, Kind, Type};
use crate::co_re;

/// A type as Rust can write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ty {
    Int {
        bytes: u64,
        signed: bool,
        /// It is one in C. In Rust it is a number: there, a `bool` that is neither 0 nor 1 must not be.
        bool: bool,
    },
    /// Of 4 or 8 bytes.
    Float(u64),
    /// What Rust has no type for.
    Bytes(u64),
    Array(Box<Ty>, u64),
    /// A struct, union or enum, by its index in [`Types`].
    Named(usize),
}

/// A struct, union or enum.
#[derive(Debug, Clone)]
pub struct Definition {
    /// `struct`, `union` or `enum`.
    pub kind: &'static str,
    /// What it is named after: its own name, that of a typedef, or its parent and what it is of that.
    pub words: String,
    /// Whether that is its own name.
    pub is_named: bool,
    pub size: u64,
    pub align: u64,
    pub has_float: bool,
    pub body: Body,
}

#[derive(Debug, Clone)]
pub enum Body {
    /// The bytes of a struct or union, from the first to the last.
    Fields(Vec<Field>),
    Values {
        signed: bool,
        values: Vec<(String, i128)>,
    },
}

/// A part of a struct.
#[derive(Debug, Clone)]
pub struct Field {
    pub offset: u64,
    pub size: u64,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    /// A member that a field of Rust can be.
    Member(Member),
    /// Members that overlap, as those of unions and bit fields do, or that are not aligned.
    Members(Vec<Member>),
    Padding,
}

/// A member; those of members without a name are their parent's.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    pub ty: Ty,
    pub bit_offset: u64,
    /// 0 if it is no bit field.
    pub bit_size: u64,
    size: u64,
    align: u64,
}

/// What an anonymous type is named after.
#[derive(Debug, Clone)]
pub struct Hint(pub String);

/// Types, each with all types that it consists of.
pub struct Types<'btf, 'data> {
    pub btf: &'btf Btf<'data>,
    /// None while one is being laid out.
    pub definitions: Vec<Option<Definition>>,
    by_id: BTreeMap<u32, usize>,
    /// How many types the one that is laid out is within.
    depth: usize,
    /// Members that were looked at.
    looked_at: usize,
}

/// Bounds of what is read, without which a small file could ask for a lot of work: members of all types, steps to what a type
/// is, types within types, and bytes. No map has values of 2 GiB.
const MAX_MEMBERS: usize = 200_000;
const MAX_DEPTH: usize = 32;
const MAX_NESTING: usize = 64;
const MAX_SIZE: u64 = i32::MAX as u64;

/// The bytes that 24 bits can count the bits of.
const MAX_SIZE_WITH_BITS: u64 = 1 << 21;

/// The largest alignment. Nothing that the kernel hands over is aligned to more, and Rust needs no more for any number in it.
const MAX_ALIGN: u64 = 8;

impl<'btf, 'data> Types<'btf, 'data> {
    pub fn new(btf: &'btf Btf<'data>) -> Types<'btf, 'data> {
        Types { btf, definitions: Vec::new(), by_id: BTreeMap::new(), depth: 0, looked_at: 0 }
    }

    /// The type with this id. Gives a type of its own to each struct, union and enum in it.
    pub fn resolve(&mut self, id: u32, hint: &Hint) -> Result<Ty> {
        ensure!(self.depth < MAX_NESTING, "it is within more than {MAX_NESTING} types");
        self.depth += 1;
        let resolved = self.resolve_one(id, hint);
        self.depth -= 1;
        resolved
    }

    fn resolve_one(&mut self, id: u32, hint: &Hint) -> Result<Ty> {
        let (mut id, mut hint) = (id, hint.clone());
        for _ in 0..MAX_DEPTH {
            let found = self.btf.get(id).context("it is void")?;
            let name = co_re::name(found)?;
            match found.kind {
                Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {
                    if found.kind == Kind::Typedef {
                        hint = Hint(name);
                    }
                    id = found.target().context("a type without what it is of")?;
                }
                Kind::Int => return int(found, &name),
                Kind::Pointer => return Ok(Ty::Int { bytes: 8, signed: false, bool: false }),
                Kind::Float => {
                    let size = found.size().unwrap_or_default().into();
                    return Ok(if matches!(size, 4 | 8) { Ty::Float(size) } else { Ty::Bytes(size) });
                }
                Kind::Array => {
                    let element = found.target().context("an array of nothing")?;
                    let length = found.size().unwrap_or_default().into();
                    let element = self.resolve(element, &hint)?;
                    let size = self.size(&element).checked_mul(length);
                    ensure!(size.is_some_and(|size| size <= MAX_SIZE), "an array has more than 2 GiB");
                    return Ok(Ty::Array(Box::new(element), length));
                }
                Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 => return self.define(id, found, &name, hint),
                kind => bail!("it is a {kind}, of which there are no values"),
            }
        }
        bail!("it is behind more than {MAX_DEPTH} names")
    }

    fn define(&mut self, id: u32, found: &Type<'data>, name: &str, hint: Hint) -> Result<Ty> {
        if let Some(index) = self.by_id.get(&id) {
            ensure!(self.definitions[*index].is_some(), "{} {name} contains itself", found.kind);
            return Ok(Ty::Named(*index));
        }
        let index = self.definitions.len();
        self.definitions.push(None);
        self.by_id.insert(id, index);
        let words = if name.is_empty() { hint.0 } else { name.to_owned() };
        let size = u64::from(found.size().unwrap_or_default());
        ensure!(size <= MAX_SIZE, "it has more than 2 GiB");
        let (align, has_float, body) = match found.kind {
            Kind::Struct | Kind::Union => {
                // The place of a member has 24 bits there, and the other 8 are how many bits it has: clang lets the one flow over
                // into the other.
                ensure!(
                    !found.kind_flag() || size <= MAX_SIZE_WITH_BITS,
                    "{} {words} has bit fields and more than 2 MiB, and BTF cannot say where its members are",
                    found.kind
                );
                let mut members = Vec::new();
                self.members(found, 0, &words, 0, &mut members).with_context(|| format!("{} {words}", found.kind))?;
                let has_float = members.iter().any(|member| self.has_float(&member.ty));
                let (align, fields) = lay_out(size, members).with_context(|| format!("{} {words}", found.kind))?;
                (align, has_float, Body::Fields(fields))
            }
            _ => {
                ensure!(matches!(size, 1 | 2 | 4 | 8), "enum {words} has {size} bytes");
                let signed = found.kind_flag();
                // BTF has 32 bits of those of a smaller enum, too; and clang says of one whose type has a name (`enum e : __s8`)
                // that it is unsigned.
                let above = 128 - 8 * size as u32;
                let fit = |value: i128| match signed {
                    true => value << above >> above,
                    false => value & (u128::MAX >> above).cast_signed(),
                };
                let value = |(name, value): (&[u8], i128)| (String::from_utf8_lossy(name).into_owned(), fit(value));
                let values = found.values().into_iter().map(value).collect();
                (size, false, Body::Values { signed, values })
            }
        };
        let kind = match found.kind {
            Kind::Struct => "struct",
            Kind::Union => "union",
            _ => "enum",
        };
        let definition = Definition { kind, words, is_named: !name.is_empty(), size, align, has_float, body };
        self.definitions[index] = Some(definition);
        Ok(Ty::Named(index))
    }

    /// Gathers the members of a struct or union, and for those without a name their members.
    fn members(
        &mut self,
        of: &Type<'data>,
        base: u64,
        words: &str,
        depth: usize,
        members: &mut Vec<Member>,
    ) -> Result<()> {
        ensure!(depth < MAX_DEPTH, "a member without a name is within more than {MAX_DEPTH} others");
        for member in of.members() {
            self.looked_at += 1;
            ensure!(self.looked_at <= MAX_MEMBERS, "there are more than {MAX_MEMBERS} members");
            let bit_offset = base + u64::from(member.bit_offset);
            if member.name.is_empty() {
                let inner = co_re::skip_mods_and_typedefs(self.btf, member.type_id)?;
                // Else it is a bit field for which C has no name either.
                if matches!(inner.kind, Kind::Struct | Kind::Union) {
                    self.members(inner, bit_offset, words, depth + 1, members)?;
                }
                continue;
            }
            let name = String::from_utf8_lossy(member.name).into_owned();
            let hint = Hint(format!("{words} {name}"));
            let ty = self.resolve(member.type_id, &hint).with_context(|| format!("member {name}"))?;
            let (size, align) = (self.size(&ty), self.align(&ty));
            let mut bit_size = u64::from(member.bit_size);
            if bit_size == 0 && !bit_offset.is_multiple_of(8) {
                bail!("member {name} begins within a byte");
            }
            if bit_size > 0 {
                ensure!(self.is_integer(&ty), "bit field {name} is no integer");
                ensure!(bit_size <= 64 && bit_size <= 8 * size, "bit field {name} has {bit_size} bits");
            }
            // A bit field that is a whole number at the place of one.
            if bit_size == 8 * size && bit_offset.is_multiple_of(8 * align) {
                bit_size = 0;
            }
            members.push(Member { name, ty, bit_offset, bit_size, size, align });
        }
        Ok(())
    }

    pub fn size(&self, ty: &Ty) -> u64 {
        match ty {
            Ty::Int { bytes, .. } | Ty::Float(bytes) | Ty::Bytes(bytes) => *bytes,
            Ty::Array(element, length) => self.size(element).saturating_mul(*length),
            Ty::Named(index) => self.definitions[*index].as_ref().map_or(0, |found| found.size),
        }
    }

    pub fn align(&self, ty: &Ty) -> u64 {
        match ty {
            Ty::Int { bytes, .. } | Ty::Float(bytes) => *bytes,
            Ty::Bytes(_) => 1,
            Ty::Array(element, _) => self.align(element),
            Ty::Named(index) => self.definitions[*index].as_ref().map_or(1, |found| found.align),
        }
    }

    pub fn has_float(&self, ty: &Ty) -> bool {
        match ty {
            Ty::Float(_) => true,
            Ty::Int { .. } | Ty::Bytes(_) => false,
            Ty::Array(element, _) => self.has_float(element),
            Ty::Named(index) => self.definitions[*index].as_ref().is_some_and(|found| found.has_float),
        }
    }

    fn is_integer(&self, ty: &Ty) -> bool {
        match ty {
            Ty::Int { .. } => true,
            Ty::Named(index) => {
                self.definitions[*index].as_ref().is_some_and(|found| matches!(found.body, Body::Values { .. }))
            }
            _ => false,
        }
    }

    /// A struct of variables at these offsets. Its size is a multiple of the largest alignment, so that it has that.
    pub fn section(&self, size: u64, variables: Vec<(String, Ty, u64)>) -> Result<Definition> {
        let size = size.next_multiple_of(MAX_ALIGN);
        let member = |(name, ty, offset): (String, Ty, u64)| {
            let (size, align) = (self.size(&ty), self.align(&ty));
            Member { name, ty, bit_offset: 8 * offset, bit_size: 0, size, align }
        };
        let has_float = variables.iter().any(|(_, ty, _)| self.has_float(ty));
        let (_, fields) = lay_out(size, variables.into_iter().map(member).collect())?;
        let (kind, words, body) = ("section", String::new(), Body::Fields(fields));
        Ok(Definition { kind, words, is_named: false, size, align: MAX_ALIGN, has_float, body })
    }
}

fn int(found: &Type, name: &str) -> Result<Ty> {
    const SIGNED: u32 = 1;
    const BOOL: u32 = 4;
    let bytes = u64::from(found.size().unwrap_or_default());
    let encoding = found.number(3).unwrap_or_default();
    ensure!(
        u64::from(encoding & 0xff) == 8 * bytes && encoding >> 16 & 0xff == 0,
        "{name} is a bit field of an old form"
    );
    Ok(match bytes {
        // What C calls `char` is mostly text, for which Rust takes unsigned bytes.
        1 | 2 | 4 | 8 => {
            Ty::Int { bytes, signed: encoding >> 24 & SIGNED != 0 && name != "char", bool: encoding >> 24 & BOOL != 0 }
        }
        _ => Ty::Bytes(bytes),
    })
}

/// Orders members by where they are, puts those together that overlap, and padding between them.
fn lay_out(size: u64, members: Vec<Member>) -> Result<(u64, Vec<Field>)> {
    let mut members = members;
    for member in &members {
        ensure!(member.end() <= size, "member {} is beyond its end", member.name);
    }
    let aligned = members.iter().filter(|member| member.bit_size > 0 || member.fits(size));
    let align = aligned.map(|member| member.align).filter(|align| size.is_multiple_of(*align)).max().unwrap_or(1);
    // What has no bytes is at no place: a flexible array, most of all.
    members.retain(|member| member.size > 0);
    members.sort_by_key(|member| (member.begin(), member.bit_offset));
    let mut groups: Vec<(u64, u64, Vec<Member>)> = Vec::new();
    for member in members {
        match groups.last_mut() {
            Some((_, end, group)) if member.begin() < *end => {
                *end = member.end().max(*end);
                group.push(member);
            }
            _ => groups.push((member.begin(), member.end(), vec![member])),
        }
    }
    let mut at = 0;
    let mut fields = Vec::new();
    for (begin, end, mut group) in groups {
        if begin > at {
            fields.push(Field { offset: at, size: begin - at, content: Content::Padding });
        }
        let content = match group.as_slice() {
            [only] if only.bit_size == 0 && only.fits(size) => Content::Member(group.remove(0)),
            _ => Content::Members(group),
        };
        fields.push(Field { offset: begin, size: end - begin, content });
        at = end;
    }
    if at < size {
        fields.push(Field { offset: at, size: size - at, content: Content::Padding });
    }
    Ok((align, fields))
}

impl Member {
    /// In bytes.
    fn begin(&self) -> u64 {
        self.bit_offset / 8
    }

    fn end(&self) -> u64 {
        match self.bit_size {
            0 => self.begin() + self.size,
            bits => (self.bit_offset + bits).div_ceil(8),
        }
    }

    /// Whether it is aligned in a struct of this size, of which there may be an array. A packed one mostly does not.
    fn fits(&self, size: u64) -> bool {
        debug_assert!(self.align <= MAX_ALIGN);
        self.begin().is_multiple_of(self.align) && size.is_multiple_of(self.align)
    }
}
