//! `[workspace.metadata.bpfship]` in Cargo.toml, parsed strictly: what can be wrong with it is found before anything is built.

use std::path::{Component, Path};
use std::str::FromStr;

use anyhow::Result;
use cargo_metadata::{Metadata, TargetKind};
use serde_json::Value;

use crate::arch::{ARCHES, Arch};
use crate::bad_request;
use crate::release::licenses;
use crate::ui::suggest;

/// What is shipped, checked against the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The package: its name and version are those of the artifacts.
    pub package: String,
    pub version: String,
    /// The binary of that package.
    pub bin: String,
    /// What `dist` builds when no `--arch` is given.
    pub arches: Vec<&'static Arch>,
    /// What goes into the archive besides README, CHANGELOG and licences.
    pub include: Vec<Include>,
    /// The oldest kernel the application itself runs on, as `MAJOR.MINOR`.
    pub minimum_kernel: Option<String>,
    pub bpf: Bpf,
    pub boot: Boot,
}

/// A file or folder that goes into the archive: `"docs"`, or `{ path = "app/completions", as = "completions" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// Relative to the workspace.
    pub path: String,
    /// Where it lies in the archive.
    pub to: String,
}

/// `[workspace.metadata.bpfship.boot]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// What is run on a kernel, one after the other: the words that the binary is given.
    pub commands: Vec<Vec<String>>,
    /// What is run besides where the kernel's BTF is hidden: [`BTF`] stands for the file that has it.
    pub btf_commands: Vec<Vec<String>>,
    /// Seconds after which a boot is given up.
    pub timeout: u64,
}

/// `[workspace.metadata.bpfship.bpf]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bpf {
    /// The folder of `*.bpf.c`, relative to the workspace.
    pub folder: String,
    /// The BPF instruction set: `v1` runs on every kernel, later ones give smaller programs.
    pub cpu: String,
    /// More flags for clang.
    pub cflags: Vec<String>,
    /// A container image to compile in instead of ours, as `NAME@sha256:DIGEST`.
    pub image: Option<String>,
}

/// Stands for a file of BTF in a guest.
pub const BTF: &str = "{btf}";

const KEYS: [&str; 7] = ["package", "bin", "arches", "include", "minimum-kernel", "bpf", "boot"];
const BPF_KEYS: [&str; 4] = ["folder", "cpu", "cflags", "image"];
const BOOT_KEYS: [&str; 3] = ["commands", "btf-commands", "timeout"];
const BPF_CPUS: [&str; 4] = ["v1", "v2", "v3", "v4"];

impl Config {
    /// Reads the configuration out of cargo's metadata.
    pub fn parse(metadata: &Metadata) -> Result<Config> {
        let table = match metadata.workspace_metadata.get(crate::NAME) {
            Some(table) => Table::new(table, "workspace.metadata.bpfship", &KEYS)?,
            None if metadata.workspace_metadata.get("dist").is_some() => bad_request!(
                "[workspace.metadata.dist] in Cargo.toml is a key of cargo-dist's: rename it to [workspace.metadata.bpfship]"
            ),
            None => Table::empty("workspace.metadata.bpfship"),
        };
        let bpf = match table.get("bpf") {
            Some(table) => Table::new(table, "workspace.metadata.bpfship.bpf", &BPF_KEYS)?,
            None => Table::empty("workspace.metadata.bpfship.bpf"),
        };
        let root = metadata.workspace_root.as_std_path();
        let (package, version, bin) = package_and_bin(metadata, table.string("package")?, table.string("bin")?)?;

        let mut arches = Vec::new();
        for word in table.strings("arches")?.unwrap_or_default() {
            match <&Arch>::from_str(&word) {
                Ok(arch) if !arches.contains(&arch) => arches.push(arch),
                Ok(arch) => bad_request!("{} names {arch} twice", table.key("arches")),
                Err(error) => bad_request!("{}: {error}", table.key("arches")),
            }
        }
        if arches.is_empty() {
            arches = ARCHES.iter().collect();
        }

        let include = table.includes(root)?;
        for Include { path, to } in &include {
            let top = to.split('/').next().unwrap_or_default();
            if [bin.as_str(), licenses::FILE, licenses::STD_FILE].contains(&top) {
                bad_request!("{} names `{path}`, but the archive has a file `{top}` of its own", table.key("include"));
            }
        }

        let minimum_kernel = table.string("minimum-kernel")?;
        if let Some(version) = &minimum_kernel
            && kernel_version(version).is_none()
        {
            bad_request!("{} is `{version}`; a kernel version like \"5.10\" is wanted", table.key("minimum-kernel"));
        }

        let folder = bpf.string("folder")?.unwrap_or_else(|| "bpf".into());
        let folder = check_path(root, &folder, &bpf.key("folder"))?;
        let cpu = bpf.string("cpu")?.unwrap_or_else(|| "v1".into());
        if !BPF_CPUS.contains(&cpu.as_str()) {
            bad_request!("{} is `{cpu}`; known are {}", bpf.key("cpu"), BPF_CPUS.join(", "));
        }
        let cflags = bpf.strings("cflags")?.unwrap_or_default();
        let image = bpf.string("image")?;
        if let Some(image) = &image
            && !is_digest(image)
        {
            bad_request!(
                "{} is `{image}`; NAME@sha256:DIGEST is wanted, for a tag may be another image tomorrow",
                bpf.key("image")
            );
        }

        let boot = match table.get("boot") {
            Some(table) => Table::new(table, "workspace.metadata.bpfship.boot", &BOOT_KEYS)?,
            None => Table::empty("workspace.metadata.bpfship.boot"),
        };
        let bpf = Bpf { folder, cpu, cflags, image };
        Ok(Config { package, version, bin, arches, include, minimum_kernel, bpf, boot: Boot::parse(&boot)? })
    }
}

