//! What the workspace has of BPF, what objects are made from, and whether they are up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bpfship_embed::Lock;
use bpfship_object::OBJECT_FORMAT_VERSION;

use crate::arch::{Arch, Endian};
use crate::bpf::flags::{self, LIBBPF, LIBC, LIBC_HEADERS, VMLINUX, Vmlinux};
use crate::bpf::includes::{Include, Scan};
use crate::bpf::layouts::Layouts;
use crate::bpf::records::Records;
use crate::bpf::rust::facts::RustInputs;
use crate::bpf::target::{BpfTarget, ObjectName};
use crate::bpf::units::{self, Unit};
use crate::bpf::{LOCK, OBJECTS, bindings, cflags, paths};
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::toolchain::zig;
use crate::ui::error::bad_request;
use crate::workspace::config::{Bpf, Config, NO_DEFAULT, takes_out};
use crate::workspace::packages::Package;
use crate::workspace::rust::Rust;

/// The headers that libbpf has for BPF programs.
const LIBBPF_HEADERS: [&str; 6] =
    ["bpf_core_read.h", "bpf_endian.h", "bpf_helper_defs.h", "bpf_helpers.h", "bpf_tracing.h", "usdt.bpf.h"];

/// What the workspace has of BPF, with hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Every `.c` and `.h` below the BPF folders, and what of the repository those include, by its path from the BPF folder.
    pub sources: BTreeMap<String, Sha256>,
    /// libbpf's headers, by name, and the folder they are in; none if the workspace does not have libbpf-sys.
    pub libbpf: BTreeMap<String, Sha256>,
    pub libbpf_folder: Option<PathBuf>,
    /// The checked-in objects, by name.
    pub objects: BTreeMap<String, Sha256>,
    /// The files of bindings that the lock file names and that are there, by their paths from the BPF folder.
    pub bindings: BTreeMap<String, Sha256>,
    /// The files of kernels' BTF that are there, by their paths from the BPF folder.
    pub btf: BTreeMap<String, Sha256>,
    pub lock: Option<Lock>,
    /// The vmlinux.h of each architecture, by its path from the workspace.
    pub layouts: Layouts,
    /// The sources that ask for the architecture, by their paths from the workspace.
    pub asking: BTreeSet<String>,
    /// The sources of objects that most likely depend on the architecture.
    pub hinted: BTreeSet<String>,
    /// What earlier runs compiled.
    pub records: Records,
    pub compiled: BTreeSet<Sha256>,
    pub rust: RustInputs,
}

/// A file that clang may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    pub from: From,
    pub sha256: Sha256,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    File(PathBuf),
    Text(&'static str),
}

/// Where the records of earlier runs are, and what they compiled, in the folder of what lies between sources and artifacts.
pub const RECORDS: &str = "bpf-records.json";
pub const COMPILED: &str = "bpf-compiled";

