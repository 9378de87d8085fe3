//! What a foreign repository holds: its workspace as cargo sees it, Cargo.lock, build scripts, and BPF programs in C.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Dependency, DependencyKind, Metadata, Package, Target};
use serde_json::Value;

use super::lock::{Crate, Lock};
use crate::adopt::facts::{bpf_packages, has_libbpf_sys, is_for_bpf, is_looked_through, metadata, uses_tool};
use crate::arch::ARCHES;
use crate::build::profile;
use crate::release::licenses::is_license;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::process::{self, Runner};
use crate::ui::error::{self, bad_request};
use crate::workspace::features::enabled;
use crate::workspace::rust::PINS;

/// What is read of a repository. Errors are what they are called: findings.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// The folder of the workspace in the repository; empty if it is the repository.
    pub path: String,
    /// The folders of other workspaces, or packages, in the repository.
    pub others: Vec<String>,
    /// Why cargo cannot read the workspace.
    pub unreadable: Option<String>,
    pub applications: Vec<Application>,
    /// The names of packages, and of what lies in the workspace's folder.
    pub taken: BTreeSet<String>,
    /// What applications are built of. None if there is no Cargo.lock.
    pub crates: Option<Result<Vec<Reached>, String>>,
    /// A member that has dependencies which Cargo.lock does not have.
    pub outdated: Option<String>,
    /// `channel` of the toolchain file.
    pub channel: Option<String>,
    /// What of `[profile.release]` has no effect, or why it cannot be.
    pub profile: Option<Result<Vec<String>, String>>,
    /// The packages of the workspace that are BPF in Rust.
    pub bpf_packages: Vec<String>,
    pub sources: Vec<Source>,
    /// Whether a crate, or the repository, brings libbpf's headers along.
    pub has_libbpf: bool,
    /// The package by which the workspace has this tool already.
    pub tool: Option<String>,
    /// What the workspace says of BPF already: folders, from the top of the repository, and packages.
    pub named_folders: Vec<PathBuf>,
    pub named_packages: Vec<String>,
    /// Folders, in the repository, that should hold another one.
    pub empty_submodules: Vec<String>,
    pub is_committed: bool,
    /// The texts of licences at the top, by name.
    pub licenses: Vec<String>,
}

/// A crate, and the applications that are built of it.
pub type Reached = (Crate, Vec<String>);

/// A package with binaries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Application {
    pub package: String,
    /// Each with the features that it needs and has not by default.
    pub bins: Vec<(String, Vec<String>)>,
    pub has_license: bool,
}

/// A file of the repository that is of interest here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// In the repository.
    pub path: String,
    pub kind: Kind,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    BuildScript,
    /// A BPF program in C.
    Bpf,
    /// `vmlinux.h`. Of its text, there is only the kernel's word for the architecture whose registers it has.
    Vmlinux,
    /// Other Rust.
    Rust,
}

/// Folders of a workspace that hold nothing that is shipped.
const ASIDE: [&str; 5] = ["tests", "testdata", "benches", "examples", "fuzz"];

/// Bytes. Longer files are generated.
const LONGEST: u64 = 1 << 20;

