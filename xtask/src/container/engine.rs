//! Container engines: which of them answer, and why the others do not.

use std::path::Path;
use std::process::Output;
use std::time::Duration;
use std::{error, fmt};

use anyhow::{Error, Result, anyhow, bail};
use serde::Serialize;

use crate::arch::Arch;
use crate::flags::Choice;
use crate::sys::command::{Command, Heartbeat};
use crate::sys::hash::Sha256;
use crate::sys::process::Runner;

/// How long an engine may take to answer. One whose daemon hangs accepts the connection, and never answers.
const DEADLINE: Duration = Duration::from_secs(10);
const DEADLINE_OF_BUILD: Duration = Duration::from_secs(60);

/// A program that runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Docker,
    Podman,
}

/// An engine that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Engine {
    pub kind: Kind,
    pub version: String,
    /// What its containers run on, such as `linux/arm64`: its daemon may be on another machine.
    pub platform: String,
    /// Whether it can run a container as a user other than root: podman for a user without subordinate ids cannot.
    pub has_users: bool,
}

impl Choice {
    /// The engines that it leaves.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Choice::Auto => &Kind::ALL,
            Choice::Docker => &[Kind::Docker],
            Choice::Podman => &[Kind::Podman],
            Choice::Host => &[],
        }
    }

    /// Those that it leaves for builds of binaries. Where clang runs is another matter: with `host`, there still has to be one.
    pub fn kinds_for_builds(self) -> &'static [Kind] {
        if self == Choice::Host { &Kind::ALL } else { self.kinds() }
    }
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Docker, Kind::Podman];

    pub fn program(self) -> &'static str {
        match self {
            Kind::Docker => "docker",
            Kind::Podman => "podman",
        }
    }

    /// A command for the engine that does not choose the platform or check the signature of an image: ours is built
    /// here.
    pub fn command(self, folder: &Path) -> Command {
        let mut command = Command::new(self.program(), folder);
        command.heartbeat = Some(self.heartbeat(DEADLINE));
        ["DOCKER_CONTENT_TRUST", "DOCKER_DEFAULT_PLATFORM"]
            .iter()
            .fold(command, |command, variable| command.env(variable, ""))
    }

    /// What the engine must answer within a time, while something waits for it.
    fn heartbeat(self, limit: Duration) -> Heartbeat {
        let (program, seconds) = (self.program(), limit.as_secs());
        Heartbeat {
            program: program.into(),
            question: self.question().map(String::from).to_vec(),
            limit,
            lost: format!(
                "{program} does not answer within {seconds} seconds any more: start its daemon again, or use another --engine"
            ),
        }
    }

    /// The same for a build, which has all processors busy, for minutes.
    pub fn heartbeat_of_build(self) -> Option<Heartbeat> {
        Some(self.heartbeat(DEADLINE_OF_BUILD))
    }

    /// What makes the engine itself answer, and not just its client: its version, its platform, and how many ranges of
    /// user ids it has.
    fn question(self) -> [&'static str; 3] {
        match self {
            Kind::Docker => ["version", "--format", "{{.Server.Version}} {{.Server.Os}}/{{.Server.Arch}} 2"],
            Kind::Podman => {
                ["info", "--format", "{{.Version.Version}} {{.Host.OS}}/{{.Host.Arch}} {{len .Host.IDMappings.UIDMap}}"]
            }
        }
    }

    /// What keeps `rm` going when a container is not there: docker does so anyway.
    pub fn ignore_missing(self) -> Option<&'static str> {
        match self {
            Kind::Docker => None,
            Kind::Podman => Some("--ignore"),
        }
    }

    /// Asks the engine whether it is there. `docker` may be another name of podman, which then answers for it.
    pub fn probe(self, runner: Runner, folder: &Path) -> Result<Engine> {
        let output = self.ask(runner, folder, &self.question())?;
        let text = String::from_utf8_lossy(&output.stdout);
        if let [version, platform, ranges] = text.split_whitespace().collect::<Vec<_>>().as_slice()
            && output.status.success()
        {
            return Ok(Engine {
                kind: self,
                version: (*version).into(),
                platform: (*platform).into(),
                has_users: *ranges != "1",
            });
        }
        if self == Kind::Docker {
            let client = self.ask(runner, folder, &["--version"])?;
            // A link to podman gives its own name; docker's begins with a capital letter.
            if [b"podman ".as_slice(), b"docker "].iter().any(|name| client.stdout.starts_with(name)) {
                return Kind::Podman.probe(runner, folder);
            }
        }
        Err(self.refusal(&String::from_utf8_lossy(&output.stderr)))
    }

    fn ask(self, runner: Runner, folder: &Path, question: &[&str]) -> Result<Output> {
        let command = self.command(folder).args(question.iter().copied());
        let (program, seconds) = (self.program(), DEADLINE.as_secs());
        runner.output_within(&command, DEADLINE)?.ok_or_else(|| {
            Unusable(format!(
                "{program} does not answer within {seconds} seconds: start its daemon again, or use another --engine"
            ))
            .into()
        })
    }

    /// Why the engine does not answer, from its client's output.
    fn refusal(self, output: &str) -> Error {
        let prints_any = |clues: &[&str]| clues.iter().any(|clue| output.contains(clue));
        let (reason, remedy) = match self {
            Kind::Docker if prints_any(&["permission denied"]) => {
                ("you may not talk to its daemon", "add yourself to the group `docker`, or use podman")
            }
            Kind::Docker if prints_any(&["Cannot connect", "connection refused", "error during connect"]) => {
                ("its daemon is not running", "start it (systemctl start docker), or set DOCKER_HOST to where it is")
            }
            Kind::Podman if prints_any(&["Cannot connect to Podman", "unable to connect"]) => {
                ("its service is not running", "start it (podman machine start), or set CONTAINER_HOST to where it is")
            }
            _ => ("it fails", "fix it until its `info` works"),
        };
        let program = self.program();
        let output: Vec<String> = output.trim_end().lines().map(|line| format!("\n  {line}")).collect();
        anyhow!("{program} does not answer, because {reason}: {remedy}\n\n{program} printed:{}", output.concat())
    }
}

