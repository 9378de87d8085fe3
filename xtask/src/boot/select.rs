//! Which binaries are booted on which kernels: decided from flags, dist/ and the table of kernels.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::arch::{ARCHES, Arch, Machine};
use crate::boot::kernels::lock::Lock;
use crate::boot::kernels::{self, Btf, KERNELS, Kernel};
use crate::debian::deb::Deb;
use crate::release::manifest::Artifact;
use crate::route::Route;
use crate::ui::error::bad_request;
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
    /// Whether this machine's processor runs it, and QEMU does not translate.
    pub kvm: bool,
}

/// Where a kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// One of the table, and the package that it is pinned to.
    Table(&'static Kernel, Option<Deb>),
    File(PathBuf),
}

/// Decides which of the released archives are booted on what, in the order of architectures. `arches` are those that
/// the user named, and `lock` pins kernels.
pub fn guests(
    released: &[Artifact],
    arches: &[&'static Arch],
    selection: &Selection,
    lock: &Lock,
) -> Result<Vec<Guest>> {
    let artifacts = artifacts(released, arches)?;
    let of_table = |artifact: &Artifact, kernel| Guest::of_table(artifact, kernel, lock);
    let mut guests = Vec::new();
    for (arch, artifact) in &artifacts {
        match selection {
            Selection::Defaults => guests.push(of_table(artifact, kernels::default_of(arch))),
            Selection::All => guests.extend(kernels::of(arch).map(|kernel| of_table(artifact, kernel))),
            Selection::Named(args) => {
                for arg in args {
                    match arg {
                        KernelArg::Label(label) => {
                            let named = kernels::of(arch).filter(|kernel| kernel.label == label);
                            guests.extend(named.map(|kernel| of_table(artifact, kernel)));
                        }
                        KernelArg::File(file) if artifacts.iter().any(|(other, _)| other != arch) => {
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
    fn of_table(artifact: &Artifact, kernel: &'static Kernel, lock: &Lock) -> Guest {
        Guest {
            artifact: artifact.clone(),
            arch: kernel.arch,
            label: kernel.label.into(),
            machine: kernel.machine,
            btf: kernel.btf,
            origin: Origin::Table(kernel, lock.pin(kernel).cloned()),
            kvm: false,
        }
    }

    /// Where the standard library of the binary comes from. The first process has the same.
    pub fn route(&self) -> Route {
        self.artifact.route
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
            kvm: false,
        }
    }
}

/// The error for a named kernel that nothing is booted on.
fn refuse(label: &str, artifacts: &[(&'static Arch, &Artifact)]) -> Result<()> {
    if KERNELS.iter().any(|kernel| kernel.label == label) {
        let mut arches: Vec<_> = artifacts.iter().map(|(arch, _)| arch.name).collect();
        arches.dedup();
        bad_request!("--kernel: there is no `{label}` for {}; `cargo xtask kernels` lists all", arches.join(", "));
    }
    let hint = suggest::hint(label, KERNELS.iter().map(|kernel| kernel.label));
    bad_request!("--kernel: `{label}` is neither a file nor a kernel of `cargo xtask kernels`{hint}")
}

/// The archives to boot, in the order of architectures.
fn artifacts<'a>(released: &'a [Artifact], wanted: &[&'static Arch]) -> Result<Vec<(&'static Arch, &'a Artifact)>> {
    let mut found = Vec::new();
    for arch in &ARCHES {
        if !wanted.is_empty() && !wanted.contains(&arch) {
            continue;
        }
        let before = found.len();
        found.extend(released.iter().filter(|artifact| artifact.arch == arch).map(|artifact| (arch, artifact)));
        if found.len() == before && !wanted.is_empty() {
            bad_request!("dist/ has no tarball for {arch}: run `cargo xtask dist --arch {arch}`");
        }
    }
    if found.is_empty() {
        bad_request!("dist/ has no tarball: run `cargo xtask dist`");
    }
    Ok(found)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A released archive for an architecture.
    pub(crate) fn artifact(arch: &str) -> Artifact {
        Artifact::example("1.0.0", Arch::named(arch), format!("archive of {arch}").as_bytes())
    }

    pub(crate) fn label(word: &str) -> KernelArg {
        KernelArg::Label(word.into())
    }

    /// Architectures and kernels of what is booted, or why nothing is.
    fn selected(released: &[&str], arches: &[&str], selection: &Selection) -> Result<Vec<String>> {
        let released: Vec<Artifact> = released.iter().map(|arch| artifact(arch)).collect();
        let arches: Vec<&Arch> = arches.iter().map(|name| Arch::named(name)).collect();
        let guests = guests(&released, &arches, selection, &Lock::default())?;
        Ok(guests.iter().map(|guest| format!("{} {}", guest.arch, guest.label)).collect())
    }

    #[track_caller]
    fn refused(released: &[&str], arches: &[&str], selection: &Selection, sentence: &str) {
        let error = selected(released, arches, selection).unwrap_err().to_string();
        assert!(error.contains(sentence), "{error}");
    }

    #[test]
    fn each_archive_is_booted_on_the_default_kernel_in_the_order_of_the_table() {
        let defaults = selected(&["s390x", "amd64"], &[], &Selection::Defaults).unwrap();
        assert_eq!(defaults, ["amd64 debian-13-6.12", "s390x debian-13-6.12"]);
        assert_eq!(selected(&["s390x", "amd64"], &["s390x"], &Selection::Defaults).unwrap(), ["s390x debian-13-6.12"]);
        refused(&["amd64"], &["mips"], &Selection::Defaults, "dist/ has no tarball for mips: run `cargo xtask dist");
        refused(&[], &[], &Selection::Defaults, "dist/ has no tarball: run `cargo xtask dist`");
    }

    #[test]
    fn a_label_means_the_kernel_of_each_architecture_that_has_it() {
        let named = |words: &[&str]| Selection::Named(words.iter().map(|word| label(word)).collect());
        let both = selected(&["amd64", "arm64", "mips"], &[], &named(&["debian-13-6.12-hidden-btf"])).unwrap();
        assert_eq!(both, ["amd64 debian-13-6.12-hidden-btf", "arm64 debian-13-6.12-hidden-btf"]);
        let all = selected(&["mips"], &[], &Selection::All).unwrap();
        assert_eq!(all, ["mips linux-6.12-btf", "mips linux-6.12-no-bpf-events"]);
        let none = named(&["linux-6.12-btf"]);
        refused(&["amd64"], &[], &none, "no `linux-6.12-btf` for amd64; `cargo xtask kernels` lists all");
        refused(&["amd64"], &[], &named(&["debain-13-6.12"]), "did you mean `debian-13-6.12`?");
    }

    #[test]
    fn a_file_is_a_kernel_of_the_only_architecture() {
        let file = Selection::Named(vec![KernelArg::File("/tmp/Image".into())]);
        assert_eq!(selected(&["amd64", "arm64"], &["arm64"], &file).unwrap(), ["arm64 Image"]);
        refused(&["amd64", "arm64"], &[], &file, "--kernel /tmp/Image: name its architecture with --arch");
    }
}
