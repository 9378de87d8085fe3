//! What a survey of a workspace means: one finding for each thing, and the architectures that are left.

use std::collections::BTreeSet;

use bpfship_object::Endian;
use serde::Serialize;

use super::crates::{self, Fate};
use super::facts::{Application, Kind, Source, Survey};
use super::lock::Crate;
use crate::adopt::facts::{compiles_bpf, includes_libbpf};
use crate::arch::Arch;
use crate::bpf::failures::LIBBPF_SYS;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is no obstacle.
    Ok,
    /// Configuration, or a file, is missing.
    ToDo,
    /// Some architectures are left out.
    Limits,
    /// Only a build shows it.
    Unknown,
    /// It cannot be shipped as it is.
    Blocks,
}

/// What was found about one thing. Its form as JSON is in docs/doctor.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    pub name: String,
    pub state: State,
    pub detail: String,
    pub remedy: Option<String>,
    /// The architectures that it leaves out.
    pub not_for: Vec<&'static str>,
}

impl Finding {
    fn new(name: impl Into<String>, state: State, detail: impl Into<String>) -> Finding {
        Finding { name: name.into(), state, detail: detail.into(), remedy: None, not_for: Vec::new() }
    }

    fn remedy(self, remedy: impl Into<String>) -> Finding {
        Finding { remedy: Some(remedy.into()), ..self }
    }

    /// Leaves out all architectures but those.
    fn only(self, is_left: impl Fn(&Arch) -> bool) -> Finding {
        Finding { not_for: Arch::defaults().filter(|arch| !is_left(arch)).map(|arch| arch.name).collect(), ..self }
    }
}

/// What follows from findings.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verdict {
    /// Whether nothing is known to stand in the way, for one architecture at least.
    pub ready: bool,
    /// The architectures that nothing leaves out.
    pub arches: Vec<&'static str>,
}

impl Verdict {
    pub fn new(findings: &[Finding]) -> Verdict {
        let left_out: BTreeSet<&str> = findings.iter().flat_map(|finding| finding.not_for.iter().copied()).collect();
        let arches: Vec<_> = Arch::defaults().map(|arch| arch.name).filter(|name| !left_out.contains(name)).collect();
        let is_blocked = findings.iter().any(|finding| finding.state == State::Blocks);
        Verdict { ready: !is_blocked && !arches.is_empty(), arches }
    }
}

/// Judges a workspace. `has_program` tells whether this machine has a program or library.
pub fn findings(survey: &Survey, has_program: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = workspace(survey);
    if survey.unreadable.is_some() {
        return findings;
    }
    findings.extend(applications(survey));
    findings.push(toolchain(survey));
    findings.extend(unstable(survey));
    findings.extend(profile(survey));
    findings.extend(survey.of(Kind::BuildScript).flat_map(|source| build_script(source, has_program)));
    findings.extend(objects(survey));
    findings.extend(loads_files(survey));
    findings.extend(bpf(survey));
    findings.extend(vmlinux(survey));
    findings.extend(atomics(survey));
    findings.extend(packages(survey, has_program));
    // What stands in the way last: the eye is there when it is printed.
    findings.sort_by_key(|finding| finding.state as u8);
    findings
}

fn workspace(survey: &Survey) -> Vec<Finding> {
    let place = match (survey.path.as_str(), survey.as_near) {
        ("", _) => "at the top of the repository".to_owned(),
        (path, 0) => path.to_owned(),
        (path, others) => format!("{path}, the first of {}", others + 1),
    };
    let mut findings = vec![match &survey.unreadable {
        Some(why) => Finding::new("workspace", State::Blocks, format!("cargo cannot read it: {why}")),
        None => Finding::new("workspace", State::Ok, place),
    }];
    if !survey.others.is_empty() {
        let detail = format!("others are in {}", shortened(&survey.others));
        findings.push(Finding::new("workspaces", State::Unknown, detail).remedy("survey the one that is meant"));
    }
    if !survey.empty_submodules.is_empty() {
        let detail = format!("{} empty", with_verb(&survey.empty_submodules));
        findings.push(Finding::new("submodules", State::ToDo, detail).remedy("git submodule update --init"));
    }
    if !survey.is_committed {
        findings.push(Finding::new("git", State::ToDo, "there is no commit").remedy("git init, git add, git commit"));
    }
    if survey.crates.is_none() && survey.unreadable.is_none() {
        let remedy = "cargo generate-lockfile, and commit what it writes; what crates depend on is not known before";
        findings.push(Finding::new("Cargo.lock", State::ToDo, "there is none").remedy(remedy));
    }
    if let Some(member) = &survey.outdated {
        let detail = format!("it does not have all that {member} depends on");
        findings
            .push(Finding::new("Cargo.lock", State::ToDo, detail).remedy("cargo update --workspace, and commit it"));
    }
    if let Some(Err(why)) = &survey.crates {
        findings.push(Finding::new("Cargo.lock", State::Blocks, why));
    }
    if let Some(name) = &survey.tool {
        findings.push(Finding::new(name, State::Ok, format!("it has this tool: `cargo {name}`")));
    } else if survey.taken.contains("xtask") {
        let detail = "there is one for other work: `init` calls ours `ship`, and the command `cargo ship`";
        findings.push(Finding::new("xtask", State::Ok, detail));
    }
    findings
}

