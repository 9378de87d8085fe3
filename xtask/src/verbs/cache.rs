//! `cargo xtask cache`: the contents of the cache, and their removal.

use anyhow::Result;
use serde::Serialize;

use crate::boot::kernels::lock::Lock;
use crate::flags::{self, CacheAction, Common};
use crate::sys;
use crate::sys::cache::Cache;
use crate::sys::plan::Task;
use crate::sys::process::Runner;
use crate::ui::screen;
use crate::ui::table::Align::{Left, Right};
use crate::ui::table::Table;
use crate::workspace::cached::{self, Entry, Listing, State};
use crate::workspace::facts::{self, Workspace};
use crate::workspace::rust::Rust;

/// What was removed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Removed {
    /// Names of entries.
    pub removed: Vec<String>,
    /// What they took on the disk.
    pub bytes: u64,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &flags::Cache) -> Result<()> {
    let cache = Cache::find()?;
    if let Some(CacheAction::Clean(clean)) = &request.action {
        return self::clean(runner, &cache, clean, clean.show.json || request.json);
    }
    // Without a workspace, or the Rust that it pins, there still is a listing.
    let manifest = facts::find_manifest(common.manifest_path.as_deref()).ok();
    let rust = manifest.as_deref().and_then(|manifest| Rust::pinned(runner, &facts::root_of(manifest)).ok());
    let workspace = manifest.as_deref().zip(rust.as_ref());
    let workspace =
        workspace.and_then(|(manifest, rust)| Some((Workspace::read(runner, manifest, rust, true).ok()?, rust)));
    let crates = workspace.and_then(|(workspace, rust)| workspace.crates(runner, rust, true).ok());
    runner.check_interrupted()?;
    let pins = manifest.and_then(|manifest| Lock::read(&facts::root_of(&manifest)).ok()).unwrap_or_default();
    let listing = Listing::read(&cache, rust.as_ref(), crates.as_ref(), &pins)?;
    match request.json {
        true => screen::print_result(&listing),
        false => screen::print_tables(&[table(&listing)]),
    }
}

fn table(listing: &Listing) -> Table {
    // The first column indents the others.
    let mut table = Table::new([Left, Right, Right, Left]);
    table.note(format!("{}: {}", listing.folder, screen::size(listing.bytes)));
    for (state, title) in [
        (State::InUse, "in use"),
        (State::OtherVersion, "from another version"),
        (State::HalfDone, "left half done"),
        (State::Unknown, "in use or not: that depends on the pinned Rust and on crates, which are not known here"),
    ] {
        let entries: Vec<_> = listing.entries.iter().filter(|entry| entry.state == state).collect();
        if !entries.is_empty() {
            table.note(title);
        }
        for entry in entries {
            // The title shows that they are not complete.
            let name = cached::entry_of(&entry.name).map_or(entry.name.as_str(), |(name, _)| name);
            let age = format!("{} day{}", entry.age_days, if entry.age_days == 1 { "" } else { "s" });
            table.row(["", &screen::size(entry.bytes), &age, name]);
        }
    }
    table
}

fn clean(runner: Runner, cache: &Cache, request: &flags::Clean, json: bool) -> Result<()> {
    let mut entries = Listing::read(cache, None, None, &Lock::default())?.entries;
    // What is half done is useless, however new it is.
    let is_old = |entry: &Entry| request.older_than.is_none_or(|days| entry.age_days >= days.into());
    entries.retain(|entry| entry.state == State::HalfDone || is_old(entry));
    let tasks: Vec<Task> = entries.iter().map(|entry| cached::removal(cache, entry)).collect();
    if request.show.plan {
        return sys::plan::print(&tasks, json);
    }
    sys::plan::run(runner, &tasks)?;
    entries.retain(|entry| !cache.path(&entry.name).exists());
    let freed = entries.iter().map(|entry| entry.bytes).sum();
    if json {
        let removed = entries.into_iter().map(|entry| entry.name).collect();
        return screen::print_result(Removed { removed, bytes: freed });
    }
    let folder = cache.folder.display();
    runner.status(match freed {
        0 => format!("nothing was removed from {folder}"),
        _ => format!("{} are free again in {folder}", screen::size(freed)),
    });
    Ok(())
}
