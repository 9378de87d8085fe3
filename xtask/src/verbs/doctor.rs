//! `cargo xtask doctor`: what this machine has of what the verbs need, and how the rest is got. It works where they do not.

use anyhow::{Result, bail};
use console::Style;
use serde::Serialize;

use crate::adopt::survey;
use crate::adopt::survey::facts::Survey;
use crate::adopt::survey::findings::{self, findings};
use crate::flags::{self, Common};
use crate::sys::cache::Cache;
use crate::sys::process::Runner;
use crate::ui::screen;
use crate::ui::status::{State, Status};
use crate::ui::table::beside;
use crate::workspace::cached;
use crate::workspace::machine::Machine;
use crate::workspace::needs::{OfVerb, Row};

/// What the machine has, and what follows from it. Its form as JSON is in docs/doctor.md.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    pub rows: Vec<Row>,
    pub verdicts: Vec<Verdict>,
}

/// Whether a verb can work.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verdict {
    pub verb: &'static str,
    pub ready: bool,
    /// The names of what stands in its way, of what it will fetch, and of what it will build.
    pub lacks: Vec<String>,
    pub fetches: Vec<String>,
    pub builds: Vec<String>,
    /// Of what it will fetch, as far as that is known.
    pub megabytes: u64,
}

/// What was found of a workspace that is not shipped yet.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Adopted {
    pub findings: Vec<findings::Finding>,
    pub verdict: findings::Verdict,
}

/// The verb that decides how `doctor` ends.
const DIST: &str = "dist";

/// Runs the verb, for these verbs.
pub fn run(runner: Runner, common: &Common, request: &flags::Doctor, verbs: &[OfVerb]) -> Result<()> {
    if let Some(word) = &request.adopt {
        return adopt(runner, common, word, request);
    }
    let machine = Machine::read(runner, common, request)?;
    let mut others = machine.others();
    if request.cache {
        others.extend(contents(&Cache::find()?));
    }
    let report = examine(&machine, verbs, others);
    match request.json {
        true => screen::print_result(&report)?,
        false => screen::print(&text(&report, screen::width().unwrap_or(80), common.quiet))?,
    }
    let hinder = report.rows.iter().filter(|row| row.status.state == State::NeedsYou && row.needed_by.contains(&DIST));
    let reasons: Vec<String> = hinder.map(|row| format!("{}: {}", row.name, row.status.sentence())).collect();
    match reasons.as_slice() {
        [] => Ok(()),
        [reason] => bail!("dist cannot work on this machine: {reason}"),
        _ => bail!("dist cannot work on this machine:\n  {}", reasons.join("\n  ")),
    }
}

/// Examines a workspace that is not shipped yet.
fn adopt(runner: Runner, common: &Common, word: &str, request: &flags::Doctor) -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let place = survey::facts::place(runner, word, temporary.path())?;
    let survey = Survey::read(runner, &place, request.package.as_deref())?;
    let findings = findings(&survey, &survey::facts::has);
    let verdict = findings::Verdict::new(&findings);
    let adopted = Adopted { findings, verdict };
    let Adopted { findings, verdict } = &adopted;
    match request.json {
        true => screen::print_result(&adopted)?,
        false => {
            screen::print(&survey::text::text(findings, verdict, screen::width().unwrap_or(80), common.quiet))?;
        }
    }
    let blocks = findings.iter().filter(|finding| finding.state == findings::State::Blocks);
    let names: Vec<&str> = blocks.map(|finding| finding.name.as_str()).collect();
    match names.as_slice() {
        [] if verdict.ready => Ok(()),
        [] => bail!("{word} cannot be shipped as it is: no architecture is left"),
        names => bail!("{word} cannot be shipped as it is: {}", names.join(", ")),
    }
}