impl Survey {
    /// Reads a repository, of which one package is to be shipped, or all are that have binaries.
    pub fn read(runner: Runner, repository: &Path, package: Option<&str>) -> Result<Survey> {
        let mut roots = Vec::new();
        let mut sources = Vec::new();
        let mut has_headers = false;
        walk(repository, "", &mut roots, &mut sources, &mut has_headers)?;
        roots.sort_by_key(|root| (root.matches('/').count() + usize::from(!root.is_empty()), root.clone()));
        let Some(path) = roots.first().cloned() else {
            bad_request!("there is no Cargo.toml in {}", repository.display());
        };
        let repository = &repository.canonicalize().context("it cannot be read")?;
        let root = repository.join(&path);
        let mut survey = Survey { path, ..Survey::default() };
        let git = |args: &[&str]| runner.read(&Command::new("git", repository).args(args.iter().copied())).ok();
        survey.is_committed = git(&["rev-parse", "HEAD"]).is_some();
        let modules = git(&["config", "--file", ".gitmodules", "--get-regexp", "path"]).unwrap_or_default();
        let modules = modules.lines().filter_map(|line| line.split_once(' ')).map(|(_, path)| path.to_owned());
        let is_empty = |path: &String| files::list(&repository.join(path)).is_ok_and(|names| names.is_empty());
        survey.empty_submodules = modules.filter(is_empty).collect();
        // In `/`, no toolchain file of the repository has another cargo run.
        let metadata = match metadata(runner, Path::new("/"), &root.join("Cargo.toml")) {
            Ok(metadata) => metadata,
            Err(failed) => {
                let words = error::describe(&failed);
                survey.unreadable = Some(words.split_whitespace().collect::<Vec<_>>().join(" "));
                return Ok(survey);
            }
        };
        let members = metadata.workspace_packages();
        let homes: Vec<&Path> =
            members.iter().filter_map(|member| Some(member.manifest_path.parent()?.as_std_path())).collect();
        let is_aside = |path: &String| {
            let inner = repository.join(path);
            let inner = inner.strip_prefix(&root).unwrap_or(Path::new(""));
            inner.components().any(|part| ASIDE.iter().any(|name| part.as_os_str() == *name))
        };
        let is_other = |other: &String| {
            *other != survey.path && !is_aside(other) && !homes.contains(&repository.join(other).as_path())
        };
        survey.others = roots.into_iter().filter(is_other).collect();
        survey.applications = members.iter().filter_map(|member| application(member)).collect();
        if let Some(name) = package {
            let all: Vec<String> = survey.applications.iter().map(|it| it.package.clone()).collect();
            survey.applications.retain(|application| application.package == name);
            if survey.applications.is_empty() {
                bad_request!("--package: `{name}` has no binary that could be shipped; {} have", all.join(", "));
            }
        }
        survey.tool = members.iter().find(|member| uses_tool(member)).map(|member| member.name.to_string());
        survey.read_named(&metadata);
        survey.taken = members.iter().map(|member| member.name.to_string()).chain(files::list(&root)?).collect();
        let direct = direct(&metadata, &survey);
        let lock = files::read_if_there(&root.join("Cargo.lock"))?;
        survey.has_libbpf = has_headers || has_libbpf_sys(lock.as_deref().unwrap_or_default(), &members);
        let lock = lock.map(|text| Lock::parse(&text).map_err(|failed| error::describe(&failed)));
        if let Some(Ok(lock)) = &lock {
            let is_outdated = |(member, names): &(&String, &BTreeSet<String>)| !lock.has(member, names);
            survey.outdated = direct.iter().find(is_outdated).map(|(member, _)| member.clone());
        }
        survey.crates = lock.map(|lock| lock.map(|lock| crates(&lock, &direct, &survey.applications)));
        // What else there is in the repository is built for this machine, or not at all.
        let shipped: Vec<&Path> = members
            .iter()
            .filter(|member| {
                direct.contains_key(member.name.as_str()) && !member.targets.iter().any(Target::is_proc_macro)
            })
            .filter_map(|member| Some(member.manifest_path.parent()?.as_std_path()))
            .collect();
        let is_ours = |source: &Source| {
            if is_aside(&source.path) {
                return false;
            }
            let file = repository.join(&source.path);
            // The innermost package that it is in.
            let package =
                homes.iter().filter(|folder| file.starts_with(folder)).max_by_key(|folder| folder.as_os_str().len());
            let is_shipped = package.is_some_and(|package| shipped.contains(package));
            match source.kind {
                Kind::Rust | Kind::BuildScript => is_shipped,
                // Those at the top are whoever's compiles them.
                Kind::Bpf => is_shipped || package.is_none_or(|package| *package == root),
                Kind::Vmlinux => true,
            }
        };
        survey.sources = sources.into_iter().filter(is_ours).collect();
        // A workspace in a folder of a repository may have them beside it.
        let top = git(&["rev-parse", "--show-toplevel"]).map(|top| PathBuf::from(top.trim_end()));
        if let Some(top) = top.filter(|top| top != repository) {
            let mut sources = Vec::new();
            walk(&top, "", &mut Vec::new(), &mut sources, &mut survey.has_libbpf)?;
            survey.sources.extend(sources.into_iter().filter(|source| source.kind == Kind::Vmlinux));
        }
        survey.channel = channel(&root, repository)?;
        let triples: Vec<&str> = ARCHES.iter().map(|arch| arch.triple).collect();
        survey.bpf_packages = bpf_packages(&metadata.workspace_packages());
        let bpf: Vec<&str> = survey.bpf_packages.iter().map(String::as_str).collect();
        survey.profile = Some(profile::check(&root, &triples, &bpf).map_err(|failed| error::describe(&failed)));
        let names = files::names(&root)?.into_iter().filter_map(|name| name.into_string().ok());
        survey.licenses = names.filter(|name| is_license(&name.to_uppercase())).collect();
        Ok(survey)
    }

