//! One package of Debian's, exactly.

use anyhow::{Result, bail};
use serde::Serialize;

use crate::sys::hash::Sha256;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Deb {
    pub name: String,
    pub version: String,
    /// Of its file.
    pub sha256: Sha256,
}

impl Deb {
    /// The package that is in a file of this name, as apt leaves it: `NAME_VERSION_ARCHITECTURE.deb`.
    pub fn of_file(file: &str, sha256: Sha256) -> Result<Deb> {
        let mut parts = file.split('_');
        let (Some(name), Some(version), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            bail!("{file} is not named as apt names packages");
        };
        Ok(Deb { name: name.into(), version: version.replace("%3a", ":"), sha256 })
    }
}
