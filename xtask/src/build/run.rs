//! Runs a build of cargo's, and tells how far it is for each target.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result};
use cargo_metadata::Artifact;
use serde::Deserialize;

use crate::build::messages::{Messages, Told};
use crate::sys::command::Command;
use crate::sys::process::Runner;
use crate::ui::screen::{Level, Line, has_colors};

/// What makes cargo tell all that `messages.rs` understands.
pub const FLAGS: [&str; 2] = ["--verbose", "--message-format=json-diagnostic-rendered-ansi"];

/// A line of the screen for each target, by its triple.
pub type Lines = BTreeMap<&'static str, Line<'static>>;

/// How many crates are compiled for each target.
type Totals = BTreeMap<String, usize>;

/// Runs `build`, whose target folder is `target`. `each` is given what came out for each target; what only this machine
/// needs, such as procedural macros, is left out.
pub fn run(
    runner: Runner,
    build: &Command,
    target: &Path,
    lines: &Lines,
    mut each: impl FnMut(&str, Artifact),
) -> Result<(ExitStatus, Messages)> {
    let mut messages = Messages::default();
    let mut progress: BTreeMap<String, Progress> = BTreeMap::new();
    let totals = Mutex::new(Totals::new());
    let status = thread::scope(|scope| {
        let mut counting = false;
        let mut hear = |told: Vec<Told>| {
            for told in told {
                match told {
                    Told::Begun { krate, triple } => {
                        // A build that has nothing to do is over before it could be counted.
                        if !counting {
                            counting = true;
                            scope.spawn(|| *totals.lock().unwrap() = count(runner, build, target).unwrap_or_default());
                        }
                        let Some(triple) = triple else { continue };
                        progress.entry(triple.clone()).or_default().begun.insert(krate);
                        progress[&triple].show(&triple, lines, &totals);
                    }
                    Told::Built(artifact) => {
                        let Some(triple) = triple(&artifact, target) else { continue };
                        let progress = progress.entry(triple.clone()).or_default();
                        progress.built += 1;
                        progress.begun.remove(&artifact.target.name.replace('-', "_"));
                        progress.show(&triple, lines, &totals);
                        each(&triple, *artifact);
                    }
                    Told::Warning(_) if runner.screen().level == Level::Quiet => {}
                    Told::Error(text) | Told::Warning(text) => match has_colors() {
                        true => runner.eprintln(&text),
                        false => runner.eprintln(console::strip_ansi_codes(&text)),
                    },
                }
            }
        };
        let status = runner.lines(build, |line| hear(messages.hear(line)));
        hear(messages.end());
        status
    })?;
    Ok((status, messages))
}

/// How far one target is.
#[derive(Debug, Default)]
struct Progress {
    begun: BTreeSet<String>,
    built: usize,
}

impl Progress {
    fn show(&self, triple: &str, lines: &Lines, totals: &Mutex<Totals>) {
        let Some(line) = lines.get(triple) else { return };
        let names: Vec<&str> = self.begun.iter().map(String::as_str).collect();
        let of = totals.lock().unwrap().get(triple).map(|total| format!(" of {total}")).unwrap_or_default();
        line.set(&format!("{}{of} crates  {}", self.built, names.join(" ")));
    }
}

/// The target that something was made for; none if it is this machine. cargo keeps what it makes for a target in a folder
/// of its name.
fn triple(artifact: &Artifact, target: &Path) -> Option<String> {
    let folder = artifact.filenames.first()?.as_std_path().strip_prefix(target).ok()?;
    let name = folder.components().next()?.as_os_str().to_str()?;
    (!["release", "debug"].contains(&name)).then(|| name.into())
}

/// What cargo would do, as `--unit-graph` tells it.
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

/// Asks cargo what the build consists of. That is unstable, and so for the eyes only: it takes part in nothing that is
/// made, and has a target folder of its own.
fn count(runner: Runner, build: &Command, target: &Path) -> Result<Totals> {
    let mut command = build.clone();
    command.args.retain(|arg| !FLAGS.contains(&arg.as_str()) && arg != "--keep-going");
    for arg in &mut command.args {
        if Path::new(arg.as_str()) == target {
            *arg = format!("{arg}-count");
        }
    }
    let command = command.env("RUSTC_BOOTSTRAP", "1").args(["--unit-graph", "-Zunstable-options"]);
    let graph = runner.read(&command)?;
    let graph: Graph = serde_json::from_str(&graph).context("cannot understand cargo's unit graph")?;
    let mut totals = Totals::new();
    for unit in graph.units.iter().filter(|unit| unit.mode == "build") {
        if let Some(platform) = &unit.platform {
            *totals.entry(platform.clone()).or_default() += 1;
        }
    }
    Ok(totals)
}
