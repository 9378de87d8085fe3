//! A standard library from rust-src, above a C runtime from zig, for targets that rustup has none for.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::arch::Arch;
use crate::sys::cache::Cache;
use crate::sys::hash;
use crate::toolchain::zig;
use crate::workspace::rust::Rust;

/// The licence of the C runtime, in a sysroot of our own.
pub const RUNTIME_LICENSE: &str = "LICENSE-zig";

/// The licence of the unwinder beside it.
pub const UNWINDER_LICENSE: &str = "LICENSE-libunwind";

/// What the names of sysroots in the cache begin with.
pub const PREFIX: &str = "sysroot-";

/// What one takes on the disk while it is made.
pub const SPACE_MB: u64 = 200;

/// How the standard library is built, apart from paths. Part of the key of what comes out: change it, and every
/// cached one is built anew.
pub const STD_FLAGS: [&str; 10] = [
    "build",
    "--release",
    "--lib",
    "-Zbuild-std=std,panic_abort",
    "-Zbuild-std-features=optimize_for_size",
    "--config=profile.release.opt-level='s'",
    "--config=profile.release.codegen-units=1",
    "--config=profile.release.lto='fat'",
    "--config=profile.release.panic='abort'",
    "--config=profile.release.debug=false",
];

/// How zig links the empty program that shows what the C runtime is: part of the key as well. `-lunwind` adds LLVM's
/// unwinder, with which std walks the stack for a backtrace. `-s` leaves debug information out of all of it: the
/// archives are a quarter of the size, and hold no path.
pub const RUNTIME_FLAGS: [&str; 8] = ["-static", "-O2", "-s", "-v", "empty.c", "-lunwind", "-o", "empty"];

/// What zig links it with, apart from the program itself.
pub const RUNTIME: [&str; 5] = ["crt1.o", "libc.a", "libzigc.a", "libcompiler_rt.a", "libunwind.a"];

/// A standard library of our own and the C runtime below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sysroot {
    pub arch: &'static Arch,
    /// Its name in the cache, which holds the hash of all that goes into it.
    pub name: String,
}

impl Sysroot {
    pub fn new(arch: &'static Arch, rust: &Rust) -> Sysroot {
        let recipe = format!(
            // The number stands for everything that is not in the rest.
            "3 {} {} {} {} {} {:?} {:?} {:?}",
            rust.version,
            rust.commit,
            arch.triple,
            zig::identity(),
            arch.zig_target,
            arch.zig_cpu,
            RUNTIME_FLAGS,
            STD_FLAGS,
        );
        Sysroot { arch, name: format!("{PREFIX}{}-{:.16}", arch.triple, hash::bytes(recipe.as_bytes())) }
    }

    /// The folder of the crates and the C runtime in a sysroot.
    pub fn lib(&self, sysroot: &Path) -> PathBuf {
        sysroot.join("lib/rustlib").join(self.arch.triple).join("lib")
    }

    /// The arguments of rustc for building on this sysroot.
    pub fn rustflags(&self, cache: &Cache) -> Vec<String> {
        let sysroot = cache.path(&self.name);
        let runtime = self.lib(&sysroot).join("self-contained");
        vec![
            format!("--sysroot={}", sysroot.display()),
            "-Clink-self-contained=no".into(),
            format!("-Lnative={}", runtime.display()),
            format!("-Clink-arg={}", runtime.join("crt1.o").display()),
            "-Clink-arg=-lzigc".into(),
            "-Clink-arg=-lcompiler_rt".into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn its_name_contains_the_compiler_and_not_its_path() {
        let arch = <&Arch>::from_str("s390x").unwrap();
        let name = |version: &str, commit: &str, sysroot: &str| {
            let (version, commit, llvm) = (version.into(), commit.into(), "22".into());
            Sysroot::new(arch, &Rust { sysroot: sysroot.into(), version, commit, llvm, host: "h".into() }).name
        };
        let usual = name("1.95.0", "c0ffee", "/rust");
        assert_eq!(usual, name("1.95.0", "c0ffee", "/elsewhere"));
        assert_ne!(usual, name("1.95.0", "decade", "/rust"));
        assert_ne!(usual, name("1.95.1", "c0ffee", "/rust"));
    }
}
