//! What a BPF object contains and what it needs of a kernel, read from the object alone and from the tables in
//! `kernel_features.rs`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use object::{File, Object as _, ObjectSymbol as _};
use serde::Serialize;

use crate::btf::{Btf, Field, Kind};
use crate::code::{Code, Uses};
use crate::kernel_features::{Feature, Section, Since};
use crate::{Endian, canonical, co_re, code, kernel_features, maps};

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Report {
    pub license: Option<String>,
    pub programs: Vec<Program>,
    /// Functions that programs call.
    pub functions: Vec<Function>,
    /// Slots of 8 bytes, in all programs and functions.
    pub instructions: usize,
    pub maps: Vec<Map>,
    /// What programs and the functions that they call use, without `bpf_`.
    pub helpers: BTreeSet<String>,
    pub relocations: Vec<Relocation>,
    /// What it wants of the kernel by name (`__ksym`) and type.
    pub kernel_symbols: BTreeSet<String>,
    /// What it reads of the kernel's configuration (`__kconfig`).
    pub kernel_config: BTreeSet<String>,
    pub needs_kernel_btf: bool,
    /// The release that has all of `needs`. What is `unknown` may want a later one.
    pub oldest_kernel: Option<String>,
    /// The newest first.
    pub needs: Vec<Need>,
    pub unknown: BTreeSet<String>,
    /// What else decides whether it can be loaded, in sentences.
    pub notes: Vec<String>,
    /// What becomes of it on a kernel that has no BTF, or was built without CONFIG_BPF_EVENTS, in sentences.
    pub without_btf: Vec<String>,
    pub without_bpf_events: Vec<String>,
}

/// A program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Program {
    pub name: String,
    pub section: String,
    /// The kernel's word for it, or null where the section is not one that is known.
    #[serde(rename = "type")]
    pub kind: Option<&'static str>,
    pub attach: Option<String>,
    /// Its own slots.
    pub instructions: usize,
    /// Its own, and those of all functions that it calls: what the kernel gets, and counts.
    pub loaded_instructions: usize,
    /// CO-RE relocations in those.
    pub relocations: usize,
    /// Whether it attaches through the kernel's BTF.
    pub attaches_by_btf: bool,
    /// What of it a kernel without CONFIG_BPF_EVENTS does not have: its type, or helpers.
    pub tracing: Vec<&'static str>,
}

/// A function that programs call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Function {
    pub name: String,
    pub instructions: usize,
}

/// A map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Map {
    pub name: String,
    /// The kernel's word for it, or its number where that is not known.
    #[serde(rename = "type")]
    pub kind: String,
    /// The type of the maps in it.
    #[serde(rename = "inner_type")]
    pub inner: Option<String>,
}

/// CO-RE relocations that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Relocation {
    pub target: String,
    pub kind: &'static str,
    pub count: usize,
}

/// Something that not every kernel has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Need {
    pub what: String,
    pub kernel: String,
    #[cfg_attr(feature = "schemas", schemars(with = "String"))]
    pub source: Since,
}

/// The most relocations that are read: in use are hundreds, and tens of thousands where a program has all of its functions in it.
const MAX_RELOCATIONS: usize = 200_000;

/// The most instructions that a program could have before [`kernel_features::MANY_INSTRUCTIONS`].
const FEW_INSTRUCTIONS: usize = 4096;

