//! What a workspace has already of what this tool needs there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Dependency, Metadata, MetadataCommand, Package, Target};

use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::process::Runner;
use crate::ui::error::bad_request;
use crate::workspace::facts::find_manifest;
use crate::workspace::rust::{PINS, Rust};

/// The library of this tool, by which an adopting package is known.
const LIBRARY: &str = env!("CARGO_PKG_NAME");

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub root: PathBuf,
    /// The workspace's Cargo.toml.
    pub manifest: String,
    pub has_key: bool,
    /// Packages with at least one binary that could be shipped.
    pub applications: Vec<String>,
    /// All packages, and their folders in the workspace.
    pub packages: Vec<(String, String)>,
    /// The package that depends on this tool, and where it takes it from.
    pub tool: Option<(String, Source)>,
    /// The program of that package.
    pub program: Option<String>,
    /// What packages depend on by a path outside of the workspace.
    pub outside: Vec<Outside>,
    /// `.cargo/config.toml`, if it is there.
    pub cargo_config: Option<String>,
    pub gitignore: Option<String>,
    pub is_pinned: bool,
    /// The version of the Rust that is used there now.
    pub rust: String,
    /// Packages that are BPF written in Rust: the names of members, and the folders of others.
    pub bpf_packages: Vec<String>,
    /// Folders that hold `*.bpf.c`.
    pub bpf_folders: Vec<String>,
    /// Whether build scripts compile those.
    pub by_scripts: bool,
    /// Whether there is a folder `bpf`, which is where sources are looked for if nothing else is said.
    pub has_folder: bool,
    /// Whether sources include libbpf's headers, and nothing brings them along.
    pub lacks_libbpf: bool,
}

/// A dependency that a checkout of the repository lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    pub package: String,
    pub dependency: String,
    pub path: String,
}

/// Where the packages of this tool are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An address, and `, branch = "…"` or the like.
    Git {
        url: String,
        reference: String,
    },
    /// The folder of the tool's own package, which holds the others.
    Folder(String),
    Version(String),
}

impl Source {
    /// What a user names: an address, or the folder of a checkout.
    pub fn parse(word: &str) -> Result<Source> {
        if let Some((scheme, rest)) = word.split_once("://") {
            let is_scheme = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
            if !scheme.chars().all(is_scheme) || rest.contains(|letter: char| letter.is_control() || letter == '"') {
                bad_request!("--tool is the address alone, such as https://example.com/{}: {word:?}", crate::NAME);
            }
            return Ok(Source::Git { url: word.into(), reference: String::new() });
        }
        let folder = std::path::absolute(word).with_context(|| format!("cannot find {word}"))?;
        let candidates = [folder.join("xtask"), folder.clone()];
        match candidates.iter().find(|folder| folder.join("embed/Cargo.toml").is_file()) {
            Some(found) => Ok(Source::Folder(found.to_string_lossy().into_owned())),
            None => {
                bad_request!("--tool names {word}, which is neither a git address nor a checkout of {}", crate::NAME)
            }
        }
    }

    fn of(dependency: &Dependency) -> Source {
        let version = || Source::Version(dependency.req.to_string().trim_start_matches('^').to_owned());
        if let Some(path) = &dependency.path {
            return Source::Folder(path.to_string());
        }
        let source = dependency.source.as_ref().map(ToString::to_string).unwrap_or_default();
        let Some(git) = source.strip_prefix("git+") else { return version() };
        let (url, query) = git.split_once('?').unwrap_or((git, ""));
        let reference = query.split_once('=').map(|(kind, name)| format!(", {kind} = {name:?}"));
        Source::Git { url: url.into(), reference: reference.unwrap_or_default() }
    }

    /// The value of a dependency on the package in this folder of the tool's own.
    pub fn dependency(&self, folder: &str, more: &str) -> String {
        match self {
            Source::Git { url, reference } => format!("{{ git = {url:?}{reference}{more} }}"),
            Source::Folder(path) => format!("{{ path = {:?}{more} }}", format!("{path}{folder}")),
            Source::Version(version) => format!("{{ version = {version:?}{more} }}"),
        }
    }
}

impl Facts {
    /// Whether there is BPF already, in C or in Rust.
    pub fn has_bpf(&self) -> bool {
        !self.bpf_folders.is_empty() || !self.bpf_packages.is_empty()
    }

    /// Whether there is BPF that this tool compiles, and no build script.
    pub fn compiles_bpf(&self) -> bool {
        !self.bpf_packages.is_empty() || !self.bpf_folders.is_empty() && !self.by_scripts
    }

