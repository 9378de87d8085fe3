//! dist/: its contents, and how everything new gets there at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::release::install::{self, INSTALL};
use crate::release::layout::{CHECKSUMS, MANIFEST, MINISIG, SSHSIG};
use crate::release::manifest::{self, Artifact, Manifest, Sbom};
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::sys::process::Runner;
use crate::ui::error::bad_request;
use crate::ui::screen;
use crate::ui::table::Align::{Left, Right};
use crate::ui::table::Table;
use crate::workspace::facts;
use crate::workspace::packaging::Install;

/// The manifest that an earlier run left in `dist/`. A manifest of another version of this tool, or none at all, is
/// replaced.
pub fn earlier(dist: &Path) -> Option<Manifest> {
    fs::read_to_string(dist.join(MANIFEST)).ok().and_then(|text| Manifest::parse(&text).ok())
}

/// Takes over what an earlier run left in `dist/`, as far as it is of the same origin and unaltered.
pub fn adopt(manifest: &mut Manifest, earlier: Option<Manifest>, dist: &Path) {
    if let Some(earlier) = earlier {
        manifest.adopt(earlier, |artifact| {
            let is_there =
                |file: &str, wanted: &Sha256| hash::file(&dist.join(file)).is_ok_and(|found| found == *wanted);
            is_there(&artifact.file, &artifact.sha256) && is_there(&artifact.sbom.file, &artifact.sbom.sha256)
        });
    }
}

/// A folder in dist/ where everything is written before any of it is moved to its place. Goes away with this value.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
    dist: PathBuf,
    install: Install,
}

impl Staging {
    /// Where it is.
    pub fn folder_in(dist: &Path) -> PathBuf {
        dist.join(".partial")
    }

    /// `install` is what the script that installs the release demands.
    pub fn new(dist: &Path, install: &Install) -> Result<Staging> {
        let folder = Staging::folder_in(dist);
        files::remove_folder(&folder)?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot write to {}", dist.display()))?;
        Ok(Staging { folder, dist: dist.into(), install: install.clone() })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        files::write(&self.folder.join(name), bytes)
    }

    /// An archive and its checksum.
    pub fn write_archive(&self, file: &str, bytes: &[u8], sha256: &Sha256) -> Result<()> {
        self.write(file, bytes)?;
        self.write(&format!("{file}.sha256"), manifest::checksum_line(sha256, file).as_bytes())
    }

    /// What lists all that is in an archive.
    pub fn write_sbom(&self, sbom: &Sbom, bytes: &[u8]) -> Result<()> {
        self.write(&sbom.file, bytes)
    }

    /// Moves everything to its place, with checksums of all archives of this version that will then be there, and of what is
    /// about all of them.
    pub fn publish(&self, manifest: &Manifest) -> Result<()> {
        let mut names = files::list(&self.folder)?;
        let mut checksums: BTreeMap<String, Sha256> =
            manifest.artifacts.iter().map(|artifact| (artifact.file.clone(), artifact.sha256)).collect();
        checksums.extend(manifest.artifacts.iter().map(|artifact| (artifact.sbom.file.clone(), artifact.sbom.sha256)));
        // Of an earlier run, and of another commit perhaps: as long as they are what that run made.
        for (file, _, _) in manifest.possible() {
            if let Ok(sha256) = hash::file(&self.dist.join(&file)) {
                let line = fs::read_to_string(self.dist.join(format!("{file}.sha256"))).unwrap_or_default();
                if !checksums.contains_key(&file) && line == manifest::checksum_line(&sha256, &file) {
                    checksums.insert(file, sha256);
                }
            }
        }
        let (text, script) = (manifest.to_json()?, install::script(manifest, &self.install));
        let checksum = format!("{INSTALL}.sha256");
        self.write(&checksum, manifest::checksum_line(&hash::bytes(script.as_bytes()), INSTALL).as_bytes())?;
        for (name, text) in [(MANIFEST, text), (INSTALL, script)] {
            self.write(name, text.as_bytes())?;
            checksums.insert(name.into(), hash::bytes(text.as_bytes()));
        }
        let lines: String = checksums.iter().map(|(name, sha256)| manifest::checksum_line(sha256, name)).collect();
        self.write(CHECKSUMS, lines.as_bytes())?;
        names.extend([INSTALL.into(), checksum, CHECKSUMS.into(), MANIFEST.into()]);
        for name in names {
            self.drop_signatures(&name)?;
            fs::rename(self.folder.join(&name), self.dist.join(&name))
                .with_context(|| format!("cannot write {}", self.dist.join(&name).display()))?;
        }
        Ok(())
    }

