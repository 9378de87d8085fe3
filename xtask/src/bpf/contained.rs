//! What compiling in containers takes, as data.

use std::path::Path;

use crate::bpf::container::{self, CONTAINERFILE, Container};
use crate::bpf::flags;
use crate::bpf::run::CheckImage;
use crate::container::plan::sealed;
use crate::sys::command::Command;
use crate::sys::hash;
use crate::sys::plan::{Steps, Task};
use crate::sys::steps::{Run, Sweep, Write};
use crate::workspace::facts::Facts;

/// Where the sources are in the container.
const SOURCES: &str = "/src";

/// The user `nobody`: neither root nor a user of any machine.
const USER: &str = "65534:65534";

/// What compiling in a container takes.
#[derive(Debug)]
pub struct Contained {
    /// Get the image, if the engine does not have it, and make a volume with the sources in it.
    pub before: Vec<Task>,
    /// What compiles each object.
    pub commands: Vec<Command>,
    /// Removes containers and volume.
    pub after: Vec<Task>,
}

/// The folder in which clang runs.
pub fn folder(facts: &Facts) -> String {
    match facts.sources.path.as_str() {
        "" => SOURCES.into(),
        path => format!("{SOURCES}/{path}"),
    }
}

/// Plans to have everything in `stage` compiled in containers: one for each list of clang's arguments.
/// Nothing of this machine is mounted: the sources are copied into a volume, so it is all the same where the engine's
/// daemon runs, and how its folders are labelled.
pub fn contained(container: &Container, facts: &Facts, compiler: &Path, clang: &[Vec<String>]) -> Contained {
    let (work, stage) = (&facts.work, facts.work.join("bpf"));
    let engine = || container.engine.kind.command(work);
    // One workspace's runs wait for each other, so the name is ours alone.
    let volume = format!("bpfship-bpf-{:.16}", hash::bytes(stage.as_os_str().as_encoded_bytes()));
    let workdir = folder(facts);

    let mut get: Steps = Vec::new();
    if !container.present && container.theirs {
        get.push(Box::new(Run(engine().args(["pull", "--quiet", &container.image]))));
        get.push(Box::new(CheckImage { container: container.clone(), folder: work.clone(), record: None }));
    } else if !container.present {
        let file = work.join("Containerfile");
        get.push(Box::new(Write { file: file.clone(), text: CONTAINERFILE.into() }));
        let build = engine().args(["build", "--quiet", "--network", "none", "--tag", &container.image, "--file"]);
        get.push(Box::new(Run(build.arg(file.to_string_lossy()).arg(compiler.to_string_lossy()))));
        let record = Some(container::record(&facts.cache, container.engine.kind, &container.image));
        get.push(Box::new(CheckImage { container: container.clone(), folder: work.clone(), record }));
    }

    let mut names = vec![volume.clone()];
    let mut commands = Vec::new();
    for (number, arguments) in clang.iter().enumerate() {
        // A source may have a name that no container can have.
        let name = format!("{volume}-{number}");
        let mut command =
            sealed(&container.engine, work, &name).args(["--env", &format!("{}={}", flags::CLOCK.0, flags::CLOCK.1)]);
        if container.engine.has_users {
            command = command.args(["--user", USER]);
        }
        // Read-only, and with a label that SELinux lets containers read.
        command = command.args(["--volumes-from", &format!("{volume}:ro,z"), "--workdir", &workdir, &container.image]);
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
        Box::new(Run(Command::new("chmod", &stage).args(["-R", "a+rX", "."]))),
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
