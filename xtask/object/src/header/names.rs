//! What types are called in a header: as in the kernel, unless two have one name there.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::btf::{Btf, Kind};
use crate::co_re;

/// Names by the ids of types, and those of values of enums by the id of the enum and the number of the value.
pub struct Names {
    types: BTreeMap<u32, String>,
    values: BTreeMap<(u32, usize), String>,
}

impl Names {
    pub fn new(btf: &Btf) -> Result<Names> {
        let mut names = Names { types: BTreeMap::new(), values: BTreeMap::new() };
        // C has one space for tags, and one for everything else.
        let mut tags = BTreeMap::new();
        // clang has its own, which is another type in BPF than in the kernel.
        let mut others = BTreeMap::from([("__builtin_va_list".to_owned(), 1)]);
        for (id, found) in (1_u32..).zip(&btf.types) {
            let name = clean(&co_re::name(found)?);
            match found.kind {
                Kind::Struct | Kind::Union if !name.is_empty() => drop(names.types.insert(id, free(name, &mut tags))),
                Kind::Typedef => drop(names.types.insert(id, free(name, &mut others))),
                Kind::Enum | Kind::Enum64 => {
                    let values = found.values();
                    for (index, (value, _)) in values.iter().enumerate() {
                        let value = free(clean(&String::from_utf8_lossy(value)), &mut others);
                        names.values.insert((id, index), value);
                    }
                    // One without a name may be mentioned more than once, and its values must not be.
                    let name = match (name.is_empty(), names.values.get(&(id, 0))) {
                        (true, Some(first)) => format!("of_{first}"),
                        _ => name,
                    };
                    names.types.insert(id, free(name, &mut tags));
                }
                _ => {}
            }
        }
        for (id, found) in (1_u32..).zip(&btf.types).filter(|(_, found)| found.kind == Kind::Forward) {
            // The struct itself, if there is one: the first of this name.
            names.types.insert(id, clean(&co_re::name(found)?));
        }
        Ok(names)
    }

    /// Empty if it has none.
    pub fn of(&self, id: u32) -> &str {
        self.types.get(&id).map_or("", String::as_str)
    }

    pub fn value(&self, id: u32, index: usize) -> &str {
        self.values.get(&(id, index)).map_or("", String::as_str)
    }
}

/// The name itself, or for another one of that name, with a number that CO-RE leaves out when it compares names.
fn free(name: String, taken: &mut BTreeMap<String, u32>) -> String {
    let count = taken.entry(name.clone()).and_modify(|count| *count += 1).or_insert(1);
    match *count {
        1 => name,
        number => format!("{name}___{number}"),
    }
}

fn clean(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '_' }).collect()
}