impl Report {
    /// Reads an object. Gives its byte order, too.
    pub fn read(bytes: &[u8]) -> Result<(Endian, Report)> {
        let elf = canonical::parse(bytes)?;
        let endian = elf.endian;
        let section = |name: &str| elf.sections.iter().find(|section| section.name == name).map(|found| found.data);
        let btf = section(".BTF").map(|data| Btf::parse(data, endian)).transpose()?;
        let file = File::parse(bytes)?;
        let code = Code::read(&file, endian)?;
        let relocations = match (&btf, section(".BTF.ext")) {
            (Some(btf), Some(ext)) => Relocations::read(btf, ext, endian, &code)?,
            _ => Relocations::default(),
        };

        let mut found = Found::default();
        let maps = maps::read(&file, btf.as_ref(), endian)?.into_iter().map(|map| found.map(map));
        let maps: Vec<Map> = maps.collect();
        if let Some(btf) = &btf {
            found.struct_ops(btf)?;
            let optional = weak_externs(&file)?;
            found.kernel_symbols(btf, &optional)?;
            found.kernel_config(btf, &optional)?;
        }
        let uses = code.functions.iter().map(|function| code.uses(function)).collect::<Result<Vec<_>>>()?;
        let indexes = (0..code.functions.len()).filter(|index| code.functions[*index].is_program());
        let programs: Vec<Program> = indexes.map(|index| found.program(index, &code, &uses, &relocations)).collect();
        let license = section("license").map(|data| data.split(|byte| *byte == 0).next().unwrap_or_default());
        let functions = code.functions.iter().filter(|function| !function.is_program());
        let mut needs: Vec<Need> = found.needs.into_iter().collect();
        needs.sort_by_key(|need| Reverse(need.source.kernel()));
        let report = Report {
            license: license.map(code::name).transpose()?,
            functions: functions
                .map(|function| Function { name: function.name.clone(), instructions: function.insns.len() })
                .collect(),
            instructions: code.functions.iter().map(|function| function.insns.len()).sum(),
            helpers: found.helpers,
            needs_kernel_btf: !relocations.all.is_empty()
                || !found.kernel_symbols.is_empty()
                || programs.iter().any(|program| program.attaches_by_btf)
                || maps.iter().any(Map::is_struct_ops),
            notes: notes(&found.required_config, &relocations.all),
            kernel_config: found.kernel_config,
            without_btf: without_btf(&programs, &maps, &found.kernel_symbols),
            without_bpf_events: without_bpf_events(&programs),
            maps,
            relocations: relocations.all,
            kernel_symbols: found.kernel_symbols,
            oldest_kernel: needs.first().map(|need| need.kernel.clone()),
            needs,
            unknown: found.unknown,
            programs,
        };
        Ok((endian, report))
    }
}

impl Map {
    /// It is made of the kernel's own structs.
    fn is_struct_ops(&self) -> bool {
        self.kind == "struct_ops"
    }
}

#[derive(Debug, Default)]
struct Relocations {
    all: Vec<Relocation>,
    /// How many there are in a program or function, by its index.
    by_function: BTreeMap<usize, usize>,
}

impl Relocations {
    fn read(btf: &Btf, ext: &[u8], endian: Endian, code: &Code) -> Result<Relocations> {
        let read = btf.relocations(ext, endian)?;
        ensure!(read.len() <= MAX_RELOCATIONS, "it has {} relocations, and {MAX_RELOCATIONS} are enough", read.len());
        let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
        let mut by_function: BTreeMap<usize, usize> = BTreeMap::new();
        for relocation in &read {
            let section = code::name(relocation.section)?;
            let place = || format!("the relocation at byte {} of section `{section}`", relocation.offset);
            let (kind, target) = co_re::describe(btf, relocation).with_context(place)?;
            *counts.entry((target, kind)).or_default() += 1;
            if let Some(function) = code.containing(&section, relocation.offset) {
                *by_function.entry(function).or_default() += 1;
            }
        }
        let all = counts.into_iter().map(|((target, kind), count)| Relocation { target, kind, count });
        Ok(Relocations { all: all.collect(), by_function })
    }
}

/// Gathers what the whole object needs.
#[derive(Debug, Default)]
struct Found {
    needs: BTreeSet<Need>,
    unknown: BTreeSet<String>,
    helpers: BTreeSet<String>,
    kernel_symbols: BTreeSet<String>,
    kernel_config: BTreeSet<String>,
    /// Those of `kernel_config` without which loaders refuse it, and which only the kernel's configuration has.
    required_config: BTreeSet<String>,
}

impl Found {
    fn need(&mut self, row: &Feature) {
        self.need_named(row.name.into(), row.since);
    }

    fn need_named(&mut self, what: String, since: Since) {
        let (major, minor) = since.kernel();
        self.needs.insert(Need { what, kernel: format!("{major}.{minor}"), source: since });
    }

    fn program(&mut self, index: usize, code: &Code, uses: &[Uses], relocations: &Relocations) -> Program {
        let function = &code.functions[index];
        let reached = code::reachable_from(index, uses);
        let loaded_instructions = reached.iter().map(|index| code.functions[*index].insns.len()).sum();
        if reached.len() > 1 {
            self.need(&kernel_features::FUNCTIONS);
        }
        if loaded_instructions > FEW_INSTRUCTIONS {
            self.need(&kernel_features::MANY_INSTRUCTIONS);
        }
        let (row, attach) = self.section(&function.section);
        let kind = row.map(|row| row.kind);
        let mut tracing: BTreeSet<&str> =
            kind.into_iter().filter(|kind| kernel_features::TRACING.contains(kind)).collect();
        for index in &reached {
            let helpers = self.uses(&uses[*index]);
            tracing.extend(helpers.into_iter().filter(|helper| kernel_features::TRACING_HELPERS.contains(helper)));
        }
        Program {
            name: function.name.clone(),
            section: function.section.clone(),
            kind,
            attach,
            instructions: function.insns.len(),
            loaded_instructions,
            relocations: reached.iter().filter_map(|index| relocations.by_function.get(index)).sum(),
            attaches_by_btf: row.is_some_and(|row| row.needs_btf),
            tracing: tracing.into_iter().collect(),
        }
    }

