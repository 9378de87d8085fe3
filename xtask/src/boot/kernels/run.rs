//! The steps by which a kernel gets into the cache.

use std::cmp::Ordering;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use serde_json::{Value, json};

use crate::arch::Arch;
use crate::boot::kernel_image;
use crate::boot::kernels::lock::FILE;
use crate::boot::kernels::recipe::{self, PACKAGE};
use crate::boot::kernels::{IMAGE, Package};
use crate::debian::apt::{BuildRecord, Record};
use crate::debian::deb::Deb;
use crate::sys::command::{Command, quote, word};
use crate::sys::plan::{Step, Work};
use crate::sys::steps::download;
use crate::sys::{files, hash};
use crate::ui::error::Failed;

/// What apt prints of a file that a server does not have.
const NOT_FOUND: &str = "404  Not Found";

/// Downloads the newest package of a pattern.
#[derive(Debug)]
pub struct DownloadNewest {
    pub mirror: String,
    pub package: Package,
    /// Prints the names of packages, among them those of the pattern.
    pub names: Command,
    /// Downloads the package whose name follows.
    pub download: Command,
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
        let fetch = |name: &str| {
            work.show(name);
            download(work, &self.download.clone().arg(name), &self.download.folder)
        };
        for name in others {
            match fetch(name) {
                Err(error)
                    if error.downcast_ref::<Failed>().is_some_and(|failed| failed.output.contains(NOT_FOUND)) =>
                {
                    let mirror = &self.mirror;
                    work.runner.status(format!("{mirror} lists {name} and does not have it: taking the one before it"));
                }
                other => return other,
            }
        }
        fetch(last)
    }
}

/// Downloads one package, and no other.
#[derive(Debug)]
pub struct DownloadPinned {
    pub mirror: String,
    pub deb: Deb,
    /// Downloads the package that follows.
    pub download: Command,
}

impl DownloadPinned {
    fn command(&self) -> Command {
        self.download.clone().arg(format!("{}={}", self.deb.name, self.deb.version))
    }
}

impl Step for DownloadPinned {
    fn line(&self) -> String {
        format!("{}\n# check that its SHA-256 is {}", self.command(), self.deb.sha256)
    }

