//! What every archive holds besides the binary: README, CHANGELOG and licences of the workspace, and what its configuration
//! includes. Known, with hashes, before anything is built.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::release::licenses;
use crate::release::pack::Entry;
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::ui::error::bad_request;
use crate::workspace::config::Include;

/// A file that will be packed, if it still holds then what it holds now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    pub from: PathBuf,
    pub sha256: Sha256,
    pub executable: bool,
}

/// Documents by their paths in the archive.
pub type Documents = BTreeMap<String, Document>;

/// Finds them. `known` are the files that git does not ignore: what it ignores is not part of the commit, and so not of what
/// is shipped. None outside git.
pub fn read(root: &Path, include: &[Include], known: Option<&BTreeSet<String>>) -> Result<Documents> {
    let mut documents = Documents::new();
    let names = match known {
        Some(known) => known.iter().filter(|file| !file.contains('/')).cloned().collect(),
        None => files::list(root)?,
    };
    for name in names {
        let upper = name.to_uppercase();
        let is_document = upper.starts_with("README") || upper.starts_with("CHANGELOG") || licenses::is_license(&upper);
        if is_document && root.join(&name).is_file() {
            let document = Document::read(root, &name)?;
            documents.insert(name, document);
        }
    }
    for item in include {
        if let Err(error) = add(root, item, known, &mut documents) {
            bad_request!(
                "`include` in [workspace.metadata.bpfship] of Cargo.toml names `{}`, which cannot be packed: {error:#}",
                item.path
            );
        }
    }
    Ok(documents)
}

/// Adds what one entry of `include` names.
fn add(root: &Path, include: &Include, known: Option<&BTreeSet<String>>, documents: &mut Documents) -> Result<()> {
    let mut found = Vec::new();
    walk(root, &include.path, &mut found)?;
    if found.is_empty() {
        bail!("it is a folder without a file");
    }
    found.retain(|file| known.is_none_or(|known| known.contains(file)));
    if found.is_empty() {
        bail!("git ignores all of it: commit it");
    }
    for file in found {
        let place = format!("{}{}", include.to, &file[include.path.len()..]);
        let document = Document::read(root, &file)?;
        let from = document.from.clone();
        match documents.insert(place.clone(), document) {
            Some(other) if other.from != from => {
                bail!("{} would lie in the same place of the archive ({place})", other.from.display())
            }
            _ => {}
        }
    }
    Ok(())
}

impl Document {
    fn read(root: &Path, file: &str) -> Result<Document> {
        let from = root.join(file);
        let target = from.canonicalize().with_context(|| format!("cannot read {}", from.display()))?;
        if !target.starts_with(root.canonicalize()?) {
            bail!("{} is a link to {}, outside the workspace", from.display(), target.display());
        }
        let metadata = from.metadata().with_context(|| format!("cannot read {}", from.display()))?;
        let executable = metadata.permissions().mode() & 0o100 != 0;
        Ok(Document { sha256: hash::file(&from)?, executable, from })
    }

    /// The file to pack.
    pub fn entry(&self) -> Result<Entry> {
        Ok(Entry { bytes: files::read_unchanged(&self.from, &self.sha256)?, executable: self.executable })
    }
}

/// A file, or all files in a folder, by their paths in the workspace.
fn walk(root: &Path, path: &str, found: &mut Vec<String>) -> Result<()> {
    let full = root.join(path);
    let metadata = full.symlink_metadata().with_context(|| format!("cannot read {}", full.display()))?;
    if metadata.is_dir() {
        for name in files::list(&full)? {
            walk(root, &format!("{path}/{name}"), found)?;
        }
    } else if full.is_dir() {
        bail!("{} is a link to a folder", full.display());
    } else if full.is_file() {
        found.push(path.into());
    } else {
        bail!("{} is neither a file nor a folder", full.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::ui::error::Request;

    fn include(path: &str, to: &str) -> Include {
        Include { path: path.into(), to: to.into() }
    }

    #[test]
    fn what_cannot_be_packed_is_refused_and_the_rest_has_its_place() {
        let folder = std::env::temp_dir().join(format!("bpfship-documents-{}", std::process::id()));
        let root = folder.join("root");
        for file in ["README.md", "main.rs", "docs/a", "docs/b", "docs/deep/c", "junk/d"] {
            files::write(&root.join(file), file).unwrap();
        }
        fs::create_dir(root.join("empty")).unwrap();
        fs::create_dir(root.join("odd")).unwrap();
        files::write(&folder.join("outside"), "secret").unwrap();
        symlink("../outside", root.join("leads-out")).unwrap();
        symlink("docs", root.join("folder")).unwrap();
        symlink("nowhere", root.join("odd/broken")).unwrap();

        let known: BTreeSet<String> =
            ["README.md", "main.rs", "docs/a", "docs/deep/c", "leads-out"].map(String::from).into();
        let places = |include: &[Include]| -> Result<Vec<String>> {
            Ok(read(&root, include, Some(&known))?.into_keys().collect())
        };
        assert_eq!(
            places(&[include("docs", "share/docs")]).unwrap(),
            ["README.md", "share/docs/a", "share/docs/deep/c"]
        );

        for (path, to, fault) in [
            ("junk", "junk", "git ignores all of it: commit it"),
            ("docs/b", "b", "git ignores all of it: commit it"),
            ("empty", "empty", "it is a folder without a file"),
            ("leads-out", "leads-out", "outside, outside the workspace"),
            ("folder", "folder", "is a link to a folder"),
            ("odd", "odd", "odd/broken is neither a file nor a folder"),
            ("docs/a", "README.md", "would lie in the same place of the archive (README.md)"),
        ] {
            let error = places(&[include(path, to)]).unwrap_err();
            assert!(error.is::<Request>() && format!("{error:#}").contains(fault), "{path}: {error:#}");
        }
        files::remove_folder(&folder).unwrap();
    }
}
