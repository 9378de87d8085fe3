//! The crates of Cargo.lock: where their sources are, under which licence, and which compile C code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cargo_metadata::semver::Version;
use cargo_metadata::{DepKindInfo, DependencyKind, Metadata, MetadataCommand, Node, PackageId, Target, TargetKind};
use serde::{Deserialize, Serialize};

use crate::arch::{ARCHES, Arch};
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::sys::process::Runner;
use crate::ui::error::{BadRequest, Failed};
use crate::workspace::config::Config;
use crate::workspace::features::{self, Features, Selected};
use crate::workspace::products::Product;
use crate::workspace::rust::Rust;

/// A crate that is not of the workspace itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    pub id: PackageId,
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    /// `license-file` of its Cargo.toml.
    pub license_file: Option<PathBuf>,
    pub repository: Option<String>,
    /// The folder of its sources.
    pub folder: PathBuf,
    /// The files that its crates and its build script begin with. None for a package of a registry or of git.
    pub roots: Vec<PathBuf>,
    /// The oldest Rust that it wants to be compiled with.
    pub rust: Option<Version>,
}

/// What Cargo.lock leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crates {
    /// All that are not of the workspace itself.
    pub packages: Vec<Package>,
    /// The names of the packages that may compile C code when the workspace is built.
    pub with_c: BTreeSet<String>,
    /// The features of the crates that products consist of.
    pub features: Selected,
    /// What each package uses, apart from build scripts and tests.
    pub dependencies: Dependencies,
}

/// The packages that each package uses.
pub type Dependencies = BTreeMap<PackageId, BTreeSet<PackageId>>;

/// What was found out, and from which inputs.
#[derive(Serialize, Deserialize)]
struct Record {
    key: Sha256,
    crates: Crates,
}

/// The packages with whose help a build script calls a C compiler, or clang's library.
const C_HELPERS: [&str; 6] = ["autotools", "bindgen", "cc", "cmake", "libbpf-cargo", "meson-next"];

/// The command that describes the workspace: cargo, in the user's own environment.
#[derive(Debug, Clone, Copy)]
pub struct Cargo<'a> {
    pub runner: Runner,
    pub rust: &'a Rust,
    /// The user's CARGO_HOME.
    pub home: &'a Path,
    pub offline: bool,
}

