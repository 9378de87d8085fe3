//! The contents of the cache: which entries are this tool's, and which of them this version uses.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::arch::ARCHES;
use crate::boot::kernels::lock::Lock;
use crate::boot::kernels::{self, KERNELS};
use crate::cc::facts::Libbpf;
use crate::cc::libbpf::{self, For};
use crate::cc::{cxx, recipe};
use crate::container::recipe as image;
use crate::cross::program as cross;
use crate::sys::cache::{Cache, PARTIAL};
use crate::sys::command::quote;
use crate::sys::files;
use crate::sys::plan::{Step, Task, Work};
use crate::toolchain::{facts, nfpm, sysroot, zig};
use crate::ui::screen;
use crate::workspace::packages::Crates;
use crate::workspace::rust::Rust;

/// What the name of an entry that is being removed ends with.
const REMOVED: &str = ".removed";

/// What the names of entries of a kind begin with, and what decides which of them are used.
const KINDS: [(&str, By); 8] = [
    (zig::PREFIX, By::Tool),
    (nfpm::PREFIX, By::Tool),
    (cxx::PREFIX, By::Tool),
    (sysroot::PREFIX, By::Rust),
    (cross::PREFIX, By::Rust),
    (libbpf::PREFIX, By::Crates),
    (image::PREFIX, By::Workspace),
    (kernels::PREFIX, By::Pins),
];

/// What decides which entries of a kind are used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// This version of the tool.
    Tool,
    /// The Rust that the workspace pins.
    Rust,
    /// The crates of the workspace, too.
    Crates,
    /// What the workspace wants in its image, which only a build reads.
    Workspace,
    /// The tool, or of those that are pinned whoever pins them.
    Pins,
}

/// The contents of the cache. Its form as JSON is documented in docs/doctor.md.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Listing {
    pub folder: String,
    pub bytes: u64,
    pub entries: Vec<Entry>,
}

/// Something in the cache that this tool made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Entry {
    pub name: String,
    /// What it takes on the disk.
    pub bytes: u64,
    /// Since it was made.
    pub age_days: u64,
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// This workspace uses it.
    InUse,
    /// It is of another version of this tool, of the compiler or of Rust.
    OtherVersion,
    /// A run that was killed left it; or one that is under way is at it.
    HalfDone,
    /// It depends on the pinned Rust, or on crates, which are not there; or on what a workspace wants in its image, or pins.
    Unknown,
}

impl Listing {
    /// `crates` are those of the workspace, if they are known: they decide which libbpf it is built with. `pins` are the kernels
    /// that it pins.
    pub fn read(cache: &Cache, rust: Option<&Rust>, crates: Option<&Crates>, pins: &Lock) -> Result<Listing> {
        let mut names = facts::names(rust);
        names.extend(KERNELS.iter().map(|kernel| kernel.entry(pins.pin(kernel))));
        names.extend(ARCHES.iter().map(|arch| cxx::name(arch, &recipe::flags())));
        names.extend(image::usual().map(|recipe| recipe.entry()));
        names.extend(rust.map(|rust| cross::name(&rust.host)));
        let known = rust.zip(crates);
        let is_known = |name: &str| match kind(name) {
            None | Some(By::Tool) => true,
            Some(By::Rust) => rust.is_some(),
            Some(By::Crates) => known.is_some(),
            Some(By::Workspace) => false,
            Some(By::Pins) => !name.contains(kernels::PINNED),
        };
        names.extend(known.iter().flat_map(|(rust, crates)| libbpf_names(rust, crates)));
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
                true if is_known(&name) => State::OtherVersion,
                true => State::Unknown,
            };
            let age_days = made.unwrap_or_default().as_secs() / 86_400;
            entries.push(Entry { bytes: size(&path), name, age_days, state });
        }
        let folder = cache.folder.to_string_lossy().into_owned();
        Ok(Listing { folder, bytes: entries.iter().map(|entry| entry.bytes).sum(), entries })
    }
}

/// The libraries that a workspace's build scripts and targets are linked with, if it has libbpf.
fn libbpf_names(rust: &Rust, crates: &Crates) -> Vec<String> {
    let Some(libbpf) = Libbpf::find(crates).ok().flatten() else { return Vec::new() };
    let targets = ARCHES.iter().map(For::Target).chain([For::Host(&rust.host)]);
    targets.map(|whose| libbpf::name(&libbpf, whose)).collect()
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
    (is_hash && kind(before).is_some()).then_some((entry, half.is_none()))
}

fn kind(name: &str) -> Option<By> {
    KINDS.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, by)| *by)
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

/// Plans to remove an entry.
pub fn removal(cache: &Cache, entry: &Entry) -> Task {
    let step = RemoveEntry { cache: cache.clone(), name: entry.name.clone(), size: screen::size(entry.bytes) };
    Task::new(format!("removing {} ({})", step.name, step.size), vec![Box::new(step)])
        .failure(format!("cannot remove {}", cache.path(&entry.name).display()))
}

/// Removes an entry, unless another run makes or uses it.
#[derive(Debug)]
struct RemoveEntry {
    cache: Cache,
    name: String,
    size: String,
}

impl RemoveEntry {
    /// The entry is renamed first: interrupted, this leaves nothing that looks whole.
    fn remove(&self) -> Result<bool> {
        let (entry, _) = entry_of(&self.name).context("not an entry of the cache")?;
        let path = self.cache.path(&self.name);
        let Some(_lock) = self.cache.try_lock(entry)?.filter(|_| path.exists()) else { return Ok(false) };
        let aside = self.cache.path(&format!("{entry}{REMOVED}"));
        if path != aside {
            files::remove_folder(&aside)?;
            fs::rename(path, &aside)?;
        }
        files::remove_folder(&aside)?;
        Ok(true)
    }
}

impl Step for RemoveEntry {
    fn line(&self) -> String {
        format!("# unless another run makes or uses it:\nrm -rf {}", quote(&self.cache.path(&self.name)))
    }

    fn json(&self) -> Value {
        json!({ "remove-entry": { "entry": self.cache.path(&self.name) } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        work.runner.status(match self.remove()? {
            true => format!("removed {} ({})", self.name, self.size),
            false => format!("left {}: another run makes or uses it", self.name),
        });
        Ok(())
    }
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
