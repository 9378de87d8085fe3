//! Being what a build script calls to have BPF in Rust compiled: it is given the objects of bpf.lock, which this tool has compiled.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::arch::Arch;
use crate::bpf::rust::run::{self, GIVEN, Locked};
use crate::bpf::rust::scripts::{self, Call, LINKER, Recipe, Wanted};
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
    if !wanted.features.is_empty() {
        bail!(
            "it is asked for with features ({}), and the objects of bpf.lock have the default ones: leave them out of build.rs",
            wanted.features.join(" ")
        );
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").context("no OUT_DIR: it is not called by a build script")?);
    let to = wanted.to.map_or_else(|| out.join("target"), PathBuf::from).join(wanted.target).join("release");
    let mut given = files::read_if_there(&out.join(GIVEN))?.unwrap_or_default();
    for (package, bin) in chosen(recipe, wanted)? {
        let Locked { name, sha256, bytes } = run::object(&recipe.folder, bin, arch)?;
        let object = to.join(bin);
        files::write(&object, &bytes)?;
        given += &format!("{sha256} {name}\n");
        println!("{}", message(package, bin, &object));
    }
    fs::write(out.join(GIVEN), given).with_context(|| format!("cannot write {}", out.join(GIVEN).display()))?;
    println!("{}", json!({ "reason": "build-finished", "success": true }));
    Ok(ExitCode::SUCCESS)
}

/// The binaries that are wanted, each with its package.
fn chosen<'a>(recipe: &'a Recipe, wanted: &Wanted) -> Result<Vec<(&'a str, &'a String)>> {
    let key = format!("`bpf.rust` in [workspace.metadata.{}] of Cargo.toml", crate::NAME);
    let known: Vec<&str> = recipe.packages.keys().map(String::as_str).collect();
    let packages = match (wanted.packages.as_slice(), known.as_slice()) {
        ([], [only]) => vec![*only],
        ([], _) => bail!("BPF in Rust is wanted without a name of its package: have build.rs name it by --package"),
        (named, _) => named.to_vec(),
    };
    let mut chosen = Vec::new();
    for package in packages {
        let Some((package, bins)) = recipe.packages.get_key_value(package) else {
            bail!("`{package}` is BPF in Rust that {key} does not name: set bpf.rust = [\"{package}\"]");
        };
        let is_wanted = |bin: &&String| wanted.bins.is_empty() || wanted.bins.contains(&bin.as_str());
        chosen.extend(bins.iter().filter(is_wanted).map(|bin| (package.as_str(), bin)));
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

    #[test]
    fn what_is_said_is_what_a_reader_of_cargo_understands() {
        let line = message("a-ebpf", "a", Path::new("/o/a")).to_string();
        let read = Message::parse_stream(line.as_bytes()).next().unwrap().unwrap();
        let Message::CompilerArtifact(artifact) = read else { panic!("{line}") };
        assert_eq!((artifact.target.name.as_str(), artifact.executable.unwrap().as_str()), ("a", "/o/a"));
    }

    #[test]
    fn binaries_of_packages_that_are_configured_are_found_and_others_refused() {
        let packages = [("a-ebpf".to_owned(), ["a".to_owned(), "b".to_owned()].into())].into();
        let recipe = Recipe { folder: "/bpf".into(), toolchain: "/rust".into(), packages };
        let bins = |packages: &[&str], bins: &[&str]| {
            let wanted = Wanted { packages: packages.to_vec(), bins: bins.to_vec(), ..Wanted::default() };
            let names =
                chosen(&recipe, &wanted).map(|found| found.into_iter().map(|(_, bin)| bin.clone()).collect::<Vec<_>>());
            names.map_err(|error| error.to_string())
        };
        assert_eq!(bins(&["a-ebpf"], &[]).unwrap(), ["a", "b"]);
        assert_eq!(bins(&[], &["b"]).unwrap(), ["b"]);
        assert!(bins(&["other"], &[]).unwrap_err().contains("set bpf.rust = [\"other\"]"));
    }
}
