//! `[workspace.metadata.bpfship]` in Cargo.toml, parsed strictly: what can be wrong with it is found before anything is built.

use std::collections::BTreeSet;
use std::path::{Component, Path};
use std::str::FromStr;

use anyhow::Result;
use cargo_metadata::{Metadata, Package, Target, TargetKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::NAME;
use crate::arch::Arch;
use crate::release::layout::{LICENSES, STD_LICENSES};
use crate::sys::hash::Sha256;
use crate::ui::error::{Request, bad_request};
use crate::ui::suggest;

/// What is shipped, checked against the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The package: its name and version are those of the artifacts.
    pub package: String,
    pub version: String,
    /// The binary of that package.
    pub bin: String,
    pub features: Features,
    /// What `dist` builds when no `--arch` is given.
    pub arches: Vec<&'static Arch>,
    /// What goes into the archive in addition to README, CHANGELOG and licences.
    pub include: Vec<Include>,
    /// The oldest kernel the application itself runs on, as `MAJOR.MINOR`.
    pub minimum_kernel: Option<String>,
    pub bpf: Bpf,
    pub boot: Boot,
}

/// The features of the package that is shipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    pub names: Vec<String>,
    /// Whether the package's default features are left out.
    pub no_default: bool,
}

/// A file or folder that goes into the archive: `"docs"`, or `{ path = "app/completions", as = "completions" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// Relative to the workspace.
    pub path: String,
    /// Its path in the archive.
    pub to: String,
}

/// `[workspace.metadata.bpfship.boot]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// What is run on a kernel, one after the other: the words that the binary is given.
    pub commands: Vec<Vec<String>>,
    /// What is also run where the kernel's BTF is hidden: [`BTF`] stands for the file that has it.
    pub btf_commands: Vec<Vec<String>>,
    /// Seconds after which a boot is given up.
    pub timeout: u64,
}

/// `[workspace.metadata.bpfship.bpf]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bpf {
    /// The folder of sources that has the objects and bpf.lock, relative to the workspace; empty if the workspace has no
    /// sources of BPF, or leaves them to build scripts.
    pub folder: String,
    /// More folders of sources.
    pub more: Vec<String>,
    /// What the paths of sources in those folders are like; each gives objects.
    pub sources: Vec<String>,
    /// What else is compiled of a source, or how.
    pub variants: Vec<Variant>,
    /// The folder below which there is a vmlinux.h for each architecture, if not below those of sources.
    pub vmlinux: Option<String>,
    /// The BPF instruction set: `v1` runs on every kernel, later ones give smaller programs.
    pub cpu: String,
    /// More flags for clang.
    pub cflags: Vec<String>,
    /// A container image to compile in instead of ours, as `NAME@sha256:DIGEST`.
    pub image: Option<String>,
    /// The folder that gets bindings, one file for each source.
    pub bindings: Option<String>,
    /// Types that bindings have besides those of maps and variables.
    pub types: Vec<String>,
}

/// Where BPF programs are looked for.
const DEFAULT_FOLDER: &str = "bpf";

/// `[[workspace.metadata.bpfship.bpf.variant]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Variant {
    /// What is added to the name of the object. Without one, it says how the object without a variant is compiled.
    pub name: Option<String>,
    /// The sources that have it, as in [`Bpf::sources`]; all, if there are none.
    pub sources: Vec<String>,
    pub defines: Vec<String>,
    pub cpu: Option<String>,
}

impl Variant {
    pub fn apply(&self, cpu: &mut String, defines: &mut Vec<String>) {
        if let Some(own) = &self.cpu {
            cpu.clone_from(own);
        }
        defines.extend(self.defines.iter().cloned());
    }
}

impl Default for Bpf {
    fn default() -> Bpf {
        Bpf {
            folder: "bpf".into(),
            more: Vec::new(),
            sources: vec!["**/*.bpf.c".into()],
            variants: Vec::new(),
            vmlinux: None,
            cpu: "v1".into(),
            cflags: Vec::new(),
            image: None,
            bindings: None,
            types: Vec::new(),
        }
    }
}

