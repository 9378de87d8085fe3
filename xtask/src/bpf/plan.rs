//! What will be compiled, and how, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use bpfship_object::OBJECT_FORMAT_VERSION;
use serde_json::{Value, json};

use crate::arch::{ARCHES, Arch, Endian};
use crate::bpf::contained::{self, contained};
use crate::bpf::container::Place;
use crate::bpf::dependencies;
use crate::bpf::facts::{COMPILED, From, Staged, compiler, reads};
use crate::bpf::flags::{self, COMPILER_FOLDER, LIBBPF, LIBC, VMLINUX, Vmlinux};
use crate::bpf::paths;
use crate::bpf::records::Record;
use crate::bpf::results::run::{CompareObjects, WriteObjects};
use crate::bpf::run::{Attempt, Compile, Settle};
use crate::bpf::rust;
use crate::bpf::settle::{Compiled, Part, Piece, Settled};
use crate::bpf::target::{BpfTarget, ObjectName};
use crate::bpf::units::{Binary, Unit};
use crate::build::plan::source_root;
use crate::build::unported;
use crate::sys::command::Command;
use crate::sys::hash::{self, Sha256};
use crate::sys::plan::{Slot, Steps, Task};
use crate::sys::steps::{CheckEntry, Copy, Remove, Write};
use crate::toolchain::plan::Needs;
use crate::toolchain::{self, zig};
use crate::workspace::config::Bpf;
use crate::workspace::facts::Facts;

/// What is done with objects that were compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// They are written to their places.
    Write,
    /// They are written there and to the snapshot, from which they will be built.
    WriteAndBuild,
    /// They are compared with those that are there, and nothing is written.
    Compare,
}

/// What is compiled, and what comes out of it.
#[derive(Debug)]
pub struct Plan {
    pub tasks: Vec<Task>,
    pub settled: Slot<Settled>,
}

/// What must be there before anything is compiled.
pub fn needs(facts: &Facts, place: &Place, pending: &Pending) -> Needs {
    let rust = pending.calls.iter().filter(|call| call.unit.rust.is_some());
    let cores = rust::plan::cores(facts, rust.flat_map(|call| call.targets.iter().copied()));
    // What is made of Rust's bitcode is made on the host.
    let zig = place.needs_compiler() || !cores.is_empty();
    Needs { zig, image: place.pulls(), cores, ..Needs::default() }
}

/// Everything that one run of `bpf` does about what the workspace's sources give.
pub fn bpf(facts: &Facts, place: &Place, end: End, pending: Pending) -> Result<Plan> {
    let mut tasks = Vec::new();
    if pending.is_any() {
        tasks = toolchain::plan::tasks(&needs(facts, place, &pending), facts)?;
    }
    let compile = compile(facts, place, end, pending, None)?;
    tasks.extend(compile.tasks);
    Ok(Plan { tasks, settled: compile.settled })
}

/// What the workspace's sources give, and what of it must be compiled for that.
#[derive(Debug)]
pub struct Pending {
    parts: Vec<Part>,
    calls: Vec<Call>,
    units: Vec<Unit>,
    /// The hashes of all files that clang may see.
    staged: BTreeMap<String, Sha256>,
    /// Of the names of those that may be included.
    names: Sha256,
}

