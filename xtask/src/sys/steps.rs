//! The steps that every subject uses: files and processes.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::sys::cache::Cache;
use crate::sys::command::{Command, quote, word};
use crate::sys::files;
use crate::sys::plan::{self, Step, Steps, Work};

/// Removes a folder and all in it, if it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remove {
    pub folder: PathBuf,
}

impl Step for Remove {
    fn line(&self) -> String {
        format!("rm -rf {}", quote(&self.folder))
    }

    fn json(&self) -> Value {
        json!({ "remove": self })
    }

    fn run(&self, _: &Work) -> Result<()> {
        files::remove_folder(&self.folder)
    }
}

/// Writes a file, with the folder it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Write {
    pub file: PathBuf,
    pub text: String,
}

impl Step for Write {
    fn line(&self) -> String {
        format!("{} && printf %s {} >{}", make_folder_of(&self.file), word(&self.text), quote(&self.file))
    }

    fn json(&self) -> Value {
        json!({ "write": self })
    }

    fn run(&self, _: &Work) -> Result<()> {
        files::write(&self.file, &self.text)
    }
}

/// Copies a file, with the folder it goes to, if it still holds what it held when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copy {
    pub from: PathBuf,
    pub to: PathBuf,
    pub sha256: String,
}

impl Step for Copy {
    fn line(&self) -> String {
        format!("{} && cp {} {}", make_folder_of(&self.to), quote(&self.from), quote(&self.to))
    }

    fn json(&self) -> Value {
        json!({ "copy": self })
    }

    fn run(&self, _: &Work) -> Result<()> {
        files::write(&self.to, files::read_unchanged(&self.from, &self.sha256)?)
    }
}

/// Makes a symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    pub file: PathBuf,
    pub to: PathBuf,
}

impl Step for Link {
    fn line(&self) -> String {
        format!("ln -s {} {}", quote(&self.to), quote(&self.file))
    }

    fn json(&self) -> Value {
        json!({ "link": self })
    }

    fn run(&self, _: &Work) -> Result<()> {
        symlink(&self.to, &self.file).with_context(|| format!("cannot create {}", self.file.display()))
    }
}

/// Runs a command, whose messages are shown if it fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run(pub Command);

impl Step for Run {
    fn line(&self) -> String {
        self.0.to_string()
    }

    fn json(&self) -> Value {
        json!({ "run": self })
    }

    fn run(&self, work: &Work) -> Result<()> {
        work.runner.run(&self.0)
    }
}

/// Runs a command that cleans up, even after an interruption. Whether it finds anything to do is of no interest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sweep(pub Command);

impl Step for Sweep {
    fn line(&self) -> String {
        format!("{} || true", self.0)
    }

    fn json(&self) -> Value {
        json!({ "sweep": self })
    }

    fn run(&self, work: &Work) -> Result<()> {
        work.runner.sweep(&self.0);
        Ok(())
    }
}

/// Makes an entry of the cache, unless another run has made it meanwhile. Its steps fill [`Cache::partial`] of its name.
#[derive(Debug)]
pub struct CacheEntry {
    pub cache: Cache,
    pub name: String,
    pub steps: Steps,
}

impl Step for CacheEntry {
    fn line(&self) -> String {
        let (partial, entry) = (self.cache.partial(&self.name), self.cache.path(&self.name));
        let mut lines: Vec<String> = self.steps.iter().map(|step| step.line()).collect();
        lines.push(format!("# keep {} in the cache as {}", partial.display(), entry.display()));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let steps: Vec<Value> = self.steps.iter().map(|step| step.json()).collect();
        json!({ "cache-entry": { "name": self.name, "folder": self.cache.partial(&self.name), "steps": steps } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        self.cache.get(work.runner, &self.name, |_| plan::run_steps(&self.steps, work)).map(drop)
    }
}

fn make_folder_of(file: &Path) -> String {
    format!("mkdir -p {}", quote(file.parent().unwrap_or(Path::new("/"))))
}
