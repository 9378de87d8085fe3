//! What BPF written in Rust is made from: the sources of its packages, and the crates that Cargo.lock has for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::bpf::paths;
use crate::bpf::rust::flags;
use crate::bpf::units::{self, Unit};
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::ui::error::bad_request;
use crate::workspace::config::Bpf;
use crate::workspace::packages::Package;
use crate::workspace::rust::{PINS, Rust};

/// What there is of BPF written in Rust.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RustInputs {
    /// The binaries, each of which becomes an object.
    pub units: Vec<Unit>,
    /// The files of their packages and of what those depend on by a path, by their paths from the BPF folder.
    pub sources: BTreeMap<String, Sha256>,
    /// The other crates, as lines of the lock file.
    pub crates: BTreeSet<String>,
    /// A hash of what the manifest of the workspace says for all of its packages.
    pub manifest: Option<Sha256>,
    /// Files that pin another Rust for a package, from the workspace: they have no effect.
    pub pins: Vec<String>,
    /// The version of rustc, and the commit that it and the sources of `core` are of.
    pub compiler: String,
}

impl RustInputs {
    /// `beside` are the packages that are not of the workspace.
    pub fn read(root: &Path, beside: &[Package], rust: &Rust, bpf: &Bpf) -> Result<RustInputs> {
        let mut inputs = RustInputs { compiler: rust.identity(), ..RustInputs::default() };
        if bpf.rust.is_empty() {
            return Ok(inputs);
        }
        for package in &bpf.rust {
            let folder = bpf.members.get(&package.name).filter(|folder| !folder.is_empty());
            let pins = folder.iter().flat_map(|folder| PINS.map(|name| format!("{folder}/{name}")));
            inputs.pins.extend(pins.filter(|pin| root.join(pin).is_file()));
        }
        inputs.units = units::of_rust(bpf);
        let mut manifests = String::new();
        for workspace in bpf.rust.iter().map(|package| package.workspace.as_str()).collect::<BTreeSet<_>>() {
            inputs.read_workspace(root, workspace, beside, bpf)?;
            let manifest = files::read_if_there(&root.join(workspace).join("Cargo.toml"))?.unwrap_or_default();
            manifests += &of_all_packages(&manifest)?;
        }
        inputs.manifest = Some(hash::bytes(manifests.as_bytes()));
        Ok(inputs)
    }

    /// What the packages of one workspace are made of.
    fn read_workspace(&mut self, root: &Path, workspace: &str, beside: &[Package], bpf: &Bpf) -> Result<()> {
        let file = root.join(workspace).join("Cargo.lock");
        let lock = files::read_if_there(&file)?.unwrap_or_default();
        let lock: Table = lock.parse().with_context(|| format!("cannot understand {}", file.display()))?;
        let names =
            bpf.rust.iter().filter(|package| package.workspace == workspace).map(|package| package.name.as_str());
        for locked in reached(&lock, names.collect()) {
            if let Some(source) = locked.source {
                let checksum = locked.checksum.or(source.rsplit_once('#').map(|(_, commit)| commit)).unwrap_or("-");
                self.crates.insert(format!("crate {checksum} {} {}", locked.name, locked.version));
                continue;
            }
            let folder = match bpf.members.get(locked.name) {
                Some(folder) => root.join(folder),
                None => {
                    let known = beside.iter().find(|package| package.name == locked.name && package.is_by_path());
                    known.with_context(|| format!("cargo does not say where `{}` is", locked.name))?.folder.clone()
                }
            };
            self.read_package(root, &folder, bpf)?;
        }
        Ok(())
    }

    /// The files of a package, but those of packages in it.
    fn read_package(&mut self, root: &Path, folder: &Path, bpf: &Bpf) -> Result<()> {
        let mut next: Vec<PathBuf> = vec![folder.into()];
        while let Some(inside) = next.pop() {
            for name in files::list(&inside)? {
                let file = inside.join(&name);
                if file.is_dir() {
                    let is_other = name.starts_with('.') || name == "target" || file.join("Cargo.toml").is_file();
                    next.extend((!is_other && file != root.join(&bpf.folder)).then_some(file));
                } else if flags::is_source(&name) {
                    let path = from(&root.join(&bpf.folder), &file);
                    if path.contains(char::is_whitespace) {
                        bad_request!("{} has white space in its path: rename it", file.display());
                    }
                    self.sources.insert(path, hash::file(&file)?);
                }
            }
        }
        Ok(())
    }

