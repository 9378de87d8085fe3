//! What the tool remembers of a snapshot, so that what did not change is not read.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::git::Commit;
use super::id::Id;
use super::stat::{Kind, Stat};
use crate::sys::files;

/// Changes with the form of the file.
const MAGIC: &[u8] = b"bpfship snapshot 2\n";

/// What is written of a file takes more than this, in bytes.
const SMALLEST: usize = 100;

/// Written after the snapshot, and removed before it is changed: what it says of a file is true as long as the file has
/// the same [`Stat`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// What it is of, if that is a commit and nothing else.
    pub clean: Option<Clean>,
    /// In the order of the paths.
    pub files: Vec<Written>,
    /// A folder stands before what is in it. The first is the top, by the name "".
    pub folders: Vec<(String, Stat)>,
}

/// A work tree without submodules and without changes, none of whose links leads out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clean {
    pub commit: Commit,
    /// Of the list of its files that git printed.
    pub listed: Id,
    /// That of the [`Snapshot`](super::write::Snapshot).
    pub identity: String,
}

/// A file of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub path: String,
    pub kind: Kind,
    /// What it is to hold.
    pub id: Id,
    /// Its bytes, if `id` is of an LFS pointer.
    pub content: Option<Id>,
    /// Of a link.
    pub target: Option<String>,
    /// Of the file in the snapshot. Unknown for a link that leads out of it, which is not there.
    pub snapshot: Stat,
    /// Of the file in the work tree whose bytes, as git sees them, have this id.
    pub work: Stat,
}

impl Written {
    pub fn content(&self) -> Id {
        self.content.unwrap_or(self.id)
    }
}

impl Record {
    /// `None` if there is none, or none of this form: then all has to be read.
    pub fn load(file: &Path) -> Option<Record> {
        let bytes = fs::read(file).ok()?;
        let mut reader = Reader::new(&bytes)?;
        let mut record = Record { clean: reader.clean.clone(), ..Record::default() };
        record.files.reserve(reader.count());
        while let Some(file) = reader.file() {
            record.files.push(file.into());
        }
        while let Some((path, stat)) = reader.folder() {
            record.folders.push((path.into(), stat));
        }
        let in_order = record.files.is_sorted_by(|a, b| a.path < b.path);
        (reader.is_at_end() && in_order).then_some(record)
    }

    /// A reader sees the old record or the new one. It is not forced to the disk: after a loss of power, a file that is
    /// not complete has another size than the record says.
    pub fn save(&self, file: &Path) -> Result<()> {
        let mut to = Encoder { bytes: MAGIC.into() };
        match &self.clean {
            Some(Clean { commit, listed, identity }) => {
                to.id(Some(*listed));
                to.text(&commit.id);
                to.bytes.extend_from_slice(&commit.date.to_le_bytes());
                to.text(identity);
            }
            None => to.id(None),
        }
        to.number(self.files.len() as u64);
        for file in &self.files {
            to.text(&file.path);
            to.bytes.push(match file.kind {
                Kind::Regular => 0,
                Kind::Executable => 1,
                Kind::Link => 2,
            });
            to.id(Some(file.id));
            to.id(file.content);
            to.text(file.target.as_deref().unwrap_or_default());
            to.stat(&file.snapshot);
            to.stat(&file.work);
        }
        to.number(self.folders.len() as u64);
        for (folder, stat) in &self.folders {
            to.text(folder);
            to.stat(stat);
        }
        let aside = file.with_extension("partial");
        files::write(&aside, to.bytes)?;
        fs::rename(&aside, file).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The file of this path.
    pub fn find(&self, path: &str) -> Option<&Written> {
        let at = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        Some(&self.files[at])
    }

    /// A quick [`Record::find`] for paths that are asked for in their order.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { files: &self.files }
    }
}

pub struct Cursor<'a> {
    files: &'a [Written],
}

impl<'a> Cursor<'a> {
    pub fn find(&mut self, path: &str) -> Option<&'a Written> {
        while let Some((first, rest)) = self.files.split_first() {
            match first.path.as_str().cmp(path) {
                std::cmp::Ordering::Less => self.files = rest,
                std::cmp::Ordering::Equal => return Some(first),
                std::cmp::Ordering::Greater => return None,
            }
        }
        None
    }
}

/// Reads a record from its beginning to its end, first the files and then the folders, and keeps nothing of it.
pub struct Reader<'a> {
    pub clean: Option<Clean>,
    from: Decoder<'a>,
    files: u64,
    /// Known when the last file was read.
    folders: Option<u64>,
}

/// As in [`Written`].
pub struct File<'a> {
    pub path: &'a str,
    pub kind: Kind,
    id: Id,
    content: Option<Id>,
    target: &'a str,
    pub snapshot: Stat,
    pub work: Stat,
}

impl From<File<'_>> for Written {
    fn from(file: File) -> Written {
        let File { path, kind, id, content, target, snapshot, work } = file;
        let target = (kind == Kind::Link).then(|| target.into());
        Written { path: path.into(), kind, id, content, target, snapshot, work }
    }
}

