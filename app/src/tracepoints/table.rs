//! The processes of the machine, kept up from what tracepoints tell: who is whose parent, which threads a process has,
//! and so when it has ended. What is not known for sure is not told.

use std::collections::{HashMap, HashSet};

use exectrace_bpf::COMM_SIZE;

use super::{ending::Ending, status::Status};
use crate::{
    clock::suspended_ns,
    event::{Args, Event, Exec, Exit, Process, whole_characters},
    netlink::Report,
    proc,
};

const CLONE_PARENT: u64 = 0x8000;
const CLONE_THREAD: u64 = 0x1_0000;
/// When a process began, /proc tells in hundredths of a second.
const START_PRECISION_NS: u64 = 20_000_000;

/// What a record has told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen<'a> {
    /// The process and the thread that ran; of tasks that begin, end, or get a name, those; for signals, anybody.
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) time_ns: u64,
    /// If BPF has told it.
    pub(super) uid: Option<u32>,
    pub(super) what: What<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What<'a> {
    /// The thread or process has begun, made by this one. Whose child it is, comes with [`Self::NewTask`].
    Forked {
        maker: u32,
        maker_tid: u32,
    },
    /// It has made another thread, or another process with this number.
    NewTask {
        tid: u32,
        flags: u64,
        comm: &'a [u8],
    },
    /// The thread has got another name. An exec that gives one is followed by [`Self::Exec`].
    Renamed {
        comm: &'a [u8],
        by_exec: bool,
    },
    /// Whether the program is one of 32 bits on a kernel of 64 is not known if its stack is not.
    Exec {
        file: &'a [u8],
        file_truncated: bool,
        args: Option<(&'a [u8], bool)>,
        is_compat: Option<bool>,
    },
    /// The thread has changed its user: to this one, if that is told.
    UserChanged(Option<u32>),
    /// The thread ends, and this is its user: from BPF. Before [`Self::End`], or after it: kernels differ.
    EndsAs(u32),
    /// The thread has ended.
    End {
        ppid: u32,
        report: Option<Report>,
    },
    /// The thread ends the process, or only itself, with this code.
    ExitGroup(u8),
    ExitThread(u8),
    /// A signal is on its way to this thread, or to its process.
    SignalSent {
        tid: u32,
        signal: u8,
    },
    SignalTaken {
        signal: u8,
        has_handler: bool,
    },
}

/// What is told to the table, and what it is to tell.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Means {
    /// --pid: only processes that are marked.
    pub(super) only_tracked: bool,
    /// Changes of users are seen, and nobody else tells users.
    pub(super) keeps_users: bool,
    /// The changes are told with the new user, also those of 32-bit programs.
    pub(super) users_are_told: bool,
    /// How threads end is reported.
    pub(super) reports: bool,
    /// With the end of each thread comes its user, as [`What::EndsAs`].
    pub(super) users_at_end: bool,
}

/// One of the two records of a thread's end, until the other is there.
#[derive(Debug)]
enum HalfEnd {
    OfParent(u32),
    AsUser(u32),
}

#[derive(Debug, Default)]
pub(super) struct Table {
    means: Means,
    processes: HashMap<u32, Entry>,
    /// The process of each thread.
    threads: HashMap<u32, u32>,
    /// The known children of each process.
    children: HashMap<u32, HashSet<u32>>,
    /// Processes whose parent, and whose user is to be looked up.
    orphans: Vec<u32>,
    strangers: Vec<u32>,
    /// Still to be read from /proc, after something was lost.
    unread: Vec<u32>,
    /// --pid: these processes and their descendants, with when they began.
    tracked: HashMap<u32, u64>,
    /// Names that an exec has given, by thread: the exec itself follows.
    announced: HashMap<u32, Vec<u8>>,
    /// What was reported of threads of processes that are not known.
    strays: HashMap<u32, Status>,
    /// By thread. What is lost of them makes the table [`Self::forget`].
    half_ends: HashMap<u32, HalfEnd>,
    /// Events from before are not told: what they rest on may be missing.
    begin_ns: u64,
    /// Of what is older, something was lost: it tells no more than what stands in the record itself.
    doubt_ns: u64,
    missed: Missed,
    /// The last process that ended, or executed without being known, whose name an event borrows.
    gone: Entry,
}

/// Events that could not be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Missed {
    /// Execs that gave a name, and of which no record came.
    pub(super) execs: u64,
    /// Threads that have ended, of processes that are not known.
    pub(super) exits: u64,
}

#[derive(Debug, Default)]
struct Entry {
    /// What is older is known already.
    as_of_ns: u64,
    /// `CLOCK_MONOTONIC`
    start_ns: Option<u64>,
    threads: HashSet<u32>,
    /// It had more than one, since it began or last executed a program.
    was_threaded: bool,
    parent: Option<Known>,
    /// The user.
    uid: Option<Known>,
    /// It may change its user without being seen.
    is_compat: bool,
    comm: Option<Vec<u8>>,
    /// A thread of the kernel's, or what it has started and has executed nothing.
    is_kernel: bool,
    exec_ns: Option<u64>,
    ending: Ending,
    status: Status,
}

/// A number that is right since then at the latest, and until something is seen that changes it.
#[derive(Debug, Clone, Copy)]
struct Known {
    number: u32,
    since_ns: u64,
}

impl Table {
    pub(super) fn new(means: Means) -> Self {
        Self { means, ..Self::default() }
    }

    /// Begins with what /proc shows. Whoever calls has made sure that everything is seen which happens from before on.
    pub(super) fn fill(&mut self, snapshot: Vec<proc::Process>, begin_ns: u64) {
        self.begin_ns = begin_ns;
        for process in snapshot {
            self.add(process);
        }
        // One that has ended since its child was looked at.
        let gone: Vec<u32> = self
            .children
            .keys()
            .copied()
            .filter(|parent| *parent != 0 && !self.processes.contains_key(parent))
            .collect();
        for parent in gone {
            self.orphan_children(parent);
        }
    }

