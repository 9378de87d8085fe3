//! What this machine has: the reads of facts.rs, but each by itself, so that one that fails hides no other; and what
//! only `doctor` asks for. Nothing is fetched or changed, and nothing decided.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Error, Result};

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
        let ask = |program: &Path, args: &[&str]| {
            // rustup must not take this for a reason to fetch something.
            let command = Command::new(program, &root).args(args.iter().copied()).env("RUSTUP_AUTO_INSTALL", "0");
            runner.read(&command)
        };
        // The number, in `cargo 1.95.0 (…)` and `QEMU emulator version 10.0.2 (…)`.
        let version = |program: &Path| {
            let text = ask(program, &["--version"])?;
            let is_number = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
            Found::Ok(text.split_whitespace().find(is_number).unwrap_or_default().into())
        };
        let rust = Rust::pinned(runner, &root).map_err(Status::from);
        let workspace = after("Rust", &rust, |rust| Workspace::read(runner, &manifest, rust, true));
        let crates = match (&rust, &workspace) {
            (Ok(rust), Ok(workspace)) => workspace.crates(runner, rust, true).map_err(|error| {
                // In cargo's words, this is what keeps it from downloading one.
                let is_missing =
                    ["--offline was", "offline mode"].iter().any(|clue| format!("{error:#}").contains(clue));
                match is_missing {
                    true => fetch(common.offline, "a crate of Cargo.lock is not here", "cargo", None),
                    false => error.into(),
                }
            }),
            (Err(_), _) => Err(Status::unknown("Rust")),
            (_, Err(_)) => Err(Status::unknown("workspace")),
        };
        let target = workspace.as_ref().ok().map(|workspace| workspace.target().to_owned());
        let config = workspace.map(|workspace| workspace.config);
        let stale = match (&config, &crates, &rust) {
            (Ok(config), Ok(crates), Ok(rust)) => {
                let inputs = Inputs::read(&root, above(&root), &crates.packages, rust, &config.bpf);
                inputs.map(|inputs| inputs.stale(config)).map_err(Status::from)
            }
            (Err(status), ..) if status.state == State::Unknown => Err(status.clone()),
            (Err(_), ..) => Err(Status::unknown("workspace")),
            _ => Err(Status::unknown("crates")),
        };
        let cache = Cache::find().map_err(Status::from);
        let installed = match (&rust, &cache) {
            (Ok(rust), Ok(cache)) => Installed::find(rust, cache),
            (Err(_), Ok(cache)) => cache.entries().map(|cached| Installed { cached, ..Installed::default() }),
            (_, Err(_)) => Ok(Installed::default()),
        };
        let image = config.as_ref().ok().and_then(|config| config.bpf.image.as_deref());
        let place = after("cache", &cache, |cache| Place::find(runner, &root, cache, request.clang.engine, image));
        let pin = rust::pin(&root).is_ok_and(|pin| pin.is_some());
        let pin = if pin { ", as the workspace pins it" } else { "; the workspace pins none" };
        let shipped = |config: &Config| {
            let arches: Vec<&str> = config.arches.iter().map(|arch| arch.name).collect();
            format!("{} for {}", config.describe(), arches.join(", "))
        };
        // It links a library of nothing, which takes a linker and a C library.
        let linker = ask("cc".as_ref(), &["-shared", "-x", "c", "/dev/null", "-o", "/dev/null"]);
        let linker = linker.map(|_| "it links".into()).map_err(|error| {
            let status = Status::from(error);
            let remedy = status.remedy.clone().or_else(|| Some(remedies::installation("cc")?.to_string()));
            Status { remedy, ..status }
        });
        let pip = ask("python3".as_ref(), &[&wheel::PIP[..], &["--help"]].concat());
        let engine = |kind: engine::Kind| Ok(kind.probe(runner, &root).map_err(Status::from)?.version);
        let mut found: BTreeMap<String, Found> = [
            ("Rust", rust.clone().map(|rust| rust.version + pin)),
            ("cargo", after("Rust", &rust, |rust| Ok(rust.cargo())).and_then(|cargo| version(&cargo))),
            ("workspace", config.as_ref().map(shipped).map_err(Status::clone)),
            ("crates", crates.clone().map(|crates| format!("all {} of Cargo.lock", crates.packages.len()))),
            ("git", commit(runner, &root, target.as_deref()).map_err(Status::from)),
            ("ssh", ask("ssh".as_ref(), &["-V"]).map(|_| "it answers".into()).map_err(Status::from)),
            ("cc", linker),
            ("rustup", version("rustup".as_ref())),
            ("pip", pip.map(|_| "it checks hashes".into()).map_err(Status::from)),
            ("docker", engine(engine::Kind::Docker)),
            ("podman", engine(engine::Kind::Podman)),
            ("mirror", Mirror::find(runner).map(|mirror| mirror.url)),
            ("kbuild", BuildTools::find(runner, &facts::passed_on()).map(|tools| tools.compiler)),
        ]
        .map(|(name, found)| (name.to_owned(), found))
        .into();
        let kinds = config.as_ref().map(Config::all_builders).unwrap_or_default();
        if kinds.iter().any(|kind| *kind != Kind::Host) {
            let found_one = after("cache", &cache, |cache| {
                let config = config.as_ref().map_err(|status| Error::msg(status.sentence()))?;
                Container::find(
                    runner,
                    &root,
                    cache,
                    request.clang.engine.kinds_for_builds(),
                    &config.container.wanted(&root),
                )
            });
            let program = match (&rust, kinds.contains(&Kind::Cross)) {
                (Ok(rust), true) => after("cache", &cache, |cache| Program::find(runner, rust, cache)).map(Some),
                _ => Ok(None),
            };
            let found_one = found_one.and_then(|container| {
                let cross = program.map(|program| program.and_then(|program| program.missing()))?;
                builder(&container, cross, common.offline)
            });
            found.insert("builder".into(), found_one);
        }
        for arch in config.iter().flat_map(|config| &config.arches) {
            found.insert(qemu(arch), qemu_version(runner, arch));
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
fn after<T, U>(name: &str, other: &Found<T>, read: impl FnOnce(&T) -> Result<U>) -> Found<U> {
    match other {
        Ok(other) => read(other).map_err(Status::from),
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
