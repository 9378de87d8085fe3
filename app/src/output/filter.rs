//! Which events are shown, by what is in them. (--pid is the kernel's part: see descendants.rs.)

use std::{collections::HashMap, os::unix::ffi::OsStrExt as _};

use exectrace_bpf::COMM_SIZE;
use regex_lite::Regex;

use crate::{
    cli::Cli,
    event::{Event, Exec, Exit, Process},
};

#[derive(Debug, Default)]
pub(crate) struct Filter {
    comms: Vec<Vec<u8>>,
    uids: Vec<u32>,
    ppids: Vec<u32>,
    pattern: Option<Regex>,
    /// Only exits after at least so many nanoseconds.
    least_ns: Option<u64>,
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
            ppids: cli.ppid.clone(),
            pattern: cli.pattern.clone(),
            least_ns: cli.min_duration.map(|least| u64::try_from(least.as_nanos()).unwrap_or(u64::MAX)),
            no_exits: cli.no_exits,
            execs: HashMap::new(),
        }
    }

    /// Whether this event is to be shown. Every event has to pass here, in order.
    pub(crate) fn admits(&mut self, event: &Event<'_>) -> bool {
        match event {
            Event::Exec(exec) => self.admits_exec(exec),
            Event::Exit(exit) => self.admits_exit(exit),
            Event::Failed(failed) => {
                let file = String::from_utf8_lossy(failed.file);
                self.least_ns.is_none()
                    && self.matches(&failed.process)
                    && self.pattern.as_ref().is_none_or(|regex| regex.is_match(&file))
            }
        }
    }

    fn admits_exec(&mut self, exec: &Exec<'_>) -> bool {
        let shown = self.matches(&exec.process) && self.pattern.as_ref().is_none_or(|regex| finds(regex, exec));
        if !self.matches_all() && !self.no_exits {
            self.execs.insert(exec.process.pid, LastExec { time_ns: exec.process.time_ns, shown });
        }
        shown && self.least_ns.is_none()
    }

    fn admits_exit(&mut self, exit: &Exit<'_>) -> bool {
        if self.no_exits {
            return false;
        }
        let last = self.execs.remove(&exit.process.pid);
        if self.least_ns.is_some_and(|least_ns| exit.since_exec_ns().is_none_or(|ns| ns < least_ns)) {
            return false;
        }
        match (last, exit.exec_ns) {
            // Another time means that this process's own exec was lost, and that here is a former one with its number.
            (Some(last), Some(exec_ns)) if last.time_ns == exec_ns => last.shown,
            // What it has executed is not known.
            _ => self.pattern.is_none() && self.matches(&exit.process),
        }
    }

    /// Whether it leaves anything out but exits.
    pub(crate) fn is_selective(&self) -> bool {
        !self.matches_all() || self.least_ns.is_some()
    }

    fn matches_all(&self) -> bool {
        self.comms.is_empty() && self.uids.is_empty() && self.ppids.is_empty() && self.pattern.is_none()
    }

    fn matches(&self, process: &Process<'_>) -> bool {
        // What is not known may be right.
        (self.comms.is_empty() || process.comm.is_none_or(|comm| self.comms.iter().any(|other| other == comm)))
            && (self.uids.is_empty() || process.uid.is_none_or(|uid| self.uids.contains(&uid)))
            && (self.ppids.is_empty() || process.ppid.is_none_or(|ppid| self.ppids.contains(&ppid)))
    }
}

/// In the file and the arguments, with a blank between each. Arguments that are not known may hold it.
fn finds(regex: &Regex, exec: &Exec<'_>) -> bool {
    let mut text = String::from_utf8_lossy(exec.file).into_owned();
    for arg in exec.args.iter().flat_map(|args| args.iter()) {
        text.push(' ');
        text.push_str(&String::from_utf8_lossy(arg));
    }
    exec.args.is_none() || regex.is_match(&text)
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
        Process {
            pid,
            ppid: Some(1),
            uid: Some(uid),
            time_ns,
            start_ns: Some(1),
            cgroup_id: None,
            comm: Some(comm.as_bytes()),
        }
    }

    fn exec(pid: u32, uid: u32, comm: &str, time_ns: u64) -> Event<'_> {
        let process = process(pid, uid, comm, time_ns);
        let args = Some(Args::new(b""));
        Event::Exec(Exec {
            process,
            file: b"/x",
            file_truncated: false,
            args,
            args_truncated: Some(false),
            place: None,
        })
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
    fn a_pattern_is_looked_for_in_file_and_arguments() {
        let with = |args: &'static [u8]| {
            let process = process(5, 0, "sh", 1);
            let args = Some(Args::new(args));
            Event::Exec(Exec {
                process,
                file: b"/bin/sh",
                file_truncated: false,
                args,
                args_truncated: Some(false),
                place: None,
            })
        };
        let mut filter = filter(&["--match", "^/bin/sh .*-c [a-z]+$"]);
        assert!(filter.admits(&with(b"sh\0-c\0true\0")));
        assert!(filter.admits(&exit(5, 0, "sh", Some(1))));
        assert!(!filter.admits(&with(b"sh\0-c\0TRUE\0")));
        assert!(!filter.admits(&exit(5, 0, "sh", Some(1))));
        // It never executed anything, as far as was seen.
        assert!(!filter.admits(&exit(6, 0, "sh", None)));
    }

    #[test]
    fn a_parent_may_be_asked_for() {
        assert!(filter(&["--ppid", "1"]).admits(&exec(5, 0, "a", 1)));
        assert!(!filter(&["--ppid", "2"]).admits(&exec(5, 0, "a", 1)));
    }

    #[test]
    fn exits_may_be_those_of_what_took_long() {
        let mut filter = filter(&["--min-duration", "0.00000005"]);
        assert!(!filter.admits(&exec(5, 0, "a", 1)));
        assert!(filter.admits(&exit(5, 0, "a", Some(49))));
        assert!(!filter.admits(&exit(5, 0, "a", Some(50))));
        assert!(!filter.admits(&exit(5, 0, "a", None)));
    }

    #[test]
    fn a_user_that_is_not_known_is_not_hidden() {
        let unknown = Process { uid: None, ..process(5, 0, "a", 1) };
        let args = Some(Args::new(b""));
        let exec = Exec {
            process: unknown,
            file: b"/x",
            file_truncated: false,
            args,
            args_truncated: Some(false),
            place: None,
        };
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
