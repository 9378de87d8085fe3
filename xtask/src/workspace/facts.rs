//! What is true of this machine and workspace, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cargo_metadata::Metadata;
use toml::Table;

use crate::bpf::cflags;
use crate::bpf::facts::{Inputs, above};
use crate::cc::facts::Libbpf;
use crate::flags::Common;
use crate::release::layout;
use crate::sys::cache::{self, Cache};
use crate::sys::files;
use crate::sys::process::Runner;
use crate::toolchain::facts::Installed;
use crate::ui::error::bad_request;
use crate::workspace::cargo_home;
use crate::workspace::config::Config;
use crate::workspace::features::Selected;
use crate::workspace::keys;
use crate::workspace::packages::{Cargo, Crates, Dependencies, Package};
use crate::workspace::products::Archive;
use crate::workspace::rust::{self, Rust};
use crate::workspace::snapshot::{Change, Difference};
use crate::workspace::source::{self, Sources};

/// The variables of the user's environment that a build may see: none of them changes a byte.
const PASSED_ON: [&str; 3] = ["PATH", "TMPDIR", "CARGO_BUILD_JOBS"];

/// The folder of the snapshot, in that of what lies between sources and artifacts.
pub const SNAPSHOT: &str = "snapshot";

#[derive(Debug, Clone)]
pub struct Facts {
    pub config: Config,
    /// The crates of Cargo.lock.
    pub packages: Vec<Package>,
    /// The names of the packages that may compile C code.
    pub with_c: BTreeSet<String>,
    /// The features of the crates that products consist of.
    pub features: Selected,
    /// What each package uses.
    pub dependencies: Dependencies,
    /// The sources of libbpf, where it is linked.
    pub libbpf: Option<Libbpf>,
    /// The packages of the workspace itself.
    pub members: Vec<Package>,
    /// Where the release is.
    pub dist: PathBuf,
    /// The workspace, to whose BPF folder results are written. What is built is that of `sources`.
    pub root: PathBuf,
    pub sources: Sources,
    /// The folder of everything between sources and artifacts, in cargo's target folder.
    pub work: PathBuf,
    pub rust: Rust,
    pub cache: Cache,
    pub installed: Installed,
    pub bpf: Inputs,
    /// The user's CARGO_HOME, where downloaded crates are.
    pub cargo_home: PathBuf,
    /// Its folders of what was downloaded, as far as they are there.
    pub downloaded: Vec<PathBuf>,
    /// The part of cargo's configuration that defines where crates come from.
    pub network_config: Table,
    /// Paths of this machine, which must not be found in a binary.
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
    /// Where its release is.
    pub dist: PathBuf,
    /// The Cargo.toml by which that release is named.
    pub manifest: PathBuf,
    metadata: Metadata,
    /// The workspaces of packages that are BPF, where those are not this one.
    beside: Vec<Metadata>,
    /// The user's.
    cargo_home: PathBuf,
    /// The folder of everything between sources and artifacts.
    pub work: PathBuf,
    /// The workspace, for errors: as the user knows it.
    shown: PathBuf,
}

impl Workspace {
    /// The workspace that the command line names.
    pub fn find(runner: Runner, common: &Common) -> Result<(Workspace, Rust)> {
        let (manifest, rust) = find(runner, common)?;
        Ok((Workspace::read(runner, &manifest, &rust, common.offline)?, rust))
    }

    /// The work tree of the workspace.
    pub fn read(runner: Runner, manifest: &Path, rust: &Rust, offline: bool) -> Result<Workspace> {
        let cargo_home = cargo_home::find()?;
        let cargo = Cargo { runner, rust, home: &cargo_home, offline };
        let metadata = cargo.workspace(manifest)?;
        let work = metadata.target_directory.join(crate::NAME).into();
        let shown = metadata.workspace_root.clone().into();
        let package = keys::own_release(&metadata, manifest).map(String::from);
        let beside = cargo.beside(&metadata, package.as_deref())?;
        Workspace::new((metadata, beside), package.as_deref(), cargo_home, work, shown, &|_| None)
    }

    /// The same in a snapshot.
    fn of(
        runner: Runner,
        rust: &Rust,
        cargo_home: PathBuf,
        offline: bool,
        sources: &Sources,
        package: Option<&str>,
        (work, shown): (&Path, &Path),
    ) -> Result<Workspace> {
        let manifest = sources.workspace.join("Cargo.toml");
        let cargo = Cargo { runner, rust, home: &cargo_home, offline };
        let metadata = sources.ignored.explain(cargo.workspace(&manifest))?;
        let beside = sources.ignored.explain(cargo.beside(&metadata, package))?;
        let why_missing = |path: &str| sources.why_missing(path);
        Workspace::new((metadata, beside), package, cargo_home, work.into(), shown.into(), &why_missing)
    }

