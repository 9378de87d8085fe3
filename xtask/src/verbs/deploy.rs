//! `cargo xtask deploy`: installs what was released on other machines, over ssh, and takes it back if it does not work there.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;

use crate::arch::Arch;
use crate::deploy::decide::{self, Decided, Decision, Request, Wanted};
use crate::deploy::facts::{self, Target, There};
use crate::deploy::host::Host;
use crate::deploy::plan;
use crate::deploy::script::Place;
use crate::deploy::ssh::Ssh;
use crate::flags;
use crate::rebuild::run::BuildAgain;
use crate::release::manifest::Manifest;
use crate::release::{artifacts, layout::MANIFEST};
use crate::sys;
use crate::sys::command::Command;
use crate::sys::hash;
use crate::sys::parallel;
use crate::sys::plan::Task;
use crate::sys::process::Runner;
use crate::ui::error::{self, bad_request};
use crate::ui::screen;
use crate::ui::table::{Align::Left, Table};
use crate::verify::release::{Archives, Release};
use crate::verify::report;
use crate::verify::trust::{Demands, Trust};
use crate::workspace::facts::Workspace;
use crate::workspace::products::Product;

/// What came of it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Deployed {
    pub targets: Vec<Outcome>,
}

/// What came of it on one target: either.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Outcome {
    pub host: String,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// With --status: what is there.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status<'a> {
    pub targets: Vec<Installed<'a>>,
}

/// What is on one target.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Installed<'a> {
    pub host: String,
    /// As `uname -m` has it.
    pub machine: &'a str,
    /// As `uname -r` has it.
    pub kernel: &'a str,
    /// Whether its kernel has BTF.
    pub btf: bool,
    /// What starts services there.
    pub init: &'a str,
    /// The version that runs there.
    pub current: Option<&'a str>,
    /// The versions that are kept there.
    pub history: &'a [String],
    /// What systemd says of the unit, if there is one.
    pub unit: Option<&'a str>,
    /// Why the last deployment was undone, if it was.
    pub undone: Option<&'a str>,
    /// Whether a deployment waits for its confirmation, or was cut off before.
    pub pending: bool,
    /// Who is deploying to it now.
    pub locked: Option<&'a str>,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &flags::Common, request: &flags::Deploy) -> Result<()> {
    let hosts = facts::hosts(&request.hosts)?;
    let (workspace, _) = Workspace::find(runner, common)?;
    // Nobody else can look into it. Paths of sockets must be short, and $TMPDIR may not be.
    let sockets =
        tempfile::Builder::new().prefix("bpfship-").tempdir_in("/tmp").context("cannot make a folder in /tmp")?;
    let ssh = Ssh {
        folder: sockets.path().to_owned(),
        config: request
            .ssh_config
            .as_ref()
            .map(absolute)
            .transpose()
            .context("cannot find the configuration of ssh")?,
    };
    let (product, bin) = workspace.config.product_of(request.bin.as_deref())?;
    if request.service {
        product.deploy.check_service(bin)?;
    }
    let place = Place { name: bin.into(), folder: request.dir.clone(), operator: operator() };
    let release = request.from.as_deref().map(released).transpose()?;
    check_signers(runner, request, release.as_ref())?;
    let deployment = Deployment { runner, common, request, workspace: &workspace, product, ssh, place };
    let done = deployment.run(&hosts, release);
    // Also after an error: what holds the connections open is not ours to leave behind.
    hosts.iter().for_each(|host| runner.sweep(&deployment.ssh.close(host)));
    done
}

/// A release, and the folder that it is in.
type Found = (PathBuf, Manifest);

/// All that is known before a target is called.
struct Deployment<'a> {
    runner: Runner,
    common: &'a flags::Common,
    request: &'a flags::Deploy,
    workspace: &'a Workspace,
    product: &'a Product,
    ssh: Ssh,
    place: Place,
}

