//! What is added to a workspace, decided from what it has.

use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::adopt::edit;
use crate::adopt::facts::{self, Facts, Source};
use crate::adopt::run::Add;
use crate::bpf::failures::LIBBPF_SYS;
use crate::sys::plan::{Steps, Task};
use crate::sys::steps::Write;
use crate::ui::error::bad_request;
use crate::workspace::rust::PIN;

/// What `init` does, and what is left for the user.
#[derive(Debug)]
pub struct Plan {
    /// None if nothing is missing.
    pub tasks: Vec<Task>,
    /// In order. The last one is a command.
    pub next: Vec<String>,
}

/// What was decided so far.
struct Draft<'a> {
    root: &'a Path,
    steps: Steps,
}

/// The folder and package of the BPF half that is made where there is none.
const BPF: &str = "bpf";

/// Files as they are written.
const MAIN: &str = include_str!("../../templates/main.rs");
const BUILD: &str = include_str!("../../templates/bpf-build.rs");
const LIBRARY: &str = include_str!("../../templates/bpf-lib.rs");
const PROGRAM: &str = include_str!("../../templates/hello.c");

/// What libbpf's headers are from, as a manifest has it.
const HEADERS: &str = "# Only for the headers it carries (bpf_helpers.h): Cargo.lock pins it, and nothing compiles it.";

/// Decides what to add. `package` is the application that the user named, `tool` the source of this tool, `example` whether a
/// workspace without BPF gets a program to begin with.
pub fn plan(facts: &Facts, package: Option<&str>, tool: Option<Source>, example: bool) -> Result<Plan> {
    let example = example && !facts.has_bpf() && !facts.by_scripts && !facts.has_folder;
    let application = facts::application(facts, package)?;
    let source = match (tool, &facts.tool) {
        (Some(tool), _) => tool,
        (None, Some((_, source))) => source.clone(),
        (None, None) => bad_request!(
            "no package in {} depends on {}: name its git address or its folder with --tool",
            facts.root.display(),
            crate::NAME
        ),
    };
    let headers = format!("\n{HEADERS}\n[target.'cfg(any())'.dependencies]\n{LIBBPF_SYS}\n");
    let mut next = Vec::new();
    let mut draft = Draft { root: &facts.root, steps: Vec::new() };
    let mut members = Vec::new();

    let runner = match &facts.tool {
        Some((name, _)) => {
            if facts.lacks_libbpf {
                next.push(format!(
                    "add `{LIBBPF_SYS}` to [target.'cfg(any())'.dependencies] of {name}: your BPF sources include libbpf's headers"
                ));
            }
            name.clone()
        }
        None => {
            // A workspace may have an xtask already, for other work.
            let taken = |name: &str| {
                facts.root.join(name).exists() || facts.packages.iter().any(|(package, _)| package == name)
            };
            let Some(name) = ["xtask", "ship"].into_iter().find(|name| !taken(name)) else {
                bad_request!(
                    "xtask/ and ship/ are both taken: add `{} = {}` to a package of yours by hand",
                    crate::NAME,
                    source.dependency("", "")
                );
            };
            let headers = if facts.lacks_libbpf { headers.as_str() } else { "" };
            let manifest = format!(
                "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n[dependencies]\n{} = {}\n{headers}",
                crate::NAME,
                source.dependency("", "")
            );
            draft.create(format!("{name}/Cargo.toml"), manifest, "the package behind the command");
            draft.create(format!("{name}/src/main.rs"), MAIN.replace("xtask", name), "three lines");
            members.push(name);
            name.to_owned()
        }
    };

    let mut manifest = facts.manifest.clone();
    let mut added = Vec::new();
    if example {
        draft.example(application, &source, &headers);
        members.push(BPF);
    }
    if !members.is_empty() {
        manifest = edit::add_members(&manifest, &members)?;
        added.push(format!("members {}", members.join(", ")));
    }
    if !facts.has_key {
        let mut block = format!("[workspace.metadata.{}]\npackage = \"{application}\"\n", crate::NAME);
        let keys = bpf_keys(facts);
        if !keys.is_empty() {
            block += &format!("\n[workspace.metadata.{}.bpf]\n{keys}", crate::NAME);
        }
        manifest = edit::append(&manifest, &block);
        added.push(format!("[workspace.metadata.{}]", crate::NAME));
    }
    if !added.is_empty() {
        draft.create("Cargo.toml".into(), manifest, &added.join(", "));
    }

    let config = facts.cargo_config.as_deref().unwrap_or_default();
    let command = format!("run --quiet {}--package {runner} --", past_runners(config)?);
    if !config.contains(&format!("--package {runner} --")) {
        let config = edit::add_key(config, "alias", &runner, &format!("{command:?}"))?;
        draft.create(".cargo/config.toml".into(), config, &format!("the alias `{runner}` of cargo's"));
    }
    if !facts.is_pinned {
        if facts.rust.contains('-') {
            bad_request!(
                "Rust {} cannot be pinned: use a stable release here (rustup override set stable)",
                facts.rust
            );
        }
        let text = format!("[toolchain]\nchannel = \"{}\"\n", facts.rust);
        draft.create(PIN.into(), text, "the pinned Rust, on which the bytes depend");
    }
    let ignored = facts.gitignore.as_deref().unwrap_or_default();
    let is_ignored = |name: &str| ignored.lines().any(|line| line.trim_matches('/') == name);
    let missing: Vec<String> =
        ["target", "dist"].iter().filter(|name| !is_ignored(name)).map(|name| format!("/{name}/\n")).collect();
    if !missing.is_empty() {
        let text = match ignored.trim_end() {
            "" => missing.concat(),
            kept => format!("{kept}\n{}", missing.concat()),
        };
        draft.create(".gitignore".into(), text, "what builds write");
    }

    if example {
        next.push(format!(
            "use `{}::hello()` in {application}: the bytes of the BPF object for the machine it is built for",
            format!("{application}-{BPF}").replace('-', "_")
        ));
    }
    if facts.by_scripts && !facts.has_key && !facts.bpf_folders.is_empty() {
        next.push(
            "name in `bpf.folder` the folders of BPF sources that no build script compiles, if there are such".into(),
        );
    }
    next.push(match example || facts.compiles_bpf() {
        true => format!("cargo {runner} bpf"),
        false => format!("cargo {runner} dist"),
    });
    let mut tasks = Vec::new();
    if !draft.steps.is_empty() {
        tasks.push(Task::new("adding what is missing", draft.steps));
    }
    Ok(Plan { tasks, next })
}

