//! BTF, the kernel's format for types, read strictly.
//!
//! The format: <https://docs.kernel.org/bpf/btf.html>.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail, ensure};

use crate::Endian;

pub mod canonical;
pub mod find;
pub mod parts;
pub mod rust;

/// The contents of a section `.BTF`.
#[derive(Debug)]
pub struct Btf<'data> {
    /// Type 1 comes first; 0 stands for `void`, and is not written.
    pub types: Vec<Type<'data>>,
    /// By their offsets.
    strings: BTreeMap<u32, &'data [u8]>,
}

/// A type, field by field. All of BTF consists of fields of 32 bits.
#[derive(Debug)]
pub struct Type<'data> {
    pub kind: Kind,
    /// Its name, the number that holds kind, flags and `vlen`, and what the kind adds.
    pub fields: Vec<Field<'data>>,
}

/// 32 bits of a type, or of a record in `.BTF.ext`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field<'data> {
    Number(u32),
    /// The id of a type.
    Type(u32),
    Name(&'data [u8]),
}

/// What a field means.
#[derive(Debug, Clone, Copy)]
enum FieldKind {
    Number,
    Type,
    Name,
}

/// The kinds of types, by their numbers: `BTF_KIND_*` in include/uapi/linux/btf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Int = 1,
    Pointer,
    Array,
    Struct,
    Union,
    Enum,
    Forward,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Function,
    Prototype,
    Variable,
    DataSection,
    Float,
    DeclarationTag,
    TypeTag,
    Enum64,
}

/// How the types of one kind are written.
#[derive(Debug)]
struct Layout {
    kind: Kind,
    /// As in C, as far as C has it.
    name: &'static str,
    /// The fields after the name and the flags.
    fields: &'static [FieldKind],
    /// The fields of each member, value, parameter or variable. `vlen` of them follow.
    member_layout: &'static [FieldKind],
}

/// By number, from 1 on.
static LAYOUTS: [Layout; 19] = {
    use FieldKind::{Name, Number, Type};
    const fn layout(
        kind: Kind,
        name: &'static str,
        fields: &'static [FieldKind],
        member_layout: &'static [FieldKind],
    ) -> Layout {
        Layout { kind, name, fields, member_layout }
    }
    [
        layout(Kind::Int, "int", &[Number, Number], &[]),
        layout(Kind::Pointer, "pointer", &[Type], &[]),
        layout(Kind::Array, "array", &[Number, Type, Type, Number], &[]),
        layout(Kind::Struct, "struct", &[Number], &[Name, Type, Number]),
        layout(Kind::Union, "union", &[Number], &[Name, Type, Number]),
        layout(Kind::Enum, "enum", &[Number], &[Name, Number]),
        layout(Kind::Forward, "forward declaration", &[Number], &[]),
        layout(Kind::Typedef, "typedef", &[Type], &[]),
        layout(Kind::Volatile, "volatile", &[Type], &[]),
        layout(Kind::Const, "const", &[Type], &[]),
        layout(Kind::Restrict, "restrict", &[Type], &[]),
        layout(Kind::Function, "function", &[Type], &[]),
        layout(Kind::Prototype, "prototype", &[Type], &[Name, Type]),
        layout(Kind::Variable, "variable", &[Type, Number], &[]),
        layout(Kind::DataSection, "data section", &[Number], &[Type, Number, Number]),
        layout(Kind::Float, "float", &[Number], &[]),
        layout(Kind::DeclarationTag, "declaration tag", &[Type, Number], &[]),
        layout(Kind::TypeTag, "type tag", &[Type], &[]),
        layout(Kind::Enum64, "enum64", &[Number], &[Name, Number, Number]),
    ]
};

impl Kind {
    fn from_number(number: u32) -> Option<Kind> {
        Some(LAYOUTS.get((number as usize).checked_sub(1)?)?.kind)
    }

    fn layout(self) -> &'static Layout {
        &LAYOUTS[self as usize - 1]
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.layout().name)
    }
}

/// The records of `.BTF.ext`: what each describes of instructions, and its layout.
const RECORDS: [(&str, &[FieldKind]); 3] = [
    ("functions", &[FieldKind::Number, FieldKind::Type]),
    ("lines", &[FieldKind::Number, FieldKind::Name, FieldKind::Name, FieldKind::Number]),
    ("relocations", &[FieldKind::Number, FieldKind::Type, FieldKind::Name, FieldKind::Number]),
];

/// One of the relocations in `.BTF.ext`: what an instruction needs to know about the kernel's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Relocation<'data> {
    pub section: &'data [u8],
    /// Of the instruction in that section, in bytes.
    pub offset: u32,
    pub type_id: u32,
    /// Numbers with colons between them: the path from the type to the field or value.
    pub access: &'data [u8],
    pub kind: u32,
}

