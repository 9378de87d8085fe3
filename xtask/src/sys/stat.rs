//! What the file system says of a file without its bytes being read.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

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
    pub fn of_raw(stat: &rustix::fs::Stat) -> Stat {
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