    /// Whether the workspace says already that BPF sources are in a folder.
    pub fn names_folder(&self, folder: &str) -> bool {
        self.named_folders.iter().any(|named| Path::new(folder).starts_with(named))
    }

    /// What the workspace says of BPF already.
    fn read_named(&mut self, metadata: &Metadata) {
        let Some(table) = metadata.workspace_metadata.get(crate::NAME) else { return };
        let words = |key: &str| match table.pointer(key) {
            Some(Value::String(word)) => vec![word.clone()],
            Some(Value::Array(words)) => words.iter().filter_map(|word| Some(word.as_str()?.to_owned())).collect(),
            _ => Vec::new(),
        };
        let folders = match table.pointer("/bpf/folder") {
            None => vec!["bpf".into()],
            Some(_) => words("/bpf/folder"),
        };
        self.named_folders = folders.iter().map(|folder| Path::new(&self.path).join(folder)).collect();
        self.named_packages = words("/bpf/rust");
    }

    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(move |source| source.kind == kind)
    }
}

fn application(package: &Package) -> Option<Application> {
    let bins = package.targets.iter().filter(|target| target.is_bin());
    let enabled = enabled(package, ["default"]);
    let lacking = |needed: &Vec<String>| needed.iter().filter(|it| !enabled.contains(it.as_str())).cloned().collect();
    let bins: Vec<(String, Vec<String>)> =
        bins.map(|bin| (bin.name.clone(), lacking(&bin.required_features))).collect();
    // What is off by default is for those who build it, and no application.
    if bins.iter().all(|(_, lacking)| !lacking.is_empty())
        || package.name.as_str() == "xtask"
        || uses_tool(package)
        || is_for_bpf(package)
    {
        return None;
    }
    let has_license = package.license.is_some() || package.license_file.is_some();
    Some(Application { package: package.name.to_string(), bins, has_license })
}

/// What members may be built of for Linux, by the names of the packages: no tests, and no features that are off.
fn direct(metadata: &Metadata, survey: &Survey) -> BTreeMap<String, BTreeSet<String>> {
    let mut direct = BTreeMap::new();
    let mut next: Vec<&str> = survey.applications.iter().map(|application| application.package.as_str()).collect();
    let members: BTreeMap<&str, &Package> =
        metadata.workspace_packages().into_iter().map(|member| (member.name.as_str(), member)).collect();
    while let Some((name, member)) = next.pop().and_then(|name| Some((name, *members.get(name)?))) {
        if direct.contains_key(name) {
            continue;
        }
        let enabled = enabled(member, ["default"]);
        let is_built = |dependency: &&Dependency| {
            let elsewhere = dependency.target.as_ref().map(ToString::to_string).unwrap_or_default();
            let is_elsewhere = ["windows", "macos", "cfg(any())", "wasm"].iter().any(|word| elsewhere.contains(word))
                && !elsewhere.contains("not(");
            let by = dependency.rename.as_ref().unwrap_or(&dependency.name);
            dependency.kind != DependencyKind::Development
                && !is_elsewhere
                && (!dependency.optional || enabled.contains(by.as_str()) || enabled.contains(&*format!("dep:{by}")))
        };
        let names: BTreeSet<String> =
            member.dependencies.iter().filter(is_built).map(|dependency| dependency.name.clone()).collect();
        next.extend(names.iter().filter_map(|name| members.get_key_value(name.as_str()).map(|(name, _)| *name)));
        direct.insert(name.to_owned(), names);
    }
    direct
}

/// Each crate that an application is built of, and the applications.
fn crates(lock: &Lock, direct: &BTreeMap<String, BTreeSet<String>>, applications: &[Application]) -> Vec<Reached> {
    let mut crates: Vec<Reached> = Vec::new();
    for Application { package, .. } in applications {
        for reached in lock.reached(package, direct) {
            match crates.iter_mut().find(|(known, _)| known == reached) {
                Some((_, by)) => by.push(package.clone()),
                None => crates.push((reached.clone(), vec![package.clone()])),
            }
        }
    }
    crates
}

/// `channel` of the toolchain file, which may be above the workspace.
fn channel(root: &Path, repository: &Path) -> Result<Option<String>> {
    let folders = root.ancestors().take_while(|folder| folder.starts_with(repository));
    let files = folders.flat_map(|folder| PINS.map(|name| folder.join(name)));
    for file in files.collect::<Vec<_>>() {
        let Some(text) = files::read_if_there(&file)? else { continue };
        let table: Option<toml::Table> = text.parse().ok();
        let channel = table.as_ref().and_then(|table| table.get("toolchain")?.get("channel")?.as_str());
        // The old form is the word alone.
        return Ok(Some(channel.map_or_else(|| text.trim().to_owned(), String::from)));
    }
    Ok(None)
}

