//! clang in a container: the image around the pinned compiler, and the commands that compile in it. Nothing of this
//! machine is mounted: the sources are copied into a volume, so it is all the same where the engine's daemon runs, and how
//! its folders are labelled.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::plan::Job;
use crate::bpf::engine::{Container, Kind};
use crate::sys::command::Command;
use crate::sys::hash;
use crate::sys::step::Step;
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
    Ok(format!("bpfship-bpf-clang:{}", &hash::bytes(content.as_bytes())[..16]))
}

/// What makes clang ready to run in a container, besides the jobs' own commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub kind: Kind,
    pub image: String,
    /// What gets the image, if the engine does not have it.
    pub get: Vec<Step>,
    /// Whether that is by building it.
    pub builds: bool,
    /// What makes a volume with the sources in it.
    pub fill: Vec<Step>,
    /// Removes the containers and the volume: what an earlier run left, before, and what this one did, after.
    pub sweep: Command,
}

/// Plans to have everything in `stage` compiled in a container, and changes the commands of the jobs to that.
pub fn plan(container: &Container, stage: &Path, work: &Path, compiler: &Path, jobs: &mut [Job]) -> Plan {
    let engine = || Command::new(container.engine.kind.program(), stage.parent().unwrap_or(stage));
    // One workspace's runs wait for each other, so the name is ours alone.
    let volume = format!("bpfship-bpf-{}", &hash::bytes(stage.as_os_str().as_encoded_bytes())[..16]);

    let mut get = Vec::new();
    let builds = !container.present && !container.theirs;
    if !container.present && container.theirs {
        get.push(Step::Run(engine().args(["pull", "--quiet", &container.image])));
    } else if builds {
        let file = work.join("Containerfile");
        get.push(Step::Write { file: file.clone(), text: CONTAINERFILE.into() });
        let build = engine().args(["build", "--quiet", "--network", "none", "--tag", &container.image, "--file"]);
        get.push(Step::Run(build.arg(file.to_string_lossy()).arg(compiler.to_string_lossy())));
    }

    let mut names = vec![volume.clone()];
    for job in jobs {
        let name = format!("{volume}-{}", job.object);
        let mut command = engine()
            .args(["run", "--rm", "--name", &name, "--pull", "never", "--network", "none", "--read-only"])
            .args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--sig-proxy=false"]);
        if container.engine.has_users {
            command = command.args(["--user", USER]);
        }
        // Read-only, and with a label that SELinux lets containers read.
        command = command.args(["--volumes-from", &format!("{volume}:ro,z"), "--workdir", SOURCES, &container.image]);
        command.args.append(&mut job.clang);
        job.command = command;
        names.push(name);
    }

    // The container with the volume is never started.
    let create = engine().args(["create", "--name", &volume, "--pull", "never", "--network", "none"]);
    let fill = vec![
        // Whatever the umask of this machine's user is, nobody must be able to read them.
        Step::Run(Command::new("chmod", stage).args(["-R", "a+rX", "."])),
        Step::Run(create.args(["--volume", SOURCES, &container.image, "--version"])),
        Step::Run(engine().arg("cp").arg(format!("{}/.", stage.display())).arg(format!("{volume}:{SOURCES}"))),
    ];
    let sweep = engine().args(["rm", "--force", "--volumes"]).args(container.engine.kind.ignore_missing()).args(names);
    Plan { kind: container.engine.kind, image: container.image.clone(), get, builds, fill, sweep }
}
