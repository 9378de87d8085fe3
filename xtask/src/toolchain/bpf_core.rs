//! Rust's `core` for BPF, from rust-src: rustup has none. It is made once for each byte order, and no program is compiled with
//! a compiler or flags that it was not made with.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::arch::Endian;
use crate::sys::cache::Cache;
use crate::sys::hash;
use crate::toolchain::sysroot::PREFIX;
use crate::workspace::rust::Rust;

/// How it is built, apart from paths: part of its key.
pub const FLAGS: [&str; 9] = [
    "build",
    "--release",
    "--lib",
    "-Zbuild-std=core",
    "--config=profile.release.opt-level=3",
    "--config=profile.release.codegen-units=1",
    "--config=profile.release.lto='fat'",
    "--config=profile.release.panic='abort'",
    "--config=profile.release.debug=2",
];

/// The flags of rustc for all that becomes BPF. The instruction set is on every function, and clang's flag does not change it.
pub fn rustflags(cpu: &str) -> [String; 2] {
    // Else what is to be inlined always is not, where it is rarely called.
    [format!("-Ctarget-cpu={cpu}"), "-Cllvm-args=--cold-callsite-rel-freq=0".into()]
}

/// `core` for one byte order and instruction set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Core {
    pub endian: Endian,
    pub cpu: String,
    /// Its name in the cache, which holds the hash of all that goes into it.
    pub name: String,
}

impl Core {
    pub fn new(endian: Endian, cpu: &str, rust: &Rust) -> Core {
        // The number stands for everything that is not in the rest.
        let (version, commit) = (&rust.version, &rust.commit);
        let recipe = format!("1 {version} {commit} {} {FLAGS:?} {:?}", triple(endian), rustflags(cpu));
        let name = format!("{PREFIX}{}-{cpu}-{:.16}", triple(endian), hash::bytes(recipe.as_bytes()));
        Core { endian, cpu: cpu.into(), name }
    }

    /// The folder of the crates in a sysroot.
    pub fn lib(&self, sysroot: &Path) -> PathBuf {
        sysroot.join("lib/rustlib").join(triple(self.endian)).join("lib")
    }

    /// The argument of rustc for compiling with it.
    pub fn rustflag(&self, cache: &Cache) -> String {
        format!("--sysroot={}", cache.path(&self.name).display())
    }
}

/// Rust's target for BPF.
pub fn triple(endian: Endian) -> &'static str {
    match endian {
        Endian::Little => "bpfel-unknown-none",
        Endian::Big => "bpfeb-unknown-none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_name_says_for_what_it_is_and_contains_the_compiler() {
        let rust = |commit: &str| Rust {
            sysroot: "/rust".into(),
            version: "1.95.0".into(),
            commit: commit.into(),
            llvm: "22".into(),
            host: "h".into(),
        };
        let name = |endian, cpu, commit| Core::new(endian, cpu, &rust(commit)).name;
        let usual = name(Endian::Big, "v1", "c0ffee");
        assert!(usual.starts_with("sysroot-bpfeb-unknown-none-v1-"), "{usual}");
        for other in
            [name(Endian::Little, "v1", "c0ffee"), name(Endian::Big, "v2", "c0ffee"), name(Endian::Big, "v1", "d")]
        {
            assert_ne!(usual, other);
        }
    }
}
