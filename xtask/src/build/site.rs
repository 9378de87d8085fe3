//! Where a build happens: its builder, and the folders that are that builder's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::build::builder::Builder;
use crate::build::crate_names;
use crate::workspace::facts::Facts;
use crate::workspace::packages::Package;

/// Where a build happens.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    pub facts: &'a Facts,
    pub builder: &'a Builder,
}

impl<'a> Site<'a> {
    pub fn new(facts: &'a Facts, builder: &'a Builder) -> Site<'a> {
        Site { facts, builder }
    }

    /// On this machine itself.
    pub fn host(facts: &'a Facts) -> Site<'a> {
        Site { facts, builder: &Builder::Host }
    }

    /// The folder of all that is made.
    pub fn base(self) -> PathBuf {
        self.builder.folder(&self.facts.work)
    }

    /// The CARGO_HOME.
    pub fn home(self) -> PathBuf {
        self.base().join("cargo-home")
    }

    /// cargo's target folder.
    pub fn target(self) -> PathBuf {
        self.base().join("build")
    }

    /// The whole environment of a build.
    pub fn environment(self) -> BTreeMap<String, String> {
        let mut environment = self.facts.build_environment(&self.home());
        if self.builder.container().is_some() {
            // A folder of this machine.
            environment.remove("TMPDIR");
        }
        match self.path() {
            Some(path) => drop(environment.insert("PATH".into(), path)),
            None => drop(environment.remove("PATH")),
        }
        if self.facts.has_packages_beside() {
            let program = self.facts.work.join(crate_names::PROGRAM);
            environment.insert("RUSTC_WRAPPER".into(), program.to_string_lossy().into_owned());
        }
        environment
    }

    /// Where programs are found, if that is not the image's to say.
    pub fn path(self) -> Option<String> {
        self.builder.path(self.facts.passed_on.get("PATH"))
    }

    /// See [`names`].
    pub fn names(self) -> Vec<(PathBuf, String)> {
        names(self.facts, &self.home(), &self.target())
    }
}

/// Folders, and what a binary may call them. No new name begins with a slash: it could be an existing folder. The last one
/// that fits wins, so what is inside another comes after it.
pub fn names(facts: &Facts, home: &Path, target: &Path) -> Vec<(PathBuf, String)> {
    let mut names = Vec::new();
    let mut name = |from: &Path, to: &str| names.push((from.to_path_buf(), to.to_owned()));
    let root = &facts.sources.workspace;
    if *root != facts.sources.top {
        name(&facts.sources.top, "repository");
    }
    name(root, "workspace");
    name(target, "target");
    for (folder, to) in crate_folders(&facts.packages) {
        name(&folder, &to);
        if let Ok(shared) = folder.strip_prefix(&facts.cargo_home) {
            name(&home.join(shared), &to);
        }
    }
    name(&facts.rust.sources(), &format!("/rustc/{}", facts.rust.commit));
    names
}

/// Folders of crates, and what a binary may call them: `cargo/NAME-VERSION`, wherever the crate was found.
fn crate_folders(packages: &[Package]) -> BTreeMap<PathBuf, String> {
    let folder = |package: &Package| {
        let name = format!("{}-{}", package.name, package.version);
        match package.folder.parent() {
            // A registry's: one folder for all, so that another dependency does not change the flags of every crate.
            Some(index) if package.folder.ends_with(&name) => (index.into(), "cargo".into()),
            _ => (package.folder.clone(), format!("cargo/{name}")),
        }
    };
    packages.iter().map(folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_has_one_name_wherever_it_was_found() {
        let packages = [
            Package::example("a", "/home/ann/.cargo/registry/src/index-12ab/a-1.2.0"),
            Package::example("b", "/home/ann/.cargo/registry/src/index-12ab/b-1.2.0"),
            Package::example("c", "/home/ann/vendor/c"),
            Package::example("d", "/home/ann/.cargo/git/checkouts/d-34cd/ef/crates/d"),
        ];
        let folders = crate_folders(&packages);
        let found: Vec<_> = folders.iter().map(|(folder, name)| (folder.to_str().unwrap(), name.as_str())).collect();
        assert_eq!(
            found,
            [
                ("/home/ann/.cargo/git/checkouts/d-34cd/ef/crates/d", "cargo/d-1.2.0"),
                ("/home/ann/.cargo/registry/src/index-12ab", "cargo"),
                ("/home/ann/vendor/c", "cargo/c-1.2.0"),
            ]
        );
    }
}