/// How long the headers of the two sections are, in bytes.
const HEADER: usize = 24;
const EXT_HEADER: usize = 32;

impl<'data> Btf<'data> {
    /// Reads a section `.BTF`, and refuses whatever it does not know for sure.
    pub fn parse(bytes: &'data [u8], endian: Endian) -> Result<Btf<'data>> {
        let ([types_at, types_length, strings_at, strings_length], rest) = header(".BTF", HEADER, bytes, endian)?;
        let is_usual = types_at == 0 && strings_at == types_length;
        let length = u64::from(types_length) + u64::from(strings_length);
        ensure!(is_usual && length == rest.len() as u64, ".BTF does not consist of types and strings alone");
        let (types, strings) = rest.split_at(types_length as usize);

        let mut btf = Btf { types: Vec::new(), strings: parse_strings(strings)? };
        let mut reader = Reader::new(".BTF", types, endian)?;
        while !reader.is_empty() {
            let id = btf.types.len() + 1;
            let found = btf.parse_type(&mut reader).with_context(|| format!("type {id} in .BTF"))?;
            btf.types.push(found);
        }
        let references = btf.types.iter().flat_map(Type::references);
        btf.check_ids(references)?;
        Ok(btf)
    }

    fn parse_type(&self, reader: &mut Reader) -> Result<Type<'data>> {
        let name = reader.read(FieldKind::Name, self)?;
        let info = reader.next()?;
        let (number, vlen) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let Some(kind) = Kind::from_number(number) else {
            bail!("it is of kind {number}, which this tool does not know: use clang 22 or an older one");
        };
        let layout = kind.layout();
        // Bits without a meaning may get one. The vlen of a function is its linkage.
        let is_plain =
            info & 0x60ff_0000 == 0 && (vlen == 0 || !layout.member_layout.is_empty() || kind == Kind::Function);
        ensure!(is_plain, "its flags {info:#x} are none that this tool knows for a {kind}");
        let mut fields = vec![name, Field::Number(info)];
        let members = layout.member_layout.iter().cycle().take(layout.member_layout.len() * vlen);
        for field in layout.fields.iter().chain(members) {
            fields.push(reader.read(*field, self)?);
        }
        Ok(Type { kind, fields })
    }

    /// Reads a section `.BTF.ext` that belongs to this `.BTF`: all that follows its header, as [`RECORDS`] lists it.
    pub fn records(&self, bytes: &'data [u8], endian: Endian) -> Result<[Vec<Field<'data>>; 3]> {
        let ([functions_at, functions, lines_at, lines, relocations_at, relocations], mut rest) =
            header(".BTF.ext", EXT_HEADER, bytes, endian)?;
        let is_usual = functions_at == 0
            && lines_at == functions
            && u64::from(relocations_at) == u64::from(functions) + u64::from(lines);
        let length = u64::from(functions) + u64::from(lines) + u64::from(relocations);
        ensure!(
            is_usual && length == rest.len() as u64,
            ".BTF.ext does not consist of functions, lines and relocations alone"
        );
        let mut tables = [const { Vec::new() }; 3];
        for (((what, layout), length), all) in RECORDS.iter().zip([functions, lines, relocations]).zip(&mut tables) {
            let (table, after) = rest.split_at(length as usize);
            rest = after;
            self.parse_records(table, layout, endian, all).with_context(|| format!("the {what} in .BTF.ext"))?;
        }
        self.check_ids(tables.iter().flatten().filter_map(Field::reference))?;
        Ok(tables)
    }

    /// The relocations in a section `.BTF.ext` that belongs to this `.BTF`.
    pub fn relocations(&self, bytes: &'data [u8], endian: Endian) -> Result<Vec<Relocation<'data>>> {
        let [_, _, table] = self.records(bytes, endian)?;
        let mut relocations = Vec::new();
        let mut fields = table.get(1..).unwrap_or_default();
        while let [Field::Name(section), Field::Number(count), rest @ ..] = fields {
            let (records, after) = rest.split_at(4 * *count as usize);
            fields = after;
            for record in records.as_chunks::<4>().0 {
                if let [Field::Number(offset), Field::Type(type_id), Field::Name(access), Field::Number(kind)] = *record
                {
                    relocations.push(Relocation { section, offset, type_id, access, kind });
                }
            }
        }
        Ok(relocations)
    }

    fn parse_records(
        &self,
        table: &[u8],
        layout: &[FieldKind],
        endian: Endian,
        all: &mut Vec<Field<'data>>,
    ) -> Result<()> {
        let mut reader = Reader::new(".BTF.ext", table, endian)?;
        if reader.is_empty() {
            return Ok(());
        }
        let size = reader.next()?;
        ensure!(size as usize == 4 * layout.len(), "a record has {size} bytes where {} are known", 4 * layout.len());
        all.push(Field::Number(size));
        while !reader.is_empty() {
            all.push(reader.read(FieldKind::Name, self)?);
            let count = reader.next()?;
            all.push(Field::Number(count));
            for _ in 0..count {
                for field in layout {
                    all.push(reader.read(*field, self)?);
                }
            }
        }
        Ok(())
    }

    fn check_ids(&self, mut ids: impl Iterator<Item = u32>) -> Result<()> {
        match ids.find(|id| *id as usize > self.types.len()) {
            Some(id) => bail!("there is a reference to type {id} in .BTF, which has {} types", self.types.len()),
            None => Ok(()),
        }
    }

    /// The type with this id; none for `void`.
    pub fn get(&self, id: u32) -> Option<&Type<'data>> {
        self.types.get((id as usize).checked_sub(1)?)
    }
}

