//! The steps that write what is emitted: aside, and renamed.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::sys::command::{quote, word};
use crate::sys::files;
use crate::sys::plan::{Slot, Step, Work};

/// Writes a text.
#[derive(Debug, Clone, Serialize)]
pub struct Put {
    pub file: PathBuf,
    pub text: String,
}

impl Step for Put {
    fn line(&self) -> String {
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        format!("mkdir -p {} && printf %s {} >{}", quote(folder), word(&self.text), quote(&self.file))
    }

    fn json(&self) -> Value {
        json!({ "write": self })
    }

    fn run(&self, _: &Work) -> Result<()> {
        replace(&self.file, self.text.as_bytes())
    }
}

/// Writes a program that was taken out of an archive.
#[derive(Debug)]
pub struct PutBinary {
    pub file: PathBuf,
    pub name: String,
    pub binaries: Slot<BTreeMap<String, Vec<u8>>>,
}

impl Step for PutBinary {
    fn line(&self) -> String {
        format!("# write {} of it to {}", self.name, quote(&self.file))
    }

    fn json(&self) -> Value {
        json!({ "write-binary": { "file": self.file, "name": self.name } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let bytes = self.binaries.get()?.get(&self.name).with_context(|| format!("{} is not there", self.name))?;
        replace(&self.file, bytes)?;
        let mode = fs::set_permissions(&self.file, Permissions::from_mode(0o755));
        mode.with_context(|| format!("cannot set the mode of {}", self.file.display()))
    }
}

fn replace(file: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = file.parent() {
        files::create_folder(folder)?;
    }
    files::replace(&[(file.to_owned(), bytes)])
}