/// Stands for a file of BTF in a guest.
pub const BTF: &str = "{btf}";

/// In seconds. A boot that has not ended by then never will.
const DAY: u64 = 86_400;

const BPF_CPUS: [&str; 4] = ["v1", "v2", "v3", "v4"];

/// The tables as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Written {
    package: Option<String>,
    bin: Option<String>,
    features: Vec<String>,
    no_default_features: bool,
    arches: Option<Vec<String>>,
    include: Vec<WrittenInclude>,
    minimum_kernel: Option<String>,
    bpf: WrittenBpf,
    boot: WrittenBoot,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a path or { path = \"…\", as = \"…\" } is expected")]
enum WrittenInclude {
    Path(String),
    Elsewhere(Elsewhere),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Elsewhere {
    path: String,
    #[serde(rename = "as")]
    to: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenBpf {
    folder: Option<OneOrMore>,
    sources: Option<Vec<String>>,
    variant: Vec<Variant>,
    vmlinux: Option<String>,
    cpu: Option<String>,
    cflags: Vec<String>,
    image: Option<String>,
    bindings: Option<String>,
    types: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a folder, or a list of folders, is expected")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct WrittenBoot {
    commands: Option<Vec<String>>,
    btf_commands: Vec<String>,
    timeout: Option<u64>,
}

impl Config {
    /// Reads the configuration out of cargo's metadata. `why_missing` may know why a path is not in the workspace.
    pub fn parse(metadata: &Metadata, why_missing: &dyn Fn(&str) -> Option<String>) -> Result<Config> {
        let tables = &metadata.workspace_metadata;
        let written: Written = match tables.get(NAME) {
            Some(table) => read(table)?,
            None if tables.get("dist").is_some() => bad_request!(
                "there is no [workspace.metadata.bpfship] in Cargo.toml; if [workspace.metadata.dist] was written for this \
                 tool, rename it, for that name is cargo-dist's"
            ),
            None => Written::default(),
        };
        let root = Root { folder: metadata.workspace_root.as_std_path(), why_missing };
        let (package, bin) = package_and_bin(metadata, written.package, written.bin)?;
        let features = Features { names: written.features, no_default: written.no_default_features };
        features.check(package, bin)?;
        let bin = bin.name.clone();

        let mut arches = Vec::new();
        for word in written.arches.iter().flatten() {
            match <&Arch>::from_str(word) {
                Ok(arch) if !arches.contains(&arch) => arches.push(arch),
                Ok(arch) => bad_request!("{} names {arch} twice", key("arches")),
                Err(error) => bad_request!("{}: {error}", key("arches")),
            }
        }
        match written.arches {
            None => arches = Arch::defaults().collect(),
            Some(list) if list.is_empty() => {
                bad_request!("{} is empty: leave it out to ship for the usual ones", key("arches"))
            }
            Some(_) => {}
        }

        let include: Vec<Include> =
            written.include.into_iter().map(|written| Include::parse(&root, written)).collect::<Result<_>>()?;
        for Include { path, to } in &include {
            let top = to.split('/').next().unwrap_or_default();
            if [bin.as_str(), LICENSES, STD_LICENSES].contains(&top) {
                bad_request!("{} names `{path}`, but the archive already contains a file `{top}`", key("include"));
            }
        }

        if let Some(version) = &written.minimum_kernel
            && kernel_version(version).is_none()
        {
            bad_request!("{} is `{version}`; a kernel version like \"5.10\" is expected", key("minimum-kernel"));
        }
        Ok(Config {
            package: package.name.to_string(),
            version: package.version.to_string(),
            bin,
            features,
            arches,
            include,
            minimum_kernel: written.minimum_kernel,
            bpf: Bpf::parse(&root, written.bpf)?,
            boot: Boot::parse(written.boot)?,
        })
    }
}

impl Features {
    /// As cargo's arguments.
    pub fn flags(&self) -> Vec<String> {
        let names = (!self.names.is_empty()).then(|| format!("--features={}", self.names.join(",")));
        self.no_default.then(|| "--no-default-features".into()).into_iter().chain(names).collect()
    }

    /// Refuses features that the package does not have, or without which there is no such binary.
    fn check(&self, package: &Package, bin: &Target) -> Result<()> {
        let Package { name, features, .. } = package;
        let unknown = self.names.iter().find(|it| !it.contains('/') && !features.contains_key(*it));
        if let Some(unknown) = unknown {
            let hint = suggest::hint(unknown, features.keys().map(String::as_str));
            bad_request!("{}: package `{name}` has no feature `{}`{hint}", key("features"), suggest::cut(unknown));
        }
        let mut enabled: BTreeSet<&str> = BTreeSet::new();
        let mut next: Vec<&str> = self.names.iter().map(String::as_str).collect();
        next.extend((!self.no_default).then_some("default"));
        while let Some(feature) = next.pop() {
            if enabled.insert(feature) {
                next.extend(features.get(feature).into_iter().flatten().map(String::as_str));
            }
        }
        if let Some(missing) = bin.required_features.iter().find(|feature| !enabled.contains(feature.as_str())) {
            bad_request!(
                "binary `{}` needs feature `{missing}` (`required-features` in the Cargo.toml of package `{name}`): add it to {}",
                bin.name,
                key("features")
            );
        }
        Ok(())
    }
}

/// The workspace that the configuration is of.
struct Root<'a> {
    folder: &'a Path,
    /// Why a path is not there, if that is known.
    why_missing: &'a dyn Fn(&str) -> Option<String>,
}

impl Include {
    fn parse(root: &Root, written: WrittenInclude) -> Result<Include> {
        let key = key("include");
        Ok(match written {
            WrittenInclude::Path(path) => {
                let path = check_path(root, &path, &key)?;
                Include { to: path.clone(), path }
            }
            WrittenInclude::Elsewhere(Elsewhere { path, to }) => match plain_path(&to) {
                Some(to) => Include { path: check_path(root, &path, &key)?, to },
                None => bad_request!("{key} has `as = \"{to}\"`; a relative path inside the archive is expected"),
            },
        })
    }
}

impl Bpf {
    /// Whether the tool compiles objects.
    pub fn has_sources(&self) -> bool {
        !self.folder.is_empty()
    }

