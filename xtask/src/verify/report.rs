//! What was found about one archive, or about a file beside it.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::sys::hash::Sha256;
use crate::ui::screen;

/// The result for one archive, or for a file beside it.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    pub file: String,
    /// Whether nothing is wrong with it.
    pub ok: bool,
    /// None, if it could not be read.
    pub sha256: Option<Sha256>,
    /// Where its checksum is from.
    #[serde(rename = "checked_against")]
    pub against: Vec<String>,
    /// What could not be checked.
    pub notes: Vec<String>,
    pub faults: Vec<String>,
    /// It is an archive that the manifest beside it does not name.
    #[serde(skip)]
    pub is_unnamed: bool,
}

impl Report {
    pub fn new(file: &Path) -> Report {
        Report { file: screen::plain(&file.to_string_lossy()), ok: true, ..Report::default() }
    }

    pub fn fault(&mut self, fault: impl AsRef<str>) {
        self.ok = false;
        self.faults.push(screen::plain(fault.as_ref()));
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
