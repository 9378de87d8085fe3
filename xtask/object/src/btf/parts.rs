//! The parts of types, by their meaning.

use super::{Btf, Field, Kind, Type};

/// A member of a struct or union.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'data> {
    /// Empty if it has none.
    pub name: &'data [u8],
    pub type_id: u32,
    /// From the begin of the struct.
    pub bit_offset: u32,
    /// 0 if it is no bit field.
    pub bit_size: u32,
}

impl<'data> Type<'data> {
    /// What a pointer, a typedef or the like, an array, a function or a variable is of; 0 stands for `void`.
    pub fn target(&self) -> Option<u32> {
        let index = if self.kind == Kind::Array { 3 } else { 2 };
        match self.fields.get(index) {
            Some(Field::Type(id)) => Some(*id),
            _ => None,
        }
    }

    /// In bytes, where the type has a size by itself; of an array, the number of its elements.
    pub fn size(&self) -> Option<u32> {
        match (self.kind, self.fields.get(2)) {
            (Kind::Array, _) => self.number(5),
            (
                Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float | Kind::DataSection,
                Some(Field::Number(size)),
            ) => Some(*size),
            _ => None,
        }
    }

    /// The number in a field, counted from the name on.
    pub fn number(&self, index: usize) -> Option<u32> {
        match self.fields.get(index) {
            Some(Field::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// Of a struct or union: that members have sizes in bits. Of an enum: that its values are signed.
    pub fn kind_flag(&self) -> bool {
        self.number(1).is_some_and(|info| info >> 31 == 1)
    }

    /// Of a struct or union.
    pub fn members(&self) -> impl Iterator<Item = Member<'data>> {
        let has_sizes = self.kind_flag();
        let fields = if matches!(self.kind, Kind::Struct | Kind::Union) { &self.fields[..] } else { &[] };
        fields.get(3..).unwrap_or_default().chunks(3).filter_map(move |member| match member {
            [Field::Name(name), Field::Type(type_id), Field::Number(offset)] => Some(Member {
                name,
                type_id: *type_id,
                bit_offset: if has_sizes { offset & 0xff_ffff } else { *offset },
                bit_size: if has_sizes { offset >> 24 } else { 0 },
            }),
            _ => None,
        })
    }

    /// The names and values of an enum, sign-extended if it is signed.
    pub fn values(&self) -> Vec<(&'data [u8], i128)> {
        let is_signed = self.kind_flag();
        let value = |low: u32, high: Option<u32>| {
            let bits = u64::from(low) | u64::from(high.unwrap_or_default()) << 32;
            match (is_signed, high) {
                (true, None) => i128::from(low.cast_signed()),
                (true, Some(_)) => i128::from(bits.cast_signed()),
                (false, _) => i128::from(bits),
            }
        };
        let width = match self.kind {
            Kind::Enum => 2,
            Kind::Enum64 => 3,
            _ => return Vec::new(),
        };
        let fields = self.fields.get(3..).unwrap_or_default().chunks(width);
        let of = |fields: &[Field<'data>]| match *fields {
            [Field::Name(name), Field::Number(low)] => Some((name, value(low, None))),
            [Field::Name(name), Field::Number(low), Field::Number(high)] => Some((name, value(low, Some(high)))),
            _ => None,
        };
        fields.filter_map(of).collect()
    }
}

impl<'data> Btf<'data> {
    /// The first type of one of these kinds with this name, and its id.
    pub fn find(&self, kinds: &[Kind], name: &str) -> Option<u32> {
        let is_it = |found: &Type<'data>| kinds.contains(&found.kind) && found.name() == name.as_bytes();
        Some(self.types.iter().position(is_it)? as u32 + 1)
    }
}
