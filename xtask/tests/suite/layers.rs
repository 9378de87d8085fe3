//! Which module may import which, and which may do what: the same rules for every subject, by file name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::support::{list, own_root};

const TOOL: &str = "xtask/src";

/// A module, without its tests.
struct Module {
    text: String,
    /// The modules that it mentions.
    imports: BTreeSet<String>,
}

/// The modules of a crate by path, such as `sys::files`. `lib.rs` and `main.rs`, the face, are left out.
fn modules(folder: &str) -> BTreeMap<String, Module> {
    let mut texts = BTreeMap::new();
    read(&own_root().join(folder), &[], &mut texts);
    let names: BTreeSet<String> = texts.keys().cloned().collect();
    let module = |(name, text): (String, String)| {
        let children = names.iter().filter_map(|child| child.strip_prefix(&name)?.strip_prefix("::"));
        let children: Vec<&str> = children.filter(|child| !child.contains("::")).collect();
        let imports = paths(&name, &children, &text).iter().filter_map(|path| longest(path, &names)).collect();
        (name.clone(), Module { text, imports: &imports - &BTreeSet::from([name]) })
    };
    texts.into_iter().map(module).collect()
}

fn read(folder: &Path, above: &[String], texts: &mut BTreeMap<String, String>) {
    for file in list(folder) {
        let path = folder.join(&file);
        let inside = |name: &str| [above, &[name.to_owned()]].concat();
        if path.is_dir() {
            read(&path, &inside(&file), texts);
        } else if let Some(name) = file.strip_suffix(".rs")
            && !(above.is_empty() && ["lib", "main"].contains(&name))
        {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("[cfg(test)]").next().unwrap();
            let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let name = if name == "mod" { above.to_vec() } else { inside(name) };
            texts.insert(name.join("::"), code.join("\n"));
        }
    }
}

/// Every path in a module that begins at the root of the crate, above the module, or with one of its children, as words
/// from the root. One at the beginning of a string literal is generated code.
fn paths(module: &str, children: &[&str], text: &str) -> Vec<Vec<String>> {
    let own: Vec<String> = module.split("::").map(String::from).collect();
    let mut paths = Vec::new();
    let mut begins = vec![("crate".to_owned(), Vec::new()), ("super".into(), own[..own.len() - 1].to_vec())];
    begins.extend(children.iter().map(|child| ((*child).to_owned(), [&own[..], &[(*child).to_owned()]].concat())));
    for (word, base) in begins {
        let word = word + "::";
        for (at, _) in text.match_indices(&word) {
            let is_inner =
                text[..at].ends_with("::") || text[..at].ends_with(|c: char| c.is_alphanumeric() || "_\"".contains(c));
            if !is_inner {
                expand(&base, &text[at + word.len()..], &mut paths);
            }
        }
    }
    paths
}

/// Adds the paths of what begins a text: `a::b`, or `a::{b, c::d}`. Gives what follows.
fn expand<'text>(above: &[String], text: &'text str, paths: &mut Vec<Vec<String>>) -> &'text str {
    let mut path = above.to_vec();
    let mut rest = text;
    loop {
        if let Some(mut inner) = rest.strip_prefix('{') {
            while !inner.starts_with('}') {
                inner = expand(&path, inner, paths).trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            }
            return &inner[1..];
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        match &rest[..end] {
            "super" => drop(path.pop()),
            word => path.push(word.to_owned()),
        }
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(next) => rest = next,
            None => break,
        }
    }
    paths.push(path);
    // `… as name`, of which nothing is a path.
    let end = rest.find([',', '}', ';', '\n']).unwrap_or(rest.len());
    &rest[end..]
}

/// The module that a path leads into: what follows is in it.
fn longest(path: &[String], names: &BTreeSet<String>) -> Option<String> {
    (1..=path.len()).rev().map(|length| path[..length].join("::")).find(|name| names.contains(name))
}

fn is_in(module: &str, folder: &str) -> bool {
    module.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn imports_are_found() {
    let text =
        "use crate::sys::{files, process::{self as p, Runner}};\nuse super::plan::Job;\nfn f() { crate::ui::show() }";
    let found: Vec<String> = paths("bpf::run", &[], text).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["sys::files", "sys::process::self", "sys::process::Runner", "ui::show", "bpf::plan::Job"]);
    let modules = modules(TOOL);
    assert!(modules.len() > 30 && modules.values().map(|module| module.imports.len()).sum::<usize>() > 100);
}

#[test]
fn modules_do_not_import_each_other_in_a_circle() {
    ["xtask/object/src", "xtask/embed/src", TOOL].into_iter().for_each(has_no_circle);
}

