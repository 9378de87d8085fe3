//! The pinned clang, which comes inside zig, as a wheel with a known hash.

use anyhow::{Result, bail};

use crate::sys::hash;
use crate::toolchain::wheel::{self, Wheel, Wheels};

/// The package that carries the pinned clang, from the Python package index.
pub const PACKAGE: &str = "ziglang==0.17.1";

/// What the names of unpacked compilers in the cache begin with.
pub const PREFIX: &str = "ziglang-";

/// What comes over the network.
pub const DOWNLOAD_MB: u64 = 100;

/// What it takes on the disk while it is unpacked.
pub const SPACE_MB: u64 = 350;

const WHEELS: Wheels = [
    ("linux", "x86_64", "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54"),
    ("linux", "aarch64", "b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e"),
    ("macos", "x86_64", "4e0b4b9c02b8d0d220e9948010f860b62ff11d96abb39762eca5fa2ef3f7bc97"),
    ("macos", "aarch64", "09953b6af7f64168b915180a42774f520f92d86ef6331b28e33915c7e1f0bb23"),
];

/// What a job reads of the wheel, by the beginnings of the names below `ziglang/`: the compiler, its own headers, the
/// kernel's, and the sources of musl, compiler-rt, libunwind and libc++. The rest, most of 19,000 files, is for other systems.
const UNPACKED: [&str; 16] = [
    "LICENSE",
    "zig",
    "lib/include/",
    "lib/c.zig",
    "lib/c/",
    "lib/compiler_rt.zig",
    "lib/compiler_rt/",
    "lib/ubsan_rt.zig",
    "lib/libcxx/",
    "lib/libcxxabi/",
    "lib/libunwind/",
    "lib/std/",
    "lib/libc/musl/",
    "lib/libc/include/generic-musl/",
    "lib/libc/include/*-linux-any",
    "lib/libc/include/*-linux-musl",
];

/// Every identity that the pinned compiler has, one for each host, for the BPF lock file and the manifest.
pub fn identity() -> String {
    let hashes: Vec<String> = WHEELS.iter().map(|(_, _, hash)| format!("sha256:{hash}")).collect();
    format!("{PACKAGE} {}", hashes.join(" "))
}

/// The hashes of all its wheels.
pub fn wheel_hashes() -> impl Iterator<Item = &'static str> {
    WHEELS.iter().map(|(_, _, hash)| *hash)
}

/// The wheel for this host, by its hash.
pub fn wheel_hash() -> Result<&'static str> {
    match wheel::hash(&WHEELS) {
        Ok(hash) => Ok(hash),
        Err(host) => bail!("no pinned compiler for this kind of machine ({host})"),
    }
}

/// The name of the unpacked compiler in the cache, with a hash of the wheel and of what is unpacked of it.
pub fn name() -> Result<String> {
    let hash = hash::bytes(format!("{} {UNPACKED:?}", wheel_hash()?).as_bytes());
    Ok(format!("{}-{hash:.16}", PACKAGE.replace("==", "-")))
}

/// How it is fetched for this host.
pub fn wheel() -> Result<Wheel> {
    Ok(Wheel {
        package: PACKAGE,
        name: name()?,
        requirements: wheel::requirements(PACKAGE, &WHEELS),
        sha256: wheel_hash()?.parse()?,
        download_mb: DOWNLOAD_MB,
        keep: |path| path.strip_prefix("ziglang/").filter(|name| is_unpacked(name)),
    })
}

/// Whether a file of the wheel, named below `ziglang/`, is needed.
fn is_unpacked(name: &str) -> bool {
    UNPACKED.iter().any(|wanted| match wanted.split_once('*') {
        Some((before, after)) => name
            .strip_prefix(before)
            .and_then(|rest| rest.split('/').next())
            .is_some_and(|folder| folder.contains(after)),
        None if wanted.ends_with('/') => name.starts_with(wanted),
        None => name == *wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_jobs_read_is_unpacked() {
        for needed in ["zig", "LICENSE", "lib/include/stddef.h", "lib/libc/include/x86-linux-any/asm/types.h"] {
            assert!(is_unpacked(needed), "{needed}");
        }
        for needless in
            ["README.md", "zig.pdb", "lib/libtsan/a.h", "lib/libc/include/aarch64-linux-gnu/a.h", "lib/libc/mingw/a.c"]
        {
            assert!(!is_unpacked(needless), "{needless}");
        }
    }

    #[test]
    fn this_machine_has_a_pinned_compiler() {
        assert!(identity().starts_with("ziglang==") && identity().contains(wheel_hash().unwrap()));
    }
}
