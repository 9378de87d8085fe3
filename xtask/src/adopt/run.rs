//! Writes what `init` adds.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use super::plan::Plan;
use crate::sys::files;
use crate::sys::plan::{Step, Steps, Task, Work};
use crate::sys::steps::Write;

/// Writes one file aside and renames it, and prints what is new in it.
#[derive(Debug, Clone, Serialize)]
pub struct Add {
    #[serde(flatten)]
    write: Write,
    /// As the user knows the file.
    name: String,
    what: String,
}

impl Step for Add {
    fn line(&self) -> String {
        self.write.line()
    }

    fn json(&self) -> Value {
        json!({ "add": self })
    }

    fn run(&self, work: &Work) -> Result<()> {
        if let Some(folder) = self.write.file.parent() {
            files::create_folder(folder)?;
        }
        files::replace(&[(self.write.file.clone(), self.write.text.as_bytes())])?;
        work.runner.status(format!("{}: {}", self.name, self.what));
        Ok(())
    }
}

/// The plan as tasks.
pub fn tasks(plan: &Plan) -> Vec<Task> {
    let step = |file: PathBuf, name: &str, what: &str, text: &str| Add {
        write: Write { file, text: text.into() },
        name: name.into(),
        what: what.into(),
    };
    let steps: Steps = plan
        .changes
        .iter()
        .map(|change| {
            Box::new(step(plan.root.join(&change.file), &change.file, &change.what, &change.text)) as Box<dyn Step>
        })
        .collect();
    vec![Task::new("adding what is missing", steps)]
}