    pub fn read(runner: Runner, manifest_path: Option<&Path>) -> Result<Facts> {
        let manifest = find_manifest(manifest_path)?;
        let folder = manifest.parent().context("a manifest in no folder")?;
        let metadata = metadata(runner, folder, &manifest)
            .with_context(|| format!("cannot read the workspace of {}", manifest.display()))?;
        let root = metadata.workspace_root.clone().into_std_path_buf();
        let members = metadata.workspace_packages();
        let relative = |folder: &Path| folder.strip_prefix(&root).unwrap_or(folder).to_string_lossy().into_owned();
        let own = members.iter().find(|package| uses_tool(package));
        let tool = own.and_then(|package| {
            let dependency = package.dependencies.iter().find(|one| one.name == LIBRARY)?;
            Some((package.name.to_string(), Source::of(dependency)))
        });
        let program = own.and_then(|package| Some(package.targets.iter().find(|it| it.is_bin())?.name.clone()));
        let is_application = |package: &&&Package| {
            package.targets.iter().any(Target::is_bin)
                && !["xtask", LIBRARY].contains(&package.name.as_str())
                && !uses_tool(package)
                && !is_for_bpf(package)
        };
        let mut found = Found::default();
        found.add(&root, "")?;
        let by_scripts = scripts_compile(&members)?;
        let is_member = |folder: &str| {
            members.iter().any(|member| member.manifest_path.parent().is_some_and(|home| *home == *root.join(folder)))
        };
        let is_beside = |folder: &String| {
            let is_aside = folder.split('/').any(|part| ASIDE.contains(&part));
            !is_aside && !is_member(folder) && matches!(other(&root.join(folder)), Other::Bpf(_))
        };
        let beside: Vec<String> = found.manifests.iter().filter(|folder| is_beside(folder)).cloned().collect();
        let lock = files::read_if_there(&root.join("Cargo.lock"))?.unwrap_or_default();
        let has_libbpf = found.has_libbpf || has_libbpf_sys(&lock, &members);
        Ok(Facts {
            manifest: files::read_if_there(&root.join("Cargo.toml"))?.context("a workspace without a Cargo.toml")?,
            has_key: metadata.workspace_metadata.get(crate::NAME).is_some(),
            applications: members.iter().filter(is_application).map(|package| package.name.to_string()).collect(),
            packages: members
                .iter()
                .map(|package| {
                    let folder = package.manifest_path.parent().map(|folder| relative(folder.as_std_path()));
                    (package.name.to_string(), folder.unwrap_or_default())
                })
                .collect(),
            bpf_packages: bpf_packages(&members).into_iter().chain(beside).collect(),
            lacks_libbpf: found.includes_libbpf && !has_libbpf && !by_scripts,
            by_scripts,
            has_folder: root.join("bpf").is_dir(),
            outside: outside(&root, &members),
            tool,
            program,
            cargo_config: files::read_if_there(&root.join(".cargo/config.toml"))?,
            gitignore: files::read_if_there(&root.join(".gitignore"))?,
            is_pinned: PINS.iter().any(|name| root.join(name).exists()),
            rust: Rust::read(runner, &root, false)?.version,
            bpf_folders: found.folders,
            root,
        })
    }
}

/// Whether a package is one by which a workspace uses this tool.
pub fn uses_tool(package: &Package) -> bool {
    package.dependencies.iter().any(|dependency| dependency.name == LIBRARY)
}

/// The packages whose binaries are BPF written in Rust.
pub fn bpf_packages(members: &[&Package]) -> Vec<String> {
    let programs = members.iter().filter(|package| is_for_bpf(package) && package.targets.iter().any(Target::is_bin));
    programs.map(|package| package.name.to_string()).collect()
}

/// Whether it is a BPF program in Rust.
pub fn is_for_bpf(package: &Package) -> bool {
    package.dependencies.iter().any(|dependency| dependency.name == "aya-ebpf")
}

/// Folders of a workspace that hold nothing that is shipped.
pub const ASIDE: [&str; 5] = ["tests", "testdata", "benches", "examples", "fuzz"];

/// What a folder with a Cargo.toml is that is no member of the workspace.
pub enum Other {
    /// A package with programs for BPF in Rust, and whether it knows aya-ebpf by the name that this had until 2023.
    Bpf(bool),
    /// A workspace, or a package with a binary.
    Workspace,
    Library,
}

pub fn other(folder: &Path) -> Other {
    let text = files::read_if_there(&folder.join("Cargo.toml")).ok().flatten().unwrap_or_default();
    let manifest: toml::Table = text.parse().unwrap_or_default();
    let has_binary =
        manifest.contains_key("bin") || ["src/main.rs", "src/bin"].iter().any(|it| folder.join(it).exists());
    let has = |wanted: &str| {
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        dependencies
            .into_iter()
            .flatten()
            .any(|(name, dependency)| dependency.get("package").and_then(toml::Value::as_str).unwrap_or(name) == wanted)
    };
    match (has("aya-ebpf"), has("aya-bpf")) {
        (false, false) if has_binary || manifest.contains_key("workspace") => Other::Workspace,
        (is_new, is_old) if has_binary && (is_new || is_old) => Other::Bpf(!is_new),
        _ => Other::Library,
    }
}

