//! What this machine has: the reads of facts.rs, but each by itself, so that one that fails hides no other; and what
//! only `doctor` asks for. Nothing is fetched or changed, and nothing decided.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use crate::arch::Arch;
use crate::boot::facts::qemu_version;
use crate::boot::kernels::from_source::BuildTools;
use crate::boot::kernels::lock::Lock;
use crate::bpf::container::Place;
use crate::bpf::facts::{Inputs, above};
use crate::build::kind::Kind;
use crate::container::engine;
use crate::container::facts::Container;
use crate::cross::facts::Program;
use crate::debian::apt::Mirror;
use crate::flags::{self, Common};
use crate::release::layout;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::process::Runner;
use crate::toolchain::facts::Installed;
use crate::toolchain::wheel;
use crate::ui::remedies;
use crate::ui::status::{Found, State, Status};
use crate::workspace::cached::Listing;
use crate::workspace::config::Config;
use crate::workspace::facts::{self, Workspace};
use crate::workspace::rust::{self, Rust};
use crate::workspace::snapshot::{self, Request, Tree};
use crate::workspace::source::Source;

#[derive(Debug, Clone)]
pub struct Machine {
    pub offline: bool,
    pub rust: Found<Rust>,
    pub config: Found<Config>,
    /// Whether crates compile C code.
    pub with_c: bool,
    /// Why the BPF objects must be compiled again, if so.
    pub stale: Found<Option<String>>,
    pub cache: Found<Space>,
    pub installed: Installed,
    /// The kernels that the workspace pins.
    pub pins: Found<Lock>,
    pub place: Found<Place>,
    /// What else was found, by its name in the report.
    pub found: BTreeMap<String, Found>,
}

/// Where the cache is.
#[derive(Debug, Clone)]
pub struct Space {
    pub folder: String,
    /// What this tool has there, and what could be added, in bytes.
    pub used: u64,
    pub free: u64,
    pub writable: Result<(), String>,
}

impl Machine {
    pub fn read(runner: Runner, common: &Common, request: &flags::Doctor) -> Result<Machine> {
        let manifest = facts::find_manifest(common.manifest_path.as_deref())?;
        let root = facts::root_of(&manifest);
        let ask = |program: &Path, args: &[&str]| -> Found {
            // rustup must not take this for a reason to fetch something.
            let command = Command::new(program, &root).args(args.iter().copied()).env("RUSTUP_AUTO_INSTALL", "0");
            Ok(runner.read(&command)?)
        };
        // The number, in `cargo 1.95.0 (…)` and `rustup 1.29.0 (…)`.
        let version = |program: &Path| -> Found {
            let text = ask(program, &["--version"])?;
            let is_number = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
            Ok(text.split_whitespace().find(is_number).unwrap_or_default().into())
        };
        let rust = Rust::pinned(runner, &root).map_err(Status::from);
        let workspace = after("Rust", &rust, |rust| Ok((rust, Workspace::read(runner, &manifest, rust, true)?)));
        let crates = after("workspace", &workspace, |(rust, workspace)| {
            workspace.crates(runner, rust, true).map_err(|error| {
                // In cargo's words, this is what keeps it from downloading one.
                let is_missing =
                    ["--offline was", "offline mode"].iter().any(|clue| format!("{error:#}").contains(clue));
                match is_missing {
                    true => fetch(common.offline, "a crate of Cargo.lock is not here", "cargo", None),
                    false => error.into(),
                }
            })
        });
        let stale = after("crates", &crates, |crates| {
            let (rust, Workspace { config, .. }) = workspace.as_ref().map_err(Status::clone)?;
            Ok(Inputs::read(&root, above(&root), &crates.packages, rust, &config.bpf)?.stale(config))
        });
        let target = workspace.as_ref().ok().map(|(_, workspace)| workspace.target().to_owned());
        let config = workspace.map(|(_, workspace)| workspace.config);
        let cache = Cache::find().map_err(Status::from);
        let installed = match (&rust, &cache) {
            (Ok(rust), Ok(cache)) => Installed::find(rust, cache),
            (Err(_), Ok(cache)) => cache.entries().map(|cached| Installed { cached, ..Installed::default() }),
            (_, Err(_)) => Ok(Installed::default()),
        };
        let engines = request.clang.engine;
        let image = config.as_ref().ok().and_then(|config| config.bpf.image.as_deref());
        let place = after("cache", &cache, |cache| Ok(Place::find(runner, &root, cache, engines, image)?));
        let pin = rust::pin(&root).is_ok_and(|pin| pin.is_some());
        let pin = if pin { ", as the workspace pins it" } else { "; the workspace pins none" };
        let shipped = |config: &Config| {
            let arches: Vec<&str> = config.arches.iter().map(|arch| arch.name).collect();
            format!("{} for {}", config.describe(), arches.join(", "))
        };
        // It links a library of nothing, which takes a linker and a C library.
        let linker = ask("cc".as_ref(), &["-shared", "-x", "c", "/dev/null", "-o", "/dev/null"]);
        let linker = linker.map(|_| "it links".into()).map_err(|status| {
            let remedy = status.remedy.clone().or_else(|| Some(remedies::installation("cc")?.to_string()));
            Status { remedy, ..status }
        });
        let pip = ask("python3".as_ref(), &[&wheel::PIP[..], &["--help"]].concat());
        let engine = |kind: engine::Kind| -> Found { Ok(kind.probe(runner, &root)?.version) };
        let mut found: BTreeMap<String, Found> = [
            ("Rust", rust.clone().map(|rust| rust.version + pin)),
            ("cargo", after("Rust", &rust, |rust| version(&rust.cargo()))),
            ("workspace", config.as_ref().map(shipped).map_err(Status::clone)),
            ("crates", crates.clone().map(|crates| format!("all {} of Cargo.lock", crates.packages.len()))),
            ("git", commit(runner, &root, target.as_deref()).map_err(Status::from)),
            ("ssh", ask("ssh".as_ref(), &["-V"]).map(|_| "it answers".into())),
            ("cc", linker),
            ("rustup", version("rustup".as_ref())),
            ("pip", pip.map(|_| "it checks hashes".into())),
            ("docker", engine(engine::Kind::Docker)),
            ("podman", engine(engine::Kind::Podman)),
            ("mirror", Mirror::find(runner).map(|mirror| mirror.url)),
            ("kbuild", BuildTools::find(runner, &facts::passed_on()).map(|tools| tools.compiler)),
        ]
        .map(|(name, found)| (name.to_owned(), found))
        .into();
        if let (Ok(rust), Ok(config)) = (&rust, &config) {
            let kinds = config.all_builders();
            if kinds.iter().any(|kind| *kind != Kind::Host) {
                let builder = after("cache", &cache, |cache| {
                    let wanted = config.container.wanted(&root);
                    let container = Container::find(runner, &root, cache, engines.kinds_for_builds(), &wanted)?;
                    let cross = match kinds.contains(&Kind::Cross) {
                        true => Program::find(runner, rust, cache)?.missing(),
                        false => None,
                    };
                    builder(&container, cross, common.offline)
                });
                found.insert("builder".into(), builder);
            }
            found.extend(config.arches.iter().map(|arch| (qemu(arch), qemu_version(runner, arch))));
        }
        let machine = Machine {
            offline: common.offline,
            with_c: crates.as_ref().is_ok_and(|crates| !crates.with_c.is_empty()),
            cache: cache.and_then(|cache| Space::read(&cache).map_err(Status::from)),
            installed: installed.unwrap_or_default(),
            pins: Lock::read(&root).map_err(Status::from),
            rust,
            config,
            stale,
            place,
            found,
        };
        runner.check_interrupted()?;
        Ok(machine)
    }
}

