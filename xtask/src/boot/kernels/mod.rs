//! The kernels that binaries are booted on, one row each.

pub mod debian;
pub mod from_source;
pub mod lock;
pub mod plan;
pub mod recipe;
pub mod run;
pub mod update;

use serde::Serialize;

use crate::arch::{Arch, ConfigFile, Machine, config_file};
use crate::boot::machines::{ARM_16K, RASPBERRY_PI_1, RASPBERRY_PI_3};
use crate::debian::deb::Deb;
use crate::sys::hash;

/// What the names of kernels in the cache begin with, and what those contain that a workspace pins.
pub const PREFIX: &str = "kernel-";
pub const PINNED: &str = "-pinned-";

/// The kernel in an entry of the cache, in the form that QEMU takes.
pub const IMAGE: &str = "kernel";
/// The description of the machine, where the kernel is given one.
pub const DEVICE_TREE: &str = "device-tree";
/// Where it comes from: an [`crate::debian::apt::Record`].
pub const RECORD: &str = "kernel.json";

/// One kernel of one architecture.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// The word for it on the command line; the same one may name kernels of several architectures.
    pub label: &'static str,
    /// The label of the row whose kernel in the cache it is: its own, unless several rows share one.
    kept_as: &'static str,
    pub arch: &'static Arch,
    pub source: Source,
    pub machine: &'static Machine,
    /// Whether it is the one that is booted unless another is asked for.
    pub default: bool,
    pub btf: Btf,
}

/// Whether programs find the kernel's BTF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Btf {
    Yes,
    /// The kernel carries it, but init hides it, and keeps it in a file that programs can be given.
    Hidden,
    /// The kernel carries none.
    None,
}

impl Btf {
    /// For a table.
    pub fn word(self) -> &'static str {
        match self {
            Btf::Yes => "yes",
            Btf::Hidden => "hidden",
            Btf::None => "none",
        }
    }
}

/// Where a kernel comes from.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A package of Debian's.
    Debian(Package),
    /// Built from Debian's sources with these options, in addition to those of all kernels and of the architecture.
    Built(ConfigFile),
}

/// A package of Debian's that changes its name with each version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Package {
    pub suite: &'static str,
    /// Its name, with `*` for what changes: anything without a dash. The newest counts.
    pub name: &'static str,
    /// The kernel in it, with `*` for anything without a slash.
    pub image: &'static str,
    /// The description of the machine that the kernel is given.
    pub device_tree: Option<&'static str>,
}

const fn debian(suite: &'static str, name: &'static str, image: &'static str) -> Source {
    Source::Debian(Package { suite, name, image, device_tree: None })
}

/// Where the kernel is in a package.
const BOOT: &str = "boot/vmlinuz-*";
const BOOT_ELF: &str = "boot/vmlinux-*";
const SPLIT: &str = "usr/lib/modules/*/vmlinuz";

/// A kernel for the usual machine of an architecture.
const fn row(label: &'static str, arch: &'static str, source: Source) -> Kernel {
    let arch = Arch::named(arch);
    Kernel { label, kept_as: label, arch, source, machine: &arch.machine, default: false, btf: Btf::Yes }
}

const fn on(machine: &'static Machine, kernel: Kernel) -> Kernel {
    Kernel { machine, ..kernel }
}

const fn default(kernel: Kernel) -> Kernel {
    Kernel { default: true, ..kernel }
}

const fn without_btf(kernel: Kernel) -> Kernel {
    Kernel { btf: Btf::None, ..kernel }
}

/// The same kernel in a guest that hides its BTF.
const fn hiding_btf(label: &'static str, kernel: Kernel) -> Kernel {
    Kernel { label, btf: Btf::Hidden, ..kernel }
}

const BTF: ConfigFile = config_file!("btf.config");
const NO_BPF_EVENTS: ConfigFile = config_file!("no-bpf-events.config");

const AMD64: Kernel = row("debian-13-6.12", "amd64", debian("trixie", "linux-image-6.12.*-cloud-amd64", BOOT));
const ARM64: Kernel = row("debian-13-6.12", "arm64", debian("trixie", "linux-image-6.12.*-cloud-arm64", BOOT));
const PPC64LE: Kernel = row("debian-13-6.12", "ppc64le", debian("trixie", "linux-image-6.12.*-powerpc64le", BOOT_ELF));
const S390X: Kernel = row("debian-13-6.12", "s390x", debian("trixie", "linux-image-6.12.*-s390x", BOOT));

