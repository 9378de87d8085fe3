//! Writes a part of a kernel's types in an order that depends on nothing but that part.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::Endian;
use crate::btf::canonical::{Writer, section};
use crate::btf::{Btf, Field, Kind, Type};

/// The ids of types that are kept, of structs and unions with the indexes of members, of enums with those of values.
pub type Kept = BTreeMap<u32, BTreeSet<usize>>;

/// `roots` are the types that relocations begin with: all others are reached from there.
pub fn write(kernel: &Btf, endian: Endian, kept: &Kept, roots: &BTreeSet<u32>) -> Vec<u8> {
    let part = |id: &u32| Some(part_of(kernel.get(*id)?, kept.get(id)?));
    // Several may have one name: by what they consist of.
    let key = |id: &u32| {
        let words = part(id).unwrap_or_default().into_iter().map(|field| match field {
            Field::Name(name) => (name, 0),
            Field::Number(number) => (&b""[..], number),
            Field::Type(_) => (&b""[..], 0),
        });
        words.collect::<Vec<_>>()
    };
    let mut order: Vec<u32> = roots.iter().copied().collect();
    order.sort_by_cached_key(key);
    let mut parts: HashMap<u32, Vec<Field>> = HashMap::new();
    let mut placed = roots.clone();
    let mut next = 0;
    while let Some(id) = order.get(next).copied() {
        next += 1;
        let Some(fields) = part(&id) else { continue };
        for reference in fields.iter().filter_map(Field::reference) {
            if kept.contains_key(&reference) && placed.insert(reference) {
                order.push(reference);
            }
        }
        parts.insert(id, fields);
    }
    let same = same(&order, &parts);
    let first = |id: u32| *same.get(&id).unwrap_or(&id);
    let order: Vec<u32> = order.into_iter().filter(|id| first(*id) == *id).collect();
    let numbers: HashMap<u32, u32> = order.iter().copied().zip(1..).collect();
    let mut writer = Writer::new(endian, |id| numbers.get(&first(id)).copied().unwrap_or_default());
    let types = writer.encode(order.iter().filter_map(|id| parts.get(id)).flatten());
    section(endian, &types, writer)
}

/// A type with some of its members or values.
fn part_of<'data>(of: &Type<'data>, indexes: &BTreeSet<usize>) -> Vec<Field<'data>> {
    let width = match of.kind {
        Kind::Struct | Kind::Union | Kind::Enum64 => 3,
        Kind::Enum => 2,
        _ => return of.fields.clone(),
    };
    let mut fields = of.fields[..3].to_vec();
    if let Field::Number(info) = &mut fields[1] {
        *info = *info & !0xffff | indexes.len() as u32;
    }
    for index in indexes {
        fields.extend(of.fields.iter().skip(3 + width * index).take(width).copied());
    }
    fields
}

/// Types of which nothing is left that tells them from an earlier one, and that one: pointers to structs that nobody asks for.
fn same<'data>(order: &[u32], parts: &HashMap<u32, Vec<Field<'data>>>) -> HashMap<u32, u32> {
    let mut same: HashMap<u32, u32> = HashMap::new();
    loop {
        let mut known: HashMap<Vec<Field<'data>>, u32> = HashMap::new();
        let mut more = HashMap::new();
        for id in order.iter().filter(|id| !same.contains_key(*id)) {
            let Some(mut fields) = parts.get(id).cloned() else { continue };
            for field in &mut fields {
                if let Field::Type(id) = field {
                    // What is not kept is void.
                    *id = if parts.contains_key(id) { *same.get(id).unwrap_or(id) } else { 0 };
                }
            }
            match known.get(&fields) {
                Some(known) => drop(more.insert(*id, *known)),
                None => drop(known.insert(fields, *id)),
            }
        }
        if more.is_empty() {
            return same;
        }
        same.extend(more);
        // What an earlier round found may lead to what this one did.
        let end = |id: u32| std::iter::successors(Some(id), |id| same.get(id).copied()).last().unwrap_or(id);
        same = same.keys().map(|id| (*id, end(*id))).collect();
    }
}