impl<'a> Reader<'a> {
    /// `None` if the bytes are not those of a record of this form.
    pub fn new(bytes: &'a [u8]) -> Option<Reader<'a>> {
        let mut from = Decoder { rest: bytes.strip_prefix(MAGIC)? };
        let clean = match from.id()? {
            Some(listed) => {
                let commit = Commit { id: from.text()?.into(), date: i64::from_le_bytes(from.take()?) };
                Some(Clean { commit, listed, identity: from.text()?.into() })
            }
            None => None,
        };
        let files = from.number()?;
        Some(Reader { clean, from, files, folders: None })
    }

    /// How many files are to be read, but no more than there can be.
    fn count(&self) -> usize {
        usize::try_from(self.files).unwrap_or(usize::MAX).min(self.from.rest.len() / SMALLEST)
    }

    pub fn file(&mut self) -> Option<File<'a>> {
        let left = self.files.checked_sub(1)?;
        let file = self.from.file()?;
        self.files = left;
        Some(file)
    }

    pub fn folder(&mut self) -> Option<(&'a str, Stat)> {
        let left = match self.folders {
            Some(left) => left,
            None => self.from.number()?,
        };
        self.folders = Some(left);
        let left = left.checked_sub(1)?;
        let folder = (self.from.text()?, self.from.stat()?);
        self.folders = Some(left);
        Some(folder)
    }

    /// Whether all was read, and nothing is missing.
    pub fn is_at_end(&self) -> bool {
        self.from.rest.is_empty() && self.files == 0 && self.folders == Some(0)
    }
}

struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    fn number(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn id(&mut self, id: Option<Id>) {
        self.bytes.push(match id {
            None => 0,
            Some(Id::Sha1(_)) => 1,
            Some(Id::Sha256(_)) => 2,
            Some(Id::Plain(_)) => 3,
        });
        if let Some(id) = id {
            self.bytes.extend_from_slice(id.bytes());
        }
    }

    fn stat(&mut self, stat: &Stat) {
        self.bytes.extend_from_slice(&stat.mode.to_le_bytes());
        self.number(stat.size);
        self.number(stat.inode);
        self.bytes.extend_from_slice(&stat.mtime.to_le_bytes());
        self.bytes.extend_from_slice(&stat.ctime.to_le_bytes());
    }
}

struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        str::from_utf8(text).ok()
    }

    fn id(&mut self) -> Option<Option<Id>> {
        Some(match self.take()? {
            [0] => None,
            [1] => Some(Id::Sha1(self.take()?)),
            [2] => Some(Id::Sha256(self.take()?)),
            [3] => Some(Id::Plain(self.take()?)),
            _ => return None,
        })
    }

    fn stat(&mut self) -> Option<Stat> {
        Some(Stat {
            mode: u32::from_le_bytes(self.take()?),
            size: self.number()?,
            inode: self.number()?,
            mtime: i64::from_le_bytes(self.take()?),
            ctime: i64::from_le_bytes(self.take()?),
        })
    }

    fn file(&mut self) -> Option<File<'a>> {
        let path = self.text()?;
        let kind = match self.take()? {
            [0] => Kind::Regular,
            [1] => Kind::Executable,
            [2] => Kind::Link,
            _ => return None,
        };
        let (id, content) = (self.id()??, self.id()?);
        Some(File { path, kind, id, content, target: self.text()?, snapshot: self.stat()?, work: self.stat()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::snapshot::id::Format;

    #[test]
    fn a_record_is_read_as_it_was_written_or_not_at_all() {
        let stat = Stat { mode: 0o100_644, size: 1, inode: 2, mtime: -3, ctime: 4 };
        let written = |path: &str, kind, target: Option<&str>| Written {
            path: path.into(),
            kind,
            id: Format::Sha1.of_bytes(b"a"),
            content: Some(Format::Plain.of_bytes(b"b")),
            target: target.map(String::from),
            snapshot: stat,
            work: Stat::UNKNOWN,
        };
        let files = vec![written("a\nb", Kind::Executable, None), written("c", Kind::Link, Some("a"))];
        let commit = Commit { id: "c".into(), date: -5 };
        let clean = Some(Clean { commit, listed: Format::Plain.of_bytes(b"l"), identity: "i".into() });
        let record = Record { clean, files, folders: vec![(String::new(), stat)] };
        let folder = std::env::temp_dir().join(format!("xtask-record-{}", std::process::id()));
        let file = folder.join("record");
        record.save(&file).unwrap();
        assert_eq!(Record::load(&file), Some(record.clone()));
        assert_eq!(record.find("c"), Some(&record.files[1]));
        assert_eq!(record.cursor().find("b"), None);
        let bytes = files::read(&file).unwrap();
        for length in 0..bytes.len() {
            files::write(&file, &bytes[..length]).unwrap();
            assert_eq!(Record::load(&file), None, "{length}");
        }
        files::remove_folder(&folder).unwrap();
    }
}