fn applications(survey: &Survey) -> Vec<Finding> {
    let applications = &survey.applications;
    let mut findings = Vec::new();
    let one = |application: &Application| {
        let bins: Vec<String> = application.bins.iter().map(|(bin, _)| format!("\"{bin}\"")).collect();
        match bins.as_slice() {
            [_] => format!("package = \"{}\"", application.package),
            several => format!("package = \"{}\", bin = [{}]", application.package, several.join(", ")),
        }
    };
    findings.push(match applications.as_slice() {
        [] => Finding::new("application", State::Blocks, "no package has a binary"),
        [only] if only.bins.len() == 1 => {
            Finding::new("application", State::Ok, format!("{} ({})", only.package, only.bins[0].0))
        }
        [only] => {
            Finding::new("application", State::ToDo, format!("{} has {} binaries", only.package, only.bins.len()))
                .remedy(format!("choose in [workspace.metadata.bpfship]: {}", one(only)))
        }
        several => {
            let names: Vec<String> = several.iter().map(|application| application.package.clone()).collect();
            Finding::new("application", State::ToDo, format!("packages with binaries: {}", shortened(&names)))
                .remedy("choose one with `package`, or several with [[workspace.metadata.bpfship.product]]")
        }
    });
    for application in applications {
        for (bin, features) in application.bins.iter().filter(|(_, features)| !features.is_empty()) {
            let detail = format!("{bin} of {} is built with features only", application.package);
            let remedy = format!("features = [\"{}\"], if it is to be shipped", features.join("\", \""));
            findings.push(Finding::new("features", State::ToDo, detail).remedy(remedy));
        }
    }
    let unlicensed = applications.iter().filter(|application| !application.has_license);
    let unlicensed: Vec<String> = unlicensed.map(|application| application.package.clone()).collect();
    if !unlicensed.is_empty() && survey.licenses.is_empty() {
        let detail = format!("neither Cargo.toml of {} nor a file at the top names a licence", shortened(&unlicensed));
        findings.push(
            Finding::new("licence", State::Unknown, detail)
                .remedy("ask whose it is: nothing says that it may be passed on"),
        );
    }
    findings
}

/// The oldest Rust that this tool compiles with.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

fn toolchain(survey: &Survey) -> Finding {
    let wanted = survey.wanted_rust.as_ref().filter(|wanted| numbers(wanted) > numbers(OLDEST));
    let channel = match (&survey.channel, wanted) {
        (None, None) => {
            return Finding::new("Rust", State::Ok, "none is pinned: `init` pins the one that is used then");
        }
        (None, Some(wanted)) => {
            let detail =
                format!("none is pinned: `init` pins the one that is used then, and {wanted} or newer is wanted");
            return Finding::new("Rust", State::Ok, detail);
        }
        (Some(Err(why)), _) => return Finding::new("Rust", State::Blocks, why),
        (Some(Ok(channel)), _) if channel.is_empty() => {
            return Finding::new("Rust", State::ToDo, "what would pin it names no release").remedy(PIN);
        }
        (Some(Ok(channel)), _) => channel,
    };
    let finding = |state, detail: &str| Finding::new("Rust", state, format!("{channel} is pinned{detail}"));
    match numbers(channel).as_deref() {
        None if channel == "stable" => finding(State::ToDo, ", which is another one tomorrow").remedy(PIN),
        None => finding(State::Blocks, ", which is no release").remedy("pin a stable release, if it compiles with one"),
        Some(release) if numbers(OLDEST).is_some_and(|oldest| release < &oldest[..]) => {
            finding(State::Blocks, &format!(", and this tool compiles with {OLDEST} or newer"))
                .remedy("pin a newer one")
        }
        Some(release) if wanted.and_then(|wanted| numbers(wanted)).is_some_and(|wanted| release < &wanted[..]) => {
            let detail = format!(", and {} or newer is wanted", survey.wanted_rust.as_deref().unwrap_or_default());
            finding(State::Blocks, &detail).remedy("pin a newer one")
        }
        Some([_, _]) => {
            finding(State::ToDo, ", which is several releases").remedy("pin one: it ends with a third number")
        }
        Some(_) => finding(State::Ok, ""),
    }
}

const PIN: &str = "pin a release in rust-toolchain.toml";

/// The numbers of a version, if it is one of numbers alone.
fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// Code that only a nightly Rust takes.
fn unstable(survey: &Survey) -> Option<Finding> {
    let sources = || survey.of(Kind::Rust).chain(survey.of(Kind::BuildScript));
    let (source, features) = sources().find_map(|source| {
        let line = source.text.lines().find_map(|line| line.trim_start().strip_prefix("#![feature("))?;
        Some((source, line.split(')').next()?))
    })?;
    let finding = Finding::new(&source.path, State::Blocks, format!("has `#![feature({features})]`"));
    Some(finding.remedy("a release of Rust does not compile it: do without"))
}

fn profile(survey: &Survey) -> Vec<Finding> {
    match &survey.profile {
        Some(Err(why)) => vec![Finding::new("profile", State::Blocks, why)],
        Some(Ok(lines)) => lines.iter().map(|line| Finding::new("profile", State::Ok, line)).collect(),
        None => Vec::new(),
    }
}

/// An object that a command outside of cargo leaves in its target folder, and that a file takes from there.
fn from_target(path: &str) -> Finding {
    Finding::new(path, State::ToDo, "takes BPF objects from cargo's target folder")
        .remedy("name that folder: `bpf.copies = \"target/bpfel-unknown-none/release\"` (docs/rust-bpf.md)")
}

