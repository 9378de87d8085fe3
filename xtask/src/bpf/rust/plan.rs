//! How BPF written in Rust is compiled, as data: cargo for each target, and clang for each program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::arch::ARCHES;
use crate::bpf::flags::{self, CLOCK};
use crate::bpf::paths;
use crate::bpf::rust::flags::{CLANG, PROFILE, UNSTABLE, rust_arch};
use crate::bpf::rust::linker;
use crate::bpf::rust::run::{BuildBitcode, CompileBitcode};
use crate::bpf::rust::scripts;
use crate::bpf::rust::shim::{self, Recipe};
use crate::bpf::settle::Compiled;
use crate::bpf::target::{BpfTarget, TARGETS};
use crate::bpf::units::{Binary, Unit};
use crate::build::cargo::{self, CargoBuild};
use crate::build::crate_names;
use crate::build::plan::source_root;
use crate::build::site;
use crate::cc::recipe;
use crate::sys::command::Command;
use crate::sys::hash::{self, Sha256};
use crate::sys::plan::{Slot, Step, Steps, Task};
use crate::sys::steps::{CheckEntry, DropOthers, InstallNames, Link, MakeFolder, Write};
use crate::toolchain::bpf_core::{self, Core};
use crate::toolchain::zig;
use crate::workspace::cargo_home;
use crate::workspace::config::NO_DEFAULT;
use crate::workspace::facts::Facts;
use crate::workspace::snapshot::Verify;