    /// All folders of sources.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.folder.as_str()).chain(self.more.iter().map(String::as_str))
    }

    fn parse(root: &Root, written: WrittenBpf) -> Result<Bpf> {
        let folders = match written.folder {
            None if !root.folder.join(DEFAULT_FOLDER).is_dir() && (root.why_missing)(DEFAULT_FOLDER).is_none() => {
                Vec::new()
            }
            None => vec![DEFAULT_FOLDER.into()],
            Some(OneOrMore::One(folder)) => vec![folder],
            Some(OneOrMore::More(folders)) if folders.is_empty() => {
                bad_request!("{} is empty: leave it out for `bpf`", key("bpf.folder"));
            }
            Some(OneOrMore::More(folders)) => folders,
        };
        let checked = folders.iter().map(|folder| check_path(root, folder, &key("bpf.folder")));
        let mut more = checked.collect::<Result<Vec<_>>>()?;
        let folder = if more.is_empty() { String::new() } else { more.remove(0) };
        let vmlinux = written.vmlinux.map(|folder| check_path(root, &folder, &key("bpf.vmlinux"))).transpose()?;
        let defaults = Bpf::default();
        let cpu = written.cpu.unwrap_or(defaults.cpu);
        check_cpu(&cpu, "bpf.cpu")?;
        let sources = written.sources.unwrap_or(defaults.sources);
        for pattern in sources.iter().chain(written.variant.iter().flat_map(|variant| &variant.sources)) {
            if pattern.starts_with('/') || pattern.split('/').any(|part| part == "..") {
                bad_request!("{} has `{pattern}`; a path inside the BPF folder is expected", key("bpf.sources"));
            }
        }
        written.variant.iter().try_for_each(Variant::check)?;
        // It may have nothing else in it, so it need not be there.
        let bindings = written.bindings.as_deref().map(plain_path);
        if let (Some(None), Some(folder)) = (&bindings, &written.bindings) {
            let key = key("bpf.bindings");
            bad_request!("{key} names `{folder}`; a relative path inside the workspace is expected");
        }
        let bindings = bindings.flatten();
        if bindings.is_none() && !written.types.is_empty() {
            bad_request!("{} are for bindings: set {}, too", key("bpf.types"), key("bpf.bindings"));
        }
        let is_name = |name: &&String| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if let Some(name) = written.types.iter().find(|name| name.is_empty() || !is_name(name)) {
            bad_request!("{} has `{name}`; the name of a type is expected, such as event", key("bpf.types"));
        }
        if let Some(image) = &written.image
            && !is_digest(image)
        {
            bad_request!(
                "{} is `{image}`; NAME@sha256:DIGEST is expected, for a tag may be another image tomorrow",
                key("bpf.image")
            );
        }
        let (variants, cflags, image) = (written.variant, written.cflags, written.image);
        let types = written.types;
        Ok(Bpf { folder, more, sources, variants, vmlinux, cpu, cflags, image, bindings, types })
    }
}