    /// What the name of a section determines for the programs in it: their type, and where they attach.
    fn section(&mut self, section: &str) -> (Option<&'static Section>, Option<String>) {
        let Some((row, attach)) = Section::find(section) else {
            self.unknown.insert(format!("the type of programs in section `{section}`"));
            return (None, None);
        };
        match row.since {
            Some(since) => self.need_named(format!("{} programs", row.name), since),
            None => drop(self.unknown.insert(format!("the first kernel with {} programs", row.name))),
        }
        (Some(row), attach.map(String::from))
    }

    fn map(&mut self, map: maps::Map) -> Map {
        let mut name = |number: u32| match kernel_features::map(number) {
            Some(row) => {
                self.need_named(format!("map type {}", row.name), row.since);
                row.name.to_owned()
            }
            None => {
                self.unknown.insert(format!("map type {number}"));
                number.to_string()
            }
        };
        Map { kind: name(map.kind), inner: map.inner.map(&mut name), name: map.name }
    }

    fn struct_ops(&mut self, btf: &Btf) -> Result<()> {
        if !maps::variables(btf, ".struct_ops.link").is_empty() {
            self.need(&kernel_features::STRUCT_OPS_LINK);
        }
        for variable in maps::struct_ops(btf) {
            // `struct NAME___suffix` stands for NAME.
            let name = co_re::name(maps::follow(btf, variable)?)?;
            let name = name.split("___").next().unwrap_or_default();
            match kernel_features::struct_ops(name) {
                Some(row) => self.need_named(format!("struct_ops {name}"), row.since),
                None => drop(self.unknown.insert(format!("the first kernel with struct_ops {name}"))),
            }
        }
        Ok(())
    }

    /// What loaders read from the kernel's configuration, into a map for variables.
    fn kernel_config(&mut self, btf: &Btf, optional: &BTreeSet<&[u8]>) -> Result<()> {
        for variable in maps::variables(btf, maps::KCONFIG) {
            self.need(&kernel_features::GLOBAL_DATA);
            let name = co_re::name(variable)?;
            // libbpf finds out by itself what begins with LINUX_.
            if name.starts_with("CONFIG_") && !optional.contains(variable.name()) {
                self.required_config.insert(name.clone());
            }
            self.kernel_config.insert(name);
        }
        Ok(())
    }

    /// Functions and variables of the kernel's. The addresses of variables without a type are in /proc/kallsyms, so
    /// they need nothing of it.
    fn kernel_symbols(&mut self, btf: &Btf, optional: &BTreeSet<&[u8]>) -> Result<()> {
        for symbol in maps::variables(btf, ".ksyms") {
            let row = match (symbol.kind, symbol.fields.get(2)) {
                (Kind::Function, _) => &kernel_features::KERNEL_FUNCTIONS,
                (_, Some(Field::Type(id))) if co_re::skip_mods_and_typedefs(btf, *id).is_ok() => {
                    &kernel_features::KERNEL_VARIABLES
                }
                _ => continue,
            };
            if !optional.contains(symbol.name()) {
                self.need(row);
            }
            self.kernel_symbols.insert(co_re::name(symbol)?);
        }
        Ok(())
    }

    /// Gives the names of the helpers.
    fn uses(&mut self, uses: &Uses) -> Vec<&'static str> {
        uses.features.iter().for_each(|row| self.need(row));
        self.unknown.extend(uses.unknown.iter().cloned());
        let mut names = Vec::new();
        for number in &uses.helpers {
            match kernel_features::helper(*number) {
                Some(row) => {
                    self.need_named(format!("helper {}", row.name), row.since);
                    self.helpers.insert(row.name.into());
                    names.push(row.name);
                }
                None => {
                    self.helpers.insert(number.to_string());
                    self.unknown.insert(format!("helper {number}"));
                }
            }
        }
        names
    }
}

