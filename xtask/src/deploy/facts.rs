//! What is true of a target.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::deploy::host::Host;
use crate::deploy::report::Report;
use crate::deploy::script::Place;
use crate::deploy::ssh::{Ssh, shell};
use crate::deploy::unit::Kernel;
use crate::sys::files;
use crate::sys::hash::Sha256;
use crate::sys::process::{Runner, Watched};
use crate::ui::error::bad_request;
use crate::ui::screen;

/// How long a target may take to report, in seconds.
const LIMIT: u64 = 60;

/// What a target says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// The kernel's word for the machine (`uname -m`).
    pub machine: String,
    /// The name of the system, and the release of its kernel.
    pub system: String,
    pub release: String,
    /// Of its programs: 1 for 32 bits, 2 for 64; 1 for little-endian, 2 for big-endian. None if that cannot be seen there.
    pub elf: Option<(u8, u8)>,
    /// Bytes.
    pub page: Option<u64>,
    pub btf: bool,
    /// kernel.perf_event_paranoid.
    pub paranoid: Option<i32>,
    pub tracefs: bool,
    /// The first process: `systemd`, `openrc`, `procd`, `init`.
    pub init: String,
    pub year: Option<u32>,
    pub uid: u32,
    pub user: String,
    /// What makes root of the user without asking.
    pub r#become: Option<String>,
    /// Whether it has a program that computes SHA-256.
    pub hashes: bool,
    /// What is free where the program goes, in KiB, and how that is mounted.
    pub free: Option<u64>,
    pub mounted: Option<(String, String)>,
    /// The nearest folder that is there, and whether the user may write there.
    pub existing: String,
    pub writable: bool,
    /// What has the program's name.
    pub there: There,
    /// The versions in the store.
    pub versions: Vec<(String, Option<Sha256>)>,
    /// Those that were current, the oldest first.
    pub history: Vec<String>,
    /// The last deployment that was undone, and one that is under way.
    pub undone: Option<String>,
    pub pending: bool,
    pub locked: Option<String>,
    /// The SHA-256 of the unit and its state; and whether it is ours.
    pub unit: Option<(String, String)>,
    pub own_unit: bool,
}

/// What has the name of the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum There {
    #[default]
    Nothing,
    /// The version that a link of ours leads to.
    Version(String),
    /// Where a link leads that is not ours.
    Link(String),
    /// A file that was put there otherwise.
    File,
    Other,
}

impl Target {
    /// Asks a target.
    pub fn read(runner: Runner, ssh: &Ssh, host: &Host, place: &Place, token: &str) -> Result<Target> {
        let report = call(runner, ssh, host, true, &place.facts(token), None, token, LIMIT, |_| {})?;
        if report.get("end").is_none() {
            bail!("it did not report what it is: its login shell must be one that runs `sh -c`{}", report.below());
        }
        Target::of(&report, place).with_context(|| format!("what it reports cannot be used{}", report.below()))
    }

