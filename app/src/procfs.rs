//! What /proc shows of processes.

use std::{
    collections::HashSet,
    fs,
    io::{self, Read as _},
    thread,
    time::{Duration, Instant},
};

use crate::clock::monotonic_ns;

const PF_EXITING: u64 = 4;
const PF_KTHREAD: u64 = 0x0020_0000;
/// Since Linux 5.12 and 6.4; before, other flags have these places.
const PF_IO_WORKER: u64 = 0x10;
const PF_USER_WORKER: u64 = 0x4000;
const ELFCLASS64: u8 = 2;

/// A process with a thread that has not ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) ppid: u32,
    /// Those that have not ended.
    pub(crate) threads: Vec<u32>,
    /// Those of them that the kernel itself has put there, as for io_uring. Not to be relied on before Linux 5.12.
    pub(crate) workers: Vec<u32>,
    pub(crate) comm: Vec<u8>,
    /// The real one, if all threads have the same.
    pub(crate) uid: Option<u32>,
    /// A program of 32 bits, of which a kernel of 64 records no system calls.
    pub(crate) is_32_bit: bool,
    pub(crate) is_kernel: bool,
    /// When it began, in `CLOCK_BOOTTIME` nanoseconds: a multiple of 10 ms nearly everywhere.
    pub(crate) start_ns: u64,
    /// All of this was read after this moment, in `CLOCK_MONOTONIC` nanoseconds.
    pub(crate) as_of_ns: u64,
}

/// So long it is waited in all for processes that are ending, and so long at a time.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(1);

/// All processes. Those that begin meanwhile may be among them or not.
///
/// A thread that is about to end has perhaps been recorded before, and perhaps will be: it is waited for. One that takes too
/// long counts as ended.
///
/// # Errors
/// When there is no /proc, or it does not show all.
pub(crate) fn snapshot() -> io::Result<Vec<Process>> {
    let begin = Instant::now();
    let mut processes = Vec::new();
    for pid in pids()? {
        loop {
            match read(pid) {
                Read::Gone => break,
                Read::Ending if begin.elapsed() < PATIENCE => thread::sleep(PAUSE),
                Read::Ending => break,
                Read::Alive(process) => {
                    processes.push(process);
                    break;
                }
            }
        }
    }
    Ok(processes)
}

pub(crate) enum Read {
    Alive(Process),
    /// One of its threads is about to end.
    Ending,
    Gone,
}

/// One process.
pub(crate) fn read(pid: u32) -> Read {
    let as_of_ns = monotonic_ns();
    let Some(stat) = Stat::read(&format!("/proc/{pid}/stat")) else { return Read::Gone };
    let Ok(tids) = numbers_in(&format!("/proc/{pid}/task")) else { return Read::Gone };
    let (mut threads, mut workers) = (Vec::new(), Vec::new());
    for tid in tids {
        match Stat::read(&format!("/proc/{pid}/task/{tid}/stat")) {
            Some(stat) if stat.has_ended => {}
            Some(stat) if stat.is_ending => return Read::Ending,
            Some(stat) => {
                threads.push(tid);
                workers.extend(Some(tid).filter(|_| stat.is_worker));
            }
            None => {}
        }
    }
    // As it is; stat has a backslash before some bytes.
    let Ok(mut comm) = fs::read(format!("/proc/{pid}/comm")) else { return Read::Gone };
    comm.pop_if(|last| *last == b'\n');
    if threads.is_empty() {
        return Read::Gone;
    }
    Read::Alive(Process {
        pid,
        ppid: stat.ppid,
        comm,
        uid: threads_uid(pid, &threads),
        threads,
        workers,
        // Threads of the kernel's have none, and change no user.
        is_32_bit: !stat.is_kernel && cfg!(target_pointer_width = "64") && elf_class(pid) != Some(ELFCLASS64),
        is_kernel: stat.is_kernel,
        start_ns: stat.start_ns,
        as_of_ns,
    })
}

fn elf_class(pid: u32) -> Option<u8> {
    let mut identification = [0; 5];
    fs::File::open(format!("/proc/{pid}/exe")).ok()?.read_exact(&mut identification).ok()?;
    Some(identification[4])
}

/// The real user of a process, if it is still there.
pub(crate) fn uid(pid: u32) -> Option<u32> {
    status(&format!("/proc/{pid}/status"), "Uid:")
}

