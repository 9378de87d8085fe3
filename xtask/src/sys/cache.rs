//! The cache: what is costly to get, each kept under a name that contains all its inputs.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::FlockOperation::{NonBlockingLockExclusive, NonBlockingLockShared};
use rustix::fs::flock;
use rustix::io::Errno;

use crate::sys::hash::{self, Sha256};
use crate::sys::process::Runner;
use crate::sys::stat::{self, Stat};
use crate::sys::{files, parallel};
use crate::ui::error::Damaged;

/// What the name of an entry that is being made ends with.
pub const PARTIAL: &str = ".partial";

/// What the name of the lock of those who use an entry ends with. It is another one than that of those who make it: who
/// finds an entry damaged uses it, and makes it anew.
const IN_USE: &str = ".in-use";

/// Where locks are.
const LOCKS: &str = "locks";

/// The file in an entry with the hash of every other file in it.
const CONTENTS: &str = "CONTENTS";

/// What the name of the file ends with, beside the locks, that says how an entry's files looked that were found to be what
/// they were.
const CHECKED: &str = ".checked";

/// A folder of finished entries. An entry is there whole or not at all: it is made beside its place and renamed.
#[derive(Debug, Clone)]
pub struct Cache {
    pub folder: PathBuf,
}

impl Cache {
    /// `$BPFSHIP_CACHE`, else `bpfship` in the user's cache folder.
    pub fn find() -> Result<Cache> {
        let folder = if let Some(folder) = env::var_os("BPFSHIP_CACHE").filter(|dir| !dir.is_empty()) {
            PathBuf::from(folder)
        } else if let Some(folder) = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
            Path::new(&folder).join(crate::NAME)
        } else if let Some(home) = env::home_dir() {
            let caches = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
            home.join(caches).join(crate::NAME)
        } else {
            bail!("there is no home folder to keep a cache in: set BPFSHIP_CACHE to a folder");
        };
        let folder = std::path::absolute(&folder)
            .with_context(|| format!("cannot find the cache folder {}", folder.display()))?;
        if folder.to_str().is_none() {
            bail!("the cache folder {} is not UTF-8: set BPFSHIP_CACHE to one that is", folder.display());
        }
        Ok(Cache { folder })
    }

    /// The names of what is there.
    pub fn entries(&self) -> Result<BTreeSet<String>> {
        let names = files::list(&self.folder).context("cannot use the cache (BPFSHIP_CACHE)")?;
        Ok(names.into_iter().collect())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where an entry is while it is made.
    pub fn partial(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{PARTIAL}"))
    }

    /// Makes the entry `name` with `fill`, which is given an empty folder to fill, unless it is there. Of two runs at
    /// once, one makes it and the other waits.
    pub fn get(&self, runner: Runner, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let entry = self.path(name);
        if entry.exists() {
            return Ok(entry);
        }
        let _lock = self.lock(runner, name)?;
        if entry.exists() {
            return Ok(entry);
        }
        let partial = self.partial(name);
        let made = (|| {
            // Left behind by a run that was killed: nothing else uses it, as we hold the lock.
            files::remove_folder(&partial)?;
            files::create_folder(&partial)?;
            fill(&partial)?;
            seal(&partial)?;
            fs::rename(&partial, &entry).with_context(|| format!("cannot create {}", entry.display()))
        })();
        if made.is_err() {
            let _ = files::remove_folder(&partial);
        }
        made.map(|()| entry)
    }

    /// Keeps these entries from being removed, where they are there, until the files returned are dropped.
    pub fn hold<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Vec<File> {
        let there = names.into_iter().filter(|name| self.path(name).exists());
        // Where no lock can be made, in a cache that cannot be written, nothing can be removed either.
        let files = there.filter_map(|name| self.lock_file(&format!("{name}{IN_USE}")).ok());
        files.filter(|file| flock(file, NonBlockingLockShared).is_ok()).collect()
    }

    /// Holds off other runs from an entry, unless one makes or uses it already.
    pub fn try_lock(&self, name: &str) -> Result<Option<[File; 2]>> {
        let files = [self.lock_file(name)?, self.lock_file(&format!("{name}{IN_USE}"))?];
        for file in &files {
            match flock(file, NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error).context("cannot lock a file"),
            }
        }
        Ok(Some(files))
    }

    /// Makes sure that the files of an entry that a job `reads`, by their paths in it, are what they were when it was
    /// made. If one is not, the entry is removed, and the error is a [`Damaged`]. Files that all look as they did when they
    /// were found to be right are not read again.
    pub fn check(&self, runner: Runner, name: &str, reads: impl Fn(&str) -> bool) -> Result<()> {
        let (entry, now) = (self.path(name), stat::now());
        let listed = self.listed(name, reads)?;
        let looks: Option<String> = listed.iter().map(|listed| listed.looks(&entry, now)).collect();
        // One hash for all of them: a line for each file takes a megabyte.
        let looks = looks.map(|looks| hash::bytes(looks.as_bytes()).to_string());
        let record = self.folder.join(LOCKS).join(format!("{name}{CHECKED}"));
        let checked = files::read_if_there(&record).ok().flatten().unwrap_or_default();
        if looks.as_deref().is_some_and(|looks| checked.lines().any(|line| line == looks)) {
            return Ok(());
        }
        let Some(file) = damaged(&entry, &listed) else {
            if let Some(looks) = looks {
                // In a cache that cannot be written, the files are read each time.
                let _ = files::replace_one(&record, format!("{checked}{looks}\n").as_bytes());
            }
            return Ok(());
        };
        let _lock = self.lock(runner, name)?;
        let partial = self.partial(name);
        files::remove_folder(&partial)?;
        fs::rename(&entry, &partial).with_context(|| format!("cannot remove {}", entry.display()))?;
        files::remove_folder(&partial)?;
        Err(Damaged { entry: name.into(), file }.into())
    }

    /// The first file of an entry that is not what it was. All of them are read.
    pub fn damage(&self, name: &str) -> Result<Option<String>> {
        let listed = self.listed(name, |_| true)?;
        Ok(damaged(&self.path(name), &listed))
    }

    /// These files of an entry. If none of them is listed, the list is what is damaged.
    fn listed(&self, name: &str, reads: impl Fn(&str) -> bool) -> Result<Vec<Listed>> {
        let contents = files::read_if_there(&self.path(name).join(CONTENTS))?.unwrap_or_default();
        let lines = contents.lines().filter_map(|line| line.split_once("  ")).filter(|(_, file)| reads(file));
        let mut listed: Vec<Listed> =
            lines.map(|(sha256, file)| Listed { sha256: sha256.into(), file: file.into() }).collect();
        if listed.is_empty() {
            listed.push(Listed { sha256: String::new(), file: CONTENTS.into() });
        }
        Ok(listed)
    }

    /// Holds off other runs that want the same lock until the file returned is dropped.
    pub fn lock(&self, runner: Runner, name: &str) -> Result<File> {
        lock(runner, self.lock_file(name)?, "that makes the same entry")
    }

    fn lock_file(&self, name: &str) -> Result<File> {
        let folder = self.folder.join(LOCKS);
        let path = folder.join(name);
        fs::create_dir_all(&folder)
            .and_then(|()| File::options().create(true).truncate(false).write(true).open(&path))
            .map_err(|error| {
                let cache = self.folder.display();
                anyhow!("cannot write to the cache {cache}: {error}: set BPFSHIP_CACHE to a folder that can be written")
            })
    }
}

