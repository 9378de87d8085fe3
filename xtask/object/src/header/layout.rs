//! How a C compiler lays out structs, to see where the kernel's differ.

use std::collections::BTreeMap;

use crate::btf::parts::Member;
use crate::btf::{Btf, Kind, Type};

/// Alignments by the ids of types, and which structs are packed.
pub struct Layouts<'btf, 'data> {
    btf: &'btf Btf<'data>,
    pointer: u64,
    known: BTreeMap<u32, (u64, bool)>,
}

/// Types that stand for another one, or consist of others.
const MAX_STEPS: usize = 64;

impl<'btf, 'data> Layouts<'btf, 'data> {
    pub fn new(btf: &'btf Btf<'data>) -> Layouts<'btf, 'data> {
        let is_long =
            |found: &&Type| found.kind == Kind::Int && matches!(found.name(), b"long unsigned int" | b"unsigned long");
        let pointer = btf.types.iter().find(is_long).and_then(Type::size).unwrap_or(8).into();
        let mut layouts = Layouts { btf, pointer, known: BTreeMap::new() };
        for id in 1..=btf.types.len() as u32 {
            layouts.know(id, 0);
        }
        layouts
    }

    pub fn pointer_size(&self) -> u64 {
        self.pointer
    }

    /// In bytes; 0 where it is not known.
    pub fn size(&self, mut id: u32) -> u64 {
        let mut factor: u64 = 1;
        for _ in 0..MAX_STEPS {
            let Some(found) = self.btf.get(id) else { return 0 };
            match found.kind {
                Kind::Pointer => return factor.saturating_mul(self.pointer),
                Kind::Array => factor = factor.saturating_mul(found.size().unwrap_or_default().into()),
                Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => {}
                _ => return factor.saturating_mul(found.size().unwrap_or_default().into()),
            }
            id = found.target().unwrap_or_default();
        }
        0
    }

    pub fn align(&self, mut id: u32) -> u64 {
        for _ in 0..MAX_STEPS {
            let Some(found) = self.btf.get(id) else { return 1 };
            match found.kind {
                Kind::Pointer => return self.pointer,
                Kind::Struct | Kind::Union => return self.known.get(&id).map_or(1, |(align, _)| *align),
                Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Float => {
                    return u64::from(found.size().unwrap_or(1)).clamp(1, 16);
                }
                Kind::Array | Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => {}
                _ => return 1,
            }
            id = found.target().unwrap_or_default();
        }
        1
    }

    /// Whether a struct is packed, as far as its offsets tell.
    pub fn is_packed(&self, id: u32) -> bool {
        self.known.get(&id).is_some_and(|(_, packed)| *packed)
    }

    /// Works out a struct after those in it.
    fn know(&mut self, id: u32, depth: usize) {
        let Some(found) = self.btf.get(id) else { return };
        if !matches!(found.kind, Kind::Struct | Kind::Union) || self.known.contains_key(&id) || depth > MAX_STEPS {
            return;
        }
        self.known.insert(id, (1, false));
        let (mut align, mut packed) = (1, false);
        for member in found.members() {
            self.know(self.element(member.type_id), depth + 1);
            let own = self.align(member.type_id);
            packed |= !self.is_natural(&member, own);
            align = align.max(own);
        }
        packed |= !u64::from(found.size().unwrap_or_default()).is_multiple_of(align);
        self.known.insert(id, if packed { (1, true) } else { (align, false) });
    }

    /// What an array or a name stands for.
    fn element(&self, mut id: u32) -> u32 {
        for _ in 0..MAX_STEPS {
            match self.btf.get(id) {
                Some(found)
                    if matches!(
                        found.kind,
                        Kind::Array | Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag
                    ) =>
                {
                    id = found.target().unwrap_or_default();
                }
                _ => break,
            }
        }
        id
    }

    /// Whether a member may be where it is in a struct that is not packed.
    fn is_natural(&self, member: &Member, align: u64) -> bool {
        let (offset, bits) = (u64::from(member.bit_offset), u64::from(member.bit_size));
        match bits {
            0 => offset.is_multiple_of(8 * align),
            // A bit field is within one number of its type.
            _ => offset % (8 * align) + bits <= 8 * self.size(member.type_id),
        }
    }
}
