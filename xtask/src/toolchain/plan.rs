//! What builds need to be there, and how what is missing is fetched or made.

use anyhow::{Result, bail};

use crate::sys::command::Command;
use crate::sys::plan::Task;
use crate::sys::steps::HoldEntries;
use crate::toolchain::facts::Installed;
use crate::toolchain::run::RustupAdd;
use crate::toolchain::sysroot::{self, Sysroot};
use crate::toolchain::zig;
use crate::workspace::facts::Facts;

/// rustup's name for the sources of the standard library.
pub const RUST_SRC: &str = "rust-src";

/// What comes over the network for a standard library, and for its sources.
pub const STD_MB: u64 = 39;
pub const RUST_SRC_MB: u64 = 4;

/// What a plan wants to be there before it compiles anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Standard libraries wanted from rustup, by target.
    pub std: Vec<&'static str>,
    pub rust_src: bool,
    pub zig: bool,
    pub sysroots: Vec<Sysroot>,
    /// The container image of a compiler that is not ours, if the engine does not have it.
    pub image: Option<String>,
}

impl Needs {
    /// What of it the machine does not have. With `offline`, nothing that is missing may have to be downloaded.
    pub fn missing(&self, installed: &Installed, offline: bool) -> Result<Needs> {
        let sysroots: Vec<_> =
            self.sysroots.iter().filter(|sysroot| !installed.cached.contains(&sysroot.name)).cloned().collect();
        let missing = Needs {
            std: self.std.iter().copied().filter(|target| !installed.std.contains(*target)).collect(),
            // Both are wanted for making sysroots only (and zig for BPF objects too), not for using them.
            rust_src: !sysroots.is_empty() && !installed.rust_src,
            zig: (self.zig || !sysroots.is_empty()) && !installed.cached.contains(&zig::name()?),
            sysroots,
            image: self.image.clone(),
        };
        let downloads = missing.downloads();
        if offline && !downloads.is_empty() {
            bail!("--offline, but this is missing: {}; run once without --offline", downloads.join(", "));
        }
        Ok(missing)
    }

    /// What would have to come over the network, in words.
    fn downloads(&self) -> Vec<String> {
        let mut words: Vec<String> =
            self.std.iter().map(|target| format!("the standard library for {target} (from rustup)")).collect();
        if self.rust_src {
            words.push("the sources of the standard library (rust-src, from rustup)".into());
        }
        if self.zig {
            words.push(format!("the compiler ({}, through pip)", zig::PACKAGE));
        }
        words.extend(self.image.iter().map(|image| format!("the container image {image}")));
        words
    }
}

/// Plans to get what is missing, and to keep other runs from removing what is there.
pub fn plan(needs: &Needs, facts: &Facts) -> Result<Vec<Task>> {
    let Facts { installed, cache, .. } = facts;
    let missing = needs.missing(installed, facts.offline)?;
    let mut tasks = Vec::new();

    let mut used: Vec<String> = needs.sysroots.iter().map(|sysroot| sysroot.name.clone()).collect();
    if needs.zig || !missing.sysroots.is_empty() {
        used.push(zig::name()?);
    }
    used.retain(|name| installed.cached.contains(name));
    if !used.is_empty() {
        let hold = HoldEntries::new(cache.clone(), used);
        tasks.push(Task::new("keeping other runs from removing what is used here", vec![Box::new(hold)]));
    }
    if !missing.std.is_empty() {
        tasks.push(rustup(facts, "target", &missing.std));
    }
    if missing.rust_src {
        tasks.push(rustup(facts, "component", &[RUST_SRC]));
    }
    if missing.zig {
        tasks.push(zig::task(cache, &facts.root)?);
    }
    for sysroot in &missing.sysroots {
        tasks.push(sysroot::task(facts, sysroot)?);
    }
    Ok(tasks)
}

/// Has rustup add something to the pinned toolchain: in the workspace, the active toolchain is that one.
fn rustup(facts: &Facts, kind: &str, what: &[&str]) -> Task {
    let command = Command::new("rustup", &facts.root).args([kind, "add"]).args(what.iter().copied());
    let names = what.join(", ");
    let title = format!("fetching {names} with rustup, into {}", facts.rust.sysroot.display());
    let what = what.iter().map(ToString::to_string).collect();
    let step = RustupAdd { what, command, rust: facts.rust.clone(), cache: facts.cache.clone() };
    Task::new(title, vec![Box::new(step)]).announced().live("rustup").failure(format!("cannot get {names} with rustup"))
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;
    use crate::arch::Arch;

    fn sysroot() -> Sysroot {
        Sysroot { arch: <&Arch>::from_str("mips").unwrap(), name: "sysroot-mips".into() }
    }

    fn needs() -> Needs {
        Needs { std: vec!["x86_64-unknown-linux-musl"], sysroots: vec![sysroot()], ..Needs::default() }
    }

    #[test]
    fn where_nothing_is_all_of_it_is_missing() {
        let missing = needs().missing(&Installed::default(), false).unwrap();
        assert_eq!(missing, Needs { rust_src: true, zig: true, ..needs() });
        assert_eq!(missing.downloads().len(), 3);
    }

    #[test]
    fn a_sysroot_that_is_there_needs_neither_sources_nor_compiler() {
        let installed = Installed {
            std: ["x86_64-unknown-linux-musl".to_owned()].into(),
            rust_src: false,
            cached: ["sysroot-mips".to_owned()].into(),
        };
        assert_eq!(needs().missing(&installed, true).unwrap(), Needs::default());
    }

    #[test]
    fn offline_nothing_may_have_to_be_downloaded() {
        let error = needs().missing(&Installed::default(), true).unwrap_err().to_string();
        assert!(error.starts_with("--offline, but this is missing: the standard library for x86_64"), "{error}");
        let installed = Installed { rust_src: true, cached: [zig::name().unwrap()].into(), ..Installed::default() };
        let from_source = Needs { std: Vec::new(), ..needs() };
        assert_eq!(from_source.missing(&installed, true).unwrap().sysroots, [sysroot()]);
    }
}
