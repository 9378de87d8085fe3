//! What bindings are made for: the types, maps, variables and programs of one object.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use object::{File, Object as _, ObjectSection as _, ObjectSymbol as _, Symbol, SymbolKind};

use super::types::{Definition, Hint, Ty, Types};
use crate::btf::{Btf, Kind, Type};
use crate::report::{Need, Report};
use crate::{Endian, canonical, co_re, code, kernel_features, maps};

/// What is in an object.
pub struct Model {
    pub definitions: Vec<Definition>,
    pub maps: Vec<Map>,
    pub sections: Vec<Section>,
    pub programs: Vec<Program>,
    pub oldest_kernel: Option<String>,
    pub needs_kernel_btf: bool,
    pub needs: Vec<Need>,
    /// What aya has nothing for, in sentences.
    pub without_aya: Vec<String>,
    /// The names of `types` that it has.
    pub found: Vec<String>,
}

/// A map.
pub struct Map {
    pub name: String,
    /// The number of its type.
    pub kind: u32,
    pub key: Option<Ty>,
    pub value: Option<Ty>,
}

/// A section of variables, of which loaders make a map.
pub struct Section {
    pub name: String,
    pub size: u64,
    /// None if it is too large to be read at once.
    pub whole: Option<Definition>,
    /// Those that are not `static`, by their names; without those that are too large to be set at once.
    pub variables: Vec<(String, Ty)>,
    pub large: Vec<String>,
}

/// A program.
pub struct Program {
    pub name: String,
    pub section: String,
}

/// What is larger, a section or a variable, is not read or set as one value: it would lie on the stack.
const MAX_BYTES: u64 = 64 << 10;

/// What is read of the description of a map.
const MAX_KEY: u32 = 1 << 30;

/// The number of the type of maps of programs.
const PROG_ARRAY: u32 = 3;

/// The number of the map type whose keys begin with a length.
const LPM_TRIE: u32 = 11;

/// The section of variables that are in an arena.
const ARENA: &str = ".addr_space.1";

impl Model {
    pub fn read(bytes: &[u8], types: &[String]) -> Result<(Endian, Model)> {
        let (endian, report) = Report::read(bytes)?;
        let elf = canonical::parse(bytes)?;
        let section = elf.sections.iter().find(|section| section.name == ".BTF").context("it has no BTF")?;
        let btf = Btf::parse(section.data, endian)?;
        let file = File::parse(bytes)?;
        let mut all = Types::new(&btf);

        let mut found = Vec::new();
        for name in types {
            let kinds = [Kind::Struct, Kind::Union, Kind::Enum, Kind::Enum64, Kind::Typedef];
            if let Some(id) = btf.find(&kinds, name) {
                let ty = all.resolve(id, &Hint(name.clone())).with_context(|| format!("type {name}"))?;
                ensure!(matches!(ty, Ty::Named(_)), "type {name} is neither a struct nor a union nor an enum");
                found.push(name.clone());
            }
        }
        let maps = read_maps(&file, &mut all, endian)?;
        let sections = read_sections(&file, &mut all)?;
        let mut programs: Vec<Program> =
            report.programs.into_iter().map(|found| Program { name: found.name, section: found.section }).collect();
        programs.sort_by(|one, other| one.name.cmp(&other.name));
        // The others are C's, and so have none.
        let names = programs.iter().flat_map(|program| [&program.name, &program.section]);
        if let Some(name) = names.chain(sections.iter().map(|section| &section.name)).find(|name| has_control(name)) {
            bail!("the name {name:?} has control characters in it");
        }
        let programs_in = maps_of_programs(&btf)?;
        let definitions = all.definitions.into_iter().collect::<Option<_>>().context("a type has no end")?;
        let model = Model {
            definitions,
            maps,
            sections,
            programs,
            oldest_kernel: report.oldest_kernel,
            needs_kernel_btf: report.needs_kernel_btf,
            needs: report.needs,
            without_aya: without_aya(&btf, &file, &report.kernel_config, &programs_in)?,
            found,
        };
        Ok((endian, model))
    }
}

fn has_control(name: &str) -> bool {
    name.contains(char::is_control)
}

fn without_aya(
    btf: &Btf,
    file: &File,
    kernel_config: &BTreeSet<String>,
    of_programs: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let mut sentences = Vec::new();
    if maps::struct_ops(btf).next().is_some() {
        sentences.push(
            "aya 0.14 registers no struct_ops: the kernel's structs of functions in the object are not used.".into(),
        );
    }
    if !kernel_config.is_empty() {
        sentences.push("aya 0.14 does not set `__kconfig` variables, and refuses an object that reads one.".into());
    }
    if !maps::variables(btf, ".ksyms").is_empty() {
        sentences.push(
            "aya 0.14 looks up nothing of the kernel's by its name (`__ksym`), and refuses an object that does.".into(),
        );
    }
    if !maps::variables(btf, ARENA).is_empty() {
        sentences.push("aya 0.14 knows no variables in an arena, and refuses an object that uses one.".into());
    }
    for map in filled_maps(file)?.iter().filter(|name| !of_programs.contains(*name)) {
        sentences.push(format!("aya 0.14 leaves the map `{map}` empty, in which the source has others (`.values`)."));
    }
    for map in of_programs {
        sentences
            .push(format!("aya 0.14 refuses an object with a map of programs that has `values`, as `{map}` does."));
    }
    Ok(sentences)
}

/// Maps of programs whose description says of what type those are.
fn maps_of_programs(btf: &Btf) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for variable in maps::variables(btf, ".maps") {
        let definition = maps::follow(btf, variable)?;
        if maps::kind(btf, definition)? == PROG_ARRAY && maps::member(definition, "values").is_some() {
            found.insert(co_re::name(variable)?);
        }
    }
    Ok(found)
}