impl Pending {
    /// Whether anything must be compiled.
    pub fn is_any(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Whether any of it is written in C.
    pub fn is_any_c(&self) -> bool {
        self.calls.iter().any(|call| call.unit.rust.is_none())
    }

    /// Whether any of it is written in Rust.
    pub fn is_any_rust(&self) -> bool {
        self.calls.iter().any(|call| call.unit.rust.is_some())
    }
}

/// A source, and the ways to compile it: for a byte order, and if that depends on the architecture, for each of those.
#[derive(Debug)]
struct Call {
    unit: Unit,
    shown: String,
    targets: Vec<&'static BpfTarget>,
    made: Slot<Vec<Compiled>>,
}

/// Finds out what the workspace's sources give.
pub fn pending(facts: &Facts) -> Result<Pending> {
    let (inputs, bpf) = (&facts.bpf, &facts.config.bpf);
    let root = source_root(facts);
    let staged: BTreeMap<String, Sha256> =
        inputs.staged(root, bpf).into_iter().map(|(path, staged)| (path, staged.sha256)).collect();
    let units = inputs.units(bpf);
    let names = names_of_headers(&staged, &units, bpf);
    let (mut parts, mut calls) = (Vec::new(), Vec::new());
    for unit in &units {
        let variant = units.iter().find(|other| other.source == unit.source).filter(|first| *first != unit);
        let path = paths::join(&bpf.folder, &unit.source).context("a source without a path")?;
        let shown = match variant.and_then(|first| unit.stem.strip_prefix(&format!("{}_", first.stem))) {
            Some(variant) => format!("{path} ({variant})"),
            None => path,
        };
        for endian in Endian::ALL {
            let configured: Vec<&'static Arch> =
                facts.config.arches.iter().filter(|arch| arch.endian == endian && unit.is_for(arch)).copied().collect();
            if configured.is_empty() {
                continue;
            }
            let all = BpfTarget::of_byte_order(endian);
            let record = |target| inputs.records.valid(unit, target, &key(facts, unit, target, &names), &staged);
            // The object that an earlier run made, if it still lies somewhere.
            let kept = |target: &'static BpfTarget, record: Option<&Record>| {
                let kept = record?.object?;
                let checked_in = inputs.objects.iter().find(|(_, sha256)| **sha256 == kept.sha256);
                let file = match checked_in {
                    Some((name, _)) => root.join(&bpf.folder).join("objects").join(name),
                    None if inputs.compiled.contains(&kept.sha256) => {
                        facts.work.join(COMPILED).join(kept.sha256.to_string())
                    }
                    None => return None,
                };
                Some(Piece::Kept(target, kept, file))
            };
            let mut call = |targets: Vec<&'static BpfTarget>| {
                let made = Slot::default();
                calls.push(Call { unit: unit.clone(), shown: shown.clone(), targets, made: Slot::clone(&made) });
                Piece::Made(made)
            };
            let mut targets = targets_of(configured.iter().copied());
            let known = record(all);
            // Crates choose registers for an architecture at compile time.
            let depends = unit.rust.is_some()
                || inputs.hinted.contains(&unit.source)
                || known.is_some_and(|record| record.object.is_none());
            // One object may stand for all if it does for those that are not shipped, too: anybody may name them with --arch.
            let whole = Arch::defaults().filter(|arch| arch.endian == endian).all(|arch| configured.contains(&arch));
            let compiles = |arch: &Arch| unit.rust.is_none() || unported::has_rust_bpf(arch);
            let mut compared =
                targets_of(ARCHES.iter().filter(|arch| whole && arch.endian == endian && compiles(arch)));
            compared.retain(|target| !targets.contains(target));
            targets.extend(&compared);
            let pieces = match (depends, kept(all, known)) {
                (false, Some(piece)) => vec![piece],
                (false, None) => vec![call([vec![all], targets].concat())],
                (true, _) => targets
                    .into_iter()
                    .map(|target| kept(target, record(target)).unwrap_or_else(|| call(vec![target])))
                    .collect(),
            };
            parts.push(Part { unit: unit.clone(), shown: shown.clone(), all, whole, compared, pieces });
        }
    }
    Ok(Pending { parts, calls, units, staged, names })
}

