//! What will be compiled, and how, as data.

use super::container;
use super::engine::Place;
use super::facts::{COMPILER_FOLDER, flags};
use crate::arch::Endian;
use crate::sys::command::Command;
use crate::sys::step::{Step, quote};
use crate::toolchain::zig;
use crate::workspace::facts::Facts;
use anyhow::Result;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// What will be compiled, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The BPF folder.
    pub folder: PathBuf,
    /// What makes a folder that holds nothing but what the compiler may see.
    pub stage: Vec<Step>,
    /// What a container needs besides; none if clang runs on this machine itself.
    pub container: Option<container::Plan>,
    pub jobs: Vec<Job>,
    /// What is done with the objects.
    pub end: End,
    /// The lines of the lock file that tell the inputs.
    pub inputs: BTreeSet<String>,
}

/// What is done with objects that were compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// They are written to their places.
    Write,
    /// They are compared with those that are there, and nothing is written.
    Compare,
}

/// One object to compile. The command prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Job {
    /// The source, as the user knows it: relative to the workspace.
    pub source: String,
    pub endian: Endian,
    pub object: String,
    /// clang's own arguments.
    #[serde(skip)]
    pub clang: Vec<String>,
    pub command: Command,
}

/// Plans to compile everything, and to write it.
pub fn plan(facts: &Facts, place: &Place) -> Result<Plan> {
    let (inputs, bpf) = (&facts.bpf, &facts.config.bpf);
    let folder = facts.root.join(&bpf.folder);
    let stage = facts.work.join("bpf");
    let copy = |folder: &Path, to: &str, (name, sha256): (&String, &String)| Step::Copy {
        from: folder.join(name),
        to: stage.join(to).join(name),
        sha256: sha256.clone(),
    };
    let mut steps = vec![Step::Remove { folder: stage.clone() }];
    steps.extend(inputs.sources.iter().map(|source| copy(&folder, &bpf.folder, source)));
    if let Some(headers) = &inputs.libbpf_folder {
        steps.extend(inputs.libbpf.iter().map(|header| copy(headers, "libbpf/bpf", header)));
    }
    let compiler = facts.cache.path(&zig::name()?);
    let prefix = match place {
        Place::Host => compiler.to_string_lossy().into_owned(),
        Place::Container(_) => String::new(),
    };
    let job = |(source, endian, object): (String, Endian, String)| {
        let source = format!("{}/{source}", bpf.folder);
        let mut clang: Vec<String> =
            flags(bpf, endian).iter().map(|flag| flag.replace(COMPILER_FOLDER, &prefix)).collect();
        clang.extend(["-c", &source, "-o", "-"].map(String::from));
        let command = Command::new(compiler.join("zig"), &stage)
            .only(BTreeMap::new())
            // It needs a place to look for things that it has no need of.
            .env("ZIG_LOCAL_CACHE_DIR", facts.work.join("zig-cache").to_string_lossy())
            .env("ZIG_GLOBAL_CACHE_DIR", facts.work.join("zig-cache").to_string_lossy())
            .arg("clang")
            .args(clang.clone());
        Job { source, endian, object, clang, command }
    };
    let mut jobs: Vec<Job> = inputs.jobs().into_iter().map(job).collect();
    let container = match place {
        Place::Host => None,
        Place::Container(container) => Some(container::plan(container, &stage, &facts.work, &compiler, &mut jobs)),
    };
    Ok(Plan { folder, stage: steps, container, jobs, end: End::Write, inputs: inputs.lines(bpf) })
}

impl Plan {
    /// Whether it runs our compiler on this machine, or builds an image around it.
    pub fn reads_compiler(&self) -> bool {
        self.container.as_ref().is_none_or(|container| container.builds)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.stage {
            writeln!(f, "{step}")?;
        }
        if let Some(container) = &self.container {
            writeln!(f, "{} || true", container.sweep)?;
            for step in container.get.iter().chain(&container.fill) {
                writeln!(f, "{step}")?;
            }
        }
        for job in &self.jobs {
            writeln!(f, "{} >{}", job.command, quote(&job.command.folder.join(&job.object)))?;
        }
        if let Some(container) = &self.container {
            writeln!(f, "{} || true", container.sweep)?;
        }
        let end = match self.end {
            End::Write => "write to",
            End::Compare => "compare with",
        };
        writeln!(
            f,
            "# drop debug information, bring types into one form, check, and {end} {}/objects",
            self.folder.display()
        )
    }
}
