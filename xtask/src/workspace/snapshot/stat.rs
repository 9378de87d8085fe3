//! What the file system says of a file without its bytes being read.

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use rustix::io::Errno;

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
    last: String,
    open: Vec<(usize, OwnedFd)>,
}

impl Folders {
    pub fn new(folder: &Path) -> Folders {
        Folders { top: folder.into(), last: String::new(), open: Vec::new() }
    }

    /// `None` if nothing is there.
    pub fn stat(&mut self, path: &str) -> Result<Option<Stat>> {
        let (parent, name) = match memchr::memrchr(b'/', path.as_bytes()) {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => ("", path),
        };
        let stat = self.enter(parent).and_then(|is_there| match self.open.last() {
            Some((_, folder)) if is_there => {
                statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Some(Stat::of_raw(&stat)))
            }
            _ => Ok(None),
        });
        match stat {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            stat => stat.with_context(|| format!("cannot read {}", self.top.join(path).display())),
        }
    }

    /// Opens a folder, unless it is the one that is open.
    fn enter(&mut self, path: &str) -> Result<bool, Errno> {
        let is_there = |open: &[(usize, OwnedFd)]| open.last().is_some_and(|(end, _)| *end == path.len());
        if path == self.last && !self.open.is_empty() {
            return Ok(is_there(&self.open));
        }
        if self.open.is_empty() {
            self.open.push((0, openat(CWD, &self.top, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?));
        }
        let is_above =
            |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let kept = self.open.iter().take_while(|(end, _)| *end == 0 || is_above(&self.last[..*end])).count();
        self.open.truncate(kept);
        self.last.replace_range(.., path);
        let mut end = self.open.last().map_or(0, |(end, _)| *end);
        while end < path.len() {
            let begin = if end == 0 { 0 } else { end + 1 };
            end = path[begin..].find('/').map_or(path.len(), |at| begin + at);
            let Some((_, above)) = self.open.last() else { return Ok(false) };
            match openat(above, &path[begin..end], FOLDER, Mode::empty()) {
                Ok(folder) => self.open.push((end, folder)),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(is_there(&self.open))
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
