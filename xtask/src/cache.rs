//! The cache: things that are costly to get, each kept under a name that says all that went into it.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::files;
use crate::run::Runner;

/// A folder of finished entries. An entry is there whole or not at all: it is made beside its place and renamed.
#[derive(Debug, Clone)]
pub struct Cache {
    pub folder: PathBuf,
}

impl Cache {
    /// `$XTASK_CACHE`, else `xtask` in the user's cache folder.
    pub fn find() -> Result<Cache> {
        let folder = if let Some(folder) = env::var_os("XTASK_CACHE").filter(|dir| !dir.is_empty()) {
            PathBuf::from(folder)
        } else if let Some(folder) = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
            Path::new(&folder).join("xtask")
        } else if let Some(home) = env::home_dir() {
            let caches = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
            home.join(caches).join("xtask")
        } else {
            bail!("there is no home folder to keep a cache in: set XTASK_CACHE to a folder");
        };
        let folder = std::path::absolute(&folder)
            .with_context(|| format!("cannot find the cache folder {}", folder.display()))?;
        if folder.to_str().is_none() {
            bail!("the cache folder {} is not UTF-8: set XTASK_CACHE to one that is", folder.display());
        }
        Ok(Cache { folder })
    }

    /// The names of what is there.
    pub fn entries(&self) -> Result<BTreeSet<String>> {
        let names = files::list(&self.folder).context("the cache (XTASK_CACHE) is of no use")?;
        Ok(names.into_iter().collect())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where an entry is while it is made.
    pub fn partial(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.partial"))
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
            // Left behind by a run that was killed: nobody else can be at it, we hold the lock.
            files::remove_folder(&partial)?;
            files::create_folder(&partial)?;
            fill(&partial)?;
            fs::rename(&partial, &entry).with_context(|| format!("cannot create {}", entry.display()))
        })();
        if made.is_err() {
            let _ = files::remove_folder(&partial);
        }
        made.map(|()| entry)
    }

    /// Holds off other runs that want the same lock until the file returned is dropped.
    pub fn lock(&self, runner: Runner, name: &str) -> Result<File> {
        let folder = self.folder.join("locks");
        let path = folder.join(name);
        let file = fs::create_dir_all(&folder)
            .and_then(|()| File::options().create(true).truncate(false).write(true).open(&path))
            .map_err(|error| {
                let cache = self.folder.display();
                anyhow!("cannot write to the cache {cache}: {error}: set XTASK_CACHE to a folder that can be written")
            })?;
        lock(runner, file, "that makes the same thing")
    }
}

/// Locks a file, waiting for whoever holds it.
pub fn lock(runner: Runner, file: File, whose: &str) -> Result<File> {
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::Error(error)) => return Err(error).context("cannot lock a file"),
            Err(fs::TryLockError::WouldBlock) => {
                if !said {
                    runner.say(format!("waiting for another run {whose}"));
                    said = true;
                }
                // Not `File::lock`, which Ctrl-C would not end.
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
    use crate::screen::Level;

    fn runner() -> Runner {
        Runner::new(Level::Quiet)
    }

    fn empty(name: &str) -> Cache {
        let folder = env::temp_dir().join(format!("xtask-cache-{}-{name}", std::process::id()));
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
