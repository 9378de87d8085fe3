//! Control groups of the unified hierarchy (v2): from the kernel's number to the path, and --cgroup.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::LazyLock,
};

use nix::sys::utsname::uname;

use crate::error::Error;

/// The groups of this process.
const OWN_GROUPS: &str = "/proc/self/cgroup";

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
        let id = inode(id);
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

/// Whether the kernel has control groups.
pub(crate) fn exist() -> bool {
    Path::new(OWN_GROUPS).exists()
}

/// The inode of a group's folder. Where inodes have 32 bits, the kernel puts before that how often they were used up.
pub(crate) fn inode(id: u64) -> u64 {
    static ARE_SHORT: LazyLock<bool> = LazyLock::new(|| {
        cfg!(target_pointer_width = "32")
            || uname().is_ok_and(|system| has_short_inodes(&system.release().to_string_lossy()))
    });
    if *ARE_SHORT { id & u64::from(u32::MAX) } else { id }
}

/// Up to Linux 5.4, inodes of control groups have 32 bits on all machines (commit 40430452fd5d).
fn has_short_inodes(release: &str) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map_while(|number| number.parse().ok());
    let version: Option<(u32, u32)> = numbers.next().zip(numbers.next());
    version.is_some_and(|version| version < (5, 5))
}

/// The same of the group that this process is in, if that can be seen.
pub(crate) fn own_inode() -> Option<u64> {
    let groups = fs::read_to_string(OWN_GROUPS).ok()?;
    // Above the root of a namespace, it begins with dots.
    let path = groups.lines().find_map(|line| line.strip_prefix("0::")).filter(|path| !path.starts_with("/.."))?;
    let root = mount_point(&fs::read_to_string("/proc/self/mountinfo").ok()?)?;
    Some(fs::metadata(root.join(relative(path.as_bytes()))).ok()?.ino())
}

/// Which hierarchy perf's own controller is in. It can be taken away from the unified one at any time, by a mount of version 1.
pub(crate) struct PerfGroups(File);

impl PerfGroups {
    /// None if it is another one.
    pub(crate) fn find() -> Option<Self> {
        Some(Self(File::open(OWN_GROUPS).ok()?)).filter(Self::are_unified)
    }

    /// Whether it is still the unified one.
    pub(crate) fn are_unified(&self) -> bool {
        // As much as counts: version 1 comes first, and the kernel has a dozen controllers.
        let mut groups = [0; 4096];
        self.0.read_at(&mut groups, 0).is_ok_and(|length| is_unified(&groups[..length]))
    }
}

/// Of what /proc/self/cgroup shows: a line for each hierarchy, with its number, its controllers, and the group.
fn is_unified(groups: &[u8]) -> bool {
    let mut controllers =
        groups.split(|&byte| byte == b'\n').filter_map(|line| line.split(|&byte| byte == b':').nth(1));
    !groups.is_empty() && !controllers.any(|names| names.split(|&byte| byte == b',').any(|name| name == b"perf_event"))
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
    fn inodes_are_short_on_old_kernels() {
        for old in ["5.4.0-26-generic", "4.19.0", "5.4"] {
            assert!(has_short_inodes(old), "{old}");
        }
        for other in ["5.5.0", "5.10.223-amd64", "6.1.0-50-amd64", "10.0", "", "odd"] {
            assert!(!has_short_inodes(other), "{other}");
        }
        assert_eq!(inode(77), 77);
    }

    #[test]
    fn perfs_groups_are_unified_unless_version_1_has_its_controller() {
        assert!(is_unified(b"0::/user.slice\n"));
        assert!(is_unified(b"4:cpu,cpuacct:/\n1:name=systemd:/perf_event\n0::/\n"));
        assert!(!is_unified(b"4:cpu,cpuacct:/\n2:net_cls,perf_event:/\n0::/\n"));
        assert!(!is_unified(b""));
        assert_eq!(PerfGroups::find().is_some(), is_unified(&fs::read(OWN_GROUPS).unwrap_or_default()));
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
        // Where the hierarchy is mounted, and the whole of it.
        if let Some(id) = own_inode() {
            let groups = fs::read_to_string(OWN_GROUPS).unwrap();
            let path = all.path(id).unwrap();
            assert!(groups.lines().any(|line| line.strip_prefix("0::").is_some_and(|own| own.as_bytes() == path)));
        }
    }
}
