//! `cargo xtask verify`: whether archives are what `dist` makes, in dist/ or wherever they were downloaded to.

use anyhow::Result;
use serde::Serialize;

use crate::flags;
use crate::release::layout::MANIFEST;
use crate::release::manifest::Manifest;
use crate::sys::process::Runner;
use crate::ui::error::bad_request;
use crate::ui::screen;
use crate::ui::table::Align::Left;
use crate::ui::table::Table;
use crate::verify::release::{ARCHIVE, Archives, Release, find};
use crate::verify::report::{self, Report};
use crate::verify::sigstore::Identity;
use crate::verify::trust::{Demands, Trust};
use crate::workspace::facts as workspace;

/// What was found.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verified {
    /// Archives, and files beside them.
    pub files: Vec<Report>,
    /// Those of them that the release.json beside them does not name: it was not asked about them.
    pub not_in_manifest: Vec<String>,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &flags::Common, request: &flags::Verify) -> Result<()> {
    let mut work = Vec::new();
    if request.paths.is_empty() {
        let dist = match workspace::find_manifest(common.manifest_path.as_deref()) {
            Ok(manifest) => workspace::dist_of(&manifest),
            Err(error) => bad_request!("no archive is named, and {error}: name an archive, or a folder of them"),
        };
        if !dist.join(MANIFEST).exists() {
            bad_request!("there is no {MANIFEST} in {}: run `cargo xtask dist`, or name archives", dist.display());
        }
        let release = Release::read(&dist);
        let names = release.manifest.iter().flat_map(Manifest::files).collect();
        work.push(Archives { release, names, is_folder: true });
    }
    for path in &request.paths {
        work.push(find(path)?);
    }

    let trust = Trust::read(&request.trust)?;
    let mut reports = Vec::new();
    let identity = request.identity.clone().map(|subject| Identity { subject, issuer: request.issuer.clone() });
    let (boot, without_checksum) = (request.require_boot, request.no_checksum);
    let demands = Demands { trust: &trust, boot, without_checksum, identity };
    for archives in work {
        reports.extend(archives.check(runner, &demands)?);
    }
    let outcome = report::refuse(&reports);
    match request.json {
        true => {
            let not_in_manifest = unnamed(&reports).map(|report| report.file.clone()).collect();
            screen::print_result(Verified { files: reports, not_in_manifest })?;
        }
        false => print(runner, &reports),
    }
    outcome
}

fn unnamed(reports: &[Report]) -> impl Iterator<Item = &Report> {
    reports.iter().filter(|report| report.is_unnamed)
}

/// One line for each archive that passed, and notes; the last line says how many of them the manifest does not name.
fn print(runner: Runner, reports: &[Report]) {
    for note in reports.iter().flat_map(|report| report.notes.iter().map(|note| format!("{}: {note}", report.file))) {
        runner.status(note);
    }
    let good: Vec<&Report> = reports.iter().filter(|report| report.faults.is_empty()).collect();
    let mut table = Table::new([Left; 4]);
    for report in good {
        let against = if report.against.is_empty() { "no checksum".into() } else { report.against.join(", ") };
        let sha256 = report.sha256.map(|sha256| format!("{sha256:.12}")).unwrap_or_default();
        table.row([report.file.as_str(), &sha256, "ok", &against]);
    }
    runner.table(&[table]);
    let (some, all) =
        (unnamed(reports).count(), reports.iter().filter(|report| report.file.ends_with(ARCHIVE)).count());
    if some > 0 {
        let are = if some == 1 { "is" } else { "are" };
        runner.println(format!("{some} of {all} {are} not in {MANIFEST}, which says nothing of what is in them"));
    }
}
