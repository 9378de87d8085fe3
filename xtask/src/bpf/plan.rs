//! What will be compiled, and how, as data.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bpfship_object::Object;

use crate::arch::Endian;
use crate::bpf::container;
use crate::bpf::dependencies;
use crate::bpf::engine::Place;
use crate::bpf::facts::{COMPILER_FOLDER, flags, other_arches, reads};
use crate::bpf::run::{CompareObjects, CompileObject, WriteObjects};
use crate::bpf::target::BpfTarget;
use crate::sys::command::Command;
use crate::sys::plan::{Slot, Steps, Task};
use crate::sys::steps::{CheckEntry, Copy, Remove};
use crate::toolchain::{self, Needs, zig};
use crate::workspace::facts::Facts;

/// What is done with objects that were compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// They are written to their places.
    Write,
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
    let mut tasks = toolchain::plan(&needs(place), facts)?;
    let compile = compile(facts, place, end, None)?;
    tasks.extend(compile.tasks);
    Ok(Plan { tasks, objects: compile.objects })
}

/// Compiles all objects; if that is for a reason, it is printed.
pub fn compile(facts: &Facts, place: &Place, end: End, reason: Option<&str>) -> Result<Plan> {
    let (inputs, bpf) = (&facts.bpf, &facts.config.bpf);
    let folder = facts.root.join(&bpf.folder);
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
        Place::Container(container) => {
            Some(container::plan(container, &stage, &facts.work, &compiler, &facts.cache, &clang))
        }
    };
    // What may be read besides the sources: headers of ours, or whatever an image of the user's has.
    let headers = if bpf.image.is_some() { "/".into() } else { format!("{prefix}/lib") };
    let commands: Vec<Command> = match &container {
        Some(container) => container.commands.clone(),
        None => {
            let zig_cache = facts.work.join("zig-cache");
            let command = |arguments: &Vec<String>| {
                Command::new(compiler.join("zig"), &stage)
                    .only(BTreeMap::new())
                    // It needs a place to look for things that it has no need of.
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
        End::Write => {
            let write = WriteObjects { folder, inputs: inputs.lines(bpf), objects: objects.clone() };
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
    let (folder, stage) = (facts.root.join(&bpf.folder), facts.work.join("bpf"));
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
