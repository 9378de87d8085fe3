//! The crates in a binary: by what cargo reported to have linked, with what Cargo.lock and their manifests say of them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use cargo_metadata::PackageId;
use serde::Deserialize;

use crate::workspace::packages::Package;

/// A crate in a binary.
#[derive(Debug)]
pub struct Crate<'a> {
    pub package: &'a Package,
    /// SHA-256 of the package that a registry has, in hexadecimal.
    pub sha256: Option<String>,
    /// The crates that it uses, by their places in the list.
    pub dependencies: Vec<usize>,
}

/// Where the sources of a package are from.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    CratesIo,
    /// Another registry, by its address.
    Registry(&'a str),
    /// A repository, by its address, with what is checked out.
    Git(&'a str),
    Local,
}

impl Crate<'_> {
    /// From its id, `KIND+ADDRESS#NAME@VERSION`.
    pub fn origin(&self) -> Origin<'_> {
        let (source, _) = self.package.id.repr.split_once('#').unwrap_or((&self.package.id.repr, ""));
        match source.split_once('+') {
            Some(("registry" | "sparse", address)) if address.contains("github.com/rust-lang/crates.io-index") => {
                Origin::CratesIo
            }
            Some(("registry" | "sparse", address)) => Origin::Registry(address),
            Some(("git", address)) => Origin::Git(address),
            _ => Origin::Local,
        }
    }
}

/// What Cargo.lock says.
#[derive(Debug, Deserialize)]
pub struct CargoLock {
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

impl CargoLock {
    pub fn parse(text: &str) -> Result<CargoLock> {
        toml::from_str(text).context("cannot read Cargo.lock")
    }
}

/// The crates of `packages` that are `linked`, in one order everywhere.
pub fn linked<'a>(
    packages: impl Iterator<Item = &'a Package>,
    linked: &BTreeSet<PackageId>,
    dependencies: &BTreeMap<PackageId, BTreeSet<PackageId>>,
    lock: &CargoLock,
) -> Vec<Crate<'a>> {
    let mut packages: Vec<&Package> = packages.filter(|package| linked.contains(&package.id)).collect();
    // An id has the path of a package of the workspace, so it is not what they are sorted by.
    packages.sort_by_key(|package| (&package.name, &package.version, package.is_by_path(), &package.id));
    let places: BTreeMap<&PackageId, usize> = packages.iter().enumerate().map(|(at, it)| (&it.id, at)).collect();
    let crates = packages.iter().map(|package| {
        let is_it = |locked: &&Locked| {
            let source = locked.source.as_deref().and_then(|source| source.split('#').next());
            let is_from = source.is_some_and(|source| package.id.repr.starts_with(source));
            locked.name == package.name && locked.version == package.version && is_from
        };
        let used = dependencies.get(&package.id).into_iter().flatten();
        let mut dependencies: Vec<usize> = used.filter_map(|id| places.get(id).copied()).collect();
        dependencies.sort_unstable();
        Crate { package, sha256: lock.package.iter().find(is_it).and_then(|it| it.checksum.clone()), dependencies }
    });
    crates.collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const LOCK: &str = r#"
[[package]]
name = "itoa"
version = "1.2.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "8f42a60c"

[[package]]
name = "tool"
version = "1.2.0"
"#;

    pub fn package(id: &str, name: &str) -> Package {
        Package {
            id: PackageId { repr: id.into() },
            license: Some("MIT/Apache-2.0".into()),
            ..Package::example(name, "/x")
        }
    }

    /// `tool`, which uses `itoa`, and `util` of a repository, which it does not use.
    pub fn packages() -> [Package; 3] {
        [
            package("path+file:///home/ann/tool#1.2.0", "tool"),
            package("registry+https://github.com/rust-lang/crates.io-index#itoa@1.2.0", "itoa"),
            package("git+https://example.com/util?branch=x#1.2.0", "util"),
        ]
    }

    pub fn example(packages: &[Package]) -> Vec<Crate<'_>> {
        let ids: Vec<PackageId> = packages.iter().map(|package| package.id.clone()).collect();
        let dependencies = [(ids[0].clone(), BTreeSet::from([ids[1].clone()]))].into();
        linked(packages.iter(), &ids.into_iter().collect(), &dependencies, &CargoLock::parse(LOCK).unwrap())
    }

    #[test]
    fn a_crate_is_known_by_its_id_and_cargo_lock() {
        let packages = packages();
        let crates = example(&packages);
        let seen: Vec<_> =
            crates.iter().map(|it| (it.package.name.as_str(), it.origin(), it.sha256.as_deref())).collect();
        assert_eq!(
            seen,
            [
                ("itoa", Origin::CratesIo, Some("8f42a60c")),
                ("tool", Origin::Local, None),
                ("util", Origin::Git("https://example.com/util?branch=x"), None),
            ]
        );
        assert_eq!(crates[1].dependencies, [0]);
    }
}
