//! The steps of a deployment.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::deploy::facts;
use crate::deploy::host::Host;
use crate::deploy::report::Report;
use crate::deploy::script::{Change, Place};
use crate::deploy::ssh::{Ssh, shell};
use crate::sys::hash;
use crate::sys::plan::{Slot, Step, Work};
use crate::sys::process::Runner;

/// How a target is reached.
#[derive(Debug, Clone)]
pub struct Way {
    pub ssh: Ssh,
    pub host: Host,
    pub place: Place,
    pub r#become: Option<String>,
}

impl Way {
    fn line(&self, what: &str) -> String {
        let command = self.ssh.call(&self.host, true).arg(shell(what, self.r#become.as_deref()));
        format!("# send what follows to {command}")
    }
}

/// Makes a version current on a target, and confirms it over a connection of its own. From the switch on, the target goes back by
/// itself unless it is confirmed.
#[derive(Debug)]
pub struct Deploy {
    pub way: Way,
    pub change: Change,
    /// Those of the archive; none if the version is there already.
    pub binaries: Option<Slot<BTreeMap<String, Vec<u8>>>>,
    pub done: Slot<Result<String, String>>,
}

impl Step for Deploy {
    fn line(&self) -> String {
        let Change { version, sha256, preflight, self_test, service, watch, confirm, keep, .. } = &self.change;
        let words = |commands: &[Vec<String>]| {
            let lines: Vec<String> = commands.iter().map(|words| words.join(" ")).collect();
            if lines.is_empty() { "nothing".to_owned() } else { lines.join("; ") }
        };
        let mut lines = vec![self.way.line(&self.way.place.deploy("TOKEN", &self.change))];
        lines.extend(
            self.binaries.as_ref().map(|_| format!("# there: receive {version}, and check its SHA-256, {sha256}")),
        );
        lines.push(format!("# there: run {}; then switch, and run {}", words(preflight), words(self_test)));
        if service.is_some() {
            lines.push(format!("# there: write and start the unit, and watch it for {watch} s"));
        }
        lines.push(format!(
            "# there: go back if any of that fails, or if nobody confirms it within {confirm} s; keep {keep} versions"
        ));
        lines.push("# confirm it over another connection".into());
        lines.join("\n")
    }

    fn json(&self) -> Value {
        json!({ "deploy": {
            "host": self.way.host, "place": self.way.place, "become": self.way.r#become, "sends": self.binaries.is_some(),
            "change": self.change,
        } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        keep(&self.done, self.change(work))
    }
}

impl Deploy {
    fn change(&self, work: &Work) -> Result<String> {
        let Way { ssh, host, place, r#become } = &self.way;
        let token = hash::nonce()?;
        let binary = match &self.binaries {
            Some(binaries) => binaries.get()?.get(&place.name).context("a binary that is not in its archive")?,
            None => &[][..],
        };
        let Change { limit, watch, confirm, .. } = &self.change;
        let commands = (self.change.preflight.len() + self.change.self_test.len()) as u64;
        let whole = limit * commands + watch + confirm + 600;
        let mut confirmed = None;
        let confirming = |work: &Work| self.confirm(work.runner, &token);
        let script = place.deploy(&token, &self.change);
        let payload = (binary, r#become.as_deref());
        let report = facts::call(work.runner, ssh, host, true, &script, Some(payload), &token, whole, |report| {
            match report.said.last() {
                Some((word, _)) if word == "healthy" => {
                    work.show("confirming it over another connection");
                    confirmed = Some(confirming(work));
                }
                Some((word, _)) => work.show(word),
                None => {}
            }
        });
        let report = match report {
            Ok(report) if report.get("done").is_some() || report.get("fail").is_some() => report,
            // Whoever was cut off comes back.
            cut => {
                work.runner.check_interrupted()?;
                let why = cut.as_ref().err().map(|error| format!("{error:#}"));
                let began = cut.as_ref().is_ok_and(|report| report.get("switching").is_some()) || confirmed.is_some();
                match self.confirm(work.runner, &token) {
                    Ok(()) => {
                        return Ok(format!("{} is current; the connection was cut on the way", self.change.version));
                    }
                    Err(_) if !began && why.is_some() => bail!("{}", why.unwrap_or_default()),
                    Err(error) => bail!("the connection was cut: {error:#}"),
                }
            }
        };
        if let Some(reason) = report.get("fail") {
            bail!("{}{}", sentence(reason), report.below());
        }
        match confirmed {
            Some(Err(error)) => Err(error),
            _ => Ok(format!("{} is current", self.change.version)),
        }
    }

    fn confirm(&self, runner: Runner, token: &str) -> Result<()> {
        let Way { ssh, host, place, r#become } = &self.way;
        let script = place.confirm(token, &self.change);
        let limit = self.change.confirm + 30;
        let report =
            facts::call(runner, ssh, host, false, &script, Some((&[], r#become.as_deref())), token, limit, |_| {})?;
        match (report.get("confirmed"), report.get("fail")) {
            (Some(_), _) => Ok(()),
            (_, Some(reason)) => bail!("{}", sentence(reason)),
            _ => bail!("it did not confirm{}", report.below()),
        }
    }
}

/// Removes everything that was ever deployed.
#[derive(Debug)]
pub struct Uninstall {
    pub way: Way,
    pub done: Slot<Result<String, String>>,
}

impl Step for Uninstall {
    fn line(&self) -> String {
        let Place { name, folder, .. } = &self.way.place;
        format!(
            "{}\n# there: stop and remove the unit, and remove {folder}/{name} and {folder}/.{name}",
            self.way.line(&self.way.place.uninstall("TOKEN"))
        )
    }

    fn json(&self) -> Value {
        json!({ "uninstall": { "host": self.way.host, "place": self.way.place, "become": self.way.r#become } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        keep(&self.done, self.remove(work))
    }
}

impl Uninstall {
    fn remove(&self, work: &Work) -> Result<String> {
        let Way { ssh, host, place, r#become } = &self.way;
        let token = hash::nonce()?;
        let payload = (&[][..], r#become.as_deref());
        let report: Report =
            facts::call(work.runner, ssh, host, true, &place.uninstall(&token), Some(payload), &token, 120, |_| {})?;
        match (report.get("done"), report.get("fail")) {
            (Some(_), _) => Ok(removed(&report.all("kept").collect::<Vec<_>>())),
            (_, Some(reason)) => bail!("{}", sentence(reason)),
            _ => bail!("it was cut off{}", report.below()),
        }
    }
}

/// What is said of a program that was removed, and of the folders that are not its own to remove.
fn removed(kept: &[&str]) -> String {
    match kept {
        [] => "removed: program, versions and unit".into(),
        kept => format!("removed; kept: {}", kept.join(", ")),
    }
}

/// Keeps what came of a target for the report, and whether it failed for the plan.
fn keep(done: &Slot<Result<String, String>>, came: Result<String>) -> Result<()> {
    done.put(came.as_ref().cloned().map_err(|error| format!("{error:#}")))?;
    came.map(drop)
}

/// What a target says failed, as a sentence.
fn sentence(reason: &str) -> String {
    let (word, rest) = reason.split_once(' ').unwrap_or((reason, ""));
    match word {
        "undone" => format!("{rest}: it is back to what was there before"),
        "locked" => format!("{rest} is deploying to it now: wait for that to end"),
        "preflight" => format!("{rest}: nothing was switched"),
        _ => reason.to_owned(),
    }
}