/// A file of an entry.
struct Listed {
    sha256: String,
    file: String,
}

impl Listed {
    /// How the file looks that has this hash, if it cannot become another one that looks so.
    fn looks(&self, entry: &Path, now: i64) -> Option<String> {
        // Through links, as it is read.
        let metadata = fs::metadata(entry.join(&self.file)).ok()?;
        let Stat { mode, size, inode, mtime, ctime } = Stat::of(&metadata).settled(now);
        (inode != 0).then(|| format!("{} {mode:o} {size} {inode} {mtime} {ctime} {}\n", self.sha256, self.file))
    }
}

/// The first of these files of an entry that is not what it was.
fn damaged(entry: &Path, listed: &[Listed]) -> Option<String> {
    let is_damaged = |listed: &Listed| {
        let wanted = listed.sha256.parse::<Sha256>();
        !wanted.is_ok_and(|wanted| hash::file(&entry.join(&listed.file)).is_ok_and(|found| found == wanted))
    };
    let index = parallel::map(listed, is_damaged).iter().position(|is_damaged| *is_damaged)?;
    Some(listed[index].file.clone())
}

/// Writes down what is in a folder.
fn seal(folder: &Path) -> Result<()> {
    let mut names = Vec::new();
    files::walk(folder, "", &mut names)?;
    let hashes = parallel::map(&names, |name| hash::file(&folder.join(name)));
    let line = |(name, hash): (&String, Result<Sha256>)| Ok(format!("{}  {name}\n", hash?));
    let lines: String = names.iter().zip(hashes).map(line).collect::<Result<_>>()?;
    files::write(&folder.join(CONTENTS), lines)
}

