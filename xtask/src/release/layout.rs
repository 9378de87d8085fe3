//! How a release is laid out: the names of the files in dist/, and of those in every archive.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::arch::Arch;
use crate::route::Route;

/// The folder of the release of a workspace, or of a package in it that has a release of its own.
pub fn dist(root: &Path, package: Option<&str>) -> PathBuf {
    let dist = root.join("dist");
    package.map_or(dist.clone(), |package| dist.join(package))
}

/// What describes the archives of one commit.
pub const MANIFEST: &str = "release.json";

/// The checksums of the archives of one version, and of all else that `dist` makes: who signs them, signs all.
pub const CHECKSUMS: &str = "SHA256SUMS";

/// What signatures of a file are called: its name, and one of these.
pub const MINISIG: &str = ".minisig";
pub const SSHSIG: &str = ".sig";

/// In an archive, the licences of all that is linked into the binary.
pub const LICENSES: &str = "THIRD-PARTY-LICENSES.txt";

/// The licences of the standard library's own dependencies: as Rust ships them, in the toolchain and in the archive.
pub const STD_LICENSES: &str = "COPYRIGHT-library.html";

/// What is built for one architecture and packed together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tarball {
    pub name: String,
    pub version: String,
    pub arch: &'static Arch,
    pub route: Route,
}

impl Tarball {
    /// `NAME-VERSION-TRIPLE`: the folder in it, and its own name before `.tar.gz`.
    pub fn stem(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, self.arch.triple)
    }

    pub fn file(&self) -> String {
        file(&self.name, &self.version, self.arch)
    }

    pub fn sbom(&self) -> String {
        sbom(&self.name, &self.version, self.arch)
    }
}

/// What the list of all that is in an archive is called: the ending is CycloneDX's own.
pub fn sbom(name: &str, version: &str, arch: &Arch) -> String {
    format!("{name}-{version}-{}.cdx.json", arch.triple)
}

/// What the archive for an architecture is called.
pub fn file(name: &str, version: &str, arch: &Arch) -> String {
    format!("{name}-{version}-{}.tar.gz", arch.triple)
}