#[track_caller]
fn has_no_circle(folder: &str) {
    let modules = modules(folder);
    let mut circles = Vec::new();
    for start in modules.keys() {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&String> = modules[start].imports.iter().collect();
        while let Some(name) = next.pop() {
            if reached.insert(name) {
                next.extend(&modules[name].imports);
            }
        }
        if reached.contains(start) {
            circles.push(start);
        }
    }
    let import = |name: &&String| {
        let imports: Vec<&str> =
            modules[*name].imports.iter().filter(|other| circles.contains(other)).map(String::as_str).collect();
        format!("{name} imports {}", imports.join(", "))
    };
    assert!(circles.is_empty(), "{}", circles.iter().map(import).collect::<Vec<_>>().join("\n"));
}

#[test]
fn imports_lead_down() {
    // What a module may import in addition to its neighbours.
    let may = |name: &str, other: &str| match name.split("::").next().unwrap() {
        "ui" => is_in(other, "ui"),
        "sys" => is_in(other, "sys") || is_in(other, "ui"),
        // The list of verbs.
        "verbs" if name == "verbs" => true,
        // All the rest, one verb included.
        _ => !is_in(other, "verbs"),
    };
    let mut faults = Vec::new();
    for (name, module) in modules(TOOL) {
        let upward = module.imports.iter().filter(|other| !may(&name, other));
        faults.extend(upward.map(|other| format!("{name} imports {other}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What a module may do to the machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Access {
    /// It decides and describes.
    Nothing,
    /// It finds out what is there.
    Reads,
    /// It changes what is there, or prints.
    Writes,
}

/// The modules that read or write although they are not called so.
const OTHERS: &[(&str, Access)] = &[
    ("bpf::container", Access::Reads),
    ("bpf::rust::answer", Access::Writes),
    ("bpf::rust::linker", Access::Writes),
    ("bpf::rust::shim", Access::Writes),
    ("boot::kernels::lock", Access::Reads),
    ("boot::kernels::update", Access::Writes),
    ("container::engine", Access::Reads),
    ("build::cargo", Access::Writes),
    ("build::crate_copies", Access::Reads),
    ("build::profile", Access::Reads),
    ("build::reads", Access::Reads),
    ("cc::cxx", Access::Writes),
    ("cc::tool", Access::Writes),
    ("release::artifacts", Access::Reads),
    ("release::beside", Access::Writes),
    ("release::documents", Access::Reads),
    ("release::licenses", Access::Reads),
    ("release::staging", Access::Writes),
    ("sys::cache", Access::Writes),
    ("sys::files", Access::Writes),
    ("sys::hash", Access::Reads),
    ("sys::plan", Access::Writes),
    ("sys::process", Access::Writes),
    ("sys::stat", Access::Reads),
    ("sys::steps", Access::Writes),
    ("ui::error", Access::Reads),
    ("ui::screen", Access::Writes),
    ("workspace::cached", Access::Writes),
    ("workspace::cargo_home", Access::Reads),
    ("workspace::date", Access::Reads),
    ("workspace::ignored", Access::Reads),
    ("workspace::machine", Access::Reads),
    ("workspace::packages", Access::Writes),
    ("verify", Access::Reads),
    ("workspace::rust", Access::Reads),
    ("workspace::snapshot", Access::Writes),
    ("workspace::source", Access::Writes),
];

/// What is called plan.rs touches nothing, what is called facts.rs reads, and what is called run.rs writes; a file of
/// any other name touches nothing, unless it is listed.
fn allowed(name: &str) -> Access {
    if let Some((_, access)) = OTHERS.iter().find(|(listed, _)| is_in(name, listed)) {
        return *access;
    }
    match name.rsplit("::").next().unwrap() {
        "run" => Access::Writes,
        "facts" => Access::Reads,
        _ if name.starts_with("verbs::") => Access::Writes,
        _ => Access::Nothing,
    }
}

/// By the words in it.
fn access(text: &str) -> Access {
    const WRITING: [&str; 12] = [
        "fs::write",
        "fs::rename",
        "fs::copy",
        "fs::create",
        "fs::remove",
        "files::write",
        "files::copy",
        "files::replace",
        "files::remove",
        "files::create",
        "print!",
        "println!",
    ];
    const READING: [&str; 8] =
        ["std::fs", "std::env", "std::process", "files::", "hash::file", "process::", "screen::print", "Runner"];
    let text = text.replace("std::env::consts", "");
    match () {
        () if WRITING.iter().any(|word| text.contains(word)) => Access::Writes,
        () if READING.iter().any(|word| text.contains(word)) => Access::Reads,
        () => Access::Nothing,
    }
}

#[test]
fn only_what_is_called_so_reads_or_writes() {
    let mut faults = Vec::new();
    for (name, module) in modules(TOOL) {
        let (found, allowed) = (access(&module.text), allowed(&name));
        if found > allowed {
            faults.push(format!("{name} {}", if found == Access::Writes { "writes" } else { "reads" }));
        }
    }
    let modules = modules("xtask/object/src");
    faults.extend(modules.iter().filter(|(_, it)| access(&it.text) > Access::Nothing).map(|(name, _)| name.clone()));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
