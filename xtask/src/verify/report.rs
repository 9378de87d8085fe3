//! What was found about one archive, or about a file beside it.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::sys::hash::Sha256;
use crate::ui::screen;

/// The result for one archive, or for a file beside it.
#[derive(Debug, Default)]
pub struct Report {
    pub file: String,
    /// None, if it could not be read.
    pub sha256: Option<Sha256>,
    /// Where its checksum is from.
    pub against: Vec<String>,
    /// What could not be checked.
    pub notes: Vec<String>,
    pub faults: Vec<String>,
}

impl Report {
    pub fn new(file: &Path) -> Report {
        Report { file: screen::plain(&file.to_string_lossy()), ..Report::default() }
    }

    pub fn fault(&mut self, fault: impl AsRef<str>) {
        self.faults.push(screen::plain(fault.as_ref()));
    }

    pub fn to_json(&self) -> Value {
        json!({
            "file": self.file,
            "ok": self.faults.is_empty(),
            "sha256": self.sha256,
            "checked_against": self.against,
            "notes": self.notes,
            "faults": self.faults,
        })
    }
}

/// Refuses what has faults.
pub fn refuse(reports: &[Report]) -> Result<()> {
    let faults = |report: &Report| report.faults.iter().map(|fault| format!("{}: {fault}", report.file)).collect();
    let failures: Vec<String> = reports.iter().flat_map::<Vec<String>, _>(faults).collect();
    match failures.as_slice() {
        [] => Ok(()),
        [only] => bail!("{only}"),
        several => bail!("this must not be used:\n  {}", several.join("\n  ")),
    }
}