impl Deployment<'_> {
    fn run(&self, hosts: &[Host], release: Option<Found>) -> Result<()> {
        let asked = self.ask(hosts)?;
        if self.request.status {
            return status(self.runner, self.request, hosts, &asked);
        }
        let mut failures: Vec<(Host, anyhow::Error)> = Vec::new();
        let mut targets: Vec<(Host, Target)> = Vec::new();
        for (host, target) in hosts.iter().zip(asked) {
            match target {
                Ok(target) => targets.push((host.clone(), target)),
                Err(error) => failures.push((host.clone(), error)),
            }
        }
        let wanted = match (&self.request.rollback, self.request.uninstall) {
            (Some(version), _) => Wanted::Rollback(version.clone()),
            (None, true) => Wanted::Uninstall,
            (None, false) => Wanted::Install,
        };
        let mut tasks = Vec::new();
        if wanted == Wanted::Install && release.is_none() && !targets.is_empty() {
            tasks.extend(build(self.common, self.workspace, &targets));
            if !self.request.plan {
                sys::plan::run(self.runner, &tasks)?;
                tasks.clear();
            }
        }
        let (folder, manifest) = match release {
            Some((folder, manifest)) => (folder, Some(manifest)),
            None => (self.workspace.dist.clone(), self.built(&wanted)?),
        };
        let same = self.same(wanted, folder, manifest.as_ref());
        let mut said: Vec<(String, String)> = Vec::new();
        let decided = self.decide(&targets, &same, &mut said, &mut failures)?;
        let (more, outcomes) = plan::tasks(&same, decided);
        tasks.extend(more);
        if self.request.plan {
            sys::plan::print(&tasks, self.request.json)?;
            return refuse(&failures);
        }
        let ran = sys::plan::run(self.runner, &tasks);
        let mut waiting = Vec::new();
        for (host, done) in &outcomes {
            match done.get() {
                Ok(Ok(words)) => said.push((host.to_string(), words.clone())),
                // It is in the error of the run.
                Ok(Err(words)) if self.request.json => failures.push((host.clone(), anyhow!("{words}"))),
                Ok(Err(_)) => {}
                Err(_) => waiting.push(host.to_string()),
            }
        }
        if ran.is_err() && !waiting.is_empty() {
            let waiting = waiting.join(", ");
            self.runner.status(format!("nothing was begun on {waiting}, because a batch before failed"));
        }
        report(self.runner, self.request, &said, &failures)?;
        ran?;
        refuse(&failures)
    }

    /// Asks all targets at once what they are.
    fn ask(&self, hosts: &[Host]) -> Result<Vec<Result<Target>>> {
        let token = hash::nonce()?;
        let asked = parallel::map_waiting(hosts, |host| {
            let line = self.runner.line(&host.to_string());
            line.set("asking it what it is");
            Target::read(self.runner, &self.ssh, host, &self.place, &token)
        });
        self.runner.check_interrupted()?;
        Ok(asked)
    }

    /// What dist/ has, if something is to be installed out of it: nothing yet, where all is only planned.
    fn built(&self, wanted: &Wanted) -> Result<Option<Manifest>> {
        let dist = &self.workspace.dist;
        let is_missing = self.request.plan && !dist.join(MANIFEST).exists();
        if *wanted != Wanted::Install || is_missing { Ok(None) } else { artifacts::read(dist).map(Some) }
    }

    /// What is asked of every target.
    fn same<'a>(&'a self, wanted: Wanted, folder: PathBuf, manifest: Option<&'a Manifest>) -> Request<'a> {
        let request = self.request;
        Request {
            wanted,
            service: request.service,
            keep: usize::from(request.keep),
            confirm: u64::from(request.confirm),
            watch: u64::from(request.watch),
            canary: request.canary.map(usize::from),
            batch: request.batch.map(usize::from),
            config: &self.product.deploy,
            place: self.place.clone(),
            ssh: self.ssh.clone(),
            folder,
            manifest,
        }
    }

    /// Decides what is done on each target. `said` gets those where nothing is to do, `failures` those where nothing can be.
    fn decide(
        &self,
        targets: &[(Host, Target)],
        same: &Request,
        said: &mut Vec<(String, String)>,
        failures: &mut Vec<(Host, anyhow::Error)>,
    ) -> Result<Vec<(Host, Decided)>> {
        let mut decided: Vec<(Host, Decided)> = Vec::new();
        for (host, target) in targets {
            match decide::decide(target, same) {
                Ok(decision) => {
                    decision.notes.iter().for_each(|note| self.runner.status(format!("{host}: {note}")));
                    if let Decision::Nothing(why) = &decision.decision {
                        said.push((host.to_string(), format!("nothing to do: {why}")));
                    }
                    decided.push((host.clone(), decision));
                }
                // What is wrong with the request is wrong for all.
                Err(error) if error.is::<error::BadRequest>() => return Err(error.context(host.to_string())),
                Err(error) => failures.push((host.clone(), error)),
            }
        }
        Ok(decided)
    }
}