/// Reads every file of every entry of the cache.
fn contents(cache: &Cache) -> Vec<Row> {
    let names = cache.entries().unwrap_or_default().into_iter().filter(|name| cached::is_whole(name));
    let read = |name: String| {
        let found = match cache.damage(&name) {
            Ok(None) => Ok("as it was made".into()),
            Ok(Some(file)) => {
                Err(Status::new(State::ToBuild, format!("{file} is damaged; who needs it makes it again")))
            }
            Err(error) => Err(error.into()),
        };
        Row::new(name, found)
    };
    names.map(read).collect()
}

/// Joins what the verbs need, and the `others` that none of them needs.
fn examine(machine: &Machine, verbs: &[OfVerb], others: Vec<Row>) -> Report {
    let mut rows: Vec<Row> = Vec::new();
    for (verb, needs) in verbs {
        for mut row in machine.rows(needs) {
            match rows.iter_mut().find(|other| other.name == row.name && other.status == row.status) {
                Some(other) if other.needed_by.contains(verb) => {}
                Some(other) => other.needed_by.push(verb),
                None => {
                    row.needed_by.push(verb);
                    rows.push(row);
                }
            }
        }
    }
    for mut row in others {
        if rows.iter().all(|other| other.name != row.name) {
            if row.status.state == State::NeedsYou {
                row.status.state = State::Optional;
            }
            rows.push(row);
        }
    }
    let verdicts = verbs.iter().map(|(verb, _)| Verdict::new(verb, &rows)).collect();
    Report { rows, verdicts }
}

impl Verdict {
    fn new(verb: &'static str, rows: &[Row]) -> Verdict {
        let needed = || rows.iter().filter(|row| row.needed_by.contains(&verb));
        let names = |state| needed().filter(|row| row.status.state == state).map(|row| row.name.clone()).collect();
        let lacks: Vec<String> = names(State::NeedsYou);
        Verdict {
            verb,
            ready: lacks.is_empty(),
            lacks,
            fetches: names(State::ToFetch),
            builds: names(State::ToBuild),
            megabytes: needed().filter_map(|row| row.status.megabytes).sum(),
        }
    }

    fn words(&self) -> String {
        if !self.ready {
            return format!("cannot work: {}", self.lacks.join(", "));
        }
        let mut words = String::from("ready");
        match (self.fetches.join(", "), self.megabytes) {
            (names, _) if names.is_empty() => {}
            (names, 0) => words += &format!(", will fetch {names}"),
            (names, megabytes) => words += &format!(", will fetch {names} ({megabytes} MB)"),
        }
        if !self.builds.is_empty() {
            words += &format!(", will build {}", self.builds.join(", "));
        }
        words
    }
}

/// The report for people, in lines of at most `width` columns; with `brief`, only what needs them.
fn text(report: &Report, width: usize, brief: bool) -> String {
    let mut text = String::new();
    let mut groups: Vec<&[&str]> = Vec::new();
    for row in &report.rows {
        if !groups.contains(&row.needed_by.as_slice()) {
            groups.push(&row.needed_by);
        }
    }
    // Longer names, such as those of entries of the cache, stand out of the column.
    let column = report.rows.iter().map(|row| row.name.len()).filter(|width| *width < 12).max().unwrap_or_default();
    for needed_by in groups {
        let mut rows: Vec<&Row> = report.rows.iter().filter(|row| row.needed_by == needed_by).collect();
        if brief {
            rows.retain(|row| row.status.state == State::NeedsYou);
        } else {
            text += &format!("{}\n", Style::new().bold().apply_to(title(needed_by)));
        }
        for Row { name, status, .. } in rows {
            let (word, style) = status.state.word();
            let size = status.megabytes.map(|megabytes| format!(" ({megabytes} MB)")).unwrap_or_default();
            let indent = 2 + 9 + 2 + column + 2;
            let label = format!("  {:9}  {name:column$}  ", style.apply_to(word));
            let detail = status.detail.clone() + &size;
            let texts = [detail.as_str()].into_iter().chain(status.remedy.as_deref());
            text += &beside(&label, indent, texts, width);
        }
    }
    let column = report.verdicts.iter().map(|verdict| verdict.verb.len() + 2).max().unwrap_or_default();
    for verdict in report.verdicts.iter().filter(|_| !brief) {
        let (_, style) = if verdict.ready { State::Ok.word() } else { State::NeedsYou.word() };
        let label = format!("{:column$}", format!("{}:", verdict.verb));
        text += &beside(&label, column, [style.apply_to(verdict.words()).to_string().as_str()], width);
    }
    text
}

