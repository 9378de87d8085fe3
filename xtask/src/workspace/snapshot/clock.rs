//! Dates of a snapshot's files, by which cargo knows what to build again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::sys::stat::Stat;

/// A file whose mtime is later than all that was built of the snapshot.
const BUILT: &str = "built";
/// A file that is written to see what time it is for the file system, whose clock is not ours.
const PROBE: &str = "clock";

/// How long a file system that counts no fractions of a second may take to show that time went on, in nanoseconds.
const STEP: i64 = 3_000_000_000;
/// Longer than any build takes, in nanoseconds.
const DAY: i64 = 86_400_000_000_000;

/// The time at which files are written.
pub struct Clock {
    folder: PathBuf,
    /// Now, unless the clock went back; in nanoseconds since 1970.
    pub now: i64,
    /// What has to be given to files as their mtime, because the clock went back: a file that is written now would be older
    /// than what was built of another one.
    pub floor: Option<SystemTime>,
}

impl Clock {
    /// Waits until a file that is written is newer than all that was built.
    pub fn begin(folder: &Path) -> Result<Clock> {
        let built = built(folder)?;
        let mut now = probe(folder)?;
        while now <= built && built - now < STEP {
            thread::sleep(Duration::from_millis(1));
            now = probe(folder)?;
        }
        // A run may have been killed before it could say how long it built.
        let floor = (now <= built).then(|| built + DAY);
        Ok(Clock { folder: folder.into(), now: floor.unwrap_or(now), floor: floor.map(time) })
    }

    /// The date of a file that is newer than all that was built.
    pub fn time(&self) -> SystemTime {
        time(self.now)
    }

    /// Waits until what changes from now on has another ctime than what was written; begins what is built.
    pub fn end(self, latest: i64) -> Result<()> {
        let mut now = probe(&self.folder)?;
        while now <= latest && latest - now < STEP {
            thread::sleep(Duration::from_millis(1));
            now = probe(&self.folder)?;
        }
        keep(&self.folder, now.max(self.now))
    }

    /// What is built now is built.
    pub fn built(folder: &Path) -> Result<()> {
        keep(folder, probe(folder)?)
    }
}

fn built(folder: &Path) -> Result<i64> {
    let file = folder.join(BUILT);
    let stat = Stat::at(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(stat.map_or(0, |stat| stat.mtime))
}

fn keep(folder: &Path, now: i64) -> Result<()> {
    let latest = now.max(built(folder)?);
    let file = folder.join(BUILT);
    let kept = File::options().create(true).truncate(false).write(true).open(&file);
    kept.and_then(|file| file.set_modified(time(latest))).with_context(|| format!("cannot write {}", file.display()))
}

fn probe(folder: &Path) -> Result<i64> {
    let file = folder.join(PROBE);
    let stat = fs::write(&file, "now").and_then(|()| Stat::at(&file));
    Ok(stat.with_context(|| format!("cannot write {}", file.display()))?.map_or(0, |stat| stat.ctime))
}

fn time(nanoseconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::files;

    #[test]
    fn what_is_written_after_a_build_is_newer_even_if_the_clock_went_back() {
        let folder = std::env::temp_dir().join(format!("xtask-clock-{}", std::process::id()));
        files::create_folder(&folder).unwrap();
        let first = Clock::begin(&folder).unwrap();
        assert_eq!(first.floor, None);
        let written = first.now;
        first.end(written).unwrap();
        assert!(Clock::begin(&folder).unwrap().now > written);

        let tomorrow = probe(&folder).unwrap() + DAY;
        keep(&folder, tomorrow).unwrap();
        Clock::built(&folder).unwrap();
        let back = Clock::begin(&folder).unwrap();
        assert_eq!((back.now, back.floor), (tomorrow + DAY, Some(time(tomorrow + DAY))));
        back.end(0).unwrap();
        assert_eq!(Clock::begin(&folder).unwrap().now, tomorrow + 2 * DAY);
        files::remove_folder(&folder).unwrap();
    }
}
