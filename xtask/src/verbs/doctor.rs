//! `cargo xtask doctor`: what this machine has of what the verbs need, and how the rest is got. It works where they do not.

use anyhow::{Result, bail};
use console::Style;
use serde::Serialize;

use crate::arch::{ARCHES, Std};
use crate::flags;
use crate::flags::Common;
use crate::sys::process::Runner;
use crate::toolchain;
use crate::toolchain::Needs;
use crate::toolchain::sysroot;
use crate::toolchain::sysroot::Sysroot;
use crate::toolchain::zig;
use crate::ui::error;
use crate::ui::error::{Failed, Missing};
use crate::ui::remedies;
use crate::ui::screen;
use crate::ui::screen::Level;
use crate::workspace::probe::{Probed, Space};

/// What the machine has, and what follows from it. Its form as JSON is told in docs/doctor.md.
#[derive(Debug, Serialize)]
pub struct Report {
    pub rows: Vec<Row>,
    pub verdicts: Vec<Verdict>,
}

/// One thing that verbs may need.
#[derive(Debug, Serialize)]
pub struct Row {
    pub name: String,
    /// The verbs that need it now.
    pub needed_by: Vec<&'static str>,
    #[serde(flatten)]
    pub status: Status,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    pub state: State,
    pub detail: String,
    pub remedy: Option<String>,
    /// What will come over the network, as far as that is known.
    pub megabytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Ok,
    /// Missing, and the next run downloads it.
    ToFetch,
    /// Missing, and the next run makes it.
    ToBuild,
    NeedsYou,
    /// Missing, and it need not be there.
    Optional,
    /// It depends on something else that is missing.
    Unknown,
}

/// Whether a verb can work.
#[derive(Debug, Serialize)]
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

/// Something that is there, or what is to be said of it.
pub type Found<T = String> = Result<T, Status>;

const DIST: &str = "dist";
const BPF: &str = "bpf";
const BOTH: [&str; 2] = [DIST, BPF];

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &flags::Doctor) -> Result<()> {
    // What is said while asking goes into the report.
    let asking = if common.verbose { runner } else { Runner::new(Level::Quiet) };
    let report = examine(&Probed::read(asking, common, request)?);
    screen::print(&match request.json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => text(&report, screen::width().unwrap_or(80), common.quiet),
    })?;
    let reasons: Vec<String> = report.rows.iter().filter(|row| row.hinders(DIST)).map(Row::sentence).collect();
    match reasons.as_slice() {
        [] => Ok(()),
        [reason] => bail!("dist cannot work on this machine: {reason}"),
        _ => bail!("dist cannot work on this machine:\n  {}", reasons.join("\n  ")),
    }
}

