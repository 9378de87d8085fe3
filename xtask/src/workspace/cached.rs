//! The contents of the cache: which entries are this tool's, and which of them this version uses.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::boot::kernels::{self, KERNELS, Kernel};
use crate::cc::{cxx, libbpf};
use crate::sys::cache::{Cache, PARTIAL};
use crate::sys::files;
use crate::toolchain::{facts, sysroot, zig};
use crate::workspace::rust::Rust;

/// What the name of an entry that is being removed ends with.
const REMOVED: &str = ".removed";

/// The contents of the cache. Its form as JSON is documented in docs/doctor.md.
#[derive(Debug, Serialize)]
pub struct Listing {
    pub folder: String,
    pub bytes: u64,
    pub entries: Vec<Entry>,
}

/// Something in the cache that this tool made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub name: String,
    /// What it takes on the disk.
    pub bytes: u64,
    /// Since it was made.
    pub age_days: u64,
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// This workspace uses it.
    InUse,
    /// It is of another version of this tool, of the compiler or of Rust.
    OtherVersion,
    /// A run that was killed left it; or one that is under way is at it.
    HalfDone,
    /// It depends on the pinned Rust, which is not there.
    Unknown,
}

impl Listing {
    pub fn read(cache: &Cache, rust: Option<&Rust>) -> Result<Listing> {
        let mut names = facts::names(rust);
        names.extend(KERNELS.iter().map(Kernel::entry));
        let mut entries = Vec::new();
        for name in cache.entries()? {
            let path = cache.path(&name);
            let Some((_, whole)) = entry_of(&name) else { continue };
            // What another run has just removed, or is no folder, is not listed: a link may lead anywhere.
            let Some(metadata) = fs::symlink_metadata(&path).ok().filter(Metadata::is_dir) else { continue };
            let made = metadata.modified().ok().and_then(|made| SystemTime::now().duration_since(made).ok());
            let state = match whole {
                false => State::HalfDone,
                true if names.contains(&name) => State::InUse,
                true if rust.is_none() && name.starts_with(sysroot::PREFIX) => State::Unknown,
                true => State::OtherVersion,
            };
            let age_days = made.unwrap_or_default().as_secs() / 86_400;
            entries.push(Entry { bytes: size(&path), name, age_days, state });
        }
        let folder = cache.folder.to_string_lossy().into_owned();
        Ok(Listing { folder, bytes: entries.iter().map(|entry| entry.bytes).sum(), entries })
    }
}

/// Whether this is the name of an entry that is not half made.
pub fn is_whole(name: &str) -> bool {
    entry_of(name).is_some_and(|(_, whole)| whole)
}

/// The entry that a name in the cache belongs to, and whether it is that entry itself, if this tool makes such names.
pub fn entry_of(name: &str) -> Option<(&str, bool)> {
    let half = [PARTIAL, REMOVED].iter().find_map(|suffix| name.strip_suffix(suffix));
    let entry = half.unwrap_or(name);
    let (before, hash) = entry.rsplit_once('-')?;
    let is_hash = hash.len() == 16 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_ours = [zig::PREFIX, sysroot::PREFIX, kernels::PREFIX, cxx::PREFIX, libbpf::PREFIX]
        .iter()
        .any(|prefix| before.starts_with(prefix));
    (is_ours && is_hash).then_some((entry, half.is_none()))
}

/// What a folder takes on the disk. What vanishes meanwhile does not count.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        Some(metadata.blocks() * 512 + if metadata.is_dir() { size(&entry.path()) } else { 0 })
    });
    sizes.sum()
}

/// Removes an entry, unless another run is at it. It is renamed first: cut off, this leaves nothing that looks whole.
pub fn remove(cache: &Cache, name: &str) -> Result<bool> {
    let (entry, _) = entry_of(name).context("not an entry of the cache")?;
    let Some(_lock) = cache.try_lock(entry)? else { return Ok(false) };
    if !cache.path(name).exists() {
        // Finished or removed since it was listed.
        return Ok(false);
    }
    let aside = cache.path(&format!("{entry}{REMOVED}"));
    if cache.path(name) != aside {
        files::remove_folder(&aside)?;
        fs::rename(cache.path(name), &aside)?;
    }
    files::remove_folder(&aside)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_this_tool_makes_are_its_own() {
        let name = zig::name().unwrap();
        assert_eq!(entry_of(&name), Some((name.as_str(), true)));
        for suffix in [PARTIAL, REMOVED] {
            assert_eq!(entry_of(&format!("{name}{suffix}")), Some((name.as_str(), false)));
        }
        assert!(entry_of("sysroot-mips-unknown-linux-musl-4440b913e9f6f3f5").is_some());
        for foreign in ["locks", "ziglang", "ziglang-notes", "sysroot-backup-2024", "home-4440b913e9f6f3f5", "ann"] {
            assert_eq!(entry_of(foreign), None, "{foreign}");
        }
    }
}
