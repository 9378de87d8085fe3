//! How BPF written in Rust is compiled: the steps of plan.rs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use bpfship_embed::Lock;
use bpfship_object::{Object, faults};
use memchr::memmem;
use serde_json::{Value, json};

use crate::arch::Arch;
use crate::bpf::rust::{errors, flags};
use crate::bpf::settle::Compiled;
use crate::bpf::target::{BpfTarget, ObjectName};
use crate::bpf::{LOCK, OBJECTS};
use crate::build::cargo::CargoBuild;
use crate::build::reads;
use crate::build::run::forget;
use crate::sys::command::{Command, quote};
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::sys::plan::{Slot, Step, Work};
use crate::ui::error::{self, Failed};
use crate::ui::remedies;
use crate::workspace::ignored::IgnoredFiles;
use crate::workspace::snapshot;

/// The file in a build script's OUT_DIR that says which objects it was given, as bpf.lock names them.
pub const GIVEN: &str = "bpfship-objects";

/// Has cargo make bitcode.
#[derive(Debug)]
pub struct BuildBitcode {
    pub build: CargoBuild,
    /// Where to keep what was made, by the names of binaries.
    pub keep: Vec<(String, PathBuf)>,
    /// cargo's folder for the target.
    pub target: PathBuf,
    /// Packages that are built though they are built already.
    pub anew: Vec<String>,
    /// The folder of the snapshot that is built.
    pub snapshot: PathBuf,
    /// The files that bpf.lock knows, and the folders of what is generated and kept.
    pub sources: Vec<PathBuf>,
    /// The top of the repository that is built.
    pub top: PathBuf,
    /// What may be missing.
    pub ignored: IgnoredFiles,
}

impl Step for BuildBitcode {
    fn line(&self) -> String {
        let mut lines = match self.anew.as_slice() {
            [] => self.build.line(),
            anew => {
                format!("# whatever is built already, build these anew: {}\n{}", anew.join(", "), self.build.line())
            }
        };
        for (bin, to) in &self.keep {
            lines += &format!("\ncp {} {}", quote(&self.made(bin)), quote(to));
        }
        lines
    }

