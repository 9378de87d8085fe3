//! The steps of a plan that have to do with the snapshot that is built.

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::write::{Fault, checked};
use super::{SOURCE, sweep, touch, verify};
use crate::sys::command::quote;
use crate::sys::plan::{Slot, Step, Work};
use crate::workspace::source::first;

/// Has cargo build again what depends on the commit and on the list of files without its knowledge, if they have changed
/// since it was built.
#[derive(Debug)]
pub struct Touch {
    /// The folder of the snapshot.
    pub folder: PathBuf,
    pub stamp: String,
    /// Build scripts and the roots of crates, by their paths in the repository.
    pub paths: Vec<String>,
}

impl Step for Touch {
    fn line(&self) -> String {
        let files = self.paths.iter().map(|path| format!(" {}", quote(&self.folder.join(SOURCE).join(path))));
        format!("# unless this was done for {:.16}: touch{}", self.stamp, files.collect::<String>())
    }

    fn json(&self) -> Value {
        json!({ "touch": { "folder": self.folder, "stamp": self.stamp, "paths": self.paths } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        touch(&self.folder, &self.stamp, &self.paths)?;
        Ok(())
    }
}

/// Fails if what was built is not what the snapshot was when the run began.
#[derive(Debug)]
pub struct Verify {
    /// The folder of the snapshot.
    pub folder: PathBuf,
    /// Patterns of what may have been written there. What is new is removed.
    pub generated: Vec<String>,
    /// Whether anything was built. Else no program ran that could have written there.
    pub built: Slot<bool>,
}

impl Step for Verify {
    fn line(&self) -> String {
        let source = quote(&self.folder.join(SOURCE));
        match self.generated.as_slice() {
            [] => format!("# if anything was compiled, check that nothing was written to {source}"),
            generated => format!(
                "# if anything was compiled, remove what was added as {} to {source}, and check that nothing else was written there",
                generated.join(", ")
            ),
        }
    }

    fn json(&self) -> Value {
        json!({ "verify-snapshot": { "folder": self.folder, "generated": self.generated } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        if !*self.built.get()? {
            return checked(&self.folder);
        }
        sweep(&self.folder, &self.generated)?;
        match verify(&self.folder, &self.generated)?.as_slice() {
            [] => Ok(()),
            faults => {
                let are_there = faults.iter().all(|fault| !matches!(fault, Fault::Removed(_)));
                let or = if are_there { ", or name these files in `generated` (docs/c-code.md)" } else { "" };
                bail!(
                    "the build wrote into its own sources, so what it made is of no commit: {}; have build scripts write to \
                     OUT_DIR{or}",
                    first(faults)
                )
            }
        }
    }
}
