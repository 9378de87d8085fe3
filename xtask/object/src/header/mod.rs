//! A C header of a kernel's types, from its BTF: vmlinux.h. Whole, or what sources use of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::btf::{Btf, Kind, Type};
use crate::co_re;
use layout::Layouts;
use names::Names;

mod declarators;
mod kfuncs;
mod layout;
mod names;

/// Which types, and what of them.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    All,
    /// Types that have one of these names, those that they lead to, and of structs the members that have one of these names.
    /// Offsets and sizes are those of the kernel.
    Named(&'a BTreeSet<String>),
}

/// Why a type is not looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begun,
    Done,
}

/// Types within types, and in the signatures of functions. C has no more in practice; a damaged file could.
const MAX_DEPTH: usize = 200;

struct Writer<'btf, 'data, 'wanted> {
    btf: &'btf Btf<'data>,
    wanted: Wanted<'wanted>,
    names: Names,
    layouts: Layouts<'btf, 'data>,
    states: BTreeMap<u32, State>,
    /// The structs and unions that are mentioned.
    tags: BTreeSet<u32>,
    /// Structs that pointers among the wanted members lead to.
    reached: Vec<u32>,
    /// The types of numbers that clang does not have by itself.
    numbers: BTreeSet<u32>,
    depth: usize,
    text: String,
}

/// Writes the header.
pub fn write(btf: &Btf, wanted: Wanted) -> Result<String> {
    let layouts = Layouts::new(btf);
    let mut writer = Writer {
        btf,
        wanted,
        names: Names::new(btf)?,
        states: BTreeMap::new(),
        tags: BTreeSet::new(),
        reached: Vec::new(),
        numbers: BTreeSet::new(),
        depth: 0,
        text: String::new(),
        layouts,
    };
    for id in 1..=btf.types.len() as u32 {
        if writer.is_wanted(id)? {
            writer.define(id)?;
        }
    }
    let kfuncs = writer.kfuncs()?;
    // `task->fs->root` names no type of what is between.
    while let Some(id) = writer.reached.pop() {
        writer.define(id)?;
    }
    writer.finish(&kfuncs)
}

impl<'data> Writer<'_, 'data, '_> {
    fn get(&self, id: u32) -> Result<&Type<'data>> {
        self.btf.get(id).context("a reference to void where there is to be a type")
    }

    fn is_wanted(&self, id: u32) -> Result<bool> {
        let found = self.get(id)?;
        let is_defined = matches!(found.kind, Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Typedef);
        let is_enum = matches!(found.kind, Kind::Enum | Kind::Enum64);
        Ok(match self.wanted {
            _ if !is_defined || (found.name().is_empty() && !is_enum) => false,
            Wanted::All => true,
            Wanted::Named(names) => {
                let is_named = |name: &[u8]| std::str::from_utf8(name).is_ok_and(|name| names.contains(name));
                is_named(found.name()) || (is_enum && found.values().iter().any(|(name, _)| is_named(name)))
            }
        })
    }

    /// Writes the definition of a type that has a name, after those that it needs.
    fn define(&mut self, id: u32) -> Result<()> {
        if self.states.contains_key(&id) {
            return Ok(());
        }
        self.states.insert(id, State::Begun);
        ensure!(self.depth < MAX_DEPTH, "a type is within more than {MAX_DEPTH} others");
        self.depth += 1;
        let found = self.get(id)?;
        let kind = found.kind;
        match kind {
            Kind::Struct | Kind::Union => {
                self.need_members(id)?;
                let body = self.body(id, "")?;
                writeln!(self.text, "\n{kind} {} {body};", self.names.of(id))?;
            }
            Kind::Enum | Kind::Enum64 => {
                let body = self.enumeration(id)?;
                let tag = self.names.of(id);
                writeln!(
                    self.text,
                    "\nenum {}{body};",
                    if tag.is_empty() { String::new() } else { format!("{tag} ") }
                )?;
            }
            _ => {
                let target = found.target().context("a typedef of nothing")?;
                self.need(target, false)?;
                let declared = {
                    let name = self.names.of(id).to_owned();
                    self.declare(target, &name, "")?
                };
                writeln!(self.text, "\ntypedef {declared};")?;
            }
        }
        self.depth -= 1;
        self.states.insert(id, State::Done);
        Ok(())
    }

    fn need_members(&mut self, id: u32) -> Result<()> {
        for member in self.members(id)? {
            self.need(member.type_id, true)?;
        }
        Ok(())
    }

    /// Has everything defined that must be before a declaration with this type: all of it if there is to be a value.
    fn need(&mut self, id: u32, is_value: bool) -> Result<()> {
        ensure!(self.depth < MAX_DEPTH, "a type is within more than {MAX_DEPTH} others");
        let Some(found) = self.btf.get(id) else { return Ok(()) };
        let target = found.target().unwrap_or_default();
        self.depth += 1;
        match found.kind {
            Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => self.need(target, is_value)?,
            Kind::Pointer => self.need(target, false)?,
            Kind::Array => self.need(target, true)?,
            Kind::Typedef => {
                self.define(id)?;
                if is_value {
                    self.need(target, true)?;
                }
            }
            Kind::Struct | Kind::Union if found.name().is_empty() => self.need_members(id)?,
            Kind::Struct | Kind::Union if is_value => self.define(id)?,
            Kind::Struct | Kind::Union => {
                let is_reached = matches!(self.wanted, Wanted::Named(_)) && self.has_wanted(id, 0);
                self.reached.extend(is_reached.then_some(id));
            }
            Kind::Enum | Kind::Enum64 => self.define(id)?,
            Kind::Prototype => {
                self.need(target, false)?;
                for parameter in self.parameters(id)? {
                    self.need(parameter, false)?;
                }
            }
            _ => {}
        }
        self.depth -= 1;
        Ok(())
    }

    fn finish(self, kfuncs: &str) -> Result<String> {
        let mut text = String::from("/* The kernel's types, from its BTF: written by `cargo xtask vmlinux`. */\n");
        text += "#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\n\n";
        if self.layouts.pointer_size() != 8 {
            text += "/* Pointers and long have 4 bytes in this kernel, and 8 in BPF: read them by the size that the kernel has\n";
            text += " * (bpf_core_field_size), and use no struct of it as a value. */\n";
        }
        text += "#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n";
        text += "#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)\n#endif\n\n";
        for id in &self.numbers {
            let found = self.get(*id)?;
            let number = match found.size() {
                Some(1) => "char",
                Some(2) => "short",
                Some(4) => "int",
                Some(8) => "long long",
                _ => "__int128",
            };
            writeln!(text, "typedef unsigned {number} {};", co_re::name(found)?)?;
        }
        let mut forward: BTreeSet<String> = BTreeSet::new();
        for id in &self.tags {
            let found = self.get(*id)?;
            let is_union = found.kind == Kind::Union || (found.kind == Kind::Forward && found.kind_flag());
            let kind = if is_union { "union" } else { "struct" };
            forward.insert(format!("{kind} {};\n", self.names.of(*id)));
        }
        text.extend(forward);
        text += &self.text;
        text += kfuncs;
        text += "\n#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n#pragma clang attribute pop\n#endif\n\n#endif\n";
        Ok(text)
    }
}