/// The names of what the object uses if it is there.
fn weak_externs<'data>(file: &File<'data>) -> Result<BTreeSet<&'data [u8]>> {
    let externs = file.symbols().filter(|symbol| symbol.is_undefined() && symbol.is_weak());
    Ok(externs.map(|symbol| symbol.name_bytes()).collect::<Result<_, _>>()?)
}

fn notes(required_config: &BTreeSet<String>, relocations: &[Relocation]) -> Vec<String> {
    let mut sentences = Vec::new();
    if !required_config.is_empty() {
        let options = list(required_config.iter().map(String::as_str));
        sentences.push(format!(
            "{options}: libbpf reads the kernel's configuration in /boot/config-RELEASE or /proc/config.gz, and refuses the \
             object where it finds neither"
        ));
    }
    for registers in kernel_features::REGISTERS {
        let field = |relocation: &'_ Relocation| -> Option<String> {
            let (name, field) = relocation.target.split_once('.')?;
            (name.strip_prefix("struct ")?.split("___").next() == Some(registers)).then(|| field.to_owned())
        };
        let fields: BTreeSet<String> = relocations.iter().filter_map(field).collect();
        if !fields.is_empty() {
            // `regs[31]`, or `psw.addr`.
            let plain = |field: &String| field.split(['.', '[']).next().unwrap_or_default().to_owned();
            let has = |of: &[&str]| fields.iter().all(|field| of.contains(&plain(field).as_str()));
            let arches = kernel_features::REGISTER_FIELDS.iter().filter(|(_, of)| has(of)).map(|(arch, _)| *arch);
            let arches = arches.collect::<Vec<_>>().join(" or ");
            let of = if arches.is_empty() { String::new() } else { format!(", as on {arches}") };
            sentences.push(format!(
                "struct {registers} differs between architectures, and the object reads {} in it{of}: on an architecture \
                 without that field, it cannot be loaded",
                list(fields.iter().map(String::as_str))
            ));
        }
    }
    sentences
}

fn without_btf(programs: &[Program], maps: &[Map], kernel_symbols: &BTreeSet<String>) -> Vec<String> {
    if !kernel_symbols.is_empty() {
        let symbols = list(kernel_symbols.iter().map(String::as_str));
        return vec![format!("nothing of it can be loaded: only the kernel's BTF contains where {symbols} are")];
    }
    let struct_ops = maps.iter().filter(|map| map.is_struct_ops()).map(|map| map.name.as_str());
    let by_btf = list(names(programs, |program| program.attaches_by_btf).chain(struct_ops));
    let by_offset = list(names(programs, |program| !program.attaches_by_btf && program.relocations > 0));
    let mut sentences = Vec::new();
    if !by_btf.is_empty() {
        sentences
            .push(format!("{by_btf} cannot be loaded: attaching takes the kernel's own BTF, which no file replaces"));
    }
    if !by_offset.is_empty() {
        sentences.push(format!(
            "given no BTF file either, libbpf refuses {by_offset}, and aya 0.14 loads them with the offsets of the headers that \
             they were compiled with, so that they may read wrong fields"
        ));
    }
    or_nothing(sentences)
}

fn without_bpf_events(programs: &[Program]) -> Vec<String> {
    let mut sentences = Vec::new();
    let is_type = |program: &Program| program.kind.is_some_and(|kind| kernel_features::TRACING.contains(&kind));
    let by_type = list(names(programs, is_type));
    if !by_type.is_empty() {
        let kinds: BTreeSet<&str> =
            programs.iter().filter(|program| is_type(program)).filter_map(|found| found.kind).collect();
        sentences
            .push(format!("{by_type} cannot be loaded: such a kernel has no {} programs", list(kinds.into_iter())));
    }
    for program in programs.iter().filter(|program| !is_type(program) && !program.tracing.is_empty()) {
        let helpers = list(program.tracing.iter().copied());
        sentences.push(format!("{} cannot be loaded: such a kernel does not have {helpers}", program.name));
    }
    let unknown = list(names(programs, |program| program.kind.is_none()));
    if !unknown.is_empty() {
        sentences.push(format!("of {unknown}, it is not known"));
    }
    or_nothing(sentences)
}

fn names(programs: &[Program], which: impl Fn(&Program) -> bool) -> impl Iterator<Item = &str> {
    programs.iter().filter(move |program| which(program)).map(|program| program.name.as_str())
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn or_nothing(sentences: Vec<String>) -> Vec<String> {
    if sentences.is_empty() { vec!["it makes no difference".into()] } else { sentences }
}
