//! clang in a container: the image around the pinned compiler, and the commands that compile in it. Nothing of this
//! machine is mounted: the sources are copied into a volume, so it is all the same where the engine's daemon runs, and how
//! its folders are labelled.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bpf::engine::{self, Container};
use crate::sys::cache::Cache;
use crate::sys::command::{Command, quote};
use crate::sys::plan::{Step, Steps, Task, Work};
use crate::sys::steps::{Run, Sweep, Write};
use crate::sys::{files, hash};
use crate::toolchain::zig;

/// What the image consists of.
const CONTAINERFILE: &str = include_str!("Containerfile");

/// Where the sources are in the container.
const SOURCES: &str = "/src";

/// Nobody: neither root nor a user of any machine.
const USER: &str = "65534:65534";

/// The name of our image: all that goes into it.
pub fn tag() -> Result<String> {
    let content = format!("{} {CONTAINERFILE}", zig::name()?);
    Ok(format!("bpfship-bpf-clang:{:.16}", hash::bytes(content.as_bytes())))
}

/// What compiling in a container takes.
#[derive(Debug)]
pub struct Plan {
    /// Get the image, if the engine does not have it, and make a volume with the sources in it.
    pub before: Vec<Task>,
    /// What compiles each object.
    pub commands: Vec<Command>,
    /// Removes containers and volume.
    pub after: Vec<Task>,
}

/// Plans to have everything in `stage` compiled in a container: each object, by its name, with these arguments of clang.
pub fn plan(
    container: &Container,
    stage: &Path,
    work: &Path,
    compiler: &Path,
    cache: &Cache,
    clang: &[(String, Vec<String>)],
) -> Plan {
    let engine = || Command::new(container.engine.kind.program(), stage.parent().unwrap_or(stage));
    // One workspace's runs wait for each other, so the name is ours alone.
    let volume = format!("bpfship-bpf-{:.16}", hash::bytes(stage.as_os_str().as_encoded_bytes()));

    let mut get: Steps = Vec::new();
    if !container.present && container.theirs {
        get.push(Box::new(Run(engine().args(["pull", "--quiet", &container.image]))));
    } else if !container.present {
        let file = work.join("Containerfile");
        get.push(Box::new(Write { file: file.clone(), text: CONTAINERFILE.into() }));
        let build = engine().args(["build", "--quiet", "--network", "none", "--tag", &container.image, "--file"]);
        get.push(Box::new(Run(build.arg(file.to_string_lossy()).arg(compiler.to_string_lossy()))));
        get.push(Box::new(RememberImage {
            inspect: engine::inspect(container.engine.kind, work, &container.image),
            record: engine::record(cache, container.engine.kind, &container.image),
        }));
    }

    let mut names = vec![volume.clone()];
    let mut commands = Vec::new();
    for (object, arguments) in clang {
        let name = format!("{volume}-{object}");
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
        // Whatever the umask of this machine's user is, nobody must be able to read them.
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
    Plan { before, commands, after }
}

/// Remembers the image that was just built: anybody can give another one its name.
#[derive(Debug)]
struct RememberImage {
    inspect: Command,
    record: PathBuf,
}

impl Step for RememberImage {
    fn line(&self) -> String {
        format!("{} >{}", self.inspect, quote(&self.record))
    }

    fn json(&self) -> Value {
        json!({ "remember-image": { "inspect": self.inspect, "record": self.record } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let id = engine::id(work.runner, &self.inspect)?.context("the image that was built is not there")?;
        files::replace(&[(self.record.clone(), id.as_bytes())])
    }
}
