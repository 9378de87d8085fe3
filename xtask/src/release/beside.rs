//! A folder in dist/ beside the archives, with checksums of its own: packages, images. `dist` knows nothing of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::release::layout::CHECKSUMS;
use crate::release::manifest;
use crate::sys::command::quote;
use crate::sys::hash::{self, Sha256};
use crate::sys::plan::{Slot, Step, Task, Work};
use crate::sys::{files, steps};
use crate::workspace::facts;

/// Such a folder. All of it is of one run.
#[derive(Debug, Clone)]
pub struct Shelf {
    folder: PathBuf,
    /// What is there after a run: sizes and hashes, by the names of files.
    pub published: Slot<BTreeMap<String, (u64, Sha256)>>,
}

impl Shelf {
    /// The folder of this name. Refuses what keeps a run from writing to it.
    pub fn new(dist: &Path, name: &str) -> Result<Shelf> {
        let shelf = Shelf { folder: dist.join(name), published: Slot::default() };
        facts::check_folder(&shelf.folder)?;
        facts::check_folder(&shelf.partial())?;
        Ok(shelf)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where everything is written before it is moved to its place.
    pub fn partial(&self) -> PathBuf {
        self.folder.join(".partial")
    }

    /// Removes that folder, whatever came of it.
    pub fn clean(&self) -> Task {
        Task::new(
            "removing the folder that was written to first",
            vec![Box::new(steps::Remove { folder: self.partial() })],
        )
        .always()
    }

    /// What an earlier run left, as its checksums name it.
    fn earlier(&self) -> Result<Vec<String>> {
        let text = files::read_if_there(&self.folder.join(CHECKSUMS))?.unwrap_or_default();
        Ok(manifest::checksums(&text).unwrap_or_default().into_keys().collect())
    }
}

/// Makes the folder in which everything is written first.
#[derive(Debug)]
pub struct Open(pub Shelf);

impl Step for Open {
    fn line(&self) -> String {
        let folder = quote(&self.0.partial());
        format!("rm -rf {folder} && mkdir -p {folder}")
    }

    fn json(&self) -> Value {
        json!({ "open-staging": { "folder": self.0.partial() } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        steps::Remove { folder: self.0.partial() }.run(work)?;
        files::create_folder(&self.0.partial())
    }
}

/// Moves files to their place, their checksums last, and removes what an earlier run left and this one did not make.
#[derive(Debug)]
pub struct Publish {
    pub shelf: Shelf,
    pub files: Vec<String>,
}

impl Step for Publish {
    fn line(&self) -> String {
        let folder = self.shelf.folder.display();
        format!(
            "# move to {folder}: {}, and {CHECKSUMS} last; remove what the earlier {CHECKSUMS} names besides",
            self.files.join(", ")
        )
    }

    fn json(&self) -> Value {
        json!({ "publish": { "folder": self.shelf.folder, "files": self.files } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        work.runner.check_interrupted()?;
        let Shelf { folder, published } = &self.shelf;
        let partial = self.shelf.partial();
        let mut made = BTreeMap::new();
        for file in &self.files {
            let bytes = files::read(&partial.join(file))?;
            made.insert(file.clone(), (bytes.len() as u64, hash::bytes(&bytes)));
        }
        let lines: String = made.iter().map(|(file, (_, sha256))| manifest::checksum_line(sha256, file)).collect();
        files::write(&partial.join(CHECKSUMS), lines)?;
        let earlier = self.shelf.earlier()?;
        for file in made.keys().map(String::as_str).chain([CHECKSUMS]) {
            let to = folder.join(file);
            fs::rename(partial.join(file), &to).with_context(|| format!("cannot write {}", to.display()))?;
        }
        for file in earlier.iter().filter(|file| !made.contains_key(*file)) {
            // Whoever removed it already did the same.
            let _ = fs::remove_file(folder.join(file));
        }
        published.put(made)
    }
}
