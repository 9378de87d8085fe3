//! What is got once: the pinned clang (inside zig), rust-src, prebuilt standard libraries, and, for targets that have
//! none, a standard library from source above a C runtime from zig.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::arch::Arch;
use crate::cache::Cache;
use crate::cargo_home;
use crate::command::Command;
use crate::facts::{Facts, Rust};
use crate::files;
use crate::hash;
use crate::run::Runner;

/// The package that carries the pinned clang, from the Python package index.
pub const ZIG: &str = "ziglang==0.17.1";

/// rustup's name for the sources of the standard library.
const RUST_SRC: &str = "rust-src";

/// The licence of the C runtime, in a sysroot of our own.
pub const RUNTIME_LICENSE: &str = "LICENSE-zig";

/// SHA-256 of its wheel for each host: (`std::env::consts::OS`, `std::env::consts::ARCH`, hash).
const WHEELS: [(&str, &str, &str); 4] = [
    ("linux", "x86_64", "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54"),
    ("linux", "aarch64", "b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e"),
    ("macos", "x86_64", "4e0b4b9c02b8d0d220e9948010f860b62ff11d96abb39762eca5fa2ef3f7bc97"),
    ("macos", "aarch64", "09953b6af7f64168b915180a42774f520f92d86ef6331b28e33915c7e1f0bb23"),
];

/// What a job reads of the wheel, by the beginnings of the names below `ziglang/`: the compiler, its own headers, the
/// kernel's, and the sources of musl and compiler-rt. The rest, most of 19,000 files, is for other systems.
const UNPACKED: [&str; 13] = [
    "LICENSE",
    "zig",
    "lib/include/",
    "lib/c.zig",
    "lib/c/",
    "lib/compiler_rt.zig",
    "lib/compiler_rt/",
    "lib/ubsan_rt.zig",
    "lib/std/",
    "lib/libc/musl/",
    "lib/libc/include/generic-musl/",
    "lib/libc/include/*-linux-any",
    "lib/libc/include/*-linux-musl",
];

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

/// What of all this the machine has.
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
            // Manifests and the like lie there, too.
            let crates = files::list(&rustlib.join(&name).join("lib")).unwrap_or_default();
            if crates.iter().any(|file| file.starts_with("libstd-")) {
                std.insert(name);
            }
        }
        Ok(Installed { std, rust_src: rust_src(rust).join("std/Cargo.toml").exists(), cached: cache.entries()? })
    }
}

/// What a plan wants to be there before it compiles anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Standard libraries wanted from rustup, by target.
    pub std: Vec<&'static str>,
    pub rust_src: bool,
    pub zig: bool,
    pub sysroots: Vec<Sysroot>,
}

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
            "1 {} {} {} {} {:?} {:?}",
            rust.commit,
            arch.triple,
            zig_identity(),
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

impl Needs {
    /// What of it the machine does not have.
    pub fn missing(&self, installed: &Installed) -> Result<Needs> {
        let sysroots: Vec<_> =
            self.sysroots.iter().filter(|sysroot| !installed.cached.contains(&sysroot.name)).cloned().collect();
        Ok(Needs {
            std: self.std.iter().copied().filter(|target| !installed.std.contains(*target)).collect(),
            // Both are wanted for making sysroots only (and zig for BPF objects too), not for using them.
            rust_src: !sysroots.is_empty() && !installed.rust_src,
            zig: (self.zig || !sysroots.is_empty()) && !installed.cached.contains(&zig_name()?),
            sysroots,
        })
    }

    /// What would have to come over the network, in words.
    pub fn downloads(&self) -> Vec<String> {
        let mut words: Vec<String> =
            self.std.iter().map(|target| format!("the standard library for {target} (from rustup)")).collect();
        if self.rust_src {
            words.push("the sources of the standard library (rust-src, from rustup)".into());
        }
        if self.zig {
            words.push(format!("the compiler ({ZIG}, through pip)"));
        }
        words
    }

    /// Gets all of it.
    pub fn get(&self, runner: Runner, facts: &Facts) -> Result<()> {
        if facts.offline && !self.downloads().is_empty() {
            bail!("--offline, but this is missing: {}; run once without --offline", self.downloads().join(", "));
        }
        if !self.std.is_empty() {
            rustup(runner, facts, "target", &self.std)?;
        }
        if self.rust_src {
            rustup(runner, facts, "component", &[RUST_SRC])?;
        }
        if self.zig {
            get_zig(runner, facts)?;
        }
        for sysroot in &self.sysroots {
            get_sysroot(runner, facts, sysroot)?;
        }
        Ok(())
    }
}

/// Where the sources of the standard library are, once rust-src is there.
fn rust_src(rust: &Rust) -> PathBuf {
    rust.sysroot.join("lib/rustlib/src/rust/library")
}

/// Every identity that the pinned compiler has, one for each host, for the BPF lock file and the manifest.
pub fn zig_identity() -> String {
    let hashes: Vec<String> = WHEELS.iter().map(|(_, _, hash)| format!("sha256:{hash}")).collect();
    format!("{ZIG} {}", hashes.join(" "))
}

