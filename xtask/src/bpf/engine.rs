//! Container engines: which of them answer, and why the others do not.

use std::path::Path;

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::sys::command::Command;
use crate::sys::process::Runner;

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
    /// Whether it can run a container as a user other than root: podman for a user without subordinate ids cannot.
    pub has_users: bool,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Docker, Kind::Podman];

    pub fn program(self) -> &'static str {
        match self {
            Kind::Docker => "docker",
            Kind::Podman => "podman",
        }
    }

    /// What makes the engine itself answer, and not just its client: its version, and how many ranges of user ids it has.
    fn question(self) -> [&'static str; 3] {
        match self {
            Kind::Docker => ["version", "--format", "{{.Server.Version}} 2"],
            Kind::Podman => ["info", "--format", "{{.Version.Version}} {{len .Host.IDMappings.UIDMap}}"],
        }
    }

    /// What keeps `rm` going when a container is not there: docker does so anyway.
    pub fn ignore_missing(self) -> Option<&'static str> {
        match self {
            Kind::Docker => None,
            Kind::Podman => Some("--ignore"),
        }
    }

    /// Asks the engine whether it is there.
    pub fn probe(self, runner: Runner, folder: &Path) -> Result<Engine> {
        let output = runner.output(&Command::new(self.program(), folder).args(self.question()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        match text.trim().split_once(' ') {
            Some((version, ranges)) if output.status.success() => {
                Ok(Engine { kind: self, version: version.into(), has_users: ranges != "1" })
            }
            _ => Err(self.refusal(&String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// Why the engine does not answer, from what its client said.
    fn refusal(self, said: &str) -> anyhow::Error {
        let said_any = |clues: &[&str]| clues.iter().any(|clue| said.contains(clue));
        let (reason, remedy) = match self {
            Kind::Docker if said_any(&["permission denied"]) => {
                ("you may not talk to its daemon", "add yourself to the group `docker`, or use podman")
            }
            Kind::Docker if said_any(&["Cannot connect", "connection refused", "error during connect"]) => {
                ("its daemon is not running", "start it (systemctl start docker), or set DOCKER_HOST to where it is")
            }
            Kind::Podman if said_any(&["Cannot connect to Podman", "unable to connect"]) => {
                ("its service is not running", "start it (podman machine start), or set CONTAINER_HOST to where it is")
            }
            _ => ("it fails", "mend it, so that `info` of it works"),
        };
        let program = self.program();
        let said: Vec<String> = said.trim_end().lines().map(|line| format!("\n  {line}")).collect();
        anyhow!("{program} does not answer, because {reason}: {remedy}\n\n{program} said:{}", said.concat())
    }
}

/// Asks an engine for the id of an image.
pub fn inspect(kind: Kind, folder: &Path, image: &str) -> Command {
    Command::new(kind.program(), folder).args(["image", "inspect", "--format", "{{.Id}}", image])
}

/// The id of an image, if the engine has it.
pub fn id(runner: Runner, inspect: &Command) -> Result<Option<String>> {
    let output = runner.output(inspect)?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}
