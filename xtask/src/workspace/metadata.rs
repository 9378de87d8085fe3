//! What `cargo metadata --format-version 1` prints, as far as it is read here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
    workspace_members: Vec<PackageId>,
    pub workspace_root: PathBuf,
    pub target_directory: PathBuf,
    /// `[workspace.metadata]`, or null.
    #[serde(rename = "metadata")]
    pub workspace_metadata: Value,
}

/// cargo's name for one version of a package from one source.
pub type PackageId = String;

#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    pub id: PackageId,
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    /// As its Cargo.toml has it.
    pub license_file: Option<PathBuf>,
    pub repository: Option<String>,
    /// The registry or repository; none for a package that is known by its path.
    pub source: Option<String>,
    pub manifest_path: PathBuf,
    pub targets: Vec<Target>,
    pub dependencies: Vec<Dependency>,
    pub features: BTreeMap<String, Vec<String>>,
}

/// Something that cargo compiles.
#[derive(Debug, Clone, Deserialize)]
pub struct Target {
    pub name: String,
    kind: Vec<String>,
    pub src_path: PathBuf,
    #[serde(default, rename = "required-features")]
    pub required_features: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Dependency {
    pub name: String,
    pub req: String,
    pub source: Option<String>,
    pub path: Option<PathBuf>,
}

impl Metadata {
    pub fn parse(json: &str) -> Result<Metadata> {
        serde_json::from_str(json).context("cannot parse the output of `cargo metadata`")
    }

    pub fn is_member(&self, package: &Package) -> bool {
        self.workspace_members.contains(&package.id)
    }

    /// The packages of the workspace itself.
    pub fn workspace_packages(&self) -> Vec<&Package> {
        self.packages.iter().filter(|package| self.is_member(package)).collect()
    }
}

impl Target {
    pub fn is_bin(&self) -> bool {
        self.kind.iter().any(|kind| kind == "bin")
    }

    /// Whether it is compiled for what is shipped: no test, benchmark or example.
    pub fn is_built(&self) -> bool {
        !self.kind.iter().any(|kind| ["bench", "example", "test"].contains(&kind.as_str()))
    }
}
