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
    /// If BPF has told it.
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
    /// Whether the program is one of 32 bits on a kernel of 64 is not known if its stack is not.
    Exec {
        file: &'a [u8],
        file_truncated: bool,
        args: Option<(&'a [u8], bool)>,
        is_compat: Option<bool>,
    },
    /// The thread has changed its user.
    UserChanged,
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
    /// Processes whose parent, and whose user is to be looked up.
    orphans: Vec<u32>,
    strangers: Vec<u32>,
    /// Changes of users are seen, and nobody else tells users.
    keeps_users: bool,
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
    parent: Option<Known>,
    /// The user.
    uid: Option<Known>,
    /// It may change its user without being seen.
    is_compat: bool,
    comm: Vec<u8>,
    /// A thread of the kernel's, or what it has started and has executed nothing.
    is_kernel: bool,
    exec_ns: Option<u64>,
    ending: Ending,
    is_tracked: bool,
}

/// A number that is right since then at the latest, and until something is seen that changes it.
#[derive(Debug, Clone, Copy)]
struct Known {
    number: u32,
    since_ns: u64,
}

impl Table {
    pub(super) fn new(only_tracked: bool, keeps_users: bool) -> Self {
        Self { only_tracked, keeps_users, ..Self::default() }
    }

    /// Begins with what /proc shows. Whoever calls has made sure that everything is seen which happens from before on.
    pub(super) fn fill(&mut self, snapshot: Vec<proc::Process>, begin_ns: u64) {
        let tracked: HashSet<u32> = self.tracked().collect();
        *self = Self { begin_ns, ..Self::new(self.only_tracked, self.keeps_users) };
        for process in snapshot {
            for &tid in &process.threads {
                self.threads.insert(tid, process.pid);
            }
            let entry = Entry {
                as_of_ns: process.as_of_ns,
                // Perhaps the first one has ended.
                was_threaded: process.threads != [process.pid],
                threads: process.threads.into_iter().collect(),
                parent: Some(Known { number: process.ppid, since_ns: process.as_of_ns }),
                uid: self.user(process.uid.filter(|_| !process.is_32_bit), process.as_of_ns),
                is_compat: process.is_32_bit,
                comm: process.comm,
                is_kernel: process.is_kernel,
                is_tracked: tracked.contains(&process.pid),
                ..Entry::default()
            };
            self.processes.insert(process.pid, entry);
        }
        // One that has ended since its child was looked at.
        let parents: HashSet<u32> = self.processes.keys().copied().chain([0]).collect();
        for (&pid, entry) in &mut self.processes {
            if entry.parent.is_some_and(|parent| !parents.contains(&parent.number)) {
                entry.parent = None;
                self.orphans.push(pid);
            }
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
            self.processes.iter().filter_map(|(&pid, entry)| Some((pid, entry.parent?.number))).collect();
        for pid in proc::descendants(&parents, &known) {
            if let Some(entry) = self.processes.get_mut(&pid) {
                entry.is_tracked = true;
            }
        }
    }

    /// What is not known is looked up, with a moment from after it was found.
    pub(super) fn resolve(
        &mut self,
        parent_of: impl Fn(u32) -> Option<(u32, u64)>,
        user_of: impl Fn(u32) -> Option<(u32, u64)>,
    ) {
        for pid in std::mem::take(&mut self.orphans) {
            let Some((number, since_ns)) = parent_of(pid) else { continue };
            let is_there = number == 0 || self.processes.contains_key(&number);
            match self.processes.get_mut(&pid) {
                Some(entry) if is_there => entry.parent = Some(Known { number, since_ns }),
                // The old parent still, whose end we have seen before the kernel was done with it.
                Some(_) => self.orphans.push(pid),
                None => {}
            }
        }
        for pid in std::mem::take(&mut self.strangers) {
            // Each thread has a user of its own, and /proc shows that of the first.
            if let Some(entry) = self.processes.get_mut(&pid).filter(|entry| !entry.was_threaded && !entry.is_compat)
                && let Some((number, since_ns)) = user_of(pid)
            {
                entry.uid = Some(Known { number, since_ns });
            }
        }
    }

    /// A user, if users are to be known.
    fn user(&self, uid: Option<u32>, since_ns: u64) -> Option<Known> {
        uid.filter(|_| self.keeps_users).map(|number| Known { number, since_ns })
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
            What::Exec { file, file_truncated, args, is_compat } => {
                self.exec(seen, is_compat)?;
                let (args, args_truncated) = args.unzip();
                let args = args.map(Args::new);
                let entry = self.processes.get(&seen.pid).filter(|entry| self.is_told(entry, time_ns))?;
                Some(Event::Exec(Exec { process: entry.describe(seen), file, file_truncated, args, args_truncated }))
            }
            What::UserChanged => {
                let entry = self.known(seen.pid, time_ns)?;
                entry.uid = None;
                self.strangers.push(seen.pid);
                None
            }
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
                // Of a process whose first thread has ended, that one is named all the same.
                let pid = self.threads.get(&tid).copied().unwrap_or(tid);
                self.known(pid, time_ns)?.ending.signal_sent(signal, time_ns);
                None
            }
            What::SignalTaken { signal, has_handler } => {
                self.known(seen.pid, time_ns)?.ending.signal_taken(seen.tid, signal, has_handler, time_ns);
                None
            }
        }
    }

    /// A process, unless what was seen is older than what we know of it.
    fn known(&mut self, pid: u32, time_ns: u64) -> Option<&mut Entry> {
        self.processes.get_mut(&pid).filter(|entry| entry.as_of_ns <= time_ns)
    }

    fn new_task(&mut self, seen: &Seen<'_>, tid: u32, flags: u64, comm: &[u8]) {
        let (pid, time_ns) = (seen.pid, seen.time_ns);
        if flags & CLONE_THREAD != 0 {
            if let Some(maker) = self.known(pid, time_ns) {
                maker.ending.is_alive();
                maker.threads.insert(tid);
                maker.was_threaded = true;
                self.threads.insert(tid, pid);
            }
            return;
        }
        // From /proc, later than this.
        if self.processes.get(&tid).is_some_and(|entry| entry.as_of_ns > time_ns) {
            return;
        }
        let mut entry =
            Entry { as_of_ns: time_ns, threads: HashSet::from([tid]), comm: name(comm), ..Entry::default() };
        let maker = self.processes.get_mut(&pid);
        if let Some(maker) = &maker {
            entry.is_kernel = maker.is_kernel;
            entry.is_tracked = maker.is_tracked;
            if flags & CLONE_PARENT == 0 {
                entry.parent = Some(Known { number: pid, since_ns: time_ns });
            }
        }
        match maker {
            Some(maker) if maker.as_of_ns <= time_ns => {
                maker.ending.is_alive();
                entry.is_compat = maker.is_compat;
                entry.uid = maker.uid.filter(|_| !maker.is_compat);
                if flags & CLONE_PARENT != 0 {
                    entry.parent = maker.parent;
                }
            }
            // It was looked at later, or not at all: what it was at this moment is not known.
            _ => entry.is_compat = true,
        }
        if entry.parent.is_none() {
            self.orphans.push(tid);
        }
        self.threads.insert(tid, tid);
        self.processes.insert(tid, entry);
    }

    /// None if what is known of the process is newer, or nothing.
    fn exec(&mut self, seen: &Seen<'_>, is_compat: Option<bool>) -> Option<()> {
        let (pid, keeps_users) = (seen.pid, self.keeps_users);
        let entry = self.known(pid, seen.time_ns)?;
        // The other threads are gone, and this one has the number of the first.
        let gone: Vec<u32> = entry.threads.drain().filter(|tid| *tid != pid).collect();
        entry.threads.insert(pid);
        entry.was_threaded = false;
        entry.is_kernel = false;
        entry.exec_ns = Some(seen.time_ns);
        entry.ending.executes();
        entry.forget_user_if_compat();
        entry.is_compat = is_compat.unwrap_or(true);
        let is_stranger = keeps_users && entry.uid.is_none();
        for tid in gone {
            self.threads.remove(&tid);
        }
        self.threads.insert(pid, pid);
        if is_stranger {
            self.strangers.push(pid);
        }
        Some(())
    }

    fn thread_ends<'s>(&'s mut self, seen: &Seen<'s>) -> Option<Event<'s>> {
        let pid = seen.pid;
        let entry = self.known(pid, seen.time_ns)?;
        entry.threads.remove(&seen.tid);
        entry.ending.thread_ended(seen.tid, seen.time_ns);
        let is_last = entry.threads.is_empty();
        if self.threads.get(&seen.tid) == Some(&pid) {
            self.threads.remove(&seen.tid);
        }
        if !is_last {
            return None;
        }
        self.ended = self.processes.remove(&pid)?;
        self.ended.forget_user_if_compat();
        for (&child, entry) in &mut self.processes {
            if entry.parent.is_some_and(|parent| parent.number == pid) {
                entry.parent = None;
                self.orphans.push(child);
            }
        }
        let entry = &self.ended;
        if !self.is_told(entry, seen.time_ns) {
            return None;
        }
        Some(Event::Exit(Exit { process: entry.describe(seen), end: entry.ending.end(), exec_ns: entry.exec_ns }))
    }

    /// Whether the user is told what happens to a process at this time.
    fn is_told(&self, entry: &Entry, time_ns: u64) -> bool {
        time_ns >= self.begin_ns && !entry.is_kernel && (entry.is_tracked || !self.only_tracked)
    }
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
            comm: &self.comm,
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
            as_of_ns: BEGIN - 10,
        }
    }

    /// init, the kernel's first thread, a shell, and a process of the shell's with two threads.
    fn table() -> Table {
        let mut table = Table::new(false, false);
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

    const EXEC: What<'static> =
        What::Exec { file: b"/bin/x", file_truncated: false, args: Some((b"x\0", false)), is_compat: Some(false) };
    const EXEC_32: What<'static> =
        What::Exec { file: b"/bin/x", file_truncated: false, args: Some((b"x\0", false)), is_compat: Some(true) };

    /// What is told in short: of an exec the file, of an exit the end.
    fn told(table: &mut Table, seen: Seen<'_>) -> Option<String> {
        let event = table.see(&seen)?;
        let process = event.process();
        let ppid = process.ppid.map_or("-".into(), |ppid| ppid.to_string());
        let who = format!("{} of {ppid} {}", process.pid, String::from_utf8_lossy(process.comm));
        Some(match &event {
            Event::Exec(exec) => format!("{who} runs {}", String::from_utf8_lossy(exec.file)),
            Event::Exit(exit) => format!("{who} ends {:?} {:?}", exit.end, exit.exec_ns),
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
        assert_silent(&mut table, seen(30, 30, 120, What::Rename { tid: 30, comm: b"x" }));
        assert_told(&mut table, seen(30, 30, 121, EXEC), "30 of 10 x runs /bin/x");
        assert_silent(&mut table, seen(30, 30, 130, What::ExitGroup(3)));
        assert_told(&mut table, seen(30, 30, 131, What::End), "30 of 10 x ends Some(Code(3)) Some(121)");
        assert_silent(&mut table, seen(30, 30, 140, What::End));
    }

    #[test]
    fn a_child_that_only_forked_has_the_name_of_the_thread_that_made_it() {
        let mut table = table();
        assert_silent(&mut table, seen(20, 21, 110, What::NewTask { tid: 30, flags: 0, comm: b"worker" }));
        assert_told(&mut table, seen(30, 30, 120, What::End), "30 of 20 worker ends None None");
    }

    #[test]
    fn a_process_ends_with_its_last_thread_and_has_the_name_of_its_first() {
        let mut table = table();
        assert_silent(&mut table, seen(20, 20, 110, What::NewTask { tid: 22, flags: CLONE_THREAD, comm: b"t" }));
        assert_silent(&mut table, seen(20, 21, 111, What::Rename { tid: 21, comm: b"other" }));
        assert_silent(&mut table, seen(20, 20, 112, What::ExitGroup(4)));
        assert_silent(&mut table, seen(20, 20, 113, What::End));
        assert_silent(&mut table, seen(20, 22, 114, What::End));
        assert_told(&mut table, seen(20, 21, 115, What::End), "20 of 10 p20 ends Some(Code(4)) None");
    }

    #[test]
    fn an_exec_leaves_one_thread_with_the_number_of_the_first() {
        let mut table = table();
        // The other thread executes: the first one ends, and leaves it its number.
        assert_silent(&mut table, seen(20, 20, 110, What::End));
        assert_told(&mut table, seen(20, 20, 111, EXEC), "20 of 10 p20 runs /bin/x");
        assert_silent(&mut table, seen(20, 20, 112, What::ExitThread(5)));
        assert_told(&mut table, seen(20, 20, 113, What::End), "20 of 10 p20 ends Some(Code(5)) Some(111)");
    }

    #[test]
    fn the_code_of_a_thread_is_not_that_of_a_process_with_several() {
        let mut table = table();
        assert_silent(&mut table, seen(20, 20, 110, What::ExitThread(5)));
        assert_silent(&mut table, seen(20, 20, 111, What::End));
        assert_silent(&mut table, seen(20, 21, 112, What::ExitThread(6)));
        assert_told(&mut table, seen(20, 21, 113, What::End), "20 of 10 p20 ends None None");
    }

    #[test]
    fn a_signal_finds_its_process_by_any_thread() {
        let mut table = table();
        assert_silent(&mut table, seen(10, 10, 110, What::SignalSent { tid: 21, signal: libc::SIGTERM as u8 }));
        for tid in [20, 21] {
            let taken = What::SignalTaken { signal: libc::SIGKILL as u8, has_handler: false };
            assert_silent(&mut table, seen(20, tid, 111, taken));
        }
        assert_silent(&mut table, seen(20, 20, 112, What::End));
        let end = End::Signal { number: libc::SIGTERM as u8, core_dumped: Some(false) };
        assert_told(&mut table, seen(20, 21, 113, What::End), &format!("20 of 10 p20 ends {:?} None", Some(end)));
    }

    #[test]
    fn after_the_end_of_a_parent_the_new_one_is_known_only_from_when_it_was_looked_up() {
        let mut table = table();
        assert_silent(&mut table, seen(10, 10, 110, fork(30)));
        assert_told(&mut table, seen(10, 10, 120, What::End), "10 of 1 p10 ends None None");
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
        assert_silent(&mut table, seen(30, 30, 120, What::End));
        assert_silent(&mut table, seen(2, 2, 130, fork(31)));
        assert_told(&mut table, seen(31, 31, 140, EXEC), "31 of 2 fork runs /bin/x");
    }

    #[test]
    fn what_is_older_than_what_proc_has_shown_changes_nothing_and_is_not_told() {
        let mut table = table();
        // From before 20 was looked at, and so about another one of that number.
        assert_silent(&mut table, seen(20, 20, 50, What::End));
        assert_silent(&mut table, seen(20, 20, 51, What::Rename { tid: 20, comm: b"old" }));
        assert_silent(&mut table, seen(10, 10, 52, fork(20)));
        // From after that, but before all had been looked at.
        assert_silent(&mut table, seen(20, 20, 95, EXEC));
        assert_told(&mut table, seen(20, 20, 110, What::End), "20 of 10 p20 ends None Some(95)");
    }

    #[test]
    fn only_a_process_and_its_descendants_are_told_if_asked_for() {
        let mut table = Table { only_tracked: true, ..table() };
        table.track(&[10]);
        assert_silent(&mut table, seen(1, 1, 110, fork(30)));
        assert_silent(&mut table, seen(30, 30, 111, EXEC));
        assert_silent(&mut table, seen(20, 20, 112, fork(31)));
        assert_told(&mut table, seen(31, 31, 113, EXEC), "31 of 20 fork runs /bin/x");
        // After a loss too, those that are still there.
        table.fill(vec![process(1, 0, &[1]), process(20, 10, &[20]), process(32, 20, &[32])], 200);
        assert_told(&mut table, seen(20, 20, 210, EXEC), "20 of - p20 runs /bin/x");
        assert_told(&mut table, seen(32, 32, 211, EXEC), "32 of 20 p32 runs /bin/x");
        assert_silent(&mut table, seen(1, 1, 212, EXEC));
    }

    /// The user of the next event, where BPF does not tell it.
    fn user_of(table: &mut Table, pid: u32, time_ns: u64, what: What<'_>) -> Option<u32> {
        table.see(&Seen { uid: None, ..seen(pid, pid, time_ns, what) }).unwrap().process().uid
    }

    fn table_of_users() -> Table {
        let mut table = Table::new(false, true);
        table.fill(vec![process(1, 0, &[1]), process(10, 1, &[10]), process(20, 1, &[20, 21])], BEGIN);
        table
    }

    #[test]
    fn users_are_those_of_parents_until_they_are_changed() {
        let mut table = table_of_users();
        assert_silent(&mut table, seen(10, 10, 110, fork(30)));
        assert_eq!(user_of(&mut table, 30, 111, EXEC), Some(500));
        assert_silent(&mut table, seen(30, 30, 120, What::UserChanged));
        assert_eq!(user_of(&mut table, 30, 121, EXEC), None);
        table.resolve(|_| None, |pid| (pid == 30).then_some((600, 130)));
        assert_eq!(user_of(&mut table, 30, 125, EXEC), None);
        assert_eq!(user_of(&mut table, 30, 135, EXEC), Some(600));
        assert_silent(&mut table, seen(30, 30, 136, fork(31)));
        assert_eq!(user_of(&mut table, 31, 137, What::End), Some(600));
    }

    #[test]
    fn threads_with_users_of_their_own_leave_a_process_none_until_it_executes() {
        let mut table = table_of_users();
        assert_silent(&mut table, seen(20, 21, 110, What::UserChanged));
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
        assert_eq!(user_of(&mut table, 31, 113, What::End), None);
        table.resolve(|_| None, |_| Some((600, 120)));
        assert_eq!(user_of(&mut table, 30, 130, What::End), None);
    }

    #[test]
    fn where_changes_are_not_seen_no_user_is_told() {
        let mut table = table();
        assert_eq!(user_of(&mut table, 10, 110, EXEC), None);
        table.resolve(|_| None, |_| Some((600, 120)));
        assert_eq!(user_of(&mut table, 10, 130, EXEC), None);
    }

    #[test]
    fn a_process_that_was_forked_while_proc_was_read_is_known_nonetheless() {
        let mut table = table();
        // Its maker was read after that, the list of processes before; or the maker is gone.
        assert_silent(&mut table, seen(10, 10, 50, fork(30)));
        assert_told(&mut table, seen(30, 30, 110, EXEC), "30 of 10 fork runs /bin/x");
        assert_silent(&mut table, seen(9, 9, 51, fork(31)));
        assert_told(&mut table, seen(31, 31, 111, EXEC), "31 of - fork runs /bin/x");
        table.resolve(|pid| (pid == 31).then_some((1, 120)), |_| None);
        assert_told(&mut table, seen(31, 31, 130, EXEC), "31 of 1 fork runs /bin/x");
    }

    #[test]
    fn a_parent_that_was_not_there_any_more_is_looked_up() {
        let mut table = Table::new(false, false);
        table.fill(vec![process(1, 0, &[1]), process(30, 10, &[30])], BEGIN);
        assert_told(&mut table, seen(30, 30, 110, EXEC), "30 of - p30 runs /bin/x");
        table.resolve(|_| Some((1, 120)), |_| None);
        assert_told(&mut table, seen(30, 30, 130, EXEC), "30 of 1 p30 runs /bin/x");
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_had_several() {
        let mut table = Table::new(false, false);
        table.fill(vec![process(1, 0, &[1]), process(20, 1, &[21])], BEGIN);
        // kill() names the first thread.
        assert_silent(&mut table, seen(1, 1, 109, What::SignalSent { tid: 20, signal: libc::SIGTERM as u8 }));
        assert_silent(&mut table, seen(20, 21, 110, What::ExitThread(6)));
        assert_told(&mut table, seen(20, 21, 111, What::End), "20 of 1 p20 ends None None");
    }
}
