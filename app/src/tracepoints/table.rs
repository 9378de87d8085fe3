//! The processes of the machine, kept up from what tracepoints tell: who is whose parent, which threads a process has,
//! and so when it has ended. What is not known for sure is not told.

use std::collections::{HashMap, HashSet};

use exectrace_bpf::COMM_SIZE;

use super::ending::Ending;
use crate::{
    event::{Args, Event, Exec, Exit, Process},
    proc,
};

const CLONE_PARENT: u64 = 0x8000;
const CLONE_THREAD: u64 = 0x1_0000;

/// What a tracepoint has told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen<'a> {
    /// The process and the thread that ran; for signals, anybody.
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) time_ns: u64,
    pub(super) uid: Option<u32>,
    pub(super) what: What<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What<'a> {
    /// It has made another thread, or another process with this number.
    NewTask {
        tid: u32,
        flags: u64,
        comm: &'a [u8],
    },
    /// A thread has got another name.
    Rename {
        tid: u32,
        comm: &'a [u8],
    },
    Exec {
        file: &'a [u8],
        file_truncated: bool,
        args: Option<(&'a [u8], bool)>,
    },
    /// The thread ends.
    End,
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

#[derive(Debug, Default)]
pub(super) struct Table {
    processes: HashMap<u32, Entry>,
    /// The process of each thread.
    threads: HashMap<u32, u32>,
    /// Processes whose parent is to be looked up.
    orphans: Vec<u32>,
    /// Events from before are not told: what they rest on may be missing.
    begin_ns: u64,
    /// --pid: only processes that are marked.
    only_tracked: bool,
    /// The last process that ended, whose name an event borrows.
    ended: Entry,
}

#[derive(Debug, Default)]
struct Entry {
    /// What is older is known already.
    as_of_ns: u64,
    threads: HashSet<u32>,
    /// It had more than one, since it began or last executed a program.
    was_threaded: bool,
    parent: Option<Parent>,
    comm: Vec<u8>,
    /// A thread of the kernel's, or what it has started and has executed nothing.
    is_kernel: bool,
    exec_ns: Option<u64>,
    ending: Ending,
    is_tracked: bool,
}

#[derive(Debug, Clone, Copy)]
struct Parent {
    pid: u32,
    /// It is the parent since then at the latest, and until it ends.
    since_ns: u64,
}

impl Table {
    pub(super) fn new(only_tracked: bool) -> Self {
        Self { only_tracked, ..Self::default() }
    }

    /// Begins with what /proc shows. Whoever calls has made sure that everything is seen which happens from before on.
    pub(super) fn fill(&mut self, snapshot: Vec<proc::Process>, begin_ns: u64) {
        let tracked: HashSet<u32> = self.tracked().collect();
        *self = Self { begin_ns, only_tracked: self.only_tracked, ..Self::default() };
        for process in snapshot {
            for &tid in &process.threads {
                self.threads.insert(tid, process.pid);
            }
            let entry = Entry {
                as_of_ns: process.as_of_ns,
                was_threaded: process.threads.len() > 1,
                threads: process.threads.into_iter().collect(),
                parent: Some(Parent { pid: process.ppid, since_ns: process.as_of_ns }),
                comm: process.comm,
                is_kernel: process.is_kernel,
                is_tracked: tracked.contains(&process.pid),
                ..Entry::default()
            };
            self.processes.insert(process.pid, entry);
        }
        // A process that was forked while we looked away.
        self.track_descendants();
    }

    fn tracked(&self) -> impl Iterator<Item = u32> {
        self.processes.iter().filter(|(_, entry)| entry.is_tracked).map(|(&pid, _)| pid)
    }

    /// --pid: marks these and their descendants.
    pub(super) fn track(&mut self, pids: &[u32]) {
        for pid in pids {
            if let Some(entry) = self.processes.get_mut(pid) {
                entry.is_tracked = true;
            }
        }
        self.track_descendants();
    }

    fn track_descendants(&mut self) {
        let known: HashSet<u32> = self.tracked().collect();
        let parents: Vec<(u32, u32)> =
            self.processes.iter().filter_map(|(&pid, entry)| Some((pid, entry.parent?.pid))).collect();
        for pid in proc::descendants(&parents, &known) {
            if let Some(entry) = self.processes.get_mut(&pid) {
                entry.is_tracked = true;
            }
        }
    }

    /// Asks for the parents that are not known; `look_up` gives a parent and a moment from before it was asked for.
    pub(super) fn resolve(&mut self, look_up: impl Fn(u32) -> Option<(u32, u64)>) {
        let orphans = std::mem::take(&mut self.orphans);
        for pid in orphans {
            let Some((parent, since_ns)) = look_up(pid) else { continue };
            let is_there = parent == 0 || self.processes.contains_key(&parent);
            match self.processes.get_mut(&pid) {
                Some(entry) if is_there => entry.parent = Some(Parent { pid: parent, since_ns }),
                // The old parent still, whose end we have seen before the kernel was done with it.
                Some(_) => self.orphans.push(pid),
                None => {}
            }
        }
    }

    /// Takes in what was seen, in the order of time, and tells what that means to the user, if anything.
    pub(super) fn see<'s>(&'s mut self, seen: &Seen<'s>) -> Option<Event<'s>> {
        let time_ns = seen.time_ns;
        match seen.what {
            What::NewTask { tid, flags, comm } => {
                self.new_task(seen, tid, flags, comm);
                None
            }
            What::Rename { tid, comm } => {
                // The process has the name of its first thread.
                if let Some(entry) = self.known(tid, time_ns) {
                    entry.comm = name(comm);
                }
                None
            }
            What::Exec { file, file_truncated, args } => self.exec(seen, file, file_truncated, args),
            What::End => self.thread_ends(seen),
            What::ExitGroup(code) => {
                self.known(seen.pid, time_ns)?.ending.exit_group(code, time_ns);
                None
            }
            What::ExitThread(code) => {
                let entry = self.known(seen.pid, time_ns)?;
                let alone = !entry.was_threaded;
                entry.ending.exit_thread(code, time_ns, alone);
                None
            }
            What::SignalSent { tid, signal } => {
                let pid = *self.threads.get(&tid)?;
                self.known(pid, time_ns)?.ending.signal_sent(signal, time_ns);
                None
            }
            What::SignalTaken { signal, has_handler } => {
                self.known(seen.pid, time_ns)?.ending.signal_taken(signal, has_handler);
                None
            }
        }
    }

    /// A process, unless what was seen is older than what we know of it.
    fn known(&mut self, pid: u32, time_ns: u64) -> Option<&mut Entry> {
        self.processes.get_mut(&pid).filter(|entry| entry.as_of_ns <= time_ns)
    }

    fn new_task(&mut self, seen: &Seen<'_>, tid: u32, flags: u64, comm: &[u8]) {
        let is_thread = flags & CLONE_THREAD != 0;
        let Some(maker) = self.known(seen.pid, seen.time_ns) else { return };
        maker.ending.is_alive();
        if is_thread {
            maker.threads.insert(tid);
            maker.was_threaded = true;
            self.threads.insert(tid, seen.pid);
            return;
        }
        let own = Parent { pid: seen.pid, since_ns: seen.time_ns };
        let entry = Entry {
            as_of_ns: seen.time_ns,
            threads: HashSet::from([tid]),
            parent: if flags & CLONE_PARENT == 0 { Some(own) } else { maker.parent },
            // That of the thread that made it.
            comm: name(comm),
            is_kernel: maker.is_kernel,
            is_tracked: maker.is_tracked,
            ..Entry::default()
        };
        // From /proc, later than this.
        if self.processes.get(&tid).is_some_and(|entry| entry.as_of_ns > seen.time_ns) {
            return;
        }
        if entry.parent.is_none() {
            self.orphans.push(tid);
        }
        self.threads.insert(tid, tid);
        self.processes.insert(tid, entry);
    }

    fn exec<'s>(
        &'s mut self,
        seen: &Seen<'s>,
        file: &'s [u8],
        file_truncated: bool,
        args: Option<(&'s [u8], bool)>,
    ) -> Option<Event<'s>> {
        let pid = seen.pid;
        let entry = self.processes.get_mut(&pid).filter(|entry| entry.as_of_ns <= seen.time_ns)?;
        // The other threads are gone, and this one has the number of the first.
        let gone: Vec<u32> = entry.threads.drain().filter(|tid| *tid != pid).collect();
        entry.threads.insert(pid);
        entry.was_threaded = false;
        entry.is_kernel = false;
        entry.exec_ns = Some(seen.time_ns);
        entry.ending.is_alive();
        for tid in gone {
            self.threads.remove(&tid);
        }
        self.threads.insert(pid, pid);
        let entry = self.processes.get(&pid)?;
        if seen.time_ns < self.begin_ns || (self.only_tracked && !entry.is_tracked) {
            return None;
        }
        Some(Event::Exec(Exec {
            process: entry.describe(seen),
            file,
            file_truncated,
            args: args.map(|(args, _)| Args::new(args)),
            args_truncated: args.map(|(_, truncated)| truncated),
        }))
    }

    fn thread_ends<'s>(&'s mut self, seen: &Seen<'s>) -> Option<Event<'s>> {
        let pid = seen.pid;
        let entry = self.processes.get_mut(&pid).filter(|entry| entry.as_of_ns <= seen.time_ns)?;
        entry.threads.remove(&seen.tid);
        if self.threads.get(&seen.tid) == Some(&pid) {
            self.threads.remove(&seen.tid);
        }
        if !entry.threads.is_empty() {
            return None;
        }
        self.ended = self.processes.remove(&pid)?;
        for (&child, entry) in &mut self.processes {
            if entry.parent.is_some_and(|parent| parent.pid == pid) {
                entry.parent = None;
                self.orphans.push(child);
            }
        }
        let entry = &self.ended;
        if seen.time_ns < self.begin_ns || entry.is_kernel || (self.only_tracked && !entry.is_tracked) {
            return None;
        }
        Some(Event::Exit(Exit { process: entry.describe(seen), end: entry.ending.end(), exec_ns: entry.exec_ns }))
    }
}

impl Entry {
    fn describe(&self, seen: &Seen<'_>) -> Process<'_> {
        Process {
            pid: seen.pid,
            ppid: self.parent.filter(|parent| parent.since_ns <= seen.time_ns).map(|parent| parent.pid),
            uid: seen.uid,
            time_ns: seen.time_ns,
            comm: &self.comm,
        }
    }
}

fn name(comm: &[u8]) -> Vec<u8> {
    comm.iter().copied().take(COMM_SIZE - 1).collect()
}
