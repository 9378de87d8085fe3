//! What is true of this machine and workspace, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::Metadata;
use toml::Table;

use crate::bad_request;
use crate::bpf::facts::Inputs;
use crate::flags::Common;
use crate::sys::cache::{self, Cache};
use crate::sys::process::Runner;
use crate::toolchain::facts::Installed;
use crate::workspace::cargo_home;
use crate::workspace::config::Config;
use crate::workspace::packages::{Cargo, Package};
use crate::workspace::rust::Rust;

/// The variables of the user's environment that a build may see: none of them changes a byte.
const PASSED_ON: [&str; 3] = ["PATH", "TMPDIR", "CARGO_BUILD_JOBS"];

#[derive(Debug, Clone)]
pub struct Facts {
    pub config: Config,
    /// The crates of Cargo.lock.
    pub packages: Vec<Package>,
    /// The packages of the workspace itself.
    pub members: Vec<Package>,
    /// The workspace.
    pub root: PathBuf,
    /// Where everything between sources and artifacts lies: a folder in cargo's target folder.
    pub work: PathBuf,
    pub rust: Rust,
    pub cache: Cache,
    pub installed: Installed,
    pub bpf: Inputs,
    /// The user's CARGO_HOME, where downloaded crates are.
    pub cargo_home: PathBuf,
    /// What cargo's configuration says of where crates come from.
    pub network_config: Table,
    /// Folders of this machine, whose names must not be found in a binary.
    pub private: Vec<String>,
    /// What a build sees of the user's environment.
    pub passed_on: BTreeMap<String, String>,
    pub offline: bool,
}

/// What the workspace ships: all that is known before anybody is asked for crates, objects or compilers.
#[derive(Debug, Clone)]
pub struct Workspace {
    pub config: Config,
    pub root: PathBuf,
    metadata: Metadata,
    /// The user's.
    cargo_home: PathBuf,
}

impl Workspace {
    /// The workspace that the command line names.
    pub fn find(runner: Runner, common: &Common) -> Result<(Workspace, Rust)> {
        let manifest = find_manifest(common.manifest_path.as_deref())?;
        let folder = manifest.parent().context("a manifest in no folder")?;
        let rust = Rust::read(runner, folder, common.offline)?;
        Ok((Workspace::read(runner, &manifest, &rust, common.offline)?, rust))
    }

    pub fn read(runner: Runner, manifest: &Path, rust: &Rust, offline: bool) -> Result<Workspace> {
        let cargo_home = cargo_home::find()?;
        let metadata = Cargo { runner, rust, home: &cargo_home, offline }.workspace(manifest)?;
        let config = Config::parse(&metadata)?;
        let root = metadata.workspace_root.clone().into_std_path_buf();
        Ok(Workspace { config, root, metadata, cargo_home })
    }

    /// The crates of Cargo.lock. Those that are not here are downloaded, unless `offline`.
    pub fn packages(&self, runner: Runner, rust: &Rust, offline: bool) -> Result<Vec<Package>> {
        let network = self.network_config()?.to_string();
        let cargo = Cargo { runner, rust, home: &self.cargo_home, offline };
        check_folder(self.metadata.target_directory.as_std_path())?;
        check_folder(&self.work())?;
        cargo.packages(
            &self.metadata,
            self.config.features.names.is_empty(),
            &network,
            &self.work().join("packages.json"),
        )
    }

    /// What cargo's configuration says of where crates come from.
    fn network_config(&self) -> Result<Table> {
        cargo_home::check_root(&self.cargo_home)?;
        cargo_home::network_config(&self.root, &self.cargo_home)
    }

    /// Where everything between sources and artifacts lies.
    fn work(&self) -> PathBuf {
        self.metadata.target_directory.join(crate::NAME).into()
    }
}

impl Facts {
    pub fn read(runner: Runner, common: &Common) -> Result<Facts> {
        let (workspace, rust) = Workspace::find(runner, common)?;
        rust.check_pin(&workspace.root)?;
        let packages = workspace.packages(runner, &rust, common.offline)?;
        let network_config = workspace.network_config()?;
        let work = workspace.work();
        let cache = Cache::find()?;
        let Workspace { config, root, cargo_home, metadata } = workspace;
        Ok(Facts {
            members: metadata.packages.iter().map(Package::new).collect::<Result<_>>()?,
            private: private(&[&root, &work, &cargo_home, &cache.folder, &rust.sysroot], &packages),
            installed: Installed::find(&rust, &cache)?,
            bpf: Inputs::read(&root, &packages, &config.bpf)?,
            network_config,
            passed_on: passed_on(),
            offline: common.offline,
            config,
            packages,
            root,
            work,
            rust,
            cache,
            cargo_home,
        })
    }