impl Boot {
    fn parse(table: &Table) -> Result<Boot> {
        let commands = table.commands("commands")?;
        let commands = commands.unwrap_or_else(|| vec![vec!["--version".into()], vec!["--self-test".into()]]);
        if commands.is_empty() {
            bad_request!("{} is empty; at least one command is wanted", table.key("commands"));
        }
        let btf_commands = table.commands("btf-commands")?.unwrap_or_default();
        if btf_commands.iter().any(|words| !words.iter().any(|word| word.contains(BTF))) {
            bad_request!("{} has a command without {BTF}, the file to read BTF from", table.key("btf-commands"));
        }
        let timeout = match table.get("timeout").map(Value::as_u64) {
            None => 180,
            Some(Some(seconds)) if seconds > 0 => seconds,
            Some(_) => bad_request!("{} must be a number of seconds", table.key("timeout")),
        };
        Ok(Boot { commands, btf_commands, timeout })
    }
}

/// `"5.10"` as numbers, so that 5.10 is later than 5.8.
pub fn kernel_version(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn is_digest(image: &str) -> bool {
    image.split_once("@sha256:").is_some_and(|(name, digest)| {
        let is_name = !name.is_empty() && !name.starts_with('-') && !name.contains([' ', '@']);
        is_name && digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// One table of the configuration, whose keys are all known.
struct Table<'a> {
    name: &'static str,
    value: Option<&'a Value>,
}

impl<'a> Table<'a> {
    fn empty(name: &'static str) -> Self {
        Table { name, value: None }
    }

    fn new(value: &'a Value, name: &'static str, known: &[&str]) -> Result<Self> {
        let Some(object) = value.as_object() else {
            bad_request!("[{name}] in Cargo.toml must be a table");
        };
        if let Some(key) = object.keys().find(|key| !known.contains(&key.as_str())) {
            bad_request!("unknown key `{key}` in [{name}] of Cargo.toml{}", suggest::hint(key, known.iter().copied()));
        }
        Ok(Table { name, value: Some(value) })
    }

    fn key(&self, key: &str) -> String {
        format!("`{key}` in [{}] of Cargo.toml", self.name)
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.value?.get(key)
    }

    fn string(&self, key: &str) -> Result<Option<String>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(_) => bad_request!("{} must be a string that is not empty", self.key(key)),
        }
    }

    fn strings(&self, key: &str) -> Result<Option<Vec<String>>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let strings: Option<Vec<String>> =
            value.as_array().and_then(|list| list.iter().map(|item| item.as_str().map(String::from)).collect());
        match strings {
            Some(strings) => Ok(Some(strings)),
            None => bad_request!("{} must be a list of strings", self.key(key)),
        }
    }

    /// Strings, or tables with a `path` and an `as`.
    fn includes(&self, root: &Path) -> Result<Vec<Include>> {
        let key = self.key("include");
        let list = match self.get("include").map(Value::as_array) {
            None => return Ok(Vec::new()),
            Some(Some(list)) => list,
            Some(None) => bad_request!("{key} must be a list"),
        };
        let mut includes = Vec::new();
        for item in list {
            let (path, to) = match item {
                Value::String(path) => (path.as_str(), None),
                Value::Object(table) => {
                    let words = |key: &str| table.get(key).and_then(Value::as_str);
                    match (words("path"), words("as"), table.len()) {
                        (Some(path), Some(to), 2) => (path, Some(to)),
                        _ => bad_request!("{key} has {item}; {{ path = \"…\", as = \"…\" }} is expected"),
                    }
                }
                _ => bad_request!("{key} has {item}; a path or {{ path = \"…\", as = \"…\" }} is expected"),
            };
            let path = check_path(root, path, &key)?;
            let to = match to.map(plain_path) {
                None => path.clone(),
                Some(Some(to)) => to,
                Some(None) => bad_request!("{key} has {item}; `as` must be a relative path inside the archive"),
            };
            includes.push(Include { path, to });
        }
        Ok(includes)
    }

    /// Command lines, each split into words.
    fn commands(&self, key: &str) -> Result<Option<Vec<Vec<String>>>> {
        let Some(lines) = self.strings(key)? else {
            return Ok(None);
        };
        let mut commands = Vec::new();
        for line in lines {
            match shlex::split(&line) {
                Some(words) if !line.contains(['\n', '\0']) => commands.push(words),
                _ => bad_request!("{} has `{line}`, which no shell would take as one line", self.key(key)),
            }
        }
        Ok(Some(commands))
    }
}

