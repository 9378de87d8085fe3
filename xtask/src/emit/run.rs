//! The step that writes a program of what is emitted: aside, and renamed.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::sys::command::quote;
use crate::sys::files;
use crate::sys::plan::{Slot, Step, Work};

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
        files::replace_one(&self.file, bytes)?;
        let mode = fs::set_permissions(&self.file, Permissions::from_mode(0o755));
        mode.with_context(|| format!("cannot set the mode of {}", self.file.display()))
    }
}
