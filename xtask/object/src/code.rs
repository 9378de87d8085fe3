//! The programs and functions of a BPF object: where they are, what calls what, and what each uses.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use object::{File, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex};
use object::{SectionKind, Symbol, SymbolKind};

use crate::instructions::{Call, Instruction, SLOT};
use crate::kernel_features::Feature;
use crate::{Endian, instructions, kernel_features};

/// The instructions of an object.
#[derive(Debug)]
pub struct Code {
    /// By address.
    pub functions: Vec<Function>,
    /// The index of each, by the name of its section and the slot that it begins in.
    begins: BTreeMap<(String, usize), usize>,
    /// What the relocations of instructions refer to, other than maps.
    targets: BTreeMap<CodeAddr, Target>,
}

/// A program, or a function that programs call.
#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub section: String,
    pub insns: Vec<Option<Instruction>>,
    addr: CodeAddr,
}

/// What a program or a function uses.
#[derive(Debug, Default)]
pub struct Uses {
    /// By their indexes: which instructions of the section call them, or take their address.
    calls: BTreeMap<usize, Vec<usize>>,
    /// By their numbers.
    pub helpers: BTreeSet<u32>,
    pub features: BTreeSet<&'static Feature>,
    pub unknown: BTreeSet<String>,
}

/// A section, and a slot in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct CodeAddr {
    section: usize,
    slot: usize,
}

/// What an instruction refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// A function, or the beginning of a section with functions, to which the instruction adds.
    Code(CodeAddr),
    GlobalVariable,
    /// An undefined symbol: the kernel's.
    Kernel,
}

/// Bounds of what is read: in use are dozens of functions, and names of dozens of letters. Without them, a small file
/// could ask for a lot of work.
const MAX_FUNCTIONS: usize = 20_000;
const MAX_NAME: usize = 1000;

impl Code {
    pub fn read(file: &File, endian: Endian) -> Result<Code> {
        let mut code = Code { functions: Vec::new(), begins: BTreeMap::new(), targets: BTreeMap::new() };
        for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
            for (offset, relocation) in section.relocations() {
                if let RelocationTarget::Symbol(index) = relocation.target()
                    && let Some(target) = Target::of(file, &file.symbol_by_index(index)?)?
                {
                    code.targets.insert(CodeAddr::new(section.index(), offset)?, target);
                }
            }
        }
        for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
            let Some(section) = symbol.section_index() else { continue };
            let name = name(symbol.name_bytes()?)?;
            code.functions.push(
                Function::read(file, section, &symbol, &name, endian).with_context(|| format!("function `{name}`"))?,
            );
            ensure!(code.functions.len() <= MAX_FUNCTIONS, "it has more than {MAX_FUNCTIONS} functions");
        }
        code.functions.sort_by_key(|function| function.addr);
        for pair in code.functions.windows(2) {
            let end = CodeAddr { slot: pair[0].addr.slot + pair[0].insns.len(), ..pair[0].addr };
            ensure!(end <= pair[1].addr, "functions `{}` and `{}` overlap", pair[0].name, pair[1].name);
        }
        for (index, function) in code.functions.iter().enumerate() {
            code.begins.insert((function.section.clone(), function.addr.slot), index);
        }
        Ok(code)
    }

    /// The program or function that this instruction of a section is in.
    pub fn containing(&self, section: &str, offset: u32) -> Option<usize> {
        let slot = offset as usize / SLOT;
        let (_, index) = self.begins.range(..=(section.to_owned(), slot)).next_back()?;
        let function = &self.functions[*index];
        let contains = function.section == section && slot < function.addr.slot + function.insns.len();
        contains.then_some(*index)
    }

    pub fn uses(&self, function: &Function) -> Result<Uses> {
        let mut uses = Uses::default();
        for (index, instruction) in function.insns.iter().enumerate() {
            let Some(instruction) = instruction else { continue };
            match instruction.required_feature() {
                Ok(feature) => uses.features.extend(feature),
                Err(error) => drop(uses.unknown.insert(error.to_string())),
            }
            let here = CodeAddr { slot: function.addr.slot + index, ..function.addr };
            match (instruction.call(), self.targets.get(&here)) {
                (Some(Call::Helper(number)), _) => drop(uses.helpers.insert(number)),
                // BTF lists those by name.
                (Some(Call::Kernel), _) | (Some(Call::Function), Some(Target::Kernel)) => {}
                (Some(Call::Function), Some(Target::GlobalVariable)) => bail!("it calls a variable"),
                (Some(Call::Function), target) => {
                    let base = match target {
                        Some(Target::Code(addr)) => *addr,
                        _ => here,
                    };
                    // Counted from the next instruction; clang writes -1 where the symbol alone decides.
                    let distance = i64::from(instruction.immediate) + 1;
                    let called = self.at(base, distance).with_context(|| format!("in `{}`", function.name))?;
                    uses.calls.entry(called).or_default().push(here.slot);
                }
                (None, Some(Target::Code(addr))) if instruction.loads_64_bits() => {
                    let distance = i64::from(instruction.immediate) / SLOT as i64;
                    let called = self.at(*addr, distance).with_context(|| format!("in `{}`", function.name))?;
                    uses.calls.entry(called).or_default().push(here.slot);
                    uses.features.insert(&kernel_features::CALLBACKS);
                }
                (None, Some(Target::GlobalVariable)) => drop(uses.features.insert(&kernel_features::GLOBAL_DATA)),
                (None, _) => {}
            }
        }
        if instructions::has_loop(&function.insns) {
            uses.features.insert(&kernel_features::LOOPS);
        }
        Ok(uses)
    }

    /// The index of the function that begins so many slots after a addr.
    fn at(&self, base: CodeAddr, distance: i64) -> Result<usize> {
        let slot = (base.slot as i64).checked_add(distance).and_then(|slot| usize::try_from(slot).ok());
        let addr = slot.map(|slot| CodeAddr { slot, ..base });
        let found = addr.and_then(|addr| self.functions.binary_search_by_key(&addr, |function| function.addr).ok());
        found.context("a call leads to no function")
    }
}