    /// A process as /proc shows it, unless more is known of it already.
    fn add(&mut self, process: proc::Process) {
        let pid = process.pid;
        if self.processes.contains_key(&pid) {
            return;
        }
        for &tid in &process.threads {
            self.threads.insert(tid, pid);
        }
        let is_compat = process.is_32_bit && !self.means.users_are_told;
        let entry = Entry {
            as_of_ns: process.as_of_ns,
            start_ns: Some(process.start_ns.saturating_sub(suspended_ns())),
            // Perhaps the first one has ended.
            was_threaded: process.threads != [pid],
            threads: process.threads.into_iter().collect(),
            uid: self.user(process.uid.filter(|_| !is_compat), process.as_of_ns),
            is_compat,
            comm: Some(process.comm),
            is_kernel: process.is_kernel,
            ..Entry::default()
        };
        self.processes.insert(pid, entry);
        self.set_parent(pid, Some(Known { number: process.ppid, since_ns: process.as_of_ns }));
    }

    /// Something was lost before this moment: whose child or thread somebody is, and what has ended, is not known any more.
    pub(super) fn forget(&mut self, now_ns: u64) {
        self.processes.clear();
        self.threads.clear();
        self.children.clear();
        self.orphans.clear();
        self.strangers.clear();
        self.strays.clear();
        self.unread.clear();
        let ended = self.half_ends.drain().filter(|(_, half)| matches!(half, HalfEnd::OfParent(_)));
        self.missed.exits += ended.count() as u64;
        self.doubt_ns = now_ns;
    }

    /// Begins to learn anew: from /proc, a few processes at a time.
    pub(super) fn relearn(&mut self, pids: Vec<u32>, start_of: impl Fn(u32) -> Option<u64>, parents: &[(u32, u32)]) {
        self.announced.clear();
        // A number that came back is another process.
        self.tracked.retain(|&pid, start_ns| {
            start_of(pid).is_some_and(|start| *start_ns == 0 || start.abs_diff(*start_ns) < START_PRECISION_NS)
        });
        let tracked: HashSet<u32> = self.tracked.keys().copied().collect();
        for pid in proc::descendants(parents, &tracked) {
            self.tracked.insert(pid, start_of(pid).unwrap_or_default());
        }
        self.unread = pids;
    }