/// Locks a file, waiting for whoever holds it.
pub fn lock(runner: Runner, file: File, whose: &str) -> Result<File> {
    let mut printed = false;
    loop {
        match flock(&file, NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(error) if error != Errno::WOULDBLOCK => return Err(error).context("cannot lock a file"),
            Err(_) => {
                if !printed {
                    runner.status(format!("waiting for another run {whose}"));
                    printed = true;
                }
                // Not a lock that waits, which Ctrl-C would not end.
                thread::sleep(Duration::from_millis(200));
                runner.check_interrupted()?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use anyhow::bail;

    use super::*;
    use crate::ui::screen::Level;

    fn runner() -> Runner {
        Runner::new(Level::Quiet)
    }

    fn empty(name: &str) -> Cache {
        let folder = env::temp_dir().join(format!("bpfship-cache-{}-{name}", std::process::id()));
        files::remove_folder(&folder).unwrap();
        Cache { folder }
    }

    #[test]
    fn of_two_runs_at_once_one_makes_an_entry_and_the_other_waits() {
        let cache = empty("twice");
        let made = AtomicUsize::new(0);
        let get = || {
            cache.get(runner(), "entry", |folder| {
                made.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(300));
                files::write(&folder.join("file"), "whole")
            })
        };
        let entries: Vec<PathBuf> = thread::scope(|scope| {
            let runs = [scope.spawn(get), scope.spawn(get)];
            runs.map(|run| run.join().unwrap().unwrap()).to_vec()
        });
        assert_eq!(made.into_inner(), 1);
        assert_eq!(fs::read_to_string(entries[1].join("file")).unwrap(), "whole");
        files::remove_folder(&cache.folder).unwrap();
    }

    #[test]
    fn a_flipped_byte_is_seen_by_who_reads_it_and_the_entry_is_made_again() {
        let cache = empty("flipped");
        let fill = |folder: &Path| {
            files::write(&folder.join("a"), "a")?;
            files::write(&folder.join("deeper/b"), "b")
        };
        cache.get(runner(), "entry", fill).unwrap();
        cache.check(runner(), "entry", |_| true).unwrap();
        fs::write(cache.path("entry/deeper/b"), "c").unwrap();
        cache.check(runner(), "entry", |file| file == "a").unwrap();
        let damaged = cache.check(runner(), "entry", |_| true).unwrap_err();
        assert_eq!(damaged.to_string(), "entry in the cache is damaged (deeper/b), and is made again");
        assert!(!cache.path("entry").exists());
        cache.get(runner(), "entry", fill).unwrap();
        fs::remove_file(cache.path("entry/a")).unwrap();
        assert!(cache.check(runner(), "entry", |_| true).unwrap_err().is::<Damaged>());
        files::remove_folder(&cache.folder).unwrap();
    }

    #[test]
    fn a_file_that_was_found_to_be_right_is_read_again_only_if_it_looks_otherwise() {
        let cache = empty("looks");
        cache.get(runner(), "entry", |folder| files::write(&folder.join("a"), "a")).unwrap();
        let (file, checked) = (cache.path("entry/a"), cache.path("locks/entry.checked"));
        // Until its ctime is past, it could be changed and look the same.
        while !checked.exists() {
            cache.check(runner(), "entry", |_| true).unwrap();
            thread::sleep(Duration::from_millis(10));
        }
        let before = fs::metadata(&file).unwrap();
        assert_eq!(fs::read_to_string(&checked).unwrap().lines().count(), 1);
        cache.check(runner(), "entry", |_| true).unwrap();
        fs::write(&file, "b").unwrap();
        File::options().write(true).open(&file).unwrap().set_modified(before.modified().unwrap()).unwrap();
        assert!(cache.check(runner(), "entry", |_| true).unwrap_err().is::<Damaged>());
        files::remove_folder(&cache.folder).unwrap();
    }

    #[test]
    fn what_could_not_be_made_is_not_there_and_what_was_left_half_made_is_made_anew() {
        let cache = empty("half");
        files::write(&cache.path("entry.partial").join("old"), "half").unwrap();
        let failed = cache.get(runner(), "entry", |folder| {
            assert!(files::list(folder).unwrap().is_empty());
            files::write(&folder.join("file"), "half")?;
            bail!("cut off")
        });
        assert_eq!(failed.unwrap_err().to_string(), "cut off");
        assert_eq!(cache.entries().unwrap(), ["locks".to_owned()].into());
        files::remove_folder(&cache.folder).unwrap();
    }
}
