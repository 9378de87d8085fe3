//! How BPF objects are put in their place, or compared with what is there: the last steps of plan.rs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bpfship_embed::Lock;
use serde_json::{Value, json};

use crate::bpf::bindings::{self, Input};
use crate::bpf::settle::{Bytes, Ready, Settled};
use crate::bpf::{OBJECTS, paths};
use crate::btf::parts::Objects;
use crate::release::compare;
use crate::sys::files;
use crate::sys::hash;
use crate::sys::plan::{Slot, Step, Work};
use crate::workspace::config::Bpf;
use crate::workspace::snapshot;

/// Writes objects and lock file beside their places, then renames them; the objects of sources that are gone go too.
#[derive(Debug)]
pub struct WriteObjects {
    /// The BPF folder.
    pub folder: PathBuf,
    /// The folder of the snapshot that they are written to as well, and the path of the BPF folder in the repository.
    pub snapshot: Option<(PathBuf, String)>,
    /// The BPF folder of the snapshot. What lies there lies in the workspace already.
    pub checked_in: PathBuf,
    /// The lines of the lock file that name the inputs.
    pub inputs: BTreeSet<String>,
    /// Which bindings are written.
    pub config: Bpf,
    pub settled: Slot<Settled>,
}

impl Step for WriteObjects {
    fn line(&self) -> String {
        let folder = self.folder.display();
        let bindings = self.config.bindings.iter().map(|folder| format!(", bindings for it to {folder}"));
        let bindings: String = bindings.collect();
        format!(
            "# if all of it is right, write it to {folder}/objects{bindings}, and what it was made from to {folder}/bpf.lock"
        )
    }

