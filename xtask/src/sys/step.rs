//! A thing to do, as data. It is printed as a line of shell that does the same.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::sys::command::Command;

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

/// A path as a shell takes it.
pub fn quote(path: &Path) -> String {
    word(&path.to_string_lossy())
}

/// A word as a shell takes it.
pub fn word(text: &str) -> String {
    match shlex::try_quote(text) {
        Ok(quoted) => quoted.into_owned(),
        // There is no way to say it to a shell; nor can a program be given it.
        Err(_) => format!("{text:?}"),
    }
}