/// What a build script does that matters here, by words in it.
fn build_script(source: &Source, has_program: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let Source { path, text, .. } = source;
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|it| format!("{it}\n")).collect();
    let has = |word: &str| code.contains(word);
    let mut findings = Vec::new();
    let asks_cargo = has("aya_build") || has("cargo") && has("\"build\"");
    if has("aya_build") || has("bpfel-unknown-none") {
        findings.push(match asks_cargo {
            true => Finding::new(path, State::Ok, "has BPF in Rust compiled: it is given the objects of bpf.lock"),
            false => from_target(path),
        });
    }
    let has_skeleton = has("SkeletonBuilder");
    let written = written_inside(&code);
    if has_skeleton && !has("OUT_DIR") {
        findings.push(
            Finding::new(path, State::ToDo, "writes a skeleton among its own sources")
                .remedy("have it write to OUT_DIR, or set `generated = [\"**/*.skel.rs\"]` (docs/c-code.md)"),
        );
    } else if let Some(file) = written {
        let what = if file.is_empty() { "seems to write".to_owned() } else { format!("seems to write {file}") };
        findings.push(
            Finding::new(path, State::ToDo, format!("{what} among its own sources"))
                .remedy("have it write to OUT_DIR, or name the file in `generated` (docs/c-code.md)"),
        );
    }
    if has_skeleton || has("-target") && has("bpf") && has("clang") && !has("emit-llvm") {
        findings.push(Finding::new(path, State::Ok, "compiles BPF programs: it finds the pinned clang"));
    } else if has("emit-llvm") {
        findings.push(Finding::new(path, State::Ok, "links C to BPF in Rust: it finds the pinned clang"));
    }
    findings.extend(programs(&code).into_iter().filter_map(|program| called(path, program, has_program)));
    if has("Repository::open") || has("Repository::discover") {
        findings.extend(called(path, "git", has_program));
    }
    if has("cmake::") && !has_program("cmake") {
        findings
            .push(Finding::new(path, State::ToDo, "needs cmake on this machine").remedy("apt install cmake (Debian)"));
    }
    if has("pkg_config::") {
        let detail = "asks pkg-config, which finds no library of the system";
        findings.push(Finding::new(path, State::Unknown, detail).remedy("what it wants then has to be optional"));
    }
    if let Some(folder) = ["\"/usr/include", "\"-I/usr", "native=/usr"].iter().find(|word| has(word)) {
        let detail = format!("looks into {} of this machine", &folder[folder.find('/').unwrap_or_default()..]);
        findings.push(Finding::new(path, State::Unknown, detail).remedy("what is found there is for no target"));
    }
    let groups = if has("CARGO_CFG_TARGET_ARCH") { named_together(&code) } else { Vec::new() };
    let is_in_all = |arch: &Arch| groups.iter().all(|group| group.contains(&arch.name));
    // Where they have nothing in common, it is no choice of what there is.
    if Arch::defaults().any(is_in_all) {
        let detail = "chooses by the architecture of the target, and names not all";
        let finding = Finding::new(path, State::Limits, detail).only(is_in_all);
        findings.extend(Some(finding).filter(|finding| !finding.not_for.is_empty()));
    }
    findings
}

/// A file that a build script writes among its own sources, or an empty name where only that is known.
fn written_inside(code: &str) -> Option<&str> {
    const WRITES: [&str; 5] = ["File::create", "OpenOptions", "::write(", "::copy(", "write_to_file"];
    if !WRITES.iter().any(|word| code.contains(word)) {
        return None;
    }
    if !code.contains("OUT_DIR") {
        return Some("");
    }
    let literals = code.split('"').skip(1).step_by(2);
    let is_source = |word: &&str| word.ends_with(".rs") && word.starts_with("src/") && !word.contains('*');
    literals.filter(is_source).find(|word| !code.contains(&format!("rerun-if-changed={word}")))
}

/// The programs that a script starts, by name.
fn programs(code: &str) -> BTreeSet<&str> {
    let calls = code.split("Command::new(\"").skip(1);
    calls.filter_map(|rest| rest.split('"').next()).collect()
}

/// What follows from a call of a program.
fn called(path: &str, program: &str, has_program: &dyn Fn(&str) -> bool) -> Option<Finding> {
    match program {
        // These are found, or answered for.
        "bpf-linker" | "cargo" | "clang" | "llvm-strip" | "rustc" | "rustfmt" | "rustup" => None,
        "gcc" | "g++" | "cc" | "make" | "cmake" | "meson" => {
            let detail = format!("calls {program} by name, which compiles for this machine unless told otherwise");
            Some(Finding::new(path, State::Unknown, detail).remedy("have it use the crate `cc`"))
        }
        "git" => Some(
            Finding::new(path, State::Unknown, "asks git, which has no answer in a build")
                .remedy("BPFSHIP_COMMIT holds the commit there (docs/your-own-application.md)"),
        ),
        "bpftool" => Some(
            Finding::new(path, State::Unknown, "calls bpftool, which knows the types of this machine's kernel")
                .remedy("commit a vmlinux.h: cargo xtask vmlinux ARCH writes one"),
        ),
        "date" => Some(
            Finding::new(path, State::Unknown, "asks for the date, so each build has other bytes")
                .remedy("SOURCE_DATE_EPOCH holds that of the commit"),
        ),
        program if has_program(program) => None,
        program => Some(Finding::new(path, State::ToDo, format!("calls {program}, which this machine has not"))),
    }
}

/// Objects that are in the repository ready-made, where they are for one byte order only.
fn objects(survey: &Survey) -> Option<Finding> {
    let embedded: BTreeSet<&str> = survey.of(Kind::Rust).flat_map(|source| embedded(&source.text)).collect();
    let is_embedded = |object: &&Source| embedded.contains(object.path.rsplit('/').next().unwrap_or_default());
    let objects: Vec<&Source> = survey.of(Kind::Object).filter(is_embedded).collect();
    let first = objects.first()?;
    if objects.iter().any(|object| object.text != first.text) {
        return None;
    }
    let detail = format!("a BPF object that is embedded as it is, for {}-endian machines", first.text);
    let finding = Finding::new(&first.path, State::Limits, detail);
    let order = |arch: &Arch| if arch.endian == Endian::Big { "big" } else { "little" };
    Some(finding.only(|arch| order(arch) == first.text).remedy("have `cargo xtask bpf` compile it (docs/bpf.md)"))
}

