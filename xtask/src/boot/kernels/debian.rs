//! Kernels of Debian's: packages whose names change with each version, of which one file is needed.

use std::cmp::Ordering;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::arch::Arch;
use crate::boot::kernel_image;
use crate::boot::kernels::apt::{self, Mirror, WriteRecord, with_words};
use crate::boot::kernels::{DEVICE_TREE, IMAGE, Kernel, Package, RECORD};
use crate::sys::cache::Cache;
use crate::sys::command::{Command, quote, word};
use crate::sys::files;
use crate::sys::plan::{Step, Task, Work};
use crate::sys::steps::{CacheEntry, Remove};
use crate::ui::error::Failed;

/// What apt prints of a file that a server does not have.
const NOT_FOUND: &str = "404  Not Found";

/// Plans to fetch a kernel into the cache.
pub fn fetch(cache: &Cache, mirror: &Mirror, kernel: &Kernel, package: &Package) -> Result<Task> {
    let Kernel { arch, label, .. } = kernel;
    let debian = arch.debian.with_context(|| format!("Debian has no {arch}"))?;
    let name = kernel.entry();
    let entry = cache.partial(&name);
    let folder = entry.join("apt");
    let prefix = package.name.split('*').next().unwrap_or_default();
    let mut steps = apt::update(&folder, mirror, package.suite, debian);
    steps.push(Box::new(DownloadNewest {
        mirror: mirror.url.clone(),
        package: *package,
        names: apt::command("apt-cache", &folder).args(["pkgnames", prefix]),
        download: apt::command("apt-get", &folder).args(["--quiet", "download"]),
    }));
    let device_tree = package.device_tree.map(|pattern| (pattern, DEVICE_TREE));
    steps.push(Box::new(KeepFiles {
        arch,
        list: Command::new("dpkg-deb", &folder).arg("--fsys-tarfile"),
        files: std::iter::once((package.image, IMAGE)).chain(device_tree).collect(),
        entry: entry.clone(),
    }));
    steps.push(Box::new(WriteRecord {
        apt: folder.clone(),
        suite: package.suite,
        mirror: mirror.url.clone(),
        build: None,
        file: entry.join(RECORD),
    }));
    steps.push(Box::new(Remove { folder }));
    let title = format!("fetching the kernel {label} for {arch}, once, from Debian");
    Ok(Task::new(title, vec![Box::new(CacheEntry::new(cache.clone(), name, steps))]).live(arch.name))
}

/// Downloads the newest package of a pattern.
#[derive(Debug)]
struct DownloadNewest {
    mirror: String,
    package: Package,
    /// Prints the names of packages, among them those of the pattern.
    names: Command,
    /// Downloads the package whose name follows.
    download: Command,
}

impl Step for DownloadNewest {
    fn line(&self) -> String {
        let pattern = self.package.name.replace('.', "\\.").replace('*', "[^-]+");
        format!(
            "PACKAGE=$( {} | grep -xE {} | sort -V | tail -n 1)\n\
             # the one before it, if the mirror lists that one and does not have it yet\n{}",
            self.names,
            word(&pattern),
            with_words(&self.download, "\"$PACKAGE\"")
        )
    }

    fn json(&self) -> Value {
        let DownloadNewest { package, names, download, .. } = self;
        json!({ "download-newest": { "package": package.name, "names": names, "download": download } })
    }

    /// Downloads the first package that the mirror has: while a mirror takes in a new version, it lists packages that
    /// it does not have yet.
    fn run(&self, work: &Work) -> Result<()> {
        work.show("the list of packages");
        let names = work.runner.read(&self.names)?;
        let names = newest_first(self.package.name, names.lines());
        let Some((last, others)) = names.split_last() else {
            bail!("{} has no package {} in {}", self.mirror, self.package.name, self.package.suite);
        };
        let download = |name: &str| {
            work.show(name);
            work.runner.run(&self.download.clone().arg(name))
        };
        for name in others {
            match download(name) {
                Err(error)
                    if error.downcast_ref::<Failed>().is_some_and(|failed| failed.output.contains(NOT_FOUND)) =>
                {
                    let mirror = &self.mirror;
                    work.runner.status(format!("{mirror} lists {name} and does not have it: taking the one before it"));
                }
                other => return other,
            }
        }
        download(last)
    }
}

/// Keeps the files that are needed of the package that was downloaded.
#[derive(Debug)]
struct KeepFiles {
    arch: &'static Arch,
    /// Prints the files of the package whose file follows, as a tar archive.
    list: Command,
    /// Patterns of paths in the package, and what the files are called in the entry.
    files: Vec<(&'static str, &'static str)>,
    entry: PathBuf,
}

impl KeepFiles {
    /// Where apt works.
    fn apt(&self) -> &Path {
        &self.list.folder
    }
}

impl Step for KeepFiles {
    fn line(&self) -> String {
        let list = with_words(&self.list, apt::PACKAGE_FILE);
        let keep = |(pattern, name): &(&str, &str)| {
            let pattern = word(&format!("./{pattern}"));
            let to = quote(&self.entry.join(name));
            format!("{list} | tar --extract --to-stdout --wildcards --no-wildcards-match-slash {pattern} >{to}")
        };
        let mut lines: Vec<String> = self.files.iter().map(keep).collect();
        lines.push(format!("# check that {IMAGE} is one for {}, and unpack it if it is packed", self.arch));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let files: Value = self.files.iter().map(|(pattern, name)| json!({ "from": pattern, "to": name })).collect();
        json!({ "keep-files": { "list": self.list, "files": files, "folder": self.entry } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let package = apt::package_file(self.apt())?;
        work.show(&format!("unpacking {package}"));
        let mut missing = self.files.clone();
        work.runner.stream(&self.list.clone().arg(&package), |tar| {
            for member in tar::Archive::new(tar).entries()? {
                let mut member = member?;
                let path = member.path()?.to_string_lossy().trim_start_matches("./").to_owned();
                let Some(index) = missing.iter().position(|(pattern, _)| matches(pattern, &path, '/')) else {
                    continue;
                };
                let (_, name) = missing.remove(index);
                let mut bytes = Vec::new();
                member.read_to_end(&mut bytes)?;
                if name == IMAGE {
                    bytes = kernel_image::prepare(&bytes, self.arch)
                        .with_context(|| format!("{path} in {package} cannot be booted"))?;
                }
                files::write(&self.entry.join(name), bytes)?;
                if missing.is_empty() {
                    return Ok(());
                }
            }
            bail!("there is no {} in {package}", missing[0].0)
        })
    }
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
