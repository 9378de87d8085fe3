//! Which kernels the command line means, and what they are called.

use std::path::{Path, PathBuf};

use anyhow::Result;
use bpfship_embed::Kernel as Name;

use crate::arch::Arch;
use crate::boot::kernels::{self, Btf, KERNELS, Kernel, Source};
use crate::ui::error::bad_request;
use crate::ui::suggest;

/// Where a kernel's types are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file of BTF, an ELF file that has it, or an image of a kernel.
    File(PathBuf),
    /// A kernel of `boot`'s.
    Boot(&'static Kernel),
}

impl Origin {
    pub fn kernel(&self) -> Option<&'static Kernel> {
        match self {
            Origin::File(_) => None,
            Origin::Boot(kernel) => Some(kernel),
        }
    }
}

/// A kernel of `boot`'s for an architecture: the one with this label, or the default one.
pub fn of_boot(arch: &'static Arch, label: Option<&str>) -> Result<&'static Kernel> {
    let Some(label) = label else { return Ok(kernels::default_of(arch)) };
    match kernels::of(arch).find(|kernel| kernel.label == label) {
        Some(kernel) if kernel.btf == Btf::None => bad_request!("the kernel {label} for {arch} has no BTF"),
        Some(kernel) => Ok(kernel),
        None if KERNELS.iter().any(|kernel| kernel.label == label) => {
            bad_request!("--kernel: there is no `{label}` for {arch}; `cargo xtask kernels` lists all")
        }
        None => {
            let hint = suggest::hint(label, KERNELS.iter().map(|kernel| kernel.label));
            bad_request!("--kernel: `{label}` is no kernel of `cargo xtask kernels`{hint}")
        }
    }
}

/// The system that a kernel of `boot`'s is of, as its os-release has it.
pub fn name_of(kernel: &Kernel, release: String) -> Name {
    let (distribution, version) = match &kernel.source {
        Source::Debian(package) => ("debian", debian_version(package.suite)),
        Source::Built(_) => ("", ""),
    };
    Name { distribution: distribution.into(), version: version.into(), release }
}

/// `VERSION_ID` of a suite; what is not released yet has none.
fn debian_version(suite: &str) -> &'static str {
    match suite.split('-').next() {
        Some("bullseye") => "11",
        Some("bookworm") => "12",
        Some("trixie") => "13",
        _ => "",
    }
}

/// What BTFHub packs a file into.
const PACKED: &str = ".tar.xz";

/// Whether a file in a folder is BTF of a kernel, by its path there.
pub fn is_btf(path: &str) -> bool {
    path.strip_suffix(PACKED).unwrap_or(path).ends_with(".btf")
}

/// The kernel that a file is named after, and its architecture, as BTFHub lays files out.
pub fn name_in(path: &Path) -> Option<(Name, &'static Arch)> {
    let path = path.to_str()?;
    let (name, arch) = Name::of_path(path.strip_suffix(PACKED).unwrap_or(path))?;
    Some((name, arch.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::ARCHES;

    #[test]
    fn a_kernel_of_boots_is_the_default_one_unless_a_label_names_another() {
        let amd64 = Arch::named("amd64");
        assert!(of_boot(amd64, None).unwrap().default);
        assert_eq!(of_boot(amd64, Some("debian-12-6.1")).unwrap().label, "debian-12-6.1");
        let error = |arch, label| of_boot(Arch::named(arch), Some(label)).unwrap_err().to_string();
        assert!(error("mips", "debian-12-6.1").contains("no `debian-12-6.1` for mips"));
        assert!(error("mips", "debain-12-6.1").contains("did you mean `debian-12-6.1`?"));
        assert!(error("s390x", "debian-12-6.1").contains("has no BTF"));
    }

    #[test]
    fn kernels_are_named_as_their_systems_name_themselves() {
        let name = |arch, label| name_of(of_boot(Arch::named(arch), label).unwrap(), "6".into()).path("x");
        assert_eq!(name("amd64", Some("debian-11-5.10")), "debian/11/x/6.btf");
        assert_eq!(name("amd64", Some("debian-13-6.18")), "debian/13/x/6.btf");
        assert_eq!(name("amd64", Some("debian-sid")), "debian/-/x/6.btf");
        assert_eq!(name("mips", None), "-/-/x/6.btf");
    }

    #[test]
    fn files_are_named_as_in_btfhub() {
        for arch in &ARCHES {
            let word = bpfship_embed::arch_in_path(arch.rust(), arch.endian.name());
            for end in ["", ".tar.xz"] {
                let path = format!("/hub/ubuntu/20.04/{word}/5.4.0-26-generic.btf{end}");
                let (name, of) = name_in(Path::new(&path)).unwrap();
                assert_eq!(
                    (name.path(word), of.rust()),
                    ("ubuntu/20.04/".to_owned() + word + "/5.4.0-26-generic.btf", arch.rust())
                );
                assert!(is_btf(&path));
            }
        }
        assert_eq!(name_in(Path::new("vmlinux.btf")), None);
        assert_eq!(name_in(Path::new("ubuntu/20.04/sparc/5.4.btf")), None);
        assert!(!is_btf("README.md"));
    }
}
