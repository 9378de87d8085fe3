//! What is wrong with an object although it was compiled, and where in the sources: what a loader or the kernel would refuse in
//! words that say less.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use object::{File, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionKind, SymbolKind};

use crate::btf::{Btf, Field};
use crate::code::{Code, reachable_from};
use crate::{Endian, code, maps};

/// The faults of an object, with the places of the instructions, as far as its debug information has them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Symbols that nothing defines, and where they are used.
    pub undefined: BTreeMap<String, Option<String>>,
    /// Functions that end up calling themselves.
    pub recursive: BTreeMap<String, Option<String>>,
    /// Where panics of Rust's `core` are called.
    pub panics: BTreeSet<String>,
}

/// What the mangled names of what panics contain.
const PANICS: &str = "4core9panicking";

impl Faults {
    /// Reads a checked object.
    pub fn of(bytes: &[u8], endian: Endian) -> Result<Faults> {
        let file = File::parse(bytes)?;
        let lines = lines(&file, endian)?;
        let mut faults = Faults::default();
        for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
            for (offset, relocation) in section.relocations() {
                let RelocationTarget::Symbol(index) = relocation.target() else { continue };
                let symbol = file.symbol_by_index(index)?;
                let name = String::from_utf8_lossy(symbol.name_bytes()?).into_owned();
                let place = place(&lines, section.name_bytes()?, offset);
                if symbol.is_undefined() {
                    faults.undefined.entry(name).or_insert(place);
                } else if symbol.kind() == SymbolKind::Text && name.contains(PANICS) {
                    faults.panics.extend(place);
                }
            }
        }
        let code = Code::read(&file, endian)?;
        let uses = code.functions.iter().map(|function| code.uses(function)).collect::<Result<Vec<_>>>()?;
        for (index, function) in code.functions.iter().enumerate() {
            if uses[index].calls().any(|called| reachable_from(called, &uses).contains(&index)) {
                let place = place(&lines, function.section.as_bytes(), function.offset());
                faults.recursive.insert(function.name.clone(), place);
            }
        }
        Ok(faults)
    }
}

/// The first symbol that the programs of an object use, nothing in it defines, and loaders look up nowhere, and where it is used.
/// Linkers would find it in another object.
pub fn unresolved(bytes: &[u8], endian: Endian) -> Result<Option<(String, Option<String>)>> {
    let file = File::parse(bytes)?;
    let btf = file.section_by_name(".BTF").map(|section| section.data()).transpose()?.unwrap_or_default();
    let btf = Btf::parse(btf, endian)?;
    let looked_up = [".ksyms", maps::KCONFIG].into_iter().flat_map(|section| maps::variables(&btf, section));
    let known: BTreeSet<&[u8]> = looked_up.map(|symbol| symbol.name()).collect();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else { continue };
            let symbol = file.symbol_by_index(index)?;
            if symbol.is_undefined() && !known.contains(symbol.name_bytes()?) {
                let place = place(&lines(&file, endian)?, section.name_bytes()?, offset);
                return Ok(Some((code::name(symbol.name_bytes()?)?, place)));
            }
        }
    }
    Ok(None)
}

/// By section and offset: a file, and the number of the line.
type Lines = BTreeMap<(Vec<u8>, u64), (String, u32)>;

fn lines(file: &File, endian: Endian) -> Result<Lines> {
    let mut lines = Lines::new();
    let data = |name| Some(file.section_by_name(name)?.data());
    let (Some(btf), Some(ext)) = (data(".BTF").transpose()?, data(".BTF.ext").transpose()?) else { return Ok(lines) };
    let [_, table, _] = Btf::parse(btf, endian)?.records(ext, endian)?;
    let mut fields = table.get(1..).unwrap_or_default();
    while let [Field::Name(section), Field::Number(count), rest @ ..] = fields {
        let (records, after) = rest.split_at(4 * *count as usize);
        fields = after;
        for record in records.as_chunks::<4>().0 {
            if let [Field::Number(offset), Field::Name(path), _, Field::Number(place)] = *record {
                let path = String::from_utf8_lossy(path).into_owned();
                // The column is in the lower bits.
                lines.insert((section.to_vec(), offset.into()), (path, place >> 10));
            }
        }
    }
    Ok(lines)
}

/// The place of an instruction: `src/main.rs:12`.
fn place(lines: &Lines, section: &[u8], offset: u64) -> Option<String> {
    let ((found, _), (path, line)) = lines.range(..=(section.to_vec(), offset)).next_back()?;
    (found == section).then(|| format!("{path}:{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_without_a_fault_has_none() {
        let object = include_bytes!("../tests/tick_bpfel.o");
        assert_eq!(Faults::of(object, Endian::Little).unwrap(), Faults::default());
    }
}