impl Inputs {
    /// `above` is how many folders above the workspace are of its repository.
    pub fn read(root: &Path, above: usize, packages: &[Package], rust: &Rust, bpf: &Bpf) -> Result<Inputs> {
        let defines = bpf.variants.iter().flat_map(|variant| &variant.defines).map(|define| format!("-D{define}"));
        for (key, flags) in [("cflags", bpf.cflags.clone()), ("variant.defines", defines.collect())] {
            if let Some(refusal) = cflags::refusal(&flags, bpf.image.as_deref()) {
                bad_request!("`{key}` in [workspace.metadata.bpfship.bpf] of Cargo.toml: {refusal}");
            }
        }
        if !bpf.has_sources() {
            return Ok(Inputs::default());
        }
        let folder = root.join(&bpf.folder);
        let mut inputs = Inputs::default();
        inputs.read_sources(root, above, bpf)?;
        inputs.rust = RustInputs::read(root, packages, rust, bpf)?;
        let units = inputs.units(bpf);
        if units.is_empty() {
            let folders: Vec<&str> = bpf.folders().collect();
            let patterns = bpf.sources.iter().filter(|pattern| !takes_out(pattern));
            let names: Vec<&str> = patterns.map(|pattern| pattern.trim_start_matches("**/")).collect();
            bad_request!("there is no {} in {}", names.join(" or "), folders.join(" or "));
        }
        if let Some((table, pattern)) = units::unmatched(inputs.sources.keys(), bpf) {
            bad_request!(
                "`sources` in [workspace.metadata.bpfship.{table}] of Cargo.toml has `{pattern}`, and no source in {} is called so",
                bpf.folders().collect::<Vec<_>>().join(" or ")
            );
        }
        if let Some(refusal) = units::refusal(&units) {
            bad_request!("{refusal}");
        }
        for path in bindings::paths(&units, bpf) {
            if files::read_if_there(&root.join(&path))?.is_some_and(|text| !bindings::is_written(&text)) {
                bad_request!(
                    "{path} was not written by `cargo xtask bpf`, and `bindings` in [workspace.metadata.bpfship.bpf] would have it \
                     written: name another folder there, or give the file or the source another name"
                );
            }
        }

        if let Some(package) = packages.iter().find(|package| package.name == "libbpf-sys") {
            let headers = package.folder.join("libbpf/src");
            for name in LIBBPF_HEADERS {
                let hash = hash::file(&headers.join(name))
                    .context("the libbpf-sys in Cargo.lock does not have libbpf's headers where they are expected")?;
                inputs.libbpf.insert(name.into(), hash);
            }
            inputs.libbpf_folder = Some(headers);
        }

        for name in files::list(&folder.join(OBJECTS))?.into_iter().filter(|name| name.ends_with(".o")) {
            let hash = hash::file(&folder.join(OBJECTS).join(&name))?;
            inputs.objects.insert(name, hash);
        }
        inputs.lock = files::read_if_there(&folder.join(LOCK))?.map(|text| Lock::parse(&text));
        for name in inputs.lock.iter().flat_map(|lock| lock.bindings.keys()) {
            let path = folder.join(name);
            if path.is_file() {
                inputs.bindings.insert(name.clone(), hash::file(&path)?);
            }
        }
        if let Some(btf) = &bpf.btf {
            let mut found = Vec::new();
            files::walk(&root.join(btf), &format!("{btf}/"), &mut found)?;
            for path in found.iter().filter(|path| path.ends_with(".btf")) {
                inputs.btf.insert(paths::from_folder(&bpf.folder, path), hash::file(&root.join(path))?);
            }
        }
        Ok(inputs)
    }

    /// Reads what earlier runs left. It saves time only, and what cannot be read is made again.
    pub fn read_records(&mut self, work: &Path) -> Result<()> {
        let text = files::read_if_there(&work.join(RECORDS))?.unwrap_or_default();
        self.records = serde_json::from_str(&text).unwrap_or_default();
        self.compiled = files::list(&work.join(COMPILED))?.iter().filter_map(|name| name.parse().ok()).collect();
        Ok(())
    }

