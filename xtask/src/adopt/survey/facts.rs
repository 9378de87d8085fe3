//! What a foreign repository holds: its workspace as cargo sees it, Cargo.lock, build scripts, and BPF programs in C.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Dependency, DependencyKind, Metadata, Package, Target};
use object::elf::EM_BPF;
use serde_json::Value;

use super::crates;
use super::lock::{Crate, Lock};
use crate::adopt::facts::{
    ASIDE, Other, bpf_packages, has_libbpf_sys, is_for_bpf, is_looked_through, metadata, other, uses_tool,
};
use crate::arch::ARCHES;
use crate::build::profile;
use crate::release::licenses::is_license;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::process::{self, Runner};
use crate::ui::error::{self, bad_request};
use crate::workspace::features::enabled;
use crate::workspace::rust::{self, PINS};

/// What is read of a repository. Errors are what they are called: findings.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// The folder of the workspace in the repository; empty if it is the repository.
    pub path: String,
    /// The folders of other workspaces, or packages, in the repository.
    pub others: Vec<String>,
    /// How many of those are as near to the top as this one.
    pub as_near: usize,
    /// Packages with BPF in Rust that are no members of the workspace.
    pub bpf_beside: Vec<Beside>,
    /// Why cargo cannot read the workspace.
    pub unreadable: Option<String>,
    pub applications: Vec<Application>,
    /// The names of packages, and of what lies in the workspace's folder.
    pub taken: BTreeSet<String>,
    /// What applications are built of. None if there is no Cargo.lock.
    pub crates: Option<Result<Vec<Reached>, String>>,
    /// Without a Cargo.lock: what applications depend on themselves, with the version that they ask for.
    pub named: Vec<Reached>,
    /// The first crate of aya-ebpf that BPF in Rust is built of, by any Cargo.lock, and is too old for some architectures.
    pub old_aya_ebpf: Option<Crate>,
    /// A member that has dependencies which Cargo.lock does not have.
    pub outdated: Option<String>,
    /// What the toolchain file names, which may be nothing, or why it cannot be read.
    pub channel: Option<Result<String, String>>,
    /// The newest Rust that a package wants.
    pub wanted_rust: Option<String>,
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

/// A package that is no member of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// Its folder in the repository.
    pub path: String,
    pub has_lock: bool,
    /// Whether it depends on aya-ebpf by the name that this had until 2023.
    pub is_old: bool,
}

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
    /// A BPF object. Of its text, there is only its byte order: `little` or `big`.
    Object,
}

/// Bytes. Longer files are generated.
const LONGEST: u64 = 1 << 20;

