//! What `boot` will do, as data: decided from the facts alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};

use crate::boot::facts::{GUEST_CRATE, GuestCrate, Host};
use crate::boot::kernels::{self, Btf, Kernel, Source, debian, from_source};
use crate::boot::machines::{self, Load};
use crate::boot::memory::Memory;
use crate::boot::run::{
    BootGuest, Booted, BuildFirstProcess, Built, CheckKernels, Outcome, PrepareImage, TakeBinary, WriteReport,
};
use crate::boot::select::{Guest, Origin};
use crate::build::plan::{self, Target};
use crate::release::boot_report;
use crate::release::manifest::Manifest;
use crate::sys::command::{Command, word};
use crate::sys::plan::{Slot, Step, Steps, Task};
use crate::sys::steps::{Copy, Run, Write};
use crate::workspace::config;
use crate::workspace::facts::Facts;

/// The package that is written for the first process of a guest, and its binary.
pub const GUEST: &str = "guest";

/// Where the first process moves BTF that it hides.
const BTF_FILE: &str = "/tmp/vmlinux.btf";

/// Everything that one run does, and where its results are afterwards.
#[derive(Debug)]
pub struct Plan {
    pub tasks: Vec<Task>,
    /// In the order of the guests.
    pub outcomes: Vec<Slot<Outcome>>,
    /// What is added to the report.
    pub added: Slot<Vec<boot_report::Boot>>,
}

/// Plans to boot these guests, whose archives are in dist/.
pub fn plan(facts: &Facts, host: &Host, manifest: &Manifest, guests: &[Guest]) -> Result<Plan> {
    let dist = facts.root.join("dist");
    let mut tasks = Vec::new();
    let kernels = kernels(facts, host, guests)?;
    let binaries: BTreeMap<&str, Slot<Vec<u8>>> =
        guests.iter().map(|guest| (guest.artifact.file.as_str(), Slot::default())).collect();
    let taken = manifest.artifacts.iter().filter_map(|artifact| {
        let binary = binaries.get(artifact.file.as_str())?.clone();
        Some(Box::new(TakeBinary { dist: dist.clone(), artifact: artifact.clone(), binary }) as Box<dyn Step>)
    });
    tasks.push(Task::new("taking the binaries out of the archives", taken.collect()));
    let (build, built) = first_process(facts, host, guests)?;
    tasks.extend(build);
    tasks.extend(kernels);

    let memory = Arc::new(Memory::new(host.memory));
    let mut booted = Vec::new();
    for (number, guest) in guests.iter().enumerate() {
        let arch = guest.arch;
        let emulator = host.emulator(arch)?;
        let folder = folder(facts, guest, number);
        let KernelFiles { image, device_tree } = kernel_files(facts, guest, &folder);
        let initramfs = folder.join("initramfs.gz");
        let load = Load { kernel: &image, initramfs: &initramfs, device_tree: device_tree.as_deref() };
        let arguments = arguments(&facts.config.boot, guest.btf);
        let commands: Vec<String> = arguments.iter().map(|words| command_line(&facts.config.bin, words)).collect();
        let outcome = Slot::default();
        let qemu = Command::new(&emulator.program, Path::new("/"))
            .only(facts.passed_on.clone())
            .args(machines::arguments(guest.machine, arch, load));
        let boot = BootGuest {
            guest: guest.clone(),
            bin: facts.config.bin.clone(),
            arguments,
            commands: commands.clone(),
            hide_btf: (guest.btf == Btf::Hidden).then(|| BTF_FILE.into()),
            timeout: facts.config.boot.timeout,
            initramfs,
            qemu,
            memory: memory.clone(),
            built: built.clone(),
            binary: binaries[guest.artifact.file.as_str()].clone(),
            outcome: outcome.clone(),
        };
        let title = format!("booting {} on {}", guest.artifact.file, guest.label);
        tasks.push(Task::new(title, vec![Box::new(boot)]).live(arch.name).beside("guests"));
        let qemu_version = emulator.version.clone();
        booted.push(Booted { guest: guest.clone(), commands, image, qemu_version, outcome });
    }
    let outcomes = booted.iter().map(|booted| booted.outcome.clone()).collect();
    let added = Slot::default();
    let archives = manifest.artifacts.iter().map(|artifact| artifact.sha256.clone()).collect();
    let report = WriteReport { dist, archives, boots: booted, added: added.clone() };
    tasks.push(Task::new("writing the report", vec![Box::new(report)]));
    Ok(Plan { tasks, outcomes, added })
}

/// Plans to build the first process for the targets of the guests.
fn first_process(facts: &Facts, host: &Host, guests: &[Guest]) -> Result<(Vec<Task>, Slot<Built>)> {
    let Some(guest_crate) = &host.guest_crate else {
        bail!(
            "the workspace {} has no crate {GUEST_CRATE}, the first process of each guest: make {} a dependency of one \
             of its members",
            facts.root.display(),
            crate::NAME
        );
    };
    let mut targets: Vec<Target> = Vec::new();
    for guest in guests {
        if targets.iter().all(|(arch, _)| *arch != guest.arch) {
            targets.push((guest.arch, guest.route()));
        }
    }
    let folder = facts.work.join(GUEST);
    let mut tasks = vec![Task::new(
        "writing the package of the guests' first process",
        package(facts, guest_crate, &folder, &targets),
    )];
    let (get, build) = plan::helper(facts, &folder.join("Cargo.toml"), GUEST, &targets)?;
    let arches = targets.iter().map(|(arch, _)| *arch).collect();
    let built = Slot::default();
    let step = BuildFirstProcess { facts: facts.clone(), get, build, arches, built: built.clone() };
    tasks.push(Task::new("building the guests' first process", vec![Box::new(step)]));
    Ok((tasks, built))
}

