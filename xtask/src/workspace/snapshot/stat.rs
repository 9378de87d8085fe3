//! What the file system says of a file without its bytes being read.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};

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

/// Looks at files of a folder, in the order of their paths, and follows no link on the way to them.
pub struct Folders {
    /// The folder, and what was looked at last.
    path: Vec<u8>,
    folder: usize,
    /// The path of a folder in it, and whether it is one.
    last: String,
    is_one: bool,
}

impl Folders {
    pub fn new(folder: &Path) -> Folders {
        let mut path = folder.as_os_str().as_bytes().to_vec();
        path.push(b'/');
        Folders { folder: path.len(), path, last: String::new(), is_one: true }
    }

    /// `None` if nothing is there.
    pub fn stat(&mut self, path: &str) -> Result<Option<Stat>> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if parent != self.last {
            self.is_one = self.is_folder(parent)?;
            self.last.replace_range(.., parent);
        }
        if self.is_one { self.at(path) } else { Ok(None) }
    }

    fn is_folder(&mut self, path: &str) -> Result<bool> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain((!path.is_empty()).then_some(path.len()));
        for end in ends {
            let folder = &path[..end];
            let is_known = self.is_one
                && self.last.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if !is_known && !self.at(folder)?.is_some_and(|stat| stat.is_folder()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn at(&mut self, path: &str) -> Result<Option<Stat>> {
        self.path.truncate(self.folder);
        self.path.extend_from_slice(path.as_bytes());
        let path = Path::new(OsStr::from_bytes(&self.path));
        Stat::at(path).with_context(|| format!("cannot read {}", path.display()))
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
    fn a_file_that_may_change_within_a_tick_is_read_again() {
        let stat = Stat { ctime: 7_000_000_001, inode: 1, ..Stat::UNKNOWN };
        assert_eq!(stat.settled(7_000_000_002), Stat::UNKNOWN);
        assert_eq!(stat.settled(7_100_000_000), stat);
        let coarse = Stat { ctime: 7_000_000_000, ..stat };
        assert_eq!(coarse.settled(8_900_000_000), Stat::UNKNOWN);
        assert_eq!(coarse.settled(9_100_000_000), coarse);
    }
}
