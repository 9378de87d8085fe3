//! Gets the kernels of `boot`'s whose types are wanted, and writes their types, or parts of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bpfship_embed::{Kernel as Name, Lock, arch_in_path};
use bpfship_object::btf::Btf;
use bpfship_object::header::{self, Wanted};
use serde_json::{Value, json};

use crate::arch::Arch;
use crate::boot::facts::suppliers;
use crate::boot::kernels::lock::Lock as Pins;
use crate::boot::kernels::plan::{Means, get};
use crate::boot::kernels::{IMAGE, Kernel};
use crate::bpf::{LOCK, paths};
use crate::btf::facts::{OWN, Types, own_name};
use crate::btf::parts::{Made, Objects, Outcome};
use crate::btf::select::{self, Origin};
use crate::sys::cache::Cache;
use crate::sys::plan::{Slot, Step, Task, Work};
use crate::sys::process::Runner;
use crate::sys::{files, hash, parallel};
use crate::ui::error::bad_request;
use crate::workspace::config::Bpf;
use crate::workspace::facts::passed_on;

/// Plans to have the kernels among these in the cache, those that `lock` pins, and to keep them there while this runs. Gives where
/// each source's file is.
pub fn kernels(runner: Runner, offline: bool, sources: &[Origin], lock: &Pins) -> Result<(Vec<Task>, Vec<PathBuf>)> {
    let entry = |kernel: &Kernel| kernel.entry(lock.pin(kernel));
    let kernels: Vec<&Kernel> = sources.iter().filter_map(Origin::kernel).collect();
    let cache = Cache::find()?;
    let mut tasks = Vec::new();
    if !kernels.is_empty() {
        let (passed_on, cached) = (passed_on(), cache.entries()?);
        let missing: Vec<&Kernel> = kernels.iter().filter(|kernel| !cached.contains(&entry(kernel))).copied().collect();
        let (mirror, build_tools) = suppliers(runner, &passed_on, &missing);
        let means = Means {
            cache: &cache,
            passed_on: &passed_on,
            offline,
            mirror: mirror.as_ref(),
            build_tools: build_tools.as_ref(),
            instead: "name a FILE",
        };
        tasks = get(&means, &cached, kernels.iter().map(|kernel| (*kernel, lock.pin(kernel))))?;
    }
    let file = |source: &Origin| match source {
        Origin::File(file) => file.clone(),
        Origin::Boot(kernel) => cache.path(&entry(kernel)).join(IMAGE),
    };
    Ok((tasks, sources.iter().map(file).collect()))
}

/// Writes the types of kernels as headers of C.
#[derive(Debug)]
pub struct WriteHeaders {
    /// The files that have them, and where each header goes: nowhere, if it is printed.
    pub headers: Vec<(PathBuf, Option<PathBuf>)>,
    /// The words of sources, where only types that are among these are wanted.
    pub used: Option<BTreeSet<String>>,
    pub texts: Slot<Vec<String>>,
}

