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

/// Packs files, by their paths below the top folder, into a tar.gz in which everything lies in that folder.
///
/// Names are sorted, owners are 0, modes are 755 or 644, and all dates are `date` (seconds since 1970).
pub fn archive(top: &str, files: &BTreeMap<String, Entry>, date: u64) -> Result<Vec<u8>> {
    let mut folders = BTreeSet::from([format!("{top}/")]);
    for name in files.keys() {
        let path = format!("{top}/{name}");
        folders.extend(path.match_indices('/').map(|(end, _)| path[..=end].to_owned()));
    }
    let mut tar = tar::Builder::new(Vec::new());
    for folder in &folders {
        append(&mut tar, folder, 0o755, tar::EntryType::Directory, date, &[])?;
    }
    for (name, entry) in files {
        let mode = if entry.executable { 0o755 } else { 0o644 };
        append(&mut tar, &format!("{top}/{name}"), mode, tar::EntryType::Regular, date, &entry.bytes)?;
    }
    let tar = tar.into_inner()?;
    // No name, no date; operating system "unknown".
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(6));
    gzip.write_all(&tar)?;
    Ok(gzip.finish()?)
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    kind: tar::EntryType,
    date: u64,
    bytes: &[u8],
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(date);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, path, bytes).with_context(|| format!("cannot pack {path}"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn entry(bytes: &[u8], executable: bool) -> Entry {
        Entry { bytes: bytes.into(), executable }
    }

    #[test]
    fn an_archive_holds_one_folder_and_nothing_of_this_machine() {
        let files = BTreeMap::from([
            ("tool".to_owned(), entry(b"\x7fELF", true)),
            ("docs/b.md".to_owned(), entry(b"text", false)),
        ]);
        let packed = archive("tool-1.0-t", &files, 1_700_000_000).unwrap();
        assert_eq!(packed, archive("tool-1.0-t", &files, 1_700_000_000).unwrap());
        // Flags, date and operating system of the gzip header.
        assert_eq!(packed[3..8], [0, 0, 0, 0, 0]);
        assert_eq!(packed[9], 255);

        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut tar).unwrap();
        let mut archive = tar::Archive::new(&tar[..]);
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
}