/// The real user of all threads, if they have the same.
fn threads_uid(pid: u32, threads: &[u32]) -> Option<u32> {
    let mut uids = threads.iter().map(|tid| status(&format!("/proc/{pid}/task/{tid}/status"), "Uid:"));
    let first = uids.next()?;
    uids.all(|uid| uid == first).then_some(first)?
}

/// The parent of a process, if it is still there.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    Stat::read(&format!("/proc/{pid}/stat")).map(|stat| stat.ppid)
}

/// When a process began, if it is still there: as in [`Process`].
pub(crate) fn start_ns(pid: u32) -> Option<u64> {
    Stat::read(&format!("/proc/{pid}/stat")).map(|stat| stat.start_ns)
}

/// The number of the process that a thread belongs to.
pub(crate) fn thread_group(pid: u32) -> Option<u32> {
    status(&format!("/proc/{pid}/status"), "Tgid:")
}

/// The first number of a line.
fn status(path: &str, name: &str) -> Option<u32> {
    let status = fs::read(path).ok()?;
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
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

/// # Errors
/// When there is no /proc, or it does not show all.
pub(crate) fn pids() -> io::Result<Vec<u32>> {
    let pids = numbers_in("/proc")?;
    // With hidepid=2, the processes of others are not there; with hidepid=1 they are, but nothing in them can be read.
    if !pids.contains(&1) {
        return Err(io::Error::other("it does not show all processes"));
    }
    fs::read("/proc/1/stat")?;
    Ok(pids)
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
    is_ending: bool,
    ppid: u32,
    is_kernel: bool,
    is_worker: bool,
    start_ns: u64,
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
        let flags: u64 = flags.parse().ok()?;
        // The 22nd field, of which two stand before these. USER_HZ is 100 on every architecture here.
        let start: u64 = fields.get(19)?.parse().ok()?;
        Some(Self {
            has_ended: matches!(state, "Z" | "X" | "x"),
            is_ending: flags & PF_EXITING != 0,
            ppid: ppid.parse().ok()?,
            is_kernel: flags & PF_KTHREAD != 0,
            is_worker: flags & (PF_IO_WORKER | PF_USER_WORKER) != 0,
            start_ns: start.saturating_mul(10_000_000),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let parent = |stat: &[u8]| Stat::parse(stat).map(|stat| stat.ppid);
        let rest = " 1 2 3 4 5 6 7 8 9 10 11 12 1234 6";
        let with = |stat: &[u8]| parent(&[stat, rest.as_bytes()].concat());
        assert_eq!(with(b"7 (a) R 3 (b) S 42 7 7 0 -1 4194304"), Some(42));
        assert_eq!(with(b"7 (\xff\n) S 1 7 7 0 -1 0"), Some(1));
        assert_eq!(parent(b"7 (cut"), None);
        assert_eq!(parent(b"7 (cut) S 1 7"), None);
    }

    #[test]
    fn kernel_threads_workers_and_the_dead_are_distinguished() {
        let stat = |text: &str| Stat::parse(format!("{text} 1 2 3 4 5 6 7 8 9 10 11 12 1234 6").as_bytes()).unwrap();
        assert!(stat("2 (kthreadd) S 0 0 0 0 -1 2129984").is_kernel);
        assert!(!stat("1 (init) S 0 1 1 0 -1 4194560").is_kernel);
        assert!(stat("9 (iou-wrk-7) S 1 7 7 0 -1 4210768").is_worker);
        assert!(!stat("9 (x) S 1 7 7 0 -1 4194368").is_worker);
        assert!(stat("9 (x) Z 1 1 1 0 -1 4194560").has_ended);
        assert!(stat("9 (x) R 1 1 1 0 -1 4194564").is_ending);
        assert_eq!(stat("9 (x) R 1 1 1 0 -1 4194564").start_ns, 12_340_000_000);
    }

    #[test]
    fn this_process_is_among_those_that_run() {
        let all = snapshot().unwrap();
        let own = all.iter().find(|process| process.pid == std::process::id()).unwrap();
        assert!(own.threads.contains(&std::process::id()));
        assert_eq!(Some(own.ppid), parent(own.pid));
        assert!(!own.is_kernel && !own.is_32_bit && own.comm.len() < 16, "{own:?}");
        assert_eq!(own.uid, Some(nix::unistd::getuid().as_raw()));
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