impl Survey {
    /// Reads a repository, of which one package is to be shipped, or all are that have binaries.
    pub fn read(runner: Runner, repository: &Path, package: Option<&str>) -> Result<Survey> {
        let mut found = Found::default();
        walk(repository, "", &mut found)?;
        let Found { mut roots, sources, has_headers } = found;
        let depth = |path: &str| path.matches('/').count() + usize::from(!path.is_empty());
        roots.sort_by_key(|root| (depth(root), root.clone()));
        let Some(path) = roots.first().cloned() else {
            bad_request!("there is no Cargo.toml in {}", repository.display());
        };
        let repository = &repository.canonicalize().context("it cannot be read")?;
        let root = repository.join(&path);
        // In `/`, no toolchain file of the repository has another cargo run.
        let metadata = metadata(runner, Path::new("/"), &root.join("Cargo.toml"));
        if let Ok(metadata) = &metadata {
            let whole = metadata.workspace_root.as_std_path();
            if whole != root && root.starts_with(whole) {
                // The folder of a member.
                return Survey::read(runner, whole, package);
            }
        }
        let mut survey = Survey { path, ..Survey::default() };
        let git = |args: &[&str]| runner.read(&Command::new("git", repository).args(args.iter().copied())).ok();
        survey.is_committed = git(&["rev-parse", "HEAD"]).is_some();
        let modules = git(&["config", "--file", ".gitmodules", "--get-regexp", "path"]).unwrap_or_default();
        let modules = modules.lines().filter_map(|line| line.split_once(' ')).map(|(_, path)| path.to_owned());
        let is_empty = |path: &String| files::names(&repository.join(path)).is_ok_and(|names| names.is_empty());
        survey.empty_submodules = modules.filter(is_empty).collect();
        let metadata = match metadata {
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
        let is_aside = |file: &Path, place: &Path| {
            let inner = file.strip_prefix(place).unwrap_or(Path::new(""));
            inner.components().any(|part| ASIDE.iter().any(|name| part.as_os_str() == *name))
        };
        let mut beside = roots.clone();
        beside.retain(|other| {
            let folder = repository.join(other);
            *other != survey.path && !is_aside(&folder, &root) && !homes.contains(&folder.as_path())
        });
        for path in beside {
            let folder = repository.join(&path);
            match other(&folder) {
                Other::Workspace => survey.others.push(path),
                Other::Bpf(is_old) if folder.starts_with(&root) => {
                    let inside = folder.ancestors().take_while(|folder| **folder != root);
                    let lock = inside.map(|folder| folder.join("Cargo.lock")).find(|lock| lock.is_file());
                    survey.old_aya_ebpf = survey.old_aya_ebpf.or(lock.as_deref().and_then(old_aya_ebpf));
                    survey.bpf_beside.push(Beside { path, has_lock: lock.is_some(), is_old });
                }
                Other::Bpf(_) | Other::Library => {}
            }
        }
        survey.as_near = match depth(&survey.path) {
            0 => 0,
            near => survey.others.iter().filter(|other| depth(other) == near).count(),
        };
        survey.applications = applications(&members);
        if let Some(name) = package {
            let all: Vec<String> = survey.applications.iter().map(|it| it.package.clone()).collect();
            survey.applications.retain(|application| application.package == name);
            if survey.applications.is_empty() {
                bad_request!("--package: `{name}` has no binary that could be shipped; {} have", all.join(", "));
            }
        }
        survey.tool = members.iter().find(|member| uses_tool(member)).map(|member| member.name.to_string());
        survey.read_named(&metadata);
        let names = files::names(&root)?.into_iter().filter_map(|name| name.into_string().ok());
        let names: Vec<String> = names.collect();
        survey.licenses = names.iter().filter(|name| is_license(&name.to_uppercase())).cloned().collect();
        survey.taken = members.iter().map(|member| member.name.to_string()).chain(names).collect();
        survey.bpf_packages = bpf_packages(&members);
        let direct = direct(&metadata, &survey);
        survey.wanted_rust = members
            .iter()
            .filter(|member| direct.contains_key(member.name.as_str()))
            .filter_map(|member| member.rust_version.clone())
            .max()
            .map(|version| version.to_string());
        let lock = files::read_if_there(&root.join("Cargo.lock"));
        let text = lock.as_ref().ok().and_then(|lock| lock.as_deref()).unwrap_or_default();
        survey.has_libbpf = has_headers || has_libbpf_sys(text, &members);
        let lock = match lock {
            Ok(None) => None,
            Ok(Some(text)) => Some(Lock::parse(&text)),
            Err(failed) => Some(Err(failed)),
        };
        if let Some(Ok(lock)) = &lock {
            let is_outdated = |(member, names): &(&String, &BTreeSet<String>)| !lock.has(member, names);
            survey.outdated = direct.iter().find(is_outdated).map(|(member, _)| member.clone());
            if !survey.bpf_packages.is_empty() {
                survey.old_aya_ebpf = lock.find(|package| crates::old_aya_ebpf(package).is_some());
            }
        }
        survey.crates = lock.map(|lock| match lock {
            Ok(lock) => Ok(crates(&lock, &direct, &survey.applications)),
            Err(failed) => Err(error::describe(&failed)),
        });
        if survey.crates.is_none() {
            survey.named = named(&members, &direct, &survey.applications);
        }
        // What else there is in the repository is built for this machine, or not at all.
        let is_shipped = |member: &&&Package| {
            direct.contains_key(member.name.as_str()) && !member.targets.iter().any(Target::is_proc_macro)
        };
        let shipped = members.iter().filter(is_shipped);
        let home =
            |member: &&Package| Some((member.manifest_path.parent()?.as_std_path().to_owned(), is_for_bpf(member)));
        let shipped: BTreeMap<PathBuf, bool> = shipped.filter_map(home).collect();
        let places: Vec<PathBuf> = roots.iter().map(|place| repository.join(place)).collect();
        let is_ours = |source: &Source| {
            let file = repository.join(&source.path);
            // The innermost package or workspace that it is in.
            let place =
                places.iter().filter(|place| file.starts_with(place)).max_by_key(|place| place.as_os_str().len());
            let is_for_bpf = place.and_then(|place| shipped.get(place));
            match source.kind {
                _ if is_aside(&file, place.unwrap_or(&root)) => false,
                Kind::Rust => is_for_bpf == Some(&false),
                Kind::BuildScript => is_for_bpf.is_some(),
                // Those at the top are whoever's compiles them.
                Kind::Bpf => is_for_bpf.is_some() || place == Some(&root),
                Kind::Vmlinux | Kind::Object => true,
            }
        };
        // A build script may have any name, and a module may have its usual one.
        let scripts = members.iter().flat_map(|member| &member.targets);
        let scripts: BTreeSet<&Path> =
            scripts.filter(|target| target.is_custom_build()).map(|target| target.src_path.as_std_path()).collect();
        let known = |source: Source| match source.kind {
            Kind::Rust if scripts.contains(repository.join(&source.path).as_path()) => {
                Source { kind: Kind::BuildScript, ..source }
            }
            _ => source,
        };
        survey.sources = sources.into_iter().map(known).filter(is_ours).collect();
        // A workspace in a folder of a repository may have them beside it.
        let top = git(&["rev-parse", "--show-toplevel"]).map(|top| PathBuf::from(top.trim_end()));
        if let Some(top) = top.filter(|top| top != repository) {
            let mut found = Found::default();
            walk(&top, "", &mut found)?;
            survey.has_libbpf |= found.has_headers;
            survey.sources.extend(found.sources.into_iter().filter(|source| source.kind == Kind::Vmlinux));
        }
        survey.channel = channel(&root, repository);
        let triples: Vec<&str> = ARCHES.iter().map(|arch| arch.triple).collect();
        let bpf: Vec<&str> = survey.bpf_packages.iter().map(String::as_str).collect();
        survey.profile = Some(profile::check(&root, &triples, &bpf).map_err(|failed| error::describe(&failed)));
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

/// The packages with binaries. What is off by default is for those who build it, and counts where there is nothing else.
fn applications(members: &[&Package]) -> Vec<Application> {
    let all: Vec<Application> = members.iter().filter_map(|member| application(member)).collect();
    let is_on = |application: &&Application| application.bins.iter().any(|(_, lacking)| lacking.is_empty());
    match all.iter().filter(is_on).cloned().collect::<Vec<_>>() {
        on if on.is_empty() => all,
        on => on,
    }
}

fn application(package: &Package) -> Option<Application> {
    let bins = package.targets.iter().filter(|target| target.is_bin());
    let enabled = enabled(package, ["default"]);
    let lacking = |needed: &Vec<String>| needed.iter().filter(|it| !enabled.contains(it.as_str())).cloned().collect();
    let bins: Vec<(String, Vec<String>)> =
        bins.map(|bin| (bin.name.clone(), lacking(&bin.required_features))).collect();
    if bins.is_empty() || package.name.as_str() == "xtask" || uses_tool(package) || is_for_bpf(package) {
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
        let names: BTreeSet<String> = built_of(member).map(|dependency| dependency.name.clone()).collect();
        next.extend(names.iter().filter_map(|name| members.get_key_value(name.as_str()).map(|(name, _)| *name)));
        direct.insert(name.to_owned(), names);
    }
    direct
}

/// The dependencies that a member is built with, unless features are enabled.
fn built_of(member: &Package) -> impl Iterator<Item = &Dependency> {
    let enabled = enabled(member, ["default"]);
    member.dependencies.iter().filter(move |dependency| {
        let elsewhere = dependency.target.as_ref().map(ToString::to_string).unwrap_or_default();
        let is_elsewhere = ["windows", "macos", "cfg(any())", "wasm"].iter().any(|word| elsewhere.contains(word))
            && !elsewhere.contains("not(");
        let by = dependency.rename.as_ref().unwrap_or(&dependency.name);
        dependency.kind != DependencyKind::Development
            && !is_elsewhere
            && (!dependency.optional || enabled.contains(by.as_str()) || enabled.contains(&*format!("dep:{by}")))
    })
}

/// What is known of crates without a Cargo.lock: those that members name.
fn named(
    members: &[&Package],
    direct: &BTreeMap<String, BTreeSet<String>>,
    applications: &[Application],
) -> Vec<Reached> {
    let by: Vec<String> = applications.iter().map(|application| application.package.clone()).collect();
    let built = members.iter().filter(|member| direct.contains_key(member.name.as_str()));
    let named = built.flat_map(|member| built_of(member)).filter(|dependency| dependency.path.is_none());
    let mut crates: BTreeMap<&str, Crate> = BTreeMap::new();
    for dependency in named {
        crates.entry(dependency.name.as_str()).or_insert_with(|| Crate {
            name: dependency.name.clone(),
            version: dependency.req.to_string().trim_start_matches(['^', '=', '~']).to_owned(),
            source: dependency.source.as_ref().map(ToString::to_string),
            dependencies: Vec::new(),
        });
    }
    crates.into_values().map(|package| (package, by.clone())).collect()
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

/// What the toolchain file names, which may be above the workspace.
fn channel(root: &Path, repository: &Path) -> Option<Result<String, String>> {
    let folders = root.ancestors().take_while(|folder| folder.starts_with(repository));
    let mut files = folders.flat_map(|folder| PINS.map(|name| folder.join(name)));
    let file = files.find(|file| file.exists())?;
    Some(rust::channel(&file).map(Option::unwrap_or_default).map_err(|failed| error::describe(&failed)))
}

/// The crate of aya-ebpf in a Cargo.lock, if it is too old for some architectures.
fn old_aya_ebpf(lock: &Path) -> Option<Crate> {
    let lock = Lock::parse(&files::read_if_there(lock).ok()??).ok()?;
    lock.find(|package| crates::old_aya_ebpf(package).is_some())
}

/// What a repository holds.
#[derive(Debug, Default)]
struct Found {
    /// The folders with a Cargo.toml.
    roots: Vec<String>,
    sources: Vec<Source>,
    /// Whether libbpf's headers are there.
    has_headers: bool,
}

/// Finds the folders of manifests, and files of interest, by their paths in the repository. What is named by no text is left out.
fn walk(repository: &Path, folder: &str, found: &mut Found) -> Result<()> {
    for name in files::names(&repository.join(folder))?.into_iter().filter_map(|name| name.into_string().ok()) {
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let full = repository.join(&path);
        let Ok(kind) = full.symlink_metadata() else { continue };
        if kind.is_dir() && is_looked_through(&name) {
            walk(repository, &path, found)?;
        } else if kind.is_file() && name == "Cargo.toml" {
            found.roots.push(folder.to_owned());
        } else if kind.is_file() {
            found.has_headers |= name == "bpf_helpers.h";
            found.sources.extend(source(&full, path, &name, kind.len())?);
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
    if [".o", ".obj", ".bin", ".elf"].iter().any(|end| name.ends_with(end)) {
        let order = byte_order(file)?;
        return Ok(order.map(|order| Source { path, kind: Kind::Object, text: order.into() }));
    }
    let is_text = [".rs", ".c"].iter().any(|end| name.ends_with(end));
    if !is_text || bytes > LONGEST {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&std::fs::read(file)?).into_owned();
    let kind = if name.ends_with(".rs") {
        Kind::Rust
    } else if name.ends_with(".bpf.c") || is_bpf(&text) {
        Kind::Bpf
    } else {
        return Ok(None);
    };
    Ok(Some(Source { path, kind, text }))
}

/// The byte order of a BPF object, if a file is one.
fn byte_order(file: &Path) -> Result<Option<&'static str>> {
    let mut head = [0; 20];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut head));
    let machine = [head[18], head[19]];
    Ok(match (read, &head[..4], head[5]) {
        (Ok(()), b"\x7fELF", 1) if u16::from_le_bytes(machine) == EM_BPF => Some("little"),
        (Ok(()), b"\x7fELF", 2) if u16::from_be_bytes(machine) == EM_BPF => Some("big"),
        _ => None,
    })
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
    // `ssh://host/path`, or `host:path`.
    let is_address = word.contains("://") || word.split('/').next().is_some_and(|host| host.contains(':'));
    let folder = PathBuf::from(word);
    if folder.is_dir() || !is_address {
        if !folder.is_dir() {
            bad_request!("--adopt: {word} is neither a folder nor the address of a git repository");
        }
        return Ok(folder);
    }
    let folder = into.join("repository");
    let clone = Command::new("git", into).args(["clone", "--quiet", "--depth", "1", "--", word]);
    let clone = clone.arg(folder.to_string_lossy()).env("GIT_TERMINAL_PROMPT", "0");
    runner.read(&clone).with_context(|| format!("cannot get {word}"))?;
    Ok(folder)
}
