//! What every archive holds besides the binary: README, CHANGELOG and licences of the workspace, and what its configuration
//! includes. Known, with hashes, before anything is built.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::bad_request;
use crate::release::licenses;
use crate::release::pack::Entry;
use crate::sys::{files, hash};
use crate::workspace::config::Include;
use crate::workspace::source::Sources;

/// A file that will be packed, if it still holds then what it holds now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    pub from: PathBuf,
    pub sha256: String,
    pub executable: bool,
}

/// Documents by their paths in the archive.
pub type Documents = BTreeMap<String, Document>;

/// Finds them in the snapshot.
pub fn read(sources: &Sources, include: &[Include]) -> Result<Documents> {
    let root = &sources.workspace;
    let mut documents = Documents::new();
    let is_document = |name: &str| {
        let upper = name.to_uppercase();
        upper.starts_with("README") || upper.starts_with("CHANGELOG") || licenses::is_license(&upper)
    };
    for (link, target) in links_out(sources, "") {
        if !link.contains('/') && is_document(&link) {
            bad_request!("{link} {}", out(&target));
        }
    }
    for name in files::list(root)?.into_iter().filter(|name| is_document(name)) {
        if root.join(&name).is_file() {
            let document = Document::read(sources, &name)?;
            documents.insert(name, document);
        }
    }
    for item in include {
        if let Err(error) = add(sources, item, &mut documents) {
            bad_request!(
                "`include` in [workspace.metadata.bpfship] of Cargo.toml names `{}`, which cannot be packed: {error:#}",
                item.path
            );
        }
    }
    Ok(documents)
}

/// Links below a folder of the workspace that the snapshot does not have, by their paths in the workspace.
fn links_out(sources: &Sources, folder: &str) -> Vec<(String, String)> {
    let prefix = sources.in_repository(folder);
    let prefix = if prefix.is_empty() || prefix.ends_with('/') { prefix } else { format!("{prefix}/") };
    let start = sources.in_repository("").len();
    let below = sources.outside.iter().filter(|(link, _)| link.starts_with(&prefix));
    below.map(|(link, target)| (link[start..].to_owned(), target.clone())).collect()
}

fn out(target: &str) -> String {
    format!("is a link to {target}, outside the repository: commit the file itself")
}

/// Adds what one entry of `include` names.
fn add(sources: &Sources, include: &Include, documents: &mut Documents) -> Result<()> {
    if let Some((link, target)) = links_out(sources, &include.path).first() {
        bail!("{link} {}", out(target));
    }
    let mut found = Vec::new();
    walk(&sources.workspace, &include.path, &mut found)?;
    if found.is_empty() {
        bail!("it is a folder without a file");
    }
    for file in found {
        let place = format!("{}{}", include.to, &file[include.path.len()..]);
        let document = Document::read(sources, &file)?;
        let from = document.from.clone();
        match documents.insert(place.clone(), document) {
            Some(other) if other.from != from => {
                let other = other.from.strip_prefix(&sources.workspace).unwrap_or(&other.from);
                bail!("{} would lie in the same place of the archive ({place})", other.display())
            }
            _ => {}
        }
    }
    Ok(())
}

impl Document {
    fn read(sources: &Sources, file: &str) -> Result<Document> {
        let from = sources.workspace.join(file);
        let target = from.canonicalize().with_context(|| format!("cannot read {}", from.display()))?;
        // No such link is in the snapshot.
        if !target.starts_with(sources.top.canonicalize()?) {
            bail!("{file} is a link to {}, outside the repository", target.display());
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
        bail!("{path} is a link to a folder");
    } else if full.is_file() {
        found.push(path.into());
    } else {
        bail!("{path} is neither a file nor a folder");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::release::plan;
    use crate::ui::error::Request;

    fn include(path: &str, to: &str) -> Include {
        Include { path: path.into(), to: to.into() }
    }

    #[test]
    fn what_cannot_be_packed_is_refused_and_the_rest_has_its_place() {
        let folder = std::env::temp_dir().join(format!("bpfship-documents-{}", std::process::id()));
        let top = folder.join("top");
        let root = top.join("root");
        for file in ["README.md", "main.rs", "docs/a", "docs/b", "docs/deep/c"] {
            files::write(&root.join(file), file).unwrap();
        }
        files::write(&top.join("LICENSE"), "of the repository").unwrap();
        fs::create_dir(root.join("empty")).unwrap();
        fs::create_dir(root.join("odd")).unwrap();
        files::write(&folder.join("outside"), "secret").unwrap();
        symlink("../LICENSE", root.join("LICENSE")).unwrap();
        symlink("../../outside", root.join("leads-out")).unwrap();
        symlink("docs", root.join("folder")).unwrap();
        symlink("nowhere", root.join("odd/broken")).unwrap();

        let mut sources = plan::tests::sources();
        (sources.top, sources.workspace, sources.path) = (top, root, "root".into());
        sources.outside = vec![("root/man/evil".into(), "/etc/shadow".into())];
        let places = |sources: &Sources, include: &[Include]| -> Result<Vec<String>> {
            Ok(read(sources, include)?.into_keys().collect())
        };
        assert_eq!(
            places(&sources, &[include("docs", "share/docs")]).unwrap(),
            ["LICENSE", "README.md", "share/docs/a", "share/docs/b", "share/docs/deep/c"]
        );

        for (path, to, fault) in [
            ("empty", "empty", "it is a folder without a file"),
            ("leads-out", "leads-out", "outside, outside the repository"),
            ("man", "man", "man/evil is a link to /etc/shadow, outside the repository"),
            ("folder", "folder", "is a link to a folder"),
            ("odd", "odd", "odd/broken is neither a file nor a folder"),
            ("docs/a", "README.md", "would lie in the same place of the archive (README.md)"),
        ] {
            let error = places(&sources, &[include(path, to)]).unwrap_err();
            assert!(error.is::<Request>() && format!("{error:#}").contains(fault), "{path}: {error:#}");
        }
        sources.outside = vec![("root/README.md".into(), "/etc/shadow".into())];
        let error = places(&sources, &[]).unwrap_err().to_string();
        assert_eq!(error, "README.md is a link to /etc/shadow, outside the repository: commit the file itself");
        files::remove_folder(&folder).unwrap();
    }
}
