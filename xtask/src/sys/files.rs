//! Files and folders, with errors that name them.

use std::ffi::OsString;
use std::fs::{self, DirEntry, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::sys::hash::{self, Sha256};
use crate::ui::error::bad_request;

/// Puts bytes in place of each file, unless they are there already. A reader sees the old file or the new one, and
/// never half of one; and none is replaced before all of them are written.
pub fn replace(files: &[(PathBuf, &[u8])]) -> Result<()> {
    let changed: Vec<(PathBuf, &PathBuf, &[u8])> = files
        .iter()
        .filter(|(path, bytes)| fs::read(path).map_or(true, |present| present != *bytes))
        .map(|(path, bytes)| (with_suffix(path, ".partial"), path, *bytes))
        .collect();
    let replaced = (|| {
        for (aside, path, bytes) in &changed {
            let written = File::create(aside).and_then(|mut file| file.write_all(bytes));
            written.with_context(|| format!("cannot write {}", path.display()))?;
        }
        for (aside, path, _) in &changed {
            fs::rename(aside, path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    })();
    if replaced.is_err() {
        for (aside, ..) in &changed {
            let _ = fs::remove_file(aside);
        }
    }
    replaced
}

/// Puts bytes in place of one file, with the folder it is in.
pub fn replace_one(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    replace(&[(path.to_owned(), bytes)])
}

/// A path whose name has this at its end, too.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Writes a file, with the folder it is in.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Copies a file, with the folder it goes to.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        create_folder(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Creates a folder, and those above it, unless it is there.
pub fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// Removes a folder and all in it, if it is there.
pub fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("cannot remove {}", folder.display())),
    }
}

/// The names in a folder, sorted; none if there is no such folder.
pub fn names(folder: &Path) -> Result<Vec<OsString>> {
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let listing = listing.with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names: Vec<OsString> = listing.iter().map(DirEntry::file_name).collect();
    names.sort();
    Ok(names)
}

/// The same where names have to be text.
pub fn list(folder: &Path) -> Result<Vec<String>> {
    let text = |name: OsString| match name.into_string() {
        Ok(name) => Ok(name),
        Err(name) => bad_request!("{} holds {name:?}, a name that is not UTF-8: rename it", folder.display()),
    };
    names(folder)?.into_iter().map(text).collect()
}

/// The files in a folder and below, by their paths in it behind `prefix`, in one order everywhere.
pub fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) -> Result<()> {
    for name in list(folder)? {
        let path = folder.join(&name);
        match path.is_dir() {
            true => walk(&path, &format!("{prefix}{name}/"), found)?,
            false => found.push(format!("{prefix}{name}")),
        }
    }
    Ok(())
}

/// The bytes of the largest file in a folder, or in one in it.
pub fn largest(folder: &Path) -> Option<u64> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    entries
        .filter_map(|entry| match entry.metadata().ok()? {
            metadata if metadata.is_dir() => largest(&entry.path()),
            metadata => Some(metadata.len()),
        })
        .max()
}

/// The bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The bytes of a file, if it still holds what it held when this hash was taken.
pub fn read_unchanged(path: &Path, sha256: &Sha256) -> Result<Vec<u8>> {
    let bytes = foreign(path)?;
    if hash::bytes(&bytes) != *sha256 {
        bail!("{} has changed since this run started: run it again", path.display());
    }
    Ok(bytes)
}

/// The text of a file, or `None` if there is no such file.
pub fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// How many bytes an archive may have, or another file of a release: more than ours have.
const MAX_FOREIGN: u64 = 512 << 20;

/// The bytes of a file that may be anybody's: of a file only, and of a large one none.
pub fn foreign(path: &Path) -> Result<Vec<u8>> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() || metadata.len() > MAX_FOREIGN => {
            bail!("{} is no file of at most {MAX_FOREIGN} bytes", path.display())
        }
        _ => read(path),
    }
}

/// The text of a file that may be anybody's, if it is there: of a file only, and of at most so many bytes. Whatever else is called
/// so may never end.
pub fn foreign_text(path: &Path, most: u64) -> Result<Option<String>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    if !metadata.is_file() {
        bail!("it is not a file");
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        bail!("it has more than {most} bytes");
    }
    Ok(Some(String::from_utf8(bytes).ok().context("it is not text")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_not_read() {
        let zeros = Path::new("/dev/zero");
        assert_eq!(foreign_text(zeros, 9).unwrap_err().to_string(), "it is not a file");
        let words = format!("/dev/zero is no file of at most {MAX_FOREIGN} bytes");
        assert_eq!(foreign(zeros).unwrap_err().to_string(), words);
        assert_eq!(read_unchanged(zeros, &hash::bytes(b"")).unwrap_err().to_string(), words);
        assert_eq!(foreign_text(Path::new("/nowhere"), 9).unwrap(), None);
        assert_eq!(foreign_text(Path::new("/proc/version"), 9).unwrap_err().to_string(), "it has more than 9 bytes");
    }

    #[test]
    fn of_files_that_cannot_all_be_written_none_is_replaced() {
        let folder = std::env::temp_dir().join(format!("bpfship-files-{}", std::process::id()));
        write(&folder.join("a"), "old").unwrap();
        let nowhere = folder.join("nowhere/b");
        let error = replace(&[(folder.join("a"), b"new".as_slice()), (nowhere.clone(), b"new")]).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", nowhere.display()));
        assert_eq!(list(&folder).unwrap(), ["a"]);
        assert_eq!(read(&folder.join("a")).unwrap(), b"old");
        replace(&[(folder.join("a"), b"new".as_slice()), (folder.join("b"), b"new")]).unwrap();
        assert_eq!(list(&folder).unwrap(), ["a", "b"]);
        assert_eq!(read(&folder.join("a")).unwrap(), b"new");
        remove_folder(&folder).unwrap();
    }
}
