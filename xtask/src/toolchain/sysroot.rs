//! A standard library from rust-src, above a C runtime from zig, for targets that rustup has none for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::arch::Arch;
use crate::build::cargo::{self, CargoBuild};
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::hash;
use crate::sys::plan::{Step, Steps, Task};
use crate::sys::steps::{CacheEntry, CheckEntry, CopyMade, Remove, Run, Write};
use crate::toolchain::run::{BuildCrates, KeepCrates, KeepRuntime};
use crate::toolchain::zig;
use crate::workspace::cargo_home;
use crate::workspace::facts::Facts;
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
const STD_FLAGS: [&str; 10] = [
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
/// unwinder, with which std walks the stack for a backtrace. `-s` leaves debug information out of all of it: the archives
/// are a quarter of the size, and hold no path.
const RUNTIME_FLAGS: [&str; 8] = ["-static", "-O2", "-s", "-v", "empty.c", "-lunwind", "-o", "empty"];

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
            // The number stands for whatever is not said by the rest.
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

    /// Where the crates and the C runtime lie in a sysroot.
    pub fn lib(&self, sysroot: &Path) -> PathBuf {
        sysroot.join("lib/rustlib").join(self.arch.triple).join("lib")
    }

    /// What rustc is told, to build on this sysroot.
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

/// Makes the C runtime and the standard library for one architecture.
pub fn task(facts: &Facts, sysroot: &Sysroot) -> Result<Task> {
    let Sysroot { arch, name } = sysroot;
    let partial = facts.cache.partial(name);
    let work = partial.join("work");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let zig = zig::name()?;
    let compiler = facts.cache.path(&zig);
    let link = Command::new(compiler.join("zig"), &work)
        .only(BTreeMap::new())
        .env("ZIG_LOCAL_CACHE_DIR", text(&work.join("zig-local")))
        .env("ZIG_GLOBAL_CACHE_DIR", text(&work.join("zig-global")))
        .args(["cc", "-target", arch.zig_target])
        .args(arch.zig_cpu.map(|cpu| format!("-mcpu={cpu}")))
        .args(RUNTIME_FLAGS);
    let target = work.join("target");
    let lib = sysroot.lib(&partial);
    let (std, build) = standard_library(facts, arch, &work, &target);
    let mut steps: Steps = vec![
        Box::new(CheckEntry { cache: facts.cache.clone(), name: zig, reads: |_| true }),
        write(work.join("empty.c"), "int main(void) { return 0; }\n"),
        Box::new(KeepRuntime { link, to: lib.join("self-contained") }),
    ];
    steps.extend(std);
    let crates = target.join(arch.triple).join("release/deps");
    steps.push(Box::new(BuildCrates { build: CargoBuild { command: build, target } }));
    steps.push(Box::new(KeepCrates { from: crates, to: lib }));
    steps.push(Box::new(CopyMade { from: compiler.join("LICENSE"), to: partial.join(RUNTIME_LICENSE) }));
    let unwinder = compiler.join("lib/libunwind/LICENSE.TXT");
    steps.push(Box::new(CopyMade { from: unwinder, to: partial.join(UNWINDER_LICENSE) }));
    steps.push(Box::new(Remove { folder: work }));
    let title = format!("building the standard library for {arch}, once, into {}", facts.cache.path(name).display());
    let entry = CacheEntry::new(facts.cache.clone(), name.clone(), steps);
    Ok(Task::new(title, vec![Box::new(entry)])
        .live(arch.name)
        .beside("sysroots")
        .failure("cannot build the standard library"))
}

/// Builds an empty crate with cargo's build-std.
fn standard_library(facts: &Facts, arch: &Arch, work: &Path, target: &Path) -> (Steps, Command) {
    let krate = work.join("crate");
    let manifest = krate.join("Cargo.toml");
    let home = work.join("cargo-home");
    let mut steps: Steps = vec![
        write(manifest.clone(), "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n"),
        write(krate.join("src/lib.rs"), "#![no_std]\n"),
    ];
    let manifest = manifest.to_string_lossy();
    if !facts.offline {
        // The few crates that std itself needs, through the user's own proxy and mirror.
        let fetch = Command::new(facts.rust.cargo(), &facts.root)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", facts.rust.rustc().to_string_lossy())
            .env("CARGO_HOME", facts.cargo_home.to_string_lossy())
            .args(["fetch", "--quiet", "-Zbuild-std=std,panic_abort", "--target", arch.triple])
            .args(["--manifest-path", &manifest]);
        steps.push(Box::new(Run(fetch)));
    }
    let remap = |from: PathBuf, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let flags = vec![
        remap(home.join("registry/src"), "cargo"),
        remap(facts.rust.sources(), &format!("/rustc/{}", facts.rust.commit)),
        "-Ctarget-feature=+crt-static".into(),
    ];
    let config = cargo_home::with_rustflags(&facts.network_config, [(arch.triple, flags)]);
    steps.extend(cargo_home::steps(&home, &facts.cargo_home, config));
    let build = Command::new(facts.rust.cargo(), Path::new("/"))
        .only(facts.build_environment(&home))
        .env("RUSTC_BOOTSTRAP", "1")
        .args(STD_FLAGS)
        .args(cargo::FLAGS)
        .args(["--offline", "--target", arch.triple, "--manifest-path", &manifest, "--target-dir"])
        .arg(target.to_string_lossy());
    (steps, build)
}

fn write(file: PathBuf, text: &str) -> Box<dyn Step> {
    Box::new(Write { file, text: text.into() })
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn its_name_tells_the_compiler_and_not_where_that_lies() {
        let arch = <&Arch>::from_str("s390x").unwrap();
        let name = |version: &str, commit: &str, sysroot: &str| {
            let (version, commit, llvm) = (version.into(), commit.into(), "22".into());
            Sysroot::new(arch, &Rust { sysroot: sysroot.into(), version, commit, llvm }).name
        };
        let usual = name("1.95.0", "c0ffee", "/rust");
        assert_eq!(usual, name("1.95.0", "c0ffee", "/elsewhere"));
        assert_ne!(usual, name("1.95.0", "decade", "/rust"));
        assert_ne!(usual, name("1.95.1", "c0ffee", "/rust"));
    }
}