/// Every kernel, in the order in which they are shown.
#[rustfmt::skip]
pub static KERNELS: [Kernel; 40] = [
    default(AMD64),
    hiding_btf("debian-13-6.12-hidden-btf", AMD64),
    row("debian-11-5.10", "amd64", debian("bullseye", "linux-image-5.10.0-*-cloud-amd64", BOOT)),
    row("debian-12-6.1", "amd64", debian("bookworm", "linux-image-6.1.0-*-cloud-amd64", BOOT)),
    row("debian-13-6.18", "amd64", debian("trixie-backports", "linux-image-6.18.*-cloud-amd64", BOOT)),
    row("debian-sid", "amd64", debian("sid", "linux-binary-*-cloud-amd64", SPLIT)),
    default(ARM64),
    hiding_btf("debian-13-6.12-hidden-btf", ARM64),
    row("debian-11-5.10", "arm64", debian("bullseye", "linux-image-5.10.0-*-cloud-arm64", BOOT)),
    row("debian-12-6.1", "arm64", debian("bookworm", "linux-image-6.1.0-*-cloud-arm64", BOOT)),
    row("debian-13-6.18", "arm64", debian("trixie-backports", "linux-image-6.18.*-cloud-arm64", BOOT)),
    row("debian-sid", "arm64", debian("sid", "linux-binary-*-arm64", SPLIT)),
    on(&ARM_16K, row("debian-sid-16k", "arm64", debian("sid", "linux-binary-*-arm64-16k", SPLIT))),
    on(&ARM_16K, row("debian-13-6.12-16k", "arm64", debian("trixie", "linux-image-6.12.*-arm64-16k", BOOT))),
    on(&RASPBERRY_PI_3, row("debian-13-6.12-pi3", "arm64", Source::Debian(Package {
        suite: "trixie",
        name: "linux-image-6.12.*-arm64",
        image: BOOT,
        device_tree: Some("usr/lib/linux-image-*/broadcom/bcm2837-rpi-3-b.dtb"),
    }))),
    on(&ARM_16K, without_btf(row("linux-6.12-no-bpf-events", "arm64", Source::Built(NO_BPF_EVENTS)))),
    default(row("debian-13-6.12", "riscv64", debian("trixie", "linux-image-6.12.*-riscv64", BOOT_ELF))),
    row("debian-sid", "riscv64", debian("sid", "linux-binary-*-riscv64", SPLIT)),
    default(row("linux-6.12-btf", "loong64", Source::Built(BTF))),
    without_btf(row("debian-sid", "loong64", debian("sid", "linux-binary-*-loong64", SPLIT))),
    default(S390X),
    hiding_btf("debian-13-6.12-hidden-btf", S390X),
    without_btf(row("debian-12-6.1", "s390x", debian("bookworm", "linux-image-6.1.0-*-s390x", BOOT))),
    row("debian-sid", "s390x", debian("sid", "linux-binary-*-s390x", SPLIT)),
    default(row("linux-6.12-btf", "mips", Source::Built(BTF))),
    without_btf(row("linux-6.12-no-bpf-events", "mips", Source::Built(NO_BPF_EVENTS))),
    default(on(&RASPBERRY_PI_1, without_btf(row("debian-13-6.12-pi1", "arm", Source::Debian(Package {
        suite: "trixie",
        name: "linux-image-6.12.*-rpi",
        image: BOOT,
        device_tree: Some("usr/lib/linux-image-*/bcm2835-rpi-a-plus.dtb"),
    }))))),
    default(without_btf(row("debian-13-6.12", "armv7", debian("trixie", "linux-image-6.12.*-armmp", BOOT)))),
    without_btf(row("debian-11-5.10", "armv7", debian("bullseye", "linux-image-5.10.0-*-armmp", BOOT))),
    without_btf(row("debian-12-6.1", "armv7", debian("bookworm", "linux-image-6.1.0-*-armmp", BOOT))),
    without_btf(row("debian-sid", "armv7", debian("sid", "linux-binary-*-armmp", SPLIT))),
    default(PPC64LE),
    without_btf(row("debian-12-6.1", "ppc64le", debian("bookworm", "linux-image-6.1.0-*-powerpc64le", BOOT_ELF))),
    row("debian-13-6.12-64k", "ppc64le", debian("trixie", "linux-image-6.12.*-powerpc64le-64k", BOOT_ELF)),
    row("debian-sid", "ppc64le", debian("sid", "linux-binary-*-powerpc64le", SPLIT)),
    default(without_btf(row("debian-12-6.1", "mipsle", debian("bookworm", "linux-image-6.1.0-*-4kc-malta", BOOT)))),
    default(without_btf(row("debian-12-6.1", "386", debian("bookworm", "linux-image-6.1.0-*-686", BOOT)))),
    without_btf(row("debian-12-6.1-pae", "386", debian("bookworm", "linux-image-6.1.0-*-686-pae", BOOT))),
    without_btf(row("debian-11-5.10", "386", debian("bullseye", "linux-image-5.10.0-*-686", BOOT))),
    without_btf(row("debian-12-6.5", "386", debian("bookworm-backports", "linux-image-6.5.0-*-686", BOOT))),
];

