//! Reads an archive as `pack.rs` writes it, whoever made it, and reports everything that `pack.rs` would not have
//! written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read};

use anyhow::{Error, Result, bail};
use flate2::bufread::GzDecoder;
use tar::{EntryType, Header};

use crate::release::pack::{self, BLOCK, Entry};
use crate::sys::hash::{self, Sha256};

/// How many bytes an archive may have once it is unpacked, and so how much memory it may take.
pub const LIMIT: u64 = 256 << 20;

/// How many files and folders it may hold.
const MAX_ENTRIES: usize = 10_000;

/// How many bytes a path may have.
const MAX_PATH: u64 = 1000;

/// What is in an archive.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// Files that are rightly named, by their paths below the top folder.
    pub files: BTreeMap<String, Entry>,
    /// The date of all entries: seconds since 1970.
    pub date: Option<u64>,
    /// Of what the archive is before it is compressed, if it could be read to its end.
    pub tar_sha256: Option<Sha256>,
    /// Everything that is wrong with it.
    pub faults: Vec<String>,
}

/// Reads an archive whose entries are all in the folder `top`. Whatever it contains, memory and time are bounded.
pub fn archive(packed: impl BufRead, top: &str) -> Unpacked {
    let mut unpacked = Unpacked::default();
    if let Err(error) = gzip(packed, top, &mut unpacked) {
        unpacked.faults.push(sentence(&error));
    }
    unpacked
}

/// The same for what is not compressed.
pub fn tar(stream: impl Read, top: &str) -> Unpacked {
    let mut unpacked = Unpacked::default();
    if let Err(error) = walk(stream, top, &mut unpacked) {
        unpacked.faults.push(sentence(&error));
    }
    unpacked
}

/// Why it was not read to its end.
fn sentence(error: &Error) -> String {
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        None => error.to_string(),
        Some(io::ErrorKind::UnexpectedEof) => "it is cut off: get it again".into(),
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
            format!("its gzip stream is damaged ({error}): get it again")
        }
        Some(_) => format!("it cannot be read: {error}"),
    }
}

fn gzip(mut packed: impl BufRead, top: &str, unpacked: &mut Unpacked) -> Result<()> {
    let mut header = pack::GZIP_HEADER;
    packed.read_exact(&mut header)?;
    if header[..3] != pack::GZIP_HEADER[..3] {
        bail!("it is not a gzip file");
    }
    if header != pack::GZIP_HEADER {
        unpacked.faults.push("its gzip header is not canonical: it has a name, a date or a system".into());
    }
    let mut stream = hash::Reader::new(GzDecoder::new(header.as_slice().chain(&mut packed)));
    walk(&mut stream, top, unpacked)?;
    unpacked.tar_sha256 = Some(stream.finish());

    let is_gzip = packed.fill_buf()?.starts_with(&header[..2]);
    match io::copy(&mut packed, &mut io::sink())? {
        0 => {}
        _ if is_gzip => unpacked.faults.push("a second gzip stream follows the first".into()),
        count => unpacked.faults.push(format!("after the gzip stream, there are {count} bytes more")),
    }
    Ok(())
}

/// Reads a tar archive, and then its stream to the end.
fn walk(stream: impl Read, top: &str, unpacked: &mut Unpacked) -> Result<()> {
    let mut walk = Walk { stream, left: LIMIT, top, paths: Vec::new(), known: BTreeSet::new(), unpacked };
    for _ in 0..=MAX_ENTRIES {
        let header = walk.header()?;
        if header.as_bytes() == &[0; BLOCK] {
            return walk.end();
        }
        walk.entry(header)?;
    }
    bail!("it holds more than {MAX_ENTRIES} files and folders")
}

struct Walk<'a, R> {
    stream: R,
    /// How many bytes may still be read.
    left: u64,
    top: &'a str,
    /// The paths that `pack.rs` could have written, as they come.
    paths: Vec<String>,
    /// All paths, without the slash of a folder.
    known: BTreeSet<Vec<u8>>,
    unpacked: &'a mut Unpacked,
}