/// Decides what follows from what was found.
pub fn examine(probed: &Probed) -> Report {
    let installed = &probed.installed;
    let is_stale = matches!(probed.stale, Ok(Some(_)));
    let bpf = match &probed.place {
        Ok(place) => Needs { zig: place.needs_compiler(), image: place.pulls(), ..Needs::default() },
        Err(_) => Needs::default(),
    };
    let mut dist = if is_stale { bpf.clone() } else { Needs::default() };
    let arches = probed.config.as_ref().map_or_else(|_| ARCHES.iter().collect(), |config| config.arches.clone());
    if let Ok(rust) = &probed.rust {
        for arch in &arches {
            match arch.std {
                Std::Prebuilt => dist.std.push(arch.triple),
                Std::Source => dist.sysroots.push(Sysroot::new(arch, rust)),
            }
        }
    }
    // It fails on a machine that there is no compiler for, which the row of the compiler says.
    let [dist, bpf] = [dist, bpf].map(|needs| needs.missing(installed, false).unwrap_or(needs));
    let verbs = |lacks: fn(&Needs) -> bool| -> Vec<&'static str> {
        BOTH.into_iter().zip([&dist, &bpf]).filter(|(_, missing)| lacks(missing)).map(|(verb, _)| verb).collect()
    };
    let with_pip = verbs(|missing| missing.zig);
    let with_rustup = verbs(|missing| missing.rust_src || !missing.std.is_empty());
    let writing = verbs(|missing| *missing != Needs { image: missing.image.clone(), ..Needs::default() });
    let zig = if with_pip.is_empty() { 0 } else { zig::SPACE_MB };
    let wanted = (zig + dist.sysroots.len() as u64 * sysroot::SPACE_MB) * 1_000_000;
    let compiling = if is_stale { &BOTH[..] } else { &[BPF] };
    // What gets other things is needed while they are missing, unless it may not get them.
    let allowed = |verbs: Vec<&'static str>| if probed.offline { Vec::new() } else { verbs };

    let optional = |detail: &str| Err(Status::new(State::Optional, detail));
    let fetch = |detail: &str, by: &str, megabytes| match probed.offline {
        true => Err(Status::lack(detail, "run once without --offline")),
        false => Err(Status { megabytes, ..Status::new(State::ToFetch, format!("{detail}; {by} fetches it")) }),
    };
    let mut rows = Vec::new();
    let mut row = |name: &str, needed_by: &[&'static str], found: Found| rows.push(Row::new(name, needed_by, found));

    let pin = if probed.is_pinned { ", as the workspace pins it" } else { "; the workspace pins none" };
    row("Rust", &BOTH, probed.rust.clone().map(|rust| rust.version + pin));
    row("cargo", &BOTH, probed.cargo.clone());
    let names: Vec<&str> = arches.iter().map(|arch| arch.name).collect();
    let config = probed.config.clone();
    row("workspace", &BOTH, config.map(|it| format!("{} {} for {}", it.package, it.version, names.join(", "))));
    match probed.crates.clone() {
        Ok(None) => row("crates", &BOTH, fetch("a crate of Cargo.lock is not here", "cargo", None)),
        crates => row("crates", &BOTH, crates.map(|count| format!("all {} of Cargo.lock", count.unwrap_or(0)))),
    }
    match probed.cache.clone() {
        Ok(cache) if writing.is_empty() => row("cache", &BOTH, check(&cache, None)),
        Ok(cache) => row("cache", &writing, check(&cache, Some(wanted))),
        Err(status) => row("cache", &BOTH, Err(status)),
    }
    match zig::name() {
        Err(error) => row("compiler", &BOTH, Err(error.into())),
        Ok(name) if installed.cached.contains(&name) => row("compiler", &BOTH, Ok(name)),
        Ok(_) if with_pip.is_empty() => row("compiler", &[], optional("not in the cache")),
        Ok(_) => row("compiler", &with_pip, fetch(zig::PACKAGE, "pip", Some(zig::DOWNLOAD_MB))),
    }
    match probed.stale.clone() {
        Ok(Some(reason)) => row("BPF objects", &[DIST], Err(Status::new(State::ToBuild, reason))),
        stale => row("BPF objects", &BOTH, stale.map(|_| "up to date".into())),
    }
    if let Err(status) = &probed.place {
        row("engine", compiling, Err(status.clone()));
    }
    if let Some(image) = &bpf.image {
        row("image", compiling, fetch(image, "the engine", None));
    }
    row("cc", &[DIST], probed.linker.clone().map(|_| "it links".into()));
    row("git", &[DIST], probed.commit.clone());
    for arch in arches {
        let found = match arch.std {
            _ if probed.rust.is_err() => Err(Status::unknown("Rust")),
            Std::Prebuilt if !dist.std.contains(&arch.triple) => Ok("prebuilt".into()),
            Std::Prebuilt => fetch("not here", "rustup", Some(toolchain::STD_MB)),
            Std::Source if dist.sysroots.iter().all(|sysroot| sysroot.arch != arch) => Ok("in the cache".into()),
            Std::Source => Err(Status::new(State::ToBuild, "from its sources, once")),
        };
        row(&format!("std {arch}"), &[DIST], found);
    }
    match (dist.rust_src, installed.rust_src) {
        _ if probed.rust.is_err() => row("rust-src", &[], Err(Status::unknown("Rust"))),
        (true, _) => row("rust-src", &[DIST], fetch("not here", "rustup", Some(toolchain::RUST_SRC_MB))),
        (_, true) => row("rust-src", &[], Ok("here".into())),
        (_, false) => row("rust-src", &[], optional("not here")),
    }
    let with_rustup = if probed.rust.is_err() { BOTH.into() } else { allowed(with_rustup) };
    row("rustup", &with_rustup, probed.rustup.clone());
    row("pip", &allowed(with_pip), probed.pip.clone().map(|_| "it checks hashes".into()));
    for (kind, engine) in &probed.engines {
        row(kind.program(), &[], engine.clone().map(|engine| engine.version));
    }
    for (name, found) in &probed.contents {
        row(name, &[], found.clone());
    }
    row("qemu", &[], optional("for `boot`, and for tests of the binaries"));

    let verdicts = BOTH.map(|verb| Verdict::new(verb, &rows)).into();
    Report { rows, verdicts }
}

/// Whether the cache will do; `wanted` bytes will be written to it, if any.
fn check(Space { folder, used, free, writable }: &Space, wanted: Option<u64>) -> Found {
    let (used, room) = (screen::size(*used), screen::size(*free));
    match (wanted, writable) {
        (Some(_), Err(why)) => {
            Err(Status::lack(format!("{folder}: {why}"), "set BPFSHIP_CACHE to a folder that can be written"))
        }
        (Some(wanted), _) if wanted > *free => Err(Status::lack(
            format!("{folder}: {room} free, and {} are needed", screen::size(wanted)),
            "free some space, or set BPFSHIP_CACHE to a folder on a larger disk",
        )),
        (_, Err(_)) => Ok(format!("{folder}: {used}, read-only, which does while nothing is missing")),
        _ => Ok(format!("{folder}: {used}, and {room} free")),
    }
}

