//! What is written for the packager.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::release::pack::{EXECUTABLE, Entry, PLAIN};
use crate::sys::command::quote;
use crate::sys::files;
use crate::sys::hash;
use crate::sys::plan::{Step, Work};

/// Writes files below a folder, by their paths in it.
#[derive(Debug)]
pub struct WriteFiles {
    pub folder: PathBuf,
    pub files: BTreeMap<String, Entry>,
}

impl Step for WriteFiles {
    fn line(&self) -> String {
        let file = |(path, entry): (&String, &Entry)| format!("\n#   {path}  sha256 {:.16}", hash::bytes(&entry.bytes));
        format!("# write to {}:{}", quote(&self.folder), self.files.iter().map(file).collect::<String>())
    }

    fn json(&self) -> Value {
        let file = |(path, entry): (&String, &Entry)| json!({ "path": path, "executable": entry.executable, "sha256": hash::bytes(&entry.bytes) });
        json!({ "write-files": { "folder": self.folder, "files": self.files.iter().map(file).collect::<Vec<_>>() } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        for (path, entry) in &self.files {
            let file = self.folder.join(path);
            files::write(&file, &entry.bytes)?;
            let mode = Permissions::from_mode(if entry.executable { EXECUTABLE } else { PLAIN });
            fs::set_permissions(&file, mode).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}
