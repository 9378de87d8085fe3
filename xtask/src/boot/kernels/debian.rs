//! Kernels of Debian's: packages whose names change with each version, of which one file is wanted.

use std::cmp::Ordering;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::arch::Arch;
use crate::boot::facts::Mirror;
use crate::boot::kernels::Package;
use crate::boot::kernels::apt;
use crate::boot::kernels::image;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::process::Runner;
use crate::sys::step::Step;
use crate::ui::error::Failed;
use crate::ui::screen::Line;

/// The kernel in an entry of the cache, in the form that QEMU takes.
pub const IMAGE: &str = "kernel";
/// The description of the machine, where the kernel is given one.
pub const DEVICE_TREE: &str = "device-tree";
/// What was used: an [`apt::Record`].
pub const RECORD: &str = "kernel.json";

/// What apt says of a file that a server has not got.
const NOT_THERE: &str = "404  Not Found";

/// How a kernel is got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub arch: &'static Arch,
    pub label: &'static str,
    pub package: Package,
    /// Its name in the cache.
    pub entry: String,
    mirror: String,
    /// Where apt works.
    folder: PathBuf,
    /// What makes apt know what there is.
    update: Vec<Step>,
    /// Prints the names of packages, among them the one that is wanted.
    names: Command,
    /// Downloads the package whose name is put behind it.
    download: Command,
    /// Prints the files of the package whose file is put behind it, as a tar archive.
    unpack: Command,
}

pub fn plan(
    cache: &Cache,
    mirror: &Mirror,
    arch: &'static Arch,
    label: &'static str,
    package: Package,
    entry: String,
) -> Plan {
    let folder = cache.partial(&entry).join("apt");
    let apt = |program: &str| apt::command(program, &folder);
    let prefix = package.name.split('*').next().unwrap_or_default();
    Plan {
        arch,
        label,
        package,
        entry,
        mirror: mirror.url.clone(),
        update: apt::update(&folder, mirror, package.suite, arch.name),
        names: apt("apt-cache").args(["pkgnames", prefix]),
        download: apt("apt-get").args(["--quiet", "download"]),
        unpack: Command::new("dpkg-deb", &folder).arg("--fsys-tarfile"),
        folder,
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# get the kernel {} for {} from Debian", self.label, self.arch)?;
        for step in &self.update {
            writeln!(f, "{step}")?;
        }
        writeln!(f, "{}", self.names)?;
        writeln!(f, "# PACKAGE is the newest of those that are called {}, and are there", self.package.name)?;
        writeln!(f, "{}\n{}", self.download.clone().arg("PACKAGE"), self.unpack.clone().arg("PACKAGE.deb"))?;
        writeln!(f, "# keep {} of it as {} in the cache", self.package.image, self.entry)
    }
}

/// Gets a kernel into the cache.
pub fn get(runner: Runner, cache: &Cache, plan: &Plan, line: &Line) -> Result<()> {
    let fetched = cache.get(runner, &plan.entry, |entry| {
        line.set("what Debian has");
        runner.perform(&plan.update)?;
        let names = runner.read(&plan.names)?;
        let name = download(runner, plan, &newest_first(plan.package.name, names.lines()), line)?;
        let (file, record) = apt::downloaded(&plan.folder, name, plan.package.suite, &plan.mirror)?;
        line.set(&format!("unpacking {name}"));
        keep(runner, plan, entry, &file)?;
        files::write(&entry.join(RECORD), format!("{:#}\n", serde_json::to_value(record)?))?;
        files::remove_folder(&plan.folder)
    });
    fetched.map(drop).with_context(|| format!("cannot get the kernel {} for {}", plan.label, plan.arch))
}

/// Downloads the first of these packages that the mirror has: while a mirror takes in a new version, it lists packages that
/// it has not got yet.
fn download<'a>(runner: Runner, plan: &Plan, names: &[&'a str], line: &Line) -> Result<&'a str> {
    let Some((last, others)) = names.split_last() else {
        bail!("{} has no package {} in {}", plan.mirror, plan.package.name, plan.package.suite);
    };
    let try_one = |name: &'a str| {
        line.set(name);
        runner.run(&plan.download.clone().arg(name)).map(|()| name)
    };
    for name in others {
        match try_one(name) {
            Err(error) if error.downcast_ref::<Failed>().is_some_and(|failed| failed.said.contains(NOT_THERE)) => {
                runner.status(format!("{} lists {name} and has not got it: the one before it is taken", plan.mirror));
            }
            other => return other,
        }
    }
    try_one(last)
}

