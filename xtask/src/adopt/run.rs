//! The step that adds a file to a workspace.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::sys::plan::{Step, Work};
use crate::sys::steps::Write;

/// Writes one file, and prints what is new in it.
#[derive(Debug, Clone, Serialize)]
pub struct Add {
    #[serde(flatten)]
    pub write: Write,
    /// As the user knows the file.
    pub name: String,
    /// What is new in it.
    pub what: String,
}

impl Step for Add {
    fn line(&self) -> String {
        self.write.line()
    }

    fn json(&self) -> Value {
        json!({ "add": self })
    }

    fn run(&self, work: &Work) -> Result<()> {
        self.write.run(work)?;
        work.runner.status(format!("{}: {}", self.name, self.what));
        Ok(())
    }
}
