//! What every archive contains in addition to the binary: README, CHANGELOG and licences of the workspace, and what its
//! configuration includes. Known, with hashes, before anything is built.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::release::licenses;
use crate::release::pack::Entry;
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::ui::error::bad_request;
use crate::workspace::ignored::leads_out;
use crate::workspace::products::Include;

/// A file that will be packed, if it still holds then what it holds now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    pub from: PathBuf,
    pub sha256: Sha256,
    pub executable: bool,
}

/// Documents by their paths in the archive.
pub type Documents = BTreeMap<String, Document>;

/// What there is to pack: a snapshot, in which no link leads out of the repository.
#[derive(Debug)]
pub struct Files<'a> {
    /// The workspace.
    root: PathBuf,
    /// The repository around it; the workspace itself outside git.
    top: PathBuf,
    /// Links that the snapshot has not got since they lead out of it, by their paths in the repository, with their
    /// targets.
    outside: &'a [(String, String)],
}

impl<'a> Files<'a> {
    pub fn new(root: &Path, top: &Path, outside: &'a [(String, String)]) -> Result<Files<'a>> {
        let real = |folder: &Path| folder.canonicalize().with_context(|| format!("cannot read {}", folder.display()));
        Ok(Files { root: real(root)?, top: real(top)?, outside })
    }

    /// Finds the documents of an archive. `packages` are the folders of those that are shipped in it: their licences are
    /// taken where the workspace has none.
    pub fn documents(&self, include: &[Include], packages: &[&Path]) -> Result<Documents> {
        let mut documents = Documents::new();
        self.add_documents(&self.root, is_document, &mut documents)?;
        let texts = self.root.join(licenses::FOLDER);
        // A link that leads out is refused, even if there is nothing else in the folder.
        for name in self.outside_in(&texts) {
            self.follow(&texts.join(name))?;
        }
        if texts.is_dir() {
            for (place, file) in self.find(licenses::FOLDER, licenses::FOLDER)? {
                documents.insert(place, Document::read(file)?);
            }
        }
        if !documents.keys().any(|name| licenses::is_license(&name.to_uppercase())) {
            for package in packages {
                self.add_documents(&self.root.join(package), licenses::is_license, &mut documents)?;
            }
        }
        // The workspace's is about more than what is shipped: a README that is named takes its place.
        documents.retain(|name, _| !is_readme(name) || include.iter().all(|Include { to, .. }| to != name));
        for Include { path, to } in include {
            if let Err(error) = self.add(path, to, &mut documents) {
                bad_request!(
                    "`include` in [workspace.metadata.bpfship] of Cargo.toml names `{path}`, which cannot be packed: {error:#}"
                );
            }
        }
        Ok(documents)
    }

    /// Adds the licence that the Cargo.toml of the package names, unless it is there.
    pub fn add_license(&self, file: &Path, documents: &mut Documents) -> Result<()> {
        let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let real = self.follow(file)?;
        if !real.starts_with(&self.top) || !real.is_file() {
            bad_request!(
                "`license-file` of the package that is shipped is {}: name a file of the repository",
                file.display()
            );
        }
        let file = real;
        if !documents.values().any(|document| document.from == file) {
            let folder = file.parent().unwrap_or(&self.root).to_owned();
            insert(documents, name.into(), Document::read(file)?, &folder);
        }
        Ok(())
    }

    /// Adds the files of a folder whose names, in capitals, are those of documents.
    fn add_documents(&self, folder: &Path, is_one: fn(&str) -> bool, documents: &mut Documents) -> Result<()> {
        let listing = fs::read_dir(folder)
            .and_then(|listing| listing.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<OsString>>>());
        let listing = listing.with_context(|| format!("cannot read {}", folder.display()))?;
        for name in listing.into_iter().chain(self.outside_in(folder).map(OsString::from)) {
            if !is_one(&name.to_string_lossy().to_uppercase()) {
                continue;
            }
            let Ok(name) = name.into_string() else {
                bad_request!("{} holds a document whose name is not UTF-8: rename it", folder.display());
            };
            let file = self.follow(&folder.join(&name))?;
            if !file.is_dir() {
                insert(documents, name, Document::read(file)?, folder);
            }
        }
        Ok(())
    }

    /// Adds a file or a folder of the workspace, which gets another name in the archive.
    fn add(&self, path: &str, to: &str, documents: &mut Documents) -> Result<()> {
        let found = self.find(path, to)?;
        if found.is_empty() {
            bail!("it is a folder without a file");
        }
        for (place, file) in found {
            let document = Document::read(file)?;
            let from = document.from.clone();
            match documents.insert(place.clone(), document) {
                Some(other) if other.from != from => {
                    bail!("{} would be at the same path in the archive ({place})", other.from.display())
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn find(&self, path: &str, to: &str) -> Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        self.walk(&self.root.join(path), to, &mut Vec::new(), &mut found)?;
        Ok(found)
    }

    /// A file, or all files in a folder, with their paths in the archive. `above` are the folders on the way.
    fn walk(
        &self,
        path: &Path,
        place: &str,
        above: &mut Vec<PathBuf>,
        found: &mut Vec<(String, PathBuf)>,
    ) -> Result<()> {
        let real = self.follow(path)?;
        if !real.is_dir() {
            found.push((place.into(), real));
            return Ok(());
        }
        if above.contains(&real) {
            bail!("{} is a link to a folder that it is in itself: leave it out", path.display());
        }
        // What makes it a work tree is not in it: a submodule's file, or its repository.
        let names = files::list(&real)?.into_iter().chain(self.outside_in(&real));
        for name in names.filter(|name| name != ".git") {
            above.push(real.clone());
            self.walk(&real.join(&name), &format!("{place}/{name}"), above, found)?;
            above.pop();
        }
        Ok(())
    }

    /// The file or folder that a path leads to, through all links.
    fn follow(&self, path: &Path) -> Result<PathBuf> {
        if let Some((_, target)) = self.outside.iter().find(|(link, _)| path.starts_with(self.top.join(link))) {
            bad_request!("{} {}: put a file there", path.display(), leads_out(target));
        }
        let real = match (path.canonicalize(), path.read_link()) {
            (Ok(real), _) => real,
            (Err(error), Ok(target)) => {
                bad_request!("{} is a link to {}: {error}: put a file there", path.display(), target.display())
            }
            (Err(error), Err(_)) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        if !real.is_file() && !real.is_dir() {
            bad_request!("{} is neither a file nor a folder", path.display());
        }
        Ok(real)
    }

    /// The names of links that are missing in a folder.
    fn outside_in(&self, folder: &Path) -> impl Iterator<Item = String> {
        let links = self.outside.iter().map(|(link, _)| self.top.join(link));
        let names = links
            .filter(move |link| link.parent() == Some(folder))
            .filter_map(|link| link.file_name()?.to_str().map(String::from));
        names.collect::<Vec<_>>().into_iter()
    }
}

/// Adds a document of a folder. If another one has its name, it is packed in a folder of that name.
fn insert(documents: &mut Documents, name: String, document: Document, folder: &Path) {
    let place = match documents.get(&name) {
        Some(other) if other.sha256 != document.sha256 => {
            format!("{}/{name}", folder.file_name().unwrap_or_default().to_string_lossy())
        }
        _ => name,
    };
    documents.insert(place, document);
}

/// Whether this is the name of a README.
fn is_readme(name: &str) -> bool {
    name.to_uppercase().starts_with("README")
}

/// Whether a file of this name, in capitals, goes into every archive.
fn is_document(name: &str) -> bool {
    is_readme(name) || name.starts_with("CHANGELOG") || licenses::is_license(name)
}

impl Document {
    fn read(from: PathBuf) -> Result<Document> {
        let metadata = from.metadata().with_context(|| format!("cannot read {}", from.display()))?;
        let executable = metadata.permissions().mode() & 0o100 != 0;
        Ok(Document { sha256: hash::file(&from)?, executable, from })
    }

    /// The file to pack.
    pub fn entry(&self) -> Result<Entry> {
        Ok(Entry { bytes: files::read_unchanged(&self.from, &self.sha256)?, executable: self.executable })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::ui::error::BadRequest;

    #[test]
    fn what_cannot_be_packed_is_refused_and_the_rest_has_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap().join("repository");
        let root = top.join("root");
        for file in
            ["README.md", "main.rs", "docs/a", "docs/deep/c", "LICENSES/MIT.txt", "../shared/d", "sub/.git", "sub/e"]
        {
            files::write(&root.join(file), file).unwrap();
        }
        files::write(&top.join("LICENSE"), "of the repository").unwrap();
        fs::create_dir(root.join("empty")).unwrap();
        fs::create_dir(root.join("loop")).unwrap();
        for (link, to) in [
            ("broken", "nowhere"),
            ("round", "round"),
            ("folder", "docs"),
            ("file", "folder/a"),
            ("shared", "../shared"),
            ("CHANGELOG", "shared/d"),
            ("loop/up", "."),
        ] {
            symlink(to, root.join(link)).unwrap();
        }
        let files = Files::new(&root, &top, &[]).unwrap();
        let places = |path: &str, to: &str| -> Result<Vec<String>> {
            let include = [Include { path: path.into(), to: to.into() }];
            Ok(files.documents(&include, &[])?.into_keys().filter(|name| name.starts_with(to)).collect())
        };
        assert_eq!(places("main.rs", "README").unwrap(), ["README", "README.md"]);
        assert_eq!(places("main.rs", "README.md").unwrap(), ["README.md"]);
        assert_eq!(places("main.rs", "LICENSE").unwrap(), ["LICENSE", "LICENSES/MIT.txt"]);
        assert_eq!(places("main.rs", "CHANGELOG.md").unwrap(), ["CHANGELOG.md"]);
        for (path, found) in [
            ("docs", &["x/docs/a", "x/docs/deep/c"][..]),
            ("folder", &["x/docs/a", "x/docs/deep/c"]),
            ("file", &["x/docs"]),
            ("shared", &["x/docs/d"]),
            ("sub", &["x/docs/e"]),
        ] {
            assert_eq!(places(path, "x/docs").unwrap(), found, "{path}");
        }
        for (path, to, fault) in [
            ("empty", "empty", "it is a folder without a file"),
            ("broken", "x", "broken is a link to nowhere: No such file"),
            ("round", "x", "round is a link to round: Too many levels of symbolic links"),
            ("loop", "x", "is a link to a folder that it is in itself"),
            ("docs/a", "CHANGELOG", "would be at the same path in the archive (CHANGELOG)"),
        ] {
            let error = places(path, to).unwrap_err();
            assert!(error.is::<BadRequest>() && format!("{error:#}").contains(fault), "{path}: {error:#}");
        }

        // It need not be named in `include`.
        for name in ["LICENSE", "README.rst"] {
            symlink("nowhere", root.join(name)).unwrap();
            let error = files.documents(&[], &[]).unwrap_err();
            assert!(error.is::<BadRequest>() && error.to_string().contains("is a link to nowhere"), "{error:#}");
            fs::remove_file(root.join(name)).unwrap();
        }
    }

    #[test]
    fn a_link_that_a_snapshot_has_not_got_is_refused_where_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let root = top.join("root");
        files::write(&root.join("docs/man/probe.1"), "").unwrap();
        for (link, include) in [
            ("root/docs/man/evil", Some("docs")),
            ("root/evil", Some("evil")),
            ("root/evil", Some("evil/deep")),
            ("root/README.md", None),
            ("root/docs/man/evil", None),
        ] {
            let outside = [(link.to_owned(), "/etc/shadow".to_owned())];
            let include: Vec<Include> =
                include.into_iter().map(|path| Include { path: path.into(), to: "x".into() }).collect();
            let found = Files::new(&root, &top, &outside).unwrap().documents(&include, &[]);
            if include.is_empty() && link.contains("docs") {
                assert!(found.unwrap().is_empty(), "it was not expected");
            } else {
                let error = format!("{:#}", found.unwrap_err());
                assert!(
                    error.contains("is a link that leads to /etc/shadow, outside the repository"),
                    "{link}: {error}"
                );
            }
        }
    }

    #[test]
    fn the_licence_of_the_package_is_taken_where_the_workspace_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        files::write(&root.join("tool/COPYING"), "the package's").unwrap();
        let names = || -> Vec<String> {
            let files = Files::new(&root, &root, &[]).unwrap();
            let packages = ["tool", "other", "third"].map(Path::new);
            files.documents(&[], &packages).unwrap().into_keys().collect()
        };
        files::write(&root.join("other/COPYING"), "the package's").unwrap();
        files::write(&root.join("third/COPYING"), "another one").unwrap();
        assert_eq!(names(), ["COPYING", "third/COPYING"]);
        files::write(&root.join("LICENSE-MIT"), "the workspace's").unwrap();
        assert_eq!(names(), ["LICENSE-MIT"]);
        fs::remove_file(root.join("LICENSE-MIT")).unwrap();
        files::write(&root.join("LICENSES/MIT.txt"), "the workspace's").unwrap();
        assert_eq!(names(), ["LICENSES/MIT.txt"]);
    }
}
