//! A standard library from rust-src, above a C runtime from zig, for targets that rustup has none for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use serde::Serialize;

use crate::arch::Arch;
use crate::build::run as cargo_build;
use crate::build::run::Lines;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::hash;
use crate::sys::process::Runner;
use crate::sys::step::Step;
use crate::toolchain::zig;
use crate::ui::error::Failed;
use crate::ui::remedies;
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
const RUNTIME: [&str; 5] = ["crt1.o", "libc.a", "libzigc.a", "libcompiler_rt.a", "libunwind.a"];

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
        Sysroot { arch, name: format!("{PREFIX}{}-{}", arch.triple, &hash::bytes(recipe.as_bytes())[..16]) }
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

/// How a sysroot is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub sysroot: Sysroot,
    /// The C program, and the command that links it: it tells with what.
    pub runtime: Vec<Step>,
    pub link: Command,
    /// What `build` needs.
    pub std: Vec<Step>,
    /// What leaves the crates of the standard library in `target`.
    pub build: Command,
    pub target: PathBuf,
    /// The licences of the C runtime and of the unwinder.
    pub license: PathBuf,
    pub unwinder_license: PathBuf,
}

pub fn plan(facts: &Facts, sysroot: &Sysroot) -> Result<Plan> {
    let arch = sysroot.arch;
    let work = facts.cache.partial(&sysroot.name).join("work");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let compiler = facts.cache.path(&zig::name()?);
    let link = Command::new(compiler.join("zig"), &work)
        .only(BTreeMap::new())
        .env("ZIG_LOCAL_CACHE_DIR", text(&work.join("zig-local")))
        .env("ZIG_GLOBAL_CACHE_DIR", text(&work.join("zig-global")))
        .args(["cc", "-target", arch.zig_target])
        .args(arch.zig_cpu.map(|cpu| format!("-mcpu={cpu}")))
        .args(RUNTIME_FLAGS);
    let target = work.join("target");
    let (std, build) = standard_library(facts, arch, &work, &target);
    Ok(Plan {
        sysroot: sysroot.clone(),
        runtime: vec![write(work.join("empty.c"), "int main(void) { return 0; }\n")],
        link,
        std,
        build,
        target,
        license: compiler.join("LICENSE"),
        unwinder_license: compiler.join("lib/libunwind/LICENSE.TXT"),
    })
}

