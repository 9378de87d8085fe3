//! The binaries in the tarballs of dist/, checked against its manifest.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::release::layout::MANIFEST;
use crate::release::manifest::{Artifact, Manifest};
use crate::release::unpack;
use crate::sys::{files, hash};
use crate::ui::error::bad_request;

/// What dist/ holds.
pub fn read(dist: &Path) -> Result<Manifest> {
    let path = dist.join(MANIFEST);
    let Some(text) = files::read_if_there(&path)? else {
        bad_request!("there is nothing to boot, for {} is not there: run `cargo xtask dist`", path.display());
    };
    match Manifest::parse(&text) {
        Ok(manifest) => Ok(manifest),
        Err(error) => bail!("cannot use {}: {error}: run `cargo xtask dist` again", path.display()),
    }
}

/// The binary in a tarball.
pub fn binary(dist: &Path, artifact: &Artifact) -> Result<Vec<u8>> {
    let path = dist.join(&artifact.file);
    let archive = files::read(&path).context("run `cargo xtask dist` again")?;
    let altered = |what: &str| format!("{what} does not match {MANIFEST}: run `cargo xtask dist` again");
    if hash::bytes(&archive) != artifact.sha256 {
        bail!("{}", altered(&path.display().to_string()));
    }
    let top = artifact.file.strip_suffix(".tar.gz").unwrap_or(&artifact.file);
    let mut unpacked = unpack::archive(&archive[..], top);
    if let Some(fault) = unpacked.faults.first() {
        bail!("{} cannot be used: {fault}", path.display());
    }
    let name = &artifact.binary.file;
    match unpacked.files.remove(name) {
        Some(entry) if hash::bytes(&entry.bytes) == artifact.binary.sha256 => Ok(entry.bytes),
        _ => bail!("{}", altered(&format!("{name} in {}", path.display()))),
    }
}
