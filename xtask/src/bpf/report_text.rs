//! A report in lines for a terminal.

use std::collections::{BTreeMap, BTreeSet};

use bpfship_object::report::{Function, Need, Program, Report};

use crate::bpf::target::BpfTarget;
use crate::ui::table;

/// Columns of the labels.
const LABEL: usize = 20;

/// The newest releases whose features are listed. JSON lists all.
const RELEASES: usize = 4;

/// The report of an object with this name, for these targets, in lines of at most `width` columns.
pub fn lines(name: &str, targets: &[&BpfTarget], report: &Report, width: usize) -> Vec<String> {
    let kernel = match (&report.oldest_kernel, report.unknown.is_empty()) {
        (Some(kernel), true) => format!("Linux {kernel} or newer"),
        (Some(kernel), false) => format!("at least Linux {kernel}"),
        (None, _) => "which Linux is not known".into(),
    };
    let btf = if report.needs_kernel_btf { ", with BTF" } else { "" };
    let targets: Vec<&str> = targets.iter().map(|target| target.name).collect();
    let mut lines = vec![format!("{name} ({}): {kernel}{btf}", targets.join(", "))];
    let mut add = |label: &str, paragraphs: Vec<String>| lines.extend(labelled(label, &paragraphs, width));
    let one = |words: Vec<String>| if words.is_empty() { Vec::new() } else { vec![words.join(", ")] };

    add("programs", report.programs.iter().map(program).collect());
    let function = |found: &Function| format!("{}: {}", found.name, instructions(found.instructions));
    add("functions", report.functions.iter().map(function).collect());
    add("in all", vec![instructions(report.instructions)]);
    add("maps", maps(report));
    add("helpers", one(report.helpers.iter().cloned().collect()));
    add("of the kernel", one(report.kernel_symbols.iter().cloned().collect()));
    add("kernel config", one(report.kernel_config.iter().cloned().collect()));
    add("CO-RE relocations", relocations(report));
    add("license", report.license.iter().cloned().collect());
    add("needs", needs(report));
    add("not known", one(report.unknown.iter().cloned().collect()));
    add("note", report.notes.clone());
    add("without BTF", report.without_btf.clone());
    add("without BPF_EVENTS", report.without_bpf_events.clone());
    lines
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

/// Columns below which there is no room for labels beside the text.
const NARROW: usize = 80;

/// Paragraphs beside a label, or below it; nothing, if there are none.
fn labelled(label: &str, paragraphs: &[String], width: usize) -> Vec<String> {
    if width < NARROW {
        let below = paragraphs.iter().flat_map(|text| table::paragraph("    ", 6, text, width));
        let label = (!paragraphs.is_empty()).then(|| format!("  {label}"));
        return label.into_iter().chain(below).collect();
    }
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    let paragraph = |(paragraph, label): (&String, &str)| {
        table::paragraph(&format!("  {label:LABEL$}"), 2 + LABEL + 2, paragraph, width)
    };
    paragraphs.iter().zip(labels).flat_map(paragraph).collect()
}