/// Finds the folders of manifests, and files of interest, by their paths in the repository.
fn walk(
    repository: &Path,
    folder: &str,
    roots: &mut Vec<String>,
    sources: &mut Vec<Source>,
    has_headers: &mut bool,
) -> Result<()> {
    for name in files::list(&repository.join(folder))? {
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let full = repository.join(&path);
        let Ok(found) = full.symlink_metadata() else { continue };
        if found.is_dir() && is_looked_through(&name) {
            walk(repository, &path, roots, sources, has_headers)?;
        } else if found.is_file() && name == "Cargo.toml" {
            roots.push(folder.to_owned());
        } else if found.is_file() {
            *has_headers |= name == "bpf_helpers.h";
            sources.extend(source(&full, path, &name, found.len())?);
        }
    }
    Ok(())
}

/// A file, if it is of interest.
fn source(file: &Path, path: String, name: &str, bytes: u64) -> Result<Option<Source>> {
    let is_vmlinux = name.starts_with("vmlinux") && name.ends_with(".h");
    if is_vmlinux {
        let text = registers(&String::from_utf8_lossy(&std::fs::read(file)?)).unwrap_or_default().to_owned();
        return Ok(Some(Source { path, kind: Kind::Vmlinux, text }));
    }
    let is_text = [".rs", ".c"].iter().any(|end| name.ends_with(end));
    if !is_text || bytes > LONGEST {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&std::fs::read(file)?).into_owned();
    let kind = if name == "build.rs" {
        Kind::BuildScript
    } else if name.ends_with(".rs") {
        Kind::Rust
    } else if name.ends_with(".bpf.c") || is_bpf(&text) {
        Kind::Bpf
    } else {
        return Ok(None);
    };
    Ok(Some(Source { path, kind, text }))
}

/// The kernel's word for the architecture whose registers a vmlinux.h has, by a member that no other one's have.
fn registers(text: &str) -> Option<&'static str> {
    const MEMBERS: [(&str, &str); 8] = [
        ("orig_ax;", "x86"),
        ("orig_x0;", "arm64"),
        ("int badaddr;", "riscv"),
        ("csr_badvaddr;", "loongarch"),
        ("orig_gpr2;", "s390"),
        ("cp0_badvaddr;", "mips"),
        ("uregs[18];", "arm"),
        ("orig_gpr3;", "powerpc"),
    ];
    MEMBERS.iter().find(|(member, _)| text.contains(member)).map(|(_, linux)| *linux)
}

/// Whether a C file is a BPF program, by what it includes and where it puts things.
fn is_bpf(text: &str) -> bool {
    let includes = ["vmlinux.h", "bpf_helpers.h"].iter().any(|header| text.contains(header));
    includes && text.contains("SEC(")
}

/// Whether this machine has a program on its PATH, or a library where libraries are looked for.
pub fn has(name: &str) -> bool {
    let Some(library) = name.strip_suffix(".so") else { return process::on_path(name).next().is_some() };
    let own = std::env::var_os(format!("{}_PATH", library.to_uppercase())).map(PathBuf::from);
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    // In those of a target or a release, too.
    let inside = folders.iter().flat_map(|folder| {
        let names = files::list(folder).unwrap_or_default();
        names.into_iter().flat_map(move |name| [folder.join(&name), folder.join(name).join("lib")])
    });
    let is_it = |folder: PathBuf| {
        let names = files::list(&folder).unwrap_or_default();
        names.iter().any(|found| found.starts_with(library) && found.contains(".so"))
    };
    own.into_iter().chain(inside).chain(folders.iter().cloned()).any(is_it)
}

/// Where a repository is that the user names: a folder, or an address to clone into `into`.
pub fn place(runner: Runner, word: &str, into: &Path) -> Result<PathBuf> {
    if !word.contains("://") {
        let folder = PathBuf::from(word);
        if !folder.is_dir() {
            bad_request!("--adopt: {word} is neither a folder nor the address of a git repository");
        }
        return Ok(folder);
    }
    let folder = into.join("repository");
    let clone = Command::new("git", into).args(["clone", "--quiet", "--depth", "1", "--", word]);
    let clone = clone.arg(folder.to_string_lossy());
    runner.read(&clone).with_context(|| format!("cannot get {word}"))?;
    Ok(folder)
}
