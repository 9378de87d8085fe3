//! What a workspace has already of what this tool needs there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Dependency, Metadata, MetadataCommand, TargetKind};

use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::process::Runner;
use crate::ui::error::bad_request;
use crate::workspace::facts::find_manifest;
use crate::workspace::rust::PINS;

/// The library of this tool, by which an adopting package is known.
const LIBRARY: &str = env!("CARGO_PKG_NAME");

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub root: PathBuf,
    /// The workspace's Cargo.toml.
    pub manifest: String,
    pub has_key: bool,
    /// Packages with at least one binary that could be shipped.
    pub applications: Vec<String>,
    /// All packages, and their folders in the workspace.
    pub packages: Vec<(String, String)>,
    /// The package that depends on this tool, and where it takes it from.
    pub tool: Option<(String, Source)>,
    /// `.cargo/config.toml`, if it is there.
    pub cargo_config: Option<String>,
    pub gitignore: Option<String>,
    pub is_pinned: bool,
    /// The version of the Rust that is used there now.
    pub rust: String,
    /// Packages that are BPF written in Rust.
    pub bpf_packages: Vec<String>,
    /// Folders that hold `*.bpf.c`.
    pub bpf_folders: Vec<String>,
}

/// Where the packages of this tool are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An address, and `, branch = "…"` or the like.
    Git {
        url: String,
        reference: String,
    },
    /// The folder of the tool's own package, which holds the others.
    Folder(String),
    Version(String),
}

impl Source {
    /// What a user names: an address, or the folder of a checkout.
    pub fn parse(word: &str) -> Result<Source> {
        if let Some((scheme, rest)) = word.split_once("://") {
            let is_scheme = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
            if !scheme.chars().all(is_scheme) || rest.contains(|letter: char| letter.is_control() || letter == '"') {
                bad_request!("--tool is the address alone, such as https://example.com/{}: {word:?}", crate::NAME);
            }
            return Ok(Source::Git { url: word.into(), reference: String::new() });
        }
        let folder = std::path::absolute(word).with_context(|| format!("cannot find {word}"))?;
        let candidates = [folder.join("xtask"), folder.clone()];
        match candidates.iter().find(|folder| folder.join("embed/Cargo.toml").is_file()) {
            Some(found) => Ok(Source::Folder(found.to_string_lossy().into_owned())),
            None => {
                bad_request!("--tool names {word}, which is neither a git address nor a checkout of {}", crate::NAME)
            }
        }
    }

    fn of(dependency: &Dependency) -> Source {
        let version = || Source::Version(dependency.req.to_string().trim_start_matches('^').to_owned());
        if let Some(path) = &dependency.path {
            return Source::Folder(path.to_string());
        }
        let source = dependency.source.as_ref().map(ToString::to_string).unwrap_or_default();
        let Some(git) = source.strip_prefix("git+") else { return version() };
        let (url, query) = git.split_once('?').unwrap_or((git, ""));
        let reference = query.split_once('=').map(|(kind, name)| format!(", {kind} = {name:?}"));
        Source::Git { url: url.into(), reference: reference.unwrap_or_default() }
    }

    /// The value of a dependency on the package in this folder of the tool's own.
    pub fn dependency(&self, folder: &str, more: &str) -> String {
        match self {
            Source::Git { url, reference } => format!("{{ git = {url:?}{reference}{more} }}"),
            Source::Folder(path) => format!("{{ path = {:?}{more} }}", format!("{path}{folder}")),
            Source::Version(version) => format!("{{ version = {version:?}{more} }}"),
        }
    }
}

impl Facts {
    /// Whether there is BPF already, in C or in Rust.
    pub fn has_bpf(&self) -> bool {
        !self.bpf_folders.is_empty() || !self.bpf_packages.is_empty()
    }