impl Status {
    pub fn new(state: State, detail: impl Into<String>) -> Status {
        Status { state, detail: detail.into(), remedy: None, megabytes: None }
    }

    pub fn lack(detail: impl Into<String>, remedy: impl Into<String>) -> Status {
        Status { remedy: Some(remedy.into()), ..Status::new(State::NeedsYou, detail) }
    }

    /// What is not known while something else is missing.
    pub fn unknown(other: &str) -> Status {
        Status::new(State::Unknown, format!("not known before `{other}` is right"))
    }
}

impl From<anyhow::Error> for Status {
    fn from(error: anyhow::Error) -> Status {
        let known = error.downcast_ref().and_then(|Failed { program, said, .. }| remedies::find(program, said));
        match (error.downcast_ref(), known) {
            (Some(Missing(row)), _) => {
                Status::lack(format!("there is no {} on this machine", row.program), row.to_string())
            }
            (_, Some(known)) => Status::lack(known.reason, known.remedy),
            // What another program said belongs to it, for nobody knows better.
            _ => {
                let words: Vec<_> = error::describe(&error).split_whitespace().map(String::from).collect();
                Status::new(State::NeedsYou, words.join(" "))
            }
        }
    }
}

impl Row {
    fn new(name: &str, needed_by: &[&'static str], found: Found) -> Row {
        let mut status = found.map_or_else(|status| status, |detail| Status::new(State::Ok, detail));
        if needed_by.is_empty() && status.state == State::NeedsYou {
            status.state = State::Optional;
        }
        Row { name: name.into(), needed_by: needed_by.into(), status }
    }

    fn hinders(&self, verb: &str) -> bool {
        self.status.state == State::NeedsYou && self.needed_by.contains(&verb)
    }

    fn sentence(&self) -> String {
        let remedy = self.status.remedy.as_ref().map(|remedy| format!(": {remedy}"));
        format!("{}: {}{}", self.name, self.status.detail, remedy.unwrap_or_default())
    }
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
pub fn text(report: &Report, width: usize, brief: bool) -> String {
    let mut text = String::new();
    for (needed_by, title) in [
        (&BOTH[..], "dist and bpf need"),
        (&[DIST], "dist needs"),
        (&[BPF], "bpf needs"),
        (&[], "not needed here and now"),
    ] {
        let mut rows: Vec<&Row> = report.rows.iter().filter(|row| row.needed_by == needed_by).collect();
        if brief {
            rows.retain(|row| row.status.state == State::NeedsYou);
        } else if !rows.is_empty() {
            text += &format!("{}\n", Style::new().bold().apply_to(title));
        }
        for Row { name, status, .. } in rows {
            let (word, style) = status.state.word();
            let size = status.megabytes.map(|megabytes| format!(" ({megabytes} MB)")).unwrap_or_default();
            let mut lines = wrap(&format!("{}{size}", status.detail), width.saturating_sub(26));
            lines.extend(status.remedy.iter().flat_map(|remedy| wrap(remedy, width.saturating_sub(26))));
            let lines = lines.join(&format!("\n{:26}", ""));
            text += &format!("  {:9}  {name:11}  {lines}\n", style.apply_to(word));
        }
    }
    for verdict in report.verdicts.iter().filter(|_| !brief) {
        let (_, style) = if verdict.ready { State::Ok.word() } else { State::NeedsYou.word() };
        let lines = wrap(&verdict.words(), width.saturating_sub(6)).join(&format!("\n{:6}", ""));
        text += &format!("{:6}{}\n", format!("{}:", verdict.verb), style.apply_to(lines));
    }
    text
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

/// Breaks a text into lines. What lies between commas stays together where it can: it may be a command.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in text.split_inclusive(", ") {
        let words: Vec<&str> = if part.len() <= width { vec![part] } else { part.split_inclusive(' ').collect() };
        for word in words {
            match lines.last_mut() {
                Some(line) if line.is_empty() || line.len() + word.trim_end().len() <= width => line.push_str(word),
                _ => lines.push(word.into()),
            }
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::engine::{Container, Engine, Kind, Place};
    use crate::toolchain::Installed;
    use crate::workspace::config::{Boot, Bpf, Config};
    use crate::workspace::facts::Rust;

    fn gigabytes(number: u64) -> u64 {
        number * 1_000_000_000
    }

    /// A machine that lacks nothing.
    fn probed() -> Probed {
        let rust = Rust { sysroot: "/r".into(), version: "1.95.0".into(), commit: "c".into(), llvm: "22".into() };
        let arches: Vec<_> = ARCHES.iter().filter(|arch| ["amd64", "mips"].contains(&arch.name)).collect();
        let config = Config {
            package: "tool".into(),
            version: "0.3.0".into(),
            bin: "probe".into(),
            arches,
            include: Vec::new(),
            minimum_kernel: None,
            bpf: Bpf { folder: "kernel".into(), cpu: "v1".into(), cflags: Vec::new(), image: None },
            boot: Boot { commands: Vec::new(), btf_commands: Vec::new(), timeout: 1 },
        };
        let std = ["x86_64-unknown-linux-musl".to_owned()].into();
        Probed {
            offline: false,
            is_pinned: true,
            installed: Installed { std, rust_src: true, cached: toolchain::names(Some(&rust)) },
            rust: Ok(rust),
            cargo: Ok("1.95.0".into()),
            config: Ok(config),
            crates: Ok(Some(7)),
            cache: Ok(Space { folder: "/c".into(), used: 0, free: gigabytes(9), writable: Ok(()) }),
            contents: Vec::new(),
            linker: Ok(String::new()),
            commit: Ok("commit 1a2b".into()),
            stale: Ok(None),
            place: Ok(Place::Host),
            engines: vec![(Kind::Docker, Err(Status::lack("there is none", "install it")))],
            rustup: Ok("1.29.0".into()),
            pip: Ok(String::new()),
        }
    }

    fn words(probed: &Probed) -> [String; 2] {
        let verdicts = examine(probed).verdicts;
        [verdicts[0].words(), verdicts[1].words()]
    }

    #[test]
    fn a_machine_that_lacks_nothing_is_ready_even_offline() {
        assert_eq!(words(&probed()), ["ready", "ready"]);
        let lack = || Err(Status::lack("none", "get it"));
        let offline = Probed { offline: true, rustup: lack(), pip: lack(), ..probed() };
        assert_eq!(words(&offline), ["ready", "ready"]);
    }

    #[test]
    fn what_can_be_fetched_hinders_nobody_unless_what_fetches_it_is_missing() {
        let empty = Probed { installed: Installed::default(), ..probed() };
        let dist = "ready, will fetch compiler, std amd64, rust-src (143 MB), will build std mips";
        assert_eq!(words(&empty), [dist, "ready, will fetch compiler (100 MB)"]);
        let without_pip = Probed { pip: Err(Status::lack("none", "get it")), ..empty.clone() };
        assert_eq!(words(&without_pip), ["cannot work: pip", "cannot work: pip"]);
        let without_rustup = Probed { rustup: Err(Status::lack("none", "get it")), ..empty.clone() };
        assert_eq!(words(&without_rustup)[0], "cannot work: rustup");
        let offline = Probed { offline: true, ..empty };
        assert_eq!(words(&offline), ["cannot work: compiler, std amd64, rust-src", "cannot work: compiler"]);
    }

    #[test]
    fn a_compiler_in_a_container_need_not_be_in_the_cache() {
        let engine = Engine { kind: Kind::Docker, version: "1".into(), has_users: true };
        let container = Container { engine, image: "ours".into(), present: true, theirs: false };
        let mut probed = Probed { place: Ok(Place::Container(container.clone())), ..probed() };
        probed.installed.cached.remove(&zig::name().unwrap());
        assert_eq!(words(&probed), ["ready", "ready"]);
        // Their own image must be pulled, by dist too if objects must be compiled.
        probed.place = Ok(Place::Container(Container { present: false, theirs: true, ..container }));
        assert_eq!(words(&probed), ["ready", "ready, will fetch image"]);
        probed.stale = Ok(Some("a.c changed".into()));
        assert_eq!(words(&probed)[0], "ready, will fetch image, will build BPF objects");
    }

    #[test]
    fn a_disk_without_room_hinders_while_something_must_be_made() {
        let space = Space { folder: "/c".into(), used: 0, free: 400_000_000, writable: Ok(()) };
        let mut probed = Probed { cache: Ok(space), ..probed() };
        assert_eq!(words(&probed)[0], "ready");
        probed.installed.cached.clear();
        assert_eq!(words(&probed)[0], "cannot work: cache");
        let row = examine(&probed).rows.into_iter().find(|row| row.name == "cache").unwrap();
        assert_eq!(row.status.detail, "/c: 400 MB free, and 550 MB are needed");
    }

    #[test]
    fn lines_fit_the_terminal_and_break_after_commas() {
        let lack = Status::lack("there is no cc on this machine", remedies::installation("cc").unwrap().to_string());
        let report = examine(&Probed { linker: Err(lack), ..probed() });
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
