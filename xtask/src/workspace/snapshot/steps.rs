//! The steps of a plan that have to do with the snapshot that is built.

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::write::checked;
use super::{SOURCE, touch, verify};
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
    /// Whether anything was built. Else no program ran that could have written there.
    pub built: Slot<bool>,
}

impl Step for Verify {
    fn line(&self) -> String {
        format!("# if anything was compiled, check that nothing was written to {}", quote(&self.folder.join(SOURCE)))
    }

    fn json(&self) -> Value {
        json!({ "verify-snapshot": { "folder": self.folder } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        if !*self.built.get()? {
            return checked(&self.folder);
        }
        match verify(&self.folder)?.as_slice() {
            [] => Ok(()),
            faults => bail!(
                "the build wrote into its own sources, so what it made is of no commit: {}; have build scripts write to OUT_DIR",
                first(faults)
            ),
        }
    }
}