/// The first engine of these that answers and can be used; else why none can, each in its words. `theirs`: whether an image
/// of the user's is to be run.
pub fn first(runner: Runner, folder: &Path, kinds: &[Kind], theirs: bool) -> Result<Result<Engine, Vec<Error>>> {
    let mut refusals = Vec::new();
    for kind in kinds {
        match kind.probe(runner, folder).and_then(|engine| engine.check(theirs)) {
            Ok(engine) => return Ok(Ok(engine)),
            Err(error) => {
                if kinds.len() > 1 && error.is::<Unusable>() {
                    runner.status(error.to_string());
                }
                refusals.push(error);
            }
        }
        runner.check_interrupted()?;
    }
    Ok(Err(refusals))
}

/// Why a container cannot be had at all, though one is wanted.
pub fn refused(mut refusals: Vec<Error>, kinds: &[Kind]) -> Error {
    let refusal = refusals.pop().unwrap_or_else(|| anyhow!("no engine was asked"));
    match kinds {
        [kind] => refusal.context(format!("--engine {}", kind.program())),
        _ => refusal.context("a container is wanted, and neither docker nor podman answers"),
    }
}

/// Why an engine that is there cannot be used. Even if another one is taken instead, the user should know.
#[derive(Debug)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Unusable {}

impl Engine {
    /// Refuses an engine that runs on another machine than our image is for.
    pub fn check(self, theirs: bool) -> Result<Engine> {
        let ours = Arch::of_this_machine().map_or("", |arch| arch.name);
        let ours = format!("linux/{ours}");
        if !theirs && self.platform != ours {
            let (program, platform) = (self.kind.program(), self.platform);
            return Err(Unusable(format!(
                "{program} runs containers on {platform}, and the image is built around this machine's compiler, for {ours}: \
                 use --engine host"
            ))
            .into());
        }
        Ok(self)
    }
}

/// An image that an engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub id: String,
    /// As in [`Engine::platform`].
    pub platform: String,
}

impl Image {
    /// Asks an engine for an image.
    pub fn find(runner: Runner, kind: Kind, folder: &Path, name: &str) -> Result<Option<Image>> {
        let output =
            kind.ask(runner, folder, &["image", "inspect", "--format", "{{.Id}} {{.Os}}/{{.Architecture}}", name])?;
        let text = String::from_utf8_lossy(&output.stdout);
        let image = text.trim().split_once(' ').filter(|_| output.status.success());
        Ok(image.map(|(id, platform)| Image { id: id.into(), platform: platform.into() }))
    }

    /// The name by which an engine knows an image of the user's, `NAME@sha256:DIGEST`, if it has it. One that was built here
    /// and never pushed has no digest in docker's eyes, but an id, which is one, too.
    pub fn of_user(runner: Runner, engine: &Engine, folder: &Path, image: &str) -> Result<Option<String>> {
        for name in std::iter::once(image).chain(image.split('@').next_back()) {
            if let Some(found) = Image::find(runner, engine.kind, folder, name)? {
                found.check(name, engine)?;
                return Ok(Some(name.into()));
            }
        }
        Ok(None)
    }

    /// Whether this is its id: docker writes `sha256:` before it, and podman does not.
    pub fn is(&self, id: &Sha256) -> bool {
        self.id.trim_start_matches("sha256:") == id.to_string()
    }

    /// Refuses an image that this engine cannot run.
    pub fn check(&self, name: &str, engine: &Engine) -> Result<()> {
        if self.platform != engine.platform {
            bail!(
                "the image {name} is for {}, and {} runs containers on {}: name an image for that",
                self.platform,
                engine.kind.program(),
                engine.platform
            );
        }
        Ok(())
    }
}