/// A program or function, and all that it calls, by their indexes.
pub fn reachable_from(from: usize, uses: &[Uses]) -> BTreeSet<usize> {
    let mut reached = BTreeSet::from([from]);
    let mut next = vec![from];
    while let Some(index) = next.pop() {
        next.extend(uses[index].calls().filter(|called| reached.insert(*called)));
    }
    reached
}

impl Uses {
    /// The indexes of the functions that it calls.
    pub fn calls(&self) -> impl Iterator<Item = usize> {
        self.calls.keys().copied()
    }

    /// The same, with where in the section each call is, in bytes.
    pub fn sites(&self) -> impl Iterator<Item = (usize, u64)> {
        self.calls.iter().flat_map(|(called, slots)| slots.iter().map(|slot| (*called, (*slot * SLOT) as u64)))
    }
}

impl Function {
    /// Where it begins in its section, in bytes.
    pub fn offset(&self) -> u64 {
        (self.addr.slot * SLOT) as u64
    }

    /// Where it ends.
    pub fn end(&self) -> u64 {
        ((self.addr.slot + self.insns.len()) * SLOT) as u64
    }

    fn read(file: &File, section: SectionIndex, symbol: &Symbol, name: &str, endian: Endian) -> Result<Function> {
        let section = file.section_by_index(section)?;
        let addr = CodeAddr::new(section.index(), symbol.address())?;
        let begin = addr.slot * SLOT;
        let end = usize::try_from(symbol.size()).ok().and_then(|size| begin.checked_add(size));
        let bytes = end.and_then(|end| section.data().ok()?.get(begin..end)).context("it is not within its section")?;
        let insns = instructions::decode(bytes, endian)?;
        Ok(Function { name: name.into(), section: self::name(section.name_bytes()?)?, insns, addr })
    }

    /// Whether it ever returns.
    pub fn returns(&self) -> bool {
        self.insns.iter().flatten().any(Instruction::is_exit)
    }

    /// Where it calls by a pointer, in bytes of its section.
    pub fn calls_by_pointer(&self) -> impl Iterator<Item = u64> {
        let slots = (self.addr.slot..).zip(&self.insns);
        let calls = slots.filter(|(_, instruction)| instruction.is_some_and(|it| it.calls_by_pointer()));
        calls.map(|(slot, _)| (slot * SLOT) as u64)
    }

    /// Else it is a function that programs call.
    pub fn is_program(&self) -> bool {
        self.section != ".text"
    }
}

impl CodeAddr {
    fn new(section: SectionIndex, offset: u64) -> Result<CodeAddr> {
        ensure!(offset.is_multiple_of(SLOT as u64), "no instruction begins at byte {offset} of a section");
        Ok(CodeAddr { section: section.0, slot: usize::try_from(offset)? / SLOT })
    }
}

impl Target {
    fn of(file: &File, symbol: &Symbol) -> Result<Option<Target>> {
        if symbol.is_undefined() {
            return Ok(Some(Target::Kernel));
        }
        let Some(index) = symbol.section_index() else {
            return Ok(None);
        };
        let section = file.section_by_index(index)?;
        Ok(match section.kind() {
            SectionKind::Text => Some(Target::Code(CodeAddr::new(index, symbol.address())?)),
            _ if is_global_data(section.name_bytes()?) => Some(Target::GlobalVariable),
            _ => None,
        })
    }
}

/// Whether loaders make a map of a section, for the variables in it.
pub fn is_global_data(section: &[u8]) -> bool {
    [&b".data"[..], b".rodata", b".bss"].iter().any(|name| {
        let rest = section.strip_prefix(*name);
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'.')
    })
}

/// A name from a file.
pub fn name(bytes: &[u8]) -> Result<String> {
    ensure!(bytes.len() <= MAX_NAME, "a name has {} bytes, and {MAX_NAME} are enough", bytes.len());
    Ok(String::from_utf8_lossy(bytes).into_owned())
}