    /// Reads at most so many of those that are still to be read, and whether there are more. A process that is about to end
    /// is put off as long as `patient`.
    pub(super) fn read_some(&mut self, most: usize, patient: bool, read: impl Fn(u32) -> proc::Read) -> bool {
        let mut put_off = Vec::new();
        for _ in 0..most {
            let Some(pid) = self.unread.pop() else { break };
            if self.processes.contains_key(&pid) {
                continue;
            }
            match read(pid) {
                proc::Read::Alive(process) => self.add(process),
                proc::Read::Ending if patient => put_off.push(pid),
                proc::Read::Ending | proc::Read::Gone => {}
            }
        }
        self.unread.splice(0..0, put_off);
        self.has_unread()
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// --pid: marks these and their descendants.
    pub(super) fn track(&mut self, pids: &[u32]) {
        let known = pids.iter().copied().filter(|pid| self.processes.contains_key(pid)).collect();
        let parents: Vec<(u32, u32)> =
            self.processes.iter().filter_map(|(&pid, entry)| Some((pid, entry.parent?.number))).collect();
        for pid in proc::descendants(&parents, &known).into_iter().chain(known) {
            self.mark(pid);
        }
    }

    fn track_child(&mut self, pid: u32, maker: u32, time_ns: u64) {
        if self.tracked.contains_key(&maker) {
            self.tracked.insert(pid, time_ns + suspended_ns());
        }
    }

    fn mark(&mut self, pid: u32) {
        // As /proc will tell it.
        let start_ns = self.processes.get(&pid).and_then(|entry| entry.start_ns);
        self.tracked.insert(pid, start_ns.map_or(0, |start_ns| start_ns + suspended_ns()));
    }

    /// Whether one of those that are marked is still there.
    pub(super) fn has_tracked(&self) -> bool {
        !self.tracked.is_empty()
    }

    pub(super) fn missed(&self) -> Missed {
        self.missed
    }

    /// What is not known is looked up, with a moment from after it was found.
    pub(super) fn resolve(
        &mut self,
        parent_of: impl Fn(u32) -> Option<(u32, u64)>,
        user_of: impl Fn(u32) -> Option<(u32, u64)>,
    ) {
        for pid in std::mem::take(&mut self.orphans) {
            if self.processes.get(&pid).is_none_or(|entry| entry.parent.is_some()) {
                continue;
            }
            let Some((number, since_ns)) = parent_of(pid) else { continue };
            if number == 0 || self.processes.contains_key(&number) {
                self.set_parent(pid, Some(Known { number, since_ns }));
            } else {
                // The old parent still, whose end we have seen before the kernel was done with it; or one still to be read.
                self.orphans.push(pid);
            }
        }
        for pid in std::mem::take(&mut self.strangers) {
            // Each thread has a user of its own, and /proc shows that of the first.
            if let Some(entry) = self.processes.get_mut(&pid).filter(|entry| !entry.was_threaded && !entry.is_compat)
                && entry.uid.is_none()
                && let Some((number, since_ns)) = user_of(pid)
            {
                entry.uid = Some(Known { number, since_ns });
            }
        }
    }

    /// A user, if users are to be known.
    fn user(&self, uid: Option<u32>, since_ns: u64) -> Option<Known> {
        uid.filter(|_| self.means.keeps_users).map(|number| Known { number, since_ns })
    }

    fn set_parent(&mut self, pid: u32, parent: Option<Known>) {
        let Some(entry) = self.processes.get_mut(&pid) else { return };
        let before = std::mem::replace(&mut entry.parent, parent);
        if let Some(siblings) = before.and_then(|before| self.children.get_mut(&before.number)) {
            siblings.remove(&pid);
        }
        if let Some(parent) = parent {
            self.children.entry(parent.number).or_default().insert(pid);
        }
    }

    /// The parent of these has ended: they have another one now.
    fn orphan_children(&mut self, parent: u32) {
        for child in self.children.remove(&parent).unwrap_or_default() {
            if let Some(entry) = self.processes.get_mut(&child) {
                entry.parent = None;
                self.orphans.push(child);
            }
        }
    }

    fn remove(&mut self, pid: u32) -> Option<Entry> {
        self.set_parent(pid, None);
        self.processes.remove(&pid)
    }

    /// Takes in what was seen, in the order of time, and tells what that means to the user, if anything.
    pub(super) fn see<'s>(&'s mut self, seen: &Seen<'s>) -> Option<Event<'s>> {
        let time_ns = seen.time_ns;
        let in_doubt = time_ns < self.doubt_ns;
        match &seen.what {
            &What::Forked { maker, maker_tid } => {
                // A number that came back.
                self.half_ends.remove(&seen.tid);
                if maker != seen.pid {
                    self.track_child(seen.pid, maker, time_ns);
                }
                if !in_doubt {
                    self.forked(seen, maker, maker_tid);
                }
                None
            }
            What::Renamed { comm, by_exec } => {
                // Before, the tracepoint may not have been watched yet.
                if *by_exec && time_ns >= self.begin_ns && self.announced.insert(seen.tid, name(comm)).is_some() {
                    self.missed.execs += 1;
                }
                // The process has the name of its first thread.
                if let Some(entry) = self.known(seen.tid, time_ns) {
                    entry.comm = Some(name(comm));
                }
                None
            }
            &What::Exec { file, file_truncated, args, is_compat } => {
                let announced = self.announced.remove(&seen.pid);
                let pid = seen.pid;
                if !self.exec(seen, is_compat, announced.clone(), in_doubt) {
                    // What it is now, /proc has told; what it was at this moment, only the record does.
                    self.gone = Entry { comm: announced, ..Entry::default() };
                }
                let (args, args_truncated) = args.unzip();
                let args = args.map(if args_truncated == Some(true) { Args::cut } else { Args::new });
                let file = if file_truncated { whole_characters(file) } else { file };
                let entry = self.processes.get(&pid).filter(|entry| entry.as_of_ns <= time_ns).unwrap_or(&self.gone);
                if !self.is_told(pid, entry, time_ns) {
                    return None;
                }
                Some(Event::Exec(Exec { process: entry.describe(seen), file, file_truncated, args, args_truncated }))
            }
            &What::End { ppid, report: None } if self.means.users_at_end => {
                let Some(HalfEnd::AsUser(uid)) = self.half_ends.remove(&seen.tid) else {
                    self.half_ends.insert(seen.tid, HalfEnd::OfParent(ppid));
                    return None;
                };
                self.thread_ends(seen, ppid, None, Some(uid))
            }
            &What::EndsAs(uid) => {
                let Some(HalfEnd::OfParent(ppid)) = self.half_ends.remove(&seen.tid) else {
                    self.half_ends.insert(seen.tid, HalfEnd::AsUser(uid));
                    return None;
                };
                self.thread_ends(seen, ppid, None, Some(uid))
            }
            What::End { ppid, report } => {
                self.thread_ends(seen, *ppid, report.as_ref(), report.as_ref().map(|report| report.uid))
            }
            _ if in_doubt => None,
            &What::NewTask { tid, flags, comm } => {
                self.new_task(seen, tid, flags, comm);
                None
            }
            &What::UserChanged(uid) => {
                let entry = self.known(seen.pid, time_ns)?;
                // Each thread has its own.
                entry.uid = uid.filter(|_| !entry.was_threaded).map(|number| Known { number, since_ns: time_ns });
                if entry.uid.is_none() {
                    self.strangers.push(seen.pid);
                }
                None
            }
            &What::ExitGroup(code) => {
                self.known(seen.pid, time_ns)?.ending.exit_group(code, time_ns);
                None
            }
            &What::ExitThread(code) => {
                let entry = self.known(seen.pid, time_ns)?;
                let alone = !entry.was_threaded;
                entry.ending.exit_thread(code, time_ns, alone);
                None
            }
            &What::SignalSent { tid, signal } => {
                // Of a process whose first thread has ended, that one is named all the same.
                let pid = self.threads.get(&tid).copied().unwrap_or(tid);
                self.known(pid, time_ns)?.ending.signal_sent(signal, time_ns);
                None
            }
            &What::SignalTaken { signal, has_handler } => {
                self.known(seen.pid, time_ns)?.ending.signal_taken(seen.tid, signal, has_handler, time_ns);
                None
            }
        }
    }

    /// A process, unless what was seen is older than what we know of it.
    fn known(&mut self, pid: u32, time_ns: u64) -> Option<&mut Entry> {
        self.processes.get_mut(&pid).filter(|entry| entry.as_of_ns <= time_ns)
    }

    /// As much as perf's own record tells.
    fn forked(&mut self, seen: &Seen<'_>, maker: u32, maker_tid: u32) {
        let (pid, time_ns) = (seen.pid, seen.time_ns);
        if pid == maker {
            self.new_thread(pid, seen.tid, time_ns);
            return;
        }
        // The name is that of the thread that has made it.
        let comm = self.known(maker, time_ns).filter(|_| maker == maker_tid).and_then(|maker| maker.comm.clone());
        self.new_process(pid, time_ns, maker, comm, None);
    }

    fn new_task(&mut self, seen: &Seen<'_>, tid: u32, flags: u64, comm: &[u8]) {
        if flags & CLONE_THREAD != 0 {
            self.new_thread(seen.pid, tid, seen.time_ns);
        } else {
            self.track_child(tid, seen.pid, seen.time_ns);
            self.new_process(tid, seen.time_ns, seen.pid, Some(name(comm)), Some(flags & CLONE_PARENT != 0));
        }
    }

    fn new_thread(&mut self, pid: u32, tid: u32, time_ns: u64) {
        if let Some(maker) = self.known(pid, time_ns) {
            maker.ending.is_alive();
            maker.threads.insert(tid);
            maker.was_threaded = true;
            self.threads.insert(tid, pid);
        }
    }

    /// `is_sibling`: it is a child of the maker's parent; none if that is not known.
    fn new_process(&mut self, pid: u32, time_ns: u64, maker_pid: u32, comm: Option<Vec<u8>>, is_sibling: Option<bool>) {
        // From /proc, later than this.
        if self.processes.get(&pid).is_some_and(|entry| entry.as_of_ns > time_ns) {
            return;
        }
        let mut entry = Entry { as_of_ns: time_ns, threads: HashSet::from([pid]), comm, ..Entry::default() };
        // The second record of the same fork.
        entry.start_ns = match self.processes.get(&pid) {
            Some(first) if is_sibling.is_some() && first.parent.is_none() && first.exec_ns.is_none() => first.start_ns,
            _ => Some(time_ns),
        };
        let mut parent = (is_sibling == Some(false)).then_some(Known { number: maker_pid, since_ns: time_ns });
        let maker = self.processes.get_mut(&maker_pid);
        if let Some(maker) = &maker {
            entry.is_kernel = maker.is_kernel;
        }
        match maker {
            Some(maker) if maker.as_of_ns <= time_ns => {
                maker.ending.is_alive();
                entry.is_compat = maker.is_compat;
                entry.uid = maker.uid.filter(|_| !maker.is_compat);
                if is_sibling == Some(true) {
                    parent = maker.parent;
                }
            }
            // It was looked at later, or not at all: what it was at this moment is not known.
            _ => entry.is_compat = !self.means.users_are_told,
        }
        self.remove(pid);
        self.threads.insert(pid, pid);
        self.processes.insert(pid, entry);
        if parent.is_some() {
            self.set_parent(pid, parent);
        } else {
            self.orphans.push(pid);
        }
    }

    /// Whether what is known of the process is as of this moment, or was not known at all and is now.
    fn exec(&mut self, seen: &Seen<'_>, is_compat: Option<bool>, announced: Option<Vec<u8>>, in_doubt: bool) -> bool {
        let (pid, time_ns, keeps_users) = (seen.pid, seen.time_ns, self.means.keeps_users);
        let users_are_told = self.means.users_are_told;
        if in_doubt || self.processes.get(&pid).is_some_and(|entry| entry.as_of_ns > time_ns) {
            return false;
        }
        let is_new = !self.processes.contains_key(&pid);
        let entry = self.processes.entry(pid).or_default();
        if is_new {
            entry.as_of_ns = time_ns;
            entry.comm = announced;
        }
        // The other threads are gone, and this one has the number of the first.
        let gone: Vec<u32> = entry.threads.drain().filter(|tid| *tid != pid).collect();
        entry.threads.insert(pid);
        entry.was_threaded = false;
        entry.is_kernel = false;
        entry.exec_ns = Some(time_ns);
        entry.ending.executes();
        entry.status = Status::default();
        entry.forget_user_if_compat();
        entry.is_compat = is_compat.unwrap_or(true) && !users_are_told;
        let is_stranger = keeps_users && entry.uid.is_none();
        for tid in gone {
            self.threads.remove(&tid);
        }
        self.threads.insert(pid, pid);
        self.strays.remove(&pid);
        if is_new {
            self.orphans.push(pid);
        }
        if is_stranger {
            self.strangers.push(pid);
        }
        true
    }

    /// `uid`: that of the thread, if it is known.
    fn thread_ends<'s>(
        &'s mut self,
        seen: &Seen<'s>,
        ppid: u32,
        report: Option<&Report>,
        uid: Option<u32>,
    ) -> Option<Event<'s>> {
        let (pid, tid, time_ns) = (seen.pid, seen.tid, seen.time_ns);
        if self.announced.remove(&tid).is_some() && !report.is_some_and(was_killed) {
            self.missed.execs += 1;
        }
        if self.processes.get(&pid).is_some_and(|entry| entry.as_of_ns > time_ns) {
            return None;
        }
        let is_last = report.and_then(|report| report.is_last);
        if let Some(entry) = self.processes.get_mut(&pid) {
            entry.threads.remove(&tid);
            entry.ending.thread_ended(tid, time_ns);
            entry.status.thread_ended(report, tid == pid, time_ns);
            if self.threads.get(&tid) == Some(&pid) {
                self.threads.remove(&tid);
            }
            if !is_last.unwrap_or(entry.threads.is_empty()) {
                return None;
            }
            self.gone = self.remove(pid)?;
            self.gone.forget_user_if_compat();
        } else {
            let mut status = self.strays.remove(&pid).unwrap_or_default();
            status.is_incomplete();
            status.thread_ended(report, tid == pid, time_ns);
            match is_last {
                Some(true) => {}
                Some(false) => {
                    self.strays.insert(pid, status);
                    return None;
                }
                None => {
                    // It may have been the last one.
                    self.missed.exits += u64::from(time_ns >= self.begin_ns);
                    self.orphan_children(pid);
                    return None;
                }
            }
            self.gone = Entry {
                comm: report.filter(|_| tid == pid).map(|report| report.comm.clone()),
                is_kernel: report.is_some_and(Report::is_kernel),
                was_threaded: tid != pid,
                status,
                ..Entry::default()
            };
        }
        self.orphan_children(pid);
        self.gone.parent = Some(Known { number: ppid, since_ns: time_ns });
        self.gone.uid = uid.map(|number| Known { number, since_ns: time_ns }).or(self.gone.uid);
        let is_told = self.is_told(pid, &self.gone, time_ns);
        self.tracked.remove(&pid);
        if !is_told {
            return None;
        }
        let entry = &self.gone;
        let end = if self.means.reports {
            entry.status.end(entry.was_threaded, entry.ending.group_code())
        } else {
            entry.ending.end()
        };
        Some(Event::Exit(Exit { process: entry.describe(seen), end, exec_ns: entry.exec_ns }))
    }

    /// Whether the user is told what happens to a process at this time.
    fn is_told(&self, pid: u32, entry: &Entry, time_ns: u64) -> bool {
        let is_wanted = !self.means.only_tracked || self.tracked.contains_key(&pid);
        time_ns >= self.begin_ns && !entry.is_kernel && is_wanted
    }
}