/// What has cargo start a program of its own past the runners of a configuration for whole families of targets: aya's template has
/// `sudo -E` there, for its application.
fn past_runners(config: &str) -> Result<String> {
    let config: Table = config.parse().context("cannot understand .cargo/config.toml")?;
    let targets = config.get("target").and_then(Value::as_table);
    let is_meant = |(name, table): &(&String, &Value)| {
        let is_word = !name.contains(|letter: char| letter.is_whitespace() || ['"', '\''].contains(&letter));
        name.starts_with("cfg(") && is_word && table.get("runner").is_some_and(Value::is_str)
    };
    let names = targets.into_iter().flatten().filter(is_meant).map(|(name, _)| name);
    Ok(names.map(|name| format!("--config target.'{name}'.runner='env' ")).collect())
}

/// What the configuration has to say of BPF: where it is, unless it is where it is looked for.
fn bpf_keys(facts: &Facts) -> String {
    let quoted = |names: Vec<&String>| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let mut keys = String::new();
    let folders = if facts.by_scripts { &[] } else { facts.bpf_folders.as_slice() };
    match folders {
        // Nothing in it is for this tool to compile.
        [] if facts.has_folder && !facts.compiles_bpf() => keys += "folder = []\n",
        [] => {}
        [folder] if folder == BPF => {}
        [folder] => keys += &format!("folder = \"{folder}\"\n"),
        several => {
            let is_inside = |folder: &&String| several.iter().any(|other| folder.starts_with(&format!("{other}/")));
            let folders = several.iter().filter(|folder| !is_inside(folder)).collect();
            keys += &format!("folder = [{}]\n", quoted(folders));
        }
    }
    if !facts.bpf_packages.is_empty() {
        keys += &format!("rust = [{}]\n", quoted(facts.bpf_packages.iter().collect()));
    }
    keys
}

impl Draft<'_> {
    /// Adds a file, by its path in the workspace, or replaces it; `what` is new in it.
    fn create(&mut self, name: String, text: String, what: &str) {
        let write = Write { file: self.root.join(&name), text };
        self.steps.push(Box::new(Add { write, name, what: what.into() }));
    }

    /// A package with one BPF program.
    fn example(&mut self, application: &str, source: &Source, headers: &str) {
        // The program needs less of it than the build script.
        let slim = source.dependency("/embed", ", default-features = false");
        let embed = source.dependency("/embed", "");
        let manifest = format!(
            "[package]\nname = \"{application}-{BPF}\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n\
             [dependencies]\nbpfship-embed = {slim}\n\n\
             [build-dependencies]\nbpfship-embed = {embed}\n{headers}"
        );
        self.create(format!("{BPF}/Cargo.toml"), manifest, "the BPF half, as a package");
        self.create(format!("{BPF}/build.rs"), BUILD.into(), "the guard against stale objects");
        self.create(format!("{BPF}/src/lib.rs"), LIBRARY.into(), "the embedded object");
        self.create(format!("{BPF}/hello.bpf.c"), PROGRAM.into(), "an example BPF program");
    }
}
