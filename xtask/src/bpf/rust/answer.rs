//! Being what a build script calls to have BPF in Rust compiled: it is given the objects of bpf.lock, which this tool has compiled.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::arch::Arch;
use crate::bpf::rust::run::{self, GIVEN, Locked};
use crate::bpf::rust::scripts::{self, Call, LINKER, Made, Recipe, Wanted};
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::process;
use crate::toolchain::bpf_core;

/// If this program was called by one of those names: what it did.
pub fn as_program() -> Option<ExitCode> {
    let called = PathBuf::from(env::args_os().next()?);
    let name = called.file_name()?.to_str()?;
    if !scripts::NAMES.contains(&name) {
        return None;
    }
    Some(answer(name).unwrap_or_else(|error| {
        eprintln!("error: {}: {error:#}", crate::NAME);
        ExitCode::FAILURE
    }))
}

fn answer(name: &str) -> Result<ExitCode> {
    let program = env::current_exe().context("cannot find this program")?;
    let folder = program.parent().context("a program in no folder")?;
    let text = files::read(&folder.join(scripts::FILE))?;
    let recipe: Recipe =
        serde_json::from_slice(&text).with_context(|| format!("cannot understand {}", scripts::FILE))?;
    let words = process::own_arguments()?;
    match scripts::call(name, &words) {
        Call::Objects(wanted) => give(&recipe, &wanted),
        Call::Toolchain(program, words) => {
            let command = Command::new(recipe.toolchain.join(program), Path::new(".")).args(words.iter().cloned());
            Err(process::replace_us(&command))
        }
        Call::Other if name == LINKER => {
            bail!("a build script calls {LINKER} itself: have it call cargo, as aya-build does")
        }
        Call::Other => match process::next_on_path(name, folder) {
            Some(program) => {
                Err(process::replace_us(&Command::new(program, Path::new(".")).args(words.iter().cloned())))
            }
            None => bail!("a build script wants {name} on this machine, and it is not there: install it"),
        },
    }
}

/// Puts objects where cargo would have put them, and says so in its words.
fn give(recipe: &Recipe, wanted: &Wanted) -> Result<ExitCode> {
    let target = env::var("TARGET").unwrap_or_default();
    let Ok(arch) = <&Arch>::from_str(&target) else {
        bail!(
            "objects for {} are wanted by what is built for {target}, and no architecture of that name is known",
            wanted.target
        );
    };
    if wanted.target != bpf_core::triple(arch.endian) {
        bail!(
            "{} has the byte order of another architecture than {arch}: have the build script choose it by CARGO_CFG_TARGET_ENDIAN",
            wanted.target
        );
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").context("no OUT_DIR: it is not called by a build script")?);
    let to = wanted.to.map_or_else(|| out.join("target"), PathBuf::from).join(wanted.target).join("release");
    let mut given = files::read_if_there(&out.join(GIVEN))?.unwrap_or_default();
    for Made { binary, stem } in chosen(recipe, wanted)? {
        let Locked { name, sha256, bytes } = run::object(&recipe.folder, stem, arch)?;
        let object = to.join(&binary.name);
        files::write(&object, &bytes)?;
        given += &format!("{sha256} {name}\n");
        println!("{}", message(&binary.package, &binary.name, &object));
    }
    fs::write(out.join(GIVEN), given).with_context(|| format!("cannot write {}", out.join(GIVEN).display()))?;
    println!("{}", json!({ "reason": "build-finished", "success": true }));
    Ok(ExitCode::SUCCESS)
}

/// What is wanted, of what was compiled.
fn chosen<'a>(recipe: &'a Recipe, wanted: &Wanted) -> Result<Vec<&'a Made>> {
    let features: BTreeSet<String> = wanted.features.iter().map(ToString::to_string).collect();
    let key = format!("`bpf.rust` in [workspace.metadata.{}] of Cargo.toml", crate::NAME);
    let known: Vec<&str> = recipe.packages.keys().map(String::as_str).collect();
    let packages = match (wanted.packages.as_slice(), known.as_slice()) {
        ([], [only]) => vec![*only],
        ([], _) => bail!("BPF in Rust is wanted without a name of its package: have build.rs name it by --package"),
        (named, _) => named.to_vec(),
    };
    let mut chosen = Vec::new();
    for package in packages {
        let Some(made) = recipe.packages.get(package) else {
            bail!("`{package}` is BPF in Rust that {key} does not name: set bpf.rust = [\"{package}\"]");
        };
        let with: Vec<&Made> = made.iter().filter(|made| made.binary.features == features).collect();
        if with.is_empty() {
            let words = if features.is_empty() { "its default features".into() } else { wanted.features.join(" ") };
            bail!(
                "`{package}` is asked for with {words}, and no object of bpf.lock is compiled so: have a [[workspace.metadata.{}.bpf.variant]] \
                 with these features",
                crate::NAME
            );
        }
        let is_wanted = |made: &&Made| wanted.bins.is_empty() || wanted.bins.contains(&made.binary.name.as_str());
        chosen.extend(with.into_iter().filter(is_wanted));
    }
    Ok(chosen)
}

