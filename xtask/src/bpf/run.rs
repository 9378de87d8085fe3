//! How BPF objects are compiled, checked, and put in their place: the steps of plan.rs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bpfship_embed::Lock;
use bpfship_object::Object;
use serde_json::{Value, json};

use crate::arch::Arch;
use crate::bpf::container::Container;
use crate::bpf::dependencies::Said;
use crate::bpf::engine::Image;
use crate::bpf::source_text;
use crate::bpf::target::BpfTarget;
use crate::release::compare;
use crate::sys::command::{Command, quote};
use crate::sys::plan::{Slot, Step, Work};
use crate::sys::{files, hash, process};
use crate::ui::error;
use crate::workspace::ignored::IgnoredFiles;
use crate::workspace::snapshot;

/// Makes sure that the engine can run the image that it just got. One that was built is remembered: anybody can give
/// another one its name.
#[derive(Debug)]
pub struct CheckImage {
    pub container: Container,
    pub folder: PathBuf,
    /// Where its id is kept.
    pub record: Option<PathBuf>,
}

impl Step for CheckImage {
    fn line(&self) -> String {
        let Container { image, engine, .. } = &self.container;
        let record = self.record.as_ref().map(|record| format!(", and keep its id in {}", record.display()));
        format!("# check that {image} is for {}{}", engine.platform, record.unwrap_or_default())
    }

