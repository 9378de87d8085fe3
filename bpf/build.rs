//! Refuses to embed BPF objects that do not match their sources, so that a plain `cargo build` needs no clang and still
//! cannot ship a stale object. `bpf.lock` says what belongs together; `cargo xtask bpf` writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

const REMEDY: &str = "run `cargo xtask bpf`";

fn main() {
    // The whole folder: a source that is added must be seen, too.
    println!("cargo::rerun-if-changed=.");
    match check() {
        Err(error) => println!("cargo::error=cannot check the BPF objects: {error}"),
        Ok(Err(fault)) => println!("cargo::error={fault}: {REMEDY}"),
        Ok(Ok(objects)) => {
            for (name, hash) in objects {
                let name = name.trim_end_matches(".o").to_uppercase().replace('-', "_");
                println!("cargo::rustc-env=BPF_SHA256_{name}={hash}");
            }
        }
    }
}

/// Gives the hash of each object, or what does not match.
fn check() -> io::Result<Result<BTreeMap<String, String>, String>> {
    let Ok(lock) = fs::read_to_string("bpf.lock") else {
        return Ok(Err("bpf/bpf.lock is missing".into()));
    };
    let locked = |kind: &str| -> BTreeMap<String, String> {
        lock.lines()
            .filter_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
                [found, hash, name] if found == kind => Some((name.into(), hash.into())),
                _ => None,
            })
            .collect()
    };

    let mut sources = BTreeMap::new();
    hash_files(Path::new("."), "", &|name| name.ends_with(".c") || name.ends_with(".h"), &mut sources)?;
    if let Some(name) = first_difference(&sources, &locked("source")) {
        return Ok(Err(format!("bpf/{name} is not what the BPF objects were compiled from")));
    }
    let mut objects = BTreeMap::new();
    if Path::new("objects").exists() {
        hash_files(Path::new("objects"), "", &|name| name.ends_with(".o"), &mut objects)?;
    }
    if let Some(name) = first_difference(&objects, &locked("object")) {
        return Ok(Err(format!("bpf/objects/{name} is not what was compiled")));
    }
    Ok(Ok(objects))
}

fn hash_files(
    folder: &Path,
    prefix: &str,
    wanted: &dyn Fn(&str) -> bool,
    hashes: &mut BTreeMap<String, String>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                hash_files(&path, &format!("{prefix}{name}/"), wanted, hashes)?;
            }
        } else if wanted(&name) {
            let digest = Sha256::digest(fs::read(&path)?);
            let hash = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            hashes.insert(format!("{prefix}{name}"), hash);
        }
    }
    Ok(())
}

/// The first name that is in one of the two only, or has another hash in each.
fn first_difference(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Option<String> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().find(|name| a.get(*name) != b.get(*name)).cloned()
}