/// Finds the package and its binary; both may be left out where only one is possible.
fn package_and_bin(
    metadata: &Metadata,
    package: Option<String>,
    bin: Option<String>,
) -> Result<(String, String, String)> {
    let members = metadata.workspace_packages();
    let package = match package {
        Some(name) => match members.iter().find(|member| *member.name == name) {
            Some(member) => member,
            None => bad_request!(
                "`package` in [workspace.metadata.bpfship] of Cargo.toml: no package `{name}` in this workspace{}",
                suggest::hint(&name, members.iter().map(|member| member.name.as_str()))
            ),
        },
        None => bad_request!("nothing says what to ship: set `package` in [workspace.metadata.bpfship] of Cargo.toml"),
    };
    let bins: Vec<&str> = package
        .targets
        .iter()
        .filter(|target| target.kind.contains(&TargetKind::Bin))
        .map(|target| target.name.as_str())
        .collect();
    let bin = match (bin, bins.as_slice()) {
        (Some(bin), _) if bins.contains(&bin.as_str()) => bin,
        (Some(bin), _) => bad_request!(
            "`bin` in [workspace.metadata.bpfship] of Cargo.toml: package `{}` has no binary `{bin}`{}",
            package.name,
            suggest::hint(&bin, bins)
        ),
        (None, [only]) => only.to_string(),
        (None, []) => bad_request!("package `{}` has no binary to ship", package.name),
        (None, _) => bad_request!(
            "package `{}` has several binaries ({}): set `bin` in [workspace.metadata.bpfship] of Cargo.toml",
            package.name,
            bins.join(", ")
        ),
    };
    Ok((package.name.to_string(), package.version.to_string(), bin))
}

/// A path of the configuration must be of this workspace, and be a file or folder there. Gives its plainest form.
fn check_path(root: &Path, path: &str, key: &str) -> Result<String> {
    let Some(plain) = plain_path(path) else {
        bad_request!("{key} names `{path}`; a relative path inside the workspace is wanted");
    };
    let full = root.join(path);
    if !full.is_file() && !full.is_dir() {
        bad_request!("{key} names `{path}`, which is not there");
    }
    Ok(plain)
}

/// A relative path that stays inside, in its plainest form.
fn plain_path(path: &str) -> Option<String> {
    let parts = Path::new(path).components().map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let parts: Option<Vec<&str>> = parts.collect();
    parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join("/"))
}