/// The wheel for this host, by its hash.
fn wheel_hash() -> Result<&'static str> {
    use std::env::consts::{ARCH, OS};
    WHEELS
        .iter()
        .find(|(os, arch, _)| (*os, *arch) == (OS, ARCH))
        .map(|(_, _, hash)| *hash)
        .ok_or_else(|| anyhow!("no pinned compiler for this kind of machine ({OS} on {ARCH})"))
}

/// The name of the unpacked compiler in the cache.
pub fn zig_name() -> Result<String> {
    Ok(format!("{}-{}", ZIG.replace("==", "-"), &wheel_hash()?[..16]))
}

/// Asks rustup for something that belongs to the pinned toolchain: in the workspace, rustup's active toolchain is that one.
fn rustup(runner: Runner, facts: &Facts, kind: &str, what: &[&str]) -> Result<()> {
    // One at a time: two rustups at once trip over each other's downloads.
    let _lock = facts.cache.lock(runner, "rustup.lock")?;
    let words = what.join(", ");
    let sysroot = facts.rust.sysroot.display();
    runner.say(format!("fetching {words} with rustup, into {sysroot}"));
    runner
        .run(&Command::new("rustup", &facts.root).args([kind, "add"]).args(what.iter().copied()))
        .with_context(|| format!("cannot get {words} with rustup (see its message above, if it is there)"))?;
    let installed = Installed::find(&facts.rust, &facts.cache)?;
    if !what.iter().all(|thing| installed.std.contains(*thing) || (*thing == RUST_SRC && installed.rust_src)) {
        bail!("rustup got {words}, but not for the Rust in {sysroot}, which is in use: put rustup's first on PATH");
    }
    Ok(())
}

/// Downloads the pinned compiler and unpacks what is needed of it.
fn get_zig(runner: Runner, facts: &Facts) -> Result<()> {
    let expected = wheel_hash()?;
    let name = zig_name()?;
    facts.cache.get(runner, &name, |folder| {
        runner.say(format!("fetching {ZIG} (100 MB) with pip, into {}", facts.cache.path(&name).display()));
        let requirements = folder.join("requirements.txt");
        let hashes: String = WHEELS.iter().map(|(_, _, hash)| format!(" --hash=sha256:{hash}")).collect();
        files::write(&requirements, format!("{ZIG}{hashes}\n"))?;
        let download = folder.join("download");
        let pip = Command::new("python3", &facts.root)
            .args(["-m", "pip", "download", "--require-hashes", "--no-deps", "--only-binary=:all:"])
            .args(["--disable-pip-version-check", "--no-input", "--dest"])
            .arg(download.to_string_lossy())
            .arg("--requirement")
            .arg(requirements.to_string_lossy());
        runner.run(&pip).context(
            "cannot get the compiler with pip: see its message above; are python3, pip (Debian: apt install python3-pip) \
             and the network there?",
        )?;
        let wheel = files::list(&download)?.pop().context("pip downloaded nothing, yet reported success")?;
        let wheel = download.join(wheel);
        let actual = hash::file(&wheel)?;
        if actual != expected {
            bail!(
                "pip downloaded {} with sha256 {actual}, which is not the one pinned for this machine ({expected})",
                wheel.display()
            );
        }
        unpack(runner, &wheel, folder)?;
        fs::remove_file(&requirements)?;
        files::remove_folder(&download)
    })?;
    Ok(())
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

fn unpack(runner: Runner, wheel: &Path, folder: &Path) -> Result<()> {
    let cannot = || format!("cannot unpack {}", wheel.display());
    let mut archive = zip::ZipArchive::new(File::open(wheel).with_context(cannot)?).with_context(cannot)?;
    for index in 0..archive.len() {
        runner.check_interrupted()?;
        let mut file = archive.by_index(index).with_context(cannot)?;
        let Some(name) = file.name().with_context(cannot)?.strip_prefix("ziglang/").map(String::from) else {
            continue;
        };
        if !is_unpacked(&name) || file.is_dir() {
            continue;
        }
        if file.enclosed_name().is_none() {
            bail!("{} holds a file that would land outside: {name}", wheel.display());
        }
        let to = folder.join(&name);
        files::create_folder(to.parent().context("a file without a folder")?)?;
        (|| {
            let mut out = File::create(&to)?;
            io::copy(&mut file, &mut out)?;
            if name == "zig" {
                out.set_permissions(fs::Permissions::from_mode(0o755))?;
            }
            io::Result::Ok(())
        })()
        .with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// Builds the standard library and the C runtime for one architecture.
fn get_sysroot(runner: Runner, facts: &Facts, sysroot: &Sysroot) -> Result<()> {
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
        files::copy(&facts.cache.path(&zig_name()?).join("LICENSE"), &folder.join(RUNTIME_LICENSE))?;
        files::remove_folder(&work)
    })?;
    Ok(())
}

/// Has zig link an empty program, and keeps what it linked it with.
fn c_runtime(runner: Runner, facts: &Facts, arch: &Arch, work: &Path, to: &Path) -> Result<()> {
    files::write(&work.join("empty.c"), "int main(void) { return 0; }\n")?;
    let cache = |name: &str| work.join(name).to_string_lossy().into_owned();
    let zig = Command::new(facts.cache.path(&zig_name()?).join("zig"), work)
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
        remap(home.join("registry/src"), "/cargo"),
        remap(facts.rust.sysroot.join("lib/rustlib/src/rust"), &format!("/rustc/{}", facts.rust.commit)),
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