    pub fn read(runner: Runner, manifest_path: Option<&Path>) -> Result<Facts> {
        let manifest = find_manifest(manifest_path)?;
        let metadata = metadata(runner, &manifest)?;
        let root = metadata.workspace_root.clone().into_std_path_buf();
        let members = metadata.workspace_packages();
        let relative = |folder: &Path| folder.strip_prefix(&root).unwrap_or(folder).to_string_lossy().into_owned();
        let tool = members.iter().find(|package| uses_tool(package)).and_then(|package| {
            let dependency = package.dependencies.iter().find(|one| one.name == LIBRARY)?;
            Some((package.name.to_string(), Source::of(dependency)))
        });
        let is_application = |package: &&&cargo_metadata::Package| {
            let has_binary = package.targets.iter().any(|target| target.kind.contains(&TargetKind::Bin));
            has_binary
                && !["xtask", LIBRARY].contains(&package.name.as_str())
                && !uses_tool(package)
                && !is_for_bpf(package)
        };
        let mut bpf_folders = Vec::new();
        find_bpf(&root, "", &mut bpf_folders)?;
        Ok(Facts {
            manifest: files::read_if_there(&root.join("Cargo.toml"))?.context("a workspace without a Cargo.toml")?,
            has_key: metadata.workspace_metadata.get(crate::NAME).is_some(),
            applications: members.iter().filter(is_application).map(|package| package.name.to_string()).collect(),
            packages: members
                .iter()
                .map(|package| {
                    let folder = package.manifest_path.parent().map(|folder| relative(folder.as_std_path()));
                    (package.name.to_string(), folder.unwrap_or_default())
                })
                .collect(),
            bpf_packages: bpf_packages(&members),
            tool,
            cargo_config: files::read_if_there(&root.join(".cargo/config.toml"))?,
            gitignore: files::read_if_there(&root.join(".gitignore"))?,
            is_pinned: PINS.iter().any(|name| root.join(name).exists()),
            rust: rust(runner, &root)?,
            bpf_folders,
            root,
        })
    }
}

/// Whether a package is one by which a workspace uses this tool.
pub fn uses_tool(package: &cargo_metadata::Package) -> bool {
    package.dependencies.iter().any(|dependency| dependency.name == LIBRARY)
}

/// The packages whose binaries are BPF written in Rust.
pub fn bpf_packages(members: &[&cargo_metadata::Package]) -> Vec<String> {
    let has_binary =
        |package: &cargo_metadata::Package| package.targets.iter().any(|target| target.kind.contains(&TargetKind::Bin));
    let programs = members.iter().filter(|package| is_for_bpf(package) && has_binary(package));
    programs.map(|package| package.name.to_string()).collect()
}

/// Whether it is a BPF program in Rust.
pub fn is_for_bpf(package: &cargo_metadata::Package) -> bool {
    package.dependencies.iter().any(|dependency| dependency.name == "aya-ebpf")
}

/// The workspace as cargo sees it. No pinned Rust is needed for that.
fn metadata(runner: Runner, manifest: &Path) -> Result<Metadata> {
    let folder = manifest.parent().context("a manifest in no folder")?;
    let command = Command::new("cargo", folder)
        .args(["metadata", "--format-version", "1", "--no-deps", "--manifest-path"])
        .arg(manifest.to_string_lossy());
    let json = runner.read(&command).with_context(|| format!("cannot read the workspace of {}", manifest.display()))?;
    MetadataCommand::parse(json).context("cannot understand what cargo prints of the workspace")
}

/// The version of Rust that a folder uses.
fn rust(runner: Runner, folder: &Path) -> Result<String> {
    let text = runner.read(&Command::new("rustc", folder).arg("-vV"))?;
    let release = text.lines().find_map(|line| line.strip_prefix("release: "));
    Ok(release.context("rustc does not print its release")?.to_owned())
}

/// Folders of BPF sources, without what cargo and this tool write, and without what begins with a dot.
fn find_bpf(root: &Path, folder: &str, found: &mut Vec<String>) -> Result<()> {
    let path = root.join(folder);
    let names = files::list(&path)?;
    if !folder.is_empty() && names.iter().any(|name| name.ends_with(".bpf.c") && !name.starts_with('.')) {
        found.push(folder.to_owned());
    }
    for name in names
        .iter()
        .filter(|name| !name.starts_with('.') && !["target", "dist", "node_modules"].contains(&name.as_str()))
    {
        let inner = path.join(name);
        if inner.is_dir() && !inner.is_symlink() {
            find_bpf(root, inner.strip_prefix(root)?.to_str().unwrap_or_default(), found)?;
        }
    }
    Ok(())
}

/// The package to ship: the one that was named, or the only one with a binary.
pub fn application<'a>(facts: &'a Facts, named: Option<&str>) -> Result<&'a str> {
    match (named, facts.applications.as_slice()) {
        (Some(name), applications) => match applications.iter().find(|known| *known == name) {
            Some(found) => Ok(found),
            None => bad_request!(
                "`{name}` is not a package with a binary in {}: {}",
                facts.root.display(),
                match applications {
                    [] => "it has none".to_owned(),
                    some => format!("those are {}", some.join(", ")),
                }
            ),
        },
        (None, [only]) => Ok(only),
        (None, []) => {
            bad_request!("no package in {} has a binary to ship: add a src/main.rs to one", facts.root.display())
        }
        (None, some) => bad_request!(
            "several packages in {} have a binary: name the one to ship with --package ({})",
            facts.root.display(),
            some.join(", ")
        ),
    }
}