impl Step for WriteHeaders {
    fn line(&self) -> String {
        let what = if self.used.is_some() { "those types that the sources use" } else { "all types" };
        let line = |(from, to): &(PathBuf, Option<PathBuf>)| {
            let to = to.as_ref().map_or("this output".into(), |to| to.display().to_string());
            format!("# write {what} of {} to {to}", from.display())
        };
        self.headers.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn json(&self) -> Value {
        let headers = self.headers.iter().map(|(from, to)| json!({ "from": from, "to": to }));
        json!({ "write-headers": { "headers": headers.collect::<Vec<_>>(), "used": self.used.is_some() } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let mut texts = Vec::new();
        for (file, _) in &self.headers {
            let types = Types::read(work.runner, file)?;
            let shown = || format!("cannot read the types of {}", file.display());
            let btf = Btf::parse(&types.data, types.endian).with_context(shown)?;
            let wanted = self.used.as_ref().map_or(Wanted::All, Wanted::Named);
            texts.push(header::write(&btf, wanted).with_context(shown)?);
        }
        let mut written = Vec::new();
        for ((_, to), text) in self.headers.iter().zip(&texts) {
            let Some(to) = to else { continue };
            to.parent().map_or(Ok(()), files::create_folder)?;
            written.push((to.clone(), text.as_bytes()));
        }
        files::replace(&written)?;
        self.texts.put(texts)
    }
}

/// Writes the parts of kernels' types that objects need.
#[derive(Debug)]
pub struct WriteParts {
    /// The kernels, and the files that have their types.
    pub kernels: Vec<(Origin, PathBuf)>,
    /// What the only one is called, where the user says so.
    pub name: Option<(Name, &'static Arch)>,
    /// The architectures that are shipped. Kernels for others are passed over.
    pub arches: Vec<&'static Arch>,
    pub objects: Objects,
    pub folder: PathBuf,
    /// Whether what is there of other kernels stays.
    pub add: bool,
    pub lock: Option<WriteLock>,
    pub outcome: Slot<Outcome>,
}

/// What the lock file of a workspace then says.
#[derive(Debug)]
pub struct WriteLock {
    pub root: PathBuf,
    pub bpf: Bpf,
    pub lock: Lock,
    pub relocations: String,
}

impl Step for WriteParts {
    fn line(&self) -> String {
        let from: Vec<String> = self.kernels.iter().map(|(_, file)| file.display().to_string()).collect();
        let mut line =
            format!("# write what the objects need of the types of {} to {}", from.join(", "), self.folder.display());
        if !self.add {
            line += "\n# remove what is there of other kernels";
        }
        if self.lock.is_some() {
            line += &format!("\n# write their hashes to {LOCK}");
        }
        line
    }

    fn json(&self) -> Value {
        let files: Vec<&PathBuf> = self.kernels.iter().map(|(_, file)| file).collect();
        json!({ "write-parts": { "of": files, "to": self.folder, "add": self.add, "lock": self.lock.is_some() } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let made = parallel::map(&self.kernels, |(source, file)| {
            work.runner.check_interrupted()?;
            let types = Types::read(work.runner, file)?;
            let (name, arch) = match &self.name {
                Some(name) => name.clone(),
                None => name_of(source, file, &types)?,
            };
            if !self.arches.iter().any(|configured| configured.rust() == arch.rust()) {
                return Ok(None);
            }
            let part = self.objects.part(&types, arch);
            let part = part.with_context(|| format!("cannot read the types of {}", file.display()))?;
            Ok(Some(Made { path: name.path(arch_in_path(arch.rust(), arch.endian.name())), part }))
        });
        let made = made.into_iter().filter_map(Result::transpose).collect::<Result<Vec<_>>>()?;
        if made.is_empty() {
            bail!(
                "none of these kernels is for an architecture of `arches` in [workspace.metadata.bpfship] of Cargo.toml"
            );
        }
        let outcome = Outcome::of(made)?;
        write(&self.folder, &outcome.files, self.add)?;
        if let Some(lock) = &self.lock {
            remember(lock, &self.folder)?;
        }
        self.outcome.put(outcome)
    }
}

/// Writes the files, and removes others unless they are to be kept.
fn write(folder: &Path, parts: &BTreeMap<String, Vec<u8>>, keep: bool) -> Result<()> {
    let mut written = Vec::new();
    for (path, part) in parts {
        let file = folder.join(path);
        file.parent().map_or(Ok(()), files::create_folder)?;
        written.push((file, part.as_slice()));
    }
    files::replace(&written)?;
    for other in present(folder)?.iter().filter(|path| !keep && !parts.contains_key(*path)) {
        let file = folder.join(other);
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        // Those above may be empty now.
        let above = file.ancestors().skip(1).take_while(|above| *above != folder);
        above.map_while(|above| fs::remove_dir(above).ok()).for_each(drop);
    }
    Ok(())
}

/// The files of BTF in a folder.
fn present(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    files::walk(folder, "", &mut found)?;
    found.retain(|path| Name::of_path(path).is_some());
    Ok(found)
}

/// Writes to the lock file what there is now, and for which relocations.
fn remember(WriteLock { root, bpf, lock, relocations }: &WriteLock, folder: &Path) -> Result<()> {
    let configured = bpf.btf.as_deref().unwrap_or_default();
    let mut hashes = BTreeMap::new();
    for path in present(folder)? {
        let name = paths::from_folder(&bpf.folder, &format!("{configured}/{path}"));
        hashes.insert(name, hash::file(&folder.join(path))?.to_string());
    }
    let (relocations, btf_relocations) = (Some(relocations.clone()), Some(relocations.clone()));
    let text = Lock { btf: hashes, relocations, btf_relocations, ..lock.clone() }.to_string();
    files::replace(&[(root.join(&bpf.folder).join(LOCK), text.as_bytes())])
}

/// What the kernel of a file is called, and its architecture.
fn name_of(source: &Origin, file: &Path, types: &Types) -> Result<(Name, &'static Arch)> {
    match source {
        Origin::Boot(kernel) => {
            let release =
                types.release.clone().with_context(|| format!("{} does not say its release", file.display()))?;
            Ok((select::name_of(kernel, release), kernel.arch))
        }
        Origin::File(file) if file == Path::new(OWN) => own_name(),
        Origin::File(file) => match select::name_in(file) {
            Some(name) => Ok(name),
            None => {
                let release = types.release.as_deref().unwrap_or("RELEASE");
                bad_request!(
                    "{} does not lie where BTFHub would have it, so which kernel it is of is not known: say it with \
                     --name ID/VERSION/ARCH/{release}",
                    file.display()
                )
            }
        },
    }
}
