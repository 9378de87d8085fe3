//! What will be compiled, and how, as data.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use bpfship_object::Object;

use crate::arch::Endian;
use crate::bpf::container::{self, CONTAINERFILE, Container, Place};
use crate::bpf::dependencies;
use crate::bpf::facts::{COMPILER_FOLDER, flags, other_arches, reads};
use crate::bpf::run::{CheckImage, CompareObjects, CompileObject, WriteObjects};
use crate::bpf::target::BpfTarget;
use crate::build::plan::source_root;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::hash;
use crate::sys::plan::{Slot, Steps, Task};
use crate::sys::steps::{CheckEntry, Copy, Remove, Run, Sweep, Write};
use crate::toolchain::plan::Needs;
use crate::toolchain::{self, zig};
use crate::workspace::facts::Facts;

/// Where the sources are in the container.
const SOURCES: &str = "/src";

/// The user `nobody`: neither root nor a user of any machine.
const USER: &str = "65534:65534";

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
    /// By file name.
    pub objects: BTreeMap<String, Slot<Object>>,
}

/// What must be there before anything is compiled.
pub fn needs(place: &Place) -> Needs {
    Needs { zig: place.needs_compiler(), image: place.pulls(), ..Needs::default() }
}

/// Everything that one run of `bpf` does.
pub fn bpf(facts: &Facts, place: &Place, end: End) -> Result<Plan> {
    let mut tasks = toolchain::plan::tasks(&needs(place), facts)?;
    let compile = compile(facts, place, end, None)?;
    tasks.extend(compile.tasks);
    Ok(Plan { tasks, objects: compile.objects })
}

