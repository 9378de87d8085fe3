//! Cargo.lock: the crates that some packages of a workspace may be built of.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Lock {
    #[serde(default)]
    package: Vec<Crate>,
}

/// A package of Cargo.lock.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Crate {
    pub name: String,
    pub version: String,
    /// None for a package that is known by its folder.
    pub source: Option<String>,
    /// `NAME`, and version and source where those are needed to tell which.
    #[serde(default)]
    pub dependencies: Vec<String>,
}

impl Crate {
    /// Whether it depends on a crate of this name.
    pub fn has(&self, name: &str) -> bool {
        self.dependencies.iter().any(|dependency| dependency.split(' ').next() == Some(name))
    }

    /// The repository that it is from, if it is from one.
    pub fn git(&self) -> Option<&str> {
        let url = self.source.as_deref()?.strip_prefix("git+")?;
        url.split(['?', '#']).next()
    }
}

impl Lock {
    pub fn parse(text: &str) -> Result<Lock> {
        toml::from_str(text).context("cannot understand Cargo.lock")
    }

    /// Whether a member has these among its dependencies there.
    pub fn has(&self, member: &str, names: &BTreeSet<String>) -> bool {
        let mut members = self.package.iter().filter(|package| package.name == member && package.source.is_none());
        members.any(|package| names.iter().all(|name| package.has(name)))
    }

    /// The first that is such a one.
    pub fn find(&self, is_it: impl Fn(&Crate) -> bool) -> Option<Crate> {
        self.package.iter().find(|package| is_it(package)).cloned()
    }

    /// All crates that are reached from a member. `direct` names those of the dependencies of members that count. What crates
    /// depend on for tests is not in Cargo.lock; what they depend on for other systems is, and is left out where the name tells.
    pub fn reached(&self, member: &str, direct: &BTreeMap<String, BTreeSet<String>>) -> Vec<&Crate> {
        let mut reached: BTreeSet<usize> = BTreeSet::new();
        let is_it = |package: &Crate| package.name == member && package.source.is_none();
        let mut next: Vec<usize> = (0..self.package.len()).filter(|index| is_it(&self.package[*index])).collect();
        while let Some(index) = next.pop() {
            if !reached.insert(index) {
                continue;
            }
            let package = &self.package[index];
            let only = direct.get(&package.name).filter(|_| package.source.is_none());
            for dependency in &package.dependencies {
                let mut words = dependency.split(' ');
                let (name, version) = (words.next().unwrap_or_default(), words.next());
                if only.is_none_or(|only| only.contains(name)) && !is_for_another_system(name) {
                    let is_it = |other: &Crate| other.name == name && version.is_none_or(|it| it == other.version);
                    next.extend((0..self.package.len()).filter(|index| is_it(&self.package[*index])));
                }
            }
        }
        reached.into_iter().map(|index| &self.package[index]).collect()
    }
}

/// Whether a crate is for another system, by its name.
fn is_for_another_system(name: &str) -> bool {
    const WORDS: [&str; 15] = [
        "android",
        "core-foundation",
        "fsevent",
        "haiku",
        "io-kit",
        "jni",
        "js-sys",
        "kernel32",
        "kqueue",
        "macos",
        "objc",
        "vswhom",
        "web-sys",
        "webview2",
        "winapi",
    ];
    name.starts_with("windows") || WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_reached_counts() {
        let lock =
            "version = 4\n[[package]]\nname = \"app\"\nversion = \"1.0.0\"\ndependencies = [\"a\", \"for-tests\", \"time-zone-haiku\"]\n
            [[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\ndependencies = [\"b 2.0.0\"]\n
            [[package]]\nname = \"b\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n
            [[package]]\nname = \"b\"\nversion = \"2.0.0\"\nsource = \"git+https://host/b?rev=1#2\"\n
            [[package]]\nname = \"for-tests\"\nversion = \"1.0.0\"\n
            [[package]]\nname = \"time-zone-haiku\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n";
        let lock = Lock::parse(lock).unwrap();
        let direct = [("app".to_owned(), ["a".to_owned(), "time-zone-haiku".to_owned()].into())].into();
        let reached = lock.reached("app", &direct);
        let names: Vec<_> = reached.iter().map(|it| (it.name.as_str(), it.version.as_str(), it.git())).collect();
        assert_eq!(names, [("app", "1.0.0", None), ("a", "1.0.0", None), ("b", "2.0.0", Some("https://host/b"))]);
        assert!(lock.has("app", &["a".to_owned()].into()) && !lock.has("app", &["b".to_owned()].into()));
    }
}
