//! taskstats: how threads end (CONFIG_TASKSTATS and CONFIG_TASK_XACCT).

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fs, io, thread,
    time::{Duration, Instant},
};

use super::{NLMSG_ERROR, Socket, attributes, messages, u32_at};

/// linux/genetlink.h
const GENL_HEADER: usize = 4;
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// linux/taskstats.h
const TASKSTATS_CMD_GET: u8 = 1;
const TASKSTATS_CMD_ATTR_REGISTER_CPUMASK: u16 = 3;
const TASKSTATS_TYPE_STATS: u16 = 3;
const TASKSTATS_TYPE_AGGR_PID: u16 = 4;
/// Since this version (Linux 5.19) the last task of a process is marked, and every task has its exit code: before, only the
/// first one of a process had.
const TASKSTATS_WITH_AGROUP: u16 = 12;
/// linux/acct.h
const AFORK: u8 = 0x01;
const AXSIG: u8 = 0x10;
const AGROUP: u8 = 0x20;
/// The parent of all threads of the kernel's (kthreadd).
const KERNEL_PARENT: u32 = 2;

/// So long a report waits for the record that it belongs to.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a thread has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// As in the status of wait(2). Of all threads but the first of a process only since Linux 5.19.
    pub(crate) status: u32,
    /// By a signal, or because another thread has ended the process.
    pub(crate) was_struck: bool,
    /// Whether it was the last one of its process; none before Linux 5.19.
    pub(crate) is_last: Option<bool>,
    /// It has executed no program since it was forked. Threads of the kernel's never do.
    pub(crate) only_forked: bool,
    /// The real one, in the first user namespace.
    pub(crate) uid: u32,
    pub(crate) ppid: u32,
    pub(crate) comm: Vec<u8>,
}

/// taskstats, for all processors that there may ever be.
pub(crate) struct Taskstats {
    socket: Socket,
    family: u16,
    /// Not asked for yet, and since when, by thread: a number can come back at once, and does when another thread than the
    /// first of a process executes a program.
    reports: HashMap<u32, VecDeque<(Report, Instant)>>,
    /// A record that belongs to one of those from before may have been lost.
    doubted: Option<Instant>,
    overruns: u64,
    /// What was reported before, perf may not have recorded.
    begin: Instant,
    /// Ends of processes of which there was no record of perf's.
    unclaimed: u64,
    marks_last: bool,
    /// Nobody asks for new reports any more.
    detached: bool,
}

impl Taskstats {
    /// Every thread that ends after this returns is reported.
    ///
    /// # Errors
    /// ENOENT if this kernel has none; EPERM without CAP_NET_ADMIN, or in another pid or user namespace than the first.
    pub(crate) fn start(buffer_kib: u32) -> io::Result<Self> {
        let socket = Socket::open(libc::NETLINK_GENERIC, 0, buffer_kib)?;
        let family = family(&socket)?;
        let mask = fs::read_to_string("/sys/devices/system/cpu/possible")?;
        let mask = [mask.trim().as_bytes(), b"\0"].concat();
        socket.request(family, TASKSTATS_CMD_GET, TASKSTATS_CMD_ATTR_REGISTER_CPUMASK, &mask, true)?;
        socket.answer(NLMSG_ERROR)?;
        Ok(Self {
            socket,
            family,
            reports: HashMap::new(),
            doubted: None,
            overruns: 0,
            begin: Instant::now(),
            unclaimed: 0,
            marks_last: false,
            detached: false,
        })
    }