/// An exec that fails beyond the point of no return gives a name, and then only a signal.
fn was_killed(report: &Report) -> bool {
    [libc::SIGKILL, libc::SIGSEGV].contains(&((report.status & 0x7f) as i32))
}

impl Entry {
    /// What such a program has done since its exec is not seen.
    fn forget_user_if_compat(&mut self) {
        if self.is_compat {
            self.uid = None;
        }
    }

    fn describe(&self, seen: &Seen<'_>) -> Process<'_> {
        Process {
            pid: seen.pid,
            ppid: Known::at(self.parent, seen.time_ns),
            uid: seen.uid.or(Known::at(self.uid, seen.time_ns)),
            time_ns: seen.time_ns,
            start_ns: self.start_ns,
            cgroup_id: None,
            comm: self.comm.as_deref(),
        }
    }
}

impl Known {
    fn at(known: Option<Self>, time_ns: u64) -> Option<u32> {
        known.filter(|known| known.since_ns <= time_ns).map(|known| known.number)
    }
}

fn name(comm: &[u8]) -> Vec<u8> {
    comm.iter().copied().take(COMM_SIZE - 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::End;

    /// Time 100, when the table was filled, is the beginning.
    const BEGIN: u64 = 100;

    fn process(pid: u32, ppid: u32, threads: &[u32]) -> proc::Process {
        let comm = format!("p{pid}").into_bytes();
        proc::Process {
            pid,
            ppid,
            threads: threads.to_vec(),
            comm,
            uid: Some(500),
            is_32_bit: false,
            is_kernel: pid == 2,
            start_ns: 50,
            as_of_ns: BEGIN - 10,
        }
    }

    /// init, the kernel's first thread, a shell, and a process of the shell's with two threads.
    fn table() -> Table {
        let mut table = Table::new(Means::default());
        let processes =
            vec![process(1, 0, &[1]), process(2, 0, &[2]), process(10, 1, &[10]), process(20, 10, &[20, 21])];
        table.fill(processes, BEGIN);
        table
    }

    fn seen(pid: u32, tid: u32, time_ns: u64, what: What<'_>) -> Seen<'_> {
        Seen { pid, tid, time_ns, uid: Some(1000), what }
    }

    fn fork(child: u32) -> What<'static> {
        What::NewTask { tid: child, flags: 0, comm: b"fork" }
    }

    fn end(ppid: u32) -> What<'static> {
        What::End { ppid, report: None }
    }

    const EXEC: What<'static> =
        What::Exec { file: b"/bin/x", file_truncated: false, args: Some((b"x\0", false)), is_compat: Some(false) };
    const EXEC_32: What<'static> =
        What::Exec { file: b"/bin/x", file_truncated: false, args: Some((b"x\0", false)), is_compat: Some(true) };

    /// What is told in short: of an exec the file, of an exit the end.
    fn told(table: &mut Table, seen: Seen<'_>) -> Option<String> {
        let event = table.see(&seen)?;
        let process = event.process();
        let ppid = process.ppid.map_or("-".into(), |ppid| ppid.to_string());
        let who = format!("{} of {ppid} {}", process.pid, String::from_utf8_lossy(process.comm.unwrap_or(b"-")));
        Some(match &event {
            Event::Exec(exec) => format!("{who} runs {}", String::from_utf8_lossy(exec.file)),
            Event::Exit(exit) => format!("{who} ends {:?} {:?}", exit.end, exit.exec_ns),
            Event::Failed(_) => panic!("{event:?}"),
        })
    }

    #[track_caller]
    fn assert_told(table: &mut Table, seen: Seen<'_>, expected: &str) {
        assert_eq!(told(table, seen).as_deref(), Some(expected));
    }

    #[track_caller]
    fn assert_silent(table: &mut Table, seen: Seen<'_>) {
        assert_eq!(told(table, seen), None);
    }

    #[test]
    fn a_child_that_executes_and_ends_is_told_with_its_parent_name_and_code() {
        let mut table = table();
        assert_silent(&mut table, seen(10, 10, 110, fork(30)));
        assert_silent(&mut table, seen(30, 30, 120, What::Renamed { comm: b"x", by_exec: false }));
        assert_told(&mut table, seen(30, 30, 121, EXEC), "30 of 10 x runs /bin/x");
        assert_silent(&mut table, seen(30, 30, 130, What::ExitGroup(3)));
        assert_told(&mut table, seen(30, 30, 131, end(10)), "30 of 10 x ends Some(Code(3)) Some(121)");
        assert_silent(&mut table, seen(30, 30, 140, end(10)));
    }

    #[test]
    fn a_child_that_only_forked_has_the_name_of_the_thread_that_made_it() {
        let mut table = table();
        assert_silent(&mut table, seen(20, 21, 110, What::NewTask { tid: 30, flags: 0, comm: b"worker" }));
        assert_told(&mut table, seen(30, 30, 120, end(20)), "30 of 20 worker ends None None");
    }

    #[test]
    fn a_process_ends_with_its_last_thread_and_has_the_name_of_its_first() {
        let mut table = table();
        assert_silent(&mut table, seen(20, 20, 110, What::NewTask { tid: 22, flags: CLONE_THREAD, comm: b"t" }));
        assert_silent(&mut table, seen(20, 21, 111, What::Renamed { comm: b"other", by_exec: false }));
        assert_silent(&mut table, seen(20, 20, 112, What::ExitGroup(4)));
        assert_silent(&mut table, seen(20, 20, 113, end(10)));
        assert_silent(&mut table, seen(20, 22, 114, end(10)));
        assert_told(&mut table, seen(20, 21, 115, end(10)), "20 of 10 p20 ends Some(Code(4)) None");
    }

    #[test]
    fn an_exec_leaves_one_thread_with_the_number_of_the_first() {
        let mut table = table();
        // The other thread executes: the first one ends, and leaves it its number.
        assert_silent(&mut table, seen(20, 20, 110, end(10)));
        assert_told(&mut table, seen(20, 20, 111, EXEC), "20 of 10 p20 runs /bin/x");
        assert_silent(&mut table, seen(20, 20, 112, What::ExitThread(5)));
        assert_told(&mut table, seen(20, 20, 113, end(10)), "20 of 10 p20 ends Some(Code(5)) Some(111)");
    }

    #[test]
    fn the_code_of_a_thread_is_not_that_of_a_process_with_several() {
        let mut table = table();
        assert_silent(&mut table, seen(20, 20, 110, What::ExitThread(5)));
        assert_silent(&mut table, seen(20, 20, 111, end(10)));
        assert_silent(&mut table, seen(20, 21, 112, What::ExitThread(6)));
        assert_told(&mut table, seen(20, 21, 113, end(10)), "20 of 10 p20 ends None None");
    }

    #[test]
    fn a_signal_finds_its_process_by_any_thread() {
        let mut table = table();
        assert_silent(&mut table, seen(10, 10, 110, What::SignalSent { tid: 21, signal: libc::SIGTERM as u8 }));
        for tid in [20, 21] {
            let taken = What::SignalTaken { signal: libc::SIGKILL as u8, has_handler: false };
            assert_silent(&mut table, seen(20, tid, 111, taken));
        }
        assert_silent(&mut table, seen(20, 20, 112, end(10)));
        let killed = End::Signal { number: libc::SIGTERM as u8, core_dumped: Some(false) };
        assert_told(&mut table, seen(20, 21, 113, end(10)), &format!("20 of 10 p20 ends {:?} None", Some(killed)));
    }

    #[test]
    fn after_the_end_of_a_parent_the_new_one_is_known_only_from_when_it_was_looked_up() {
        let mut table = table();
        assert_silent(&mut table, seen(10, 10, 110, fork(30)));
        assert_told(&mut table, seen(10, 10, 120, end(1)), "10 of 1 p10 ends None None");
        // The kernel is not done with it: /proc still shows the one that has ended.
        table.resolve(|pid| (pid == 30).then_some((10, 125)), |_| None);
        assert_told(&mut table, seen(30, 30, 130, EXEC), "30 of - fork runs /bin/x");
        table.resolve(|pid| (pid == 30).then_some((1, 140)), |_| None);
        assert_told(&mut table, seen(30, 30, 135, EXEC), "30 of - fork runs /bin/x");
        assert_told(&mut table, seen(30, 30, 145, EXEC), "30 of 1 fork runs /bin/x");
        table.resolve(|pid| panic!("the parent of {pid} is known"), |_| None);
    }

    #[test]
    fn a_child_made_for_the_own_parent_is_its_sibling() {
        let mut table = table();
        assert_silent(&mut table, seen(20, 20, 110, What::NewTask { tid: 30, flags: CLONE_PARENT, comm: b"c" }));
        assert_told(&mut table, seen(30, 30, 120, EXEC), "30 of 10 c runs /bin/x");
    }

    #[test]
    fn threads_of_the_kernel_are_not_told_but_what_they_run_is() {
        let mut table = table();
        assert_silent(&mut table, seen(2, 2, 110, fork(30)));
        assert_silent(&mut table, seen(30, 30, 120, end(10)));
        assert_silent(&mut table, seen(2, 2, 130, fork(31)));
        assert_told(&mut table, seen(31, 31, 140, EXEC), "31 of 2 fork runs /bin/x");
    }

    #[test]
    fn what_is_older_than_what_proc_has_shown_changes_nothing_and_is_not_told() {
        let mut table = table();
        // From before 20 was looked at, and so about another one of that number.
        assert_silent(&mut table, seen(20, 20, 50, end(10)));
        assert_silent(&mut table, seen(20, 20, 51, What::Renamed { comm: b"old", by_exec: false }));
        assert_silent(&mut table, seen(10, 10, 52, fork(20)));
        // From after that, but before all had been looked at.
        assert_silent(&mut table, seen(20, 20, 95, EXEC));
        assert_told(&mut table, seen(20, 20, 110, end(10)), "20 of 10 p20 ends None Some(95)");
    }

    #[test]
    fn only_a_process_and_its_descendants_are_told_if_asked_for() {
        let mut table = table();
        table.means.only_tracked = true;
        table.track(&[10]);
        assert_silent(&mut table, seen(1, 1, 110, fork(30)));
        assert_silent(&mut table, seen(30, 30, 111, EXEC));
        assert_silent(&mut table, seen(20, 20, 112, fork(31)));
        assert_told(&mut table, seen(31, 31, 113, EXEC), "31 of 20 fork runs /bin/x");
        // After a loss too, and those that they have begun meanwhile; but not who has the number of one that ended.
        table.forget(200);
        table.relearn(
            vec![],
            |pid| (pid != 31).then_some(if pid == 10 { 9_000_000_000 } else { 50 }),
            &[(32, 20), (33, 10)],
        );
        table.doubt_ns = 0;
        assert_told(&mut table, seen(20, 20, 210, EXEC), "20 of - - runs /bin/x");
        assert_told(&mut table, seen(32, 32, 211, EXEC), "32 of - - runs /bin/x");
        for pid in [1, 10, 31, 33] {
            assert_silent(&mut table, seen(pid, pid, 212, EXEC));
        }
    }

    /// How a thread is reported to have ended.
    fn reported(ppid: u32, status: u32, is_last: bool) -> What<'static> {
        let report = Report {
            status,
            was_struck: false,
            is_last: Some(is_last),
            only_forked: false,
            uid: 700,
            ppid,
            comm: b"reported".to_vec(),
        };
        What::End { ppid, report: Some(report) }
    }