    /// Reads a report.
    pub fn of(report: &Report, place: &Place) -> Result<Target> {
        let text = |word: &str| report.get(word).unwrap_or_default().to_owned();
        let (system, release) = report.get("kernel").and_then(|it| it.split_once(' ')).unwrap_or_default();
        let (uid, user) = report.get("user").and_then(|it| it.split_once(' ')).context("no user")?;
        let bytes: Vec<u8> =
            report.get("elf").unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let elf = bytes.starts_with(b"\x7fELF").then(|| bytes.get(4).copied().zip(bytes.get(5).copied())).flatten();
        let store = format!(".{}/", place.name);
        let there = match (report.get("link"), report.get("file"), report.get("other")) {
            (Some(link), ..) => match link.strip_prefix(&store) {
                Some(version) => There::Version(version.into()),
                None => There::Link(link.into()),
            },
            (_, Some(_), _) => There::File,
            (_, _, Some(_)) => There::Other,
            _ => There::Nothing,
        };
        let pair =
            |text: &str| text.split_once(' ').map_or((text.into(), String::new()), |(a, b)| (a.into(), b.into()));
        Ok(Target {
            machine: text("machine"),
            system: system.into(),
            release: release.into(),
            elf,
            page: report.get("page").and_then(|it| it.parse::<u64>().ok()).map(|kib| kib * 1024),
            btf: report.get("btf") == Some("yes"),
            paranoid: report.get("paranoid").and_then(|it| it.parse().ok()),
            tracefs: report.get("tracefs") == Some("yes"),
            init: text("init"),
            year: report.get("year").and_then(|it| it.parse().ok()),
            uid: uid.parse().context("its user has no number")?,
            user: user.into(),
            r#become: report
                .all("become")
                .next()
                .map(String::from)
                .filter(|it| ["sudo", "doas"].contains(&it.as_str())),
            hashes: report.get("hash") == Some("2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),
            free: report.get("free").and_then(|it| it.parse().ok()),
            mounted: report.get("mount").map(pair),
            existing: text("existing"),
            writable: report.get("writable").is_some(),
            there,
            versions: report
                .all("version")
                .map(|it| it.split_once(' ').unwrap_or((it, "")))
                .map(|(name, hash)| (name.into(), hash.parse().ok()))
                .collect(),
            history: report.all("history").map(String::from).collect(),
            undone: report.get("undone").map(String::from),
            pending: report.get("pending").is_some(),
            locked: report.get("locked").map(String::from),
            unit: report.get("unit").map(pair),
            own_unit: report.get("own-unit").is_some(),
        })
    }

    /// The version of its kernel.
    pub fn kernel(&self) -> Option<(u32, u32)> {
        let mut numbers = self.release.split(|char: char| !char.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    /// What a unit has to know of its kernel.
    pub fn unit_kernel(&self) -> Kernel {
        let is_paranoid = self.paranoid.is_some_and(|level| level > 2);
        Kernel { version: self.kernel().unwrap_or_default(), btf: self.btf, is_paranoid }
    }

    /// The version that is current.
    pub fn current(&self) -> Option<&str> {
        match &self.there {
            There::Version(version) => Some(version),
            _ => None,
        }
    }
}

/// Calls a target with a script, and perhaps the bytes that follow it, and hands on each line of its report.
#[expect(clippy::too_many_arguments, reason = "one call is what they all are about")]
pub fn call(
    runner: Runner,
    ssh: &Ssh,
    host: &Host,
    shared: bool,
    script: &str,
    payload: Option<(&[u8], Option<&str>)>,
    token: &str,
    limit: u64,
    mut each: impl FnMut(&Report),
) -> Result<Report> {
    let (bytes, r#become) = payload.unwrap_or_default();
    let command = ssh.call(host, shared).arg(shell(script, r#become));
    let input = [script.as_bytes(), bytes].concat();
    let mut report = Report::default();
    let watched = runner.watch(&command, Some(input), Duration::from_secs(limit), |line| {
        let before = report.said.len();
        let flow = report.take(token, line);
        if report.said.len() > before {
            each(&report);
        }
        flow
    })?;
    match watched {
        Watched::Stopped => bail!("it prints without end"),
        Watched::Late => bail!("it did not answer within {limit} seconds{}", report.below()),
        // Of ssh itself.
        Watched::Ended(status) if status.code() == Some(255) => Err(unreachable(host, &report)),
        Watched::Ended(_) => Ok(report),
    }
}

/// Why ssh could not do it, and what helps.
fn unreachable(host: &Host, report: &Report) -> anyhow::Error {
    let said = report.output.join("\n");
    let remedy = [
        (
            "Host key verification failed",
            "its key is not known, or is another than before: run `ssh HOST` once, and compare",
        ),
        ("Permission denied", "no key opens it, and nobody is asked for a password here: run `ssh-copy-id HOST` once"),
        ("Could not resolve", "nobody knows that name"),
        ("Connection refused", "no ssh server listens there"),
        ("timed out", "nothing answers there"),
    ]
    .iter()
    .find(|(words, _)| said.contains(words))
    .map_or("ssh failed", |(_, remedy)| remedy);
    anyhow!("{}{}", remedy.replace("HOST", &host.to_string()), report.below())
}

/// The targets that words name: each one, or with `@` a file of them.
pub fn hosts(named: &[String]) -> Result<Vec<Host>> {
    let mut hosts: Vec<Host> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    for word in named {
        match word.strip_prefix('@') {
            None => words.push(word.clone()),
            Some(file) => {
                let text = files::read_if_there(Path::new(file))?;
                let Some(text) = text else { bad_request!("{}: there is no such file of hosts", screen::plain(word)) };
                let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
                words.extend(lines.filter(|line| !line.is_empty()).map(String::from));
            }
        }
    }
    if words.is_empty() {
        bad_request!("no host is named");
    }
    for text in &words {
        match text.parse::<Host>() {
            Ok(host) if hosts.contains(&host) => bad_request!("{host} is named twice"),
            Ok(host) => hosts.push(host),
            Err(error) => bad_request!("{}: {error}", screen::plain(text)),
        }
    }
    Ok(hosts)
}
