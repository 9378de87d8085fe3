//! Writes what other engines run a release by, and what package managers fetch it by.

pub mod ansible;
pub mod aur;
pub mod facts;
pub mod homebrew;
pub mod k8s;
pub mod plan;
pub mod run;
pub mod sysupdate;
pub mod units;

use std::collections::BTreeSet;

use crate::package::contents::{Role, role};
use crate::release::manifest::Artifact;
use crate::workspace::products::{About, Deploy};

/// The program that is emitted for.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    pub name: &'a str,
    /// The folder that it goes to on targets.
    pub folder: &'a str,
    pub config: &'a Deploy,
}

/// An archive as package managers fetch it.
#[derive(Debug)]
pub struct Packaged<'a> {
    /// Of the package.
    pub name: String,
    pub archive: &'a str,
    pub version: &'a str,
    pub about: &'a About,
    pub bins: Vec<&'a str>,
    /// At least one.
    pub artifacts: Vec<&'a Artifact>,
    /// The paths in each of them.
    pub files: Vec<String>,
    /// Where they are.
    pub address: &'a str,
}

impl Packaged<'_> {
    pub fn url(&self, file: &str) -> String {
        format!("{}/{file}", self.address.trim_end_matches('/'))
    }

    /// The files, and what each is to whoever installs it.
    pub fn roles(&self) -> impl Iterator<Item = (&str, Role<'_>)> {
        let bins: BTreeSet<&str> = self.bins.iter().copied().collect();
        self.files.iter().map(move |path| (path.as_str(), role(path, &bins)))
    }
}
