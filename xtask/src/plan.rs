//! What `dist` will do, as data: decided before anything is done, and from the facts alone.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::arch::{Arch, Std};
use crate::bad_request;
use crate::bpf;
use crate::cargo_home;
use crate::command::Command;
use crate::facts::{Facts, Source};
use crate::flags;
use crate::sysroot::Sysroot;
use crate::toolchain::Needs;

/// Everything that one run of `dist` does, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is missing and will be got.
    pub missing: Needs,
    /// The BPF objects to compile again, and why; none if they are up to date.
    pub stale: Option<(String, bpf::Plan)>,
    pub build: Build,
    pub products: Vec<Product>,
    /// The commit, which is dirty if the objects in it are not up to date.
    pub source: Source,
    /// Where the artifacts go.
    pub dist: PathBuf,
}

/// One cargo build for all targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The CARGO_HOME made for it, and the configuration in there.
    pub home: PathBuf,
    pub config: String,
    /// cargo's target folder.
    pub target: PathBuf,
    pub command: Command,
}

/// One architecture's binary and the archive it goes into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    pub arch: &'static Arch,
    pub std: Std,
    /// `NAME-VERSION-TRIPLE`: the folder in the archive, and the archive's own name before `.tar.gz`.
    pub stem: String,
}

/// Decides everything.
pub fn dist(facts: &Facts, mut source: Source, request: &flags::Dist) -> Result<Plan> {
    let config = &facts.config;
    let mut arches = request.arches.clone();
    if arches.is_empty() {
        arches.clone_from(&config.arches);
    }
    let mut seen = BTreeSet::new();
    arches.retain(|arch| seen.insert(arch.name));

    let mut products = Vec::new();
    let mut needs = Needs::default();
    let mut rustflags = Vec::new();
    for arch in arches {
        let std = request.std.unwrap_or(arch.std);
        let mut flags = common_rustflags(facts);
        match std {
            Std::Prebuilt if !arch.in_rustup => {
                bad_request!("--std prebuilt: Rust provides no standard library for {arch}; leave --std out")
            }
            Std::Prebuilt => needs.std.push(arch.triple),
            Std::Source => {
                let sysroot = Sysroot::new(arch, &facts.rust);
                flags.extend(sysroot.rustflags(&facts.cache));
                needs.sysroots.push(sysroot);
            }
        }
        rustflags.push((arch.triple, flags));
        let stem = format!("{}-{}-{}", config.package, config.version, arch.triple);
        products.push(Product { arch, std, stem });
    }

    let mut stale = None;
    if let Some(reason) = facts.bpf.stale(&config.bpf) {
        if request.locked {
            bail!(
                "--locked, but the BPF objects are not up to date: {reason}; run `cargo xtask bpf` and commit its result"
            );
        }
        needs.zig = true;
        source.dirty = source.commit.is_some();
        stale = Some((reason, bpf::plan(&facts.bpf, &config.bpf, &facts.root, &facts.work, &facts.cache)?));
    }

    Ok(Plan {
        missing: needs.missing(&facts.installed, facts.offline)?,
        stale,
        build: build(facts, &source, &products, rustflags),
        products,
        source,
        dist: facts.root.join("dist"),
    })
}

fn build(facts: &Facts, source: &Source, products: &[Product], rustflags: Vec<(&'static str, Vec<String>)>) -> Build {
    let home = home(facts);
    let target = target(facts);
    let mut environment = facts.build_environment(&home);
    environment.insert("SOURCE_DATE_EPOCH".into(), source.date.to_string());
    environment.extend(source.describe().map(|commit| ("DIST_COMMIT".into(), commit)));
    // In `/`, cargo finds no configuration but that of its home. The standard library from source consists of bitcode
    // alone and aborts on panic, hence these of the profile; the rest of the profile is the workspace's own.
    let command = Command::new(facts.rust.cargo(), "/".as_ref())
        .only(environment)
        .args(["build", "--release", "--locked", "--offline", "--keep-going"])
        .args(["--message-format=json-render-diagnostics"])
        .args(["--config=profile.release.lto='fat'", "--config=profile.release.panic='abort'"])
        .args(["--config=profile.release.strip=true", "--config=profile.release.debug=false"])
        .args(["--config=profile.release.incremental=false"])
        .arg("--manifest-path")
        .arg(facts.root.join("Cargo.toml").to_string_lossy())
        .arg("--target-dir")
        .arg(target.to_string_lossy())
        .args(["--package", &facts.config.package, "--bin", &facts.config.bin])
        .args(products.iter().flat_map(|product| ["--target", product.arch.triple]));
    Build { config: cargo_home::with_rustflags(&facts.network_config, rustflags), home, target, command }
}

fn home(facts: &Facts) -> PathBuf {
    facts.work.join("cargo-home")
}

fn target(facts: &Facts) -> PathBuf {
    facts.work.join("build")
}

/// What rustc is told for every target: static, at a fixed address (mips crashes as static-pie, and one form is enough),
/// and with no path of this machine in the result.
fn common_rustflags(facts: &Facts) -> Vec<String> {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_string(), "-Crelocation-model=static".into()];
    let mut remap = |from: PathBuf, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    // The last one that fits wins, so what lies inside another comes after it.
    remap(facts.root.clone(), "/workspace");
    remap(target(facts), "/target");
    for cargo_home in [&facts.cargo_home, &home(facts)] {
        remap(cargo_home.join("git/checkouts"), "/git");
        for index in indexes(facts) {
            remap(cargo_home.join("registry/src").join(index), "/cargo");
        }
    }
    remap(facts.rust.sources(), &format!("/rustc/{}", facts.rust.commit));
    flags
}

/// The folders of unpacked crates, one for each index; their names hold a hash of its address, which may be a mirror's.
fn indexes(facts: &Facts) -> BTreeSet<String> {
    let sources = facts.cargo_home.join("registry/src");
    facts
        .packages
        .iter()
        .filter_map(|package| package.folder.strip_prefix(&sources).ok()?.components().next())
        .map(|index| index.as_os_str().to_string_lossy().into_owned())
        .collect()
}
