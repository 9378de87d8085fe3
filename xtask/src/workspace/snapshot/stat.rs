//! What the file system says of a file without its bytes being read.

use std::ffi::{CStr, OsStr};
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::names;

/// If none of this changed, the bytes did not: nobody can set ctime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    pub mode: u32,
    pub size: u64,
    pub inode: u64,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    pub ctime: i64,
}

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Regular,
    Executable,
    /// A symbolic link, whose bytes are its target.
    Link,
}

/// How many bytes a [`Stat`] has in a record.
pub const STAT: usize = 36;

impl Stat {
    /// Like no file: it has to be read.
    pub const UNKNOWN: Stat = Stat { mode: 0, size: 0, inode: 0, mtime: 0, ctime: 0 };

    pub fn of(metadata: &Metadata) -> Stat {
        Stat {
            mode: metadata.mode(),
            size: metadata.size(),
            inode: metadata.ino(),
            mtime: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
            ctime: metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec(),
        }
    }

    #[allow(clippy::unnecessary_cast, reason = "the types of these fields differ between systems")]
    fn of_raw(stat: &rustix::fs::Stat) -> Stat {
        Stat {
            mode: stat.st_mode as u32,
            size: stat.st_size as u64,
            inode: stat.st_ino as u64,
            mtime: stat.st_mtime as i64 * 1_000_000_000 + stat.st_mtime_nsec as i64,
            ctime: stat.st_ctime as i64 * 1_000_000_000 + stat.st_ctime_nsec as i64,
        }
    }

