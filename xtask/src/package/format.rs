//! The formats of packages: one row each.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::arch::{Arch, PackageNames};

/// A format, by the word on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Debian, Ubuntu, Raspberry Pi OS
    Deb,
    /// Fedora, RHEL, SUSE
    Rpm,
    /// Alpine
    Apk,
    /// OpenWrt, with opkg
    Ipk,
    /// Arch Linux
    Arch,
}

/// What differs between formats.
#[derive(Debug)]
pub struct Row {
    pub format: Format,
    /// What it is called in sentences.
    pub name: &'static str,
    /// The packager's word for it.
    pub packager: &'static str,
    /// Its name for an architecture.
    pub arch: fn(&PackageNames) -> Option<&'static str>,
    /// How often the same version was packaged, where the format wants a number.
    pub release: Option<&'static str>,
    /// Whether its systems run services by units of systemd.
    pub systemd: bool,
    /// Whether its systems have manuals and completions: a router has neither, nor room for them.
    pub manuals: bool,
    /// The folder of licences is this one and the name of the package.
    pub licenses: &'static str,
    /// The folder in which zsh looks for completions of packages.
    pub zsh: &'static str,
    /// The scripts that it runs, by the packager's words: @UNITS@ stands for the units.
    pub scripts: &'static [(&'static str, &'static str)],
    /// The name of the file, where NAME, VERSION and ARCH stand for those of the package.
    file: &'static str,
}

const LICENSES: &str = "/usr/share/licenses";
const ZSH: &str = "/usr/share/zsh/site-functions";

pub static FORMATS: [Row; 5] = [
    Row {
        format: Format::Deb,
        name: "deb",
        packager: "deb",
        arch: |names| names.deb,
        release: None,
        systemd: true,
        manuals: true,
        licenses: "/usr/share/doc",
        zsh: "/usr/share/zsh/vendor-completions",
        scripts: &[
            ("postinstall", include_str!("scripts/deb-postinst")),
            ("preremove", include_str!("scripts/deb-prerm")),
            ("postremove", include_str!("scripts/deb-postrm")),
        ],
        file: "NAME_VERSION_ARCH.deb",
    },
    Row {
        format: Format::Rpm,
        name: "rpm",
        packager: "rpm",
        arch: |names| names.rpm,
        release: Some("1"),
        systemd: true,
        manuals: true,
        licenses: LICENSES,
        zsh: ZSH,
        scripts: &[
            ("postinstall", include_str!("scripts/rpm-post")),
            ("preremove", include_str!("scripts/rpm-preun")),
            ("postremove", include_str!("scripts/rpm-postun")),
        ],
        file: "NAME-VERSION-1.ARCH.rpm",
    },
    Row {
        format: Format::Apk,
        name: "apk",
        packager: "apk",
        arch: |names| names.apk,
        release: Some("0"),
        systemd: false,
        manuals: true,
        licenses: LICENSES,
        zsh: ZSH,
        scripts: &[],
        file: "NAME-VERSION-r0.ARCH.apk",
    },
    Row {
        format: Format::Ipk,
        name: "ipk",
        packager: "ipk",
        arch: |names| names.ipk,
        release: Some("1"),
        systemd: false,
        manuals: false,
        licenses: LICENSES,
        zsh: ZSH,
        scripts: &[],
        file: "NAME_VERSION-1_ARCH.ipk",
    },
    Row {
        format: Format::Arch,
        name: "Arch Linux package",
        packager: "archlinux",
        arch: |names| names.arch,
        release: Some("1"),
        systemd: true,
        manuals: true,
        licenses: LICENSES,
        zsh: ZSH,
        // pacman's own hooks have systemd read units anew.
        scripts: &[("preremove", include_str!("scripts/arch-pre-remove"))],
        file: "NAME-VERSION-1-ARCH.pkg.tar.zst",
    },
];

impl Row {
    /// Its name for an architecture.
    pub fn arch_of(&self, arch: &Arch) -> Option<&'static str> {
        (self.arch)(&arch.packages)
    }

    /// The name of a package's file.
    pub fn file(&self, name: &str, version: &str, arch: &str) -> String {
        // In this order: of the three, a name alone may contain the others' words.
        self.file.replace("ARCH", arch).replace("VERSION", version).replace("NAME", name)
    }
}

/// The name of a package: no package manager takes capitals everywhere, and Debian's no underscore.
pub fn package_name(archive: &str) -> String {
    archive.to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::ARCHES;

    #[test]
    fn two_architectures_share_a_name_nowhere_but_on_32_bit_arm_of_debian() {
        for row in &FORMATS {
            let mut names: Vec<&str> = ARCHES.iter().filter_map(|arch| row.arch_of(arch)).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(all - names.len(), usize::from(row.format == Format::Deb), "{}", row.name);
        }
    }

    #[test]
    fn a_file_is_called_as_its_system_does_it() {
        let files: Vec<String> = FORMATS
            .iter()
            .filter_map(|row| {
                Some(row.file(&package_name("My_Tool"), "1.2.0-rc.1", row.arch_of(Arch::named("arm64"))?))
            })
            .collect();
        assert_eq!(
            files,
            [
                "my-tool_1.2.0-rc.1_arm64.deb",
                "my-tool-1.2.0-rc.1-1.aarch64.rpm",
                "my-tool-1.2.0-rc.1-r0.aarch64.apk",
                "my-tool_1.2.0-rc.1-1_aarch64_generic.ipk",
                "my-tool-1.2.0-rc.1-1-aarch64.pkg.tar.zst",
            ]
        );
    }
}
