//! `cargo xtask bpf --report`: what each object holds and needs of a kernel. Compiles nothing, and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::arch::Endian;
use crate::bad_request;
use crate::bpf::report::{Function, Need, Program, Report};
use crate::flags;
use crate::flags::Common;
use crate::sys::process::Runner;
use crate::ui::screen;
use crate::workspace::facts::Facts;

/// The files of which one and the same is told, as the two byte orders of an object mostly are.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Reported {
    name: String,
    files: Vec<PathBuf>,
    byte_orders: Vec<&'static str>,
    #[serde(flatten)]
    report: Report,
}

/// Bytes of a file. No kernel takes a program for which so many would be needed.
const MAX_FILE: u64 = 16 << 20;

/// Columns of the text.
const WIDTH: usize = 96;
const LABEL: usize = 20;

/// Releases of which it is told what comes with them. JSON tells all.
const RELEASES: usize = 4;

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &flags::Bpf) -> Result<()> {
    if let Some(missing) = request.files.iter().find(|file| !file.is_file()) {
        bad_request!("there is no file {}", missing.display());
    }
    let (folder, files) = match request.files.as_slice() {
        [] => checked_in(&Facts::read(runner, common)?)?,
        files => (PathBuf::new(), files.to_vec()),
    };
    let mut reported: Vec<Reported> = Vec::new();
    let mut failures = Vec::new();
    for file in files {
        match read(&folder.join(&file)) {
            Ok((endian, report)) => add(&mut reported, file, endian, report),
            Err(error) => failures.push(screen::plain(&format!("{}: {error:#}", file.display()))),
        }
    }
    match request.show.json {
        true => screen::print(&format!("{:#}\n", serde_json::json!({ "objects": reported })))?,
        false => screen::print(&reported.iter().map(text).collect::<Vec<_>>().join("\n"))?,
    }
    match failures.as_slice() {
        [] => Ok(()),
        [failure] => bail!("{failure}"),
        _ => bail!("not all of it can be told:\n  {}", failures.join("\n  ")),
    }
}

/// The folder of the checked-in objects, and their names: of two byte orders, little-endian first.
fn checked_in(facts: &Facts) -> Result<(PathBuf, Vec<PathBuf>)> {
    if let Some(reason) = facts.bpf.stale(&facts.config.bpf) {
        bail!("the BPF objects are not up to date: {reason}; run `cargo xtask bpf`");
    }
    let mut files: Vec<PathBuf> = facts.bpf.objects.keys().map(PathBuf::from).collect();
    files.sort_by_key(|file| (stem(file), file.to_string_lossy().ends_with("_bpfeb.o")));
    Ok((facts.root.join(&facts.config.bpf.folder).join("objects"), files))
}

fn read(path: &Path) -> Result<(Endian, Report)> {
    let length = fs::metadata(path).context("it cannot be read")?.len();
    if length > MAX_FILE {
        bail!("it has {} MB, and a BPF object has {} at most", length >> 20, MAX_FILE >> 20);
    }
    Report::read(&fs::read(path).context("it cannot be read")?)
}

/// The name that both byte orders of an object share.
fn stem(file: &Path) -> String {
    let name = file.to_string_lossy();
    let is_of = |endian: Endian| name.strip_suffix(&format!("_{}.o", endian.bpf_target()));
    Endian::ALL.into_iter().find_map(is_of).unwrap_or(&name).to_owned()
}

fn add(reported: &mut Vec<Reported>, file: PathBuf, endian: Endian, report: Report) {
    let name = stem(&file);
    let same = |other: &&mut Reported| {
        other.name == name && other.report == report && !other.byte_orders.contains(&endian.bpf_target())
    };
    match reported.iter_mut().find(same) {
        Some(other) => {
            other.files.push(file);
            other.byte_orders.push(endian.bpf_target());
        }
        None => reported.push(Reported { name, files: vec![file], byte_orders: vec![endian.bpf_target()], report }),
    }
}

