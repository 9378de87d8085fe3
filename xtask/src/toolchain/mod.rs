//! What builds need besides cargo and rustc, what of it the machine has, and how to get the rest.

pub mod sysroot;
pub mod zig;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use self::sysroot::Sysroot;
use crate::arch::ARCHES;
use crate::build::run::Lines;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::parallel;
use crate::sys::process::Runner;
use crate::ui::error;
use crate::ui::error::Damaged;
use crate::workspace::facts::Facts;
use crate::workspace::rust::Rust;

/// rustup's name for the sources of the standard library.
const RUST_SRC: &str = "rust-src";

/// What comes over the network for a standard library, and for its sources.
pub const STD_MB: u64 = 39;
pub const RUST_SRC_MB: u64 = 4;

/// The names in the cache of what this version of the tool uses. Without a Rust, those are not all.
pub fn names(rust: Option<&Rust>) -> BTreeSet<String> {
    let sysroots = rust.into_iter().flat_map(|rust| ARCHES.iter().map(|arch| Sysroot::new(arch, rust).name));
    zig::name().into_iter().chain(sysroots).collect()
}

/// What of all this the machine has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// Rust targets with a prebuilt standard library.
    pub std: BTreeSet<String>,
    pub rust_src: bool,
    /// The names in the cache.
    pub cached: BTreeSet<String>,
}

impl Installed {
    pub fn find(rust: &Rust, cache: &Cache) -> Result<Installed> {
        let rustlib = rust.sysroot.join("lib/rustlib");
        let mut std = BTreeSet::new();
        for name in files::list(&rustlib)? {
            // Manifests and the like lie there, too.
            let crates = files::list(&rustlib.join(&name).join("lib")).unwrap_or_default();
            if crates.iter().any(|file| file.starts_with("libstd-")) {
                std.insert(name);
            }
        }
        Ok(Installed {
            std,
            rust_src: rust.sources().join("library/std/Cargo.toml").exists(),
            cached: cache.entries()?,
        })
    }
}

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

/// How what is missing is got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub rustup: Vec<Rustup>,
    pub compiler: Option<zig::Plan>,
    pub sysroots: Vec<sysroot::Plan>,
}

/// Something that belongs to the pinned toolchain: in the workspace, rustup's active toolchain is that one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rustup {
    pub what: Vec<String>,
    pub command: Command,
}

/// Plans to get what is missing.
pub fn plan(needs: &Needs, facts: &Facts) -> Result<Plan> {
    let missing = needs.missing(&facts.installed, facts.offline)?;
    let rustup = |kind: &str, what: &[&str]| Rustup {
        what: what.iter().map(ToString::to_string).collect(),
        command: Command::new("rustup", &facts.root).args([kind, "add"]).args(what.iter().copied()),
    };
    let mut plan = Plan::default();
    if !missing.std.is_empty() {
        plan.rustup.push(rustup("target", &missing.std));
    }
    if missing.rust_src {
        plan.rustup.push(rustup("component", &[RUST_SRC]));
    }
    if missing.zig {
        plan.compiler = Some(zig::plan(facts)?);
    }
    for sysroot in &missing.sysroots {
        plan.sysroots.push(sysroot::plan(facts, sysroot)?);
    }
    Ok(plan)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rustup in &self.rustup {
            writeln!(f, "# get {}\n{}", rustup.what.join(", "), rustup.command)?;
        }
        if let Some(compiler) = &self.compiler {
            writeln!(f, "# get the compiler")?;
            for step in &compiler.steps {
                writeln!(f, "{step}")?;
            }
            writeln!(f, "# unpack what is needed of it to {} in the cache", compiler.name)?;
        }
        for plan in &self.sysroots {
            writeln!(f, "# build the C runtime and the standard library for {}", plan.sysroot.arch)?;
            for step in &plan.runtime {
                writeln!(f, "{step}")?;
            }
            writeln!(f, "{}\n# keep what it links with", plan.link)?;
            for step in &plan.std {
                writeln!(f, "{step}")?;
            }
            writeln!(f, "{}", plan.build)?;
            writeln!(f, "# keep the crates as {} in the cache", plan.sysroot.name)?;
        }
        Ok(())
    }
}

/// Gets everything that the plan says. Nobody removes what is in the cache until the files returned are dropped.
pub fn get(runner: Runner, facts: &Facts, plan: &Plan, lines: &Lines) -> Result<Vec<File>> {
    let names = names(Some(&facts.rust));
    let _before = facts.cache.hold(&names);
    for rustup in &plan.rustup {
        ask_rustup(runner, facts, rustup)?;
    }
    if let Some(compiler) = &plan.compiler {
        zig::get(runner, &facts.cache, compiler)?;
    }
    let _compiler = facts.cache.hold(&names);
    let made = parallel::map(&plan.sysroots, |sysroot| sysroot::get(runner, &facts.cache, sysroot, lines));
    runner.check_interrupted()?;
    let mut failures: Vec<(&str, String)> = Vec::new();
    for (sysroot, made) in plan.sysroots.iter().zip(made) {
        match made {
            Err(error) if error.is::<Damaged>() => return Err(error),
            Err(error) => failures.push((sysroot.sysroot.arch.name, error::describe(&error))),
            Ok(()) => {}
        }
    }
    match failures.as_slice() {
        [] => Ok(facts.cache.hold(&names)),
        // Most likely for the same reason.
        [(_, first), others @ ..] if !others.is_empty() => {
            let others: Vec<&str> = others.iter().map(|(arch, _)| *arch).collect();
            bail!("{first}\n\nIt failed for {}, too.", others.join(", "))
        }
        [(_, failure), ..] => bail!("{failure}"),
    }
}

fn ask_rustup(runner: Runner, facts: &Facts, rustup: &Rustup) -> Result<()> {
    // One at a time: two rustups at once trip over each other's downloads.
    let _lock = facts.cache.lock(runner, "rustup.lock")?;
    let what = rustup.what.join(", ");
    let sysroot = facts.rust.sysroot.display();
    runner.status(format!("fetching {what} with rustup, into {sysroot}"));
    let line = runner.line("rustup");
    line.set(&what);
    runner.run(&rustup.command).with_context(|| format!("cannot get {what} with rustup"))?;
    let installed = Installed::find(&facts.rust, &facts.cache)?;
    if !rustup.what.iter().all(|name| installed.std.contains(name) || (name == RUST_SRC && installed.rust_src)) {
        bail!("rustup got {what}, but not for the Rust in {sysroot}, which is in use: put rustup's first on PATH");
    }
    Ok(())
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