/// Writes the package of the first process: cargo builds no binary of a dependency, and this one calls the crate's `main`.
/// The versions of its dependencies are those of the workspace's Cargo.lock, which cargo reduces to what it needs.
fn package(facts: &Facts, guest_crate: &GuestCrate, folder: &Path, targets: &[Target]) -> Steps {
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
        Box::new(Write {
            text: format!("{package}\n[dependencies]\n{GUEST_CRATE} = {{ path = {path} }}\n\n[workspace]\n"),
            file: manifest,
        }),
        Box::new(Write {
            file: folder.join("src/main.rs"),
            text: "fn main() {\n    bpfship_guest::main()\n}\n".into(),
        }),
        Box::new(Copy {
            from: facts.root.join("Cargo.lock"),
            to: folder.join("Cargo.lock"),
            sha256: guest_crate.lock_sha256.clone(),
        }),
        Box::new(Run(fetch)),
    ]
}

/// Plans to have the kernels where [`kernel_files`] says, and to keep them there.
fn kernels(facts: &Facts, host: &Host, guests: &[Guest]) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    let mut entries = BTreeSet::new();
    for (number, guest) in guests.iter().enumerate() {
        match &guest.origin {
            Origin::Table(kernel) => {
                let entry = kernel.entry();
                let is_cached = facts.installed.cached.contains(&entry);
                if entries.insert(entry) && !is_cached {
                    tasks.push(fetch(facts, host, kernel)?.beside("kernels").failure("cannot get the kernels"));
                }
            }
            Origin::File(file) => {
                let to = kernel_files(facts, guest, &folder(facts, guest, number)).image;
                let step = PrepareImage { from: file.clone(), arch: guest.arch, to };
                tasks.push(
                    Task::new(format!("preparing the kernel {}", guest.label), vec![Box::new(step)]).beside("kernels"),
                );
            }
        }
    }
    if !entries.is_empty() {
        let check = CheckKernels { cache: facts.cache.clone(), entries, held: Slot::default() };
        tasks.push(Task::new("checking the kernels in the cache", vec![Box::new(check)]));
    }
    Ok(tasks)
}

/// Plans to get a kernel into the cache.
fn fetch(facts: &Facts, host: &Host, kernel: &Kernel) -> Result<Task> {
    let Kernel { arch, label, .. } = kernel;
    if facts.offline {
        bail!(
            "--offline, but the kernel {label} for {arch} is not in the cache: run this once without --offline, or boot \
             one of your own with --kernel FILE"
        );
    }
    let mirror = match &host.mirror {
        Some(Ok(mirror)) => mirror,
        Some(Err(reason)) => bail!(
            "the kernel {label} for {arch} comes from Debian's packages, and {reason}; or boot one of your own with \
             --kernel FILE"
        ),
        None => bail!("no mirror was looked for"),
    };
    match &kernel.source {
        Source::Debian(package) => debian::fetch(&facts.cache, mirror, kernel, package),
        Source::Built(own) => {
            let tools = match &host.build_tools {
                Some(Ok(tools)) => tools,
                Some(Err(reason)) => bail!("the kernel {label} for {arch} must be built, and {reason}"),
                None => bail!("no build tools were looked for"),
            };
            from_source::build(&facts.cache, &facts.passed_on, mirror, tools, kernel, own)
        }
    }
}

/// Where what belongs to a guest alone lies.
fn folder(facts: &Facts, guest: &Guest, number: usize) -> PathBuf {
    facts.work.join("boot").join(format!("{}-{number}", guest.arch))
}

/// What QEMU is given of a kernel.
struct KernelFiles {
    image: PathBuf,
    device_tree: Option<PathBuf>,
}

fn kernel_files(facts: &Facts, guest: &Guest, folder: &Path) -> KernelFiles {
    match &guest.origin {
        Origin::File(_) => KernelFiles { image: folder.join("kernel"), device_tree: None },
        Origin::Table(kernel) => {
            let entry = facts.cache.path(&kernel.entry());
            let device_tree = match &kernel.source {
                Source::Debian(package) => package.device_tree.map(|_| entry.join(kernels::DEVICE_TREE)),
                Source::Built(_) => None,
            };
            KernelFiles { image: entry.join(kernels::IMAGE), device_tree }
        }
    }
}

/// What the binary is given in a guest, one command after the other.
fn arguments(wanted: &config::Boot, btf: Btf) -> Vec<Vec<String>> {
    let mut commands = wanted.commands.clone();
    if btf == Btf::Hidden {
        let with_file = |words: &Vec<String>| words.iter().map(|word| word.replace(config::BTF, BTF_FILE)).collect();
        commands.extend(wanted.btf_commands.iter().map(with_file));
    }
    commands
}

/// A command as a user would type it.
fn command_line(bin: &str, arguments: &[String]) -> String {
    let words = std::iter::once(bin).chain(arguments.iter().map(String::as_str));
    words.map(word).collect::<Vec<_>>().join(" ")
}
