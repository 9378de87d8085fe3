//! Container engines: which of them answer, and why the others do not.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use crate::bad_request;
use crate::bpf::container;
use crate::flags::Choice;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::process::Runner;
use crate::workspace::facts::Facts;

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

/// Where clang will run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// On this machine, from the cache.
    Host,
    Container(Container),
}

/// A container that has a compiler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    pub engine: Engine,
    /// The image, as the engine knows it.
    pub image: String,
    /// Whether the engine has it.
    pub present: bool,
    /// Whether it is the user's own, and not the one around our compiler.
    pub theirs: bool,
}

impl Place {
    /// Whether our compiler must be in the cache.
    pub fn needs_compiler(&self) -> bool {
        match self {
            Place::Host => true,
            Place::Container(container) => !container.present && !container.theirs,
        }
    }

    /// The image that must come over the network.
    pub fn pulls(&self) -> Option<String> {
        match self {
            Place::Container(container) if container.theirs && !container.present => Some(container.image.clone()),
            _ => None,
        }
    }

    /// Decides where clang will run for a workspace, and says so.
    pub fn choose(runner: Runner, facts: &Facts, choice: Choice) -> Result<Place> {
        let image = facts.config.bpf.image.as_deref();
        let place = Place::find(runner, &facts.root, &facts.cache, choice, image)?;
        place.summary(choice).into_iter().for_each(|summary| runner.status(summary));
        Ok(place)
    }

    /// Where clang runs, for the user; none where the user has chosen this machine, or there is no choice.
    fn summary(&self, choice: Choice) -> Option<String> {
        match self {
            Place::Container(Container { engine, .. }) => {
                Some(format!("clang runs in {} {}", engine.kind.program(), engine.version))
            }
            Place::Host if choice == Choice::Auto && cfg!(target_os = "linux") => {
                Some("clang runs on this machine itself, for neither docker nor podman answers".into())
            }
            Place::Host => None,
        }
    }

    /// Decides where clang will run. `theirs` is the image that the configuration names.
    pub fn find(runner: Runner, folder: &Path, cache: &Cache, choice: Choice, theirs: Option<&str>) -> Result<Place> {
        let kinds: &[Kind] = match choice {
            Choice::Auto => &Kind::ALL,
            Choice::Docker => &[Kind::Docker],
            Choice::Podman => &[Kind::Podman],
            Choice::Host => &[],
        };
        if choice == Choice::Host && theirs.is_some() {
            bad_request!(
                "--engine host, but `image` in [workspace.metadata.bpfship.bpf] of Cargo.toml names a compiler that is in a \
                 container image: leave one of them out"
            );
        }
        if theirs.is_none() && !cfg!(target_os = "linux") {
            if !kinds.is_empty() && choice != Choice::Auto {
                bad_request!(
                    "the image is built around this machine's own compiler, which is none for Linux: use --engine host"
                );
            }
            return Ok(Place::Host);
        }
        let mut refusals = Vec::new();
        for kind in kinds {
            match kind.probe(runner, folder) {
                Ok(engine) => {
                    return Container::find(runner, folder, cache, engine, theirs).map(Place::Container);
                }
                Err(error) => refusals.push(error),
            }
            runner.check_interrupted()?;
        }
        match refusals.pop() {
            Some(refusal) if choice != Choice::Auto => Err(refusal.context(format!("--engine {}", kinds[0].program()))),
            Some(refusal) if theirs.is_some() => Err(refusal.context(
                "`image` in [workspace.metadata.bpfship.bpf] of Cargo.toml wants docker or podman, and neither answers",
            )),
            _ => Ok(Place::Host),
        }
    }
}

impl Container {
    fn find(runner: Runner, folder: &Path, cache: &Cache, engine: Engine, theirs: Option<&str>) -> Result<Container> {
        let ours = container::tag()?;
        let Some(theirs) = theirs else {
            // Anybody can give an image our name: it must be the one that was built here.
            let built = files::read_if_there(&record(cache, engine.kind, &ours))?;
            let present = id(runner, folder, engine.kind, &ours)?.is_some_and(|id| built == Some(id));
            return Ok(Container { engine, image: ours, present, theirs: false });
        };
        // An image that was built here and never pushed has no digest in docker's eyes, but an id, which is one, too.
        for name in std::iter::once(theirs).chain(theirs.split('@').next_back()) {
            if id(runner, folder, engine.kind, name)?.is_some() {
                return Ok(Container { engine, image: name.into(), present: true, theirs: true });
            }
        }
        Ok(Container { engine, image: theirs.into(), present: false, theirs: true })
    }
}

/// Remembers the image that was just built.
pub fn remember(runner: Runner, folder: &Path, cache: &Cache, kind: Kind, image: &str) -> Result<()> {
    let id = id(runner, folder, kind, image)?.context("the image that was built is not there")?;
    files::replace(&[(record(cache, kind, image), id.as_bytes())])
}

/// Where the id of an image that was built here is kept.
fn record(cache: &Cache, kind: Kind, image: &str) -> PathBuf {
    cache.path(&format!("image-{}-{}", kind.program(), image.rsplit(':').next().unwrap_or_default()))
}

/// The hash of an image with this name, if there is one.
fn id(runner: Runner, folder: &Path, kind: Kind, name: &str) -> Result<Option<String>> {
    let question = Command::new(kind.program(), folder).args(["image", "inspect", "--format", "{{.Id}}", name]);
    let output = runner.output(&question)?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}