/// "dist, bpf and boot need".
fn title(needed_by: &[&str]) -> String {
    match needed_by {
        [] => "not needed here and now".into(),
        [verb] => format!("{verb} needs"),
        [verbs @ .., last] => format!("{} and {last} need", verbs.join(", ")),
    }
}

impl State {
    fn word(self) -> (&'static str, Style) {
        match self {
            State::Ok => ("ok", Style::new().green()),
            State::ToFetch => ("to fetch", Style::new().yellow()),
            State::ToBuild => ("to build", Style::new().yellow()),
            State::NeedsYou => ("needs you", Style::new().red().bold()),
            State::Optional => ("optional", Style::new().dim()),
            State::Unknown => ("unknown", Style::new().yellow()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{ARCHES, Arch};
    use crate::boot::kernels::{self, lock::Lock};
    use crate::bpf::container::{Container, Place};
    use crate::container::engine::{Engine, Kind};
    use crate::debian::deb::Deb;
    use crate::release::plan::tests::facts;
    use crate::sys::hash;
    use crate::toolchain::facts::{Installed, names};
    use crate::toolchain::zig;
    use crate::ui::remedies;
    use crate::verbs::NEEDS;
    use crate::workspace::config::Config;
    use crate::workspace::facts::Facts;
    use crate::workspace::machine::{self, Space};

    fn gigabytes(number: u64) -> u64 {
        number * 1_000_000_000
    }

    /// A machine that lacks nothing.
    fn machine() -> Machine {
        let Facts { rust, config, .. } = facts();
        let arches: Vec<_> = ARCHES.iter().filter(|arch| ["amd64", "mips"].contains(&arch.name)).collect();
        let found =
            ["Rust", "cargo", "workspace", "crates", "git", "cc", "rustup", "pip", "docker", "podman", "mirror", "ssh"];
        let qemu: Vec<String> = arches.iter().map(|arch| machine::qemu(arch)).collect();
        let found = found.map(String::from).into_iter().chain(["kbuild".into()]).chain(qemu);
        let std = ["x86_64-unknown-linux-musl".to_owned()].into();
        Machine {
            offline: false,
            installed: Installed { std, rust_src: true, cached: names(Some(&rust)) },
            rust: Ok(rust),
            config: Ok(Config { arches, ..config }),
            with_c: false,
            stale: Ok(None),
            cache: Ok(Space { folder: "/c".into(), used: 0, free: gigabytes(9), writable: Ok(()) }),
            pins: Ok(Lock::default()),
            place: Ok(Place::Host),
            found: found.map(|name| (name, Ok(String::new()))).collect(),
        }
    }

    /// The same without some programs.
    fn without(machine: &Machine, names: &[&str]) -> Machine {
        let mut machine = machine.clone();
        let lacks = names.iter().map(|name| ((*name).to_owned(), Err(Status::missing("none", "get it"))));
        machine.found.extend(lacks);
        machine
    }

    fn examined(machine: &Machine) -> Report {
        examine(machine, &NEEDS, machine.others())
    }

    fn words(machine: &Machine) -> [String; 2] {
        let verdicts = examined(machine).verdicts;
        [verdicts[0].words(), verdicts[1].words()]
    }

    #[test]
    fn a_machine_that_lacks_nothing_is_ready_even_offline() {
        assert_eq!(words(&machine()), ["ready", "ready"]);
        let offline = without(&Machine { offline: true, ..machine() }, &["rustup", "pip"]);
        assert_eq!(words(&offline), ["ready", "ready"]);
    }

    #[test]
    fn what_can_be_fetched_is_no_fault_unless_what_fetches_it_is_missing() {
        let empty = Machine { installed: Installed::default(), ..machine() };
        let dist = "ready, will fetch compiler, std amd64, rust-src (143 MB), will build std mips";
        assert_eq!(words(&empty), [dist, "ready, will fetch compiler (100 MB)"]);
        assert_eq!(words(&without(&empty, &["pip"])), ["cannot work: pip", "cannot work: pip"]);
        assert_eq!(words(&without(&empty, &["rustup"]))[0], "cannot work: rustup");
        let offline = Machine { offline: true, ..empty };
        assert_eq!(words(&offline), ["cannot work: compiler, std amd64, rust-src", "cannot work: compiler"]);
    }

    #[test]
    fn a_pinned_kernel_is_fetched_although_another_one_is_there() {
        let mut machine = machine();
        for arch in &machine.config.as_ref().unwrap().arches {
            machine.installed.cached.insert(kernels::default_of(arch).entry(None));
        }
        let fetches = |machine: &Machine| -> Vec<String> {
            examined(machine).verdicts.into_iter().find(|verdict| verdict.verb == "boot").unwrap().fetches
        };
        assert_eq!(fetches(&machine), [""; 0]);
        let kernel = kernels::default_of(Arch::named("amd64"));
        let deb = Deb { name: "linux-image-6.12".into(), version: "6.12.1-1".into(), sha256: hash::bytes(b"deb") };
        let mut pins = Lock::default();
        pins.set(kernel, deb.clone());
        machine.pins = Ok(pins);
        assert_eq!(fetches(&machine), ["kernels"]);
        machine.installed.cached.insert(kernel.entry(Some(&deb)));
        assert_eq!(fetches(&machine), [""; 0]);
    }

    #[test]
    fn a_compiler_in_a_container_need_not_be_in_the_cache() {
        let engine =
            Engine { kind: Kind::Docker, version: "1".into(), platform: "linux/amd64".into(), has_users: true };
        let container = Container { engine, image: "ours".into(), present: true, theirs: false };
        let mut machine = Machine { place: Ok(Place::Container(container.clone())), ..machine() };
        machine.installed.cached.remove(&zig::name().unwrap());
        assert_eq!(words(&machine), ["ready", "ready"]);
        // Their own image must be pulled, by dist too if objects must be compiled.
        machine.place = Ok(Place::Container(Container { present: false, theirs: true, ..container }));
        assert_eq!(words(&machine), ["ready", "ready, will fetch image"]);
        machine.stale = Ok(Some("a.c changed".into()));
        assert_eq!(words(&machine)[0], "ready, will fetch image, will build BPF objects");
    }

    #[test]
    fn a_disk_without_room_hinders_while_something_must_be_made() {
        let space = Space { folder: "/c".into(), used: 0, free: 400_000_000, writable: Ok(()) };
        let mut machine = Machine { cache: Ok(space), ..machine() };
        assert_eq!(words(&machine)[0], "ready");
        machine.installed.cached.clear();
        assert_eq!(words(&machine)[0], "cannot work: cache");
        let row = examined(&machine).rows.into_iter().find(|row| row.name == "cache").unwrap();
        assert_eq!(row.status.detail, "/c: 400 MB free, and 550 MB are needed");
    }

    #[test]
    fn lines_fit_the_terminal_and_break_after_commas() {
        let lack = Status::missing("there is no cc on this machine", remedies::installation("cc").unwrap().to_string());
        let mut machine = machine();
        machine.found.insert("cc".into(), Err(lack));
        let report = examined(&machine);
        for width in [80, 140] {
            assert!(text(&report, width, false).lines().all(|line| line.len() <= width));
        }
        assert_eq!(
            text(&report, 80, true),
            "  needs you  cc           there is no cc on this machine\n\
             \x20                         apt install gcc libc6-dev (Debian),\n\
             \x20                         dnf install gcc (Fedora), pacman -S gcc (Arch),\n\
             \x20                         xcode-select --install (macOS)\n"
        );
    }
}
