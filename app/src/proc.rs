//! What /proc tells about processes.

use std::{collections::HashSet, fs, io};

use crate::clock::monotonic_ns;

const PF_KTHREAD: u64 = 0x0020_0000;

/// A process with a thread that has not ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) ppid: u32,
    /// Those that have not ended.
    pub(crate) threads: Vec<u32>,
    pub(crate) comm: Vec<u8>,
    pub(crate) is_kernel: bool,
    /// All of this was read after this moment, in `CLOCK_MONOTONIC` nanoseconds.
    pub(crate) as_of_ns: u64,
}

/// All processes. Those that begin or end meanwhile may be among them or not.
///
/// # Errors
/// When there is no /proc.
pub(crate) fn snapshot() -> io::Result<Vec<Process>> {
    Ok(pids()?.into_iter().filter_map(read).collect())
}

fn read(pid: u32) -> Option<Process> {
    let as_of_ns = monotonic_ns();
    let stat = Stat::read(&format!("/proc/{pid}/stat"))?;
    let threads: Vec<u32> = numbers_in(&format!("/proc/{pid}/task"))
        .ok()?
        .into_iter()
        .filter(|tid| Stat::read(&format!("/proc/{pid}/task/{tid}/stat")).is_some_and(|stat| !stat.has_ended))
        .collect();
    if threads.is_empty() {
        return None;
    }
    // As it is; stat has a backslash before some bytes.
    let mut comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
    comm.pop_if(|last| *last == b'\n');
    Some(Process { pid, ppid: stat.ppid, threads, comm, is_kernel: stat.is_kernel, as_of_ns })
}

/// The parent of a process, if it still has one to tell.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    Stat::read(&format!("/proc/{pid}/stat")).map(|stat| stat.ppid)
}

/// The number of the process that a thread belongs to.
pub(crate) fn thread_group(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// Every process with its parent.
///
/// # Errors
/// When there is no /proc.
pub(crate) fn parents() -> io::Result<Vec<(u32, u32)>> {
    // Gone since: no matter.
    Ok(pids()?.into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect())
}

/// Processes that descend from `ancestors`, without those in it.
pub(crate) fn descendants(parents: &[(u32, u32)], ancestors: &HashSet<u32>) -> Vec<u32> {
    let mut known = ancestors.clone();
    let mut new = Vec::new();
    loop {
        let before = new.len();
        for &(pid, parent) in parents {
            if known.contains(&parent) && known.insert(pid) {
                new.push(pid);
            }
        }
        if new.len() == before {
            return new;
        }
    }
}

fn pids() -> io::Result<Vec<u32>> {
    numbers_in("/proc")
}

fn numbers_in(folder: &str) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    has_ended: bool,
    ppid: u32,
    is_kernel: bool,
}

impl Stat {
    fn read(path: &str) -> Option<Self> {
        Self::parse(&fs::read(path).ok()?)
    }

    /// The fields after the name, which stands in parentheses and may itself hold any byte.
    fn parse(stat: &[u8]) -> Option<Self> {
        let name_end = stat.iter().rposition(|&byte| byte == b')')?;
        let fields: Vec<&str> = std::str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace().collect();
        let [state, ppid, _, _, _, _, flags, ..] = fields[..] else { return None };
        Some(Self {
            has_ended: matches!(state, "Z" | "X" | "x"),
            ppid: ppid.parse().ok()?,
            is_kernel: flags.parse::<u64>().ok()? & PF_KTHREAD != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let parent = |stat: &[u8]| Stat::parse(stat).map(|stat| stat.ppid);
        assert_eq!(parent(b"7 (a) R 3 (b) S 42 7 7 0 -1 4194304 1"), Some(42));
        assert_eq!(parent(b"7 (\xff\n) S 1 7 7 0 -1 0"), Some(1));
        assert_eq!(parent(b"7 (cut"), None);
        assert_eq!(parent(b"7 (cut) S 1 7"), None);
    }

    #[test]
    fn kernel_threads_and_the_dead_are_told_apart() {
        let stat = |text: &[u8]| Stat::parse(text).unwrap();
        assert!(stat(b"2 (kthreadd) S 0 0 0 0 -1 2129984 0").is_kernel);
        assert!(!stat(b"1 (init) S 0 1 1 0 -1 4194560 0").is_kernel);
        assert!(stat(b"9 (x) Z 1 1 1 0 -1 4194560 0").has_ended);
    }

    #[test]
    fn this_process_is_among_those_that_run() {
        let all = snapshot().unwrap();
        let own = all.iter().find(|process| process.pid == std::process::id()).unwrap();
        assert!(own.threads.contains(&std::process::id()));
        assert_eq!(Some(own.ppid), parent(own.pid));
        assert!(!own.is_kernel && own.comm.len() < 16, "{own:?}");
        assert!(own.as_of_ns < monotonic_ns());
    }

    #[test]
    fn descendants_are_found_in_any_order() {
        let parents = [(5, 4), (4, 3), (3, 1), (9, 2), (2, 1), (1, 0)];
        assert_eq!(descendants(&parents, &HashSet::from([3])), [4, 5]);
        assert_eq!(descendants(&parents, &HashSet::from([3, 4])), [5]);
        assert!(descendants(&parents, &HashSet::from([5])).is_empty());
    }
}