/// The kernels of an architecture.
pub fn of(arch: &Arch) -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(move |kernel| kernel.arch == arch)
}

/// The one that is booted unless another is asked for.
pub fn default_of(arch: &Arch) -> &'static Kernel {
    of(arch).find(|kernel| kernel.default).unwrap_or_else(|| panic!("there is no default kernel for {arch}"))
}

impl Kernel {
    /// The name of its entry in the cache, which identifies all that it is made from, but the version only if that is pinned.
    pub fn entry(&self, pin: Option<&Deb>) -> String {
        let key = match &self.source {
            Source::Debian(Package { suite, name, image, device_tree }) => {
                format!("{suite}\0{name}\0{image}\0{device_tree:?}")
            }
            Source::Built(options) => recipe::key(self.arch, options),
        };
        let start = format!("{PREFIX}{}-{}", self.arch, self.kept_as);
        match pin {
            Some(deb) => format!("{start}{PINNED}{:.16}", hash::bytes(format!("{key}\0{}", deb.sha256).as_bytes())),
            None => format!("{start}-{:.16}", hash::bytes(key.as_bytes())),
        }
    }

    /// Where it comes from, in a few words.
    pub fn describe(&self) -> String {
        match &self.source {
            Source::Debian(package) => format!("Debian {}, {}", package.suite, package.name),
            Source::Built(_) => "built from Debian's linux-source".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::arch::ARCHES;

    #[test]
    fn an_architecture_has_what_its_kernels_need() {
        for kernel in &KERNELS {
            let arch = kernel.arch;
            match &kernel.source {
                Source::Debian(_) => assert!(arch.debian.is_some(), "{arch}: Debian's word"),
                Source::Built(_) => assert!(arch.kernel_build.is_some(), "{arch}: options"),
            }
        }
    }

    #[test]
    fn every_architecture_has_one_default_with_btf_if_any_has_it_and_no_label_twice() {
        for arch in &ARCHES {
            assert_eq!(of(arch).filter(|kernel| kernel.default).count(), 1, "{arch}");
            let has_btf = of(arch).any(|kernel| kernel.btf == Btf::Yes);
            assert_eq!(default_of(arch).btf, if has_btf { Btf::Yes } else { Btf::None }, "{arch}");
            assert!(has_btf || !arch.by_default, "{arch}");
            let labels: BTreeSet<_> = of(arch).map(|kernel| kernel.label).collect();
            assert_eq!(labels.len(), of(arch).count(), "{arch}");
        }
    }

    #[test]
    fn a_kernel_is_kept_once_also_where_its_btf_is_hidden() {
        for kernel in &KERNELS {
            let entry = kernel.entry(None);
            let sharing: Vec<_> = KERNELS.iter().filter(|other| other.entry(None) == entry).collect();
            let hidden = sharing.iter().filter(|kernel| kernel.btf == Btf::Hidden).count();
            assert_eq!(sharing.len() - hidden, 1, "{entry}");
        }
    }
}
