//! What build scripts find that have BPF in Rust compiled, as aya-build does: names by which they call this tool, which gives them
//! the objects of bpf.lock. They ask for a nightly Rust and a linker, and need neither.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::bpf::rust::run::{CopyObjects, RunScriptsAgain};
use crate::bpf::units::Binary;
use crate::sys::plan::{Step, Steps};
use crate::sys::steps::{InstallNames, Write};
use crate::workspace::facts::Facts;

/// The file beside the names that says what is behind them.
pub const FILE: &str = "objects.json";

pub const RUSTUP: &str = "rustup";
pub const CARGO: &str = "cargo";
/// Build scripts only look whether it is there.
pub const LINKER: &str = "bpf-linker";
pub const NAMES: [&str; 3] = [RUSTUP, CARGO, LINKER];

/// The crate by whose help build scripts have BPF compiled.
const HELPER: &str = "aya-build";

/// What is behind the names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The BPF folder of the snapshot, with bpf.lock and objects.
    pub folder: PathBuf,
    /// The folder of the toolchain's programs.
    pub toolchain: PathBuf,
    /// The packages that are BPF, with what was compiled of them.
    pub packages: BTreeMap<String, Vec<Made>>,
}

/// A binary with some features, and what its object is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub binary: Binary,
    pub stem: String,
}

/// Whether build scripts may ask for objects.
pub fn are_wanted(facts: &Facts) -> bool {
    let is_helper = |name: &str| name == HELPER;
    !facts.config.bpf.rust.is_empty() || facts.packages.iter().any(|package| is_helper(&package.name))
}

/// The folder of the names. `base` is that of the builder.
pub fn folder(base: &Path) -> PathBuf {
    base.join("bpf-names")
}

/// Has build scripts find these programs before all others.
pub fn put_on_path(base: &Path, environment: &mut BTreeMap<String, String>) {
    let path = environment.get("PATH").cloned().unwrap_or_default();
    environment.insert("PATH".into(), format!("{}:{path}", folder(base).display()));
}

/// Puts the names in place.
pub fn steps(facts: &Facts, base: &Path) -> Steps {
    let bpf = &facts.config.bpf;
    let mut packages: BTreeMap<String, Vec<Made>> = BTreeMap::new();
    for unit in &facts.bpf.rust.units {
        let Some(binary) = unit.rust.clone() else { continue };
        packages.entry(binary.package.clone()).or_default().push(Made { binary, stem: unit.stem.clone() });
    }
    let objects = facts.sources.workspace.join(&bpf.folder);
    let recipe = Recipe { folder: objects, toolchain: facts.rust.sysroot.join("bin"), packages };
    let folder = folder(base);
    let text = serde_json::to_string_pretty(&recipe).unwrap_or_default();
    let names = NAMES.map(String::from).into();
    vec![Box::new(Write { file: folder.join(FILE), text }), Box::new(InstallNames { folder, names })]
}

/// Has build scripts run again that were given other objects than there are now. `target` is cargo's target folder.
pub fn again<'a>(facts: &Facts, target: &Path, triples: impl Iterator<Item = &'a str>) -> Box<dyn Step> {
    let folder = facts.sources.workspace.join(&facts.config.bpf.folder);
    let built = triples.map(|triple| target.join(triple).join("release")).collect();
    Box::new(RunScriptsAgain { folder, built })
}

/// Puts the objects for an architecture where sources expect what cargo would have left: a folder of the workspace.
pub fn copy(facts: &Facts, copies: &str, arch: &'static Arch) -> Box<dyn Step> {
    let bpf = &facts.config.bpf;
    let workspace = &facts.sources.workspace;
    let units = facts.bpf.rust.units.iter().filter_map(|unit| unit.rust.as_ref().filter(|it| it.name == unit.stem));
    let bins = units.map(|binary| binary.name.clone()).collect();
    Box::new(CopyObjects { folder: workspace.join(&bpf.folder), to: workspace.join(copies), bins, arch })
}

/// How a build script's call is understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// It wants objects.
    Objects(Wanted<'a>),
    /// It wants a program of the toolchain, whatever toolchain it names.
    Toolchain(&'a str, &'a [String]),
    /// It wants the program of that name that is on the machine.
    Other,
}