    #[test]
    fn in_doubt_only_what_the_record_itself_says_is_told() {
        let mut table = Table { means: Means { reports: true, ..Means::default() }, ..table() };
        table.forget(200);
        assert_silent(&mut table, seen(10, 10, 150, fork(30)));
        assert_silent(&mut table, seen(30, 30, 151, What::Renamed { comm: b"x", by_exec: true }));
        assert_told(&mut table, seen(30, 30, 152, EXEC), "30 of - x runs /bin/x");
        assert_told(
            &mut table,
            seen(30, 30, 153, reported(10, 3 << 8, true)),
            "30 of 10 reported ends Some(Code(3)) None",
        );
        // Whether others have ended is not known; of the last one it is.
        assert_silent(&mut table, seen(20, 20, 154, reported(10, 0, false)));
        assert_told(
            &mut table,
            seen(20, 21, 155, reported(10, 9, true)),
            &format!("20 of 10 - ends {:?} None", Some(End::from_status(9))),
        );
        assert_eq!(table.missed(), Missed::default());
    }

    #[test]
    fn after_a_loss_it_learns_anew() {
        let mut table = Table { means: Means { reports: true, ..Means::default() }, ..table() };
        table.forget(200);
        table.relearn(vec![20, 10, 1], |_| None, &[]);
        // Not read yet: its exec tells nearly all.
        assert_told(&mut table, seen(20, 20, 210, EXEC), "20 of - - runs /bin/x");
        assert_told(
            &mut table,
            seen(20, 20, 211, reported(10, 3 << 8, true)),
            "20 of 10 - ends Some(Code(3)) Some(210)",
        );
        let read = |pid| match pid {
            20 => proc::Read::Gone,
            pid => proc::Read::Alive(proc::Process { as_of_ns: 220, ..process(pid, u32::from(pid == 10), &[pid]) }),
        };
        assert!(table.read_some(2, true, read));
        assert!(!table.read_some(2, true, read));
        // Read later than this happened.
        assert_told(&mut table, seen(10, 10, 215, EXEC), "10 of - - runs /bin/x");
        assert_told(&mut table, seen(10, 10, 230, EXEC), "10 of 1 p10 runs /bin/x");
    }