/// The architectures that a text chooses among, by the words in neighbouring lines: a group for each choice.
fn named_together(code: &str) -> Vec<BTreeSet<&'static str>> {
    /// Lines between two branches of one choice.
    const APART: usize = 3;
    let mut groups: Vec<BTreeSet<&str>> = Vec::new();
    let mut since = APART + 1;
    for line in code.lines() {
        // Another branch of the same choice is no distance.
        since += usize::from(!line.contains("=>"));
        for arch in Arch::defaults().filter(|arch| line.contains(&format!("\"{}\"", arch.rust()))) {
            if since > APART {
                groups.push(BTreeSet::new());
            }
            groups.last_mut().expect("one was just added, or there was one").insert(arch.name);
            since = 0;
        }
    }
    // One alone is an exception, and no choice.
    groups.retain(|group| group.len() > 1);
    groups
}

/// Words of sources whose object depends on the architecture.
const REGISTERS: [&str; 6] = ["PT_REGS_", "BPF_KPROBE", "BPF_UPROBE", "BPF_KSYSCALL", "BPF_USDT", "__TARGET_ARCH_"];

fn reads_registers(source: &Source) -> bool {
    REGISTERS.iter().any(|word| source.text.contains(word))
}

/// The names of the files that a source embeds by a plain path.
fn embedded(text: &str) -> Vec<&str> {
    let calls = text.split("include_bytes").skip(1).filter_map(|rest| rest.split_once('(')).map(|(_, rest)| rest);
    let paths = calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    paths.map(|path| path.rsplit('/').next().unwrap_or(path)).collect()
}

/// A program that has its objects beside it.
fn loads_files(survey: &Survey) -> Option<Finding> {
    let loads = |source: &&Source| {
        let has = |word: &str| source.text.contains(word);
        has("aya::") && has("load_file(") || has("ObjectBuilder") && has(".open_file(")
    };
    let first = survey.of(Kind::Rust).find(loads)?;
    let finding = Finding::new(&first.path, State::Unknown, "loads BPF objects from files when it runs");
    Some(finding.remedy("have it embed them; `include` packs files beside it, the same for all architectures"))
}

fn bpf(survey: &Survey) -> Vec<Finding> {
    let sources: Vec<&Source> = survey.of(Kind::Bpf).collect();
    let takes = |source: &&Source| source.text.contains("include_bytes") && source.text.contains("bpfel-unknown-none");
    let mut findings: Vec<Finding> =
        survey.of(Kind::Rust).filter(takes).map(|source| from_target(&source.path)).collect();
    findings.extend(bpf_beside(survey));
    findings.extend(old_aya_ebpf(survey));
    match survey.bpf_packages.as_slice() {
        [] => {}
        packages if packages.iter().all(|package| survey.named_packages.contains(package)) => {
            let detail = format!("BPF programs in Rust (aya-ebpf) in {}, named in `bpf.rust`", packages.join(", "));
            findings.push(Finding::new("BPF in Rust", State::Ok, detail));
        }
        packages => {
            let detail = format!("BPF programs in Rust (aya-ebpf) in {}", packages.join(", "));
            let remedy = "name them in `bpf.rust`, as `init` does (docs/rust-bpf.md)";
            findings.push(Finding::new("BPF in Rust", State::ToDo, detail).remedy(remedy));
        }
    }
    if sources.is_empty() {
        return findings;
    }
    let with_registers = sources.iter().filter(|source| reads_registers(source)).count();
    let registers = match with_registers {
        0 => "one object for each byte order".to_owned(),
        some => format!("{some} of them read registers: one object for each architecture"),
    };
    let compiles = |source: &Source| compiles_bpf(&source.text);
    let by_script = survey.of(Kind::BuildScript).chain(survey.of(Kind::Rust)).any(compiles);
    let folders: BTreeSet<&str> =
        sources.iter().map(|source| source.path.rsplit_once('/').map_or(".", |(folder, _)| folder)).collect();
    let detail = format!("{} in {}; {registers}", count(sources.len(), "source"), count(folders.len(), "folder"));
    findings.push(match by_script {
        true => Finding::new("BPF in C", State::Ok, format!("{detail}; a build script compiles them")),
        false if folders.iter().all(|folder| survey.names_folder(folder)) => {
            Finding::new("BPF in C", State::Ok, format!("{detail}; named in `bpf.folder`"))
        }
        false => {
            let odd = sources.iter().any(|source| !source.path.ends_with(".bpf.c"));
            let names = if odd { ", and `sources`, for not all are called *.bpf.c" } else { "" };
            let folders: Vec<String> = folders.into_iter().map(String::from).collect();
            Finding::new("BPF in C", State::ToDo, detail)
                .remedy(format!("name their folders in `bpf.folder` ({}){names} (docs/bpf.md)", shortened(&folders)))
        }
    });
    let includes = sources.iter().filter(|source| includes_libbpf(&source.text)).count();
    if !by_script && includes > 0 && !survey.has_libbpf {
        let detail = format!("needed by {} of BPF, and no package brings them along", count(includes, "source"));
        let remedy = format!("`init` has them from libbpf-sys; or add `{LIBBPF_SYS}` to a package (docs/bpf.md)");
        findings.push(Finding::new("libbpf's headers", State::ToDo, detail).remedy(remedy));
    }
    findings
}

