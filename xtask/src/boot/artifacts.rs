//! What there is to boot: the binaries in the tarballs of dist/, checked against what its manifest says.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;

use crate::dist::MANIFEST;
use crate::manifest::{self, Artifact, Manifest};
use crate::{bad_request, files, hash};

/// What dist/ holds.
pub fn read(dist: &Path) -> Result<Manifest> {
    let path = dist.join(MANIFEST);
    let Some(text) = files::read_if_there(&path)? else {
        bad_request!("there is nothing to boot, for {} is not there: run `cargo xtask dist`", path.display());
    };
    let manifest = Manifest::parse(&text);
    match manifest {
        Ok(manifest) if manifest.schema == manifest::SCHEMA => Ok(manifest),
        _ => bail!("{} is not a manifest that this version understands: run `cargo xtask dist`", path.display()),
    }
}

/// The binary in a tarball.
pub fn binary(dist: &Path, artifact: &Artifact) -> Result<Vec<u8>> {
    let path = dist.join(&artifact.file);
    let archive = files::read(&path).context("run `cargo xtask dist` again")?;
    let altered = |what: &str| format!("{what} is not what {MANIFEST} says: run `cargo xtask dist` again");
    if hash::bytes(&archive) != artifact.sha256 {
        bail!("{}", altered(&path.display().to_string()));
    }
    let top = artifact.file.strip_suffix(".tar.gz").unwrap_or(&artifact.file);
    let name = Path::new(top).join(&artifact.binary.file);
    let mut tar = tar::Archive::new(GzDecoder::new(&archive[..]));
    for member in tar.entries()? {
        let mut member = member.with_context(|| format!("cannot unpack {}", path.display()))?;
        if member.path()? == name {
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).with_context(|| format!("cannot unpack {}", path.display()))?;
            if hash::bytes(&bytes) != artifact.binary.sha256 {
                bail!("{}", altered(&format!("{} in {}", name.display(), path.display())));
            }
            return Ok(bytes);
        }
    }
    bail!("there is no {} in {}: run `cargo xtask dist` again", name.display(), path.display())
}