    #[test]
    fn one_that_is_about_to_end_is_read_again() {
        let mut table = table();
        table.forget(200);
        table.relearn(vec![10], |_| None, &[]);
        assert!(table.read_some(9, true, |_| proc::Read::Ending));
        assert!(!table.read_some(9, false, |_| proc::Read::Ending));
    }

    #[test]
    fn an_exec_of_which_only_the_name_was_seen_is_missed() {
        let mut table = table();
        let named = || What::Renamed { comm: b"x", by_exec: true };
        assert_silent(&mut table, seen(10, 10, 110, named()));
        assert_told(&mut table, seen(10, 10, 111, EXEC), "10 of 1 x runs /bin/x");
        assert_eq!(table.missed().execs, 0);
        assert_silent(&mut table, seen(10, 10, 112, named()));
        assert_silent(&mut table, seen(10, 10, 113, named()));
        assert_eq!(table.missed().execs, 1);
        assert_told(&mut table, seen(10, 10, 114, end(1)), "10 of 1 x ends None Some(111)");
        assert_eq!(table.missed().execs, 2);
        // Beyond the point of no return an exec can only fail by a signal.
        assert_silent(&mut table, seen(20, 20, 115, named()));
        assert_silent(&mut table, seen(20, 20, 116, reported(1, 9, false)));
        assert_eq!(table.missed().execs, 2);
    }

