//! The binaries in the tarballs of dist/, checked against its manifest.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::release::layout::MANIFEST;
use crate::release::manifest::{Artifact, Binary, Manifest};
use crate::release::unpack;
use crate::sys::{files, hash};
use crate::ui::error::bad_request;

/// What dist/ holds.
pub fn read(dist: &Path) -> Result<Manifest> {
    let path = dist.join(MANIFEST);
    let Some(text) = files::read_if_there(&path)? else {
        bad_request!("nothing is released, for {} is not there: run `cargo xtask dist`", path.display());
    };
    match Manifest::parse(&text) {
        Ok(manifest) => Ok(manifest),
        Err(error) => bail!("cannot use {}: {error}: run `cargo xtask dist` again", path.display()),
    }
}

/// The binaries in a tarball, by name.
pub fn binaries(dist: &Path, artifact: &Artifact) -> Result<BTreeMap<String, Vec<u8>>> {
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
    let mut take = |binary: &Binary| match unpacked.files.remove(&binary.file) {
        Some(entry) if hash::bytes(&entry.bytes) == binary.sha256 => Ok((binary.file.clone(), entry.bytes)),
        _ => bail!("{}", altered(&format!("{} in {}", binary.file, path.display()))),
    };
    artifact.binaries.iter().map(&mut take).collect()
}
