//! What is true of this machine and workspace, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cargo_metadata::Metadata;
use serde::Serialize;
use toml::Table;

use crate::bad_request;
use crate::bpf;
use crate::flags::Common;
use crate::sys::cache;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::process::Runner;
use crate::toolchain::Installed;
use crate::workspace::cargo_home;
use crate::workspace::config::Config;
use crate::workspace::packages::{Cargo, Package};

/// The variables of the user's environment that a build may see: none of them changes a byte.
const PASSED_ON: [&str; 3] = ["PATH", "TMPDIR", "CARGO_BUILD_JOBS"];

/// Where a workspace says which Rust it wants.
const PIN: &str = "rust-toolchain.toml";

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
    pub bpf: bpf::facts::Inputs,
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
#[derive(Debug)]
pub struct Workspace {
    pub config: Config,
    pub root: PathBuf,
    metadata: Metadata,
    rust: Rust,
    cargo_home: PathBuf,
}

/// The Rust toolchain that the workspace pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rust {
    pub sysroot: PathBuf,
    /// As `rustc -vV` says.
    pub version: String,
    pub commit: String,
    pub llvm: String,
}

/// The commit that is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// None outside git.
    pub commit: Option<String>,
    /// Whether the work tree differs from the commit.
    pub dirty: bool,
    /// Whether a Cargo.lock does: cargo itself brings it up to date when it starts this tool.
    pub lock_changed: bool,
    /// The date of everything in the archives: seconds since 1970.
    pub date: u64,
    /// The files of the workspace that git does not ignore, by their paths in it. None outside git.
    #[serde(skip)]
    pub files: Option<BTreeSet<String>>,
}

impl Workspace {
    pub fn read(runner: Runner, common: &Common) -> Result<Workspace> {
        let manifest = find_manifest(common.manifest_path.as_deref())?;
        let folder = manifest.parent().context("a manifest in no folder")?;
        let rust = Rust::read(runner, folder, common.offline)?;
        let cargo_home = cargo_home()?;
        let cargo = Cargo { runner, rust: &rust, home: &cargo_home, offline: common.offline };
        let metadata = cargo.workspace(&manifest)?;
        let config = Config::parse(&metadata)?;
        let root = metadata.workspace_root.clone().into_std_path_buf();
        Ok(Workspace { config, root, metadata, rust, cargo_home })
    }
}

impl Facts {
    pub fn read(runner: Runner, common: &Common) -> Result<Facts> {
        let Workspace { config, root, metadata, rust, cargo_home } = Workspace::read(runner, common)?;
        cargo_home::check_root(&cargo_home)?;
        rust.check_pin(&root)?;
        let cache = Cache::find()?;
        let work: PathBuf = metadata.target_directory.join(crate::NAME).into();
        let network_config = cargo_home::network_config(&root, &cargo_home)?;
        let cargo = Cargo { runner, rust: &rust, home: &cargo_home, offline: common.offline };
        let packages = cargo.packages(&metadata, &network_config.to_string(), &work.join("packages.json"))?;
        Ok(Facts {
            members: metadata.packages.iter().map(Package::new).collect::<Result<_>>()?,
            private: private(&[&root, &work, &cargo_home, &cache.folder, &rust.sysroot], &packages),
            installed: Installed::find(&rust, &cache)?,
            bpf: bpf::facts::Inputs::read(&root, &packages, &config.bpf)?,
            network_config,
            passed_on: PASSED_ON.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?))).collect(),
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