    /// The folder of the package that is shipped, in the workspace; the workspace itself if it lies elsewhere.
    pub fn package_folder(&self) -> &Path {
        let package = self.members.iter().find(|member| member.name == self.config.package);
        package.and_then(|package| package.folder.strip_prefix(&self.root).ok()).unwrap_or(Path::new(""))
    }

    /// The whole environment of a build with this CARGO_HOME.
    pub fn build_environment(&self, cargo_home: &Path) -> BTreeMap<String, String> {
        let mut environment = self.passed_on.clone();
        environment.insert("CARGO_HOME".into(), cargo_home.to_string_lossy().into_owned());
        environment.insert("RUSTC".into(), self.rust.rustc().to_string_lossy().into_owned());
        environment.insert("LC_ALL".into(), "C".into());
        environment
    }
}

/// Reads all facts while other runs in this workspace are held off, so that they are true until the lock is dropped. Where
/// nothing but a plan is wanted, nobody is waited for.
pub fn read_locked(runner: Runner, common: &Common, plan_only: bool) -> Result<(Facts, Option<File>)> {
    if plan_only {
        return Ok((Facts::read(runner, common)?, None));
    }
    let mut root = root_of(&find_manifest(common.manifest_path.as_deref())?);
    loop {
        let lock = lock(runner, &root)?;
        let facts = Facts::read(runner, common)?;
        if facts.root == root {
            return Ok((facts, Some(lock)));
        }
        // Only cargo knows for sure.
        root = facts.root;
    }
}

/// Refuses what is not a folder where one is, or will be.
pub fn check_folder(folder: &Path) -> Result<()> {
    match (folder.symlink_metadata(), folder.metadata()) {
        (Ok(_), Ok(metadata)) if !metadata.is_dir() => {
            bad_request!("{} is not a folder, but is written to as one: move it away", folder.display())
        }
        (Ok(_), Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            bad_request!("{} is a link to nothing, but is written to as a folder: remove it", folder.display())
        }
        _ => Ok(()),
    }
}

/// Holds off other runs in this workspace, whatever target folder they use, until the file returned is dropped.
pub fn lock(runner: Runner, root: &Path) -> Result<File> {
    let manifest = root.join("Cargo.toml");
    let file = File::open(&manifest).with_context(|| format!("cannot open {}", manifest.display()))?;
    cache::lock(runner, file, &format!("in {}", root.display()))
}

/// What a build sees of the user's environment.
pub fn passed_on() -> BTreeMap<String, String> {
    let variables =
        env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    variables.filter(|(name, _)| PASSED_ON.contains(&name.as_str()) || names_registry(name)).collect()
}

/// Whether a variable says where a registry is. Cargo.lock has the hashes of its crates.
fn names_registry(variable: &str) -> bool {
    let key = variable.strip_prefix("CARGO_REGISTRIES_");
    key.is_some_and(|key| key.ends_with("_INDEX") || key == "CRATES_IO_PROTOCOL")
}

/// The folders of this machine that a build has to do with.
fn private(folders: &[&PathBuf], packages: &[Package]) -> Vec<String> {
    let home = env::home_dir();
    let crates = packages.iter().filter_map(|package| package.folder.parent());
    let folders: BTreeSet<&Path> =
        folders.iter().map(|folder| folder.as_path()).chain(home.as_deref()).chain(crates).collect();
    folders
        .into_iter()
        // Not `/` or `/src`: such a name may be part of a path that is no path of this machine.
        .filter(|folder| folder.components().count() > 2)
        .map(|folder| folder.to_string_lossy().into_owned())
        .collect()
}

/// The workspace that a manifest belongs to, where cargo cannot be asked: it has the lock file.
pub fn root_of(manifest: &Path) -> PathBuf {
    let root = manifest.ancestors().skip(1).find(|folder| folder.join("Cargo.lock").is_file());
    root.or(manifest.parent()).unwrap_or(Path::new("/")).into()
}

pub fn find_manifest(given: Option<&Path>) -> Result<PathBuf> {
    let manifest = search_manifest(given)?;
    match manifest.to_str() {
        Some(_) => Ok(manifest),
        None => bad_request!("{} is not UTF-8: give its folders other names", manifest.display()),
    }
}

fn search_manifest(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        if !path.exists() {
            bad_request!("--manifest-path names {}, which is not there", path.display());
        }
        if !path.ends_with("Cargo.toml") || !path.is_file() {
            bad_request!("--manifest-path names {}, where the path of a Cargo.toml is wanted", path.display());
        }
        return Ok(std::path::absolute(path)?);
    }
    let here = env::current_dir().context("cannot read the current folder")?;
    match here.ancestors().map(|folder| folder.join("Cargo.toml")).find(|file| file.is_file()) {
        Some(manifest) => Ok(manifest),
        None => bad_request!("there is no Cargo.toml in {} or above it", here.display()),
    }
}
