//! A build of cargo's: how it is run, and how far it is for each target.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};
use cargo_metadata::Artifact;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::build::messages::{Event, Messages};
use crate::sys::command::{Command, quote};
use crate::sys::process::Runner;
use crate::ui::screen::{Level, has_colors};

/// What makes cargo print all that messages.rs understands.
pub const FLAGS: [&str; 2] = ["--verbose", "--message-format=json-diagnostic-rendered-ansi"];

/// A build of cargo's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CargoBuild {
    pub command: Command,
    /// cargo's target folder.
    pub target: PathBuf,
    /// What runs it in a container, if it is to run in one.
    pub within: Option<Within>,
}

/// What runs a build in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    pub command: Command,
    /// A file that is there afterwards only if a container was made. Without one, that is sure anyway.
    pub proof: Option<PathBuf>,
}

/// How engines end when they could not start a container.
const NOT_STARTED: i32 = 125;

impl Within {
    /// Makes sure that there was a container.
    fn check(&self, status: ExitStatus) -> Result<()> {
        match &self.proof {
            Some(proof) if !proof.exists() => bail!(
                "cross made no container, so nothing that it left is taken: what it printed says why, and --plan shows how it \
                 was called"
            ),
            _ if status.code() == Some(NOT_STARTED) => bail!(
                "the container was not started, for the reason above; a daemon on another machine does not see the folders of this \
                 one: use one that runs here, or --builder host"
            ),
            _ => Ok(()),
        }
    }
}

/// How many crates are compiled for each target.
type Totals = BTreeMap<String, usize>;

impl CargoBuild {
    /// As a printed plan has it.
    pub fn line(&self) -> String {
        let mut line = format!("{}\n# meanwhile, to show how far it is: {}", self.whole(), self.count());
        if let Some(proof) = self.within.as_ref().and_then(|within| within.proof.as_ref()) {
            line += &format!("\ntest -s {} # or else there was no container", quote(proof));
        }
        line
    }

    /// The same in a plan that is printed as JSON.
    pub fn json(&self) -> Value {
        json!({ "command": self.whole(), "count": self.count() })
    }

    /// What is run.
    pub fn whole(&self) -> &Command {
        self.within.as_ref().map_or(&self.command, |within| &within.command)
    }

    /// Runs it. `show` is given words about each target while it is built, and `each` what came out for each; what only
    /// this machine needs, such as procedural macros, is left out.
    pub fn run(
        &self,
        runner: Runner,
        show: &dyn Fn(&str, &str),
        mut each: impl FnMut(&str, Artifact),
    ) -> Result<(ExitStatus, Messages)> {
        let mut messages = Messages::default();
        let mut built: BTreeMap<String, usize> = BTreeMap::new();
        let totals = Mutex::new(Totals::new());
        let status = thread::scope(|scope| {
            let mut counting = false;
            let mut take = |events: Vec<Event>| {
                for event in events {
                    match event {
                        Event::Built(artifact) => {
                            // A build that has nothing to do is over before it could be counted.
                            if !artifact.fresh && !counting {
                                counting = true;
                                scope.spawn(|| {
                                    *totals.lock().unwrap() = count(runner, &self.count()).unwrap_or_default()
                                });
                            }
                            let Some(triple) = triple(&artifact, &self.target) else { continue };
                            let built = built.entry(triple.clone()).or_default();
                            *built += 1;
                            let of = totals.lock().unwrap().get(&triple).map(|total| format!(" of {total}"));
                            show(
                                &triple,
                                &format!("{built}{} crates  {}", of.unwrap_or_default(), artifact.target.name),
                            );
                            each(&triple, *artifact);
                        }
                        Event::Warning(_) if runner.screen().level == Level::Quiet => {}
                        Event::Error(text) | Event::Warning(text) => match has_colors() {
                            true => runner.eprintln(&text),
                            false => runner.eprintln(console::strip_ansi_codes(&text)),
                        },
                    }
                }
            };
            let status = runner.lines(self.whole(), |line| take(messages.push_line(line)));
            take(messages.end());
            status
        })?;
        self.within.iter().try_for_each(|within| within.check(status))?;
        Ok((status, messages))
    }

    /// What asks cargo of how much the build consists. That is unstable, and so for the eyes only: it takes part in
    /// nothing that is made, and has a target folder to itself.
    fn count(&self) -> Command {
        let mut command = self.command.clone();
        command.args.retain(|arg| !FLAGS.contains(&arg.as_str()) && arg != "--keep-going");
        for arg in &mut command.args {
            if Path::new(arg.as_str()) == self.target {
                *arg = format!("{arg}-count");
            }
        }
        command.env("RUSTC_BOOTSTRAP", "1").args(["--unit-graph", "-Zunstable-options"])
    }
}

/// The target that something was made for; none if it is this machine. cargo keeps what it makes for a target in a
/// folder of its name.
fn triple(artifact: &Artifact, target: &Path) -> Option<String> {
    let folder = artifact.filenames.first()?.as_std_path().strip_prefix(target).ok()?;
    let name = folder.components().next()?.as_os_str().to_str()?;
    (!["release", "debug"].contains(&name)).then(|| name.into())
}

/// What cargo would do, as `--unit-graph` prints it.
#[derive(Deserialize)]
struct Graph {
    units: Vec<Unit>,
}

#[derive(Deserialize)]
struct Unit {
    /// None for what this machine itself needs.
    platform: Option<String>,
    mode: String,
}

fn count(runner: Runner, command: &Command) -> Result<Totals> {
    let graph = runner.read(command)?;
    let graph: Graph = serde_json::from_str(&graph).context("cannot understand cargo's unit graph")?;
    let mut totals = Totals::new();
    for unit in graph.units.iter().filter(|unit| unit.mode == "build") {
        if let Some(platform) = &unit.platform {
            *totals.entry(platform.clone()).or_default() += 1;
        }
    }
    Ok(totals)
}
