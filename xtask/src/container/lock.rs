//! `builder.lock`: exactly what is in an image, by version and SHA-256 of each package, and what its id is.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};
use serde::Serialize;

use crate::debian::deb::Deb;
use crate::sys::hash::Sha256;

/// The name of the file: beside an image in the cache, and in a workspace that wants this image and no other.
pub const FILE: &str = "builder.lock";

/// Debian's newest release: the C library in the image must not be older than the one that this tool was linked with.
pub const SUITE: &str = "trixie";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lock {
    pub architecture: String,
    /// In the order of their names.
    pub packages: Vec<Deb>,
    /// The id of the image, which is the same in every engine.
    pub image: Sha256,
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# What is in the image that binaries are built in. Checked in, it pins the image.")?;
        writeln!(f, "suite {SUITE}\narchitecture {}\nimage sha256:{}", self.architecture, self.image)?;
        self.packages.iter().try_for_each(|it| writeln!(f, "package {} {} {}", it.name, it.version, it.sha256))
    }
}

impl FromStr for Lock {
    type Err = Error;

    fn from_str(text: &str) -> Result<Lock> {
        let (mut architecture, mut image, mut packages) = (None, None, Vec::new());
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["suite", SUITE] => {}
                ["suite", other] => {
                    bail!(
                        "it is of Debian {other}, and this version of the tool takes {SUITE}: remove it, or write it anew"
                    )
                }
                ["architecture", word] => architecture = Some((*word).to_owned()),
                ["image", id] => image = Some(id.trim_start_matches("sha256:").parse()?),
                ["package", name, version, sha256] => {
                    packages.push(Deb { name: (*name).into(), version: (*version).into(), sha256: sha256.parse()? });
                }
                _ => bail!("`{line}` is not understood"),
            }
        }
        let architecture = architecture.context("it has no line `architecture`")?;
        Ok(Lock { architecture, packages, image: image.context("it has no line `image`")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::hash;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is() {
        let zlib = "zlib1g_1%3a1.3.dfsg+really1.3.1-1_amd64.deb";
        let packages = vec![Deb::of_file(zlib, hash::bytes(b"z")).unwrap()];
        assert_eq!(packages[0].version, "1:1.3.dfsg+really1.3.1-1");
        let lock = Lock { architecture: "amd64".into(), packages, image: hash::bytes(b"i") };
        assert_eq!(lock.to_string().parse::<Lock>().unwrap(), lock);
        for (text, why) in [
            ("suite bookworm\n", "it is of Debian bookworm"),
            ("suite trixie\n", "it has no line `architecture`"),
            ("package a b\n", "`package a b` is not understood"),
        ] {
            let error = text.parse::<Lock>().unwrap_err().to_string();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