impl<R: Read> Walk<'_, R> {
    fn fault(&mut self, fault: String) {
        self.unpacked.faults.push(fault);
    }

    /// `size` bytes, and what fills up their last block.
    fn read(&mut self, size: u64) -> Result<Vec<u8>> {
        if !self.has_room(size) {
            bail!("it holds more than {} MiB", LIMIT >> 20);
        }
        let padded = size.next_multiple_of(BLOCK as u64);
        self.left -= padded;
        let mut bytes = Vec::new();
        // Not all at once: there may be less of it than its header states.
        if (&mut self.stream).take(padded).read_to_end(&mut bytes)? as u64 != padded {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(bytes)
    }

    /// Whether so many bytes may still be read.
    fn has_room(&self, size: u64) -> bool {
        size.checked_next_multiple_of(BLOCK as u64).is_some_and(|padded| padded <= self.left)
    }

    fn header(&mut self) -> Result<Header> {
        let at = LIMIT - self.left;
        let header = Header::from_byte_slice(&self.read(BLOCK as u64)?).clone();
        let mut summed = header.clone();
        summed.set_cksum();
        if header.as_bytes() != &[0; BLOCK] && summed.cksum().ok() != header.cksum().ok() {
            bail!("its tar archive is damaged at byte {at}: there is no header there");
        }
        Ok(header)
    }

    /// One file, folder, or whatever else there is.
    fn entry(&mut self, mut header: Header) -> Result<()> {
        let mut head = Vec::new();
        let mut path = header.path_bytes().into_owned();
        if header.entry_type() == EntryType::GNULongName {
            let size = header.entry_size().unwrap_or(u64::MAX);
            if size > MAX_PATH {
                bail!("it has a path of more than {MAX_PATH} bytes");
            }
            let name = self.read(size)?;
            path = name.split(|byte| *byte == 0).next().unwrap_or_default().into();
            head = [header.as_bytes(), name.as_slice()].concat();
            header = self.header()?;
        }
        head.extend(header.as_bytes());

        let shown = shown(&path);
        let Some(size) = header.entry_size().ok().filter(|size| self.has_room(*size)) else {
            let size = header.entry_size().map_or("no number".into(), |size| format!("{size} bytes"));
            bail!("the size of {shown} is {size}, and an archive may hold {} MiB", LIMIT >> 20);
        };
        let before = self.unpacked.faults.len();
        self.check_header(&header, &shown);
        let path = self.check_path(&path, &shown);
        if let Some(path) = &path
            && self.unpacked.faults.len() == before
        {
            // Whatever else there is in a header.
            let (mode, size) = if path.ends_with('/') { (pack::EXECUTABLE, 0) } else { (header.mode()?, size) };
            let ours = pack::head(path, mode, header.mtime()?, size);
            if !ours.is_ok_and(|ours| ours == without_root(head)) {
                self.fault(format!("the header of {shown} is not what this tool writes"));
            }
        }

        let mut bytes = self.read(size)?;
        let padding = bytes.split_off(size as usize);
        if padding.iter().any(|byte| *byte != 0) {
            self.fault(format!("there is something between {shown} and what follows it"));
        }
        if let Some(path) = path {
            let is_file = !path.ends_with('/');
            if let Some(file) = path.strip_prefix(self.top).and_then(|path| path.strip_prefix('/')).filter(|_| is_file)
            {
                let executable = header.mode().is_ok_and(|mode| mode & 0o100 != 0);
                self.unpacked.files.insert(file.into(), Entry { bytes, executable });
            }
            self.paths.push(path);
        }
        Ok(())
    }

    fn check_header(&mut self, header: &Header, shown: &str) {
        let what = match header.entry_type() {
            EntryType::Regular | EntryType::Directory => "",
            EntryType::Symlink => "a symbolic link",
            EntryType::Link => "a hard link",
            EntryType::Char | EntryType::Block => "a device",
            EntryType::Fifo => "a pipe",
            EntryType::XHeader | EntryType::XGlobalHeader => "an extended header",
            _ => "of another kind",
        };
        if !what.is_empty() {
            self.fault(format!("{shown} is {what}; only files and folders are expected"));
        }
        let mode = header.mode().unwrap_or(u32::MAX);
        if ![pack::EXECUTABLE, pack::PLAIN].contains(&mode) {
            self.fault(format!("{shown} has mode {mode:o}, expected 755 or 644"));
        }
        let [user, group] = [header.uid(), header.gid()].map(|id| id.unwrap_or(u64::MAX));
        if [user, group] != [0, 0] {
            self.fault(format!("{shown} belongs to user {user} and group {group}, expected 0"));
        }
        for name in [header.username_bytes(), header.groupname_bytes()].into_iter().flatten() {
            if !name.is_empty() && name != b"root" {
                self.fault(format!("{shown} belongs to `{}`, expected root or no name", self::shown(name)));
            }
        }
        match (header.mtime().ok(), self.unpacked.date) {
            (Some(date), None) => self.unpacked.date = Some(date),
            (date, earlier) if date == earlier => {}
            _ => self.fault(format!("{shown} has another date than what stands before it")),
        }
    }

    /// Gives the path of an entry, if it is one that `pack.rs` could have written.
    fn check_path(&mut self, path: &[u8], shown: &str) -> Option<String> {
        let plain = path.strip_suffix(b"/").unwrap_or(path);
        let is_new = self.known.insert(plain.into());
        if !is_new {
            self.fault(format!("{shown} is in it twice"));
        }
        let parts: Vec<&[u8]> = plain.split(|byte| *byte == b'/').collect();
        let fault = if path.starts_with(b"/") {
            "has an absolute name"
        } else if parts.contains(&b"..".as_slice()) {
            "leads out of the archive"
        } else if parts.contains(&b"".as_slice()) || parts.contains(&b".".as_slice()) {
            "is not written as plainly as could be"
        } else if parts[0] != self.top.as_bytes() || plain == path && parts.len() == 1 {
            "is not in the one folder that is named like the archive"
        } else {
            match str::from_utf8(path) {
                Ok(path) => return is_new.then(|| path.to_owned()),
                Err(_) => "has a name that is not UTF-8",
            }
        };
        self.fault(format!("{shown} {fault}"));
        None
    }

    /// All that there may be after the entries is a second empty block.
    fn end(mut self) -> Result<()> {
        self.check_order();
        if self.read(BLOCK as u64)?.iter().any(|byte| *byte != 0) {
            self.fault("after the first empty block of its tar archive, there is something".into());
        }
        match io::copy(&mut self.stream.by_ref().take(self.left + 1), &mut io::sink())? {
            0 => {}
            count if count > self.left => bail!("it holds more than {} MiB", LIMIT >> 20),
            count => self.fault(format!("after the end of its tar archive, there are {count} bytes more")),
        }
        Ok(())
    }

    fn check_order(&mut self) {
        let is_file = |path: &String| !path.ends_with('/');
        let early = |pair: &&[String]| (is_file(&pair[0]), &pair[0]) > (is_file(&pair[1]), &pair[1]);
        if let Some(pair) = self.paths.windows(2).find(early) {
            let fault =
                format!("it is not sorted: {} comes before {}", shown(pair[0].as_bytes()), shown(pair[1].as_bytes()));
            self.fault(fault);
        }
        // What has a wrong name may be in any folder.
        if self.paths.len() != self.known.len() {
            return;
        }
        let folders = self.paths.iter().filter(|path| !is_file(path)).cloned().collect();
        let mut wanted = BTreeSet::from([format!("{}/", self.top)]);
        // The one right above is enough, for that one is a path, too. All of them might be a million.
        wanted.extend(self.paths.iter().filter_map(|path| {
            let end = path.strip_suffix('/').unwrap_or(path).rfind('/')?;
            Some(path[..=end].to_owned())
        }));
        for folder in wanted.symmetric_difference(&folders) {
            let what = if wanted.contains(folder) { "is missing in it" } else { "has nothing in it" };
            self.fault(format!("the folder {} {what}", shown(folder.as_bytes())));
        }
    }
}

