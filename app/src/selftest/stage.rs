//! A folder for the self-test, with a script in it whose interpreter is this binary.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process,
};

use nix::sys::statvfs::{FsFlags, statvfs};

use super::child::Child;

/// Removed when dropped.
pub(super) struct Stage {
    folder: PathBuf,
}

impl Stage {
    /// # Errors
    /// When there is no folder that can be written to and executed from.
    pub(super) fn set_up(exe: &Path) -> Result<Self, String> {
        let places = [env::temp_dir(), "/tmp".into(), "/var/tmp".into(), "/run".into(), "/dev/shm".into(), "/".into()];
        let mut failures = Vec::new();
        for place in places {
            match Self::set_up_in(&place, exe) {
                Ok(stage) => return Ok(stage),
                Err(error) => failures.push(format!("{}: {error}", place.display())),
            }
        }
        failures.dedup();
        Err(format!(
            "no place for a script ({}): set TMPDIR to a folder that can be written to and executed from",
            failures.join(", ")
        ))
    }

    fn set_up_in(place: &Path, exe: &Path) -> io::Result<Self> {
        if statvfs(place)?.flags().contains(FsFlags::ST_NOEXEC) {
            return Err(io::Error::other("mounted noexec"));
        }
        let folder = place.join(format!("exectrace-{}", process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        // From here on it is removed again, whatever fails.
        let stage = Self { folder };
        symlink(exe, stage.interpreter())?;
        let line = format!("#!{} {}\n", stage.interpreter().display(), Child::Succeed.argument());
        fs::write(stage.script(), line)?;
        fs::set_permissions(stage.script(), fs::Permissions::from_mode(0o700))?;
        Ok(stage)
    }

    /// A link to this binary: old kernels read no more than 127 bytes of a `#!` line, and its own path may be longer.
    pub(super) fn interpreter(&self) -> PathBuf {
        self.folder.join("x")
    }

    pub(super) fn script(&self) -> PathBuf {
        self.folder.join("script")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stage_is_set_up_and_taken_down() {
        let exe = env::current_exe().unwrap();
        let stage = Stage::set_up(&exe).unwrap();
        let script = fs::read_to_string(stage.script()).unwrap();
        assert!(script.starts_with("#!/"), "{script}");
        // What Linux 5.0 and older would read of it.
        assert!(script.len() <= 127, "{script}");
        assert_eq!(fs::read_link(stage.interpreter()).unwrap(), exe);
        let folder = stage.folder.clone();
        drop(stage);
        assert!(!folder.exists());
    }
}