    fn json(&self) -> Value {
        json!({ "build-bitcode": { "build": self.build.json(), "anew": self.anew, "keep": self.keep } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        snapshot::begin(&self.snapshot)?;
        self.anew.iter().try_for_each(|package| forget(&self.target, package))?;
        let mut made = Vec::new();
        let (status, messages) = self.build.run(work.runner, &|_, text| work.show(text), |_, artifact| {
            made.extend(artifact.executable.map(PathBuf::from));
        })?;
        if status.success() {
            made.iter().try_for_each(|module| self.check_reads(module))?;
            return self.keep.iter().try_for_each(|(bin, to)| files::copy(&self.made(bin), to));
        }
        let errors = messages.errors();
        self.ignored.named_in(&errors).iter().for_each(|sentence| work.runner.eprintln(sentence));
        Err(Failed::shown(remedies::BUILD, status, errors).into())
    }
}

/// Has build scripts run again that were given other objects than there are now: cargo does not see that they have to.
#[derive(Debug)]
pub struct RunScriptsAgain {
    /// The BPF folder of the snapshot.
    pub folder: PathBuf,
    /// The folders of what was built for targets.
    pub built: Vec<PathBuf>,
}

impl Step for RunScriptsAgain {
    fn line(&self) -> String {
        let folders: String = self.built.iter().map(|folder| format!(" {}", quote(folder))).collect();
        let lock = quote(&self.folder.join(LOCK));
        format!("# have build scripts run again that were given other objects than those of {lock}, in{folders}")
    }

    fn json(&self) -> Value {
        json!({ "run-scripts-again": { "folder": self.folder, "built": self.built } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let lock = Lock::parse(&files::read_if_there(&self.folder.join(LOCK))?.unwrap_or_default());
        let is_there = |line: &str| {
            let (sha256, name) = line.split_once(' ').unwrap_or_default();
            lock.objects.get(name).is_some_and(|locked| locked == sha256)
        };
        for folder in &self.built {
            for script in files::list(&folder.join("build"))? {
                let given = files::read_if_there(&folder.join("build").join(&script).join("out").join(GIVEN))?;
                if given.is_some_and(|given| !given.lines().all(is_there)) {
                    files::remove_folder(&folder.join(".fingerprint").join(&script))?;
                }
            }
        }
        Ok(())
    }
}

/// Puts the objects for an architecture into a folder, by the names of their binaries.
#[derive(Debug)]
pub struct CopyObjects {
    /// The BPF folder of the snapshot.
    pub folder: PathBuf,
    pub to: PathBuf,
    pub bins: Vec<String>,
    pub arch: &'static Arch,
}

impl Step for CopyObjects {
    fn line(&self) -> String {
        let (folder, to, arch) = (quote(&self.folder.join(OBJECTS)), quote(&self.to), self.arch);
        format!("# copy {} for {arch} from {folder} to {to}", self.bins.join(", "))
    }

    fn json(&self) -> Value {
        json!({ "copy-objects": { "folder": self.folder, "to": self.to, "objects": self.bins, "arch": self.arch } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        for bin in &self.bins {
            files::write(&self.to.join(bin), object(&self.folder, bin, self.arch)?.bytes)?;
        }
        Ok(())
    }
}

/// An object, as bpf.lock has it.
pub struct Locked {
    pub name: String,
    pub sha256: String,
    pub bytes: Vec<u8>,
}

/// The object of a binary for an architecture, in a BPF folder.
pub fn object(folder: &Path, bin: &str, arch: &Arch) -> Result<Locked> {
    let lock = Lock::parse(&files::read_if_there(&folder.join(LOCK))?.unwrap_or_default());
    let is_it = |name: &ObjectName| name.stem == bin && name.target.is_for(arch);
    let mut objects = lock.objects.into_iter();
    let Some((name, sha256)) = objects.find(|(name, _)| name.parse().is_ok_and(|name| is_it(&name))) else {
        bail!("bpf.lock has no object `{bin}` for {arch}: run `cargo xtask bpf`");
    };
    let bytes = files::read(&folder.join(OBJECTS).join(&name))?;
    if hash::bytes(&bytes).to_string() != sha256 {
        bail!("{name} is not the one of bpf.lock: run `cargo xtask bpf`");
    }
    Ok(Locked { name, sha256, bytes })
}

impl BuildBitcode {
    /// Where cargo puts what rustc's linker hands on.
    fn made(&self, bin: &str) -> PathBuf {
        self.target.join("release").join(bin)
    }

    /// Refuses what was made of a file that the lock file does not know.
    fn check_reads(&self, module: &Path) -> Result<()> {
        let foreign = reads::foreign(reads::of(module)?, &self.sources);
        // Of a README, documentation is made, and nothing else.
        let is_text = |file: &&PathBuf| file.starts_with(&self.top) && file.extension().is_some_and(|end| end == "md");
        match foreign.iter().find(|file| !is_text(file)) {
            None => Ok(()),
            Some(file) => bail!(
                "a source or build script reads {}, which bpf.lock does not know: have it in the folder of its package, by a \
                 name that does not end with .txt",
                file.display()
            ),
        }
    }
}

/// Compiles the bitcode of one program, for each of some targets.
#[derive(Debug)]
pub struct CompileBitcode {
    /// What the object depends on stands beside the target.
    pub attempts: Vec<(&'static BpfTarget, Sha256, Command)>,
    /// As the user knows it: relative to the workspace.
    pub source: String,
    /// Where a printed plan puts what clang gives. A run keeps it in memory.
    pub output: PathBuf,
    /// Paths of this machine, which must not be in an object: on another one, it would be another object.
    pub private: Vec<String>,
    pub made: Slot<Vec<Compiled>>,
}

impl Step for CompileBitcode {
    fn line(&self) -> String {
        let of = |(_, _, command): &(_, _, Command)| format!("{command} >{}\n", quote(&self.output));
        let commands: String = self.attempts.iter().map(of).collect();
        format!(
            "{commands}# calls of memcpy and the like are no errors if the object has these functions; drop debug information \
             from it, bring its types into a form that the kernel takes, and check it"
        )
    }

    fn json(&self) -> Value {
        let of =
            |(target, _, command): &(&'static BpfTarget, _, Command)| json!({ "target": target, "command": command });
        json!({ "compile-bitcode": {
            "source": self.source, "commands": self.attempts.iter().map(of).collect::<Vec<_>>(),
        } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let mut compiled = Vec::new();
        for (target, key, command) in &self.attempts {
            work.runner.check_interrupted()?;
            let output = work.runner.output(command)?;
            let said = String::from_utf8_lossy(&output.stderr);
            let begins = || faults::begins(&output.stdout, target.endian).unwrap_or_default();
            let (object, warnings) = match (output.status.code(), errors::of(&said, begins)) {
                (Some(0 | 1), errors) if errors.is_empty() && !output.stdout.is_empty() => {
                    finish(&output.stdout, target, &self.private)
                }
                (Some(_), errors) if !errors.is_empty() => (Err(errors.join("\n")), String::new()),
                _ => bail!("clang {} on the bitcode of {}: {}", error::ended(output.status), self.source, said.trim()),
            };
            compiled.push(Compiled { target, key: *key, object: Some(object), warnings, reads: Vec::new() });
        }
        self.made.put(compiled)
    }
}

/// The object, or what is wrong with it; and what the user may want to read.
fn finish(compiled: &[u8], target: &BpfTarget, private: &[String]) -> (Result<Arc<Object>, String>, String) {
    let object = match Object::of_rust(compiled, target.endian, flags::rust_arch(target)) {
        Ok(object) => object,
        Err(error) => return (Err(errors::in_words_of_rust(&format!("{error:#}"))), String::new()),
    };
    if let Some(path) = private.iter().find(|path| memmem::find(&object.bytes, path.as_bytes()).is_some()) {
        let words =
            "on another one it would be another object: leave out what holds it, such as env!(\"CARGO_MANIFEST_DIR\")";
        return (Err(format!("it contains a path of this machine ({path}), and {words}")), String::new());
    }
    match errors::of_object(&object.bytes, target.endian) {
        Ok((Some(fault), _)) => (Err(fault), String::new()),
        Ok((None, warnings)) => (Ok(Arc::new(object)), warnings),
        Err(error) => (Err(format!("{error:#}")), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::plan::{self, Task};
    use crate::sys::process::Runner;
    use crate::ui::screen::Level;

    #[test]
    fn scripts_that_were_given_other_objects_run_again_and_no_others_do() {
        let folder = tempfile::tempdir().unwrap();
        let (bpf, built) = (folder.path().join("bpf"), folder.path().join("release"));
        files::write(&bpf.join(LOCK), "object 12 a_bpfel.o\nobject 34 b_bpfel.o\n").unwrap();
        for (script, given) in
            [("same-1", Some("12 a_bpfel.o\n")), ("other-2", Some("12 a_bpfel.o\n56 b_bpfel.o\n")), ("none-3", None)]
        {
            files::write(&built.join(".fingerprint").join(script).join("f"), "").unwrap();
            let out = built.join("build").join(script).join("out");
            files::write(&out.join("file"), "").unwrap();
            given.iter().for_each(|given| files::write(&out.join(GIVEN), given).unwrap());
        }
        let step = RunScriptsAgain { folder: bpf, built: vec![built.clone()] };
        plan::run(Runner::new(Level::Quiet), &[Task::new("a test", vec![Box::new(step)])]).unwrap();
        assert_eq!(files::list(&built.join(".fingerprint")).unwrap(), ["none-3", "same-1"]);
    }
}