/// A release that the user names by its folder, or by one of its archives: that alone is taken then.
fn released(from: &Path) -> Result<Found> {
    let path = absolute(from).with_context(|| format!("cannot find {}", from.display()))?;
    if !path.exists() {
        bad_request!("--from {}: it is not there", from.display());
    }
    if path.is_dir() {
        return Ok((path.clone(), artifacts::read(&path)?));
    }
    let (folder, name) =
        (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default().to_string_lossy());
    let mut manifest = artifacts::read(folder)?;
    manifest.artifacts.retain(|artifact| artifact.file == name);
    if manifest.artifacts.is_empty() {
        bad_request!("--from {}: {MANIFEST} beside it does not name it", from.display());
    }
    Ok((folder.into(), manifest))
}

/// Refuses a release behind which those who must do not stand, before any target is asked.
fn check_signers(runner: Runner, request: &flags::Deploy, release: Option<&Found>) -> Result<()> {
    let trust = Trust::read(&request.trust)?;
    match release {
        _ if trust.signers.is_empty() => Ok(()),
        Some((folder, manifest)) => {
            let names = manifest.artifacts.iter().map(|artifact| artifact.file.clone()).collect();
            let archives = Archives { release: Release::read(folder), names, is_folder: false };
            let demands = Demands { trust: &trust, boot: false, without_checksum: false, identity: None };
            report::refuse(&archives.check(runner, &demands)?)
        }
        None => bad_request!("--signer is for a release that was signed: name its folder with --from"),
    }
}

/// Plans to have the archives that the targets need, from the sources as they are now. What is up to date is not built again.
fn build(common: &flags::Common, workspace: &Workspace, targets: &[(Host, Target)]) -> Option<Task> {
    let there = artifacts::read(&workspace.dist).map(|manifest| manifest.artifacts).unwrap_or_default();
    let there: Vec<&'static Arch> = there.iter().map(|artifact| artifact.arch).collect();
    let arches: BTreeSet<&str> =
        targets.iter().filter_map(|(_, target)| decide::arch(target, &there).ok()).map(|arch| arch.name).collect();
    if arches.is_empty() {
        return None;
    }
    let list = arches.into_iter().collect::<Vec<_>>().join(",");
    let tool = env::current_exe().unwrap_or_else(|_| "cargo-xtask".into());
    let mut build = Command::new(tool, &workspace.root).args(["dist", "--arch", &list, "--manifest-path"]);
    build = build.arg(workspace.manifest.to_string_lossy()).args(common.offline.then_some("--offline"));
    let title = format!("building what {list} runs, as far as it has changed");
    Some(Task::new(title, vec![Box::new(BuildAgain { build })]).live("dist"))
}

