//! The processes of the machine, kept up from what tracepoints record: who is whose parent, which threads a process has,
//! and so when it has ended. What is not known for sure is unknown.

use std::collections::{HashMap, HashSet, VecDeque};

use exectrace_bpf::COMM_SIZE;

use super::{
    ends_observed::Observed,
    ends_reported::{Reported, Role},
};
use crate::{
    clock::suspended_ns,
    event::{Args, Event, Exec, Exit, Process, whole_characters},
    netlink::Report,
    procfs,
};

const CLONE_PARENT: u64 = 0x8000;
const CLONE_THREAD: u64 = 0x1_0000;
/// The kernel has made it: no C library sets this.
const CLONE_UNTRACED: u64 = 0x80_0000;
/// /proc shows when a process began in hundredths of a second.
const START_PRECISION_NS: u64 = 20_000_000;

/// So long an exit waits for who it was, and for the other threads. Between the two records the kernel frees the memory of the process.
const PATIENCE_NS: u64 = 2_000_000_000;

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The process and the thread that ran; of tasks that begin, end, or get a name, those; for signals, anybody.
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) time_ns: u64,
    pub(super) who: Who,
    pub(super) what: Kind<'a>,
}

/// What BPF adds to the record of a tracepoint, or perf: of the process that ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) uid: Option<u32>,
    pub(super) cgroup_id: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
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
    /// The thread has changed its user: to this one, if that is reported.
    UserChanged(Option<u32>),
    /// The thread ends, and BPF has added who it was. Before [`Self::End`], or after it: kernels differ.
    Leaves,
    /// The thread has ended.
    End {
        ppid: Option<u32>,
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

/// What the table is given, and what is wanted of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Inputs {
    /// --pid: only processes that are marked.
    pub(super) only_tracked: bool,
    /// Changes of users are seen, and users come from nowhere else.
    pub(super) keeps_users: bool,
    /// The changes are reported with the new user, also those of 32-bit programs.
    pub(super) users_are_reported: bool,
    /// How threads end is reported.
    pub(super) reports: bool,
    /// With the end of each thread comes [`Kind::Leaves`].
    pub(super) leaves: bool,
}

/// An exit of which it is not known yet who it was, or how all threads have ended: the records of those that end at the same time
/// come in any order.
#[derive(Debug)]
struct Waiting {
    pid: u32,
    /// The thread that has ended last, and when.
    tid: u32,
    time_ns: u64,
    /// Its threads are those that are waited for.
    entry: Entry,
    lacks_who: bool,
}

#[derive(Debug, Default)]
pub(super) struct Processes {
    inputs: Inputs,
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
    /// Those of them that had ended at this moment: what they did before it is still to come, or lost.
    leaving: HashSet<u32>,
    leaving_ns: u64,
    /// Names that an exec has given, by thread: the exec itself follows.
    announced: HashMap<u32, Vec<u8>>,
    /// What was reported of threads of processes that are not known, and when.
    strays: HashMap<u32, (u64, Reported)>,
    /// Who it was that has left, and when, by thread, until that has ended.
    left: HashMap<u32, (u64, Who)>,
    /// Exits that wait, by process; and those that need not any longer.
    waiting: HashMap<u32, Waiting>,
    overdue: VecDeque<Waiting>,
    /// Events from before are not shown: what they rest on may be missing.
    begin_ns: u64,
    /// Of what is older, something was lost: it shows no more than what stands in the record itself.
    doubt_ns: u64,
    missed: Missed,
    /// The last process that ended, or executed without being known, whose name an event borrows.
    gone: Entry,
}

/// Events that could not be shown.
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
    /// Those that the kernel itself has put there.
    workers: HashSet<u32>,
    /// It had more than one, since it began or last executed a program.
    was_threaded: bool,
    parent: Option<Since>,
    /// The user.
    uid: Option<Since>,
    /// It may change its user without being seen.
    is_compat: bool,
    comm: Option<Vec<u8>>,
    /// A thread of the kernel's, or what it has started and has executed nothing.
    is_kernel: bool,
    exec_ns: Option<u64>,
    /// Of one that has ended.
    cgroup_id: Option<u64>,
    ending: Observed,
    status: Reported,
}