fn check_cpu(cpu: &str, path: &str) -> Result<()> {
    match BPF_CPUS.contains(&cpu) {
        true => Ok(()),
        false => bad_request!("{} is `{cpu}`; known are {}", key(path), BPF_CPUS.join(", ")),
    }
}

impl Variant {
    fn check(&self) -> Result<()> {
        let is_name = |text: &str| {
            let letters = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            !text.is_empty() && text.chars().all(letters) && !text.starts_with(|first: char| first.is_ascii_digit())
        };
        if let Some(cpu) = &self.cpu {
            check_cpu(cpu, "bpf.variant.cpu")?;
        }
        match (&self.name, self.sources.as_slice()) {
            (None, []) => bad_request!("an entry of {} has neither `name` nor `sources`", key("bpf.variant")),
            (Some(name), _) if !is_name(&format!("_{name}")) => {
                bad_request!("{} is `{name}`; letters, digits and _ are expected", key("bpf.variant.name"))
            }
            _ => {}
        }
        let is_define = |define: &&String| {
            let name = define.split('=').next().unwrap_or_default();
            is_name(name) && !define.contains(char::is_whitespace)
        };
        match self.defines.iter().find(|define| !is_define(define)) {
            Some(define) => {
                bad_request!("{} has `{define}`; NAME or NAME=VALUE is expected", key("bpf.variant.defines"))
            }
            None => Ok(()),
        }
    }
}

impl Boot {
    fn parse(written: WrittenBoot) -> Result<Boot> {
        let defaults = || vec!["--version".into(), "--self-test".into()];
        let commands = split(written.commands.unwrap_or_else(defaults), "boot.commands")?;
        if commands.is_empty() {
            bad_request!("{} is empty; at least one command is expected", key("boot.commands"));
        }
        let btf_commands = split(written.btf_commands, "boot.btf-commands")?;
        if btf_commands.iter().any(|words| !words.iter().any(|word| word.contains(BTF))) {
            bad_request!("{} has a command without {BTF}, the file to read BTF from", key("boot.btf-commands"));
        }
        match written.timeout.unwrap_or(180) {
            timeout @ 1..=DAY => Ok(Boot { commands, btf_commands, timeout }),
            timeout => {
                bad_request!("{} is {timeout}; a number of seconds from 1 to {DAY} is expected", key("boot.timeout"))
            }
        }
    }
}

/// Splits command lines into words.
fn split(lines: Vec<String>, path: &str) -> Result<Vec<Vec<String>>> {
    let words = |line: String| match shlex::split(&line) {
        Some(words) if !line.contains(['\n', '\0']) => Ok(words),
        _ => bad_request!("{} has `{line}`, which no shell would take as one line", key(path)),
    };
    lines.into_iter().map(words).collect()
}