    /// The sources, what they include of the rest of the repository, and what is known of them.
    fn read_sources(&mut self, root: &Path, above: usize, bpf: &Bpf) -> Result<()> {
        let mut found: BTreeMap<String, (Sha256, Scan)> = BTreeMap::new();
        // What links lead to, which often is another source, is read once.
        let mut read: BTreeMap<PathBuf, (Sha256, Scan)> = BTreeMap::new();
        // BPF written in Rust needs none.
        let folders = bpf.folders().filter(|folder| bpf.rust.is_empty() || root.join(folder).is_dir());
        for folder in folders {
            for path in list_sources(root, folder, &[])? {
                let file = root.join(&path).canonicalize().unwrap_or_else(|_| root.join(&path));
                let source = match read.get(&file) {
                    Some(known) => known.clone(),
                    None => read_source(root, &path)?,
                };
                read.insert(file, source.clone());
                found.insert(path, source);
            }
        }
        let mut candidates: Vec<String> = found.keys().cloned().collect();
        if let Some(folder) = &bpf.vmlinux {
            let mut more = Vec::new();
            files::walk(&root.join(folder), &format!("{folder}/"), &mut more)?;
            candidates.extend(more.into_iter().filter(|path| root.join(path).is_file()));
        }
        self.layouts = Layouts::find(candidates.iter());
        for path in self.layouts.files.values() {
            if !found.contains_key(path) {
                found.insert(path.clone(), read_source(root, path)?);
            }
        }

        let (more, included) = cflags::reads(&bpf.cflags);
        let own = bpf.folders().flat_map(|folder| [format!("{folder}/include"), folder.to_owned()]);
        let folders: Vec<String> = own.chain(more.into_iter().map(String::from)).collect();
        let included: Vec<String> = included.iter().filter_map(|path| paths::join("", path)).collect();
        for path in &included {
            if !found.contains_key(path) && root.join(path).is_file() {
                found.insert(path.clone(), read_source(root, path)?);
            }
        }
        // What each file includes, as far as that is of the repository, and which want a vmlinux.h of their architecture.
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut wanting: BTreeSet<String> = BTreeSet::new();
        // What a macro may stand for that is included, and the files that do so.
        let defines = cflags::defines(&bpf.cflags).into_iter().map(String::from);
        let defines = defines.chain(bpf.variants.iter().flat_map(|variant| variant.defines.iter().cloned()));
        let mut defined: BTreeSet<Include> = defines.filter_map(|define| Include::of_define(&define)).collect();
        defined.extend(found.values().flat_map(|(_, scan)| scan.defines.iter().cloned()));
        let mut next: Vec<String> = found.keys().cloned().collect();
        while let Some(path) = next.pop() {
            let scan = &found[&path].1;
            let by_macro = defined.iter().filter(|_| scan.by_macro);
            for Include { name, quoted, any } in scan.includes.iter().chain(by_macro).cloned().collect::<Vec<_>>() {
                let beside = quoted.then(|| paths::join(paths::folder_of(&path), &name)).flatten();
                let places = beside.into_iter().chain(folders.iter().filter_map(|folder| paths::join(folder, &name)));
                let places = places.filter(|place| paths::above(place) <= above);
                let places = places.filter(|place| found.contains_key(place) || root.join(place).is_file());
                let places: Vec<String> = places.take(if any { usize::MAX } else { 1 }).collect();
                if places.is_empty() && name.rsplit('/').next() == Some("vmlinux.h") {
                    wanting.insert(path.clone());
                }
                for place in places {
                    if !found.contains_key(&place) {
                        let source = read_source(root, &place)?;
                        let known = defined.len();
                        defined.extend(source.1.defines.iter().cloned());
                        found.insert(place.clone(), source);
                        next.push(place.clone());
                        if defined.len() > known {
                            next.extend(
                                found.iter().filter(|(_, (_, scan))| scan.by_macro).map(|(path, _)| path.clone()),
                            );
                        }
                    }
                    edges.entry(path.clone()).or_default().insert(place);
                }
            }
        }

        self.layouts.are_chosen = found
            .iter()
            .any(|(path, (_, scan))| Layouts::chooses(path, scan.includes.iter().map(|include| include.name.as_str())));
        let name = |path: &String| paths::from_folder(&bpf.folder, path);
        let hints = |path: &String| found[path].1.hints || (!self.layouts.files.is_empty() && wanting.contains(path));
        self.sources = found.iter().map(|(path, (sha256, _))| (name(path), *sha256)).collect();
        for unit in units::of(self.sources.keys(), bpf) {
            let mut reached: BTreeSet<&String> = BTreeSet::new();
            let start = paths::join(&bpf.folder, &unit.source).unwrap_or_default();
            // A file that clang's flags include is part of each source.
            let all = std::iter::once(&start).chain(&included);
            let mut next: Vec<&String> = all.filter_map(|path| Some(found.get_key_value(path)?.0)).collect();
            while let Some(path) = next.pop() {
                if reached.insert(path) {
                    next.extend(edges.get(path).into_iter().flatten());
                }
            }
            if reached.into_iter().any(hints) {
                self.hinted.insert(unit.source);
            }
        }
        self.asking = found.iter().filter(|(_, (_, scan))| scan.asks).map(|(path, _)| path.clone()).collect();
        Ok(())
    }