/// A header without the owner's name where it is root: that is the same.
fn without_root(mut head: Vec<u8>) -> Vec<u8> {
    let start = head.len() - BLOCK;
    let mut header = Header::from_byte_slice(&head[start..]).clone();
    if let Some(ustar) = header.as_ustar_mut() {
        for name in [&mut ustar.uname, &mut ustar.gname] {
            if name.strip_prefix(b"root").is_some_and(|rest| rest.iter().all(|byte| *byte == 0)) {
                *name = [0; 32];
            }
        }
        header.set_cksum();
        head[start..].copy_from_slice(header.as_bytes());
    }
    head
}

/// A name of an archive, as far as it fits in a sentence.
fn shown(name: &[u8]) -> String {
    const LONGEST: usize = 120;
    let text = String::from_utf8_lossy(name);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        // The longest do not fit in a header.
        let long = ["x".repeat(90), "y".repeat(90), "z".repeat(90), "file".into()].join("/");
        let files: BTreeMap<String, Entry> =
            [("tool", true), ("docs/guide", false), (&long, false), (&long[100..], true)]
                .map(|(name, executable)| (name.to_owned(), Entry { bytes: name.as_bytes().into(), executable }))
                .into();
        let tar = pack::tar("tool-1.0", &files, 1_700_000_000).unwrap();
        assert!(tar.windows(13).any(|bytes| bytes == b"././@LongLink"));
        let unpacked = archive(pack::gzip(&tar).unwrap().as_slice(), "tool-1.0");
        assert!(unpacked.faults.is_empty(), "{:?}", unpacked.faults);
        assert_eq!((unpacked.files, unpacked.date), (files, Some(1_700_000_000)));
        assert_eq!(unpacked.tar_sha256, Some(hash::bytes(&tar)));
    }

    #[test]
    fn an_archive_of_too_many_files_is_refused() {
        let entry = Entry { bytes: Vec::new(), executable: false };
        let with = |count: usize| (1..count).map(|number| (format!("{number:05}"), entry.clone())).collect();
        let faults = |count| tar(pack::tar("tool", &with(count), 1).unwrap().as_slice(), "tool").faults;
        assert!(faults(MAX_ENTRIES).is_empty());
        assert_eq!(faults(MAX_ENTRIES + 1), ["it holds more than 10000 files and folders"]);
    }
}