/// The name in the report of what emulates machines of an architecture.
pub fn qemu(arch: &Arch) -> String {
    format!("QEMU {arch}")
}

/// The container that binaries are built in, and what it still takes.
fn builder(container: &Container, cross: Option<String>, offline: bool) -> Found {
    let engine = format!("{} {}", container.engine.kind.program(), container.engine.version);
    match container.missing().or(cross) {
        Some(missing) if offline => Err(Status::missing(missing, "run once without --offline")),
        Some(missing) => Err(Status::new(State::ToBuild, format!("{engine}; missing is {missing}"))),
        None => Ok(engine),
    }
}

/// The commit, and whether there are changes. `target` is cargo's target folder, if that is known.
fn commit(runner: Runner, root: &Path, target: Option<&Path>) -> Result<String> {
    let target = target.map_or_else(|| root.join("target"), Path::to_owned);
    let snapshot = target.join(crate::NAME).join(facts::SNAPSHOT);
    let (left_out, settings) = ([target, layout::dist(root, None)], snapshot::settings());
    let request = Request { workspace: root, snapshot: &snapshot, left_out: &left_out, commit: None, settings };
    let tree = Tree::read(runner, &request)?;
    Ok(Source::new(root, tree.commit.as_ref(), tree.is_dirty())?.summary())
}

/// Reads what takes another fact, if that is there.
fn after<'a, T, U>(name: &str, other: &'a Found<T>, read: impl FnOnce(&'a T) -> Found<U>) -> Found<U> {
    match other {
        Ok(other) => read(other),
        // What that one waits for.
        Err(status) if status.state == State::Unknown => Err(status.clone()),
        Err(_) => Err(Status::unknown(name)),
    }
}

/// The status of something that the next run downloads.
pub fn fetch(offline: bool, detail: &str, by: &str, megabytes: Option<u64>) -> Status {
    match offline {
        true => Status::missing(detail, "run once without --offline"),
        false => Status { megabytes, ..Status::new(State::ToFetch, format!("{detail}; {by} fetches it")) },
    }
}

impl Space {
    fn read(cache: &Cache) -> Result<Space> {
        // It need not be there yet.
        let there = cache.folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
        let disk = rustix::fs::statvfs(there).with_context(|| format!("cannot read {}", there.display()))?;
        let trial = tempfile::Builder::new().prefix(".bpfship-").tempdir_in(there);
        Ok(Space {
            folder: cache.folder.to_string_lossy().into_owned(),
            used: Listing::read(cache, None, None, &Lock::default())?.bytes,
            free: disk.f_bavail * disk.f_frsize,
            writable: trial.map(drop).map_err(|error| error.to_string()),
        })
    }
}
