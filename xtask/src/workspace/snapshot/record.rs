//! What the tool remembers of a snapshot, so that what did not change is not read.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::git::Commit;
use super::id::Id;
use super::names;
use crate::sys::files;
use crate::sys::stat::{Kind, STAT, Stat};

/// Changes with the form of the file.
const MAGIC: &[u8] = b"bpfship snapshot 3\n";

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
        let Glance { clean, files, folders, mut rest } = Glance::new(&bytes)?;
        let mut record = Record { clean, ..Record::default() };
        let stats = files.work.chunks_exact(STAT).zip(files.snapshot.chunks_exact(STAT));
        for (path, (work, snapshot)) in files.names().zip(stats) {
            let kind = rest.kind()?;
            let (id, content, target) = (rest.id()??, rest.id()?, rest.text()?);
            record.files.push(Written {
                path: names::text(path).into_owned(),
                kind,
                id,
                content,
                target: (kind == Kind::Link).then(|| target.into()),
                snapshot: Stat::from_bytes(snapshot)?,
                work: Stat::from_bytes(work)?,
            });
        }
        for (path, stat) in folders.names().zip(folders.snapshot.chunks_exact(STAT)) {
            record.folders.push((names::text(path).into_owned(), Stat::from_bytes(stat)?));
        }
        let is_whole =
            rest.bytes.is_empty() && record.files.len() == files.count() && record.folders.len() == folders.count();
        (is_whole && record.files.is_sorted_by(|a, b| a.path < b.path)).then_some(record)
    }

    /// A reader sees the old record or the new one. It is not forced to the disk: after a loss of power, a file that is
    /// not complete has another size than the record says.
    pub fn save(&self, file: &Path) -> Result<()> {
        let mut to = Encoder::default();
        match &self.clean {
            Some(Clean { commit, listed, identity }) => {
                to.id(Some(*listed));
                to.text(&commit.id);
                to.bytes.extend_from_slice(&commit.date.to_le_bytes());
                to.text(identity);
            }
            None => to.id(None),
        }
        to.names(self.files.iter().map(|file| file.path.as_str()));
        self.files.iter().for_each(|file| to.bytes.extend_from_slice(&file.work.to_bytes()));
        self.files.iter().for_each(|file| to.bytes.extend_from_slice(&file.snapshot.to_bytes()));
        to.names(self.folders.iter().map(|(path, _)| path.as_str()));
        self.folders.iter().for_each(|(_, stat)| to.bytes.extend_from_slice(&stat.to_bytes()));
        for file in &self.files {
            to.bytes.push(match file.kind {
                Kind::Regular => 0,
                Kind::Executable => 1,
                Kind::Link => 2,
            });
            to.id(Some(file.id));
            to.id(file.content);
            to.text(file.target.as_deref().unwrap_or_default());
        }
        let length = (to.bytes.len() as u64).to_le_bytes();
        let aside = file.with_extension("partial");
        files::write(&aside, [MAGIC, &length, &to.bytes].concat())?;
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

/// A record that is not taken apart: what it says of many files is compared at once.
pub struct Glance<'a> {
    pub clean: Option<Clean>,
    pub files: Block<'a>,
    /// They have no `work`.
    pub folders: Block<'a>,
    rest: Decoder<'a>,
}

/// Files or folders in the order of their paths.
pub struct Block<'a> {
    /// Each with a NUL at its end.
    pub paths: &'a [u8],
    /// [`STAT`] bytes for each, as [`Stat::to_bytes`] gives them.
    pub work: &'a [u8],
    pub snapshot: &'a [u8],
}

impl<'a> Glance<'a> {
    /// `None` if the bytes are not those of a whole record of this form.
    pub fn new(bytes: &'a [u8]) -> Option<Glance<'a>> {
        let mut rest = Decoder { bytes: bytes.strip_prefix(MAGIC)? };
        if rest.number()? != rest.bytes.len() {
            return None;
        }
        let clean = match rest.id()? {
            Some(listed) => {
                let commit = Commit { id: rest.text()?.into(), date: i64::from_le_bytes(rest.take()?) };
                Some(Clean { commit, listed, identity: rest.text()?.into() })
            }
            None => None,
        };
        let files = rest.block(true)?;
        let folders = rest.block(false)?;
        Some(Glance { clean, files, folders, rest })
    }
}

impl<'a> Block<'a> {
    pub fn count(&self) -> usize {
        self.snapshot.len() / STAT
    }

    fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        let paths = self.paths;
        let mut at = 0;
        memchr::memchr_iter(0, paths).map(move |end| {
            let path = &paths[at..end];
            at = end + 1;
            path
        })
    }
}

#[derive(Default)]
struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    fn number(&mut self, number: usize) {
        self.bytes.extend_from_slice(&(number as u64).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn names<'a>(&mut self, paths: impl ExactSizeIterator<Item = &'a str>) {
        self.number(paths.len());
        let mut names = Vec::new();
        for path in paths {
            names.extend_from_slice(&names::bytes(path));
            names.push(0);
        }
        self.number(names.len());
        self.bytes.extend_from_slice(&names);
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
}

struct Decoder<'a> {
    bytes: &'a [u8],
}

impl<'a> Decoder<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*bytes)
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<usize> {
        self.take().and_then(|bytes| usize::try_from(u64::from_le_bytes(bytes)).ok())
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.number()?;
        str::from_utf8(self.slice(length)?).ok()
    }

    fn block(&mut self, has_work: bool) -> Option<Block<'a>> {
        let (count, length) = (self.number()?, self.number()?);
        let stats = count.checked_mul(STAT)?;
        let paths = self.slice(length)?;
        let work = self.slice(if has_work { stats } else { 0 })?;
        Some(Block { paths, work, snapshot: self.slice(stats)? })
    }

    fn kind(&mut self) -> Option<Kind> {
        match self.take()? {
            [0] => Some(Kind::Regular),
            [1] => Some(Kind::Executable),
            [2] => Some(Kind::Link),
            _ => None,
        }
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
        let files =
            vec![written(&names::text(b"a\n\xff"), Kind::Executable, None), written("c", Kind::Link, Some("a"))];
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