    pub fn to_bytes(self) -> [u8; STAT] {
        let mut bytes = [0; STAT];
        bytes[..4].copy_from_slice(&self.mode.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.size.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.inode.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.mtime.to_le_bytes());
        bytes[28..].copy_from_slice(&self.ctime.to_le_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Stat> {
        let at = |at: usize| bytes.get(at..at + 8)?.try_into().ok();
        Some(Stat {
            mode: u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?),
            size: u64::from_le_bytes(at(4)?),
            inode: u64::from_le_bytes(at(12)?),
            mtime: i64::from_le_bytes(at(20)?),
            ctime: i64::from_le_bytes(at(28)?),
        })
    }

    /// Of a path whose last component is not followed. `None` if nothing is there.
    pub fn at(path: &Path) -> io::Result<Option<Stat>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(Stat::of(&metadata))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `None` for a folder, and for what is neither file nor link.
    pub fn kind(&self) -> Option<Kind> {
        match self.mode & 0o170_000 {
            0o100_000 if self.mode & 0o100 != 0 => Some(Kind::Executable),
            0o100_000 => Some(Kind::Regular),
            0o120_000 => Some(Kind::Link),
            _ => None,
        }
    }

    pub fn is_folder(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// This, if the file can't change after `now` and look the same: a clock ticks in steps, of some milliseconds mostly, of
    /// two seconds on file systems that count no fractions.
    pub fn settled(self, now: i64) -> Stat {
        let step = if self.ctime % 1_000_000_000 == 0 { 2_000_000_000 } else { 50_000_000 };
        if self.ctime + step < now { self } else { Stat::UNKNOWN }
    }
}

/// How a folder is opened to look at what is in it: not through a link.
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(LOOK);
/// Its names need not be readable.
#[cfg(target_os = "linux")]
const LOOK: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const LOOK: OFlags = OFlags::RDONLY;

/// Looks at files of a folder, in the order of their paths, and follows no link on the way to them. Of files in the same
/// folder, only the names are looked up.
pub struct Folders {
    top: PathBuf,
    /// The path of a folder in it, whose parts are open as far as they are folders: where each ends in the path, and it.
    last: Vec<u8>,
    open: Vec<(usize, OwnedFd)>,
    /// Whether all of its parts are.
    is_there: bool,
}

/// How many stats are compared at once.
const BATCH: usize = 512;

impl Folders {
    pub fn new(folder: &Path) -> Folders {
        Folders { top: folder.into(), last: Vec::new(), open: Vec::new(), is_there: false }
    }

    /// `None` if nothing is there.
    pub fn stat(&mut self, path: &str) -> Result<Option<Stat>> {
        let mut bytes = names::bytes(path).into_owned();
        bytes.push(0);
        self.stat_bytes(&bytes)
    }

    /// The same of a path that ends with NUL.
    pub fn stat_bytes(&mut self, path: &[u8]) -> Result<Option<Stat>> {
        if path == b"\0" {
            return Stat::at(&self.top).with_context(|| format!("cannot read {}", self.top.display()));
        }
        let (parent, name) = match memchr::memrchr(b'/', path) {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], path),
        };
        let is_there = match parent == self.last && !self.open.is_empty() {
            true => Ok(self.is_there),
            false => self.enter(parent),
        };
        let stat = match (is_there, self.open.last(), CStr::from_bytes_with_nul(name)) {
            (Ok(true), Some((_, folder)), Ok(name)) => {
                statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Some(Stat::of_raw(&stat)))
            }
            (Err(error), _, _) => Err(error),
            _ => Ok(None),
        };
        match stat {
            Ok(stat) => Ok(stat),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error).with_context(|| {
                let path = path.strip_suffix(b"\0").unwrap_or(path);
                format!("cannot read {}", self.top.join(OsStr::from_bytes(path)).display())
            }),
        }
    }

    /// Whether all of these paths, each with a NUL at its end, have these stats.
    pub fn are(&mut self, paths: &[u8], stats: &[u8]) -> Result<bool> {
        let mut found = Vec::with_capacity(BATCH * STAT);
        let (mut at, mut compared) = (0, 0);
        for end in memchr::memchr_iter(0, paths) {
            match self.stat_bytes(&paths[at..=end])? {
                Some(stat) => found.extend_from_slice(&stat.to_bytes()),
                None => return Ok(false),
            }
            at = end + 1;
            if found.len() == BATCH * STAT {
                if stats.get(compared..compared + found.len()) != Some(&found) {
                    return Ok(false);
                }
                compared += found.len();
                found.clear();
            }
        }
        Ok(stats.get(compared..) == Some(&found))
    }

    /// Opens a folder. Gives whether it is one.
    fn enter(&mut self, path: &[u8]) -> Result<bool, Errno> {
        if self.open.is_empty() {
            self.open.push((0, openat(CWD, &self.top, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?));
        }
        let is_above =
            |folder: &[u8]| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
        let kept = self.open.iter().take_while(|(end, _)| *end == 0 || is_above(&self.last[..*end])).count();
        self.open.truncate(kept);
        self.last.clear();
        self.last.extend_from_slice(path);
        self.is_there = false;
        let mut end = self.open.last().map_or(0, |(end, _)| *end);
        while end < path.len() {
            let begin = if end == 0 { 0 } else { end + 1 };
            end = memchr::memchr(b'/', &path[begin..]).map_or(path.len(), |at| begin + at);
            let Some((_, above)) = self.open.last() else { return Ok(false) };
            match openat(above, &path[begin..end], FOLDER, Mode::empty()) {
                Ok(folder) => self.open.push((end, folder)),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.is_there = true;
        Ok(true)
    }
}

/// Nanoseconds since 1970.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_looked_at_through_folders_alone() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path();
        for file in ["a/b/c", "a/b.c/d", "a/bc", "e"] {
            fs::create_dir_all(top.join(file).parent().unwrap()).unwrap();
            fs::write(top.join(file), file).unwrap();
        }
        std::os::unix::fs::symlink("a", top.join("link")).unwrap();
        let mut folders = Folders::new(top);
        for path in ["a/b/c", "a/b.c/d", "a/bc", "a", "link", "a/b", "e"] {
            assert_eq!(folders.stat(path).unwrap(), Stat::at(&top.join(path)).unwrap(), "{path}");
            assert!(folders.stat(path).unwrap().is_some(), "{path}");
        }
        for path in ["a/b/c/d", "a/b/d", "a/x/c", "a/x/d", "link/bc", "e/f", "x"] {
            assert_eq!(folders.stat(path).unwrap(), None, "{path}");
        }
        assert_eq!(Folders::new(&top.join("x")).stat("a").unwrap(), None);
    }

    #[test]
    fn a_file_that_may_change_within_a_tick_is_read_again() {
        let stat = Stat { ctime: 7_000_000_001, inode: 1, ..Stat::UNKNOWN };
        assert_eq!(stat.settled(7_000_000_002), Stat::UNKNOWN);
        assert_eq!(stat.settled(7_100_000_000), stat);
        let coarse = Stat { ctime: 7_000_000_000, ..stat };
        assert_eq!(coarse.settled(8_900_000_000), Stat::UNKNOWN);
        assert_eq!(coarse.settled(9_100_000_000), coarse);
    }
}
