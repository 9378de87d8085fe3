//! What this machine has for booting others.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::arch::{ARCHES, Arch};
use crate::sys::command::Command;
use crate::sys::process::Runner;
use crate::sys::{files, hash};
use crate::workspace::facts::Facts;

/// The crate of the first process of each guest.
pub const GUEST_CRATE: &str = "bpfship-guest";

/// The variable that names a mirror of Debian's.
const VARIABLE: &str = "BPFSHIP_DEBIAN_MIRROR";
/// Where Debian's package of its own keys puts them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The settings that say how to reach a mirror: beginnings of names below `Acquire`. None of them has signatures ignored.
const SETTINGS: [&str; 5] = ["http", "Retries", "ForceIPv4", "ForceIPv6", "Check-Valid-Until"];
const APT_FOLDER: &str = "/etc/apt";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Programs of QEMU, by the names of architectures.
    pub emulators: BTreeMap<&'static str, PathBuf>,
    /// Where Debian's packages come from, or why they cannot come.
    pub mirror: Result<Mirror, String>,
    /// MiB of memory that guests may have between them; none if that cannot be known.
    pub memory: Option<u32>,
    /// The crate of the first process of each guest, if the workspace has it.
    pub guest_crate: Option<GuestCrate>,
}

/// Where the crate `bpfship-guest` is, and with which versions of its dependencies it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestCrate {
    pub folder: PathBuf,
    /// SHA-256 of the workspace's Cargo.lock.
    pub lock_sha256: String,
}

/// A server that has Debian's packages, and how this machine talks to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    pub url: String,
    /// The keys that Debian signs with.
    pub keyring: PathBuf,
    /// apt's settings for the network, as its configuration has them.
    pub acquire: String,
}

impl Host {
    pub fn read(runner: Runner, facts: &Facts) -> Result<Host> {
        let emulators = ARCHES.iter().filter_map(|arch| Some((arch.name, on_path(&arch.emulator())?)));
        let memory = files::read_if_there(Path::new("/proc/meminfo"))?.and_then(|text| available(&text));
        Ok(Host {
            emulators: emulators.collect(),
            mirror: mirror(runner)?,
            memory,
            guest_crate: GuestCrate::find(facts)?,
        })
    }

    /// QEMU's program for an architecture.
    pub fn emulator(&self, arch: &Arch) -> Result<&Path> {
        match self.emulators.get(arch.name) {
            Some(path) => Ok(path),
            None => bail!(
                "there is no {} on this machine: apt install qemu-system (Debian), dnf install qemu (Fedora), \
                 pacman -S qemu-emulators-full (Arch), brew install qemu (macOS)",
                arch.emulator()
            ),
        }
    }
}

impl GuestCrate {
    /// Finds it among the workspace's members and their dependencies: whoever depends on this tool depends on it.
    fn find(facts: &Facts) -> Result<Option<GuestCrate>> {
        let mut packages = facts.members.iter().chain(&facts.packages);
        let Some(package) = packages.find(|package| package.name == GUEST_CRATE) else { return Ok(None) };
        let lock_sha256 = hash::file(&facts.root.join("Cargo.lock"))?;
        Ok(Some(GuestCrate { folder: package.folder.clone(), lock_sha256 }))
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn mirror(runner: Runner) -> Result<Result<Mirror, String>> {
    for program in ["apt-get", "dpkg-deb"] {
        if on_path(program).is_none() {
            return Ok(Err(format!("there is no {program} on this machine, through which they are fetched")));
        }
    }
    let url = match env::var(VARIABLE).ok().filter(|url| !url.is_empty()) {
        Some(url) => Some(url),
        None => sources()?.iter().find_map(|text| debian_mirror(text)),
    };
    let Some(url) = url else {
        return Ok(Err(format!("apt has no source of Debian's here: set {VARIABLE} to the address of a mirror")));
    };
    if url.contains(char::is_whitespace) {
        return Ok(Err(format!("{VARIABLE} is {url:?}, which is no address")));
    }
    let keyring = PathBuf::from(KEYRING);
    if !keyring.is_file() {
        return Ok(Err(format!("there is no {KEYRING} to check them with: apt install debian-archive-keyring")));
    }
    let dump = Command::new("apt-config", Path::new("/")).args(["dump", "--format", "%F \"%v\";%n", "Acquire"]);
    let is_wanted = |line: &&str| SETTINGS.iter().any(|name| line.starts_with(&format!("Acquire::{name}")));
    let acquire = runner.read(&dump)?.lines().filter(is_wanted).map(|line| format!("{line}\n")).collect();
    Ok(Ok(Mirror { url, keyring, acquire }))
}

/// The texts of all files that say where apt's packages come from.
fn sources() -> Result<Vec<String>> {
    let folder = Path::new(APT_FOLDER);
    let parts = folder.join("sources.list.d");
    let is_source = |name: &String| name.ends_with(".list") || name.ends_with(".sources");
    let parts = files::list(&parts)?.into_iter().filter(is_source).map(|name| parts.join(name));
    let files = std::iter::once(folder.join("sources.list")).chain(parts);
    Ok(files.filter_map(|file| files::read_if_there(&file).ok().flatten()).collect())
}

/// The first mirror of Debian's own archive in such a text.
fn debian_mirror(text: &str) -> Option<String> {
    let is_mirror = |word: &&str| word.contains("://") && word.trim_end_matches('/').ends_with("/debian");
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    lines.flat_map(str::split_whitespace).find(is_mirror).map(String::from)
}

/// The memory that programs may still take, in MiB.
fn available(meminfo: &str) -> Option<u32> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    u32::try_from(kilobytes / 1024).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_found_in_both_forms_of_a_source() {
        let old = "# deb http://wrong/debian x main\ndeb [arch=amd64] http://mirror.example/debian/ bookworm main\n";
        assert_eq!(debian_mirror(old).unwrap(), "http://mirror.example/debian/");
        let new = "Types: deb\nURIs: http://a.example/debian-security http://b.example/debian\nSuites: x\n";
        assert_eq!(debian_mirror(new).unwrap(), "http://b.example/debian");
        assert_eq!(debian_mirror("deb http://archive.example/ubuntu noble main"), None);
    }

    #[test]
    fn the_memory_is_what_is_available() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2097152 kB\n"), Some(2048));
        assert_eq!(available(""), None);
    }
}