/// Packages with BPF in Rust that are workspaces of their own.
fn bpf_beside(survey: &Survey) -> Option<Finding> {
    let inside = |path: &str| match survey.path.as_str() {
        "" => path.to_owned(),
        workspace => path.strip_prefix(workspace).unwrap_or(path).trim_start_matches('/').to_owned(),
    };
    let beside: Vec<String> = survey.bpf_beside.iter().map(|package| inside(&package.path)).collect();
    if beside.is_empty() {
        return None;
    }
    let detail = format!("BPF programs in Rust (aya-ebpf) in {}, no member of the workspace", shortened(&beside));
    if beside.iter().all(|folder| survey.named_packages.contains(folder)) {
        return Some(Finding::new("BPF in Rust", State::Ok, format!("{detail}, named in `bpf.rust`")));
    }
    let mut remedy = String::from("name each by its folder in `bpf.rust` (docs/rust-bpf.md)");
    if survey.bpf_beside.iter().any(|package| !package.has_lock) {
        remedy += "; each needs a Cargo.lock of its own";
    }
    if survey.bpf_beside.iter().any(|package| package.is_old) {
        remedy += "; aya-bpf, of 2023 and before, was not tried: it is called aya-ebpf now";
    }
    Some(Finding::new("BPF in Rust", State::ToDo, detail).remedy(remedy))
}

fn old_aya_ebpf(survey: &Survey) -> Option<Finding> {
    let package = survey.old_aya_ebpf.as_ref()?;
    only(format!("{} {}", package.name, package.version), crates::old_aya_ebpf(package)?)
}

/// What is there for some architectures only.
fn only(name: String, fate: Fate) -> Option<Finding> {
    let Fate::Only(arches, detail, remedy) = fate else { return None };
    Some(Finding::new(name, State::Limits, detail).only(|arch| arches.contains(&arch.name)).remedy(remedy))
}

/// The architectures that there is a vmlinux.h for, where it is one of those.
fn vmlinux(survey: &Survey) -> Option<Finding> {
    let words = |arch: &Arch| [arch.linux, arch.rust(), arch.name].map(String::from);
    let is_for = |arch: &Arch| {
        let has = |source: &Source| {
            let parts = source.path.split(['/', '.', '-']).flat_map(|part| [Some(part), part.strip_prefix("vmlinux_")]);
            let parts: Vec<&str> = parts.flatten().collect();
            words(arch).iter().any(|word| parts.contains(&word.as_str()))
        };
        survey.of(Kind::Vmlinux).any(has)
    };
    let found = Arch::defaults().filter(|arch| is_for(arch)).count();
    if found == Arch::defaults().count() {
        return None;
    }
    if found > 0 {
        let finding = Finding::new("vmlinux.h", State::Limits, "there is one for each architecture, but not for all");
        return Some(finding.only(is_for).remedy("cargo xtask vmlinux ARCH writes one"));
    }
    let includes = |source: &&Source| {
        source.text.lines().any(|line| line.trim_start().starts_with("#include") && line.contains("vmlinux.h"))
    };
    if survey.of(Kind::Vmlinux).next().is_none() && !has_crate_of_types(survey) {
        let number = survey.of(Kind::Bpf).filter(includes).count();
        let detail = format!("{} of BPF include it, and there is none", count(number, "source"));
        let finding = Finding::new("vmlinux.h", State::ToDo, detail).remedy("cargo xtask vmlinux ARCH writes one");
        return (number > 0).then_some(finding);
    }
    // One for all does, unless a program reads registers.
    let linux: BTreeSet<&str> =
        survey.of(Kind::Vmlinux).map(|source| source.text.as_str()).filter(|word| !word.is_empty()).collect();
    if linux.is_empty() || !survey.of(Kind::Bpf).any(reads_registers) {
        return None;
    }
    let detail = "the only one has the registers of one architecture, and some programs read registers";
    let finding = Finding::new("vmlinux.h", State::Limits, detail).only(|arch| linux.contains(arch.linux));
    Some(finding.remedy("cargo xtask vmlinux ARCH writes one for each"))
}

/// Whether a crate brings vmlinux.h along.
fn has_crate_of_types(survey: &Survey) -> bool {
    let crates = survey.crates.iter().flatten().flatten();
    crates.map(|(package, _)| crates::fate(package, &[])).any(|fate| matches!(fate, Some(Fate::TypesFor(_))))
}

/// Where there are no 64-bit atomics, code that uses them does not compile.
fn atomics(survey: &Survey) -> Option<Finding> {
    let uses = |source: &&Source| {
        let is_guarded = source.text.contains("target_has_atomic") || source.text.contains("portable_atomic");
        ["AtomicU64", "AtomicI64"].iter().any(|word| source.text.contains(word)) && !is_guarded
    };
    let first = survey.of(Kind::Rust).find(uses)?;
    let detail = format!("{} uses 64-bit atomics of the processor", first.path);
    let finding = Finding::new("atomics", State::Limits, detail).remedy("portable-atomic has them everywhere");
    Some(finding.only(|arch| arch.bits == 64))
}

