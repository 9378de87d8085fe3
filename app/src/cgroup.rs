//! Control groups of the unified hierarchy (v2): from the kernel's number to the path, and --cgroup.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use crate::error::Error;

/// So many paths are kept at most.
const MOST: usize = 1 << 16;

/// The paths of all groups that there are, below the mount point.
pub(crate) struct Cgroups {
    /// None if the hierarchy is not mounted.
    root: Option<PathBuf>,
    /// None of a group that is not there any more.
    paths: HashMap<u64, Option<Vec<u8>>>,
    /// --cgroup
    wanted: Vec<Vec<u8>>,
}

impl Cgroups {
    /// # Errors
    /// When one of `wanted` is no group.
    pub(crate) fn new(wanted: &[PathBuf]) -> Result<Self, Error> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let root = mount_point(&mounts);
        let mut paths = Vec::new();
        for group in wanted {
            let path = normal(group);
            let exists = root.as_ref().is_some_and(|root| root.join(relative(&path)).is_dir());
            if !exists {
                return Err(Error::NoCgroup(group.clone()));
            }
            paths.push(path);
        }
        Ok(Self { root, paths: HashMap::new(), wanted: paths })
    }

    /// The path of a group, as /proc/PID/cgroup has it; none if it has gone before anybody asked.
    pub(crate) fn path(&mut self, id: u64) -> Option<&[u8]> {
        if !self.paths.contains_key(&id) {
            // A number does not come back, so that what is known stays right; but it need not be kept for ever.
            if self.paths.len() > MOST {
                self.paths.clear();
            }
            if let Some(root) = self.root.clone() {
                let _ = self.walk(&root, b"/".to_vec());
            }
            self.paths.entry(id).or_default();
        }
        self.paths.get(&id)?.as_deref()
    }

    /// Whether a group is one of those that are asked for, or below.
    pub(crate) fn admits(&mut self, id: Option<u64>) -> bool {
        if self.wanted.is_empty() {
            return true;
        }
        let wanted = std::mem::take(&mut self.wanted);
        let path = id.and_then(|id| self.path(id));
        let admitted = path.is_some_and(|path| wanted.iter().any(|wanted| is_below(path, wanted)));
        self.wanted = wanted;
        admitted
    }

    pub(crate) fn is_selective(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The number of a group is that of its folder's inode.
    fn walk(&mut self, folder: &Path, path: Vec<u8>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let mut below = path.clone();
                if below != b"/" {
                    below.push(b'/');
                }
                below.extend(entry.file_name().as_bytes());
                // It may be gone by now.
                let _ = self.walk(&entry.path(), below);
            }
        }
        self.paths.insert(fs::metadata(folder)?.ino(), Some(path));
        Ok(())
    }
}

/// Where the unified hierarchy is mounted, as /proc/self/mountinfo has it.
fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        let place = fields.split(' ').nth(4)?;
        // Blanks are escaped there; no mount point of this kind has any.
        kind.starts_with("cgroup2 ").then(|| place.into())
    })
}

/// The ID of the container that a group is of: 64 hexadecimal digits in its path, with which docker, containerd, CRI-O and
/// podman all name groups. The innermost one counts.
pub(crate) fn container(path: &[u8]) -> Option<&str> {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let mut words = path.rsplit(|byte| !byte.is_ascii_alphanumeric());
    let id = words.find(|word| word.len() == 64 && word.iter().all(is_digit))?;
    std::str::from_utf8(id).ok()
}

/// With one slash in front and none at the end.
fn normal(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    let inner = bytes.strip_prefix(b"/sys/fs/cgroup").unwrap_or(bytes);
    let parts: Vec<&[u8]> = inner.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).collect();
    [b"/", &*parts.join(&b'/')].concat()
}

fn relative(path: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path.get(1..).unwrap_or_default()))
}

fn is_below(path: &[u8], group: &[u8]) -> bool {
    group == b"/" || path.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_point_is_found_among_others() {
        let mounts = "25 30 0:23 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro\n\
                      26 25 0:24 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("1 2 0:3 / / rw - ext4 /dev/vda rw\n"), None);
    }

    #[test]
    fn groups_are_named_as_in_proc_or_by_their_folder() {
        for (path, expected) in
            [("/", "/"), ("a/b/", "/a/b"), ("/sys/fs/cgroup/a.slice", "/a.slice"), ("/a//b", "/a/b")]
        {
            assert_eq!(normal(Path::new(path)), expected.as_bytes());
        }
    }

    #[test]
    fn a_group_holds_those_below_and_no_namesake() {
        assert!(is_below(b"/a/b", b"/a") && is_below(b"/a", b"/a") && is_below(b"/x", b"/"));
        assert!(!is_below(b"/ab", b"/a") && !is_below(b"/", b"/a"));
    }

    #[test]
    fn containers_of_all_kinds_have_an_id() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            "/docker/ID",
            "/system.slice/docker-ID.scope",
            "/machine.slice/libpod-ID.scope/container",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1_2.slice/cri-containerd-ID.scope",
            "/kubepods/besteffort/pod0-1/ID",
        ] {
            assert_eq!(container(path.replace("ID", &id).as_bytes()), Some(&*id), "{path}");
        }
        for path in ["/", "/user.slice/user-1000.slice", &format!("/docker/{id}0"), &id.to_uppercase()] {
            assert_eq!(container(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn a_group_that_is_not_there_is_an_error() {
        assert!(Cgroups::new(&["/no/such/group".into()]).is_err());
        let mut all = Cgroups::new(&[]).unwrap();
        assert!(all.admits(None) && all.path(u64::MAX).is_none());
    }
}
