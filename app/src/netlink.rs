//! What the kernel reports of ending tasks and changes of user over netlink, which takes neither BPF, nor BTF, nor tracefs:
//! taskstats (CONFIG_TASKSTATS and CONFIG_TASK_XACCT) and the proc connector (CONFIG_PROC_EVENTS).

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::socket::{self, MsgFlags, NetlinkAddr, sockopt},
};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, netlink, socket_with};

use crate::perf_ring::{Content, Sample};

/// linux/netlink.h
const NLMSG_HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
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
/// linux/cn_proc.h
const CN_IDX_PROC: u32 = 1;
const CN_MESSAGE: usize = 20;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_EVENT_NONE: u32 = 0;
const PROC_EVENT_UID: u32 = 4;

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
        let socket = Socket::open(netlink::GENERIC, 0, buffer_kib)?;
        let family = family(&socket)?;
        let mask = fs::read_to_string("/sys/devices/system/cpu/possible")?;
        let mask = [mask.trim().as_bytes(), b"\0"].concat();
        socket.request(family, TASKSTATS_CMD_GET, TASKSTATS_CMD_ATTR_REGISTER_CPUMASK, &mask, true)?;
        let mut message = [0; 8192];
        // Reports may come before the answer, which is an error of number 0.
        loop {
            let length = socket.receive(&mut message)?;
            let answer = messages(&message[..length]).find(|(kind, _)| *kind == NLMSG_ERROR);
            match answer.map(|(_, body)| i32_at(body, 0)) {
                None => {}
                Some(Some(0)) => break,
                Some(Some(error)) => return Err(io::Error::from_raw_os_error(-error)),
                Some(None) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(Self {
            socket,
            family,
            reports: HashMap::new(),
            doubted: None,
            overruns: 0,
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

    /// Takes in what has come.
    pub(crate) fn read(&mut self) {
        if self.detached {
            return;
        }
        let now = Instant::now();
        // The kernel takes its time between the two for a process with much memory; after so long, no record will come.
        let unclaimed = &mut self.unclaimed;
        self.reports.retain(|_, reports| {
            while let Some((old, _)) =
                reports.pop_front_if(|(_, since)| now.saturating_duration_since(*since) > PATIENCE)
            {
                *unclaimed += u64::from(old.ends_process());
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
        let waiting = self.reports.values().flatten().filter(|(report, _)| report.ends_process()).count();
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
    let mut message = [0; 8192];
    let length = socket.receive(&mut message)?;
    let found = messages(&message[..length]).find_map(|(_, body)| {
        let id = attributes(body.get(GENL_HEADER..)?).find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID)?.1;
        Some(u16::from_ne_bytes(id.try_into().ok()?))
    });
    found.ok_or(io::ErrorKind::NotFound.into())
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

/// The proc connector, for changes of user only.
pub(crate) struct Users {
    socket: Socket,
    overruns: u64,
}

impl Users {
    /// Every change of user after this returns is reported.
    ///
    /// # Errors
    /// EPROTONOSUPPORT if this kernel has none; EPERM without CAP_NET_ADMIN, or in another namespace than the first.
    pub(crate) fn start(buffer_kib: u32) -> io::Result<Self> {
        let socket = Socket::open(netlink::CONNECTOR, CN_IDX_PROC, buffer_kib)?;
        socket.only_changes_of_user()?;
        socket.send(NLMSG_DONE, &listen(), false)?;
        let mut message = [0; 1024];
        // The answer is there when the request returns: else nothing would be reported, and nobody would notice.
        loop {
            let length = socket.receive(&mut message)?;
            match messages(&message[..length]).find_map(|(_, body)| answer(body)) {
                None => {}
                Some(0) => return Ok(Self { socket, overruns: 0 }),
                Some(error) => return Err(io::Error::from_raw_os_error(error)),
            }
        }
    }

    /// Adds what has come.
    pub(crate) fn read(&mut self, samples: &mut Vec<Sample>) {
        let mut message = [0; 1024];
        loop {
            match self.socket.receive(&mut message) {
                Ok(length) => {
                    samples.extend(messages(&message[..length]).filter_map(|(_, body)| change_of_user(body)));
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.overruns += 1,
                Err(_) => return,
            }
        }
    }

    pub(crate) fn overruns(&self) -> u64 {
        self.overruns
    }
}

/// A struct cn_msg with its one word.
fn listen() -> Vec<u8> {
    let mut message = Vec::new();
    // To whom, and numbers of ours.
    for word in [CN_IDX_PROC, 1, 0, 0] {
        message.extend(word.to_ne_bytes());
    }
    // The length of what follows, and flags.
    for half in [size_of::<u32>() as u16, 0] {
        message.extend(half.to_ne_bytes());
    }
    message.extend(PROC_CN_MCAST_LISTEN.to_ne_bytes());
    message
}

/// The error number in the answer to a request, 0 if it was granted.
fn answer(message: &[u8]) -> Option<i32> {
    let event = message.get(CN_MESSAGE..)?;
    if u32_at(event, 0)? == PROC_EVENT_NONE { i32_at(event, 16) } else { None }
}

/// struct proc_event, behind a struct cn_msg: what, processor, time, and then thread, process, real and effective user.
fn change_of_user(message: &[u8]) -> Option<Sample> {
    let event = message.get(CN_MESSAGE..)?;
    if u32_at(event, 0)? != PROC_EVENT_UID {
        return None;
    }
    Some(Sample {
        time_ns: u64::from_ne_bytes(event.get(8..16)?.try_into().ok()?),
        tid: u32_at(event, 16)?,
        pid: u32_at(event, 20)?,
        content: Content::UserSet(u32_at(event, 24)?),
    })
}

struct Socket(OwnedFd);

impl Socket {
    fn open(protocol: Protocol, groups: u32, buffer_kib: u32) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(protocol))?;
        let bytes = (buffer_kib as usize).saturating_mul(1024).min(1 << 30);
        // With CAP_NET_ADMIN, which is needed anyway.
        socket::setsockopt(&socket, sockopt::RcvBufForce, &bytes)?;
        socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self(socket))
    }

    fn request(&self, family: u16, command: u8, attribute: u16, value: &[u8], acknowledge: bool) -> io::Result<()> {
        let mut body = vec![command, 1, 0, 0];
        body.extend((4 + value.len() as u16).to_ne_bytes());
        body.extend(attribute.to_ne_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
        self.send(family, &body, acknowledge)
    }

    /// NLM_F_REQUEST is 1, NLM_F_ACK 4.
    fn send(&self, kind: u16, body: &[u8], acknowledge: bool) -> io::Result<()> {
        let mut message = Vec::new();
        message.extend(((NLMSG_HEADER + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(if acknowledge { 5_u16 } else { 1 }.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        socket::send(self.0.as_raw_fd(), &message, MsgFlags::empty())?;
        Ok(())
    }

    fn receive(&self, message: &mut [u8]) -> io::Result<usize> {
        loop {
            match socket::recv(self.0.as_raw_fd(), message, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// All else that the connector reports (every fork, exec and exit) stays in the kernel.
    fn only_changes_of_user(&self) -> io::Result<()> {
        let filter = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
        let mut program = [
            // The filter reads in network byte order.
            filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, (NLMSG_HEADER + CN_MESSAGE) as u32),
            filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, PROC_EVENT_NONE.to_be()),
            filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, PROC_EVENT_UID.to_be()),
            filter(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
            filter(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        ];
        let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        // SAFETY: the program is alive during the call, and its lengths are right.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Kind and body of each message.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32_at(rest, 0)? as usize;
        let body = rest.get(NLMSG_HEADER..length)?;
        let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Kind and value of each attribute.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..)?.get(..4)?.try_into().ok()?))
}

fn i32_at(bytes: &[u8], offset: usize) -> Option<i32> {
    u32_at(bytes, offset).map(|number| number as i32)
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
    fn a_change_of_user_is_read() {
        let mut event = vec![0; CN_MESSAGE];
        for word in [PROC_EVENT_UID, 0, 9_u32.to_le(), 9_u32.to_be(), 8, 7, 1000, 0] {
            event.extend(word.to_ne_bytes());
        }
        let sample = change_of_user(&event).unwrap();
        assert_eq!((sample.pid, sample.tid, sample.content), (7, 8, Content::UserSet(1000)));
        event[CN_MESSAGE] ^= 1;
        assert_eq!(change_of_user(&event), None);
    }

    #[test]
    fn the_request_has_its_length_where_the_kernel_reads_it() {
        // struct cn_msg: idx, val, seq, ack, len (16 bits), flags (16 bits), data.
        let message = listen();
        assert_eq!(message.len(), CN_MESSAGE + 4);
        assert_eq!(message[16..18], 4_u16.to_ne_bytes());
        assert_eq!(message[18..20], [0; 2]);
        assert_eq!(message[20..], PROC_CN_MCAST_LISTEN.to_ne_bytes());
    }

    #[test]
    fn an_answer_is_shown_from_a_change_of_user() {
        let event = |what: u32| {
            let words = [what, 0, 0, 0, libc::EPERM as u32];
            [vec![0; CN_MESSAGE], words.iter().flat_map(|word| word.to_ne_bytes()).collect()].concat()
        };
        assert_eq!(answer(&event(PROC_EVENT_NONE)), Some(libc::EPERM));
        assert_eq!(answer(&event(PROC_EVENT_UID)), None);
        assert_eq!(answer(&event(PROC_EVENT_NONE)[..38]), None);
    }

    #[test]
    fn messages_follow_one_another() {
        let message = |kind: u16, body: &[u8]| {
            let mut bytes = ((NLMSG_HEADER + body.len()) as u32).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let two = [message(5, b"abc"), message(6, b"")].concat();
        assert_eq!(messages(&two).collect::<Vec<_>>(), [(5, &b"abc"[..]), (6, &b""[..])]);
        assert_eq!(messages(&two[..18]).count(), 0);
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