impl Cargo<'_> {
    /// The workspace itself, without its dependencies.
    pub fn workspace(self, manifest: &Path) -> Result<Metadata> {
        let answer = self.ask(manifest, &["--no-deps"]);
        let answer = answer.with_context(|| format!("cannot read the workspace of {} with cargo", manifest.display()));
        // Only manifests were read: cargo's message is about them.
        answer.map_err(|error| match error.downcast_ref::<Failed>() {
            Some(Failed { output, .. }) if output.contains("Cargo.toml") => BadRequest(format!("{error:#}")).into(),
            _ => error,
        })
    }

    /// The workspaces of packages that are BPF, where those are not this one.
    pub fn beside(self, workspace: &Metadata, package: Option<&str>) -> Result<Vec<Metadata>> {
        let folders = Config::bpf_beside(workspace, package)?;
        folders
            .iter()
            .map(|folder| self.workspace(workspace.workspace_root.join(folder).join("Cargo.toml").as_std_path()))
            .collect()
    }

    /// All packages that Cargo.lock names, which is that of the workspace `shown`.
    ///
    /// Asking cargo downloads what is not there yet, through the user's own proxy and mirror; nothing after it needs
    /// the network for crates, those of features that are not on by default included if any are configured. It is also
    /// the slowest part of a run that has nothing to do, so the answer is kept in `work` and taken from there while
    /// everything it depends on is the same and every package still is where it was.
    pub fn packages(
        self,
        (workspace, beside): (&Metadata, &[Metadata]),
        config: &Config,
        network_config: &str,
        work: &Path,
        shown: &Path,
    ) -> Result<Crates> {
        let manifest = workspace.workspace_root.as_std_path().join("Cargo.toml");
        let lock = manifest.with_file_name("Cargo.lock");
        let mut inputs = vec![
            // The number stands for everything that is not in the rest.
            "2".into(),
            // Packages are known by their places.
            manifest.to_string_lossy().into_owned(),
            self.rust.commit.clone(),
            self.home.to_string_lossy().into_owned(),
            network_config.into(),
            ARCHES.each_ref().map(|arch| arch.triple).join(" "),
            files::read_if_there(&lock)?.unwrap_or_default(),
            files::read_if_there(&manifest)?.unwrap_or_default(),
        ];
        for package in [workspace].into_iter().chain(beside).flat_map(|it| &it.packages) {
            inputs.push(files::read_if_there(package.manifest_path.as_std_path())?.unwrap_or_default());
        }
        for beside in beside {
            inputs.push(
                files::read_if_there(beside.workspace_root.join("Cargo.lock").as_std_path())?.unwrap_or_default(),
            );
        }
        let record = &work.join("packages.json");
        let shown = shown.join("Cargo.lock");
        let key = hash::bytes(inputs.join("\0").as_bytes());
        let known: Option<Record> = files::read_if_there(record)?.and_then(|text| serde_json::from_str(&text).ok());
        if let Some(known) = known
            && known.key == key
            && known.crates.packages.iter().all(|package| package.folder.join("Cargo.toml").exists())
        {
            return Ok(known.crates);
        }

        // Folders of crates in there are those of the snapshot.
        let network = work.join("network.toml");
        files::write(&network, network_config)?;
        let network = network.to_string_lossy();
        let mut flags = vec!["--locked", "--config", &network];
        flags.extend(self.offline.then_some("--offline"));
        flags.extend(config.products().any(|product| !product.features.names.is_empty()).then_some("--all-features"));
        let metadata = match self.ask(&manifest, &flags) {
            // cargo would have the user leave out a flag that the user did not give.
            Err(error) if format!("{error:#}").contains("--locked") => bail!("{}", self.lock_fault(&shown)?),
            answer => answer.with_context(|| format!("cannot get the crates of {} with cargo", shown.display()))?,
        };
        let foreign = |package: &&cargo_metadata::Package| !metadata.workspace_members.contains(&package.id);
        let mut packages = metadata.packages.iter().filter(foreign).map(Package::new).collect::<Result<Vec<_>>>()?;
        for beside in beside {
            let root = &beside.workspace_root;
            let flags: Vec<&str> = flags.iter().copied().filter(|flag| *flag != "--all-features").collect();
            let found = self.ask(root.join("Cargo.toml").as_std_path(), &flags);
            let found = found.with_context(|| format!("cannot get the crates of {}/Cargo.lock with cargo", root))?;
            let is_new = |package: &&cargo_metadata::Package| {
                let is_member =
                    metadata.workspace_members.contains(&package.id) || found.workspace_members.contains(&package.id);
                !is_member && !packages.iter().any(|known| known.id == package.id)
            };
            let more = found.packages.iter().filter(is_new).map(Package::new).collect::<Result<Vec<_>>>()?;
            packages.extend(more);
        }
        let with_c = with_c(&metadata);
        let selections: BTreeSet<Vec<String>> = config.products().map(Product::selection).collect();
        let of_targets = |selection: Vec<String>| {
            let of = |arch: &Arch| Ok((arch.triple.to_owned(), self.features(&manifest, &selection, arch, &network)?));
            let targets = ARCHES.iter().map(of).collect::<Result<BTreeMap<_, _>>>();
            Ok((selection.join(" "), targets.context("cannot get the features of crates with cargo")?))
        };
        let features = selections.into_iter().map(of_targets).collect::<Result<_>>()?;
        let dependencies = dependencies(&metadata);
        let found = Record { key, crates: Crates { packages, with_c, features, dependencies } };
        files::replace(&[(record.into(), serde_json::to_string(&found)?.as_bytes())])?;
        Ok(found.crates)
    }

    /// The features of the crates that a product consists of on one architecture.
    fn features(self, manifest: &Path, selection: &[String], arch: &Arch, network: &str) -> Result<Features> {
        let command = self
            .command(manifest)?
            .args(["tree", "--locked", "--offline", "--config", network, "--manifest-path"])
            .arg(manifest.to_string_lossy())
            .args(selection)
            .args(["--target", arch.triple])
            .args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}\t{f}"]);
        Ok(features::parse(&self.runner.read(&command)?))
    }

    /// What is wrong with a Cargo.lock that cargo would have to write.
    fn lock_fault(self, lock: &Path) -> Result<String> {
        let shown = lock.display();
        if lock.exists() {
            return Ok(format!("{shown} is out of date: run `cargo update --workspace` and commit what it writes"));
        }
        let folder = lock.parent().context("a lock file in no folder")?;
        let listed = self.runner.read(&Command::new("git", folder).args(["ls-files", "Cargo.lock"]));
        Ok(match listed.is_ok_and(|listed| !listed.is_empty()) {
            true => format!("{shown} is missing, but git has it: run `git checkout Cargo.lock`"),
            false => format!("{shown} is missing: run `cargo generate-lockfile` and commit what it writes"),
        })
    }

    fn ask(self, manifest: &Path, flags: &[&str]) -> Result<Metadata> {
        let command = self
            .command(manifest)?
            .args(["metadata", "--format-version", "1", "--manifest-path"])
            .arg(manifest.to_string_lossy())
            .args(flags.iter().copied());
        let json = self.runner.read(&command)?;
        MetadataCommand::parse(json).context("cannot parse the output of `cargo metadata`")
    }

    fn command(self, manifest: &Path) -> Result<Command> {
        let folder = manifest.parent().context("a manifest in no folder")?;
        Ok(Command::new(self.rust.cargo(), folder)
            .env("RUSTC", self.rust.rustc().to_string_lossy())
            .env("CARGO_HOME", self.home.to_string_lossy()))
    }
}