/// Builds an empty crate with cargo's build-std.
fn standard_library(facts: &Facts, arch: &Arch, work: &Path, target: &Path) -> (Vec<Step>, Command) {
    let krate = work.join("crate");
    let manifest = krate.join("Cargo.toml");
    let home = work.join("cargo-home");
    let mut steps = vec![
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
        steps.push(Step::Run(fetch));
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
        .args(cargo_build::FLAGS)
        .args(["--offline", "--target", arch.triple, "--manifest-path", &manifest, "--target-dir"])
        .arg(target.to_string_lossy());
    (steps, build)
}

fn write(file: PathBuf, text: &str) -> Step {
    Step::Write { file, text: text.into() }
}

/// Makes the C runtime and the standard library for one architecture.
pub fn get(runner: Runner, cache: &Cache, plan: &Plan, lines: &Lines) -> Result<()> {
    let Sysroot { arch, name } = &plan.sysroot;
    let tell = |text: &str| {
        if let Some(line) = lines.get(arch.triple) {
            line.set(text);
        }
    };
    tell("waits for its standard library");
    cache.get(runner, name, |folder| {
        runner.status(format!("building the standard library for {arch}, once, into {}", cache.path(name).display()));
        tell("C runtime of its standard library");
        cache.check(runner, &zig::name()?, |_| true)?;
        let lib = plan.sysroot.lib(folder);
        runner.perform(&plan.runtime)?;
        keep_runtime(runner, &plan.link, &lib.join("self-contained"))
            .with_context(|| format!("cannot build the C runtime for {arch}"))?;
        let cannot = || format!("cannot build the standard library for {arch}");
        tell("crates of its standard library");
        runner.perform(&plan.std).with_context(cannot)?;
        let (status, messages) = cargo_build::run(runner, &plan.build, &plan.target, lines, |_, _| {})?;
        if !status.success() {
            return Err(Error::new(Failed::shown(remedies::BUILD, status, messages.errors())).context(cannot()));
        }
        tell("waits for the others");
        let built = plan.target.join(arch.triple).join("release/deps");
        let crates = files::list(&built)?;
        for name in crates.iter().filter(|name| name.ends_with(".rlib") && !name.starts_with("libempty-")) {
            files::copy(&built.join(name), &lib.join(name))?;
        }
        files::copy(&plan.license, &folder.join(RUNTIME_LICENSE))?;
        files::copy(&plan.unwinder_license, &folder.join(UNWINDER_LICENSE))?;
        files::remove_folder(&folder.join("work"))
    })?;
    Ok(())
}

/// Has zig link an empty program, and keeps what it linked it with.
fn keep_runtime(runner: Runner, link: &Command, to: &Path) -> Result<()> {
    let output = runner.output(link)?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        // Among all that it does; or nothing, if it was killed.
        let errors: Vec<&str> = log.lines().filter(|line| line.contains("error: ")).collect();
        return Err(Failed::of("zig", output.status, errors.join("\n")).into());
    }
    let line = log.lines().rfind(|line| line.contains("ld.lld")).context("zig did not say how it links")?;
    for name in RUNTIME {
        let from = line
            .split_whitespace()
            .find(|word| Path::new(word).file_name().is_some_and(|file| file == name))
            .with_context(|| format!("zig links without {name}"))?;
        let mut file = files::read(&link.folder.join(from))?;
        drop_cache_keys(&mut file);
        files::write(&to.join(name), file)?;
    }
    Ok(())
}

/// The long names in an archive of zig's are those of files in its cache (`zig-global/o/KEY/name.o`), where keys depend on
/// the folder that it lies in. Nothing but a linker's messages has use for them.
fn drop_cache_keys(archive: &mut [u8]) {
    const MAGIC: &[u8] = b"!<arch>\n";
    const HEADER: usize = 60;
    if !archive.starts_with(MAGIC) {
        return;
    }
    let is_key = |part: &&mut [u8]| part.len() == 32 && part.iter().all(u8::is_ascii_hexdigit);
    let mut at = MAGIC.len();
    while let Some(header) = archive.get(at..at + HEADER) {
        let size = str::from_utf8(&header[48..58]).ok().and_then(|size| size.trim().parse::<usize>().ok());
        let Some(end) = size.map(|size| at + HEADER + size) else { return };
        if header.starts_with(b"// ") {
            let names = archive.get_mut(at + HEADER..end).unwrap_or_default();
            names.split_mut(|byte| *byte == b'/').filter(is_key).for_each(|key| key.fill(b'0'));
            return;
        }
        // Members begin at even places.
        at = end.next_multiple_of(2);
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    /// An archive with a table of symbols of odd size, and one member, whose long name holds this key.
    fn archive(key: char) -> Vec<u8> {
        let member = |name: &str, content: &str| {
            let size = content.len();
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n{content}{}", 0, 0, 0, 644, ["", "\n"][size % 2])
        };
        let key = key.to_string().repeat(32);
        let names = member("//", &format!("zig-global/o/{key}/a.o/\n"));
        format!("!<arch>\n{}{names}{}", member("/", "odd"), member("/0", "the object")).into_bytes()
    }

    #[test]
    fn keys_of_the_compilers_cache_are_dropped_from_an_archive_and_nothing_else() {
        for key in ['a', '7'] {
            let mut with_key = archive(key);
            drop_cache_keys(&mut with_key);
            assert_eq!(String::from_utf8(with_key), String::from_utf8(archive('0')));
        }
        // An object is no archive.
        let mut object = archive('a');
        object[..4].copy_from_slice(b"\x7fELF");
        let before = object.clone();
        drop_cache_keys(&mut object);
        assert_eq!(object, before);
    }

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
