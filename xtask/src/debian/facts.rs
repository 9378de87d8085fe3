//! Where Debian's packages come from, as this machine has it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::debian::apt::Mirror;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::process::{self, Runner};
use crate::ui::status::{Found, State, Status};

/// The variable that names a mirror of Debian's.
const VARIABLE: &str = "BPFSHIP_DEBIAN_MIRROR";
/// Where Debian's package of keys puts them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The settings for reaching a mirror: beginnings of names below `Acquire`. None of them has signatures ignored.
const SETTINGS: [&str; 5] = ["http", "Retries", "ForceIPv4", "ForceIPv6", "Check-Valid-Until"];
const APT_FOLDER: &str = "/etc/apt";

impl Mirror {
    /// The mirror that the user names, or that apt has.
    pub fn find(runner: Runner) -> Found<Mirror> {
        for program in ["apt-get", "dpkg-deb"] {
            if process::on_path(program).next().is_none() {
                let detail = format!("there is no {program} on this machine, through which they are fetched");
                return Err(Status::new(State::NeedsYou, detail));
            }
        }
        let url = match env::var(VARIABLE).ok().filter(|url| !url.is_empty()) {
            Some(url) => Some(url),
            None => sources()?.iter().find_map(|text| debian_mirror(text)),
        };
        let Some(url) = url else {
            let remedy = format!("set {VARIABLE} to the address of a mirror");
            return Err(Status::missing("apt has no source of Debian's here", remedy));
        };
        if url.contains(char::is_whitespace) {
            return Err(Status::new(State::NeedsYou, format!("{VARIABLE} is {url:?}, which is no address")));
        }
        let keyring = PathBuf::from(KEYRING);
        if !keyring.is_file() {
            let detail = format!("there is no {KEYRING} to check them with");
            return Err(Status::missing(detail, "apt install debian-archive-keyring"));
        }
        let dump = Command::new("apt-config", Path::new("/")).args(["dump", "--format", "%F \"%v\";%n", "Acquire"]);
        let is_wanted = |line: &&str| SETTINGS.iter().any(|name| line.starts_with(&format!("Acquire::{name}")));
        let acquire = runner.read(&dump)?.lines().filter(is_wanted).map(|line| format!("{line}\n")).collect();
        Ok(Mirror { url, keyring, acquire })
    }
}

/// The texts of all files that list apt's sources.
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
}