    fn new(
        (metadata, beside): (Metadata, Vec<Metadata>),
        package: Option<&str>,
        cargo_home: PathBuf,
        work: PathBuf,
        shown: PathBuf,
        why_missing: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Workspace> {
        let config = Config::parse((&metadata, &beside), package, why_missing)?;
        let root = metadata.workspace_root.clone().into_std_path_buf();
        let own = metadata.workspace_packages().into_iter().find(|it| package.is_some_and(|name| *it.name == name));
        let manifest = own.map_or_else(|| root.join("Cargo.toml"), |own| own.manifest_path.clone().into());
        let dist = layout::dist(&root, package);
        Ok(Workspace { config, root, dist, manifest, metadata, beside, cargo_home, work, shown })
    }

    /// The crates of Cargo.lock. Those that are not here are downloaded, unless `offline`.
    pub fn crates(&self, runner: Runner, rust: &Rust, offline: bool) -> Result<Crates> {
        self.crates_from(runner, rust, offline, &self.network_config()?)
    }

    fn crates_from(&self, runner: Runner, rust: &Rust, offline: bool, network: &Table) -> Result<Crates> {
        let cargo = Cargo { runner, rust, home: &self.cargo_home, offline };
        check_folder(self.metadata.target_directory.as_std_path())?;
        check_folder(&self.work)?;
        cargo.packages((&self.metadata, &self.beside), &self.config, &network.to_string(), &self.work, &self.shown)
    }

    /// What the work tree has of BPF.
    pub fn bpf(&self, runner: Runner, rust: &Rust, offline: bool) -> Result<Inputs> {
        let packages = self.crates(runner, rust, offline)?.packages;
        Inputs::read(&self.root, above(&self.root), &packages, rust, &self.config.bpf)
    }

    /// The same, where the objects are what the sources give.
    pub fn current_bpf(&self, runner: Runner, rust: &Rust, offline: bool) -> Result<Inputs> {
        let inputs = self.bpf(runner, rust, offline)?;
        match inputs.stale(&self.config) {
            Some(reason) => bail!("the BPF objects are not up to date: {reason}; run `cargo xtask bpf`"),
            None => Ok(inputs),
        }
    }

    /// cargo's target folder.
    pub fn target(&self) -> &Path {
        self.metadata.target_directory.as_std_path()
    }

    /// The part of cargo's configuration that defines where crates come from.
    fn network_config(&self) -> Result<Table> {
        cargo_home::check_root(&self.cargo_home)?;
        cargo_home::network_config(&self.root, &self.cargo_home, None)
    }
}

impl Facts {
    /// Takes a snapshot of the workspace, or of a commit of it, and reads all facts in there while other runs are held
    /// off: they are true until the files that are returned are dropped. What is made goes to the folder `to`, if that
    /// is not one of the workspace.
    pub fn read(
        runner: Runner,
        common: &Common,
        commit: Option<&str>,
        to: Option<&Path>,
    ) -> Result<(Facts, Vec<File>)> {
        let (manifest, rust) = find(runner, common)?;
        let cargo_home = cargo_home::find()?;
        let cache = Cache::find()?;
        let metadata =
            Cargo { runner, rust: &rust, home: &cargo_home, offline: common.offline }.workspace(&manifest)?;
        let package = keys::own_release(&metadata, &manifest).map(String::from);
        let root = metadata.workspace_root.into_std_path_buf();
        let target = metadata.target_directory.into_std_path_buf();
        let work = target.join(crate::NAME);
        check_folder(&target)?;
        check_folder(&work)?;
        let work = source::work_folder(&work)?;
        // Workspaces may share a target folder, and one may have several.
        let in_use = File::open(&work).with_context(|| format!("cannot open {}", work.display()))?;
        let mut locks = vec![cache::lock(runner, in_use, &format!("in {}", root.display()))?];
        if to.is_none() {
            locks.push(lock(runner, &root)?);
        }
        source::hide_repository(&work)?;
        let dist = layout::dist(&root, package.as_deref());
        let to = to.map_or_else(|| layout::dist(&root, None), Path::to_owned);
        let left_out = [target, to, cache.folder.clone(), cargo_home.clone()];
        let sources = Sources::take(runner, &root, &work.join(SNAPSHOT), &left_out, commit)?;
        check_rust(&rust, &root, &sources)?;
        let workspace =
            Workspace::of(runner, &rust, cargo_home, common.offline, &sources, package.as_deref(), (&work, &root))?;
        cargo_home::check_root(&workspace.cargo_home)?;
        let network_config = cargo_home::network_config(&root, &workspace.cargo_home, Some(&sources))?;
        if !sources.workspace.join("Cargo.lock").is_file()
            && let Some(why) = sources.why_missing("Cargo.lock")
        {
            bail!("{} {why}: commit it", root.join("Cargo.lock").display());
        }
        let crates = workspace.crates_from(runner, &rust, common.offline, &network_config);
        let crates = sources.ignored.explain(crates)?;
        let libbpf = Libbpf::find(&crates)?;
        let Crates { packages, with_c, features, dependencies } = crates;
        let Workspace { config, cargo_home, metadata, .. } = workspace;
        let members: Vec<Package> = metadata.packages.iter().map(Package::new).collect::<Result<_>>()?;
        let mut sources = sources;
        sources.changes.extend(members.iter().chain(&packages).filter_map(|package| outside(package, &sources.top)));
        let bpf = inputs(&sources, &packages, &config, &rust, &work)?;
        let folders = [&root, &sources.from, &work, &cargo_home, &cache.folder, &rust.sysroot];
        let facts = Facts {
            members,
            private: private(&folders, &packages),
            installed: Installed::find(&rust, &cache)?,
            bpf,
            downloaded: cargo_home::downloaded(&cargo_home),
            network_config,
            passed_on: passed_on(),
            offline: common.offline,
            config,
            packages,
            with_c,
            features,
            dependencies,
            libbpf,
            dist,
            root,
            sources,
            work,
            rust,
            cache,
            cargo_home,
        };
        Ok((facts, locks))
    }