    /// What is compiled.
    pub fn units(&self, bpf: &Bpf) -> Vec<Unit> {
        let mut units = units::of(self.sources.keys(), bpf);
        units.extend(self.rust.units.iter().cloned());
        units
    }

    /// Every file that clang may see, by its path from where it runs.
    pub fn staged(&self, root: &Path, bpf: &Bpf) -> BTreeMap<String, Staged> {
        let mut staged = BTreeMap::new();
        for (name, sha256) in &self.sources {
            if let Some(path) = paths::join(&bpf.folder, name) {
                let from = From::File(root.join(&path));
                staged.insert(path, Staged { from, sha256: *sha256 });
            }
        }
        for (arch, path) in &self.layouts.files {
            if let Some(Staged { from, sha256 }) = staged.get(path).cloned() {
                let at = format!("{VMLINUX}/{}/vmlinux.h", Arch::named(arch).linux);
                staged.insert(at, Staged { from, sha256 });
            }
        }
        for (name, sha256) in &self.libbpf {
            let from = self.libbpf_folder.iter().map(|folder| From::File(folder.join(name)));
            staged.extend(from.map(|from| (format!("{LIBBPF}/bpf/{name}"), Staged { from, sha256: *sha256 })));
        }
        if bpf.image.is_none() {
            staged.extend(LIBC_HEADERS.map(|(name, text)| {
                (format!("{LIBC}/{name}"), Staged { from: From::Text(text), sha256: hash::bytes(text.as_bytes()) })
            }));
        }
        staged
    }