/// What cargo prints of a binary that it has built.
fn message(package: &str, bin: &str, file: &Path) -> serde_json::Value {
    let manifest = file.with_file_name("Cargo.toml");
    json!({
        "reason": "compiler-artifact",
        "package_id": format!("{package} 0.0.0 (path+file:///)"),
        "manifest_path": manifest,
        "target": {
            "kind": ["bin"], "crate_types": ["bin"], "name": bin, "src_path": file, "edition": "2021",
            "doc": false, "doctest": false, "test": false,
        },
        "profile": {
            "opt_level": "3", "debuginfo": 2, "debug_assertions": false, "overflow_checks": false, "test": false,
        },
        "features": [],
        "filenames": [file],
        "executable": file,
        "fresh": false,
    })
}

#[cfg(test)]
mod tests {
    use cargo_metadata::Message;

    use super::*;
    use crate::bpf::units::Binary;

    #[test]
    fn what_is_said_is_what_a_reader_of_cargo_understands() {
        let line = message("a-ebpf", "a", Path::new("/o/a")).to_string();
        let read = Message::parse_stream(line.as_bytes()).next().unwrap().unwrap();
        let Message::CompilerArtifact(artifact) = read else { panic!("{line}") };
        assert_eq!((artifact.target.name.as_str(), artifact.executable.unwrap().as_str()), ("a", "/o/a"));
    }

    #[test]
    fn binaries_of_packages_that_are_configured_are_found_and_others_refused() {
        let made = |name: &str, stem: &str, features: &[&str]| {
            let features = features.iter().map(ToString::to_string).collect();
            Made { binary: Binary { package: "a-ebpf".into(), name: name.into(), features }, stem: stem.into() }
        };
        let all = vec![made("a", "a", &[]), made("b", "b", &[]), made("a", "a_small", &["small"])];
        let packages = [("a-ebpf".to_owned(), all)].into();
        let recipe = Recipe { folder: "/bpf".into(), toolchain: "/rust".into(), packages };
        let stems = |packages: &[&str], bins: &[&str], features: &[&'static str]| {
            let (packages, bins, features) = (packages.to_vec(), bins.to_vec(), features.to_vec());
            let wanted = Wanted { packages, bins, features, ..Wanted::default() };
            let stems =
                chosen(&recipe, &wanted).map(|found| found.iter().map(|made| made.stem.clone()).collect::<Vec<_>>());
            stems.map_err(|error| error.to_string())
        };
        assert_eq!(stems(&["a-ebpf"], &[], &[]).unwrap(), ["a", "b"]);
        assert_eq!(stems(&[], &["b"], &[]).unwrap(), ["b"]);
        assert_eq!(stems(&["a-ebpf"], &[], &["small"]).unwrap(), ["a_small"]);
        assert!(stems(&["a-ebpf"], &[], &["large"]).unwrap_err().contains("asked for with large, and no object"));
        assert!(stems(&["other"], &[], &[]).unwrap_err().contains("set bpf.rust = [\"other\"]"));
    }
}
