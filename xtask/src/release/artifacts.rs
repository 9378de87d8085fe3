//! The binaries in the tarballs of dist/, checked against its manifest.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::arch::Arch;
use crate::release::layout::MANIFEST;
use crate::release::manifest::{self, Artifact, Binary, Manifest};
use crate::release::pack::Entry;
use crate::release::unpack;
use crate::sys::process::Runner;
use crate::sys::{files, hash};
use crate::ui::error::bad_request;

/// What dist/ holds.
pub fn read(dist: &Path) -> Result<Manifest> {
    let path = dist.join(MANIFEST);
    let text = files::foreign_text(&path, manifest::MAX_TEXT);
    let Some(text) = text.with_context(|| format!("cannot use {}", path.display()))? else {
        bad_request!("there is no release yet: {} is not there; run `cargo xtask dist`", path.display());
    };
    match Manifest::parse(&text) {
        Ok(manifest) => Ok(manifest),
        Err(error) => bail!("cannot use {}: {error}: run `cargo xtask dist` again", path.display()),
    }
}

/// The artifacts for these architectures, or all, if none are named.
pub fn of<'a>(dist: &Path, manifest: &'a Manifest, arches: &[&'static Arch]) -> Result<Vec<&'a Artifact>> {
    let is_there = |arch: &&&Arch| manifest.artifacts.iter().any(|artifact| artifact.arch == **arch);
    if let Some(arch) = arches.iter().find(|arch| !is_there(arch)) {
        bad_request!(
            "--arch {arch}: {} names no archive for it: run `cargo xtask dist --arch {arch}`",
            dist.join(MANIFEST).display()
        );
    }
    Ok(manifest.artifacts.iter().filter(|artifact| arches.is_empty() || arches.contains(&artifact.arch)).collect())
}

/// An artifact, and the files in it.
pub type Opened<'a> = (&'a Artifact, BTreeMap<String, Entry>);

/// The same with the files in them.
pub fn opened<'a>(
    runner: Runner,
    dist: &Path,
    manifest: &'a Manifest,
    arches: &[&'static Arch],
) -> Result<Vec<Opened<'a>>> {
    let unpack = |artifact| {
        runner.check_interrupted()?;
        Ok((artifact, contents(dist, artifact)?))
    };
    of(dist, manifest, arches)?.into_iter().map(unpack).collect()
}

/// The binaries in a tarball, by name.
pub fn binaries(dist: &Path, artifact: &Artifact) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = contents(dist, artifact)?;
    let take = |binary: &Binary| Some((binary.file.clone(), files.remove(&binary.file)?.bytes));
    Ok(artifact.binaries.iter().filter_map(take).collect())
}

/// All files in a tarball, by their paths below its top folder. The binaries are among them.
pub fn contents(dist: &Path, artifact: &Artifact) -> Result<BTreeMap<String, Entry>> {
    let path = dist.join(&artifact.file);
    let archive = files::foreign(&path).context("run `cargo xtask dist` again")?;
    let altered = |what: &str| format!("{what} does not match {MANIFEST}: run `cargo xtask dist` again");
    if hash::bytes(&archive) != artifact.sha256 {
        bail!("{}", altered(&path.display().to_string()));
    }
    let top = artifact.file.strip_suffix(".tar.gz").unwrap_or(&artifact.file);
    let unpacked = unpack::archive(&archive[..], top);
    if let Some(fault) = unpacked.faults.first() {
        bail!("{} cannot be used: {fault}", path.display());
    }
    for Binary { file, sha256, .. } in &artifact.binaries {
        if unpacked.files.get(file).is_none_or(|entry| hash::bytes(&entry.bytes) != *sha256) {
            bail!("{}", altered(&format!("{file} in {}", path.display())));
        }
    }
    Ok(unpacked.files)
}