    /// The inputs that an up-to-date lock file has.
    pub fn lines(&self, bpf: &Bpf) -> BTreeSet<String> {
        let flags = Endian::ALL.map(|endian| {
            let flags = flags::of(bpf, &Unit::plain(bpf), BpfTarget::of_byte_order(endian), Vmlinux::Nowhere);
            format!("flags {}", flags.join(" "))
        });
        let hashes = |kind: &'static str, hashes: &BTreeMap<String, Sha256>| -> Vec<String> {
            hashes.iter().map(|(name, hash)| format!("{kind} {hash} {name}")).collect()
        };
        let patterns = (bpf.sources != Bpf::default().sources).then(|| format!("patterns {}", bpf.sources.join(" ")));
        let variants = bpf.variants.iter().map(|variant| {
            let cpu = variant.cpu.iter().map(|cpu| format!(" -mcpu={cpu}"));
            let defines = variant.defines.iter().map(|define| format!(" -D{define}"));
            let sources = variant.sources.iter().map(|source| format!(" {source}"));
            let arches = variant.arches.iter().map(|arch| format!(" arch {arch}"));
            let features = variant.features.iter().map(|feature| format!(" feature {feature}"));
            let no_default = variant.no_default_features.then(|| format!(" {NO_DEFAULT}"));
            let words: String =
                cpu.chain(defines).chain(features).chain(no_default).chain(arches).chain(sources).collect();
            format!("variant {}{words}", variant.name.as_deref().unwrap_or("-"))
        });
        [compiler(bpf), format!("form {}", OBJECT_FORMAT_VERSION)]
            .into_iter()
            .chain(flags)
            .chain(patterns)
            .chain(variants)
            .chain(bpf.image.is_none().then(libc))
            .chain(bindings::line(bpf))
            .chain(hashes("libbpf", &self.libbpf))
            .chain(hashes("source", &self.sources))
            .chain(self.rust.lines(bpf))
            .collect()
    }

    /// A source that has no object for this architecture, if that is known.
    pub fn missing_for(&self, bpf: &Bpf, arch: &Arch) -> Option<String> {
        let names: Vec<ObjectName> = self.lock.as_ref()?.objects.keys().filter_map(|name| name.parse().ok()).collect();
        let has = |unit: &Unit| names.iter().any(|name| name.stem == unit.stem && name.target.is_for(arch));
        self.units(bpf).into_iter().find(|unit| unit.is_for(arch) && !has(unit)).map(|unit| unit.source)
    }

    /// Why the objects must be compiled again, or `None` if they are up to date.
    pub fn stale(&self, config: &Config) -> Option<String> {
        let bpf = &config.bpf;
        if !bpf.has_sources() {
            return None;
        }
        let Some(lock) = &self.lock else {
            return Some(format!("there is no {}/bpf.lock", bpf.folder));
        };
        let locked: Vec<(ObjectName, &String)> =
            lock.objects.keys().filter_map(|name| Some((name.parse().ok()?, name))).collect();
        let mut wanted: BTreeSet<&String> = BTreeSet::new();
        for unit in self.units(bpf) {
            for arch in config.arches.iter().filter(|arch| unit.is_for(arch)) {
                let is_it = |name: &ObjectName| name.stem == unit.stem && name.target.is_for(arch);
                match locked.iter().filter(|(name, _)| is_it(name)).collect::<Vec<_>>().as_slice() {
                    [(_, object)] => drop(wanted.insert(object)),
                    _ => {
                        let target = BpfTarget::of_byte_order(arch.endian);
                        let object = ObjectName { stem: unit.stem.clone(), target };
                        return Some(format!("{}/objects/{object} was never compiled", bpf.folder));
                    }
                }
            }
        }
        for object in &wanted {
            match (lock.objects.get(*object), self.objects.get(*object)) {
                (Some(locked), Some(found)) if *locked == found.to_string() => {}
                (_, Some(_)) => return Some(format!("{}/objects/{object} was altered", bpf.folder)),
                _ => return Some(format!("{}/objects/{object} was never compiled", bpf.folder)),
            }
        }
        if let Some(orphan) = self.objects.keys().chain(lock.objects.keys()).find(|name| !wanted.contains(name)) {
            return Some(format!("{}/objects/{orphan} has no source any more", bpf.folder));
        }
        for (name, locked) in &lock.bindings {
            if self.bindings.get(name).is_none_or(|found| found.to_string() != *locked) {
                let path = paths::join(&bpf.folder, name).unwrap_or_else(|| name.clone());
                return Some(format!("{path} is not what was written for the objects"));
            }
        }
        let lines = self.lines(bpf);
        let differing = lines.symmetric_difference(&lock.inputs).next()?;
        Some(match differing.split(' ').collect::<Vec<_>>().as_slice() {
            ["source", _, name] => {
                format!("{} changed", paths::join(&bpf.folder, name).unwrap_or_else(|| (*name).into()))
            }
            ["libbpf", _, name] => format!("libbpf's {name} changed"),
            ["crate", _, name, ..] => format!("the crate `{name}` changed"),
            ["rust" | "rustflags", ..] => "the Rust compiler or its flags changed".into(),
            ["package", name] => format!("the package `{name}` was added or left out"),
            ["manifest", _] => "what Cargo.toml says for all packages changed".into(),
            ["flags" | "variant" | "patterns", ..] => "the compiler's flags changed".into(),
            ["bindings", ..] => "the bindings that are asked for changed".into(),
            ["form" | "libc", ..] => "the tool's form of objects changed".into(),
            _ => "the compiler changed".into(),
        })
    }
}

