//! The only layer of an image: the files of Debian's packages, without what their scripts would do, as a tar archive that is the
//! same bytes for the same packages.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use tar::{Archive, Builder, EntryType, Header};

/// The folders that are links into `usr` on every Debian of today. Packages may still name files by them.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// Where engines mount something; they cannot make them in an image that is read-only.
const FOLDERS: [&str; 6] = ["dev", "etc", "proc", "sys", "tmp", "usr"];

/// Links that a package's script would make.
const LINKS: [(&str, &str); 1] = [("usr/bin/cc", "gcc")];

/// What no build reads. Licences stay.
const LEFT_OUT: [&str; 4] = ["usr/share/info/", "usr/share/locale/", "usr/share/man/", "usr/share/lintian/"];
const DOCUMENTS: &str = "usr/share/doc/";
const LICENCE: &str = "/copyright";

/// A layer that is being written.
pub struct Layer<W: Write> {
    tar: Builder<W>,
    folders: BTreeSet<String>,
}

impl<W: Write> Layer<W> {
    pub fn new(writer: W) -> Result<Layer<W>> {
        let mut layer = Layer { tar: Builder::new(writer), folders: BTreeSet::new() };
        for folder in FOLDERS {
            layer.folder(folder)?;
        }
        for folder in MERGED {
            layer.folder(&format!("usr/{folder}"))?;
            layer.link(folder, Path::new(&format!("usr/{folder}")), EntryType::Symlink)?;
        }
        Ok(layer)
    }

    /// Adds the files of a package, which come as a tar archive.
    pub fn add(&mut self, package: impl Read) -> Result<()> {
        for member in Archive::new(package).entries()? {
            let mut member = member?;
            let path = member.path()?.to_string_lossy().into_owned();
            let path = place(&path).with_context(|| format!("a package has a file {path}"))?;
            if path.is_empty() || is_left_out(&path) {
                continue;
            }
            let kind = member.header().entry_type();
            match kind {
                EntryType::Directory => self.folder(&path)?,
                EntryType::Symlink | EntryType::Link => {
                    let to = member.link_name()?.context("a link to nothing")?.into_owned();
                    // A hard link names a file of the archive.
                    let to = match kind {
                        EntryType::Link => place(&to.to_string_lossy()).context("a link to outside")?.into(),
                        _ => to,
                    };
                    self.link(&path, &to, kind)?;
                }
                EntryType::Regular => {
                    let executable = member.header().mode()? & 0o111 != 0;
                    let mut header = header(kind, if executable { 0o755 } else { 0o644 });
                    header.set_size(member.size());
                    self.tar.append_data(&mut header, &path, &mut member)?;
                }
                kind => bail!("{path} is of a kind that no package of ours has ({kind:?})"),
            }
        }
        Ok(())
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<W> {
        for (path, to) in LINKS {
            self.link(path, Path::new(to), EntryType::Symlink)?;
        }
        Ok(self.tar.into_inner()?)
    }

    /// A folder, once: many packages have the same.
    fn folder(&mut self, path: &str) -> Result<()> {
        if MERGED.contains(&path) || !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        let mode = if path == "tmp" { 0o1777 } else { 0o755 };
        let mut header = header(EntryType::Directory, mode);
        Ok(self.tar.append_data(&mut header, format!("{path}/"), std::io::empty())?)
    }

    fn link(&mut self, path: &str, to: &Path, kind: EntryType) -> Result<()> {
        Ok(self.tar.append_link(&mut header(kind, 0o777), path, to)?)
    }
}

/// With nothing of the day or the machine.
fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

/// Where a file of a package is in the image; none if it would be outside.
fn place(path: &str) -> Option<String> {
    let path = path.trim_start_matches("./").trim_end_matches('/');
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return None;
    }
    let is_merged = MERGED.iter().any(|folder| path.split('/').next() == Some(folder) && path != *folder);
    Some(if is_merged { format!("usr/{path}") } else { path.trim_start_matches('.').into() })
}

fn is_left_out(path: &str) -> bool {
    let is_document = path.strip_prefix(DOCUMENTS).is_some_and(|rest| rest.contains('/') && !path.ends_with(LICENCE));
    is_document || LEFT_OUT.iter().any(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(date: u64) -> Vec<u8> {
        let mut tar = Builder::new(Vec::new());
        let mut add = |path: &str, kind: EntryType, mode: u32, text: &str| {
            let mut header = header(kind, mode);
            header.set_uid(1000);
            header.set_mtime(date);
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        };
        add("./", EntryType::Directory, 0o755, "");
        add("./bin/", EntryType::Directory, 0o755, "");
        add("./bin/dash", EntryType::Regular, 0o775, "elf");
        add("./usr/share/doc/dash/copyright", EntryType::Regular, 0o600, "free");
        add("./usr/share/doc/dash/changelog.gz", EntryType::Regular, 0o644, "long");
        add("./usr/share/man/man1/dash.1.gz", EntryType::Regular, 0o644, "long");
        let mut link = header(EntryType::Symlink, 0o777);
        tar.append_link(&mut link, "./bin/sh", "dash").unwrap();
        tar.into_inner().unwrap()
    }

    fn layer(date: u64) -> Vec<u8> {
        let mut layer = Layer::new(Vec::new()).unwrap();
        layer.add(&package(date)[..]).unwrap();
        layer.finish().unwrap()
    }

    #[test]
    fn files_lie_where_todays_debian_has_them_and_documents_are_left_out() {
        let bytes = layer(7);
        let mut archive = Archive::new(&bytes[..]);
        let line = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 0));
            let to = entry.link_name().unwrap().map(|to| format!(" -> {}", to.display())).unwrap_or_default();
            format!("{:o} {}{to}", header.mode().unwrap(), entry.path().unwrap().display())
        };
        let lines: Vec<String> = archive.entries().unwrap().map(line).collect();
        assert!(lines.contains(&"777 bin -> usr/bin".to_owned()), "{lines:?}");
        let files: Vec<&str> = lines[14..].iter().map(String::as_str).collect();
        assert_eq!(
            files,
            ["755 usr/bin/dash", "644 usr/share/doc/dash/copyright", "777 usr/bin/sh -> dash", "777 usr/bin/cc -> gcc"]
        );
    }

    #[test]
    fn the_same_files_are_the_same_bytes_whenever_they_were_packed() {
        assert!(layer(7) == layer(8));
    }

    #[test]
    fn nothing_lands_outside() {
        for path in ["/etc/passwd", "./../x", "usr/../../x"] {
            assert_eq!(place(path), None, "{path}");
        }
        assert_eq!(place("./lib64/ld.so").unwrap(), "usr/lib64/ld.so");
        assert_eq!(place("./").unwrap(), "");
    }
}
