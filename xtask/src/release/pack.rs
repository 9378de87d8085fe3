//! Archives that are the same bytes for the same files, whoever packs them, and whenever and wherever.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};

/// A file to pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub bytes: Vec<u8>,
    pub executable: bool,
}

/// Tar consists of blocks of so many bytes; two empty ones end an archive.
pub const BLOCK: usize = 512;

/// The modes of executable files and folders, and of all else.
pub const EXECUTABLE: u32 = 0o755;
pub const PLAIN: u32 = 0o644;

/// What every gzip file begins with: no flags, no date, and an operating system of "unknown".
pub const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A tar archive of files, by their paths below the top folder, with everything in that folder.
///
/// Names are sorted, owners are 0, modes are 755 or 644, and all dates are `date` (seconds since 1970).
pub fn tar(top: &str, files: &BTreeMap<String, Entry>, date: u64) -> Result<Vec<u8>> {
    let files = files.iter().map(|(name, entry)| (format!("{top}/{name}"), entry));
    write(BTreeSet::from([format!("{top}/")]), files, date)
}

/// The same without a top folder.
pub fn tar_of_root(files: &BTreeMap<String, Entry>, date: u64) -> Result<Vec<u8>> {
    write(BTreeSet::new(), files.iter().map(|(name, entry)| (name.clone(), entry)), date)
}

/// Folders first, these and those that files are in.
fn write<'a>(
    mut folders: BTreeSet<String>,
    files: impl Iterator<Item = (String, &'a Entry)> + Clone,
    date: u64,
) -> Result<Vec<u8>> {
    let mut size = 0;
    for (path, entry) in files.clone() {
        folders.extend(path.match_indices('/').map(|(end, _)| path[..=end].to_owned()));
        size += entry.bytes.len() + 4 * BLOCK;
    }
    let mut tar = tar::Builder::new(Vec::with_capacity(size));
    for folder in &folders {
        append(&mut tar, folder, EXECUTABLE, date, 0, &[])?;
    }
    for (path, entry) in files {
        let mode = if entry.executable { EXECUTABLE } else { PLAIN };
        append(&mut tar, &path, mode, date, entry.bytes.len() as u64, &entry.bytes)?;
    }
    Ok(tar.into_inner()?)
}

/// What stands before the bytes of a file, or for a folder: a header, and before that a name that is too long for it.
pub fn head(path: &str, mode: u32, date: u64, size: u64) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, path, mode, date, size, &[])?;
    Ok(tar.get_ref().clone())
}

/// How archives are compressed, for the manifest. The same number must mean the same bytes for ever: a test holds us to
/// it.
pub const COMPRESSOR: &str = "miniz_oxide 1";

/// Compresses an archive.
pub fn gzip(tar: &[u8]) -> Result<Vec<u8>> {
    compress(tar, Compression::new(6))
}

/// The same with more effort, as Debian wants it of manuals.
pub fn gzip_best(bytes: &[u8]) -> Result<Vec<u8>> {
    compress(bytes, Compression::best())
}

fn compress(bytes: &[u8], level: Compression) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), level);
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?)
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, date: u64, size: u64, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    let is_folder = path.ends_with('/');
    header.set_entry_type(if is_folder { tar::EntryType::Directory } else { tar::EntryType::Regular });
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(date);
    header.set_size(size);
    tar.append_data(&mut header, path, bytes).with_context(|| format!("cannot pack {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::hash;

    fn entry(bytes: &[u8], executable: bool) -> Entry {
        Entry { bytes: bytes.into(), executable }
    }

    #[test]
    fn an_archive_holds_one_folder_and_nothing_of_this_machine() {
        let files = BTreeMap::from([
            ("tool".to_owned(), entry(b"\x7fELF", true)),
            ("docs/b.md".to_owned(), entry(b"text", false)),
        ]);
        let packed = tar("tool-1.0-t", &files, 1_700_000_000).unwrap();
        let mut archive = tar::Archive::new(&packed[..]);
        let listing: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let header = entry.as_ref().unwrap().header();
                format!(
                    "{:o} {}/{} {} {}",
                    header.mode().unwrap(),
                    header.uid().unwrap(),
                    header.gid().unwrap(),
                    header.mtime().unwrap(),
                    entry.as_ref().unwrap().path().unwrap().display()
                )
            })
            .collect();
        assert_eq!(
            listing,
            [
                "755 0/0 1700000000 tool-1.0-t/",
                "755 0/0 1700000000 tool-1.0-t/docs/",
                "644 0/0 1700000000 tool-1.0-t/docs/b.md",
                "755 0/0 1700000000 tool-1.0-t/tool",
            ]
        );
    }

    /// Bytes that compress in more than one way: words of a small language, in an order of no meaning.
    fn corpus() -> Vec<u8> {
        let mut state = 1_u32;
        let mut word = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ["probe ", "kernel ", "ring\n", "0123456789", "\0\0\0\0", "of "][(state >> 8) as usize % 6]
        };
        (0..50_000).flat_map(|_| word().bytes()).collect()
    }

    #[test]
    fn the_same_bytes_are_compressed_to_the_same_bytes_by_every_version() {
        let packed = gzip(&corpus()).unwrap();
        assert_eq!(packed[..10], GZIP_HEADER);
        // If a new version of miniz_oxide changes this, COMPRESSOR gets another number.
        assert_eq!(
            (COMPRESSOR, hash::bytes(&packed).to_string().as_str()),
            ("miniz_oxide 1", "cfde194d1c091790e3fa2540e72793c270ab00091c1156b8d8fe1d623fad7f19")
        );
    }
}