/// Who deploys, for whoever finds a target locked.
fn operator() -> String {
    let name = rustix::system::uname();
    let host = name.nodename().to_string_lossy();
    let user = env::var("USER").unwrap_or_else(|_| "somebody".into());
    let text = format!("{user}@{host}");
    text.chars().filter(|char| char.is_ascii_alphanumeric() || "@._-".contains(*char)).take(100).collect()
}

/// Prints what came of it on each target.
fn report(
    runner: Runner,
    request: &flags::Deploy,
    said: &[(String, String)],
    failures: &[(Host, anyhow::Error)],
) -> Result<()> {
    if request.json {
        let done =
            said.iter().map(|(host, words)| Outcome { host: host.clone(), done: Some(words.clone()), failed: None });
        let failed = failures.iter().map(|(host, error)| Outcome {
            host: host.to_string(),
            done: None,
            failed: Some(format!("{error:#}")),
        });
        return screen::print_result(Deployed { targets: done.chain(failed).collect() });
    }
    said.iter().for_each(|(host, words)| runner.status(format!("{host}: {words}")));
    Ok(())
}

fn refuse(failures: &[(Host, anyhow::Error)]) -> Result<()> {
    let line = |(host, error): &(Host, anyhow::Error)| format!("{host}: {error:#}");
    match failures {
        [] => Ok(()),
        [only] => Err(anyhow!("{}", line(only))),
        several => bail!("nothing was done to these:\n  {}", several.iter().map(line).collect::<Vec<_>>().join("\n  ")),
    }
}

/// What is installed where.
fn status(runner: Runner, request: &flags::Deploy, hosts: &[Host], asked: &[Result<Target>]) -> Result<()> {
    let failures: Vec<(Host, anyhow::Error)> = hosts
        .iter()
        .zip(asked)
        .filter_map(|(host, target)| Some((host.clone(), anyhow!("{:#}", target.as_ref().err()?))))
        .collect();
    let known: Vec<(&Host, &Target)> =
        hosts.iter().zip(asked).filter_map(|(host, it)| Some((host, it.as_ref().ok()?))).collect();
    if request.json {
        let list = known.iter().map(|(host, target)| Installed {
            host: host.to_string(),
            machine: &target.machine,
            kernel: &target.release,
            btf: target.btf,
            init: &target.init,
            current: target.current(),
            history: &target.history,
            unit: target.unit.as_ref().map(|it| it.1.as_str()),
            undone: target.undone.as_deref(),
            pending: target.pending,
            locked: target.locked.as_deref(),
        });
        screen::print_result(Status { targets: list.collect() })?;
        return refuse(&failures);
    }
    let mut table = Table::new([Left; 6]);
    table.row(["host", "machine", "kernel", "current", "earlier", "service"]);
    for (host, target) in &known {
        let current = match &target.there {
            There::Version(version) => version.as_str(),
            There::Nothing => "nothing",
            There::File | There::Link(_) | There::Other => "not ours",
        };
        let earlier: Vec<&str> =
            target.history.iter().rev().map(String::as_str).filter(|it| Some(*it) != target.current()).collect();
        let state = |state: &str| {
            state.split(' ').find_map(|it| it.strip_prefix("ActiveState=")).unwrap_or("unknown").to_owned()
        };
        let service = target.unit.as_ref().map_or_else(String::new, |(_, it)| state(it));
        table.row([&host.to_string(), &target.machine, &target.release, current, &earlier.join(", "), &service]);
    }
    runner.table(&[table]);
    for (host, target) in known {
        if target.pending && target.locked.is_none() {
            runner.status(format!(
                "{host}: a deployment was cut off before it was confirmed: the next one undoes it first"
            ));
        }
        if let Some(owner) = &target.locked {
            runner.status(format!("{host}: {owner} is deploying to it now"));
        }
        if let Some(undone) = &target.undone {
            runner.status(format!("{host}: the last deployment was undone: {undone}"));
        }
    }
    refuse(&failures)
}