    fn json(&self) -> Value {
        json!({ "write-objects": {
            "folder": self.folder, "inputs": self.inputs, "bindings": self.config.bindings, "types": self.config.types,
        } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let folder = self.folder.join(OBJECTS);
        files::create_folder(&folder)?;
        let mut lock = Lock { inputs: self.inputs.clone(), ..Lock::default() };
        let mut files = Vec::new();
        let checked_in = self.checked_in.join(OBJECTS);
        let mut changed = Vec::new();
        for (name, ready) in &self.settled.get()?.objects {
            lock.objects.insert(name.clone(), ready.kept.sha256.to_string());
            if !matches!(&ready.from, Bytes::File(file) if *file == checked_in.join(name)) {
                changed.push((folder.join(name), bytes(ready)?));
            }
        }
        files.extend(changed.iter().map(|(file, bytes)| (file.clone(), bytes.as_slice())));
        let before = Lock::parse(&files::read_if_there(&self.folder.join("bpf.lock"))?.unwrap_or_default());
        // Bindings and what is asked of kernels come of the objects alone: if those stay, so does what was written for them.
        let is_same = before.inputs == lock.inputs && before.objects == lock.objects;
        let bindings = if is_same && self.has_bindings(&before)? {
            lock.bindings.clone_from(&before.bindings);
            BTreeMap::new()
        } else {
            bindings(self.settled.get()?, &self.config)?
        };
        for (path, text) in &bindings {
            let name = paths::from_folder(&self.config.folder, path);
            let file = self.folder.join(&name);
            lock.bindings.insert(name, hash::bytes(text.as_bytes()).to_string());
            if files::read_if_there(&file)?.as_ref() != Some(text) {
                work.runner.status(format!("{path}: changed"));
                file.parent().map_or(Ok(()), files::create_folder)?;
                files.push((file, text.as_bytes()));
            }
        }
        if self.config.btf.is_some() {
            lock.relocations = match &before.relocations {
                Some(known) if is_same => Some(known.clone()),
                _ => Some(relocations(self.settled.get()?)?),
            };
            (lock.btf, lock.btf_relocations) = (before.btf, before.btf_relocations);
            if lock.btf_is_stale() {
                work.runner.status(
                    "the BTF of kernels was made for other relocations than the objects have now: run `cargo xtask btf` for all of \
                     its kernels",
                );
            }
        }
        let text = lock.to_string();
        files.push((self.folder.join("bpf.lock"), text.as_bytes()));
        files::replace(&files)?;
        for path in orphans(&folder, &lock)? {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let needless: Vec<&String> = before.bindings.keys().filter(|name| !lock.bindings.contains_key(*name)).collect();
        for path in needless.iter().map(|name| self.folder.join(name)).filter(|path| path.is_file()) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let Some((snapshot, path)) = &self.snapshot else { return Ok(()) };
        let inside = |name: &str| paths::join(path, name).context("a file without a path in the repository");
        let written = |file: &Path| inside(&file.strip_prefix(&self.folder)?.to_string_lossy());
        let put = files.iter().map(|(file, bytes)| Ok((written(file)?, *bytes))).collect::<Result<Vec<_>>>()?;
        let in_snapshot = snapshot::source(snapshot).join(path);
        let orphans = orphans(&in_snapshot.join(OBJECTS), &lock)?;
        let orphans = orphans.iter().map(|file| inside(&file.strip_prefix(&in_snapshot)?.to_string_lossy()));
        let removed = orphans.chain(needless.iter().map(|name| inside(name)));
        snapshot::put(snapshot, &put, &removed.collect::<Result<Vec<_>>>()?)
    }
}

impl WriteObjects {
    /// Whether the files of bindings are those that a lock file names.
    fn has_bindings(&self, lock: &Lock) -> Result<bool> {
        for (name, locked) in &lock.bindings {
            let file = self.folder.join(name);
            if !file.is_file() || hash::file(&file)?.to_string() != *locked {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The bytes of an object, wherever they are.
fn bytes(ready: &Ready) -> Result<Vec<u8>> {
    match &ready.from {
        Bytes::Made(object) => Ok(object.bytes.clone()),
        Bytes::File(file) => files::read_unchanged(file, &ready.kept.sha256),
    }
}

/// The bindings for these objects, by the paths of their files from the workspace.
fn bindings(settled: &Settled, config: &Bpf) -> Result<BTreeMap<String, String>> {
    if config.bindings.is_none() {
        return Ok(BTreeMap::new());
    }
    let input = |(name, ready): (&String, &Ready)| {
        let name = name.parse().map_err(anyhow::Error::msg)?;
        Ok(Input { name, sha256: ready.kept.sha256, bytes: bytes(ready)? })
    };
    let inputs = settled.objects.iter().map(input).collect::<Result<Vec<_>>>()?;
    bindings::render(&inputs, config)
}

/// A hash of all that these objects ask of kernels.
fn relocations(settled: &Settled) -> Result<String> {
    let object = |(name, ready): (&String, &Ready)| Ok((name.parse().map_err(anyhow::Error::msg)?, bytes(ready)?));
    let objects = settled.objects.iter().map(object).collect::<Result<Vec<_>>>()?;
    Ok(Objects(objects).relocations()?.to_string())
}

/// Objects in a folder that have no source any more.
fn orphans(folder: &Path, lock: &Lock) -> Result<Vec<PathBuf>> {
    let is_orphan = |name: &String| name.ends_with(".o") && !lock.objects.contains_key(name);
    Ok(files::list(folder)?.into_iter().filter(is_orphan).map(|name| folder.join(name)).collect())
}

/// Compares objects with those that are checked in.
#[derive(Debug)]
pub struct CompareObjects {
    /// The BPF folder.
    pub folder: PathBuf,
    /// The same, relative to the workspace.
    pub shown: String,
    pub settled: Slot<Settled>,
    /// Which bindings there are to be.
    pub config: Bpf,
    /// What is wrong with the lock file.
    pub out_of_date: Option<String>,
}

impl Step for CompareObjects {
    fn line(&self) -> String {
        format!("# compare with {}/objects", self.folder.display())
    }

    fn json(&self) -> Value {
        json!({ "compare-objects": { "folder": self.folder } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let folder = self.folder.join(OBJECTS);
        let present = files::list(&folder)?;
        let shown = |name: &str| format!("{}/objects/{name}", self.shown);
        let mut faults = Vec::new();
        let objects = &self.settled.get()?.objects;
        for (name, ready) in objects {
            if !present.contains(name) {
                faults.push(format!("{} is missing", shown(name)));
                continue;
            }
            let found = files::read(&folder.join(name))?;
            let is_same = hash::bytes(&found) == ready.kept.sha256;
            let differences = if is_same { Vec::new() } else { compare::differences(&found, &bytes(ready)?) };
            if differences.is_empty() {
                work.runner.status(format!("{}  {} bytes: as its source gives it", shown(name), found.len()));
            }
            faults.extend(differences.into_iter().map(|difference| format!("{}: {difference}", shown(name))));
        }
        for orphan in present.iter().filter(|name| name.ends_with(".o") && !objects.contains_key(*name)) {
            faults.push(format!("{} has no source", shown(orphan)));
        }
        for (path, text) in bindings(self.settled.get()?, &self.config)? {
            let found = files::read_if_there(&self.folder.join(paths::from_folder(&self.config.folder, &path)))?;
            match found {
                Some(found) if found == text => work.runner.status(format!("{path}: as its objects give it")),
                Some(_) => faults.push(format!("{path} is not what its objects give")),
                None => faults.push(format!("{path} is missing")),
            }
        }
        faults.extend(self.out_of_date.clone());
        if faults.is_empty() {
            return Ok(());
        }
        let faults: String = faults.iter().map(|fault| format!("\n  {fault}")).collect();
        bail!(
            "the checked-in BPF objects are not what their sources give: run `cargo xtask bpf`, and commit its result{faults}"
        )
    }
}