    /// Has clang get more flags: what sources include may lie elsewhere then.
    pub fn add_cflags(&mut self, cflags: &[String]) -> Result<()> {
        if let Some(refusal) = cflags::refusal(cflags, self.config.bpf.image.as_deref()) {
            bad_request!("{refusal}");
        }
        self.config.bpf.cflags.extend(cflags.iter().cloned());
        self.bpf = inputs(&self.sources, &self.packages, &self.config, &self.rust, &self.work)?;
        Ok(())
    }

    /// Build scripts and the roots of crates of the repository, by their paths in it.
    pub fn crate_roots(&self) -> Vec<String> {
        let packages = self.members.iter().chain(&self.packages);
        let roots = packages.flat_map(|package| &package.roots);
        let there = roots.filter(|root| root.symlink_metadata().is_ok_and(|metadata| metadata.is_file()));
        // A package may be reached through a link of the repository.
        let files = there.filter_map(|root| root.canonicalize().ok());
        let paths = files.filter_map(|root| Some(root.strip_prefix(&self.sources.top).ok()?.to_str()?.to_owned()));
        paths.collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// Whether a package is known by its folder, and that is not in the workspace: its name depends on the machine.
    pub fn has_packages_beside(&self) -> bool {
        let by_path = self.members.iter().chain(&self.packages).filter(|package| package.is_by_path());
        by_path.map(|package| &package.folder).any(|folder| !folder.starts_with(&self.sources.workspace))
    }

    /// The packages that go into an archive.
    pub fn shipped(&self, archive: &Archive) -> Vec<&Package> {
        let is_in = |member: &&Package| archive.products.iter().any(|product| product.package == member.name);
        self.members.iter().filter(is_in).collect()
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

/// What the snapshot has of BPF.
fn inputs(sources: &Sources, packages: &[Package], config: &Config, rust: &Rust, work: &Path) -> Result<Inputs> {
    let folders: Vec<String> = config.bpf.folders().map(|folder| sources.in_repository(folder)).collect();
    if let Some(why) = sources.source_outside(&folders) {
        bad_request!("{why}: copy it to where the link is");
    }
    let inputs = Inputs::read(&sources.workspace, sources.above(), packages, rust, &config.bpf);
    let mut inputs = sources.ignored.explain(inputs).map_err(|error| sources.in_user_words(error))?;
    inputs.read_records(work)?;
    Ok(inputs)
}

/// A package that no commit has, though what is shipped is made of it.
fn outside(package: &Package, top: &Path) -> Option<Change> {
    let is_outside = package.is_by_path() && !package.folder.starts_with(top);
    let what = Difference::Outside(package.name.clone());
    is_outside.then(|| Change { path: package.folder.display().to_string(), what, hidden: None })
}

/// The Rust in use must be the one that the snapshot pins.
fn check_rust(rust: &Rust, root: &Path, sources: &Sources) -> Result<()> {
    if rust::pin(&sources.workspace)?.is_none()
        && let Some((_, file)) = rust::pin(root)?
        && let Some(why) = sources.why_missing(file)
    {
        bail!("{} {why}: commit it", root.join(file).display());
    }
    rust.check_pin(&sources.workspace)
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

/// Whether a variable sets the address of a registry. Cargo.lock has the hashes of its crates.
fn names_registry(variable: &str) -> bool {
    let key = variable.strip_prefix("CARGO_REGISTRIES_");
    key.is_some_and(|key| key.ends_with("_INDEX") || key == "CRATES_IO_PROTOCOL")
}

/// What must not be found in a binary: paths of this machine that a build has to do with, by all of their names.
fn private(folders: &[&PathBuf], packages: &[Package]) -> Vec<String> {
    let mut all: BTreeSet<PathBuf> = folders.iter().map(|folder| folder.to_path_buf()).collect();
    all.extend(env::home_dir());
    all.extend(packages.iter().filter_map(|package| package.folder.parent()).map(Path::to_path_buf));
    all.extend(shell_names(&all));
    let canonical: Vec<PathBuf> = all.iter().filter_map(|folder| folder.canonicalize().ok()).collect();
    all.extend(canonical);
    let mut private = Vec::new();
    for folder in all {
        // With a slash, for the name of a folder may be part of another word.
        match folder.components().count() {
            0 | 1 => {}
            // `/src` may be part of a path that is no path of this machine. What is in it is longer; what cannot be
            // read is read by no build.
            2 => {
                let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
                private.extend(entries.map(|entry| entry.path().to_string_lossy().into_owned()));
            }
            _ => private.push(format!("{}/", folder.display())),
        }
    }
    private
}

/// The folders by the names by which the shell reached them, through links.
fn shell_names(folders: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let here = env::var_os("PWD").map(PathBuf::from).unwrap_or_default();
    let is_one = |name: &&Path| name.canonicalize().is_ok_and(|folder| folders.contains(&folder));
    here.ancestors().filter(|name| name.is_absolute()).filter(is_one).map(Path::to_path_buf).collect()
}

/// The workspace that a manifest belongs to, where cargo cannot be asked: it has the lock file.
pub fn root_of(manifest: &Path) -> PathBuf {
    let root = manifest.ancestors().skip(1).find(|folder| folder.join("Cargo.lock").is_file());
    root.or(manifest.parent()).unwrap_or(Path::new("/")).into()
}

/// Where the release is that a manifest names, where cargo cannot be asked.
pub fn dist_of(manifest: &Path) -> PathBuf {
    let root = root_of(manifest);
    let table = |path: &[&str]| -> Option<toml::Value> {
        let text = files::read_if_there(manifest).ok()??;
        let table = toml::Value::Table(text.parse().ok()?);
        path.iter().try_fold(table, |table, key| table.get(key).cloned())
    };
    let has_own = manifest.parent() != Some(&root) && table(&["package", "metadata", crate::NAME]).is_some();
    let name = has_own.then(|| table(&["package", "name"])).flatten();
    layout::dist(&root, name.as_ref().and_then(toml::Value::as_str))
}

/// The manifest that the command line names, and the Rust that is in use there.
fn find(runner: Runner, common: &Common) -> Result<(PathBuf, Rust)> {
    let manifest = find_manifest(common.manifest_path.as_deref())?;
    let folder = manifest.parent().context("a manifest in no folder")?;
    let rust = Rust::read(runner, folder, common.offline)?;
    Ok((manifest, rust))
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
            bad_request!("--manifest-path is {}; the path of a Cargo.toml is expected", path.display());
        }
        return Ok(std::path::absolute(path)?);
    }
    let here = env::current_dir().context("cannot read the current directory")?;
    match here.ancestors().map(|folder| folder.join("Cargo.toml")).find(|file| file.is_file()) {
        Some(manifest) => Ok(manifest),
        None => bad_request!("there is no Cargo.toml in {} or above it", here.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_of_this_machine_is_one_by_all_of_its_names_and_however_short() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        files::write(&real.join("Cargo.toml"), "").unwrap();
        let link = folder.path().join("link");
        symlink(&real, &link).unwrap();
        let private = private(&[&link, &PathBuf::from("/etc"), &PathBuf::from("/")], &[]);
        for folder in [link, real.canonicalize().unwrap()] {
            assert!(private.contains(&format!("{}/", folder.display())), "{private:?}");
        }
        assert!(
            private.contains(&"/etc/passwd".to_owned()) && !private.iter().any(|path| path == "/" || path == "/etc/")
        );
    }
}