    /// Whether the reports of this kernel say which thread was the last one of a process.
    ///
    /// # Errors
    /// As of [`Self::start`].
    pub(crate) fn marks_last() -> io::Result<bool> {
        let mut own = Self::start(64)?;
        // What better to look at than a thread of our own?
        thread::spawn(|| {}).join().map_err(|_| io::Error::other("a thread panicked"))?;
        // Its end is seen by whoever joins it before the kernel is done with it.
        for _ in 0..1000 {
            own.read();
            if let Some((report, _)) = own.reports.values().flatten().next() {
                return Ok(report.is_last.is_some());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(io::Error::other("the end of a thread was not reported"))
    }

    /// Of every thread that ends after this returns there is a record of perf's, too.
    pub(crate) fn begin(&mut self) {
        self.read();
        self.begin = Instant::now();
    }

    /// Takes in what has come.
    pub(crate) fn read(&mut self) {
        if self.detached {
            return;
        }
        let now = Instant::now();
        // The kernel takes its time between the two for a process with much memory; after so long, no record will come.
        let (unclaimed, begin) = (&mut self.unclaimed, self.begin);
        self.reports.retain(|_, reports| {
            while let Some((old, since)) =
                reports.pop_front_if(|(_, since)| now.saturating_duration_since(*since) > PATIENCE)
            {
                *unclaimed += u64::from(old.ends_process() && since > begin);
            }
            !reports.is_empty()
        });
        let mut message = [0; 8192];
        loop {
            match self.socket.receive(&mut message) {
                Ok(length) => {
                    let ours = messages(&message[..length]).filter(|(kind, _)| *kind == self.family);
                    for (tid, report) in ours.filter_map(|(_, body)| report(body.get(GENL_HEADER..)?)) {
                        self.marks_last |= report.is_last.is_some();
                        self.reports.entry(tid).or_default().push_back((report, now));
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.overruns += 1;
                    // A number that comes back must not find the report of the one that had it before.
                    self.reports.clear();
                }
                Err(_) => return,
            }
        }
    }

    /// How this thread has ended. The kernel reports it before perf has a record of it.
    pub(crate) fn take(&mut self, tid: u32) -> Option<Report> {
        let Entry::Occupied(mut reports) = self.reports.entry(tid) else { return None };
        let is_clear = |(_, since): &(Report, Instant)| self.doubted.is_none_or(|doubted| *since > doubted);
        if reports.get().len() == 1 {
            return reports.remove().pop_front().map(|(report, _)| report);
        }
        if reports.get().front().is_some_and(is_clear) {
            return reports.get_mut().pop_front().map(|(report, _)| report);
        }
        // Whose record was lost, nobody knows.
        reports.remove();
        None
    }

    /// Records of perf's have been lost.
    pub(crate) fn doubt(&mut self) {
        self.doubted = Some(Instant::now());
    }

    /// How often reports have found no room.
    pub(crate) fn overruns(&self) -> u64 {
        self.overruns
    }

    /// How many processes have ended of which [`Self::take`] was not asked for so long that it will not be, and of which it may
    /// still be. None if reports do not say which thread was the last one.
    pub(crate) fn unclaimed(&self) -> Option<(u64, u64)> {
        let is_missing = |(report, since): &&(Report, Instant)| report.ends_process() && *since > self.begin;
        let waiting = self.reports.values().flatten().filter(is_missing).count();
        self.marks_last.then_some((self.unclaimed, waiting as u64))
    }

    /// What ends from now on is no matter.
    pub(crate) fn detach(&mut self) {
        self.read();
        self.detached = true;
    }
}

impl Report {
    fn ends_process(&self) -> bool {
        self.is_last == Some(true) && !self.is_kernel()
    }

    /// Of a thread of the kernel's.
    pub(crate) fn is_kernel(&self) -> bool {
        self.only_forked && self.ppid == KERNEL_PARENT
    }
}

/// The number of the family taskstats.
fn family(socket: &Socket) -> io::Result<u16> {
    socket.request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"TASKSTATS\0", false)?;
    let answer = socket.answer(GENL_ID_CTRL)?;
    let id = attributes(answer.get(GENL_HEADER..).unwrap_or_default()).find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID);
    let id = id.and_then(|(_, id)| id.try_into().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(u16::from_ne_bytes(id))
}

fn report(attributes_of: &[u8]) -> Option<(u32, Report)> {
    let task = attributes(attributes_of).find(|(kind, _)| *kind == TASKSTATS_TYPE_AGGR_PID)?.1;
    let stats = attributes(task).find(|(kind, _)| *kind == TASKSTATS_TYPE_STATS)?.1;
    // struct taskstats has one layout on all architectures.
    let version = u16::from_ne_bytes(stats.get(..2)?.try_into().ok()?);
    let flags = *stats.get(8)?;
    let report = Report {
        status: u32_at(stats, 4)?,
        was_struck: flags & AXSIG != 0,
        is_last: (version >= TASKSTATS_WITH_AGROUP).then_some(flags & AGROUP != 0),
        only_forked: flags & AFORK != 0,
        comm: stats.get(80..112)?.split(|&byte| byte == 0).next()?.to_vec(),
        uid: u32_at(stats, 120)?,
        ppid: u32_at(stats, 132)?,
    };
    Some((u32_at(stats, 128)?, report))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn stats(version: u16, flags: u8) -> Vec<u8> {
        let mut stats = vec![0; 328];
        let mut put = |offset: usize, bytes: &[u8]| stats[offset..][..bytes.len()].copy_from_slice(bytes);
        put(0, &version.to_ne_bytes());
        put(4, &(3_u32 << 8).to_ne_bytes());
        put(8, &[flags]);
        put(80, b"name\0left");
        put(120, &1000_u32.to_ne_bytes());
        put(128, &42_u32.to_ne_bytes());
        put(132, &7_u32.to_ne_bytes());
        let pid = attribute(1, &42_u32.to_ne_bytes());
        attribute(TASKSTATS_TYPE_AGGR_PID, &[pid, attribute(TASKSTATS_TYPE_STATS, &stats)].concat())
    }

    #[test]
    fn a_report_is_read() {
        let expected = Report {
            status: 3 << 8,
            was_struck: true,
            is_last: Some(true),
            only_forked: false,
            uid: 1000,
            ppid: 7,
            comm: b"name".to_vec(),
        };
        assert_eq!(report(&stats(12, AXSIG | AGROUP)), Some((42, expected.clone())));
        let older = Report { is_last: None, was_struck: false, only_forked: true, ..expected };
        assert_eq!(report(&stats(11, AFORK)), Some((42, older)));
        let whole = stats(12, 0);
        for length in 0..whole.len() {
            assert_eq!(report(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn what_was_reported_before_perf_has_begun_is_not_missing() {
        let Ok(mut own) = Taskstats::start(64) else {
            println!("not run: needs taskstats");
            return;
        };
        let (_, report) = report(&stats(TASKSTATS_WITH_AGROUP, AGROUP)).unwrap();
        own.marks_last = true;
        let long_ago = Instant::now().checked_sub(2 * PATIENCE).unwrap();
        own.begin = long_ago;
        own.reports.insert(1, VecDeque::from([(report.clone(), Instant::now())]));
        assert!(own.unclaimed().unwrap().1 > 0);
        own.begin();
        own.reports.retain(|tid, _| *tid == 1);
        assert_eq!(own.unclaimed(), Some((0, 0)));
        // Nor is it when it has waited for long.
        own.reports.insert(2, VecDeque::from([(report.clone(), long_ago)]));
        own.read();
        assert!(!own.reports.contains_key(&2));
        assert_eq!(own.unclaimed, 0);
        own.begin = long_ago.checked_sub(PATIENCE).unwrap();
        own.reports.insert(2, VecDeque::from([(report, long_ago)]));
        own.read();
        assert_eq!(own.unclaimed, 1);
    }

    #[test]
    fn reports_that_come_before_an_answer_are_passed_over() {
        let Ok(own) = Taskstats::start(64) else {
            println!("not run: needs taskstats");
            return;
        };
        // Two, since each is reported a little after it was joined.
        for _ in 0..2 {
            thread::spawn(|| {}).join().unwrap();
        }
        assert_eq!(family(&own.socket).unwrap(), own.family);
    }

    #[test]
    fn the_end_of_a_thread_is_reported_on_this_kernel() {
        match Taskstats::marks_last() {
            Ok(_) => {}
            // Not root, another namespace, or a kernel without it.
            Err(error) => println!("not run: needs taskstats ({error})"),
        }
    }
}