/// Reads our table; an error names the key and the table it is in.
fn read<T: DeserializeOwned>(table: &Value) -> Result<T> {
    serde_path_to_error::deserialize(table).map_err(|error| {
        let keys = error.path().iter().filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.as_str()),
            _ => None,
        });
        let path: Vec<&str> = keys.collect();
        let message = error.inner().to_string();
        Request(match message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
            // Those that are known stand behind it, in backquotes, too.
            Some((unknown, known)) => {
                let tables: Vec<&str> = path.into_iter().filter(|key| *key != unknown).collect();
                let hint = suggest::hint(unknown, known.split('`').skip(1).step_by(2));
                format!("unknown key `{}` in [{}] of Cargo.toml{hint}", suggest::cut(unknown), table_name(&tables))
            }
            None => match path.is_empty() {
                true => format!("[{}] of Cargo.toml: {message}", table_name(&[])),
                false => format!("{}: {message}", key(&path.join("."))),
            },
        })
        .into()
    })
}

fn table_name(tables: &[&str]) -> String {
    [&["workspace", "metadata", NAME], tables].concat().join(".")
}

/// A key, such as `bpf.cpu`, as errors name it.
fn key(path: &str) -> String {
    let keys: Vec<&str> = path.split('.').collect();
    match keys.as_slice() {
        [tables @ .., key] => format!("`{key}` in [{}] of Cargo.toml", table_name(tables)),
        [] => unreachable!("a text that is split has a part"),
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
        is_name && digest.parse::<Sha256>().is_ok()
    })
}

/// Finds the package and its binary; both may be left out where only one is possible.
fn package_and_bin(metadata: &Metadata, package: Option<String>, bin: Option<String>) -> Result<(&Package, &Target)> {
    let members = metadata.workspace_packages();
    let package: &Package = match package {
        Some(name) => match members.iter().find(|member| *member.name == name) {
            Some(member) => member,
            None => bad_request!(
                "`package` in [workspace.metadata.bpfship] of Cargo.toml: no package `{}` in this workspace{}",
                suggest::cut(&name),
                suggest::hint(&name, members.iter().map(|member| member.name.as_str()))
            ),
        },
        None => bad_request!(
            "no package to ship is configured: set `package` in [workspace.metadata.bpfship] of Cargo.toml"
        ),
    };
    let bins: Vec<&Target> = package.targets.iter().filter(|target| target.kind.contains(&TargetKind::Bin)).collect();
    let names = || bins.iter().map(|bin| bin.name.as_str());
    let bin = match (bin, bins.as_slice()) {
        (Some(bin), _) => match bins.iter().find(|target| target.name == bin) {
            Some(target) => target,
            None => bad_request!(
                "`bin` in [workspace.metadata.bpfship] of Cargo.toml: package `{}` has no binary `{}`{}",
                package.name,
                suggest::cut(&bin),
                suggest::hint(&bin, names())
            ),
        },
        (None, [only]) => only,
        (None, []) => bad_request!("package `{}` has no binary to ship", package.name),
        (None, _) => bad_request!(
            "package `{}` has several binaries ({}): set `bin` in [workspace.metadata.bpfship] of Cargo.toml",
            package.name,
            names().collect::<Vec<_>>().join(", ")
        ),
    };
    Ok((package, bin))
}

/// A path of the configuration must be of this workspace, and be a file or folder there. Gives its plainest form.
fn check_path(root: &Root, path: &str, key: &str) -> Result<String> {
    let Some(plain) = plain_path(path) else {
        bad_request!("{key} names `{path}`; a relative path inside the workspace is expected");
    };
    let full = root.folder.join(path);
    if !full.is_file() && !full.is_dir() {
        let why = (root.why_missing)(&plain).unwrap_or_else(|| "is not there".into());
        bad_request!("{key} names `{path}`, which {why}");
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