/// The targets for these architectures only. Several may have the same.
fn targets_of(arches: impl Iterator<Item = &'static Arch>) -> Vec<&'static BpfTarget> {
    let mut targets: Vec<&'static BpfTarget> = Vec::new();
    for target in arches.map(BpfTarget::only_for) {
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

/// A hash of the names of all files that may be included: a new one may be found before another.
fn names_of_headers(staged: &BTreeMap<String, Sha256>, units: &[Unit], bpf: &Bpf) -> Sha256 {
    let sources: BTreeSet<String> = units.iter().filter_map(|unit| paths::join(&bpf.folder, &unit.source)).collect();
    let names: Vec<&str> = staged.keys().filter(|name| !sources.contains(*name)).map(String::as_str).collect();
    hash::bytes(names.join("\n").as_bytes())
}

/// What an object depends on besides the files that clang reads.
fn key(facts: &Facts, unit: &Unit, target: &BpfTarget, names: &Sha256) -> Sha256 {
    let bpf = &facts.config.bpf;
    let words = match &unit.rust {
        Some(Binary { package, name, features }) => {
            // A build script may compile C that includes libbpf's headers.
            let libbpf: String = facts.bpf.libbpf.values().map(|sha256| format!(" {sha256}")).collect();
            let features: String = features.iter().map(|feature| format!(" {feature}")).collect();
            format!("{package} {name}{features} {target}{libbpf}\n{}", facts.bpf.rust.lines(bpf).join("\n"))
        }
        None => arguments(facts, unit, target).join("\n"),
    };
    hash::bytes(format!("{}\n{OBJECT_FORMAT_VERSION}\n{names}\n{words}", compiler(bpf)).as_bytes())
}

/// clang's arguments for a source and a target.
fn arguments(facts: &Facts, unit: &Unit, target: &BpfTarget) -> Vec<String> {
    let mut words = clang_words(facts, unit, target);
    words.extend(dependencies::FLAGS.map(String::from));
    words.extend(["-o", "-"].map(String::from));
    words
}

/// The same without what says where its words and its object go.
fn clang_words(facts: &Facts, unit: &Unit, target: &BpfTarget) -> Vec<String> {
    let bpf = &facts.config.bpf;
    let layouts = &facts.bpf.layouts;
    let vmlinux = match layouts.files.keys().any(|name| target.arch_word == Some(Arch::named(name).linux)) {
        true if layouts.are_chosen => Vmlinux::Last,
        true => Vmlinux::First,
        false => Vmlinux::Nowhere,
    };
    let mut words = flags::of(bpf, unit, target, vmlinux);
    words.extend(["-c".into(), paths::join(&bpf.folder, &unit.source).unwrap_or_default()]);
    words
}

/// Compiles what has changed; if that is for a reason, it is printed.
pub fn compile(facts: &Facts, place: &Place, end: End, pending: Pending, reason: Option<&str>) -> Result<Plan> {
    let (inputs, bpf) = (&facts.bpf, &facts.config.bpf);
    let root = source_root(facts);
    let Pending { parts, calls, units, staged, names } = pending;
    let mut tasks = Vec::new();
    let (rust, calls): (Vec<Call>, Vec<Call>) = calls.into_iter().partition(|call| call.unit.rust.is_some());
    if !calls.is_empty() {
        tasks.extend(clang(facts, place, calls, &names, reason)?);
    }
    if !rust.is_empty() {
        let calls = rust.into_iter().map(|Call { unit, shown, targets, made }| {
            let object = ObjectName { stem: unit.stem.clone(), target: targets[0] }.to_string();
            let targets = targets.into_iter().map(|target| (target, key(facts, &unit, target, &names))).collect();
            rust::plan::Call { unit, shown, object, targets, made }
        });
        tasks.extend(rust::plan::tasks(facts, calls.collect())?);
    }
    let settled = Slot::default();
    let settle = Settle {
        parts,
        units,
        staged,
        records: inputs.records.clone(),
        work: facts.work.clone(),
        layouts: inputs.layouts.clone(),
        targets: targets_of(facts.config.arches.iter().copied()).len(),
        folder: bpf.folder.clone(),
        ignored: facts.sources.ignored.clone(),
        settled: Slot::clone(&settled),
    };
    tasks.push(Task::new("bringing together what was compiled", vec![Box::new(settle)]));
    let result = Slot::clone(&settled);
    tasks.push(match end {
        End::Write | End::WriteAndBuild => {
            let snapshot = (end == End::WriteAndBuild)
                .then(|| (facts.sources.folder.clone(), facts.sources.in_repository(&bpf.folder)));
            let (folder, checked_in) = (facts.root.join(&bpf.folder), root.join(&bpf.folder));
            let (inputs, config) = (inputs.lines(bpf), bpf.clone());
            let write = WriteObjects { folder, checked_in, snapshot, inputs, config, settled: result };
            Task::new("writing the BPF objects", vec![Box::new(write)])
        }
        End::Compare => {
            let out_of_date = facts.bpf.stale(&facts.config).map(|reason| match inputs.lock {
                Some(_) => format!("{}/bpf.lock is out of date: {reason}", bpf.folder),
                None => reason,
            });
            let out_of_date = out_of_date.or_else(|| facts.bpf.btf_fault(bpf));
            let (folder, shown) = (root.join(&bpf.folder), bpf.folder.clone());
            let compare = CompareObjects { folder, shown, settled: result, config: bpf.clone(), out_of_date };
            Task::new("comparing the BPF objects with those that are there", vec![Box::new(compare)])
        }
    });
    Ok(Plan { tasks, settled })
}

/// What lays out the sources, and compiles them.
fn clang(facts: &Facts, place: &Place, calls: Vec<Call>, names: &Sha256, reason: Option<&str>) -> Result<Vec<Task>> {
    let bpf = &facts.config.bpf;
    let (top, stage) = (facts.work.join("bpf"), stage(facts));
    let compiler = facts.cache.path(&zig::name()?);
    // Inside a container, the compiler is at the top.
    let prefix = match place {
        Place::Host => compiler.to_string_lossy().into_owned(),
        Place::Container(_) => String::new(),
    };
    let clang: Vec<Vec<String>> = calls
        .iter()
        .flat_map(|call| call.targets.iter().map(|target| arguments(facts, &call.unit, target)))
        .map(|words| words.iter().map(|word| word.replace(COMPILER_FOLDER, &prefix)).collect())
        .collect();
    let container = match place {
        Place::Host => None,
        Place::Container(container) => Some(contained(container, facts, &compiler, &clang)),
    };
    let commands: Vec<Command> = match &container {
        Some(container) => container.commands.clone(),
        None => {
            let zig_cache = facts.work.join("zig-cache");
            let command = |arguments: &Vec<String>| {
                Command::new(compiler.join("zig"), &stage)
                    .only(BTreeMap::new())
                    .env(flags::CLOCK.0, flags::CLOCK.1)
                    // It wants a folder to search, although it needs nothing from it.
                    .env("ZIG_LOCAL_CACHE_DIR", zig_cache.to_string_lossy())
                    .env("ZIG_GLOBAL_CACHE_DIR", zig_cache.to_string_lossy())
                    .arg("clang")
                    .args(arguments.clone())
            };
            clang.iter().map(command).collect()
        }
    };

    let mut steps = lay_out(facts);
    if place.needs_compiler() {
        steps.insert(0, Box::new(CheckEntry { cache: facts.cache.clone(), name: zig::name()?, reads }));
    }
    let mut tasks = vec![match reason {
        Some(reason) => Task::new(format!("compiling the BPF objects again: {reason}"), steps).announced(),
        None => Task::new("laying out what the compiler may see", steps),
    }];
    let (before, after) = container.map(|container| (container.before, container.after)).unwrap_or_default();
    tasks.extend(before);
    let mut commands = commands.into_iter();
    for Call { unit, shown, targets, made } in calls {
        let first = targets[0];
        let object = ObjectName { stem: unit.stem.clone(), target: first }.to_string();
        let attempts = targets.into_iter().map(|target| {
            let command = commands.next().context("a target without a command")?;
            Ok(Attempt { target, command, key: key(facts, &unit, target, names) })
        });
        let compile = Compile {
            attempts: attempts.collect::<Result<_>>()?,
            source: shown,
            above: facts.sources.above(),
            stage: stage.clone(),
            folder: match place {
                Place::Host => stage.to_string_lossy().into_owned(),
                Place::Container(_) => contained::folder(facts),
            },
            // What may be read in addition to the sources: headers of ours, or whatever an image of the user's has.
            headers: if bpf.image.is_some() { "/".into() } else { format!("{prefix}/lib") },
            image: bpf.image.is_some(),
            may_differ: !facts.config.arches.iter().any(|arch| arch.linux_headers == first.headers),
            asking: facts.bpf.asking.clone(),
            layouts: !facts.bpf.layouts.files.is_empty(),
            output: top.join(&object),
            made,
        };
        let task = Task::new(format!("compiling {} to {object}", compile.source), vec![Box::new(compile)]);
        let failure = "cannot compile the BPF objects; the previous ones are untouched";
        tasks.push(task.named(object).beside("objects").failure(failure));
    }
    tasks.extend(after);
    Ok(tasks)
}

/// Lays out what clang may see, and writes for editors how it is called: in the workspace, for the first architecture.
pub fn compile_commands(facts: &Facts) -> Result<Vec<Task>> {
    let compiler = facts.cache.path(&zig::name()?);
    let stage = stage(facts);
    let word = |word: &String| match word.as_str() {
        LIBBPF | LIBC => stage.join(word).to_string_lossy().into_owned(),
        word if word.starts_with(&format!("-I{VMLINUX}/")) => format!("-I{}", stage.join(&word[2..]).display()),
        word => word.replace(COMPILER_FOLDER, &compiler.to_string_lossy()),
    };
    let target = facts.config.arches.first().map(|arch| BpfTarget::only_for(arch)).context("no architecture")?;
    let units = facts.bpf.units(&facts.config.bpf).into_iter().filter(|unit| unit.rust.is_none());
    let entries = units.map(|unit| {
        let file = paths::join(&facts.config.bpf.folder, &unit.source).unwrap_or_default();
        let words = clang_words(facts, &unit, target);
        let arguments: Vec<String> = std::iter::once("clang".into()).chain(words.iter().map(word)).collect();
        json!({ "directory": facts.root, "file": file, "output": format!("{}.o", unit.stem), "arguments": arguments })
    });
    let text = format!("{:#}\n", Value::Array(entries.collect()));
    let file = facts.root.join("compile_commands.json");
    let title = format!("writing {}", file.display());
    Ok(vec![
        Task::new("laying out what the compiler may see", lay_out(facts)),
        Task::new(title, vec![Box::new(Write { file, text })]).announced(),
    ])
}

/// Where clang runs: the place of the workspace in a folder that has the place of the repository.
fn stage(facts: &Facts) -> PathBuf {
    match facts.sources.path.as_str() {
        "" => facts.work.join("bpf"),
        path => facts.work.join("bpf").join(path),
    }
}

/// Makes a folder that contains nothing but what the compiler may see.
fn lay_out(facts: &Facts) -> Steps {
    let top = facts.work.join("bpf");
    let mut steps: Steps = vec![Box::new(Remove { folder: top.clone() })];
    for (path, Staged { from, sha256 }) in facts.bpf.staged(source_root(facts), &facts.config.bpf) {
        let to = top.join(paths::join(&facts.sources.path, &path).unwrap_or(path));
        steps.push(match from {
            From::File(from) => Box::new(Copy { from, to, sha256 }),
            From::Text(text) => Box::new(Write { file: to, text: text.into() }),
        });
    }
    steps
}
