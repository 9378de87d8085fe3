//! The kernel's functions that BPF programs may call: those that its BTF has a tag on, since Linux 6.10.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;

use super::{Wanted, Writer};
use crate::btf::Kind;
use crate::co_re;

const TAG: &[u8] = b"bpf_kfunc";

impl Writer<'_, '_, '_> {
    /// Their declarations, as bpftool writes them: a program that finds one missing can do without it.
    pub(super) fn kfuncs(&mut self) -> Result<String> {
        let tagged = self.btf.types.iter().filter(|tag| tag.kind == Kind::DeclarationTag && tag.name() == TAG);
        let mut known = BTreeSet::new();
        let mut declarations = String::new();
        for function in tagged.filter_map(|tag| self.btf.get(tag.target()?)) {
            let name = co_re::name(function)?;
            let is_wanted = match self.wanted {
                Wanted::All => true,
                Wanted::Named(names) => names.contains(&name),
            };
            let is_name = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
            if function.kind != Kind::Function || !is_wanted || !is_name || !known.insert(name.clone()) {
                continue;
            }
            let prototype = function.target().unwrap_or_default();
            self.need(prototype, false)?;
            writeln!(declarations, "extern {} __weak __ksym;", self.declare(prototype, &name, "")?)?;
        }
        if declarations.is_empty() {
            return Ok(declarations);
        }
        let word = |word: &str, of: &str| format!("#ifndef {word}\n#define {word} __attribute__(({of}))\n#endif\n");
        let words = [word("__ksym", "section(\".ksyms\")"), word("__weak", "weak")].concat();
        Ok(format!("\n#ifndef BPF_NO_KFUNC_PROTOTYPES\n{words}{declarations}#endif\n"))
    }
}