fn text(reported: &Reported) -> String {
    let report = &reported.report;
    let kernel = match (&report.oldest_kernel, report.unknown.is_empty()) {
        (Some(kernel), true) => format!("Linux {kernel} or newer"),
        (Some(kernel), false) => format!("at least Linux {kernel}"),
        (None, _) => "which Linux is not known".into(),
    };
    let btf = if report.needs_kernel_btf { ", with BTF" } else { "" };
    let mut lines = vec![format!("{} ({}): {kernel}{btf}", reported.name, reported.byte_orders.join(", "))];
    let mut add = |label: &str, paragraphs: Vec<String>| wrap(label, &paragraphs, &mut lines);
    let one = |words: Vec<String>| if words.is_empty() { Vec::new() } else { vec![words.join(", ")] };

    add("programs", report.programs.iter().map(program).collect());
    let function = |found: &Function| format!("{}: {}", found.name, instructions(found.instructions));
    add("functions", report.functions.iter().map(function).collect());
    add("in all", vec![instructions(report.instructions)]);
    add("maps", maps(report));
    add("helpers", one(report.helpers.iter().cloned().collect()));
    add("of the kernel", one(report.kernel_symbols.iter().cloned().collect()));
    add("CO-RE relocations", relocations(report));
    add("license", report.license.iter().cloned().collect());
    add("needs", needs(report));
    add("not known", one(report.unknown.iter().cloned().collect()));
    add("without BTF", report.without_btf.clone());
    add("without BPF_EVENTS", report.without_bpf_events.clone());
    lines.iter().map(|line| screen::plain(line) + "\n").collect()
}

fn program(program: &Program) -> String {
    let kind = program.kind.unwrap_or("type not known");
    let with_functions = match program.loaded_instructions - program.instructions {
        0 => String::new(),
        _ => format!(", {} with what it calls", program.loaded_instructions),
    };
    format!("{}: {} ({kind}), {}{with_functions}", program.name, program.section, instructions(program.instructions))
}

fn instructions(count: usize) -> String {
    if count == 1 { "1 instruction".into() } else { format!("{count} instructions") }
}

/// By type.
fn maps(report: &Report) -> Vec<String> {
    let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for map in &report.maps {
        let kind = map.inner.iter().fold(map.kind.clone(), |kind, inner| format!("{kind} of {inner}"));
        names.entry(kind).or_default().push(&map.name);
    }
    names.into_iter().map(|(kind, names)| format!("{kind}: {}", names.join(", "))).collect()
}

/// How many of which kind, and for each type what of it is asked for.
fn relocations(report: &Report) -> Vec<String> {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut fields: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for relocation in &report.relocations {
        *kinds.entry(relocation.kind).or_default() += relocation.count;
        match relocation.target.split_once('.') {
            Some((of, field)) => drop(fields.entry(of).or_default().insert(field)),
            None => drop(fields.entry(&relocation.target).or_default()),
        }
    }
    if kinds.is_empty() {
        return Vec::new();
    }
    let sum: usize = kinds.values().sum();
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let fields = fields.into_iter().map(|(of, fields)| match fields.len() {
        0 => of.to_owned(),
        _ => format!("{of}: {}", fields.into_iter().collect::<Vec<_>>().join(", ")),
    });
    std::iter::once(format!("{sum}: {}", kinds.join(", "))).chain(fields).collect()
}

/// By release and commit, as far as it decides anything.
fn needs(report: &Report) -> Vec<String> {
    let line = |release: &[Need]| {
        let mut commits: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for need in release {
            commits.entry(need.source.commit).or_default().push(&need.what);
        }
        let commits = commits.into_iter().map(|(commit, what)| format!("{} ({commit})", what.join(", ")));
        format!("{}: {}", release[0].kernel, commits.collect::<Vec<_>>().join("; "))
    };
    report.needs.chunk_by(|one, other| one.kernel == other.kernel).take(RELEASES).map(line).collect()
}

/// Paragraphs beside a label; nothing, if there are none.
fn wrap(label: &str, paragraphs: &[String], lines: &mut Vec<String>) {
    let mut label = label;
    for paragraph in paragraphs {
        let mut line = format!("  {label:LABEL$}");
        let mut is_first = true;
        for word in paragraph.split(' ') {
            if !is_first && line.chars().count() + 1 + word.chars().count() > WIDTH {
                lines.push(std::mem::replace(&mut line, " ".repeat(2 + LABEL + 2)));
            } else if !is_first {
                line.push(' ');
            }
            line.push_str(word);
            is_first = false;
        }
        lines.push(line);
        label = "";
    }
}