/// A number that is right since then at the latest, and until something is seen that changes it.
#[derive(Debug, Clone, Copy)]
struct Since {
    number: u32,
    since_ns: u64,
}

impl Processes {
    pub(super) fn new(inputs: Inputs) -> Self {
        Self { inputs, ..Self::default() }
    }

    /// Begins with what /proc shows. Whoever calls has made sure that everything is seen which happens from before on.
    pub(super) fn fill(&mut self, snapshot: Vec<procfs::Process>, begin_ns: u64) {
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
    fn add(&mut self, process: procfs::Process) {
        let pid = process.pid;
        if self.processes.contains_key(&pid) {
            return;
        }
        for &tid in &process.threads {
            self.threads.insert(tid, pid);
        }
        let is_compat = process.is_32_bit && !self.inputs.users_are_reported;
        let entry = Entry {
            as_of_ns: process.as_of_ns,
            start_ns: Some(process.start_ns.saturating_sub(suspended_ns())),
            // Perhaps the first one has ended.
            was_threaded: process.threads != [pid],
            threads: process.threads.into_iter().collect(),
            workers: process.workers.into_iter().collect(),
            uid: self.user(process.uid.filter(|_| !is_compat), process.as_of_ns),
            is_compat,
            comm: Some(process.comm),
            is_kernel: process.is_kernel,
            ..Entry::default()
        };
        self.processes.insert(pid, entry);
        self.set_parent(pid, Some(Since { number: process.ppid, since_ns: process.as_of_ns }));
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
        self.left.clear();
        self.overdue.extend(self.waiting.drain().map(|(_, exit)| exit));
        self.doubt_ns = now_ns;
    }

    /// Begins to learn anew: from /proc, a few processes at a time.
    pub(super) fn relearn(
        &mut self,
        pids: Vec<u32>,
        start_of: impl Fn(u32) -> Option<u64>,
        parents: &[(u32, u32)],
        now_ns: u64,
    ) {
        self.announced.clear();
        self.leaving.clear();
        self.tracked.retain(|&pid, start_ns| match start_of(pid) {
            // A number that came back is another process.
            Some(start) => is_same_start(*start_ns, start),
            None => self.leaving.insert(pid),
        });
        self.leaving_ns = now_ns;
        let tracked: HashSet<u32> = self.tracked.keys().copied().collect();
        for pid in procfs::descendants(parents, &tracked) {
            self.tracked.insert(pid, start_of(pid).unwrap_or_default());
        }
        self.unread = pids;
    }

    /// Reads at most so many of those that are still to be read, and whether there are more. A process that is about to end
    /// is put off as long as `patient`.
    pub(super) fn read_some(&mut self, most: usize, patient: bool, read: impl Fn(u32) -> procfs::Read) -> bool {
        let mut put_off = Vec::new();
        for _ in 0..most {
            let Some(pid) = self.unread.pop() else { break };
            if self.processes.contains_key(&pid) {
                continue;
            }
            match read(pid) {
                procfs::Read::Alive(process) => self.add(process),
                procfs::Read::Ending if patient => put_off.push(pid),
                procfs::Read::Ending | procfs::Read::Gone => {}
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
        for pid in procfs::descendants(&parents, &known).into_iter().chain(known) {
            self.mark(pid);
        }
    }

    fn track_child(&mut self, pid: u32, maker: u32, time_ns: u64) {
        if self.tracked.contains_key(&maker) {
            self.tracked.insert(pid, time_ns + suspended_ns());
        }
    }

    fn mark(&mut self, pid: u32) {
        // As /proc will show it.
        let start_ns = self.processes.get(&pid).and_then(|entry| entry.start_ns);
        self.tracked.insert(pid, start_ns.map_or(0, |start_ns| start_ns + suspended_ns()));
    }

    /// Whether one of those that are marked is still there.
    pub(super) fn has_tracked(&self) -> bool {
        self.tracked.keys().any(|pid| !self.leaving.contains(pid)) || self.waits()
    }

    pub(super) fn missed(&self) -> Missed {
        self.missed
    }

    /// Of so many exits it is not known whether there were any.
    pub(super) fn miss_exits(&mut self, number: u64) {
        self.missed.exits += number;
    }

    /// An exec has given this thread a name, and is not there yet.
    pub(super) fn is_executing(&self, tid: u32) -> bool {
        self.announced.contains_key(&tid) && !self.left.contains_key(&tid)
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
                self.set_parent(pid, Some(Since { number, since_ns }));
            } else {
                // The old parent still, whose end we have seen before the kernel was done with it; or one still to be read.
                self.orphans.push(pid);
            }
        }
        for pid in std::mem::take(&mut self.strangers) {
            // Each thread has its own user, and /proc shows that of the first.
            if let Some(entry) = self.processes.get_mut(&pid).filter(|entry| !entry.was_threaded && !entry.is_compat)
                && entry.uid.is_none()
                && let Some((number, since_ns)) = user_of(pid)
            {
                entry.uid = Some(Since { number, since_ns });
            }
        }
    }

    /// A user, if users are to be known.
    fn user(&self, uid: Option<u32>, since_ns: u64) -> Option<Since> {
        uid.filter(|_| self.inputs.keeps_users).map(|number| Since { number, since_ns })
    }

    fn set_parent(&mut self, pid: u32, parent: Option<Since>) {
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
    pub(super) fn orphan_children(&mut self, parent: u32) {
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

    /// Takes in what was seen, in the order of time, and gives the event that this makes, if any.
    pub(super) fn see<'s>(&'s mut self, seen: &Record<'s>) -> Option<Event<'s>> {
        let time_ns = seen.time_ns;
        let in_doubt = time_ns < self.doubt_ns;
        if !self.leaving.is_empty() && time_ns > self.leaving_ns {
            self.tracked.retain(|pid, _| !self.leaving.contains(pid));
            self.leaving.clear();
        }
        match &seen.what {
            &Kind::Forked { maker, maker_tid } => {
                // A number that came back.
                self.left.remove(&seen.tid);
                self.leaving.remove(&seen.tid);
                self.overdue.extend(self.waiting.remove(&seen.tid));
                if maker != seen.pid {
                    // One that has begun just now may be followed already.
                    let start_ns = time_ns + suspended_ns();
                    if self.tracked.get(&seen.pid).is_some_and(|known| !is_same_start(*known, start_ns)) {
                        self.tracked.remove(&seen.pid);
                    }
                    self.track_child(seen.pid, maker, time_ns);
                }
                if !in_doubt {
                    self.forked(seen, maker, maker_tid);
                }
                None
            }
            Kind::Renamed { comm, by_exec } => {
                if *by_exec {
                    // Of the first thread of a process, whose number another one has now.
                    self.left.remove(&seen.tid);
                }
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
            &Kind::Exec { file, file_truncated, args, is_compat } => {
                let announced = self.announced.remove(&seen.pid);
                let pid = seen.pid;
                if !self.exec(seen, is_compat, announced.clone(), in_doubt) {
                    // What it is now, /proc has shown; what it was at this moment, only the record says.
                    self.gone = Entry { comm: announced, ..Entry::default() };
                }
                let (args, args_truncated) = args.unzip();
                let args = args.map(if args_truncated == Some(true) { Args::cut } else { Args::new });
                let file = if file_truncated { whole_characters(file) } else { file };
                let entry = self.processes.get(&pid).filter(|entry| entry.as_of_ns <= time_ns).unwrap_or(&self.gone);
                if !self.is_shown(pid, entry, time_ns) {
                    return None;
                }
                let process = entry.describe(seen);
                // /proc shows where the process is by now, and that may be elsewhere.
                Some(Event::Exec(Exec { process, file, file_truncated, args, args_truncated, place: None }))
            }
            Kind::End { ppid, report } => {
                let who = self.left.remove(&seen.tid).map(|(_, who)| who);
                if let Some(exit) =
                    self.waiting.get_mut(&seen.pid).filter(|exit| exit.entry.threads.contains(&seen.tid))
                {
                    exit.entry.thread_ended(seen, report.as_ref());
                    self.forget_thread(seen.tid, seen.pid);
                    return self.show_if_complete(seen.pid);
                }
                let mut exit = self.thread_ends(seen, *ppid, report.as_ref())?;
                if let Some(who) = who {
                    exit.entry.leaves(who);
                }
                exit.lacks_who = who.is_none() && self.inputs.leaves;
                // What may have been lost is not waited for.
                if in_doubt {
                    return Some(self.show(exit));
                }
                let before = self.waiting.insert(seen.pid, exit);
                self.overdue.extend(before);
                self.show_if_complete(seen.pid)
            }
            Kind::Leaves => match self.waiting.get_mut(&seen.pid).filter(|exit| exit.tid == seen.tid) {
                Some(exit) => {
                    exit.entry.leaves(seen.who);
                    exit.lacks_who = false;
                    self.show_if_complete(seen.pid)
                }
                None => {
                    self.left.insert(seen.tid, (time_ns, seen.who));
                    None
                }
            },
            _ if in_doubt => None,
            &Kind::NewTask { tid, flags, comm } => {
                self.new_task(seen, tid, flags, comm);
                None
            }
            &Kind::UserChanged(uid) => {
                let entry = self.known(seen.pid, time_ns)?;
                // Each thread has its own.
                entry.uid = uid.filter(|_| !entry.was_threaded).map(|number| Since { number, since_ns: time_ns });
                if entry.uid.is_none() {
                    self.strangers.push(seen.pid);
                }
                None
            }
            &Kind::ExitGroup(code) => {
                self.known(seen.pid, time_ns)?.ending.exit_group(code, time_ns);
                None
            }
            &Kind::ExitThread(code) => {
                let entry = self.known(seen.pid, time_ns)?;
                let alone = !entry.was_threaded;
                entry.ending.exit_thread(code, time_ns, alone);
                None
            }
            &Kind::SignalSent { tid, signal } => {
                // Of a process whose first thread has ended, that one is named all the same.
                let pid = self.threads.get(&tid).copied().unwrap_or(tid);
                self.known(pid, time_ns)?.ending.signal_sent(signal, time_ns);
                None
            }
            &Kind::SignalTaken { signal, has_handler } => {
                self.known(seen.pid, time_ns)?.ending.signal_taken(seen.tid, signal, has_handler, time_ns);
                None
            }
        }
    }

    /// A process, unless what was seen is older than what we know of it.
    fn known(&mut self, pid: u32, time_ns: u64) -> Option<&mut Entry> {
        self.processes.get_mut(&pid).filter(|entry| entry.as_of_ns <= time_ns)
    }

    /// As much as perf's own record says.
    fn forked(&mut self, seen: &Record<'_>, maker: u32, maker_tid: u32) {
        let (pid, time_ns) = (seen.pid, seen.time_ns);
        if pid == maker {
            self.new_thread(pid, seen.tid, false, time_ns);
            return;
        }
        // The name is that of the thread that has made it.
        let comm = self.known(maker, time_ns).filter(|_| maker == maker_tid).and_then(|maker| maker.comm.clone());
        self.new_process(pid, time_ns, maker, comm, None);
    }

    fn new_task(&mut self, seen: &Record<'_>, tid: u32, flags: u64, comm: &[u8]) {
        if flags & CLONE_THREAD != 0 {
            self.new_thread(seen.pid, tid, flags & CLONE_UNTRACED != 0, seen.time_ns);
        } else {
            self.track_child(tid, seen.pid, seen.time_ns);
            self.new_process(tid, seen.time_ns, seen.pid, Some(name(comm)), Some(flags & CLONE_PARENT != 0));
        }
    }

    fn new_thread(&mut self, pid: u32, tid: u32, is_worker: bool, time_ns: u64) {
        if let Some(maker) = self.known(pid, time_ns) {
            maker.ending.is_alive();
            maker.threads.insert(tid);
            maker.workers.extend(Some(tid).filter(|_| is_worker));
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
        let mut parent = (is_sibling == Some(false)).then_some(Since { number: maker_pid, since_ns: time_ns });
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
            _ => entry.is_compat = !self.inputs.users_are_reported,
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
    fn exec(&mut self, seen: &Record<'_>, is_compat: Option<bool>, announced: Option<Vec<u8>>, in_doubt: bool) -> bool {
        let (pid, time_ns, keeps_users) = (seen.pid, seen.time_ns, self.inputs.keeps_users);
        let users_are_reported = self.inputs.users_are_reported;
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
        entry.workers.clear();
        entry.was_threaded = false;
        entry.is_kernel = false;
        entry.exec_ns = Some(time_ns);
        entry.ending.executes();
        entry.status = Reported::default();
        entry.forget_user_if_compat();
        entry.is_compat = is_compat.unwrap_or(true) && !users_are_reported;
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

    /// The exit of the process, if this was its last thread and it is to be shown.
    fn thread_ends(&mut self, seen: &Record<'_>, ppid: Option<u32>, report: Option<&Report>) -> Option<Waiting> {
        let (pid, tid, time_ns) = (seen.pid, seen.tid, seen.time_ns);
        let observed = || self.processes.get(&pid).is_some_and(|entry| entry.ending.was_killed());
        if self.announced.remove(&tid).is_some() && !report.map_or_else(observed, was_killed) {
            self.missed.execs += 1;
        }
        if self.processes.get(&pid).is_some_and(|entry| entry.as_of_ns > time_ns) {
            return None;
        }
        let is_last = report.and_then(|report| report.is_last);
        let mut parent = None;
        if let Some(entry) = self.processes.get_mut(&pid) {
            entry.thread_ended(seen, report);
            let is_one_left = !entry.threads.is_empty();
            self.forget_thread(tid, pid);
            if !is_last.unwrap_or(!is_one_left) {
                return None;
            }
            parent = self.processes.get(&pid).and_then(|entry| entry.parent);
            self.gone = self.remove(pid)?;
            self.gone.forget_user_if_compat();
        } else {
            let (_, mut status) = self.strays.remove(&pid).unwrap_or_default();
            status.is_incomplete();
            // One with a status of 0 may be a worker.
            let role = match report {
                _ if tid == pid => Role::First,
                Some(report) if report.status == 0 => Role::Worker,
                _ => Role::Other,
            };
            status.thread_ended(report, role, time_ns);
            match is_last {
                Some(true) => {}
                Some(false) => {
                    self.strays.insert(pid, (time_ns, status));
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
        let ppid = ppid.or(report.map(|report| report.ppid));
        self.gone.parent = ppid.map(|number| Since { number, since_ns: time_ns }).or(parent);
        if let Some(report) = report {
            self.gone.uid = Some(Since { number: report.uid, since_ns: time_ns });
        }
        let is_shown = self.is_shown(pid, &self.gone, time_ns);
        self.tracked.remove(&pid);
        if !is_shown {
            return None;
        }
        Some(Waiting { pid, tid, time_ns, entry: std::mem::take(&mut self.gone), lacks_who: false })
    }

    /// Unless the number is another one's by now.
    fn forget_thread(&mut self, tid: u32, pid: u32) {
        if self.threads.get(&tid) == Some(&pid) {
            self.threads.remove(&tid);
        }
    }

    fn show_if_complete(&mut self, pid: u32) -> Option<Event<'_>> {
        let is_complete = |exit: &Waiting| !exit.lacks_who && exit.entry.threads.is_empty();
        if !self.waiting.get(&pid).is_some_and(is_complete) {
            return None;
        }
        let exit = self.waiting.remove(&pid)?;
        Some(self.show(exit))
    }

    fn show(&mut self, exit: Waiting) -> Event<'_> {
        let Waiting { pid, tid, time_ns, mut entry, .. } = exit;
        // Of these nothing has come.
        for thread in &entry.threads {
            entry.status.is_incomplete();
            self.forget_thread(*thread, pid);
        }
        let end = if self.inputs.reports {
            entry.status.end(entry.was_threaded, entry.ending.group_code())
        } else {
            entry.ending.end()
        };
        self.gone = entry;
        // What BPF or perf adds is in the entry by now.
        let record = Record { pid, tid, time_ns, who: Who::default(), what: Kind::Leaves };
        Event::Exit(Exit { process: self.gone.describe(&record), end, exec_ns: self.gone.exec_ns })
    }

    /// Whether exits wait.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty() || !self.overdue.is_empty()
    }

    /// An exit that has waited for too long, as it is: another program's BPF can keep away what it waits for.
    pub(super) fn overdue(&mut self, now_ns: u64) -> Option<Event<'_>> {
        let is_young = |time_ns: u64| now_ns.saturating_sub(time_ns) < PATIENCE_NS;
        self.overdue.extend(self.waiting.extract_if(|_, exit| !is_young(exit.time_ns)).map(|(_, exit)| exit));
        // Of threads that were not the last one, where the record comes after their end.
        self.left.retain(|_, (time_ns, _)| is_young(*time_ns));
        // Of processes whose last thread was seen before.
        self.strays.retain(|_, (time_ns, _)| is_young(*time_ns));
        let exit = self.overdue.pop_front()?;
        Some(self.show(exit))
    }

    /// Whether what happens to a process at this time is shown.
    fn is_shown(&self, pid: u32, entry: &Entry, time_ns: u64) -> bool {
        let is_wanted = !self.inputs.only_tracked || self.tracked.contains_key(&pid);
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

    fn thread_ended(&mut self, seen: &Record<'_>, report: Option<&Report>) {
        self.threads.remove(&seen.tid);
        self.ending.thread_ended(seen.tid, seen.time_ns);
        let role = match self.workers.remove(&seen.tid) {
            true => Role::Worker,
            false if seen.tid == seen.pid => Role::First,
            false => Role::Other,
        };
        self.status.thread_ended(report, role, seen.time_ns);
    }

    /// What BPF or perf says of the last thread.
    fn leaves(&mut self, who: Who) {
        self.cgroup_id = who.cgroup_id;
        self.uid = who.uid.map(|number| Since { number, since_ns: 0 }).or(self.uid);
    }

    fn describe(&self, seen: &Record<'_>) -> Process<'_> {
        Process {
            pid: seen.pid,
            ppid: Since::at(self.parent, seen.time_ns),
            uid: seen.who.uid.or(Since::at(self.uid, seen.time_ns)),
            time_ns: seen.time_ns,
            start_ns: self.start_ns,
            cgroup_id: seen.who.cgroup_id.or(self.cgroup_id),
            comm: self.comm.as_deref(),
        }
    }
}

impl Since {
    fn at(known: Option<Self>, time_ns: u64) -> Option<u32> {
        known.filter(|known| known.since_ns <= time_ns).map(|known| known.number)
    }
}

/// `known`: 0 if it is not.
fn is_same_start(known_ns: u64, start_ns: u64) -> bool {
    known_ns == 0 || start_ns.abs_diff(known_ns) < START_PRECISION_NS
}

fn name(comm: &[u8]) -> Vec<u8> {
    comm.iter().copied().take(COMM_SIZE - 1).collect()
}

#[cfg(test)]
mod tests;
