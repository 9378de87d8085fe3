//! clang in a container: the image around the pinned compiler, and the commands that compile in it. Nothing of this
//! machine is mounted: the sources are copied into a volume, so it is all the same where the engine's daemon runs, and how
//! its folders are labelled.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bpf::engine::{self, Container, Image};
use crate::sys::cache::Cache;
use crate::sys::command::Command;
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

/// Plans to have everything in `stage` compiled in containers: one for each list of clang's arguments.
pub fn plan(
    container: &Container,
    stage: &Path,
    work: &Path,
    compiler: &Path,
    cache: &Cache,
    clang: &[Vec<String>],
) -> Plan {
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
        let record = Some(engine::record(cache, container.engine.kind, &container.image));
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

/// Makes sure that the engine can run the image that it just got. One that was built is remembered: anybody can give another
/// one its name.
#[derive(Debug)]
struct CheckImage {
    container: Container,
    folder: PathBuf,
    /// Where its id is kept.
    record: Option<PathBuf>,
}

impl Step for CheckImage {
    fn line(&self) -> String {
        let Container { image, engine, .. } = &self.container;
        let record = self.record.as_ref().map(|record| format!(", and keep its id in {}", record.display()));
        format!("# check that {image} is for {}{}", engine.platform, record.unwrap_or_default())
    }

    fn json(&self) -> Value {
        json!({ "check-image": { "container": self.container, "record": self.record } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let Container { image: name, engine, .. } = &self.container;
        let image = Image::find(work.runner, engine.kind, &self.folder, name)?;
        let image = image.with_context(|| format!("{} does not have the image {name}", engine.kind.program()))?;
        image.check(name, engine)?;
        match &self.record {
            Some(record) => files::replace(&[(record.clone(), image.id.as_bytes())]),
            None => Ok(()),
        }
    }
}