fn packages(survey: &Survey, has_program: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let (list, is_locked) = match &survey.crates {
        Some(Ok(list)) => (list, true),
        Some(Err(_)) => return Vec::new(),
        None => (&survey.named, false),
    };
    let fate = if is_locked { crates::fate } else { crates::fate_by_name };
    let all: Vec<&Crate> = list.iter().map(|(package, _)| package).collect();
    let mut findings = Vec::new();
    let mut unknown = Vec::new();
    for (package, by) in list {
        let name = format!("{} {}", package.name, package.version.split('+').next().unwrap_or_default());
        let others = by.len() < survey.applications.len();
        findings.extend(match fate(package, &all) {
            Some(Fate::Works(detail)) => Some(Finding::new(name, State::Ok, detail)),
            Some(Fate::Program(program, _)) if has_program(program) => {
                Some(Finding::new(name, State::Ok, format!("it needs {program}, which is here")))
            }
            Some(Fate::Program(program, remedy)) => {
                Some(Finding::new(name, State::ToDo, format!("it needs {program} on this machine")).remedy(remedy))
            }
            Some(Fate::Unknown(detail)) => Some(Finding::new(name, State::Unknown, detail)),
            Some(fate @ Fate::Only(..)) => only(name, fate),
            Some(Fate::TypesFor(words)) => {
                let finding =
                    Finding::new(name, State::Limits, "it has types of the kernel (vmlinux.h), but not for all");
                let finding = finding.only(|arch| words.contains(&arch.linux));
                Some(finding.remedy(
                    "have the build script take them from a folder of yours: cargo xtask vmlinux ARCH writes one",
                ))
            }
            Some(Fate::Blocks(detail, remedy)) if others => {
                let detail = format!("in {}: {detail}", shortened(by));
                Some(Finding::new(name, State::ToDo, detail).remedy(format!("ship the others, or {remedy}")))
            }
            Some(Fate::Blocks(detail, remedy)) => Some(Finding::new(name, State::Blocks, detail).remedy(remedy)),
            None => {
                if crates::may_link_c(package) && !unknown.contains(&package.name) {
                    unknown.push(package.name.clone());
                }
                None
            }
        });
    }
    if !unknown.is_empty() {
        let detail = format!("{}: nothing is known of them here", shortened(&unknown));
        let remedy = "those that bring C code along are compiled; those that look for the system's find nothing";
        findings.push(Finding::new("-sys crates", State::Unknown, detail).remedy(remedy));
    }
    let repositories: BTreeSet<&str> = all.iter().filter_map(|package| package.git()).collect();
    if !repositories.is_empty() {
        let repositories: Vec<String> = repositories.into_iter().map(String::from).collect();
        findings.push(Finding::new(
            "crates from git",
            State::Unknown,
            format!("{} must be within reach", shortened(&repositories)),
        ));
    }
    findings
}

/// Names, as far as a line has room for them.
pub fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 6;
    match names.split_at_checked(SHOWN) {
        Some((shown, rest)) if !rest.is_empty() => format!("{} and {} more", shown.join(", "), rest.len()),
        _ => names.join(", "),
    }
}

fn with_verb(names: &[String]) -> String {
    format!("{} {}", shortened(names), if names.len() == 1 { "is" } else { "are" })
}

fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adopt::survey::facts::{Beside, Reached};

    fn reached(name: &str, version: &str) -> Reached {
        let source = Some("registry+x".into());
        let package = Crate { name: name.into(), version: version.into(), source, dependencies: Vec::new() };
        (package, vec!["app".into()])
    }

    fn source(kind: Kind, path: &str, text: &str) -> Source {
        Source { path: path.into(), kind, text: text.into() }
    }

    /// A workspace in which nothing is in the way.
    fn good() -> Survey {
        let application =
            Application { package: "app".into(), bins: vec![("app".into(), Vec::new())], has_license: true };
        Survey {
            applications: vec![application],
            crates: Some(Ok(vec![reached("ring", "0.17.0")])),
            channel: Some(Ok("1.95.0".into())),
            is_committed: true,
            ..Survey::default()
        }
    }

    /// The findings that are not fine, as state and name, after a change.
    fn found(change: impl FnOnce(&mut Survey)) -> Vec<String> {
        let mut survey = good();
        change(&mut survey);
        let findings = findings(&survey, &|_| false);
        let amiss = findings.iter().filter(|finding| finding.state != State::Ok);
        amiss
            .map(|finding| {
                format!("{:?} {} {}", finding.state, finding.name, finding.not_for.join(" ")).trim_end().to_owned()
            })
            .collect()
    }

    #[test]
    fn where_nothing_is_in_the_way_nothing_is_reported() {
        assert!(found(|_| ()).is_empty());
        assert_eq!(Verdict::new(&findings(&good(), &|_| true)).arches.len(), Arch::defaults().count());
    }

    #[test]
    fn each_obstacle_has_a_finding() {
        type Change = fn(&mut Survey);
        let cases: [(&str, Change); 33] = [
            ("Blocks workspace", |survey| survey.unreadable = Some("no".into())),
            ("Unknown workspaces", |survey| survey.others = vec!["fuzz".into()]),
            ("ToDo submodules", |survey| survey.empty_submodules = vec!["lib".into()]),
            ("ToDo git", |survey| survey.is_committed = false),
            ("ToDo Cargo.lock", |survey| survey.crates = None),
            ("ToDo Cargo.lock", |survey| survey.outdated = Some("app".into())),
            ("Blocks Cargo.lock", |survey| survey.crates = Some(Err("no".into()))),
            ("Blocks application", |survey| survey.applications.clear()),
            ("ToDo application", |survey| survey.applications[0].bins.push(("b".into(), Vec::new()))),
            ("ToDo features", |survey| survey.applications[0].bins[0].1.push("x".into())),
            ("Unknown licence", |survey| survey.applications[0].has_license = false),
            ("Blocks Rust", |survey| survey.channel = Some(Ok("nightly".into()))),
            ("Blocks Rust", |survey| survey.channel = Some(Ok("1.70.0".into()))),
            ("ToDo Rust", |survey| survey.channel = Some(Ok("1.95".into()))),
            ("Blocks profile", |survey| survey.profile = Some(Err("no".into()))),
            ("Blocks pcap 1.0.0", |survey| survey.crates = Some(Ok(vec![reached("pcap", "1.0.0")]))),
            ("ToDo prost-build 1.0.0", |survey| survey.crates = Some(Ok(vec![reached("prost-build", "1.0.0")]))),
            ("Unknown nix 0.29.0", |survey| survey.crates = Some(Ok(vec![reached("nix", "0.29.0")]))),
            ("Unknown -sys crates", |survey| survey.crates = Some(Ok(vec![reached("odd-sys", "1.0.0")]))),
            ("ToDo BPF in C", |survey| survey.sources.push(source(Kind::Bpf, "bpf/a.bpf.c", ""))),
            ("ToDo libbpf's headers", |survey| {
                survey.named_folders.push("bpf".into());
                survey.sources.push(source(Kind::Bpf, "bpf/a.bpf.c", "#include <bpf/bpf_helpers.h>\n"));
            }),
            ("Blocks Rust", |survey| survey.channel = Some(Err("cannot read it".into()))),
            ("ToDo Rust", |survey| survey.channel = Some(Ok(String::new()))),
            ("Blocks Rust", |survey| survey.wanted_rust = Some("1.99".into())),
            ("Blocks a.rs", |survey| survey.sources.push(source(Kind::Rust, "a.rs", "#![feature(never_type)]"))),
            ("Blocks libbpf-sys 1.1.1", |survey| survey.crates = Some(Ok(vec![reached("libbpf-sys", "1.1.1")]))),
            ("Limits ring 0.16.20 riscv64 loong64 s390x mips", |survey| {
                survey.crates = Some(Ok(vec![reached("ring", "0.16.20")]));
            }),
            ("ToDo BPF in Rust", |survey| {
                survey.bpf_beside.push(Beside { path: "probes".into(), has_lock: true, is_old: false });
            }),
            ("Limits aya-ebpf 0.1.1 loong64 mips", |survey| {
                survey.old_aya_ebpf = Some(reached("aya-ebpf", "0.1.1").0);
            }),
            ("Limits probe.o s390x mips", |survey| {
                survey.sources.push(source(Kind::Object, "probe.o", "little"));
                survey.sources.push(source(Kind::Object, "else.o", "big"));
                let text = "include_bytes_aligned!(\n    \"../probe.o\"); include_bytes!(concat!(DIR, \"/else.o\"))";
                survey.sources.push(source(Kind::Rust, "a.rs", text));
            }),
            ("Unknown a.rs", |survey| {
                let text = "use aya::Ebpf; let bpf = Ebpf::load_file(path)?;";
                survey.sources.push(source(Kind::Rust, "a.rs", text));
            }),
            ("ToDo BPF in Rust", |survey| survey.bpf_packages.push("probes".into())),
            ("ToDo a.rs", |survey| {
                let text = "include_bytes_aligned!(\"../target/bpfel-unknown-none/release/a\")";
                survey.sources.push(source(Kind::Rust, "a.rs", text));
            }),
        ];
        for (expected, change) in cases {
            assert_eq!(found(change), [expected]);
        }
    }

    #[test]
    fn without_a_lock_file_what_is_named_counts() {
        let found = found(|survey| {
            survey.crates = None;
            survey.named = ["openssl-sys", "pcap", "ring"].map(|name| reached(name, "0.1")).into();
        });
        let expected = ["ToDo Cargo.lock", "Unknown openssl-sys 0.1", "Unknown ring 0.1", "Blocks pcap 0.1"];
        assert_eq!(found, expected);
    }

    #[test]
    fn where_no_architecture_is_left_it_cannot_be_shipped() {
        let mut survey = good();
        survey.sources.push(source(Kind::Object, "probe.o", "big"));
        survey.sources.push(source(Kind::Rust, "a.rs", "include_bytes!(\"probe.o\")"));
        survey.crates = Some(Ok(vec![reached("ring", "0.16.20")]));
        let verdict = Verdict::new(&findings(&survey, &|_| false));
        assert!(!verdict.ready && verdict.arches.is_empty());
    }

    #[test]
    fn what_a_workspace_says_already_is_not_asked_for() {
        let named = |survey: &mut Survey| {
            survey.named_folders.push("bpf".into());
            survey.named_packages.push("probes".into());
            survey.bpf_packages.push("probes".into());
            survey.sources.push(source(Kind::Bpf, "bpf/net/a.bpf.c", "#include <bpf/bpf_helpers.h>\n"));
            survey.has_libbpf = true;
            survey.taken.insert("xtask".into());
            survey.tool = Some("xtask".into());
        };
        assert!(found(named).is_empty());
        let mut survey = good();
        named(&mut survey);
        let of_tool = |finding: &&Finding| finding.name == "xtask";
        let said: Vec<String> =
            findings(&survey, &|_| false).iter().filter(of_tool).map(|finding| finding.detail.clone()).collect();
        assert_eq!(said, ["it has this tool: `cargo xtask`"]);
        // Another folder is not named.
        assert_eq!(
            found(|survey| {
                named(survey);
                survey.sources.push(source(Kind::Bpf, "bpfs/b.bpf.c", ""));
            }),
            ["ToDo BPF in C"]
        );
    }

    #[test]
    fn a_build_script_is_understood_by_its_words() {
        let of = |text: &str| found(|survey| survey.sources.push(source(Kind::BuildScript, "build.rs", text)));
        assert!(of("SkeletonBuilder::new().build_and_generate(out(\"OUT_DIR\"))").is_empty());
        assert_eq!(of("SkeletonBuilder::new().build_and_generate(\"src/x.skel.rs\")"), ["ToDo build.rs"]);
        assert!(of("aya_build::build_ebpf([package], Toolchain::default())").is_empty());
        assert!(of("Command::new(\"cargo\").args([\"build\", \"--target\", \"bpfel-unknown-none\"])").is_empty());
        assert_eq!(of("fs::copy(\"target/bpfel-unknown-none/release/a\", OUT_DIR)"), ["ToDo build.rs"]);
        assert!(of("Command::new(\"clang\").args([\"-target\", \"bpf\", \"-emit-llvm\"])").is_empty());
        for word in ["gcc", "git", "bpftool", "date"] {
            let call = format!("Command::new(\"{word}\")");
            assert_eq!(of(&call), ["Unknown build.rs"], "{word}");
            assert!(of(&format!("// {call}")).is_empty());
        }
        assert_eq!(of("Command::new(\"python3\")"), ["ToDo build.rs"]);
        assert_eq!(of("cmake::build(\"c\")"), ["ToDo build.rs"]);
        for words in ["git2::Repository::open(\".\")", "pkg_config::probe(\"z\")", "clang_arg(\"-I/usr/include\")"] {
            assert_eq!(of(words), ["Unknown build.rs"], "{words}");
        }
        // What is written anywhere but to OUT_DIR.
        let out = "File::create(format!(\"{}/a.rs\", env(\"OUT_DIR\")));";
        assert!(of(out).is_empty());
        assert!(of(&format!("{out} println!(\"cargo:rerun-if-changed=src/a.rs\")")).is_empty());
        assert_eq!(of(&format!("{out} bindings.write_to_file(\"src/b.rs\")")), ["ToDo build.rs"]);
        assert_eq!(of("fs::write(manifest_dir.join(\"a.rs\"), text)"), ["ToDo build.rs"]);
        let others: Vec<&str> =
            Arch::defaults().map(|arch| arch.name).filter(|name| !["amd64", "arm64"].contains(name)).collect();
        let by_arch = "match env(\"CARGO_CFG_TARGET_ARCH\") { \"x86_64\" => 1, \"aarch64\" => 2, _ => panic!() }";
        assert_eq!(of(by_arch), [format!("Limits build.rs {}", others.join(" "))]);
        let twice = "match env(\"CARGO_CFG_TARGET_ARCH\") {\n\"x86_64\" =>\n\"aarch64\" =>\n}\n\n\n\n\n\
                     match it {\n\"x86_64\" =>\n\"aarch64\" =>\n\"riscv64\" =>\n}";
        assert_eq!(of(twice), [format!("Limits build.rs {}", others.join(" "))]);
        assert!(of("if env(\"CARGO_CFG_TARGET_ARCH\") == \"mips\" {}").is_empty());
        // However many others are between two branches, and where the choices have nothing in common.
        let many = "b\"arm\" => 1,\n".repeat(9);
        let all = Arch::defaults().map(|arch| format!("b\"{}\" => 1,\n{many}", arch.rust())).collect::<String>();
        assert!(of(&format!("match env(\"CARGO_CFG_TARGET_ARCH\") {{\n{all}}}")).is_empty());
        let apart = "match env(\"CARGO_CFG_TARGET_ARCH\") {\n\"x86_64\" =>\n\"aarch64\" =>\n}\n\n\n\n\n\
                     match it {\n\"s390x\" =>\n\"mips\" =>\n}";
        assert!(of(apart).is_empty());
    }

    #[test]
    fn architectures_without_types_of_their_kernel_or_wide_atomics_are_left_out() {
        let found = found(|survey| {
            survey.sources = ["x86", "arm64", "riscv", "loongarch", "s390"]
                .map(|word| source(Kind::Vmlinux, &format!("vmlinux/{word}/vmlinux.h"), ""))
                .into();
            survey.sources.push(source(Kind::Rust, "src/a.rs", "static COUNT: AtomicU64 = AtomicU64::new(0);"));
        });
        assert!(found.iter().any(|it| it.starts_with("Limits vmlinux.h") && it.contains("mips")), "{found:?}");
        assert!(found.iter().any(|it| it.starts_with("Limits atomics") && it.contains("mips")), "{found:?}");
    }

    #[test]
    fn types_of_the_kernel_for_too_few_architectures_are_a_limit_wherever_they_are() {
        let of_crate = |name: &str, source: &str| {
            let mut package = reached(name, "1.1.0");
            package.0.source = Some(source.into());
            found(|survey| survey.crates = Some(Ok(vec![package])))
        };
        let git = "git+https://github.com/libbpf/vmlinux.h.git?rev=1#1";
        assert_eq!(of_crate("vmlinux", git), ["Limits vmlinux 1.1.0 mips", "Unknown crates from git"]);
        assert!(of_crate("vmlinux", "registry+x").is_empty());
        assert_eq!(of_crate("scx_cargo", "registry+x"), ["Limits scx_cargo 1.1.0 loong64"]);

        let none = |survey: &mut Survey| survey.sources.push(source(Kind::Bpf, "a.bpf.c", "#include <vmlinux.h>"));
        assert!(found(none).contains(&"ToDo vmlinux.h".to_owned()));

        // One for all does, unless registers are read: those are of one architecture.
        let of_program = |text: &str, registers: &str| {
            found(|survey| {
                let script = source(Kind::BuildScript, "build.rs", "SkeletonBuilder::new(); OUT_DIR");
                let types = source(Kind::Vmlinux, "bpf/vmlinux.h", registers);
                survey.sources = vec![script, source(Kind::Bpf, "bpf/a.bpf.c", text), types];
            })
        };
        assert!(of_program("SEC(\"xdp\")", "x86").is_empty());
        assert!(of_program("PT_REGS_PARM1(ctx)", "").is_empty());
        assert_eq!(of_program("PT_REGS_PARM1(ctx)", "x86"), ["Limits vmlinux.h arm64 riscv64 loong64 s390x mips"]);
    }
}