/// The workspace of a manifest as the cargo of a folder sees it.
pub fn metadata(runner: Runner, folder: &Path, manifest: &Path) -> Result<Metadata> {
    let command = Command::new("cargo", folder)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(manifest.to_string_lossy());
    MetadataCommand::parse(runner.read(&command)?).context("cannot understand what cargo prints of the workspace")
}

/// Folders that hold nothing of a repository's own.
const SKIPPED: [&str; 3] = ["target", "dist", "node_modules"];

/// Whether sources are looked for in a folder of this name.
pub fn is_looked_through(name: &str) -> bool {
    !name.starts_with('.') && !SKIPPED.contains(&name)
}

/// What there is in the folders of a workspace.
#[derive(Debug, Default)]
struct Found {
    /// Those with BPF in C.
    folders: Vec<String>,
    /// Those with a Cargo.toml.
    manifests: Vec<String>,
    includes_libbpf: bool,
    /// Whether libbpf's headers are among the files.
    has_libbpf: bool,
}

impl Found {
    /// Adds what is in a folder, without what begins with a dot.
    fn add(&mut self, root: &Path, folder: &str) -> Result<()> {
        let path = root.join(folder);
        let names = files::list(&path)?;
        let sources: Vec<&String> =
            names.iter().filter(|name| name.ends_with(".bpf.c") && !name.starts_with('.')).collect();
        if !folder.is_empty() && !sources.is_empty() {
            self.folders.push(folder.to_owned());
            for name in sources {
                let text = files::read_if_there(&path.join(name))?.unwrap_or_default();
                self.includes_libbpf |= includes_libbpf(&text);
            }
        }
        self.has_libbpf |= names.iter().any(|name| name == "bpf_helpers.h");
        if names.iter().any(|name| name == "Cargo.toml") {
            self.manifests.push(folder.to_owned());
        }
        for name in names.iter().filter(|name| is_looked_through(name)) {
            let inner = path.join(name);
            if inner.is_dir() && !inner.is_symlink() {
                self.add(root, inner.strip_prefix(root)?.to_str().unwrap_or_default())?;
            }
        }
        Ok(())
    }
}

/// Whether a C source includes headers of libbpf.
pub fn includes_libbpf(text: &str) -> bool {
    let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("#include"));
    names.map(|name| name.trim_start_matches([' ', '\t', '<', '"'])).any(|name| name.starts_with("bpf/bpf_"))
}

/// Whether a package, or what one depends on by Cargo.lock, brings libbpf's headers along.
pub fn has_libbpf_sys(lock: &str, members: &[&Package]) -> bool {
    let mut named = members.iter().flat_map(|package| &package.dependencies);
    lock.contains("name = \"libbpf-sys\"") || named.any(|dependency| dependency.name == "libbpf-sys")
}

/// Whether Rust code has BPF sources in C compiled, by words in it.
pub fn compiles_bpf(code: &str) -> bool {
    let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let has = |word: &str| lines.iter().any(|line| line.contains(word));
    has("SkeletonBuilder") || has("BpfBuilder") || has("clang") && has("-target") && has("bpf")
}

/// Whether a build script of a package compiles BPF sources in C.
fn scripts_compile(members: &[&Package]) -> Result<bool> {
    let scripts = members.iter().flat_map(|package| &package.targets);
    for script in scripts.filter(|target| target.is_custom_build()) {
        let text = files::read_if_there(script.src_path.as_std_path())?.unwrap_or_default();
        if compiles_bpf(&text) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What packages depend on by a path that is not in the workspace.
fn outside(root: &Path, members: &[&Package]) -> Vec<Outside> {
    let is_outside = |path: &Path| {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        !real(path).starts_with(real(root))
    };
    let all = members.iter().flat_map(|package| package.dependencies.iter().map(move |it| (package, it)));
    all.filter_map(|(package, dependency)| {
        let path = dependency.path.as_ref().filter(|path| is_outside(path.as_std_path()))?;
        let (package, dependency) = (package.name.to_string(), dependency.name.clone());
        Some(Outside { package, dependency, path: path.to_string() })
    })
    .collect()
}

/// The package to ship: the one that was named, or the only one with a binary.
pub fn application<'a>(facts: &'a Facts, named: Option<&str>) -> Result<&'a str> {
    match (named, facts.applications.as_slice()) {
        (Some(name), applications) => match applications.iter().find(|known| *known == name) {
            Some(found) => Ok(found),
            None => bad_request!(
                "`{name}` is not a package with a binary in {}: {}",
                facts.root.display(),
                match applications {
                    [] => "it has none".to_owned(),
                    some => format!("those are {}", some.join(", ")),
                }
            ),
        },
        (None, [only]) => Ok(only),
        (None, []) => {
            bad_request!("no package in {} has a binary to ship: add a src/main.rs to one", facts.root.display())
        }
        (None, some) => bad_request!(
            "several packages in {} have a binary: name the one to ship with --package ({})",
            facts.root.display(),
            some.join(", ")
        ),
    }
}