/// Keeps what is wanted of a package.
fn keep(runner: Runner, plan: &Plan, entry: &Path, file: &str) -> Result<()> {
    let wanted = [(Some(plan.package.image), IMAGE), (plan.package.device_tree, DEVICE_TREE)];
    let mut wanted: Vec<_> = wanted.into_iter().filter_map(|(pattern, name)| Some((pattern?, name))).collect();
    runner.stream(&plan.unpack.clone().arg(file), |tar| {
        for member in tar::Archive::new(tar).entries()? {
            let mut member = member?;
            let path = member.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            let Some(index) = wanted.iter().position(|(pattern, _)| matches(pattern, &path, '/')) else { continue };
            let (_, name) = wanted.remove(index);
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes)?;
            if name == IMAGE {
                bytes = image::prepare(&bytes, plan.arch).with_context(|| format!("{path} in {file} is of no use"))?;
            }
            files::write(&entry.join(name), bytes)?;
            if wanted.is_empty() {
                return Ok(());
            }
        }
        bail!("there is no {} in {file}", wanted[0].0)
    })
}

/// Whether a name fits a pattern, in which each `*` stands for one or more characters, none of them `never`.
fn matches(pattern: &str, name: &str, never: char) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            let end = rest.find(never).unwrap_or(rest.len());
            (1..=end).any(|at| rest.is_char_boundary(at) && matches(after, &rest[at..], never))
        }),
    }
}

/// The packages that fit a pattern, the newest first.
fn newest_first<'a>(pattern: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.filter(|name| matches(pattern, name, '-')).collect();
    names.sort_by(|one, other| by_number(other, one));
    names
}

/// Compares names in which numbers count as such.
fn by_number(one: &str, other: &str) -> Ordering {
    let parts = |name: &str| -> Vec<(String, u64)> {
        let mut parts = vec![(String::new(), 0_u64)];
        for letter in name.chars() {
            let last = parts.len() - 1;
            match letter.to_digit(10) {
                Some(digit) => parts[last].1 = parts[last].1.saturating_mul(10).saturating_add(digit.into()),
                None if parts[last].1 == 0 => parts[last].0.push(letter),
                None => parts.push((letter.into(), 0)),
            }
        }
        parts
    };
    parts(one).cmp(&parts(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_that_fit_are_taken_from_the_newest_on() {
        let names = [
            "linux-image-6.12.9+deb13-arm64",
            "linux-image-6.12.107+deb13-arm64",
            "linux-image-6.12.107+deb13-cloud-arm64",
            "linux-image-6.12.107+deb13-arm64-16k",
            "linux-image-6.12.107+deb13-rt-arm64",
            "linux-image-6.12.107+deb13-arm64-dbg",
            "linux-image-6.1.0-50-arm64",
            "linux-image-6.1.0-9-arm64",
        ];
        let newest = |pattern| newest_first(pattern, names.into_iter());
        let both = ["linux-image-6.12.107+deb13-arm64", "linux-image-6.12.9+deb13-arm64"];
        assert_eq!(newest("linux-image-6.12.*-arm64"), both);
        assert_eq!(newest("linux-image-6.12.*-cloud-arm64"), ["linux-image-6.12.107+deb13-cloud-arm64"]);
        assert_eq!(newest("linux-image-6.12.*-arm64-16k"), ["linux-image-6.12.107+deb13-arm64-16k"]);
        assert_eq!(newest("linux-image-6.1.0-*-arm64"), ["linux-image-6.1.0-50-arm64", "linux-image-6.1.0-9-arm64"]);
        assert!(newest("linux-binary-*-arm64").is_empty());
    }

    #[test]
    fn a_pattern_of_files_stays_in_its_folder() {
        assert!(matches("boot/vmlinuz-*", "boot/vmlinuz-6.12.107+deb13-amd64", '/'));
        assert!(matches("usr/lib/modules/*/vmlinuz", "usr/lib/modules/7.2.13+deb14-arm64/vmlinuz", '/'));
        assert!(!matches("usr/lib/modules/*/vmlinuz", "usr/lib/modules/7.2/kernel/vmlinuz", '/'));
        assert!(!matches("boot/vmlinuz-*", "boot/vmlinuz-", '/'));
    }
}
