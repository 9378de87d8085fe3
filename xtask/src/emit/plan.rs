//! Plans to write files, some of which are binaries of a release.

use std::collections::BTreeMap;
use std::path::Path;

use crate::emit::run::PutBinary;
use crate::release::manifest::Artifact;
use crate::release::run::TakeBinaries;
use crate::sys::hash::Sha256;
use crate::sys::plan::{Slot, Steps, Task};
use crate::sys::steps::Write;

/// A file by its path in the output folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub path: String,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Text(String),
    /// A program in an archive of the release.
    Binary {
        artifact: Box<Artifact>,
        name: String,
        sha256: Sha256,
    },
}

impl File {
    pub fn text(path: impl Into<String>, text: impl Into<String>) -> File {
        File { path: path.into(), content: Content::Text(text.into()) }
    }
}

/// Plans to write what is missing. `release` is the folder of the archives.
pub fn tasks(folder: &Path, release: &Path, missing: Vec<File>) -> Vec<Task> {
    let mut steps: Steps = Vec::new();
    let mut taken: BTreeMap<String, Slot<BTreeMap<String, Vec<u8>>>> = BTreeMap::new();
    for File { path, content } in missing {
        let file = folder.join(path);
        match content {
            Content::Text(text) => steps.push(Box::new(Write { file, text })),
            Content::Binary { artifact, name, .. } => {
                let binaries = taken.entry(artifact.file.clone()).or_insert_with(|| {
                    let binaries = Slot::default();
                    let dist = release.to_owned();
                    steps.push(Box::new(TakeBinaries { dist, artifact: *artifact, binaries: binaries.clone() }));
                    binaries
                });
                steps.push(Box::new(PutBinary { file, name, binaries: binaries.clone() }));
            }
        }
    }
    if steps.is_empty() { Vec::new() } else { vec![Task::new(format!("writing to {}", folder.display()), steps)] }
}
