//! Makes the snapshot be what there is. If nothing changed since it was made, that is seen without taking it apart.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::folders::Folders;
use super::git::{Commit, Repository};
use super::id::Format;
use super::record::Glance;
use super::tree::{Change, Request, Tree, canonical, inside};
use super::write::Snapshot;
use super::{RECORD, SOURCE};
use crate::sys::process::Runner;

/// A snapshot, and what it is of.
#[derive(Debug)]
pub struct Taken {
    /// As in [`Tree`].
    pub top: PathBuf,
    pub workspace: String,
    pub commit: Option<Commit>,
    pub changes: Vec<Change>,
    pub snapshot: Snapshot,
}

/// Makes the folder of the snapshot hold what is asked for. The caller sees to it that nobody else does at the same time.
pub fn take(runner: Runner, request: &Request) -> Result<Taken> {
    if let Some(taken) = unchanged(runner, request)? {
        return Ok(taken);
    }
    let tree = Tree::read(runner, request)?;
    let snapshot = tree.write()?;
    Ok(Taken { top: tree.top, workspace: tree.workspace, commit: tree.commit, changes: tree.changes, snapshot })
}

/// The snapshot of a work tree that had no changes when it was made, and has none since: the same commit is checked out, all
/// files and folders are as they were, and git lists the same ones.
fn unchanged(runner: Runner, request: &Request) -> Result<Option<Taken>> {
    let Ok(record) = fs::read(request.snapshot.join(RECORD)) else { return Ok(None) };
    let Some(glance) = Glance::new(&record) else { return Ok(None) };
    let workspace = canonical(request.workspace);
    let repository = Repository::around(runner, &workspace, &request.settings);
    let (Some(clean), Some(repository), None) = (&glance.clean, repository, request.commit) else {
        return Ok(None);
    };
    if repository.commit("HEAD").ok().flatten().as_ref() != Some(&clean.commit) {
        return Ok(None);
    }
    let Some(path) = workspace.strip_prefix(&repository.folder)?.to_str() else { return Ok(None) };
    let source = request.snapshot.join(SOURCE);
    let manifest = if path.is_empty() { "Cargo.toml".into() } else { format!("{path}/Cargo.toml") };
    if !is_as_recorded(&glance, &repository.folder, &source, &manifest)? {
        return Ok(None);
    }
    let left_out = inside(&request.left_out(), &repository.folder);
    if Format::Plain.of_bytes(&repository.list(&left_out)?) != clean.listed {
        return Ok(None);
    }
    let snapshot = Snapshot {
        workspace: source.iter().chain(Path::new(path)).collect(),
        written: Vec::new(),
        removed: Vec::new(),
        outside: Vec::new(),
        identity: clean.identity.clone(),
        source,
    };
    let workspace = path.to_owned();
    Ok(Some(Taken {
        top: repository.folder,
        workspace,
        commit: Some(clean.commit.clone()),
        changes: Vec::new(),
        snapshot,
    }))
}

/// Whether all files of the record are the same in the work tree and in the snapshot, and that of this workspace is one.
fn is_as_recorded(record: &Glance, top: &Path, source: &Path, manifest: &str) -> Result<bool> {
    let Glance { files, folders, .. } = record;
    let name = [manifest.as_bytes(), b"\0"].concat();
    let begins = |at: usize| at == 0 || files.paths[at - 1] == 0;
    let has_manifest = memchr::memmem::find_iter(files.paths, &name).any(begins);
    Ok(has_manifest
        && Folders::new(top).are(files.paths, files.work)?
        && Folders::new(source).are(files.paths, files.snapshot)?
        && Folders::new(source).are(folders.paths, folders.snapshot)?)
}
