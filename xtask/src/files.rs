//! Files and folders, with errors that name them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Puts `bytes` in place of the file, unless they are there already. A reader sees the old file or the new one, and
/// never half of one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(".partial");
    let aside = PathBuf::from(aside);
    let written = (|| {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        drop(file);
        fs::rename(&aside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
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
pub fn list(folder: &Path) -> Result<Vec<String>> {
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let mut names = Vec::new();
    for entry in listing.with_context(|| format!("cannot read {}", folder.display()))? {
        match entry.file_name().into_string() {
            Ok(name) => names.push(name),
            Err(name) => bail!("{} holds {name:?}, a name that is not UTF-8", folder.display()),
        }
    }
    names.sort();
    Ok(names)
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

/// The bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The text of a file, or `None` if there is no such file.
pub fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