    /// See [`lock`].
    pub fn lock(&self, runner: Runner) -> Result<File> {
        lock(runner, &self.root)
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

impl Rust {
    /// The Rust that is in use in a folder.
    fn read(runner: Runner, folder: &Path, offline: bool) -> Result<Rust> {
        let mut which = Command::new("rustc", folder).args(["--print", "sysroot"]);
        if offline {
            // Else rustup's proxy may fetch the toolchain.
            which = which.env("RUSTUP_AUTO_INSTALL", "0");
        }
        let sysroot = runner.read(&which).context("cannot ask rustc where it is")?;
        let sysroot = PathBuf::from(sysroot.trim_end());
        // From here on past rustup's proxy, which would look for a toolchain anew each time.
        let verbose = runner.read(&Command::new(sysroot.join("bin/rustc"), folder).arg("-vV"))?;
        let field = |name: &str| {
            verbose
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(String::from)
                .with_context(|| format!("`rustc -vV` does not tell its {name}"))
        };
        Ok(Rust { version: field("release")?, commit: field("commit-hash")?, llvm: field("LLVM version")?, sysroot })
    }

    /// The Rust in a workspace that cargo was not asked about, if it is the one that is pinned. Nothing is fetched.
    pub fn pinned(runner: Runner, root: &Path) -> Result<Rust> {
        let rust = Rust::read(runner, root, true)?;
        rust.check_pin(root)?;
        Ok(rust)
    }

    /// The bytes depend on the compiler, so it must be the one that the workspace pins.
    fn check_pin(&self, root: &Path) -> Result<()> {
        match pin(root)? {
            Some(pinned) if pinned != self.version => bail!(
                "this is Rust {} in {}, but {} pins {pinned}: install it (rustup toolchain install {pinned})",
                self.version,
                self.sysroot.display(),
                root.join(PIN).display()
            ),
            _ => Ok(()),
        }
    }

    /// Where the sources of the standard library are, once rustup has got them, as `/rustc/COMMIT` in a prebuilt one.
    pub fn sources(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust")
    }

    pub fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    pub fn cargo(&self) -> PathBuf {
        self.sysroot.join("bin/cargo")
    }
}

/// The version of Rust that a workspace pins, if it does.
pub fn pin(root: &Path) -> Result<Option<String>> {
    let file = root.join(PIN);
    let Some(text) = files::read_if_there(&file)? else {
        return Ok(None);
    };
    let pin: Table = text.parse().with_context(|| format!("cannot understand {}", file.display()))?;
    let channel = pin.get("toolchain").and_then(|table| table.get("channel")).and_then(toml::Value::as_str);
    // Only a full version is a pin: `stable` is whatever is installed.
    Ok(channel.filter(|channel| channel.split('.').count() == 3).map(String::from))
}

impl Source {
    pub fn read(runner: Runner, root: &Path) -> Result<Source> {
        let epoch = match env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => match text.parse() {
                Ok(seconds) => Some(seconds),
                Err(_) => bad_request!("SOURCE_DATE_EPOCH is `{text}`; seconds since 1970 are wanted"),
            },
            Err(_) => None,
        };
        let git = |args: &[&str]| {
            runner
                // In English, for `remedies.rs`.
                .read(&Command::new("git", root).env("LC_ALL", "C").args(args.iter().copied()))
                .context("cannot ask git about the commit")
        };
        let in_git = root.ancestors().any(|folder| folder.join(".git").exists());
        // Everything that git does not ignore. A workspace that it does ignore is of another repository than this.
        let files: BTreeSet<String> = match in_git {
            true => git(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?
                .split_terminator('\0')
                .map(String::from)
                .collect(),
            false => BTreeSet::new(),
        };
        if !files.contains("Cargo.toml") {
            return match epoch {
                Some(date) => Ok(Source { commit: None, dirty: false, lock_changed: false, date, files: None }),
                None => bad_request!(
                    "{} is not in a git repository, so the files in the archives have no date: \
                     set SOURCE_DATE_EPOCH to seconds since 1970",
                    root.display()
                ),
            };
        }
        let head = git(&["log", "-1", "--no-show-signature", "--format=%H %ct"])?;
        let (commit, date) = head.trim_end().split_once(' ').context("git did not tell the commit")?;
        // Not as the user has configured it: what is not committed must be seen.
        let status = ["status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=none"];
        let status = git(&status)?;
        Ok(Source {
            commit: Some(commit.into()),
            dirty: !status.is_empty(),
            lock_changed: status.lines().any(|line| line.ends_with("Cargo.lock")),
            date: match epoch {
                Some(date) => date,
                None => date.parse().context("git did not tell the date of the commit")?,
            },
            files: Some(files),
        })
    }

    /// The commit as `--version` of the binary tells it.
    pub fn describe(&self) -> Option<String> {
        let commit = self.commit.as_ref()?;
        Some(if self.dirty { format!("{commit}-dirty") } else { commit.clone() })
    }
}

/// Holds off other runs in this workspace, whatever target folder they use, until the file returned is dropped.
pub fn lock(runner: Runner, root: &Path) -> Result<File> {
    let manifest = root.join("Cargo.toml");
    let file = File::open(&manifest).with_context(|| format!("cannot open {}", manifest.display()))?;
    cache::lock(runner, file, &format!("in {}", root.display()))
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

/// The user's CARGO_HOME.
pub fn cargo_home() -> Result<PathBuf> {
    Ok(match env::var_os("CARGO_HOME").filter(|home| !home.is_empty()) {
        Some(home) => std::path::absolute(home)?,
        None => env::home_dir().context("there is no home folder: set CARGO_HOME to a folder")?.join(".cargo"),
    })
}

/// The workspace that a manifest belongs to, where cargo cannot be asked: it has the lock file.
pub fn root_of(manifest: &Path) -> PathBuf {
    let root = manifest.ancestors().skip(1).find(|folder| folder.join("Cargo.lock").is_file());
    root.or(manifest.parent()).unwrap_or(Path::new("/")).into()
}

pub fn find_manifest(given: Option<&Path>) -> Result<PathBuf> {
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
