//! What `boot` will do, as data: decided from the facts alone.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::arch::{ARCHES, Arch, Machine, Std};
use crate::boot::facts::{GUEST_CRATE, GuestCrate, Host};
use crate::boot::kernels;
use crate::boot::kernels::debian;
use crate::boot::kernels::from_source;
use crate::boot::kernels::{Btf, KERNELS, Kernel, Source};
use crate::boot::machines::{self, Load};
use crate::build::plan;
use crate::build::plan::{Build, Target};
use crate::release::boot_report::REPORT;
use crate::release::manifest::{Artifact, Manifest};
use crate::sys::command::Command;
use crate::sys::step::Step;
use crate::ui::suggest;
use crate::workspace::facts::Facts;
use crate::{bad_request, toolchain};

/// The package that is written for the first process of a guest, and its binary.
pub const GUEST: &str = "guest";

/// Everything that one run does, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What building the first process needs.
    pub get: toolchain::Plan,
    /// What writes its package.
    pub package: Vec<Step>,
    pub build: Build,
    pub kernels: Vec<Chosen>,
    pub boots: Vec<Boot>,
}

/// A kernel to boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chosen {
    pub arch: &'static Arch,
    /// Its label, or the name of the user's file.
    pub label: String,
    pub machine: &'static Machine,
    pub btf: Btf,
    pub get: Get,
    /// Its name in the cache, if it is one of the table's.
    pub entry: Option<String>,
    /// Where it will be.
    pub image: PathBuf,
    pub device_tree: Option<PathBuf>,
}

/// How a kernel is got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Get {
    /// It is in the cache, or will be: another one of the plan is the same.
    Nothing,
    Debian(Box<debian::Plan>),
    Built(Box<from_source::Plan>),
    /// It is a file of the user's, and only checked, and unpacked if it is packed.
    File(PathBuf),
}

/// One boot of one binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Boot {
    /// Which of the plan's kernels it is.
    pub kernel: usize,
    /// The tarball that has the binary.
    pub file: String,
    pub initramfs: PathBuf,
    pub command: Command,
}

/// A kernel as the user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Label(String),
    File(PathBuf),
}

/// Which of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    Defaults,
    All,
    These(Vec<Wanted>),
}