impl Package {
    /// Whether it is identified by its path, and not by a registry or a repository.
    pub fn is_by_path(&self) -> bool {
        self.id.repr.starts_with("path+")
    }

    pub fn new(package: &cargo_metadata::Package) -> Result<Package> {
        Ok(Package {
            id: package.id.clone(),
            name: package.name.to_string(),
            version: package.version.to_string(),
            license: package.license.clone(),
            license_file: package.license_file().map(PathBuf::from),
            repository: package.repository.clone(),
            folder: package.manifest_path.parent().context("a manifest in no folder")?.into(),
            roots: match package.source {
                Some(_) => Vec::new(),
                None => package.targets.iter().filter(is_built).map(|target| target.src_path.clone().into()).collect(),
            },
            rust: package.rust_version.clone(),
        })
    }
}

fn dependencies(metadata: &Metadata) -> Dependencies {
    let is_normal = |kind: &DepKindInfo| kind.kind == DependencyKind::Normal;
    let of = |node: &Node| {
        let used = node.deps.iter().filter(|dependency| dependency.dep_kinds.iter().any(is_normal));
        (node.id.clone(), used.map(|dependency| dependency.pkg.clone()).collect())
    };
    metadata.resolve.iter().flat_map(|resolve| &resolve.nodes).map(of).collect()
}

/// The packages that the workspace is built of, by whatever features and for whatever system, whose build scripts have one of
/// the helpers. A dependency for no system (`cfg(any())`) is only there to be in Cargo.lock.
fn with_c(metadata: &Metadata) -> BTreeSet<String> {
    let nodes: BTreeMap<&PackageId, &Node> =
        metadata.resolve.iter().flat_map(|resolve| &resolve.nodes).map(|node| (&node.id, node)).collect();
    let names: BTreeMap<&PackageId, &str> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let is_built = |kind: &&DepKindInfo| {
        kind.kind != DependencyKind::Development
            && kind.target.as_ref().is_none_or(|target| target.to_string() != "cfg(any())")
    };
    let mut reached: BTreeSet<&PackageId> = BTreeSet::new();
    let mut next: Vec<&PackageId> = metadata.workspace_members.iter().collect();
    let mut found = BTreeSet::new();
    while let Some(id) = next.pop() {
        if !reached.insert(id) {
            continue;
        }
        for dependency in nodes.get(id).into_iter().flat_map(|node| &node.deps) {
            let kinds: Vec<&DepKindInfo> = dependency.dep_kinds.iter().filter(is_built).collect();
            let is_helper = names.get(&dependency.pkg).is_some_and(|name| C_HELPERS.contains(name));
            if is_helper && kinds.iter().any(|kind| kind.kind == DependencyKind::Build) {
                found.extend(names.get(id).map(ToString::to_string));
            }
            if !kinds.is_empty() {
                next.push(&dependency.pkg);
            }
        }
    }
    found
}

/// Whether something that is shipped may be made of it.
fn is_built(target: &&Target) -> bool {
    let others = [TargetKind::Bench, TargetKind::Example, TargetKind::Test];
    !target.kind.iter().any(|kind| others.contains(kind))
}

#[cfg(test)]
impl Package {
    /// A package for tests.
    pub fn example(name: &str, folder: impl Into<PathBuf>) -> Package {
        Package {
            id: PackageId { repr: name.into() },
            name: name.into(),
            version: "1.2.0".into(),
            license: None,
            license_file: None,
            repository: None,
            folder: folder.into(),
            roots: Vec::new(),
            rust: None,
        }
    }
}