/// Maps in which the source puts other maps or programs.
fn filled_maps(file: &File) -> Result<BTreeSet<String>> {
    let mut filled = BTreeSet::new();
    for section in file.sections().filter(|section| section.name_bytes() == Ok(b".maps")) {
        for (offset, _) in section.relocations() {
            let contains = |symbol: &Symbol| {
                let begin = symbol.address();
                symbol.section_index() == Some(section.index())
                    && (begin..begin.saturating_add(symbol.size())).contains(&offset)
            };
            if let Some(symbol) = file.symbols().find(contains) {
                filled.insert(code::name(symbol.name_bytes()?)?);
            }
        }
    }
    Ok(filled)
}

/// By name.
fn read_maps(file: &File, types: &mut Types, endian: Endian) -> Result<Vec<Map>> {
    let btf = types.btf;
    let mut described: Vec<(String, &Type)> = Vec::new();
    for variable in maps::variables(btf, ".maps") {
        described.push((co_re::name(variable)?, variable));
    }
    described.sort_by(|one, other| one.0.cmp(&other.0));
    let mut found = Vec::new();
    for (name, variable) in described {
        found.push(from_btf(types, &name, variable).with_context(|| format!("map `{name}`"))?);
    }
    for map in maps::old_form(file, endian)? {
        let bytes = |size: u32| (size > 0).then(|| Ty::Bytes(size.into()));
        let (key, value) = (bytes(map.key_size), bytes(map.value_size));
        found.push(Map { name: map.name, kind: map.kind, key, value });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn from_btf(types: &mut Types, name: &str, variable: &Type) -> Result<Map> {
    let btf = types.btf;
    let definition = maps::follow(btf, variable)?;
    let kind = maps::kind(btf, definition)?;
    let mut part = |part: &str| -> Result<Option<Ty>> {
        if let Some(id) = maps::member(definition, part) {
            // `__type(key, …)`: a pointer to it.
            let pointer = co_re::skip_mods_and_typedefs(btf, id)?;
            ensure!(pointer.kind == Kind::Pointer, "its {part} is not written as a pointer to a type");
            let id = pointer.target().unwrap_or_default();
            let ty = types.resolve(id, &Hint(format!("{name} {part}"))).with_context(|| format!("its {part}"))?;
            return Ok(Some(ty));
        }
        let size = maps::number(btf, definition, &format!("{part}_size"))?.filter(|size| *size > 0);
        ensure!(size.is_none_or(|size| size <= MAX_KEY), "its {part} has more than 1 GiB");
        Ok(size.map(|size| Ty::Bytes(size.into())))
    };
    let (mut key, value) = (part("key")?, part("value")?);
    if let (LPM_TRIE, Some(whole)) = (kind, &key) {
        // The length of the prefix comes first.
        let size = types.size(whole).checked_sub(4).context("its key has no room for the length of a prefix")?;
        key = Some(Ty::Bytes(size));
    }
    Ok(Map { name: name.into(), kind, key, value })
}

/// By name.
fn read_sections(file: &File, types: &mut Types) -> Result<Vec<Section>> {
    let mut found = Vec::new();
    for section in file.sections() {
        let name = code::name(section.name_bytes()?)?;
        if !code::is_global_data(name.as_bytes()) || section.size() == 0 {
            continue;
        }
        let mut symbols = BTreeMap::new();
        for symbol in file.symbols().filter(|symbol| symbol.section_index() == Some(section.index())) {
            if symbol.is_global() && symbol.kind() == SymbolKind::Data {
                symbols.insert(symbol.name_bytes()?, (symbol.address(), symbol.size()));
            }
        }
        let mut variables = Vec::new();
        for variable in maps::variables(types.btf, &name) {
            // What is `static` is not in there: its name may be another one's, too.
            let Some((offset, size)) = symbols.get(variable.name()) else { continue };
            let name = co_re::name(variable)?;
            let is_within = offset.checked_add(*size).is_some_and(|end| end <= section.size());
            ensure!(is_within, "variable {name} is not within {}", code::name(section.name_bytes()?)?);
            let id = variable.target().context("a variable without a type")?;
            let ty = types.resolve(id, &Hint(name.clone())).with_context(|| format!("variable {name}"))?;
            // With a flexible array at its end, it has more bytes than its type.
            let ty = if types.size(&ty) == *size { ty } else { Ty::Bytes(*size) };
            variables.push((name, ty, *offset));
        }
        variables.sort_by(|one, other| one.0.cmp(&other.0));
        let size = section.size();
        let in_section = || format!("section {name}");
        let whole = (size <= MAX_BYTES).then(|| types.section(size, variables.clone()).with_context(in_section));
        let whole = whole.transpose()?;
        let variables = variables.into_iter().map(|(name, ty, _)| (name, ty));
        let (variables, large) = variables.partition::<Vec<_>, _>(|(_, ty)| types.size(ty) <= MAX_BYTES);
        let large = large.into_iter().map(|(name, _)| name).collect();
        found.push(Section { name, size, whole, variables, large });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    if let Some(pair) = found.windows(2).find(|pair| pair[0].name == pair[1].name) {
        bail!("it has two sections {}", pair[0].name);
    }
    Ok(found)
}

impl Map {
    /// The kernel's word for its type.
    pub fn kind_name(&self) -> String {
        kernel_features::map(self.kind).map_or_else(|| self.kind.to_string(), |row| row.name.to_owned())
    }
}