/// A program that is compiled for some targets.
#[derive(Debug)]
pub struct Call {
    pub unit: Unit,
    pub shown: String,
    /// The name of the object that the task is called after.
    pub object: String,
    pub targets: Vec<(&'static BpfTarget, Sha256)>,
    pub made: Slot<Vec<Compiled>>,
}

/// The `core`s that targets need.
pub fn cores(facts: &Facts, targets: impl Iterator<Item = &'static BpfTarget>) -> Vec<Core> {
    let mut cores: Vec<Core> = Vec::new();
    for target in targets {
        let core = Core::new(target.endian, &facts.config.bpf.cpu, &facts.rust);
        if !cores.contains(&core) {
            cores.push(core);
        }
    }
    cores
}

/// What compiles these programs.
pub fn tasks(facts: &Facts, calls: Vec<Call>) -> Result<Vec<Task>> {
    let home = home(facts);
    let config = facts.network_config.clone();
    let mut steps = cargo_home::steps(&home, &facts.cargo_home, &config);
    steps.extend(scripts::steps(facts, &facts.work));
    if facts.has_packages_beside() {
        steps.push(Box::new(InstallNames { folder: facts.work.clone(), names: vec![crate_names::PROGRAM.into()] }));
    }
    steps.push(Box::new(MakeFolder { folder: folder(facts).join(HOST) }));
    // clang looks there for the sources that debug information names, and is to find none.
    steps.push(Box::new(MakeFolder { folder: empty(facts) }));
    steps.push(Box::new(drop_others(facts)?));
    let cache = facts.cache.clone();
    steps.push(Box::new(CheckEntry { cache, name: zig::name()?, reads: |file| file == "zig" }));
    let mut tasks = vec![Task::new("preparing the build of BPF in Rust", steps)];

    // One command for each target, workspace and choice of features.
    type Key<'a> = (&'a str, &'a str, &'a BTreeSet<String>);
    let mut builds: BTreeMap<Key, (&'static BpfTarget, Vec<&Unit>)> = BTreeMap::new();
    for call in &calls {
        let binary = call.unit.rust.as_ref().context("a unit without a package")?;
        let package = facts.config.bpf.rust.iter().find(|package| package.name == binary.package);
        let package = package.context("a unit of a package that is not configured")?;
        for (target, _) in &call.targets {
            let key = (target.name, package.workspace.as_str(), &binary.features);
            builds.entry(key).or_insert((target, Vec::new())).1.push(&call.unit);
        }
    }
    let built = Slot::default();
    for ((_, workspace, features), (target, units)) in builds {
        tasks.push(bitcode(facts, target, workspace, features, &units)?);
    }
    built.put(true)?;
    let sources = &facts.sources;
    let generated = facts.config.generated.iter().filter_map(|pattern| paths::join(&sources.path, pattern)).collect();
    tasks.push(Task::new(
        "checking the sources of BPF in Rust",
        vec![Box::new(Verify { folder: sources.folder.clone(), generated, built })],
    ));
    for Call { unit, shown, object, targets, made } in calls {
        let attempts = targets.into_iter().map(|(target, key)| {
            let module = module(facts, target, &unit.stem);
            (target, key, clang(facts, target, &module, &unit.cpu))
        });
        let compile = CompileBitcode {
            attempts: attempts.collect(),
            source: shown.clone(),
            output: folder(facts).join(&object),
            private: facts.private.clone(),
            made,
        };
        let task = Task::new(format!("compiling {shown} to {object}"), vec![Box::new(compile)]);
        let failure = "cannot compile the BPF objects; the previous ones are untouched";
        tasks.push(task.named(object).beside("rust objects").failure(failure));
    }
    Ok(tasks)
}

/// Has cargo make the bitcode of binaries of a workspace, with the same features, for a target.
fn bitcode(
    facts: &Facts,
    target: &'static BpfTarget,
    workspace: &str,
    features: &BTreeSet<String>,
    units: &[&Unit],
) -> Result<Task> {
    let binaries: Vec<(&Binary, &str)> =
        units.iter().filter_map(|unit| Some((unit.rust.as_ref()?, unit.stem.as_str()))).collect();
    let packages: BTreeSet<&str> = binaries.iter().map(|(binary, _)| binary.package.as_str()).collect();
    let triple = bpf_core::triple(target.endian);
    let (home, to) = (home(facts), target_folder(facts, target));
    let mut environment = facts.build_environment(&home);
    environment.insert(CLOCK.0.into(), CLOCK.1.into());
    // Build scripts of aya's template look for a linker there.
    scripts::put_on_path(&facts.work, &mut environment);
    let tools = tools(facts, target);
    environment.entry("PATH".into()).and_modify(|path| *path = format!("{}:{path}", tools.display()));
    environment.insert(format!("BINDGEN_EXTRA_CLANG_ARGS_{}", triple.replace('-', "_")), bindgen(facts, target)?);
    // BPF needs what is unstable: its instructions in Rust, and more.
    environment.insert("RUSTC_BOOTSTRAP".into(), "1".into());
    if facts.has_packages_beside() {
        let program = facts.work.join(crate_names::PROGRAM);
        environment.insert("RUSTC_WRAPPER".into(), program.to_string_lossy().into_owned());
    }
    let set = |key: &str, value: toml::Value| format!("--config=target.{triple}.{key}={value}");
    let program = tools.join(linker::PROGRAM);
    let command = Command::new(facts.rust.cargo(), Path::new("/"))
        .only(environment)
        .args(["build", "--release", "--locked", "--offline"])
        .args(cargo::FLAGS)
        .args(PROFILE)
        .arg(set("linker", program.to_string_lossy().into_owned().into()))
        .arg(set("rustflags", rustflags(facts, target).into()))
        .arg("--manifest-path")
        .arg(source_root(facts).join(workspace).join("Cargo.toml").to_string_lossy())
        .arg("--target-dir")
        .arg(to.to_string_lossy())
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .args(binaries.iter().flat_map(|(binary, _)| ["--bin", &binary.name]))
        .args(packages.iter().flat_map(|package| words_of(features, package)))
        .args(["--target", triple]);
    // What runs on this machine, build scripts and procedural macros, is the same for all targets.
    let host = Link { file: to.join("release"), to: folder(facts).join(HOST) };
    let members = facts.members.iter().map(|package| package.name.clone()).collect();
    let generated = &facts.config.generated;
    let build = BuildBitcode {
        build: CargoBuild { command, target: to.clone(), within: None },
        keep: binaries.iter().map(|(binary, stem)| (binary.name.clone(), module(facts, target, stem))).collect(),
        target: to.join(triple),
        anew: if generated.is_empty() { Vec::new() } else { members },
        snapshot: facts.sources.folder.clone(),
        sources: sources(facts),
        top: facts.sources.top.clone(),
        ignored: facts.sources.ignored.clone(),
    };
    let mut steps = compiler(facts, target)?;
    steps.extend([Box::new(MakeFolder { folder: to }) as Box<dyn Step>, Box::new(host), Box::new(build)]);
    let with = if features.is_empty() { String::new() } else { format!(" ({})", join(features)) };
    let packages = packages.into_iter().collect::<Vec<_>>().join(", ");
    Ok(Task::new(format!("building {packages}{with} for {target}"), steps)
        .live(target.name)
        .failure("cannot compile the BPF objects; the previous ones are untouched"))
}

/// What a build script finds that compiles C for a target, and what links it.
fn compiler(facts: &Facts, target: &'static BpfTarget) -> Result<Steps> {
    let tools = tools(facts, target);
    let libbpf = facts.bpf.libbpf_folder.as_ref();
    let mut names = site::names(facts, &home(facts), &target_folder(facts, target));
    names.extend(libbpf.map(|_| (headers(facts, target), flags::LIBBPF.into())));
    let recipe = Recipe {
        compiler: facts.cache.path(&zig::name()?),
        cpu: facts.config.bpf.cpu.clone(),
        target: target.name.into(),
        libbpf: libbpf.map(|_| headers(facts, target)),
        names,
        sources: sources(facts).into_iter().chain(libbpf.cloned()).collect(),
    };
    let text = serde_json::to_string_pretty(&recipe)?;
    let mut steps: Steps = vec![Box::new(Write { file: tools.join(shim::FILE), text })];
    if let Some(libbpf) = libbpf {
        steps.push(Box::new(MakeFolder { folder: headers(facts, target) }));
        steps.push(Box::new(Link { file: headers(facts, target).join("bpf"), to: libbpf.clone() }));
    }
    let programs = [linker::PROGRAM, recipe::CLANG, recipe::FORMATTER].map(String::from).into();
    steps.push(Box::new(InstallNames { folder: tools, names: programs }));
    Ok(steps)
}

/// What bindgen tells its own clang: to see the headers that C for this target sees, and none of this machine's.
fn bindgen(facts: &Facts, target: &'static BpfTarget) -> Result<String> {
    let compiler = facts.cache.path(&zig::name()?);
    let arch = ARCHES.iter().find(|arch| target.is_for(arch)).context("a target of no architecture")?;
    let kernel = recipe::headers(&compiler, arch).into_iter().map(PathBuf::from);
    let libbpf = facts.bpf.libbpf_folder.iter().map(|_| headers(facts, target));
    let folders = kernel.chain(libbpf).flat_map(|folder| ["-idirafter".into(), folder.to_string_lossy().into_owned()]);
    let words: Vec<String> = std::iter::once("-nostdlibinc".to_owned()).chain(folders).collect();
    Ok(shlex::try_join(words.iter().map(String::as_str))?)
}

/// Removes what was made with another compiler of C, for cargo does not see that it has to be made again.
fn drop_others(facts: &Facts) -> Result<DropOthers> {
    let libbpf = facts.bpf.libbpf.iter().map(|(name, sha256)| format!(" {name} {sha256}")).collect::<String>();
    let key = hash::bytes(format!("{} {} {}{libbpf}", shim::VERSION, zig::name()?, facts.config.bpf.cpu).as_bytes());
    let folders = TARGETS.iter().map(|target| target_folder(facts, target)).collect();
    Ok(DropOthers { folders, file: folder(facts).join("key"), key: key.to_string() })
}

/// What bitcode may be made of, and the names that build scripts look for.
fn sources(facts: &Facts) -> Vec<PathBuf> {
    let names = facts.bpf.rust.sources.keys().filter_map(|name| paths::join(&facts.config.bpf.folder, name));
    let files = names.map(|path| source_root(facts).join(path));
    // aya's template has its package's script name the linker that it finds.
    files.chain([folder(facts), scripts::folder(&facts.work), facts.cache.folder.clone()]).collect()
}

fn rustflags(facts: &Facts, target: &'static BpfTarget) -> Vec<String> {
    let cpu = &facts.config.bpf.cpu;
    let mut flags = bpf_core::rustflags(cpu).to_vec();
    flags.push(UNSTABLE.into());
    flags.push(Core::new(target.endian, cpu, &facts.rust).rustflag(&facts.cache));
    // Else aya-ebpf takes the registers of the machine that it is compiled on.
    flags.extend(rust_arch(target).map(|arch| format!("--cfg=bpf_target_arch=\"{arch}\"")));
    let names = site::names(facts, &home(facts), &target_folder(facts, target));
    flags.extend(names.into_iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
    flags
}

fn clang(facts: &Facts, target: &BpfTarget, module: &Path, cpu: &str) -> Command {
    let zig_cache = facts.work.join("zig-cache");
    let compiler = facts.cache.path(&zig::name().unwrap_or_default());
    Command::new(compiler.join("zig"), &empty(facts))
        .only(BTreeMap::new())
        .env(CLOCK.0, CLOCK.1)
        .env("ZIG_LOCAL_CACHE_DIR", zig_cache.to_string_lossy())
        .env("ZIG_GLOBAL_CACHE_DIR", zig_cache.to_string_lossy())
        .args(["clang", "-target", target.endian.bpf_target(), &format!("-mcpu={cpu}")])
        .args(CLANG)
        .arg("-c")
        .arg(module.to_string_lossy())
        .args(["-o", "-"])
}

/// The folder of all that this makes.
fn folder(facts: &Facts) -> PathBuf {
    facts.work.join("bpf-rust")
}

fn home(facts: &Facts) -> PathBuf {
    folder(facts).join("cargo-home")
}

const HOST: &str = "host";

fn empty(facts: &Facts) -> PathBuf {
    folder(facts).join("empty")
}

/// The folder of the programs that are for one target.
fn tools(facts: &Facts, target: &BpfTarget) -> PathBuf {
    folder(facts).join("tools").join(target.name)
}

/// The folder in which `bpf` is that of libbpf's headers.
fn headers(facts: &Facts, target: &BpfTarget) -> PathBuf {
    tools(facts, target).join("include")
}

fn target_folder(facts: &Facts, target: &BpfTarget) -> PathBuf {
    folder(facts).join(target.name)
}

/// Where what rustc's linker hands on is kept: cargo has one place for whatever features.
fn module(facts: &Facts, target: &BpfTarget, stem: &str) -> PathBuf {
    folder(facts).join("modules").join(target.name).join(stem)
}

/// How cargo is told which features a package is to have.
fn words_of<'a>(features: &'a BTreeSet<String>, package: &'a str) -> impl Iterator<Item = String> + 'a {
    features.iter().flat_map(move |feature| match feature.as_str() {
        NO_DEFAULT => vec![NO_DEFAULT.to_owned()],
        feature => vec!["--features".into(), format!("{package}/{feature}")],
    })
}

fn join(features: &BTreeSet<String>) -> String {
    features.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