    /// Removes signatures of other bytes than those that a file gets now.
    fn drop_signatures(&self, name: &str) -> Result<()> {
        let signatures = [MINISIG, SSHSIG].map(|ending| self.dist.join(format!("{name}{ending}")));
        let signatures: Vec<_> = signatures.into_iter().filter(|signature| signature.exists()).collect();
        let there = self.dist.join(name);
        if signatures.is_empty() || there.exists() && hash::file(&there)? == hash::file(&self.folder.join(name))? {
            return Ok(());
        }
        for signature in signatures {
            fs::remove_file(&signature).with_context(|| format!("cannot remove {}", signature.display()))?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = files::remove_folder(&self.folder);
    }
}

/// A folder as the user would type it.
pub fn shown(dist: &Path) -> &Path {
    let here = std::env::current_dir().unwrap_or_default();
    dist.strip_prefix(here).unwrap_or(dist)
}

/// Refuses what keeps a run from writing its results, before it has any.
pub fn check(dist: &Path, archives: &[String]) -> Result<()> {
    facts::check_folder(dist)?;
    facts::check_folder(&Staging::folder_in(dist))?;
    let checksums = archives.iter().map(|archive| format!("{archive}.sha256"));
    for name in archives.iter().cloned().chain(checksums).chain([CHECKSUMS, MANIFEST, INSTALL].map(String::from)) {
        let file = dist.join(name);
        if file.is_dir() {
            bad_request!("{} is a folder, but a file is written there: move it away", file.display());
        }
    }
    Ok(())
}

/// Reports what was `made`, by the names of archives, when after the build's start (in seconds, by those names), and what of
/// `dist/` the manifest leaves out. `earlier` is the one that was there before.
pub fn report(
    runner: Runner,
    dist: &Path,
    made: &[String],
    seconds: Option<&BTreeMap<String, f32>>,
    manifest: &Manifest,
    earlier: Option<&Manifest>,
) {
    let link = screen::linked(shown(dist), dist);
    let shown = shown(dist).display();
    let artifacts = || made.iter().filter_map(|file| manifest.artifacts.iter().find(|artifact| artifact.file == *file));
    let several = manifest.archives.len() > 1;
    let table = |name: &dyn Fn(&Artifact) -> String| {
        let mut table = Table::new([Left, Right, Right, Left, Right]);
        let binary = if manifest.artifacts.iter().any(|it| it.binaries.len() > 1) { "binaries" } else { "binary" };
        table.row(["artifact", binary, "archive", "sha256", if seconds.is_some() { "after" } else { "" }]);
        for artifact in artifacts() {
            let seconds = seconds.and_then(|seconds| seconds.get(&artifact.file));
            table.row([
                name(artifact),
                kilobytes(artifact.unpacked_size()),
                kilobytes(artifact.size),
                format!("{:.12}", artifact.sha256),
                seconds.map(|seconds| format!("{seconds:.1} s")).unwrap_or_default(),
            ]);
        }
        table
    };
    runner.table(&[
        table(&|artifact| format!("{shown}/{}", artifact.file)),
        table(&|artifact| match several {
            true => format!("{} {}", artifact.archive, artifact.arch),
            false => artifact.arch.to_string(),
        }),
    ]);
    let mut left_out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, archive, arch) in manifest.possible() {
        if dist.join(&file).exists() && !manifest.artifacts.iter().any(|artifact| artifact.file == file) {
            let name = if several { format!("{} {arch}", archive.name) } else { arch.to_string() };
            left_out.entry(why_left_out(&file, manifest, earlier)).or_default().push(name);
        }
    }
    for (why, arches) in left_out {
        runner.status(format!("not in {MANIFEST}: {}, {why}", arches.join(", ")));
    }
    let dirty = if manifest.dirty { ", from a work tree with changes that are not committed" } else { "" };
    runner.status(format!("archives, {CHECKSUMS} and {MANIFEST} are in {link}{dirty}"));
}

/// The same as JSON.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Made<'a> {
    pub folder: &'a Path,
    /// Whether the work tree differed from the commit.
    pub dirty: bool,
    pub artifacts: Vec<MadeArtifact<'a>>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MadeArtifact<'a> {
    #[serde(flatten)]
    pub artifact: &'a Artifact,
    /// From the start of its build until its binary was there; null where nothing was built.
    pub seconds: Option<f32>,
}

impl<'a> Made<'a> {
    pub fn new(dist: &'a Path, made: &[String], seconds: &BTreeMap<String, f32>, manifest: &'a Manifest) -> Made<'a> {
        let artifacts = manifest.artifacts.iter().filter(|artifact| made.contains(&artifact.file));
        let artifacts =
            artifacts.map(|artifact| MadeArtifact { artifact, seconds: seconds.get(&artifact.file).copied() });
        Made { folder: dist, dirty: manifest.dirty, artifacts: artifacts.collect() }
    }
}

/// Why an archive in dist/ is not part of this release.
fn why_left_out(file: &str, manifest: &Manifest, earlier: Option<&Manifest>) -> String {
    let Some(earlier) = earlier.filter(|earlier| earlier.artifacts.iter().any(|artifact| artifact.file == file)) else {
        return "not in the previous one either".into();
    };
    match manifest::difference(&earlier.origin(), &manifest.origin()) {
        Ok(Some((key, one, other))) if key == "source_date_epoch" => {
            format!("dated otherwise ({one}, and now {other}): SOURCE_DATE_EPOCH={one} dates all alike")
        }
        Ok(Some((key, one, other))) => format!("built with another `{key}` ({one}, and now {other})"),
        _ => "altered since it was built".into(),
    }
}

fn kilobytes(bytes: u64) -> String {
    format!("{} kB", bytes.div_ceil(1000))
}
