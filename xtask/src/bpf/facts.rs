//! What the workspace has of BPF, what objects are made from, and whether they are up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bpfship_embed::Lock;
use bpfship_object::OBJECT_FORMAT_VERSION;

use crate::arch::{ARCHES, Arch};
use crate::bpf::cflags;
use crate::bpf::target::{BpfTarget, ObjectName, TARGETS};
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::toolchain::zig;
use crate::ui::error::bad_request;
use crate::workspace::config::Bpf;
use crate::workspace::packages::Package;

/// The headers that libbpf has for BPF programs.
const LIBBPF_HEADERS: [&str; 6] =
    ["bpf_core_read.h", "bpf_endian.h", "bpf_helper_defs.h", "bpf_helpers.h", "bpf_tracing.h", "usdt.bpf.h"];

/// What the workspace has of BPF, with hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Every `.c` and `.h` below the BPF folder, by its path in there.
    pub sources: BTreeMap<String, Sha256>,
    /// libbpf's headers, by name, and the folder they are in; none if the workspace does not have libbpf-sys.
    pub libbpf: BTreeMap<String, Sha256>,
    pub libbpf_folder: Option<PathBuf>,
    /// The checked-in objects, by name.
    pub objects: BTreeMap<String, Sha256>,
    pub lock: Option<Lock>,
}

impl Inputs {
    pub fn read(root: &Path, packages: &[Package], bpf: &Bpf) -> Result<Inputs> {
        if let Some(refusal) = cflags::refusal(&bpf.cflags, bpf.image.as_deref()) {
            bad_request!("`cflags` in [workspace.metadata.bpfship.bpf] of Cargo.toml: {refusal}");
        }
        if !bpf.has_sources() {
            return Ok(Inputs::default());
        }
        let folder = root.join(&bpf.folder);
        let mut inputs = Inputs::default();
        read_sources(&folder, "", &mut inputs.sources)?;
        if !inputs.sources.keys().any(|name| is_program(name)) {
            bad_request!("there is no *.bpf.c in {}", bpf.folder);
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

        for name in files::list(&folder.join("objects"))?.into_iter().filter(|name| name.ends_with(".o")) {
            let hash = hash::file(&folder.join("objects").join(&name))?;
            inputs.objects.insert(name, hash);
        }
        inputs.lock = files::read_if_there(&folder.join("bpf.lock"))?.map(|text| Lock::parse(&text));
        Ok(inputs)
    }

    /// The inputs that an up-to-date lock file has.
    pub fn lines(&self, bpf: &Bpf) -> BTreeSet<String> {
        let compiler = match &bpf.image {
            Some(image) => format!("compiler image {image}"),
            None => format!("compiler {}", zig::identity()),
        };
        let flags = TARGETS.each_ref().map(|target| format!("flags {}", flags(bpf, target, target.headers).join(" ")));
        let hashes = |kind: &'static str, hashes: &BTreeMap<String, Sha256>| -> Vec<String> {
            hashes.iter().map(|(name, hash)| format!("{kind} {hash} {name}")).collect()
        };
        [compiler, format!("form {}", OBJECT_FORMAT_VERSION)]
            .into_iter()
            .chain(flags)
            .chain(hashes("libbpf", &self.libbpf))
            .chain(hashes("source", &self.sources))
            .collect()
    }

    /// Why the objects must be compiled again, or `None` if they are up to date.
    pub fn stale(&self, bpf: &Bpf) -> Option<String> {
        if !bpf.has_sources() {
            return None;
        }
        let Some(lock) = &self.lock else {
            return Some(format!("there is no {}/bpf.lock", bpf.folder));
        };
        let wanted: Vec<String> = self.jobs().into_iter().map(|(_, _, object)| object).collect();
        for object in &wanted {
            match (lock.objects.get(object), self.objects.get(object)) {
                (Some(locked), Some(found)) if *locked == found.to_string() => {}
                (Some(_), Some(_)) => return Some(format!("{}/objects/{object} was altered", bpf.folder)),
                _ => return Some(format!("{}/objects/{object} was never compiled", bpf.folder)),
            }
        }
        if let Some(orphan) = self.objects.keys().chain(lock.objects.keys()).find(|name| !wanted.contains(name)) {
            return Some(format!("{}/objects/{orphan} has no source any more", bpf.folder));
        }
        let lines = self.lines(bpf);
        let differing = lines.symmetric_difference(&lock.inputs).next()?;
        Some(match differing.split(' ').collect::<Vec<_>>().as_slice() {
            ["source", _, name] => format!("{}/{name} changed", bpf.folder),
            ["libbpf", _, name] => format!("libbpf's {name} changed"),
            ["flags", ..] => "the compiler's flags changed".into(),
            ["form", ..] => "the tool's form of objects changed".into(),
            _ => "the compiler changed".into(),
        })
    }

