//! What is wrong with an object although it was compiled, and where in the sources: what a loader or the kernel would refuse in
//! words that say less.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::Result;
use object::{File, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, Section, SectionKind};

use crate::btf::{Btf, Field};
use crate::code::{Code, Uses, reachable_from};
use crate::{Endian, code, maps};

/// The faults of an object.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Symbols that nothing defines, and where they are used.
    pub undefined: BTreeMap<String, Site>,
    /// Functions that end up calling themselves.
    pub recursive: BTreeSet<Site>,
    /// Where functions are called by a pointer.
    pub by_pointer: BTreeSet<Site>,
    /// Where panics of Rust's library are called.
    pub panics: BTreeSet<Site>,
}

/// Where something is.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// `src/main.rs:12`, as far as debug information has it: the line, or where the function begins whose code Rust's library is in.
    pub place: Option<String>,
    pub function: String,
}

/// What the mangled names of what panics contain.
const PANICS: &str = "4core9panicking";

/// The folder of Rust's library, in debug information.
const LIBRARY: &str = "/rustc/";

impl Faults {
    /// Reads a checked object.
    pub fn of(bytes: &[u8], endian: Endian) -> Result<Faults> {
        let file = File::parse(bytes)?;
        let code = Code::read(&file, endian)?;
        let uses = code.functions.iter().map(|function| code.uses(function)).collect::<Result<Vec<_>>>()?;
        let sources = Sources { lines: lines(&file, endian)?, code: &code, uses: &uses };
        let mut faults = Faults::default();
        for (section, offset, name) in undefined(&file)? {
            let site = code.containing(section.name()?, offset as u32).map(|index| sources.site(index, offset));
            faults.undefined.entry(code::name(name)?).or_insert(site.unwrap_or_default());
        }
        let programs = (0..code.functions.len()).filter(|index| code.functions[*index].is_program());
        let loaded: BTreeSet<usize> = programs.flat_map(|program| reachable_from(program, &uses)).collect();
        for (index, function) in code.functions.iter().enumerate() {
            if uses[index].calls().any(|called| reachable_from(called, &uses).contains(&index)) {
                faults.recursive.insert(sources.site(index, function.offset()));
            }
            if loaded.contains(&index) {
                faults.by_pointer.extend(function.calls_by_pointer().map(|offset| sources.site(index, offset)));
            }
            if !sources.panics(index) {
                let panics = uses[index].sites().filter(|(called, _)| sources.panics(*called));
                faults.panics.extend(panics.map(|(_, offset)| sources.site(index, offset)));
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
    let mut used = undefined(&file)?.into_iter();
    let first = used.find(|(section, _, name)| section.kind() == SectionKind::Text && !known.contains(name));
    let Some((section, offset, name)) = first else { return Ok(None) };
    Ok(Some((code::name(name)?, place(&lines(&file, endian)?, section.name_bytes()?, offset))))
}

/// Where a file uses symbols that it does not define: the section, the offset in there, and the name.
fn undefined<'data, 'file>(file: &'file File<'data>) -> Result<Vec<(Section<'data, 'file>, u64, &'data [u8])>> {
    let mut found = Vec::new();
    for section in file.sections() {
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else { continue };
            let symbol = file.symbol_by_index(index)?;
            if symbol.is_undefined() {
                let section = file.section_by_index(section.index())?;
                found.push((section, offset, symbol.name_bytes()?));
            }
        }
    }
    Ok(found)
}

/// Where functions begin, by their names, as far as debug information has it.
pub fn begins(bytes: &[u8], endian: Endian) -> Result<BTreeMap<String, String>> {
    let file = File::parse(bytes)?;
    let code = Code::read(&file, endian)?;
    let sources = Sources { lines: lines(&file, endian)?, code: &code, uses: &[] };
    let begins = code.functions.iter().enumerate();
    Ok(begins.filter_map(|(index, function)| Some((function.name.clone(), sources.begin(index)?))).collect())
}

/// What is known of where the code comes from.
struct Sources<'a> {
    lines: Lines,
    code: &'a Code,
    uses: &'a [Uses],
}

impl Sources<'_> {
    /// The first line of a function that is none of Rust's library, if it has one.
    fn begin(&self, index: usize) -> Option<String> {
        let function = &self.code.functions[index];
        let at = |offset: u64| (function.section.clone().into_bytes(), offset);
        let mut lines = self.lines.range(at(function.offset())..at(function.end()));
        lines.find_map(|(_, (path, line))| (!path.starts_with(LIBRARY)).then(|| format!("{path}:{line}")))
    }

    /// Whether it is a function of Rust's library that never returns.
    fn panics(&self, index: usize) -> bool {
        let function = &self.code.functions[index];
        function.name.contains(PANICS) || (!function.returns() && self.begin(index).is_none())
    }

    /// Where an instruction of a function is. Of what is in Rust's library, a caller's place is said.
    fn site(&self, index: usize, offset: u64) -> Site {
        let site = |index: usize, place| Site { place, function: self.code.functions[index].name.clone() };
        let place = place(&self.lines, self.code.functions[index].section.as_bytes(), offset);
        if let Some(place) = place.filter(|place| !place.starts_with(LIBRARY)) {
            return site(index, Some(place));
        }
        let mut seen = BTreeSet::from([index]);
        let mut next = VecDeque::from([index]);
        while let Some(index) = next.pop_front() {
            if let Some(place) = self.begin(index) {
                return site(index, Some(place));
            }
            let callers =
                (0..self.uses.len()).filter(|caller| self.uses[*caller].calls().any(|called| called == index));
            next.extend(callers.filter(|caller| seen.insert(*caller)));
        }
        site(index, None)
    }
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
