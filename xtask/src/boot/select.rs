//! Which binaries are booted on which kernels: decided from flags, dist/ and the table of kernels.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::arch::{ARCHES, Arch, Machine, Std};
use crate::bad_request;
use crate::boot::kernels::{self, Btf, KERNELS, Kernel};
use crate::release::manifest::{Artifact, Manifest};
use crate::ui::suggest;

/// A kernel as the user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelArg {
    Label(String),
    File(PathBuf),
}

/// Which kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    Defaults,
    All,
    Named(Vec<KernelArg>),
}

/// One binary that is booted on one kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Guest {
    /// The archive that has the binary.
    pub artifact: Artifact,
    pub arch: &'static Arch,
    /// The kernel's label, or the name of the user's file.
    pub label: String,
    pub machine: &'static Machine,
    pub btf: Btf,
    pub origin: Origin,
}

/// Where a kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Table(&'static Kernel),
    File(PathBuf),
}

/// Decides what is booted, in the order of architectures. `arches` are those that the user named.
pub fn guests(manifest: &Manifest, arches: &[&'static Arch], selection: &Selection) -> Result<Vec<Guest>> {
    let artifacts = artifacts(manifest, arches)?;
    let mut guests = Vec::new();
    for (arch, artifact) in &artifacts {
        match selection {
            Selection::Defaults => guests.push(Guest::of_table(artifact, kernels::default_of(arch))),
            Selection::All => guests.extend(kernels::of(arch).map(|kernel| Guest::of_table(artifact, kernel))),
            Selection::Named(args) => {
                for arg in args {
                    match arg {
                        KernelArg::Label(label) => {
                            let named = kernels::of(arch).filter(|kernel| kernel.label == label);
                            guests.extend(named.map(|kernel| Guest::of_table(artifact, kernel)));
                        }
                        KernelArg::File(file) if artifacts.len() > 1 => {
                            bad_request!("--kernel {}: name its architecture with --arch", file.display())
                        }
                        KernelArg::File(file) => guests.push(Guest::of_file(artifact, arch, file)),
                    }
                }
            }
        }
    }
    if let Selection::Named(args) = selection {
        for arg in args {
            match arg {
                KernelArg::Label(label) if guests.iter().all(|guest| guest.label != *label) => {
                    refuse(label, &artifacts)?;
                }
                _ => {}
            }
        }
    }
    Ok(guests)
}

impl Guest {
    fn of_table(artifact: &Artifact, kernel: &'static Kernel) -> Guest {
        Guest {
            artifact: artifact.clone(),
            arch: kernel.arch,
            label: kernel.label.into(),
            machine: kernel.machine,
            btf: kernel.btf,
            origin: Origin::Table(kernel),
        }
    }

    /// Where the standard library of the binary comes from. The first process has the same.
    pub fn route(&self) -> Std {
        if self.artifact.std == Std::Prebuilt.name() { Std::Prebuilt } else { Std::Source }
    }

    fn of_file(artifact: &Artifact, arch: &'static Arch, file: &Path) -> Guest {
        Guest {
            artifact: artifact.clone(),
            arch,
            label: file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned(),
            machine: &arch.machine,
            // Whether it has any is for it to show.
            btf: Btf::Yes,
            origin: Origin::File(file.into()),
        }
    }
}

/// Says why nothing is booted on a kernel that was named.
fn refuse(label: &str, artifacts: &[(&'static Arch, &Artifact)]) -> Result<()> {
    if KERNELS.iter().any(|kernel| kernel.label == label) {
        let arches: Vec<_> = artifacts.iter().map(|(arch, _)| arch.name).collect();
        bad_request!("--kernel: there is no `{label}` for {}; `cargo xtask kernels` lists all", arches.join(", "));
    }
    let hint = suggest::hint(label, KERNELS.iter().map(|kernel| kernel.label));
    bad_request!("--kernel: `{label}` is neither a file nor a kernel of `cargo xtask kernels`{hint}")
}

/// The archives to boot, in the order of architectures.
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