/// Decides what is booted.
pub fn boot(
    facts: &Facts,
    host: &Host,
    manifest: &Manifest,
    arches: &[&'static Arch],
    which: &Selection,
) -> Result<Plan> {
    let artifacts = artifacts(manifest, arches)?;
    let mut kernels = Vec::new();
    let mut boots = Vec::new();
    let mut targets: Vec<Target> = Vec::new();
    for (arch, artifact) in &artifacts {
        let chosen = choose(facts, host, arch, which, artifacts.len())?;
        if chosen.is_empty() {
            continue;
        }
        let std = if artifact.std == Std::Prebuilt.name() { Std::Prebuilt } else { Std::Source };
        targets.push((arch, std));
        for mut kernel in chosen {
            if kernel.entry.is_some() && kernels.iter().any(|other: &Chosen| other.entry == kernel.entry) {
                kernel.get = Get::Nothing;
            }
            boots.push(one(facts, host, artifact, &kernel, kernels.len()));
            kernels.push(kernel);
        }
    }
    let labels: Vec<&str> = kernels.iter().map(|kernel| kernel.label.as_str()).collect();
    if let Selection::These(wanted) = which {
        let here = |word: &str| labels.contains(&word);
        for word in wanted.iter().filter_map(|wanted| if let Wanted::Label(word) = wanted { Some(word) } else { None })
        {
            if !here(word) {
                refuse(word, &artifacts)?;
            }
        }
    }
    let Some(guest_crate) = &host.guest_crate else {
        bail!(
            "the workspace {} has no crate {GUEST_CRATE}, the first process of each guest: make {} a dependency of one \
             of its members",
            facts.root.display(),
            crate::NAME
        );
    };
    let folder = facts.work.join(GUEST);
    let (get, build) = plan::helper(facts, &folder.join("Cargo.toml"), GUEST, &targets)?;
    Ok(Plan { get, package: guest_package(facts, guest_crate, &folder, &targets), build, kernels, boots })
}

/// Writes the package of the first process: cargo builds no binary of a dependency, and this one calls the crate's `main`.
/// Its dependencies are those of the workspace's Cargo.lock, which cargo reduces to what it needs.
fn guest_package(facts: &Facts, guest_crate: &GuestCrate, folder: &Path, targets: &[Target]) -> Vec<Step> {
    let manifest = folder.join("Cargo.toml");
    let path = toml::Value::String(guest_crate.folder.to_string_lossy().into_owned());
    let fetch = Command::new(facts.rust.cargo(), &facts.root)
        .env("RUSTC", facts.rust.rustc().to_string_lossy())
        .env("CARGO_HOME", facts.cargo_home.to_string_lossy())
        .args(["fetch", "--quiet", "--manifest-path"])
        .arg(manifest.to_string_lossy())
        .args(facts.offline.then_some("--offline"))
        .args(targets.iter().flat_map(|(arch, _)| ["--target", arch.triple]));
    let package = format!("[package]\nname = \"{GUEST}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n");
    vec![
        Step::Write {
            text: format!("{package}\n[dependencies]\n{GUEST_CRATE} = {{ path = {path} }}\n\n[workspace]\n"),
            file: manifest,
        },
        Step::Write { file: folder.join("src/main.rs"), text: "fn main() {\n    bpfship_guest::main()\n}\n".into() },
        Step::Copy {
            from: facts.root.join("Cargo.lock"),
            to: folder.join("Cargo.lock"),
            sha256: guest_crate.lock_sha256.clone(),
        },
        Step::Run(fetch),
    ]
}

/// Says why nothing is booted on a kernel that was asked for.
fn refuse(word: &str, artifacts: &[(&'static Arch, &Artifact)]) -> Result<()> {
    if KERNELS.iter().any(|kernel| kernel.label == word) {
        let arches: Vec<_> = artifacts.iter().map(|(arch, _)| arch.name).collect();
        bad_request!("--kernel: there is no `{word}` for {}; `cargo xtask boot --list` has all", arches.join(", "));
    }
    let hint = suggest::hint(word, KERNELS.iter().map(|kernel| kernel.label));
    bad_request!("--kernel: `{word}` is neither a file nor a kernel of `cargo xtask boot --list`{hint}")
}

/// The tarballs to boot, in the order of architectures.
fn artifacts<'a>(manifest: &'a Manifest, wanted: &[&'static Arch]) -> Result<Vec<(&'static Arch, &'a Artifact)>> {
    let mut found = Vec::new();
    for arch in &ARCHES {
        if !wanted.is_empty() && !wanted.contains(&arch) {
            continue;
        }
        match manifest.artifacts.iter().find(|artifact| artifact.arch == arch.name) {
            Some(artifact) => found.push((arch, artifact)),
            None if wanted.is_empty() => {}
            None => bad_request!("dist/ has no tarball for {arch}: run `cargo xtask dist --arch {arch}`"),
        }
    }
    if found.is_empty() {
        bad_request!("dist/ has no tarball: run `cargo xtask dist`");
    }
    Ok(found)
}

fn choose(facts: &Facts, host: &Host, arch: &'static Arch, which: &Selection, arches: usize) -> Result<Vec<Chosen>> {
    let mut chosen = Vec::new();
    match which {
        Selection::Defaults => chosen.push(from_table(facts, host, arch, kernels::default_of(arch))?),
        Selection::All => {
            for kernel in kernels::of(arch) {
                chosen.push(from_table(facts, host, arch, kernel)?);
            }
        }
        Selection::These(wanted) => {
            for wanted in wanted {
                match wanted {
                    Wanted::Label(label) => {
                        for kernel in kernels::of(arch).filter(|kernel| kernel.label == label) {
                            chosen.push(from_table(facts, host, arch, kernel)?);
                        }
                    }
                    Wanted::File(file) if arches > 1 => {
                        bad_request!("--kernel {}: say with --arch what it is a kernel for", file.display())
                    }
                    Wanted::File(file) => chosen.push(from_file(facts, arch, file, chosen.len())),
                }
            }
        }
    }
    Ok(chosen)
}

fn from_table(facts: &Facts, host: &Host, arch: &'static Arch, kernel: &'static Kernel) -> Result<Chosen> {
    let entry = kernel.entry();
    let folder = facts.cache.path(&entry);
    let device_tree = match &kernel.source {
        Source::Debian(package) => package.device_tree.map(|_| folder.join(debian::DEVICE_TREE)),
        Source::Built(_) => None,
    };
    let get = match facts.installed.cached.contains(&entry) {
        true => Get::Nothing,
        false => get(facts, host, arch, kernel, &entry)?,
    };
    Ok(Chosen {
        arch,
        label: kernel.label.into(),
        machine: kernel.machine,
        btf: kernel.btf,
        get,
        image: folder.join(debian::IMAGE),
        entry: Some(entry),
        device_tree,
    })
}

/// How a kernel gets into the cache.
fn get(facts: &Facts, host: &Host, arch: &'static Arch, kernel: &'static Kernel, entry: &str) -> Result<Get> {
    if facts.offline {
        bail!(
            "--offline, but the kernel {} for {arch} is not in the cache: run this once without --offline, or boot one \
             of your own with --kernel FILE",
            kernel.label
        );
    }
    let mirror = match &host.mirror {
        Ok(mirror) => mirror,
        Err(reason) => bail!(
            "the kernel {} for {arch} comes from Debian's packages, and {reason}; or boot one of your own with \
             --kernel FILE",
            kernel.label
        ),
    };
    match &kernel.source {
        Source::Debian(package) => {
            Ok(Get::Debian(Box::new(debian::plan(&facts.cache, mirror, arch, kernel.label, *package, entry.into()))))
        }
        Source::Built(own) => {
            Ok(Get::Built(Box::new(from_source::plan(&facts.cache, &facts.passed_on, mirror, kernel, own)?)))
        }
    }
}

fn from_file(facts: &Facts, arch: &'static Arch, file: &Path, number: usize) -> Chosen {
    let label = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    Chosen {
        arch,
        label,
        machine: &arch.machine,
        // Whether it carries any is for it to show.
        btf: Btf::Yes,
        get: Get::File(file.into()),
        entry: None,
        image: facts.work.join(format!("boot/{arch}-file-{number}/kernel")),
        device_tree: None,
    }
}

fn one(facts: &Facts, host: &Host, artifact: &Artifact, kernel: &Chosen, number: usize) -> Boot {
    let arch = kernel.arch;
    let folder = facts.work.join("boot").join(format!("{arch}-{number}"));
    let initramfs = folder.join("initramfs.gz");
    let load = Load { kernel: &kernel.image, initramfs: &initramfs, device_tree: kernel.device_tree.as_deref() };
    let program = host.emulators.get(arch.name).cloned().unwrap_or_else(|| arch.emulator().into());
    let command = Command::new(program, Path::new("/")).only(facts.passed_on.clone()).args(machines::arguments(
        kernel.machine,
        arch,
        load,
    ));
    Boot { kernel: number, file: artifact.file.clone(), initramfs, command }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get.fmt(f)?;
        writeln!(f, "# build the first process of each guest")?;
        for step in self.package.iter().chain(&self.build.home) {
            writeln!(f, "{step}")?;
        }
        writeln!(f, "{}", self.build.command)?;
        for kernel in &self.kernels {
            match &kernel.get {
                Get::Nothing => {}
                Get::Debian(plan) => plan.fmt(f)?,
                Get::Built(plan) => plan.fmt(f)?,
                Get::File(file) => {
                    writeln!(f, "# check {}, and put it, unpacked, to {}", file.display(), kernel.image.display())?;
                }
            }
        }
        for boot in &self.boots {
            let kernel = &self.kernels[boot.kernel];
            writeln!(f, "# boot {} on {}", boot.file, kernel.label)?;
            writeln!(f, "# make {} of the first process, the binary and what to run", boot.initramfs.display())?;
            writeln!(f, "{}", boot.command)?;
        }
        writeln!(f, "# write dist/{}", REPORT)
    }
}
