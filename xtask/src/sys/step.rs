//! The steps of plans that are not lists of tasks yet.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::sys::command::Command;
pub use crate::sys::command::{quote, word};

/// One step of a plan. `run.rs` does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Removes a folder and all in it, if it is there.
    Remove { folder: PathBuf },
    /// Writes a file, with the folder it is in.
    Write { file: PathBuf, text: String },
    /// Copies a file, with the folder it goes to, if it still holds what it held when the plan was made.
    Copy { from: PathBuf, to: PathBuf, sha256: String },
    /// Makes a symbolic link.
    Link { file: PathBuf, to: PathBuf },
    /// Runs a command whose messages are for the user.
    Run(Command),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Remove { folder } => write!(f, "rm -rf {}", quote(folder)),
            Step::Write { file, text } => {
                let folder = quote(file.parent().unwrap_or(Path::new("/")));
                write!(f, "mkdir -p {folder} && printf %s {} >{}", word(text), quote(file))
            }
            Step::Copy { from, to, .. } => {
                let folder = quote(to.parent().unwrap_or(Path::new("/")));
                write!(f, "mkdir -p {folder} && cp {} {}", quote(from), quote(to))
            }
            Step::Link { file, to } => write!(f, "ln -s {} {}", quote(to), quote(file)),
            Step::Run(command) => command.fmt(f),
        }
    }
}

impl crate::sys::plan::Step for Step {
    fn line(&self) -> String {
        self.to_string()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }

    fn run(&self, work: &crate::sys::plan::Work) -> anyhow::Result<()> {
        work.runner.perform(std::slice::from_ref(self))
    }
}