impl Inputs {
    /// What is wrong with the BTF of kernels that the binary carries.
    pub fn btf_fault(&self, bpf: &Bpf) -> Option<String> {
        let empty = BTreeMap::new();
        let locked = self.lock.as_ref().map_or(&empty, |lock| &lock.btf);
        let shown = |name: &String| paths::join(&bpf.folder, name).unwrap_or_else(|| name.clone());
        let remedy = "run `cargo xtask btf` for all of its kernels";
        let folder = bpf.btf.as_deref().unwrap_or_default();
        for name in locked.keys().chain(self.btf.keys()) {
            match (locked.get(name), self.btf.get(name)) {
                (Some(locked), Some(found)) if *locked == found.to_string() => {}
                (Some(_), _) if bpf.btf.is_none() => {
                    return Some(format!(
                        "bpf.lock names {}, and Cargo.toml no `btf`: run `cargo xtask bpf`",
                        shown(name)
                    ));
                }
                (Some(_), Some(_)) => return Some(format!("{} was altered: {remedy}", shown(name))),
                (Some(_), None) => return Some(format!("{} is missing: {remedy}", shown(name))),
                (None, _) => return Some(format!("{} is not in bpf.lock: {remedy}", shown(name))),
            }
        }
        let is_stale = self.lock.as_ref().is_some_and(Lock::btf_is_stale);
        is_stale.then(|| format!("{folder} was made for other relocations than the objects have: {remedy}"))
    }
}

/// The compiler, as the lock file names it.
pub fn compiler(bpf: &Bpf) -> String {
    match &bpf.image {
        Some(image) => format!("compiler image {image}"),
        None => format!("compiler {}", zig::identity()),
    }
}

fn libc() -> String {
    let text: String = LIBC_HEADERS.iter().map(|(name, text)| format!("{name}\n{text}")).collect();
    format!("libc {}", hash::bytes(text.as_bytes()))
}

/// Whether compiling reads this file of the compiler.
pub fn reads(file: &str) -> bool {
    file == "zig" || ["lib/include/", "lib/libc/include/"].iter().any(|folder| file.starts_with(folder))
}

/// How many folders above a workspace that is no snapshot are of its repository.
pub fn above(root: &Path) -> usize {
    root.ancestors().position(|folder| folder.join(".git").exists()).unwrap_or(0)
}

fn read_source(root: &Path, path: &str) -> Result<(Sha256, Scan)> {
    let file = root.join(path);
    let is_odd = |letter: char| letter.is_whitespace() || matches!(letter, '\\' | char::REPLACEMENT_CHARACTER);
    if path.contains(is_odd) {
        bad_request!("{} has white space in its path, or a backslash, or is not UTF-8: rename it", file.display());
    }
    if !file.is_file() {
        bad_request!("{} is named as a source, but is a link to nothing, or no file: remove it", file.display());
    }
    let bytes = files::read(&file)?;
    Ok((hash::bytes(&bytes), Scan::new(&bytes)))
}

/// The files below a folder that are sources by their names, with their paths from the workspace. A link to one of the folders
/// above it leads to nothing else.
fn list_sources(root: &Path, folder: &str, above: &[PathBuf]) -> Result<Vec<String>> {
    let cannot_read = || format!("cannot read {}", root.join(folder).display());
    let real = root.join(folder).canonicalize().with_context(cannot_read)?;
    let mut found = Vec::new();
    if above.contains(&real) {
        return Ok(found);
    }
    let above = [above, &[real]].concat();
    for entry in fs::read_dir(root.join(folder)).with_context(cannot_read)? {
        // Other files there, such as an editor's, may have any name.
        let name = entry.with_context(cannot_read)?.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            if bpfship_embed::is_source_folder(&name) {
                found.extend(list_sources(root, &path, &above)?);
            }
        } else if bpfship_embed::is_source(&name) {
            found.push(path);
        }
    }
    Ok(found)
}