    fn json(&self) -> Value {
        json!({ "download-pinned": { "package": self.deb, "download": self.command() } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let Deb { name, version, sha256 } = &self.deb;
        work.show(name);
        let folder = &self.download.folder;
        download(work, &self.command(), folder).with_context(|| {
            format!(
                "{FILE} pins {name} {version}, which {} does not have any more, perhaps: `cargo xtask kernels --update` pins \
                 what it has, or set BPFSHIP_DEBIAN_MIRROR to a mirror that keeps old packages",
                self.mirror
            )
        })?;
        let found = hash::file(&folder.join(package_file(folder)?))?;
        if found != *sha256 {
            bail!("{FILE} pins {name} {version} with the SHA-256 {sha256}, and what was downloaded has {found}");
        }
        Ok(())
    }
}

/// Keeps the files that are needed of the package that was downloaded.
#[derive(Debug)]
pub struct KeepFiles {
    pub arch: &'static Arch,
    /// Prints the files of the package whose file follows, as a tar archive.
    pub list: Command,
    /// Patterns of paths in the package, and what the files are called in the entry.
    pub files: Vec<(&'static str, &'static str)>,
    pub entry: PathBuf,
}

impl KeepFiles {
    /// Where apt works.
    fn apt(&self) -> &Path {
        &self.list.folder
    }
}

impl Step for KeepFiles {
    fn line(&self) -> String {
        let list = with_words(&self.list, PACKAGE_FILE);
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
        let package = package_file(self.apt())?;
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

/// Asks apt-cache for the packages whose names begin as a pattern does.
pub fn pkgnames(apt_cache: Command, pattern: &str) -> Command {
    apt_cache.args(["pkgnames", pattern.split('*').next().unwrap_or_default()])
}

/// The packages that fit a pattern, the newest first.
pub fn newest_first<'a>(pattern: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
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

/// The file that `apt-get download` left in its folder: its name contains a version that only apt knows.
fn package_file(folder: &Path) -> Result<String> {
    let file = files::list(folder)?.into_iter().find(|file| file.ends_with(".deb"));
    file.with_context(|| format!("apt-get download left no package in {}", folder.display()))
}

/// Stands for [`package_file`] in a printed plan.
const PACKAGE_FILE: &str = "*.deb";

/// A command with words that a shell expands.
fn with_words(command: &Command, words: &str) -> String {
    let line = command.to_string();
    format!("{} {words})", line.strip_suffix(')').unwrap_or(&line))
}

/// Extracts the package that was downloaded.
#[derive(Debug)]
pub struct ExtractPackage {
    /// Where apt works.
    pub apt: PathBuf,
    pub into: PathBuf,
}

impl ExtractPackage {
    fn command(&self) -> Command {
        Command::new("dpkg-deb", &self.apt).arg("--extract")
    }
}

impl Step for ExtractPackage {
    fn line(&self) -> String {
        with_words(&self.command(), &format!("{PACKAGE_FILE} {}", quote(&self.into)))
    }

    fn json(&self) -> Value {
        json!({ "extract-package": { "apt": self.apt, "into": self.into, "run": self.command() } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let file = package_file(&self.apt)?;
        work.show(&format!("unpacking {file}"));
        work.runner.run(&self.command().arg(file).arg(self.into.to_string_lossy()))
    }
}

/// Writes down from which package an entry of the cache is made.
#[derive(Debug)]
pub struct WriteRecord {
    /// Where apt works.
    pub apt: PathBuf,
    pub suite: &'static str,
    pub mirror: String,
    pub build: Option<BuildRecord>,
    pub file: PathBuf,
}

impl Step for WriteRecord {
    fn line(&self) -> String {
        format!("# write {}: the package's name, version, origin and SHA-256", quote(&self.file))
    }

    fn json(&self) -> Value {
        json!({ "write-record": { "file": self.file, "suite": self.suite, "mirror": self.mirror, "build": self.build } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let file = package_file(&self.apt)?;
        let Deb { name, version, sha256 } = Deb::of_file(&file, hash::file(&self.apt.join(&file))?)?;
        let (suite, mirror, build) = (self.suite.into(), self.mirror.clone(), self.build.clone());
        let record = Record { package: name, version, suite, mirror, sha256, build };
        files::write(&self.file, format!("{:#}\n", serde_json::to_value(record)?))
    }
}

/// Checks that a configuration has every option: it silently drops what is not possible.
#[derive(Debug)]
pub struct CheckOptions {
    pub configuration: PathBuf,
    pub options: String,
    /// Where the options come from.
    pub files: Vec<&'static str>,
    pub record: BuildRecord,
}

impl Step for CheckOptions {
    fn line(&self) -> String {
        format!("# check that {} has every option", quote(&self.configuration))
    }

    fn json(&self) -> Value {
        json!({ "check-options": { "configuration": self.configuration, "options": self.files } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let configuration = files::read_if_there(&self.configuration)?.unwrap_or_default();
        match recipe::unmet(&self.options, &configuration) {
            Some(option) => bail!(
                "{PACKAGE} cannot be configured with `{option}`, as one of {} in boot/kernels/config asks: \
                 add to the list what that option depends on ({}, pahole {})",
                self.files.join(", "),
                self.record.compiler,
                self.record.pahole
            ),
            None => Ok(()),
        }
    }
}

/// Runs make, and shows which file it makes.
#[derive(Debug)]
pub struct Make(pub Command);

impl Step for Make {
    fn line(&self) -> String {
        self.0.to_string()
    }

    fn json(&self) -> Value {
        json!({ "run": self.0 })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let mut output = String::new();
        let mut files = 0;
        let status = work.runner.lines(&self.0, |text| {
            if let Some(file) = object_of(text) {
                files += 1;
                work.show(&format!("{files} files, {file}"));
            } else {
                // Without the others, among which what is wrong would not be seen.
                output.push_str(text);
                output.push('\n');
            }
        })?;
        if !status.success() {
            return Err(Error::new(Failed::of("make", status, output)));
        }
        Ok(())
    }
}

/// What make makes, in a line like `  CC      mm/slub.o`. The kernel's own tools have their whole paths.
fn object_of(line: &str) -> Option<&str> {
    let mut words = line.strip_prefix("  ")?.split_whitespace();
    let (Some(_), Some(object), None) = (words.next(), words.next(), words.next()) else { return None };
    object.rsplit('/').next()
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

    #[test]
    fn what_make_is_at_is_shown_by_its_lines() {
        assert_eq!(object_of("  CC      mm/slub.o"), Some("slub.o"));
        assert_eq!(object_of("make[1]: Entering directory"), None);
        assert_eq!(object_of("  mm/slub.c: In function"), None);
    }
}