impl<'data> Type<'data> {
    /// Empty if it has none.
    pub fn name(&self) -> &'data [u8] {
        match self.fields.first() {
            Some(Field::Name(name)) => name,
            _ => b"",
        }
    }

    pub fn references(&self) -> impl Iterator<Item = u32> {
        self.fields.iter().filter_map(Field::reference)
    }
}

impl Field<'_> {
    pub fn reference(&self) -> Option<u32> {
        match self {
            Field::Type(id) => Some(*id),
            _ => None,
        }
    }
}

/// How both sections begin: a magic number, version 1, no flags.
fn magic(endian: Endian) -> [u8; 4] {
    match endian {
        Endian::Little => [0x9f, 0xeb, 1, 0],
        Endian::Big => [0xeb, 0x9f, 1, 0],
    }
}

/// The numbers in a header, after its own length, and what follows it.
fn header<'data, const N: usize>(
    section: &'static str,
    length: usize,
    bytes: &'data [u8],
    endian: Endian,
) -> Result<([u32; N], &'data [u8])> {
    let Some((header, rest)) = bytes.split_at_checked(length) else {
        bail!("{section} is cut off: it has {} bytes", bytes.len());
    };
    let (found, numbers) = header.split_at(4);
    ensure!(found == magic(endian), "{section} is none of version 1 and of this byte order");
    let mut reader = Reader::new(section, numbers, endian)?;
    let found = reader.next()? as usize;
    ensure!(found == length, "the header of {section} has {found} bytes where {length} are known");
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = reader.next()?;
    }
    Ok((numbers, rest))
}

fn parse_strings(bytes: &[u8]) -> Result<BTreeMap<u32, &[u8]>> {
    ensure!(bytes.first() == Some(&0), "the strings in .BTF do not begin with the empty one");
    let Some((0, bytes)) = bytes.split_last() else {
        bail!("the last string in .BTF has no end");
    };
    let mut at = 0;
    let mut strings = BTreeMap::new();
    for string in bytes.split(|byte| *byte == 0) {
        strings.insert(at, string);
        at += string.len() as u32 + 1;
    }
    Ok(strings)
}

/// The fields of a part of a section, read one by one.
struct Reader<'bytes> {
    section: &'static str,
    bytes: &'bytes [u8],
    endian: Endian,
}

impl<'bytes> Reader<'bytes> {
    fn new(section: &'static str, bytes: &'bytes [u8], endian: Endian) -> Result<Reader<'bytes>> {
        ensure!(
            bytes.len().is_multiple_of(4),
            "{section} has a part of {} bytes, which are no fields of 4",
            bytes.len()
        );
        Ok(Reader { section, bytes, endian })
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn next(&mut self) -> Result<u32> {
        let (field, rest) = self.bytes.split_first_chunk().with_context(|| format!("{} is cut off", self.section))?;
        self.bytes = rest;
        Ok(match self.endian {
            Endian::Little => u32::from_le_bytes(*field),
            Endian::Big => u32::from_be_bytes(*field),
        })
    }

    fn read<'data>(&mut self, kind: FieldKind, btf: &Btf<'data>) -> Result<Field<'data>> {
        let number = self.next()?;
        Ok(match kind {
            FieldKind::Number => Field::Number(number),
            FieldKind::Type => Field::Type(number),
            // clang never has one string begin within another; the output would have no bound if they could.
            FieldKind::Name => match btf.strings.get(&number) {
                Some(string) => Field::Name(string),
                None => bail!("no string in .BTF begins at {number}, where something has its name"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_in_the_order_of_their_numbers() {
        for (number, layout) in (1..).zip(&LAYOUTS) {
            assert_eq!(layout.kind as usize, number, "{}", layout.name);
        }
    }
}
