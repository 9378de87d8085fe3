//! A package, and the configuration of the packager for it, which is YAML, and so may be JSON.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::arch::Arch;
use crate::package::contents::{Contents, File, Kind};
use crate::package::format::Row;
use crate::workspace::products::About;

/// A package that is made.
#[derive(Debug)]
pub struct Package {
    pub row: &'static Row,
    pub archive: String,
    /// The architecture that it is made for, and what the format calls it.
    pub target: &'static Arch,
    pub arch: &'static str,
    pub name: String,
    pub version: String,
    pub about: About,
    pub license: String,
    pub maintainer: String,
    pub units: Vec<String>,
    pub contents: Contents,
    /// Of everything in it: seconds since 1970.
    pub date: u64,
}

impl Package {
    pub fn file(&self) -> String {
        self.row.file(&self.name, &self.version, self.arch)
    }
}

/// The configuration of a package whose files are in the folder `tree`, and whose scripts are in `scripts`, by their keys.
pub fn spec(package: &Package, tree: &Path, scripts: &Path) -> Value {
    let Package { row, name, version, arch, about, .. } = package;
    let date = date(package.date);
    let file = |(place, file): (&String, &File)| {
        let mode = if file.entry.executable { 0o755 } else { 0o644 };
        // Only rpm knows these.
        let kind = match (row.packager, file.kind) {
            ("rpm", Kind::Document) => "doc",
            ("rpm", Kind::License) => "license",
            _ => "",
        };
        json!({
            "src": tree.join(&place[1..]),
            "dst": place,
            "type": kind,
            "file_info": { "mode": mode, "owner": "root", "group": "root", "mtime": date },
        })
    };
    let contents: Vec<Value> = package.contents.iter().map(file).collect();
    let has_units = row.systemd && !package.units.is_empty();
    let scripts: Map<String, Value> = row
        .scripts
        .iter()
        .filter(|_| has_units)
        .map(|(key, _)| ((*key).to_owned(), json!(scripts.join(key))))
        .collect();
    let mut spec = json!({
        "name": name,
        "arch": arch,
        "platform": "linux",
        "version": version,
        "version_schema": "semver",
        "section": "utils",
        "priority": "optional",
        "maintainer": literal(&package.maintainer),
        // Debian wants a first line, and more below it.
        "description": literal(&format!("{}\nStatically linked: it needs no library of the system.", about.description)),
        "license": package.license,
        "mtime": date,
        "umask": 0o022,
        "disable_globbing": true,
        "contents": contents,
        "scripts": scripts,
        "deb": { "compression": "gzip" },
        // Else it is the name of this machine.
        "rpm": { "buildhost": "reproducible", "compression": "gzip", "packager": literal(&package.maintainer) },
        "archlinux": { "packager": package.maintainer },
    });
    spec[row.packager]["arch"] = (*arch).into();
    if let Some(release) = row.release {
        spec["release"] = release.into();
    }
    if let Some(homepage) = about.website() {
        spec["homepage"] = literal(homepage).into();
    }
    spec
}

/// The only variable of the packager's environment, and its value.
pub const DOLLAR: (&str, &str) = ("DOLLAR", "$");

/// A text in which the packager would put the values of variables, so that it stays as it is.
fn literal(text: &str) -> String {
    text.replace('$', "${DOLLAR}")
}

/// Seconds since 1970 as the packager reads them.
pub fn date(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}
