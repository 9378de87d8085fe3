//! What `doctor` asks this machine. Each thing is asked for by itself, so that one that is not there hides no other; nothing
//! is fetched or changed, and nothing decided.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::bpf;
use crate::bpf::engine::{Engine, Kind, Place};
use crate::flags;
use crate::flags::Common;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::process::Runner;
use crate::toolchain::Installed;
use crate::toolchain::zig;
use crate::ui::remedies;
use crate::verbs::cache as cache_verb;
use crate::verbs::cache::Listing;
use crate::verbs::doctor::{Found, State, Status};
use crate::workspace::cargo_home;
use crate::workspace::config::Config;
use crate::workspace::facts;
use crate::workspace::facts::{Rust, Source};
use crate::workspace::packages::Cargo;

#[derive(Debug, Clone)]
pub struct Probed {
    pub offline: bool,
    /// Whether the workspace says which Rust it wants.
    pub is_pinned: bool,
    pub rust: Found<Rust>,
    pub cargo: Found,
    pub config: Found<Config>,
    /// How many crates are here; none if some must be downloaded.
    pub crates: Found<Option<usize>>,
    pub cache: Found<Space>,
    pub installed: Installed,
    /// What was read of the cache, if that was asked for.
    pub contents: Vec<(String, Found)>,
    pub linker: Found,
    pub commit: Found,
    /// Why the BPF objects must be compiled again, if so.
    pub stale: Found<Option<String>>,
    pub place: Found<Place>,
    pub engines: Vec<(Kind, Found<Engine>)>,
    pub rustup: Found,
    pub pip: Found,
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

impl Probed {
    pub fn read(runner: Runner, common: &Common, request: &flags::Doctor) -> Result<Probed> {
        let manifest = facts::find_manifest(common.manifest_path.as_deref())?;
        let root = facts::root_of(&manifest);
        let ask = |program: &Path, args: &[&str]| {
            // rustup must not take this for a reason to fetch something.
            let command = Command::new(program, &root).args(args.iter().copied()).env("RUSTUP_AUTO_INSTALL", "0");
            let said = runner.read(&command)?;
            // The version, in `cargo 1.95.0 (…)`.
            Found::Ok(said.split_whitespace().nth(1).unwrap_or_default().into())
        };
        let rust = Rust::pinned(runner, &root).map_err(Status::from);
        let (config, crates, stale) = match &rust {
            Ok(rust) => workspace(runner, rust, &manifest, &root),
            Err(_) => (Err(Status::unknown("Rust")), Err(Status::unknown("Rust")), Err(Status::unknown("Rust"))),
        };
        let image = config.as_ref().ok().and_then(|config| config.bpf.image.as_deref());
        let cache = Cache::find();
        let installed = cache.as_ref().ok().and_then(|cache| match &rust {
            Ok(rust) => Installed::find(rust, cache).ok(),
            Err(_) => Some(Installed { cached: cache.entries().ok()?, ..Installed::default() }),
        });
        let place = match &cache {
            Ok(cache) => Place::find_in(runner, &root, cache, request.clang.engine, image).map_err(Status::from),
            Err(_) => Err(Status::unknown("cache")),
        };
        let commit = Source::read(runner, &root).map(|source| match &source.commit {
            Some(commit) => format!("commit {commit:.12}{}", if source.dirty { ", with changes" } else { "" }),
            None => "not in git; SOURCE_DATE_EPOCH tells the date".into(),
        });
        let probed = Probed {
            offline: common.offline,
            is_pinned: facts::pin(&root).is_ok_and(|pin| pin.is_some()),
            cargo: match &rust {
                Ok(rust) => ask(&rust.cargo(), &["--version"]),
                Err(_) => Err(Status::unknown("Rust")),
            },
            crates,
            contents: match &cache {
                Ok(cache) if request.cache => contents(cache),
                _ => Vec::new(),
            },
            cache: cache.and_then(|cache| Space::of(&cache)).map_err(Status::from),
            installed: installed.unwrap_or_default(),
            // It links a library of nothing, which takes a linker and a C library.
            linker: ask("cc".as_ref(), &["-shared", "-x", "c", "/dev/null", "-o", "/dev/null"]).map_err(|status| {
                Status { remedy: status.remedy.or_else(|| Some(remedies::installation("cc")?.to_string())), ..status }
            }),
            commit: commit.map_err(Status::from),
            stale,
            place,
            engines: Kind::ALL.map(|kind| (kind, kind.probe(runner, &root).map_err(Status::from))).into(),
            rustup: ask("rustup".as_ref(), &["--version"]),
            pip: ask("python3".as_ref(), &[&zig::PIP[..], &["--help"]].concat()),
            config,
            rust,
        };
        runner.check_interrupted()?;
        Ok(probed)
    }
}

/// Reads every file of every entry.
fn contents(cache: &Cache) -> Vec<(String, Found)> {
    let names = cache.entries().unwrap_or_default().into_iter().filter(|name| cache_verb::is_whole(name));
    let read = |name: String| {
        let found = match cache.damage(&name, |_| true) {
            Ok(None) => Ok("as it was made".into()),
            Ok(Some(file)) => {
                Err(Status::new(State::ToBuild, format!("{file} is damaged; who needs it makes it again")))
            }
            Err(error) => Err(error.into()),
        };
        (name, found)
    };
    names.map(read).collect()
}

/// The configuration, the crates, and why the BPF objects must be compiled again.
fn workspace(
    runner: Runner,
    rust: &Rust,
    manifest: &Path,
    root: &Path,
) -> (Found<Config>, Found<Option<usize>>, Found<Option<String>>) {
    let read = || {
        let home = facts::cargo_home()?;
        cargo_home::check_root(&home)?;
        let cargo = Cargo { runner, rust, home: &home, offline: true };
        let metadata = cargo.workspace(manifest)?;
        let config = Config::parse(&metadata)?;
        let network = cargo_home::network_config(root, &home)?;
        let record = metadata.target_directory.join("dist/packages.json");
        anyhow::Ok((config, cargo.packages(&metadata, &network.to_string(), record.as_std_path())))
    };
    let (config, packages) = match read() {
        Ok(found) => found,
        Err(error) => return (Err(error.into()), Err(Status::unknown("workspace")), Err(Status::unknown("workspace"))),
    };
    match packages {
        Ok(packages) => {
            let inputs = bpf::facts::Inputs::read(root, &packages, &config.bpf).map_err(Status::from);
            let stale = inputs.map(|inputs| inputs.stale(&config.bpf));
            (Ok(config), Ok(Some(packages.len())), stale)
        }
        // In cargo's words, this is what keeps it from downloading one.
        Err(error) if ["--offline was", "offline mode"].iter().any(|clue| format!("{error:#}").contains(clue)) => {
            (Ok(config), Ok(None), Err(Status::unknown("crates")))
        }
        Err(error) => (Ok(config), Err(error.into()), Err(Status::unknown("crates"))),
    }
}

impl Space {
    fn of(cache: &Cache) -> Result<Space> {
        // It need not be there yet.
        let there = cache.folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
        let trial = there.join(format!(".bpfship-{}", std::process::id()));
        let disk = rustix::fs::statvfs(there).with_context(|| format!("cannot read {}", there.display()))?;
        Ok(Space {
            folder: cache.folder.to_string_lossy().into_owned(),
            used: Listing::read(cache, None)?.bytes,
            free: disk.f_bavail * disk.f_frsize,
            writable: fs::create_dir(&trial).and_then(|()| fs::remove_dir(&trial)).map_err(|error| error.to_string()),
        })
    }
}