/// Compiles all objects; if that is for a reason, it is printed.
pub fn compile(facts: &Facts, place: &Place, end: End, reason: Option<&str>) -> Result<Plan> {
    let (inputs, bpf) = (&facts.bpf, &facts.config.bpf);
    let folder = source_root(facts).join(&bpf.folder);
    let stage = facts.work.join("bpf");
    let compiler = facts.cache.path(&zig::name()?);
    // Inside a container, the compiler is at the top.
    let prefix = match place {
        Place::Host => compiler.to_string_lossy().into_owned(),
        Place::Container(_) => String::new(),
    };

    // By which command: with the headers of one architecture, then with those of the others that the object is for.
    let sources = inputs.jobs();
    let arguments = |source: &str, target: &BpfTarget, headers: &str| {
        let flags = flags(bpf, target, headers);
        let mut words: Vec<String> = flags.iter().map(|flag| flag.replace(COMPILER_FOLDER, &prefix)).collect();
        words.extend(dependencies::FLAGS.map(String::from));
        words.extend(["-c", &format!("{}/{source}", bpf.folder), "-o", "-"].map(String::from));
        words
    };
    let mut clang: Vec<Vec<String>> = Vec::new();
    for (source, target, _) in &sources {
        clang.push(arguments(source, target, target.headers));
        clang.extend(other_arches(bpf, target).map(|arch| {
            let mut words = arguments(source, target, arch.linux_headers);
            // mips' <asm/byteorder.h> wants to know what its compilers define.
            words.extend((target.endian == Endian::Big).then(|| "-D__MIPSEB__".into()));
            words
        }));
    }
    let container = match place {
        Place::Host => None,
        Place::Container(container) => Some(contained(container, &stage, &facts.work, &compiler, &facts.cache, &clang)),
    };
    // What may be read in addition to the sources: headers of ours, or whatever an image of the user's has.
    let headers = if bpf.image.is_some() { "/".into() } else { format!("{prefix}/lib") };
    let commands: Vec<Command> = match &container {
        Some(container) => container.commands.clone(),
        None => {
            let zig_cache = facts.work.join("zig-cache");
            let command = |arguments: &Vec<String>| {
                Command::new(compiler.join("zig"), &stage)
                    .only(BTreeMap::new())
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
    for source in inputs.programs_below() {
        let title = format!("{0}/{source} gives no object, for it is not in {0} itself", bpf.folder);
        tasks.push(Task::new(title, Vec::new()).announced());
    }
    let mut objects = BTreeMap::new();
    let mut commands = commands.into_iter();
    for (source, target, object) in sources {
        let made: Slot<Object> = objects.entry(object.clone()).or_insert_with(Slot::default).clone();
        let source = format!("{}/{source}", bpf.folder);
        let output = stage.join(&object);
        let mut command = || commands.next().context("an object without a command");
        let compile = CompileObject {
            command: command()?,
            others: other_arches(bpf, target).map(|arch| Ok((arch, command()?))).collect::<Result<_>>()?,
            source,
            target,
            headers: headers.clone(),
            ignored: facts.sources.ignored.clone(),
            output,
            made,
        };
        let task = Task::new(format!("compiling {} to {object}", compile.source), vec![Box::new(compile)]);
        tasks.push(
            task.named(object)
                .beside("objects")
                .failure("cannot compile the BPF objects; the previous ones are untouched"),
        );
    }
    tasks.extend(after);
    tasks.push(match end {
        End::Write | End::WriteAndBuild => {
            let folder = facts.root.join(&bpf.folder);
            let snapshot = (end == End::WriteAndBuild)
                .then(|| (facts.sources.folder.clone(), facts.sources.in_repository(&bpf.folder)));
            let write = WriteObjects { folder, snapshot, inputs: inputs.lines(bpf), objects: objects.clone() };
            Task::new("writing the BPF objects", vec![Box::new(write)])
        }
        End::Compare => {
            let out_of_date = facts.bpf.stale(bpf).map(|reason| match inputs.lock {
                Some(_) => format!("{}/bpf.lock is out of date: {reason}", bpf.folder),
                None => reason,
            });
            let shown = bpf.folder.clone();
            let compare = CompareObjects { folder, shown, objects: objects.clone(), out_of_date };
            Task::new("comparing the BPF objects with those that are there", vec![Box::new(compare)])
        }
    });
    Ok(Plan { tasks, objects })
}

/// Makes a folder that contains nothing but what the compiler may see.
fn lay_out(facts: &Facts) -> Steps {
    let (inputs, bpf) = (&facts.bpf, &facts.config.bpf);
    let (folder, stage) = (source_root(facts).join(&bpf.folder), facts.work.join("bpf"));
    let mut steps: Steps = vec![Box::new(Remove { folder: stage.clone() })];
    for (name, sha256) in &inputs.sources {
        let to = stage.join(&bpf.folder).join(name);
        steps.push(Box::new(Copy { from: folder.join(name), to, sha256: *sha256 }));
    }
    if let Some(headers) = &inputs.libbpf_folder {
        for (name, sha256) in &inputs.libbpf {
            let to = stage.join("libbpf/bpf").join(name);
            steps.push(Box::new(Copy { from: headers.join(name), to, sha256: *sha256 }));
        }
    }
    steps
}

/// What compiling in a container takes.
#[derive(Debug)]
struct Contained {
    /// Get the image, if the engine does not have it, and make a volume with the sources in it.
    before: Vec<Task>,
    /// What compiles each object.
    commands: Vec<Command>,
    /// Removes containers and volume.
    after: Vec<Task>,
}

/// Plans to have everything in `stage` compiled in containers: one for each list of clang's arguments.
/// Nothing of this machine is mounted: the sources are copied into a volume, so it is all the same where the engine's
/// daemon runs, and how its folders are labelled.
fn contained(
    container: &Container,
    stage: &Path,
    work: &Path,
    compiler: &Path,
    cache: &Cache,
    clang: &[Vec<String>],
) -> Contained {
    let engine = || container.engine.kind.command(stage.parent().unwrap_or(stage));
    // One workspace's runs wait for each other, so the name is ours alone.
    let volume = format!("bpfship-bpf-{:.16}", hash::bytes(stage.as_os_str().as_encoded_bytes()));

    let mut get: Steps = Vec::new();
    if !container.present && container.theirs {
        get.push(Box::new(Run(engine().args(["pull", "--quiet", &container.image]))));
        get.push(Box::new(CheckImage { container: container.clone(), folder: work.into(), record: None }));
    } else if !container.present {
        let file = work.join("Containerfile");
        get.push(Box::new(Write { file: file.clone(), text: CONTAINERFILE.into() }));
        let build = engine().args(["build", "--quiet", "--network", "none", "--tag", &container.image, "--file"]);
        get.push(Box::new(Run(build.arg(file.to_string_lossy()).arg(compiler.to_string_lossy()))));
        let record = Some(container::record(cache, container.engine.kind, &container.image));
        get.push(Box::new(CheckImage { container: container.clone(), folder: work.into(), record }));
    }

    let mut names = vec![volume.clone()];
    let mut commands = Vec::new();
    for (number, arguments) in clang.iter().enumerate() {
        // A source may have a name that no container can have.
        let name = format!("{volume}-{number}");
        let mut command = engine()
            .args(["run", "--rm", "--name", &name, "--pull", "never", "--network", "none", "--read-only"])
            .args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--sig-proxy=false"]);
        if container.engine.has_users {
            command = command.args(["--user", USER]);
        }
        // Read-only, and with a label that SELinux lets containers read.
        command = command.args(["--volumes-from", &format!("{volume}:ro,z"), "--workdir", SOURCES, &container.image]);
        commands.push(command.args(arguments.clone()));
        names.push(name);
    }

    // The container with the volume is never started.
    let create = engine().args(["create", "--name", &volume, "--pull", "never", "--network", "none"]);
    let sweep = engine().args(["rm", "--force", "--volumes"]).args(container.engine.kind.ignore_missing()).args(names);
    let fill: Steps = vec![
        // What an earlier run left.
        Box::new(Sweep(sweep.clone())),
        // Whatever the umask of this machine's user is, the user `nobody` must be able to read them.
        Box::new(Run(Command::new("chmod", stage).args(["-R", "a+rX", "."]))),
        Box::new(Run(create.args(["--volume", SOURCES, &container.image, "--version"]))),
        Box::new(Run(engine().arg("cp").arg(format!("{}/.", stage.display())).arg(format!("{volume}:{SOURCES}")))),
    ];
    let mut before = Vec::new();
    if !get.is_empty() {
        let title = "getting the image of the compiler (once)";
        before.push(Task::new(title, get).announced().failure("cannot get the image of the compiler"));
    }
    let title = "giving a container the sources";
    before.push(Task::new(title, fill).failure("cannot give a container the sources"));
    let after = vec![Task::new("removing the containers", vec![Box::new(Sweep(sweep))]).always()];
    Contained { before, commands, after }
}