    fn json(&self) -> Value {
        json!({ "check-image": { "container": self.container, "record": self.record } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let Container { image: name, engine, .. } = &self.container;
        let image = Image::find(work.runner, engine.kind, &self.folder, name)?;
        let image = image.with_context(|| format!("{} does not have the image {name}", engine.kind.program()))?;
        image.check(name, engine)?;
        match &self.record {
            Some(record) => files::replace(&[(record.clone(), image.id.as_bytes())]),
            None => Ok(()),
        }
    }
}

/// Compiles one object. The command prints it.
#[derive(Debug)]
pub struct CompileObject {
    pub command: Command,
    /// The same with the kernel's headers of each other architecture that the object is for.
    pub others: Vec<(&'static Arch, Command)>,
    /// As the user knows it: relative to the workspace.
    pub source: String,
    pub target: &'static BpfTarget,
    /// The folder of the compiler's headers, where clang runs.
    pub headers: String,
    /// Where a printed plan puts what clang gives. A run keeps it in memory.
    pub output: PathBuf,
    /// What clang may miss.
    pub ignored: IgnoredFiles,
    pub made: Slot<Object>,
}

impl Step for CompileObject {
    fn line(&self) -> String {
        let others: Vec<&str> = self.others.iter().map(|(arch, _)| arch.name).collect();
        let compared = match others.as_slice() {
            [] => String::new(),
            _ => format!(
                "\n# if it reads headers that depend on the architecture, compile it with those of {}, too, and refuse a difference",
                others.join(", ")
            ),
        };
        format!(
            "{} >{}\n# refuse it if clang read a file of elsewhere{compared}\n\
             # drop debug information from it, bring its types into one form, and check it",
            self.command,
            quote(&self.output)
        )
    }

    fn json(&self) -> Value {
        let others: BTreeMap<&str, &Command> = self.others.iter().map(|(arch, command)| (arch.name, command)).collect();
        json!({ "compile-object": {
            "source": self.source, "target": self.target, "command": self.command, "with-headers-of": others,
        } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let (compiled, said) = self.compile(work, &self.command)?;
        if !said.messages.is_empty() {
            work.runner.status(format!("clang on {} for {}:\n{}", self.source, self.target, said.messages));
        }
        if said.reads.is_empty() {
            bail!("clang does not report which files it read for {}", self.source);
        }
        if let [file, ..] = said.foreign(&self.headers).as_slice() {
            bail!(
                "{} includes {file}, which bpf.lock cannot know, because it is not in the BPF folder: copy it there",
                self.source
            );
        }
        self.check_sources(&said)?;
        let object = self.finish(&compiled)?;
        let asm_headers: Vec<String> = said.asm_headers().iter().map(|name| format!("<asm/{name}>")).collect();
        if !asm_headers.is_empty() && self.target.arch_word.is_none() {
            self.compare(work, &object, &asm_headers.join(", "))?;
        }
        self.made.put(object)
    }
}

impl CompileObject {
    fn compile(&self, work: &Work, command: &Command) -> Result<(Vec<u8>, Said)> {
        let output = work.runner.output(command)?;
        let text = String::from_utf8_lossy(&output.stderr);
        let said = Said::parse(&text);
        match output.status.code() {
            Some(0) => Ok((output.stdout, said)),
            // An engine's own codes: clang was never started.
            Some(125..=127) => {
                let failed = process::failed(command, output.status, text.into());
                Err(failed.context("the container did not start"))
            }
            // All of its output, since the first message is the cause of the rest.
            _ => {
                let ignored: String =
                    self.ignored.named_in(&said.messages).iter().map(|sentence| format!("\n{sentence}")).collect();
                bail!("clang {}\n{}{ignored}", error::ended(output.status), said.messages)
            }
        }
    }

    /// Refuses sources that contain what makes an object depend on more than it shows.
    fn check_sources(&self, said: &Said) -> Result<()> {
        let stage = self.output.parent().context("an object in no folder")?;
        for path in said.reads.iter().filter(|path| Path::new(path).is_relative()) {
            if let Some((line, why)) = source_text::refusal(&files::read(&stage.join(path))?) {
                bail!("{path}:{line} {why}");
            }
        }
        Ok(())
    }

    fn finish(&self, compiled: &[u8]) -> Result<Object> {
        Object::new(compiled, self.target.endian)
            .with_context(|| format!("clang compiled {}, but no kernel would take the result", self.source))
    }

    /// Refuses an object that would be another one with the headers of another architecture that it is for.
    fn compare(&self, work: &Work, object: &Object, headers: &str) -> Result<()> {
        let source = &self.source;
        if self.others.is_empty() {
            work.runner.status(format!(
                "{source} includes {headers} of the image, and whether other architectures have the same is not known"
            ));
        }
        for (arch, command) in &self.others {
            let same = self.compile(work, command).and_then(|(compiled, _)| self.finish(&compiled));
            work.runner.check_interrupted()?;
            if same.ok().is_none_or(|other| other != *object) {
                bail!(
                    "{source} includes {headers}, and with what {arch} has there the object would be another one, but one \
                     object is for all {}-endian architectures: have the application set what depends on the architecture",
                    self.target.endian.name()
                );
            }
        }
        Ok(())
    }
}

/// Writes objects and lock file beside their places, then renames them; the objects of sources that are gone go too.
#[derive(Debug)]
pub struct WriteObjects {
    /// The BPF folder.
    pub folder: PathBuf,
    /// The folder of the snapshot that they are written to as well, and the path of the BPF folder in the repository.
    pub snapshot: Option<(PathBuf, String)>,
    /// The lines of the lock file that name the inputs.
    pub inputs: BTreeSet<String>,
    pub objects: BTreeMap<String, Slot<Object>>,
}

impl Step for WriteObjects {
    fn line(&self) -> String {
        let folder = self.folder.display();
        format!("# if all of it is right, write it to {folder}/objects, and what it was made from to {folder}/bpf.lock")
    }

    fn json(&self) -> Value {
        let names: Vec<_> = self.objects.keys().collect();
        json!({ "write-objects": { "folder": self.folder, "objects": names, "inputs": self.inputs } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let folder = self.folder.join("objects");
        files::create_folder(&folder)?;
        let mut lock = Lock { inputs: self.inputs.clone(), ..Lock::default() };
        let mut files = Vec::new();
        for (name, object) in &self.objects {
            let bytes = object.get()?.bytes.as_slice();
            files.push((folder.join(name), bytes));
            lock.objects.insert(name.clone(), hash::bytes(bytes).to_string());
        }
        let text = lock.to_string();
        files.push((self.folder.join("bpf.lock"), text.as_bytes()));
        files::replace(&files)?;
        for path in orphans(&folder, &lock)? {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let Some((snapshot, path)) = &self.snapshot else { return Ok(()) };
        let written = |file: &Path| anyhow::Ok(format!("{path}/{}", file.strip_prefix(&self.folder)?.display()));
        let put = files.iter().map(|(file, bytes)| Ok((written(file)?, *bytes))).collect::<Result<Vec<_>>>()?;
        let in_snapshot = snapshot::source(snapshot).join(path);
        let orphans = orphans(&in_snapshot.join("objects"), &lock)?;
        let orphans = orphans.iter().map(|file| Ok(format!("{path}/{}", file.strip_prefix(&in_snapshot)?.display())));
        snapshot::put(snapshot, &put, &orphans.collect::<Result<Vec<_>>>()?)
    }
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
    pub objects: BTreeMap<String, Slot<Object>>,
    /// What is wrong with the lock file.
    pub out_of_date: Option<String>,
}

impl Step for CompareObjects {
    fn line(&self) -> String {
        format!("# compare with {}/objects", self.folder.display())
    }

    fn json(&self) -> Value {
        let names: Vec<_> = self.objects.keys().collect();
        json!({ "compare-objects": { "folder": self.folder, "objects": names } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let folder = self.folder.join("objects");
        let present = files::list(&folder)?;
        let shown = |name: &str| format!("{}/objects/{name}", self.shown);
        let mut faults = Vec::new();
        for (name, object) in &self.objects {
            if !present.contains(name) {
                faults.push(format!("{} is missing", shown(name)));
                continue;
            }
            let found = files::read(&folder.join(name))?;
            let differences = compare::differences(&found, &object.get()?.bytes);
            if differences.is_empty() {
                work.runner.status(format!("{}  {} bytes: as its source gives it", shown(name), found.len()));
            }
            faults.extend(differences.into_iter().map(|difference| format!("{}: {difference}", shown(name))));
        }
        for orphan in present.iter().filter(|name| name.ends_with(".o") && !self.objects.contains_key(*name)) {
            faults.push(format!("{} has no source", shown(orphan)));
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