    /// What a lock file has of it.
    pub fn lines(&self, bpf: &Bpf) -> Vec<String> {
        let Some(manifest) = self.manifest else { return Vec::new() };
        let sources = self.sources.iter().map(|(name, sha256)| format!("source {sha256} {name}"));
        let packages = bpf.rust.iter().map(|package| format!("package {}", package.name));
        let flags = format!("rustflags {}", flags::of(bpf).join(" "));
        let rest = [format!("rust {}", self.compiler), flags, format!("manifest {manifest}")];
        packages.chain(rest).chain(self.crates.iter().cloned()).chain(sources).collect()
    }
}

/// The path of a file from a folder, which it need not be in.
fn from(folder: &Path, file: &Path) -> String {
    paths::from_folder(&folder.to_string_lossy(), &file.to_string_lossy())
}

/// A package of Cargo.lock.
#[derive(Debug, Clone, Copy)]
struct Locked<'a> {
    name: &'a str,
    version: &'a str,
    /// None for a package that is known by its path.
    source: Option<&'a str>,
    checksum: Option<&'a str>,
}

/// Packages, and all that they may depend on.
fn reached<'a>(lock: &'a Table, mut next: Vec<&'a str>) -> Vec<Locked<'a>> {
    let text = |package: &'a Value, key: &str| package.get(key).and_then(Value::as_str);
    let all = lock.get("package").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut found = Vec::new();
    while let Some(wanted) = next.pop() {
        if !seen.insert(wanted) {
            continue;
        }
        // `name`, or where that is not enough `name version`, or all three.
        let words: Vec<&str> = wanted.splitn(3, ' ').collect();
        for package in all {
            let (Some(name), Some(version)) = (text(package, "name"), text(package, "version")) else { continue };
            if name == words[0] && words.get(1).is_none_or(|word| *word == version) {
                let (source, checksum) = (text(package, "source"), text(package, "checksum"));
                found.push(Locked { name, version, source, checksum });
                let dependencies = package.get("dependencies").and_then(Value::as_array);
                next.extend(dependencies.into_iter().flatten().filter_map(Value::as_str));
            }
        }
    }
    found
}

/// What of a workspace's manifest may change how all of its packages are compiled.
fn of_all_packages(manifest: &str) -> Result<String> {
    let manifest: Table = manifest.parse().context("cannot understand Cargo.toml")?;
    let mut kept = Table::new();
    for key in ["profile", "patch", "replace"] {
        kept.extend(manifest.get(key).map(|table| (key.to_owned(), table.clone())));
    }
    if let Some(workspace) = manifest.get("workspace").and_then(Value::as_table) {
        for key in ["dependencies", "lints", "resolver"] {
            kept.extend(workspace.get(key).map(|table| (key.to_owned(), table.clone())));
        }
    }
    Ok(kept.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
        [[package]]
        name = "app"
        version = "1.0.0"
        dependencies = ["tokio"]
        [[package]]
        name = "tokio"
        version = "1.0.0"
        source = "registry+x"
        checksum = "aa"
        [[package]]
        name = "probe"
        version = "0.1.0"
        dependencies = ["common", "kernel 0.2.0"]
        [[package]]
        name = "common"
        version = "0.1.0"
        [[package]]
        name = "kernel"
        version = "0.1.0"
        source = "registry+x"
        checksum = "bb"
        [[package]]
        name = "kernel"
        version = "0.2.0"
        source = "git+y#cc"
    "#;

    #[test]
    fn what_a_package_is_made_of_is_found_in_cargo_lock_and_nothing_else_is() {
        let lock: Table = LOCK.parse().unwrap();
        let mut names: Vec<_> =
            reached(&lock, vec!["probe"]).iter().map(|it| (it.name, it.version, it.source)).collect();
        names.sort_unstable();
        let expected = [("common", "0.1.0", None), ("kernel", "0.2.0", Some("git+y#cc")), ("probe", "0.1.0", None)];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_the_workspace_says_of_its_packages_alone_does_not_matter() {
        let kept = |text: &str| of_all_packages(text).unwrap();
        let usual = kept("[workspace]\nmembers = ['a']\n[profile.release]\nopt-level = 3\n");
        let same =
            "[profile.release]\nopt-level = 3\n[workspace.metadata.bpfship]\n[workspace.package]\nversion = '2.0.0'\n";
        assert_eq!(usual, kept(same));
        assert_ne!(usual, kept("[profile.release]\nopt-level = 2\n"));
        assert_ne!(usual, kept(&format!("{same}[workspace.dependencies]\na = '1'\n")));
    }
}
