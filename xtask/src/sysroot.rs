//! A standard library from rust-src, above a C runtime from zig, for targets that rustup has none for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::arch::Arch;
use crate::cache::Cache;
use crate::cargo_home;
use crate::command::Command;
use crate::facts::{Facts, Rust};
use crate::files;
use crate::hash;
use crate::run::Runner;
use crate::zig;

/// The licence of the C runtime, in a sysroot of our own.
pub const RUNTIME_LICENSE: &str = "LICENSE-zig";

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

/// A standard library of our own and the C runtime below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysroot {
    pub arch: &'static Arch,
    /// Its name in the cache, which holds the hash of all that goes into it.
    pub name: String,
}

impl Sysroot {
    pub fn new(arch: &'static Arch, rust: &Rust) -> Sysroot {
        let recipe = format!(
            // The number stands for whatever is not said by the rest.
            "2 {} {} {} {} {} {:?} {:?}",
            rust.version,
            rust.commit,
            arch.triple,
            zig::identity(),
            arch.zig_target,
            arch.zig_cpu,
            STD_FLAGS,
        );
        Sysroot { arch, name: format!("sysroot-{}-{}", arch.triple, &hash::bytes(recipe.as_bytes())[..16]) }
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

/// Builds the standard library and the C runtime for one architecture.
pub fn get(runner: Runner, facts: &Facts, sysroot: &Sysroot) -> Result<()> {
    let arch = sysroot.arch;
    facts.cache.get(runner, &sysroot.name, |folder| {
        runner.say(format!(
            "building the standard library for {arch} (once, a minute or two), into {}",
            facts.cache.path(&sysroot.name).display()
        ));
        let lib = sysroot.lib(folder);
        let work = folder.join("work");
        c_runtime(runner, facts, arch, &work, &lib.join("self-contained"))
            .with_context(|| format!("cannot build the C runtime for {arch}"))?;
        standard_library(runner, facts, arch, &work, &lib)
            .with_context(|| format!("cannot build the standard library for {arch}"))?;
        files::copy(&facts.cache.path(&zig::name()?).join("LICENSE"), &folder.join(RUNTIME_LICENSE))?;
        files::remove_folder(&work)
    })?;
    Ok(())
}

/// Has zig link an empty program, and keeps what it linked it with.
fn c_runtime(runner: Runner, facts: &Facts, arch: &Arch, work: &Path, to: &Path) -> Result<()> {
    files::write(&work.join("empty.c"), "int main(void) { return 0; }\n")?;
    let cache = |name: &str| work.join(name).to_string_lossy().into_owned();
    let zig = Command::new(facts.cache.path(&zig::name()?).join("zig"), work)
        .only(BTreeMap::new())
        .env("ZIG_LOCAL_CACHE_DIR", cache("zig-local"))
        .env("ZIG_GLOBAL_CACHE_DIR", cache("zig-global"))
        .args(["cc", "-target", arch.zig_target])
        .args(arch.zig_cpu.map(|cpu| format!("-mcpu={cpu}")))
        .args(["-static", "-O2", "-v", "empty.c", "-o", "empty"]);
    let output = runner.output(&zig)?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("zig cannot link an empty program:\n{}", log.trim_end());
    }
    let link = log.lines().rfind(|line| line.contains("ld.lld")).context("zig did not say how it links")?;
    for name in ["crt1.o", "libc.a", "libzigc.a", "libcompiler_rt.a"] {
        let from = link
            .split_whitespace()
            .find(|word| Path::new(word).file_name().is_some_and(|file| file == name))
            .with_context(|| format!("zig links without {name}"))?;
        files::copy(&work.join(from), &to.join(name))?;
    }
    // std asks for an unwinder, and panic=abort never calls it: an archive without members will do.
    files::write(&to.join("libunwind.a"), "!<arch>\n")
}

/// Builds an empty crate with cargo's build-std, and keeps the crates of the standard library.
fn standard_library(runner: Runner, facts: &Facts, arch: &Arch, work: &Path, to: &Path) -> Result<()> {
    let krate = work.join("crate");
    files::write(
        &krate.join("Cargo.toml"),
        "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n",
    )?;
    files::write(&krate.join("src/lib.rs"), "#![no_std]\n")?;
    let manifest = krate.join("Cargo.toml").to_string_lossy().into_owned();

    if !facts.offline {
        // The few crates that std itself needs, through the user's own proxy and mirror.
        let fetch = Command::new(facts.rust.cargo(), &facts.root)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", facts.rust.rustc().to_string_lossy())
            .args(["fetch", "--quiet", "-Zbuild-std=std,panic_abort", "--target", arch.triple])
            .args(["--manifest-path", &manifest]);
        runner.run(&fetch).context("cannot fetch the crates that the standard library needs")?;
    }

    let target = work.join("target");
    let home = work.join("cargo-home");
    let remap = |from: PathBuf, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let flags = [
        remap(home.join("registry/src"), "cargo"),
        remap(facts.rust.sources(), &format!("/rustc/{}", facts.rust.commit)),
        "-Ctarget-feature=+crt-static".into(),
    ];
    let config = cargo_home::with_rustflags(&facts.network_config, [(arch.triple, flags.to_vec())]);
    cargo_home::create(&home, &facts.cargo_home, &config)?;
    let build = Command::new(facts.rust.cargo(), Path::new("/"))
        .only(facts.build_environment(&home))
        .env("RUSTC_BOOTSTRAP", "1")
        .args(STD_FLAGS)
        .args(["--offline", "--quiet", "--target", arch.triple, "--manifest-path", &manifest, "--target-dir"])
        .arg(target.to_string_lossy());
    runner.run(&build)?;

    let built = target.join(arch.triple).join("release/deps");
    let mut kept = 0;
    for name in files::list(&built)? {
        if name.ends_with(".rlib") && !name.starts_with("libempty-") {
            files::copy(&built.join(&name), &to.join(&name))?;
            kept += 1;
        }
    }
    if kept == 0 {
        bail!("cargo built no crate of the standard library");
    }
    Ok(())
}
