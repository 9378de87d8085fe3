//! Which events are shown: --comm, --uid and --no-exits. (--pid is the kernel's part: see follow.rs.)

use std::{collections::HashMap, os::unix::ffi::OsStrExt as _};

use exectrace_bpf::COMM_SIZE;

use crate::{
    cli::Cli,
    event::{Event, Exec, Exit, Process},
};

#[derive(Debug, Default)]
pub(crate) struct Filter {
    comms: Vec<Vec<u8>>,
    uids: Vec<u32>,
    no_exits: bool,
    /// The last exec of each living process, and whether it was shown: its exit follows it.
    execs: HashMap<u32, LastExec>,
}

#[derive(Debug)]
struct LastExec {
    time_ns: u64,
    shown: bool,
}

impl Filter {
    pub(crate) fn new(cli: &Cli) -> Self {
        Self {
            // As the kernel cuts names, so does the filter: a whole long name finds its process.
            comms: cli.comm.iter().map(|comm| comm.as_bytes().iter().copied().take(COMM_SIZE - 1).collect()).collect(),
            uids: cli.uid.clone(),
            no_exits: cli.no_exits,
            execs: HashMap::new(),
        }
    }

    /// Whether this event is to be shown. Every event has to pass here, in order.
    pub(crate) fn admits(&mut self, event: &Event<'_>) -> bool {
        match event {
            Event::Exec(exec) => self.admits_exec(exec),
            Event::Exit(exit) => self.admits_exit(exit),
        }
    }

    fn admits_exec(&mut self, exec: &Exec<'_>) -> bool {
        let shown = self.matches(&exec.process);
        if !self.matches_all() && !self.no_exits {
            self.execs.insert(exec.process.pid, LastExec { time_ns: exec.process.time_ns, shown });
        }
        shown
    }

    fn admits_exit(&mut self, exit: &Exit<'_>) -> bool {
        if self.no_exits {
            return false;
        }
        let last = self.execs.remove(&exit.process.pid);
        match (last, exit.exec_ns) {
            // Another time means that this process's own exec was lost, and that here is a former one with its number.
            (Some(last), Some(exec_ns)) if last.time_ns == exec_ns => last.shown,
            _ => self.matches(&exit.process),
        }
    }

    /// Whether it leaves anything out but exits.
    pub(crate) fn is_selective(&self) -> bool {
        !self.matches_all()
    }

    fn matches_all(&self) -> bool {
        self.comms.is_empty() && self.uids.is_empty()
    }

    fn matches(&self, process: &Process<'_>) -> bool {
        // What is not known may be right.
        (self.comms.is_empty() || process.comm.is_none_or(|comm| self.comms.iter().any(|other| other == comm)))
            && (self.uids.is_empty() || process.uid.is_none_or(|uid| self.uids.contains(&uid)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::event::{Args, End};

    fn filter(arguments: &[&str]) -> Filter {
        Filter::new(&Cli::try_parse_from([&["exectrace"], arguments].concat()).unwrap())
    }

    fn process(pid: u32, uid: u32, comm: &str, time_ns: u64) -> Process<'_> {
        Process { pid, ppid: Some(1), uid: Some(uid), time_ns, start_ns: Some(1), comm: Some(comm.as_bytes()) }
    }

    fn exec(pid: u32, uid: u32, comm: &str, time_ns: u64) -> Event<'_> {
        let process = process(pid, uid, comm, time_ns);
        let args = Some(Args::new(b""));
        Event::Exec(Exec { process, file: b"/x", file_truncated: false, args, args_truncated: Some(false) })
    }

    fn exit(pid: u32, uid: u32, comm: &str, exec_ns: Option<u64>) -> Event<'_> {
        Event::Exit(Exit { process: process(pid, uid, comm, 99), end: Some(End::Code(0)), exec_ns })
    }

    #[test]
    fn without_options_all_is_shown() {
        let mut filter = filter(&[]);
        assert!(filter.admits(&exec(5, 0, "a", 1)));
        assert!(filter.admits(&exit(5, 0, "a", Some(1))));
        assert!(filter.admits(&exit(6, 0, "a", None)));
        assert!(filter.execs.is_empty());
    }

    #[test]
    fn no_exits_hides_exits_only() {
        let mut filter = filter(&["--no-exits", "--comm", "a"]);
        assert!(filter.admits(&exec(5, 0, "a", 1)));
        assert!(!filter.admits(&exec(5, 0, "b", 1)));
        assert!(!filter.admits(&exit(5, 0, "a", Some(1))));
        assert!(filter.execs.is_empty());
    }

    #[test]
    fn name_and_user_both_have_to_match() {
        let mut filter = filter(&["--comm", "a", "--comm", "b", "--uid", "7"]);
        assert!(filter.admits(&exec(5, 7, "a", 1)));
        assert!(filter.admits(&exec(5, 7, "b", 1)));
        assert!(!filter.admits(&exec(5, 7, "c", 1)));
        assert!(!filter.admits(&exec(5, 8, "a", 1)));
    }

    #[test]
    fn a_user_that_is_not_known_is_not_hidden() {
        let unknown = Process { uid: None, ..process(5, 0, "a", 1) };
        let args = Some(Args::new(b""));
        let exec = Exec { process: unknown, file: b"/x", file_truncated: false, args, args_truncated: Some(false) };
        assert!(filter(&["--uid", "7"]).admits(&Event::Exec(exec)));
    }

    #[test]
    fn a_long_name_finds_what_the_kernel_left_of_it() {
        assert!(filter(&["--comm", "systemd-journald"]).admits(&exec(5, 0, "systemd-journal", 1)));
    }

    #[test]
    fn an_exit_follows_its_exec_whatever_has_become_of_the_process() {
        let mut filter = filter(&["--comm", "a", "--uid", "0"]);
        filter.admits(&exec(5, 0, "a", 1));
        filter.admits(&exec(6, 0, "b", 2));
        assert!(filter.admits(&exit(5, 33, "worker", Some(1))));
        assert!(!filter.admits(&exit(6, 0, "a", Some(2))));
        assert!(filter.execs.is_empty());
    }

    #[test]
    fn the_last_exec_counts() {
        let mut filter = filter(&["--comm", "a"]);
        filter.admits(&exec(5, 0, "a", 1));
        filter.admits(&exec(5, 0, "b", 2));
        assert!(!filter.admits(&exit(5, 0, "b", Some(2))));
    }

    #[test]
    fn an_exit_whose_exec_was_not_seen_stands_for_itself() {
        let mut filter = filter(&["--comm", "a"]);
        assert!(filter.admits(&exit(5, 0, "a", None)));
        assert!(!filter.admits(&exit(5, 0, "b", None)));
        // The exec of one process 5 was seen, but not its exit, nor the exec of the next process 5.
        filter.admits(&exec(5, 0, "a", 1));
        assert!(!filter.admits(&exit(5, 0, "b", Some(2))));
        filter.admits(&exec(5, 0, "a", 3));
        assert!(!filter.admits(&exit(5, 0, "b", None)));
    }
}
