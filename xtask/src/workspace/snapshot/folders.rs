//! Files of a folder are looked at, without their bytes being read.

use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::names;
use crate::sys::stat::{STAT, Stat};

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

#[cfg(test)]
mod tests {
    use std::fs;

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
}