    #[test]
    fn without_the_tracepoint_a_fork_is_known_but_not_whose_child_it_is() {
        let mut table = table();
        assert_silent(&mut table, seen(30, 30, 110, What::Forked { maker: 10, maker_tid: 10 }));
        assert_told(&mut table, seen(30, 30, 111, EXEC), "30 of - p10 runs /bin/x");
        assert_silent(&mut table, seen(20, 22, 112, What::Forked { maker: 20, maker_tid: 20 }));
        for tid in [20, 21] {
            assert_silent(&mut table, seen(20, tid, 113, end(10)));
        }
        assert_told(&mut table, seen(20, 22, 114, end(10)), "20 of 10 p20 ends None None");
    }

    #[test]
    fn a_user_that_is_told_counts_from_then_on() {
        let mut table = Table::new(Means { keeps_users: true, users_are_told: true, ..Means::default() });
        table.fill(vec![process(1, 0, &[1]), process(10, 1, &[10])], BEGIN);
        assert_silent(&mut table, seen(10, 10, 110, What::UserChanged(Some(700))));
        assert_eq!(user_of(&mut table, 10, 111, EXEC_32), Some(700));
        assert_silent(&mut table, seen(10, 10, 112, What::UserChanged(Some(800))));
        assert_eq!(user_of(&mut table, 10, 113, end(1)), Some(800));
    }

    /// The user of the next event, where BPF does not tell it.
    fn user_of(table: &mut Table, pid: u32, time_ns: u64, what: What<'_>) -> Option<u32> {
        table.see(&Seen { uid: None, ..seen(pid, pid, time_ns, what) }).unwrap().process().uid
    }