/// The objects that are wanted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Rust's target for BPF.
    pub target: &'a str,
    pub packages: Vec<&'a str>,
    pub bins: Vec<&'a str>,
    /// cargo's target folder.
    pub to: Option<&'a str>,
    /// What chooses features.
    pub features: Vec<&'a str>,
}

/// Understands a call by one of the names.
pub fn call<'a>(name: &str, words: &'a [String]) -> Call<'a> {
    let (program, words) = match (name, words) {
        (RUSTUP, [run, flags_and_more @ ..]) if run == "run" => {
            // `rustup run [--install] TOOLCHAIN PROGRAM …`
            let at = flags_and_more.iter().position(|word| !word.starts_with('-')).unwrap_or_default();
            match flags_and_more.get(at + 1..) {
                Some([program, rest @ ..]) => (program.as_str(), rest),
                _ => return Call::Other,
            }
        }
        (CARGO, [toolchain, rest @ ..]) if toolchain.starts_with('+') => (CARGO, rest),
        (CARGO, words) => match wanted(words) {
            Some(wanted) => return Call::Objects(wanted),
            None => return Call::Other,
        },
        _ => return Call::Other,
    };
    match (program, wanted(words)) {
        (CARGO, Some(wanted)) => Call::Objects(wanted),
        _ => Call::Toolchain(program, words),
    }
}

/// What `cargo build` is asked for, if that is BPF.
fn wanted(words: &[String]) -> Option<Wanted<'_>> {
    let (first, words) = words.split_first()?;
    if !["build", "b", "rustc"].contains(&first.as_str()) {
        return None;
    }
    let mut wanted = Wanted::default();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let (flag, own) = word.split_once('=').filter(|_| word.starts_with("--")).unzip();
        let mut value = || own.or_else(|| words.next()).unwrap_or_default();
        match flag.unwrap_or(word) {
            "--target" => wanted.target = value(),
            "--package" | "-p" => wanted.packages.push(value()),
            "--bin" => wanted.bins.push(value()),
            "--target-dir" => wanted.to = Some(value()),
            "--features" | "-F" => wanted.features.extend(value().split([',', ' ']).filter(|name| !name.is_empty())),
            "--no-default-features" | "--all-features" => wanted.features.push(word),
            _ => {}
        }
    }
    wanted.target.starts_with("bpf").then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(String::from).collect()
    }

    #[test]
    fn a_call_for_objects_is_understood_however_it_names_its_toolchain() {
        let build =
            "build --package a-ebpf -Z build-std=core --bins --release --target bpfeb-unknown-none --target-dir /o";
        let expected =
            || Wanted { target: "bpfeb-unknown-none", packages: vec!["a-ebpf"], to: Some("/o"), ..Wanted::default() };
        for (name, before) in [
            (RUSTUP, "run nightly cargo "),
            (RUSTUP, "run --install nightly-2025-01-01 cargo "),
            (CARGO, "+nightly "),
            (CARGO, ""),
        ] {
            let words = words(&format!("{before}{build}"));
            assert_eq!(call(name, &words), Call::Objects(expected()), "{name} {before}");
        }
        let more = words("build --target=bpfel-unknown-none -p a --features one,two --features= --no-default-features");
        let Call::Objects(wanted) = call(CARGO, &more) else { panic!("{more:?}") };
        assert_eq!((wanted.target, wanted.packages), ("bpfel-unknown-none", vec!["a"]));
        assert_eq!(wanted.features, ["one", "two", "--no-default-features"]);
    }

    #[test]
    fn other_calls_are_handed_on() {
        let version = words("run nightly rustc -vV");
        assert_eq!(call(RUSTUP, &version), Call::Toolchain("rustc", &version[3..]));
        for (name, line) in
            [(RUSTUP, "show"), (CARGO, "build --target x86_64-unknown-linux-musl"), (CARGO, "metadata --no-deps")]
        {
            assert_eq!(call(name, &words(line)), Call::Other, "{line}");
        }
    }
}
