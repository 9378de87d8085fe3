//! What is built: the files of the commit, or of the work tree if that has changes, laid out in a folder of the tool's own.

mod clock;
mod folders;
mod git;
mod id;
mod lfs;
mod links;
mod names;
mod place;
mod record;
mod steps;
mod take;
mod tree;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sys::process::Runner;

pub use git::{Commit, Ignored, settings, top};
pub use steps::{Touch, Verify};
pub use take::{Taken, take};
pub use tree::{Change, Difference, Request, Tree};
pub use write::{begin, put, sweep, touch, verify};

use git::Repository;

/// The files, in the folder of a snapshot. Beside it lies what the tool remembers of it.
const SOURCE: &str = "source";
const RECORD: &str = "record";
/// What [`touch`] was called with last.
const TOUCHED: &str = "touched";
/// There while something is built of it, and until that is found to have left the snapshot as it was: else what was built is
/// not to be used.
const UNCHECKED: &str = "unchecked";

/// Where the files of the snapshot in a folder lie: the top of the repository.
pub fn source(folder: &Path) -> PathBuf {
    folder.join(SOURCE)
}

/// A file in a folder of a work tree that is not what is committed, but for those of these names.
pub fn written(runner: Runner, folder: &Path, but: &[&str]) -> Result<Option<String>> {
    let Some(repository) = Repository::around(runner, folder, &BTreeMap::new()) else { return Ok(None) };
    let inside = folder.strip_prefix(&repository.folder)?;
    let changed = repository.changed()?;
    let of_it = changed.iter().filter_map(|path| Path::new(path).strip_prefix(inside).ok()?.to_str());
    Ok(of_it.filter(|path| !but.contains(path)).map(|path| names::shown(path).into_owned()).next())
}

/// Why git ignores a path, if it does: then it is in no clone.
pub fn ignored(runner: Runner, path: &Path, settings: &BTreeMap<String, String>) -> Result<Option<Ignored>> {
    let folder = path.parent().context("the root of all files is in no folder")?;
    let Some(repository) = Repository::around(runner, folder, settings) else { return Ok(None) };
    let path = path.strip_prefix(&repository.folder)?;
    repository.ignored(path.to_str().with_context(|| format!("{} is not UTF-8: rename it", path.display()))?)
}

/// The files and folders of a work tree that git ignores, by their paths in it; but for `left_out`.
pub fn all_ignored(
    runner: Runner,
    top: &Path,
    left_out: &[PathBuf],
    settings: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let Some(repository) = Repository::around(runner, top, settings) else { return Ok(Vec::new()) };
    let is_ours = |path: &String| left_out.iter().any(|folder| folder.starts_with(repository.folder.join(path)));
    Ok(repository.all_ignored()?.into_iter().filter(|path| !is_ours(path)).collect())
}
