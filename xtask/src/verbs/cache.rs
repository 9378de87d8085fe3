//! `cargo xtask cache`: what lies in the cache, and its removal.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::bad_request;
use crate::boot::kernels;
use crate::boot::kernels::{KERNELS, Kernel};
use crate::flags;
use crate::flags::{CacheAction, Common};
use crate::sys::cache::{Cache, PARTIAL};
use crate::sys::files;
use crate::sys::process::Runner;
use crate::toolchain;
use crate::toolchain::sysroot;
use crate::toolchain::zig;
use crate::ui::screen;
use crate::workspace::facts;
use crate::workspace::facts::Rust;

/// What the name of an entry that is being removed ends with.
const REMOVED: &str = ".removed";

/// What lies in the cache. Its form as JSON is told in docs/doctor.md.
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

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &flags::Cache) -> Result<()> {
    let cache = Cache::find()?;
    if let Some(CacheAction::Clean(clean)) = &request.action {
        if request.json {
            bad_request!("--json is for the listing: leave it out");
        }
        return remove_all(runner, &cache, clean);
    }
    // Without a workspace, or the Rust that it pins, there still is a listing.
    let root = facts::find_manifest(common.manifest_path.as_deref()).map(|manifest| facts::root_of(&manifest));
    let rust = root.and_then(|root| Rust::pinned(runner, &root)).ok();
    runner.check_interrupted()?;
    let listing = Listing::read(&cache, rust.as_ref())?;
    screen::print(&match request.json {
        true => serde_json::to_string_pretty(&listing)? + "\n",
        false => text(&listing),
    })
}

impl Listing {
    pub fn read(cache: &Cache, rust: Option<&Rust>) -> Result<Listing> {
        let mut names = toolchain::names(rust);
        names.extend(KERNELS.iter().filter_map(Kernel::entry));
        let mut entries = Vec::new();
        for name in cache.entries()? {
            let path = cache.path(&name);
            let Some((_, whole)) = own(&name) else { continue };
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
    own(name).is_some_and(|(_, whole)| whole)
}

/// The entry that a name in the cache belongs to, and whether it is that entry itself, if this tool makes such names.
fn own(name: &str) -> Option<(&str, bool)> {
    let half = [PARTIAL, REMOVED].iter().find_map(|suffix| name.strip_suffix(suffix));
    let entry = half.unwrap_or(name);
    let (before, hash) = entry.rsplit_once('-')?;
    let is_hash = hash.len() == 16 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_ours = [zig::PREFIX, sysroot::PREFIX, kernels::PREFIX].iter().any(|prefix| before.starts_with(prefix));
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

fn text(listing: &Listing) -> String {
    let mut text = format!("{}: {}\n", listing.folder, screen::size(listing.bytes));
    for (state, title) in [
        (State::InUse, "in use"),
        (State::OtherVersion, "from another version"),
        (State::HalfDone, "left half done"),
        (State::Unknown, "in use or not: that depends on the pinned Rust, which does not answer here"),
    ] {
        let entries: Vec<_> = listing.entries.iter().filter(|entry| entry.state == state).collect();
        if !entries.is_empty() {
            text += &format!("{title}\n");
        }
        for entry in entries {
            // The title says that they are not whole.
            let name = own(&entry.name).map_or(entry.name.as_str(), |(name, _)| name);
            let age = format!("{} day{}", entry.age_days, if entry.age_days == 1 { "" } else { "s" });
            text += &format!("  {:>6}  {age:>8}  {name}\n", screen::size(entry.bytes));
        }
    }
    text
}

fn remove_all(runner: Runner, cache: &Cache, request: &flags::Clean) -> Result<()> {
    let mut freed = 0;
    for Entry { name, bytes, age_days, state } in Listing::read(cache, None)?.entries {
        runner.check_interrupted()?;
        // What is half done is of no use to anybody, however new it is.
        if state != State::HalfDone && request.older_than.is_some_and(|days| age_days < days.into()) {
            continue;
        }
        match remove(cache, &name).with_context(|| format!("cannot remove {}", cache.path(&name).display()))? {
            true => runner.status(format!("removed {name} ({})", screen::size(bytes))),
            false => {
                runner.status(format!("left {name}: another run makes or uses it"));
                continue;
            }
        }
        freed += bytes;
    }
    match freed {
        0 => runner.status(format!("nothing was removed from {}", cache.folder.display())),
        _ => runner.status(format!("{} are free again in {}", screen::size(freed), cache.folder.display())),
    }
    Ok(())
}

/// Removes an entry, unless another run is at it. It is renamed first: cut off, this leaves nothing that looks whole.
fn remove(cache: &Cache, name: &str) -> Result<bool> {
    let (entry, _) = own(name).context("not an entry of the cache")?;
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
        assert_eq!(own(&name), Some((name.as_str(), true)));
        for suffix in [PARTIAL, REMOVED] {
            assert_eq!(own(&format!("{name}{suffix}")), Some((name.as_str(), false)));
        }
        assert!(own("sysroot-mips-unknown-linux-musl-4440b913e9f6f3f5").is_some());
        for foreign in ["locks", "ziglang", "ziglang-notes", "sysroot-backup-2024", "home-4440b913e9f6f3f5", "ann"] {
            assert_eq!(own(foreign), None, "{foreign}");
        }
    }
}
