//! The sources of crates that a build was given: all targets share them, and so do later builds, so nothing may write there.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::bufread::GzDecoder;
use serde::Deserialize;
use toml::{Table, Value};

use crate::sys::hash::{self, Sha256};
use crate::sys::process::Runner;
use crate::sys::{files, parallel};
use crate::workspace::snapshot;

/// What cargo itself puts beside the sources.
const OF_CARGO: [&str; 2] = [".cargo-ok", ".cargo-checksum.json"];

/// A crate whose sources are not what was published.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    pub package: String,
    /// Our copy of the sources, if there is one.
    pub copy: Option<PathBuf>,
    /// The first file that is not as it was.
    pub file: String,
    what: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} was {}", self.file, self.package, self.what)
    }
}

/// `checksums` of a folder that `cargo vendor` made.
#[derive(Deserialize)]
struct Vendored {
    files: BTreeMap<String, Sha256>,
}

/// Compares the sources of packages, by their folders, with what was downloaded. `home` is the CARGO_HOME of the build.
pub fn faults(runner: Runner, home: &Path, packages: &BTreeMap<PathBuf, String>) -> Result<Vec<Fault>> {
    let packages: Vec<(&PathBuf, &String)> = packages.iter().collect();
    let found = parallel::map(&packages, |(folder, package)| fault(runner, home, folder, package));
    let found: Vec<Option<Fault>> = found.into_iter().collect::<Result<_>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn fault(runner: Runner, home: &Path, folder: &Path, package: &str) -> Result<Option<Fault>> {
    let (registry, git) = (home.join("registry/src"), home.join("git/checkouts"));
    let checksums = folder.join(".cargo-checksum.json");
    let fault = |copy, (file, what)| Fault { package: package.into(), copy, file, what };
    if !folder.exists() {
        // Its build failed, and so our copy was removed already.
        return Ok(None);
    }
    if let Ok(copy) = folder.strip_prefix(&registry) {
        let archive = archive(home, copy)?;
        let published = published(&archive).with_context(|| {
            format!("cannot compare the sources of {package} with {}: run `cargo fetch`", archive.display())
        })?;
        return Ok(difference(folder, &published)?.map(|found| fault(Some(folder.into()), found)));
    }
    if let Ok(path) = folder.strip_prefix(&git) {
        let written = snapshot::written(runner, folder, &OF_CARGO)?;
        // A repository, and a commit of it.
        let copy = git.iter().chain(path.iter().take(2)).collect();
        return Ok(written.map(|file| fault(Some(copy), (file, "written"))));
    }
    match files::read_if_there(&checksums)? {
        Some(text) => {
            let vendored: Vendored =
                serde_json::from_str(&text).with_context(|| format!("{} is not understood", checksums.display()))?;
            Ok(difference(folder, &vendored.files)?.map(|found| fault(None, found)))
        }
        // Of the snapshot, which is compared as a whole, or of no commit, which the manifest says.
        None => Ok(None),
    }
}

/// What a registry provides of a package, by the path of its copy: cargo keeps what it downloads, and unpacks what is in a local
/// registry from there.
fn archive(home: &Path, copy: &Path) -> Result<PathBuf> {
    let kept = home.join("registry/cache").join(format!("{}.crate", copy.display()));
    if kept.exists() {
        return Ok(kept);
    }
    let config = files::read_if_there(&home.join("config.toml"))?.unwrap_or_default();
    let config: Table = config.parse().context("cannot understand the configuration of the build's own CARGO_HOME")?;
    let sources = config.get("source").and_then(Value::as_table).into_iter().flatten();
    let folders = sources.filter_map(|(_, source)| source.get("local-registry")?.as_str());
    let name = kept.file_name().unwrap_or_default();
    let local = folders.map(|folder| Path::new(folder).join(name)).find(|archive| archive.is_file());
    Ok(local.unwrap_or(kept))
}

/// The files in what a registry provides of a package.
fn published(archive: &Path) -> Result<BTreeMap<String, Sha256>> {
    let mut tar = tar::Archive::new(GzDecoder::new(BufReader::new(File::open(archive)?)));
    let mut published = BTreeMap::new();
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let Some(path) = path.components().skip(1).collect::<PathBuf>().to_str().map(String::from) else {
            bail!("{} is not UTF-8", path.display());
        };
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if !entry.header().entry_type().is_dir() {
            published.insert(path, hash::bytes(&bytes));
        }
    }
    Ok(published)
}

/// The first file of a folder that is not one of these, and what has become of it.
fn difference(folder: &Path, published: &BTreeMap<String, Sha256>) -> Result<Option<(String, &'static str)>> {
    let mut found = Vec::new();
    walk(folder, "", &mut found)?;
    let is_of_cargo = |path: &str| OF_CARGO.contains(&path);
    found.retain(|path| !is_of_cargo(path));
    for path in &found {
        match published.get(path) {
            None => return Ok(Some((path.clone(), "added"))),
            Some(expected) if hash::file(&folder.join(path))? != *expected => {
                return Ok(Some((path.clone(), "changed")));
            }
            Some(_) => {}
        }
    }
    let removed = published.keys().find(|path| !is_of_cargo(path) && found.binary_search(path).is_err());
    Ok(removed.map(|path| (path.clone(), "removed")))
}

/// The files and links below a folder, sorted. No link is followed.
fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => walk(&entry.path(), &format!("{path}/"), found)?,
            false => found.push(path),
        }
    }
    found.sort();
    Ok(())
}