    fn table_of_users() -> Table {
        let mut table = Table::new(Means { keeps_users: true, ..Means::default() });
        table.fill(vec![process(1, 0, &[1]), process(10, 1, &[10]), process(20, 1, &[20, 21])], BEGIN);
        table
    }

    #[test]
    fn users_are_those_of_parents_until_they_are_changed() {
        let mut table = table_of_users();
        assert_silent(&mut table, seen(10, 10, 110, fork(30)));
        assert_eq!(user_of(&mut table, 30, 111, EXEC), Some(500));
        assert_silent(&mut table, seen(30, 30, 120, What::UserChanged(None)));
        assert_eq!(user_of(&mut table, 30, 121, EXEC), None);
        table.resolve(|_| None, |pid| (pid == 30).then_some((600, 130)));
        assert_eq!(user_of(&mut table, 30, 125, EXEC), None);
        assert_eq!(user_of(&mut table, 30, 135, EXEC), Some(600));
        assert_silent(&mut table, seen(30, 30, 136, fork(31)));
        assert_eq!(user_of(&mut table, 31, 137, end(10)), Some(600));
    }

    #[test]
    fn threads_with_users_of_their_own_leave_a_process_none_until_it_executes() {
        let mut table = table_of_users();
        assert_silent(&mut table, seen(20, 21, 110, What::UserChanged(None)));
        table.resolve(|_| None, |_| Some((600, 120)));
        assert_silent(&mut table, seen(20, 21, 130, fork(30)));
        assert_eq!(user_of(&mut table, 30, 131, EXEC), None);
        assert_eq!(user_of(&mut table, 20, 140, EXEC), None);
        table.resolve(|_| None, |_| Some((600, 150)));
        assert_eq!(user_of(&mut table, 20, 160, EXEC), Some(600));
    }

    #[test]
    fn what_a_32_bit_program_does_with_its_user_is_not_seen() {
        let mut table = table_of_users();
        assert_silent(&mut table, seen(10, 10, 110, fork(30)));
        assert_eq!(user_of(&mut table, 30, 111, EXEC_32), Some(500));
        assert_silent(&mut table, seen(30, 30, 112, fork(31)));
        assert_eq!(user_of(&mut table, 31, 113, end(10)), None);
        table.resolve(|_| None, |_| Some((600, 120)));
        assert_eq!(user_of(&mut table, 30, 130, end(10)), None);
    }

    #[test]
    fn where_changes_are_not_seen_no_user_is_told() {
        let mut table = table();
        assert_eq!(user_of(&mut table, 10, 110, EXEC), None);
        table.resolve(|_| None, |_| Some((600, 120)));
        assert_eq!(user_of(&mut table, 10, 130, EXEC), None);
    }

    #[test]
    fn an_end_waits_for_its_user_which_comes_before_or_after_it() {
        let mut table = Table { means: Means { users_at_end: true, ..Means::default() }, ..table() };
        for (pid, time_ns) in [(30, 110), (31, 120)] {
            assert_silent(&mut table, seen(10, 10, time_ns, fork(pid)));
        }
        assert_silent(&mut table, seen(30, 30, 130, What::EndsAs(700)));
        assert_eq!(user_of(&mut table, 30, 131, end(10)), Some(700));
        assert_silent(&mut table, seen(31, 31, 140, end(10)));
        assert_eq!(user_of(&mut table, 31, 141, What::EndsAs(800)), Some(800));
        // What was left of one that had the number before is no part of this one.
        assert_silent(&mut table, seen(32, 32, 150, end(10)));
        assert_silent(&mut table, seen(32, 32, 151, What::Forked { maker: 10, maker_tid: 10 }));
        assert_silent(&mut table, seen(32, 32, 160, What::EndsAs(900)));
        assert_eq!(user_of(&mut table, 32, 161, end(10)), Some(900));
        // Of which one half is there when something is lost.
        assert_silent(&mut table, seen(20, 20, 170, end(10)));
        table.forget(200);
        assert_eq!(table.missed().exits, 1);
    }

    #[test]
    fn a_process_that_was_forked_while_proc_was_read_is_known_nonetheless() {
        let mut table = table();
        // Its maker was read after that, the list of processes before; or the maker is gone.
        assert_silent(&mut table, seen(10, 10, 50, fork(30)));
        assert_told(&mut table, seen(30, 30, 110, EXEC), "30 of 10 fork runs /bin/x");
        assert_silent(&mut table, seen(9, 9, 51, fork(31)));
        assert_silent(&mut table, seen(9, 9, 52, end(1)));
        assert_told(&mut table, seen(31, 31, 111, EXEC), "31 of - fork runs /bin/x");
        table.resolve(|pid| (pid == 31).then_some((1, 120)), |_| None);
        assert_told(&mut table, seen(31, 31, 130, EXEC), "31 of 1 fork runs /bin/x");
    }

    #[test]
    fn a_parent_that_was_not_there_any_more_is_looked_up() {
        let mut table = Table::new(Means::default());
        table.fill(vec![process(1, 0, &[1]), process(30, 10, &[30])], BEGIN);
        assert_told(&mut table, seen(30, 30, 110, EXEC), "30 of - p30 runs /bin/x");
        table.resolve(|_| Some((1, 120)), |_| None);
        assert_told(&mut table, seen(30, 30, 130, EXEC), "30 of 1 p30 runs /bin/x");
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_had_several() {
        let mut table = Table::new(Means::default());
        table.fill(vec![process(1, 0, &[1]), process(20, 1, &[21])], BEGIN);
        // kill() names the first thread.
        assert_silent(&mut table, seen(1, 1, 109, What::SignalSent { tid: 20, signal: libc::SIGTERM as u8 }));
        assert_silent(&mut table, seen(20, 21, 110, What::ExitThread(6)));
        assert_told(&mut table, seen(20, 21, 111, end(1)), "20 of 1 p20 ends None None");
    }
}