    /// The programs in folders of the BPF folder: no object is made of them.
    pub fn programs_below(&self) -> impl Iterator<Item = &String> {
        self.sources.keys().filter(|name| name.ends_with(".bpf.c") && name.contains('/'))
    }

    /// Source, target and object name of everything to compile.
    pub fn jobs(&self) -> Vec<(String, &'static BpfTarget, String)> {
        let programs = self.sources.keys().filter(|name| is_program(name));
        programs
            .flat_map(|source| TARGETS.each_ref().map(|target| (source.clone(), target, object_name(source, target))))
            .collect()
    }
}

/// Whether compiling reads this file of the compiler.
pub fn reads(file: &str) -> bool {
    file == "zig" || ["lib/include/", "lib/libc/include/"].iter().any(|folder| file.starts_with(folder))
}

/// Stands for the folder of the compiler in [`flags`], which go into the lock file and so must not contain its path.
pub const COMPILER_FOLDER: &str = "{compiler}";

/// clang's flags, with the kernel's headers in this folder. All paths are relative, and the compile runs in a folder
/// of ours, so no path gets into an object.
pub fn flags(bpf: &Bpf, target: &BpfTarget, headers: &str) -> Vec<String> {
    let mut flags: Vec<String> = [
        "-target",
        target.endian.bpf_target(),
        &format!("-mcpu={}", bpf.cpu),
        "-O2",
        "-g",
        "-std=gnu11",
        "-Wall",
        "-fno-ident",
        // A table for linkers that names symbols by their numbers, which change when debug information is dropped.
        "-fno-addrsig",
        "-fdebug-compilation-dir=.",
        &format!("-I{}/include", bpf.folder),
        "-isystem",
        "libbpf",
    ]
    .map(String::from)
    .to_vec();
    flags.extend(target.arch_word.map(|word| format!("-D__TARGET_ARCH_{word}")));
    if bpf.image.is_none() {
        // The kernel's headers, and clang's own. An image of the user's brings these along where its clang finds them.
        flags.push("-nostdinc".into());
        for headers in ["include", &format!("libc/include/{headers}"), "libc/include/any-linux-any"] {
            flags.extend(["-isystem".into(), format!("{COMPILER_FOLDER}/lib/{headers}")]);
        }
    }
    flags.extend(bpf.cflags.iter().cloned());
    // With a date in it, an object would not be what its source gives.
    flags.push("-Werror=date-time".into());
    flags
}

/// The architectures that an object of this target is for, but with whose headers it is not compiled. An image of the
/// user's has only its own headers.
pub fn other_arches(bpf: &Bpf, target: &BpfTarget) -> impl Iterator<Item = &'static Arch> {
    ARCHES.iter().filter(move |arch| bpf.image.is_none() && target.is_for(arch) && arch.linux_headers != target.headers)
}

fn is_program(name: &str) -> bool {
    name.ends_with(".bpf.c") && !name.contains('/')
}

/// `tick.bpf.c` becomes `tick_bpfel.o` and `tick_bpfeb.o`.
fn object_name(source: &str, target: &'static BpfTarget) -> String {
    let stem = source.strip_suffix(".bpf.c").unwrap_or(source).to_owned();
    ObjectName { stem, target }.to_string()
}

fn read_sources(folder: &Path, prefix: &str, sources: &mut BTreeMap<String, Sha256>) -> Result<()> {
    let cannot_read = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(cannot_read)? {
        let name = entry.with_context(cannot_read)?.file_name();
        let path = folder.join(&name);
        // Other files there, such as an editor's, may have any name.
        let name = name.to_string_lossy();
        if path.is_dir() {
            if bpfship_embed::is_source_folder(&name) {
                read_sources(&path, &format!("{prefix}{name}/"), sources)?;
            }
        } else if bpfship_embed::is_source(&name) {
            let name = format!("{prefix}{name}");
            if name.contains(|letter: char| letter.is_whitespace() || letter == char::REPLACEMENT_CHARACTER) {
                bad_request!("{} has white space in its path, or is not UTF-8: rename it", path.display());
            }
            if !path.is_file() {
                bad_request!(
                    "{} is named as a source, but is a link to nothing, or no file: remove it",
                    path.display()
                );
            }
            sources.insert(name, hash::file(&path)?);
        }
    }
    Ok(())
}
