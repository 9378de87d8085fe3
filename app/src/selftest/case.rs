//! The children, and what has to arrive about each.

use std::{
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt as _, process::ExitStatusExt as _},
    path::Path,
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use exectrace_bpf::ARGS_MAX;
use nix::unistd::getuid;

use super::{
    fixtures::{self, Fixtures},
    found::{Found, comm_of, described, listed},
    verdict::{Difference, UNKNOWN, Verdict, or_unknown},
    workload::{self, Child},
};
use crate::{
    backend::{Backend, Ends, UsersFrom, tracer::Tracer},
    cgroup,
    clock::monotonic_ns,
    error::Error,
    event::{Args, End},
    quote::quoted,
};

/// How long to wait for what has not arrived. The kernel sends an exit before it lets wait() return, so that only
/// failures take this long.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often a child is started where chance decides whether its arguments are seen, three times in four.
const TRIES: usize = 20;

/// One child, and what has to arrive about it.
pub(super) struct Case {
    name: &'static str,
    file: OsString,
    args: Vec<OsString>,
    /// All arguments that the kernel has to report for each exec of the child.
    execs: Vec<Vec<Vec<u8>>>,
    /// `None`: as wait(2) says.
    end: Option<End>,
    /// Old kernels do not report how it ends.
    end_is_unclear: bool,
    /// Tracepoints do not show what it does.
    is_32_bit: bool,
    /// The kernel need not be able to run it.
    may_be_refused: bool,
    uid_at_exit: u32,
    /// At the second exec.
    uid_later: u32,
    /// A backend that keeps users up by itself need not know it.
    uid_is_unclear: bool,
    /// How a child of the child ends that executes nothing.
    forked: Option<End>,
    /// Where the second exec is: as below /dev, or empty. Else that is not known.
    tty_later: Option<String>,
}

impl Case {
    pub(super) fn new(name: &'static str, exe: &Path, child: Child, end: impl Into<Option<End>>) -> Self {
        let case = Self {
            name,
            file: exe.into(),
            args: vec![child.argument().into()],
            execs: Vec::new(),
            end: end.into(),
            end_is_unclear: false,
            is_32_bit: false,
            may_be_refused: false,
            uid_at_exit: getuid().as_raw(),
            uid_later: getuid().as_raw(),
            uid_is_unclear: false,
            forked: None,
            tty_later: None,
        };
        case.with_args(&[])
    }

    fn with_args(mut self, args: &[&[u8]]) -> Self {
        self.args.extend(args.iter().map(|arg| OsStr::from_bytes(arg).to_owned()));
        let all = [&self.file].into_iter().chain(&self.args).map(|arg| arg.as_bytes().to_vec()).collect();
        self.execs = vec![all];
        self
    }
}

pub(super) fn cases(exe: &Path, fixtures: &Fixtures) -> Vec<Case> {
    let long = vec![b'a'; ARGS_MAX * 2 / 3];
    let success = End::Code(0);
    let mut cases = vec![
        Case::new("plain child", exe, Child::Succeed, success),
        Case::new("failing child", exe, Child::Fail, End::Code(workload::FAILURE)),
        Case::new("killed child", exe, Child::BeKilled, End::Signal { number: 9, core_dumped: Some(false) }),
        Case::new("terminated child", exe, Child::BeTerminated, End::Signal { number: 15, core_dumped: Some(false) }),
        // Whether a dump is written depends on the machine.
        Case::new("crashing child", exe, Child::Crash, None),
        Case::new("odd arguments", exe, Child::Succeed, success).with_args(&[
            b"",
            b"two words",
            b"line\nbreak",
            b"not UTF-8: \xff\xfe",
            "Größe".as_bytes(),
            b"",
        ]),
        Case::new("long arguments", exe, Child::Succeed, success).with_args(&[&long, &long]),
        Case {
            file: fixtures.script().into(),
            args: vec!["one two".into()],
            execs: vec![vec![
                fixtures.interpreter().as_os_str().as_bytes().to_vec(),
                Child::Succeed.argument().into_bytes(),
                fixtures.script().as_os_str().as_bytes().to_vec(),
                b"one two".to_vec(),
            ]],
            ..Case::new("script", exe, Child::Succeed, success)
        },
        Case::new("threads", exe, Child::Threads, End::Code(workload::THREADS)),
        Case::new("a thread came and went", exe, Child::ThreadGone, End::Code(workload::THREAD_GONE)),
        // Up to Linux 5.18, only system calls show what it ends with.
        Case {
            end_is_unclear: true,
            ..Case::new("thread of the kernel's", exe, Child::Worker, End::Code(workload::WORKER))
        },
        Case::new("thread with another name", exe, Child::RenameThread, success),
        // Up to Linux 5.17 the first thread's code is the process's, later the last one's.
        Case { end_is_unclear: true, ..Case::new("first thread ends first", exe, Child::LeaderFirst, None) },
    ];

    // On x86_64 and arm64, where the kernel runs such programs.
    let mut program_32 = Case {
        file: fixtures.program_32().into(),
        args: Vec::new(),
        may_be_refused: true,
        is_32_bit: true,
        uid_is_unclear: true,
        ..Case::new("32-bit program", exe, Child::Succeed, End::Code(fixtures::PROGRAM_32_CODE))
    };
    program_32 = program_32.with_args(&[b"one two"]);
    cases.push(program_32);

    let mut exec_from_thread = Case::new("exec from another thread", exe, Child::ExecFromThread, success);
    exec_from_thread.execs.push(vec![exe.as_os_str().as_bytes().to_vec(), Child::Succeed.argument().into_bytes()]);
    cases.push(exec_from_thread);

    let terminal = fixtures.terminal();
    let file_of_terminal: Vec<&[u8]> = terminal.iter().map(|file| file.as_bytes()).collect();
    let mut exec_elsewhere =
        Case::new("exec elsewhere", exe, Child::ExecElsewhere, success).with_args(&file_of_terminal);
    exec_elsewhere.execs.push(vec![exe.as_os_str().as_bytes().to_vec(), Child::Succeed.argument().into_bytes()]);
    exec_elsewhere.tty_later = Some(terminal.map_or_else(String::new, |file| file.replacen("/dev/", "", 1)));
    cases.push(exec_elsewhere);

    cases.push(Case {
        forked: Some(End::Code(workload::FORKED)),
        ..Case::new("fork without exec", exe, Child::Fork, success)
    });
    // Whoever traces with capabilities alone cannot change the user.
    if getuid().is_root() {
        cases.push(Case {
            uid_at_exit: workload::OTHER_USER,
            uid_is_unclear: true,
            ..Case::new("change of user", exe, Child::ChangeUser, success)
        });
        let mut exec_as_other = Case {
            uid_at_exit: workload::OTHER_USER,
            uid_later: workload::OTHER_USER,
            uid_is_unclear: true,
            ..Case::new("exec as another user", exe, Child::ExecAsOther, success)
        };
        let file = format!("/proc/self/fd/{}", workload::EXEC_FD).into_bytes();
        exec_as_other.execs.push(vec![file, Child::Succeed.argument().into_bytes()]);
        cases.push(exec_as_other);
    }
    cases
}

impl Case {
    pub(super) fn run(&self, tracer: &mut Tracer, backend: &Backend, verdict: &mut Verdict) -> Result<(), Error> {
        let mut tries = if backend.has_args_by_chance() { TRIES } else { 1 };
        loop {
            tries -= 1;
            let began_ns = monotonic_ns();
            let Some((pid, end, events)) = self.run_once(tracer)? else {
                verdict.note(format!("none {}: not on this kernel", self.name));
                return Ok(());
            };
            let exec_args_missing = |found: &Found| found.exec.as_ref().is_some_and(|exec| exec.args.is_none());
            if tries == 0 || !events.iter().any(exec_args_missing) {
                let is_now = |found: &Found| (began_ns..=monotonic_ns()).contains(&found.time_ns);
                verdict.check(
                    &format!("{}: times", self.name),
                    [Difference::between(
                        "times that are not those of the child",
                        0,
                        events.iter().filter(|found| !is_now(found)).count(),
                    )],
                );
                self.check(pid, end, &events, backend, verdict);
                return Ok(());
            }
        }
    }

    /// The number of the child, how it ended, and what has arrived; none if the kernel does not run it, and need not.
    fn run_once(&self, tracer: &mut Tracer) -> Result<Option<(u32, End, Vec<Found>)>, Error> {
        let started = Command::new(&self.file)
            .args(&self.args)
            // As much as nearly every program has: see Backend::STACKS_END_EARLY.
            .env("EXECTRACE_SELF_TEST", "x".repeat(130))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) if self.may_be_refused && error.raw_os_error() == Some(libc::ENOEXEC) => return Ok(None),
            Err(error) => {
                let file = quoted(self.file.as_bytes());
                return Err(Error::SelfTest(format!("cannot start {file}: {error}")));
            }
        };
        let pid = child.id();
        let status = child.wait().map_err(|error| Error::System { call: "wait", error })?;

        let events = self.collect(tracer, pid)?;
        let end = self.end.unwrap_or(End::from_status(status.into_raw() as u32));
        Ok(Some((pid, end, events)))
    }

    /// What arrives until as much is there as has to be, or patience ends.
    fn collect(&self, tracer: &mut Tracer, pid: u32) -> Result<Vec<Found>, Error> {
        let deadline = Instant::now() + PATIENCE;
        let expected = self.execs.len() + 1 + usize::from(self.forked.is_some());
        let mut found = Vec::new();
        loop {
            while tracer.next(&mut |event| {
                // A pid of an earlier child could be seen here only if the kernel sent its exit after wait() returned.
                if event.process().pid == pid || event.process().ppid == Some(pid) {
                    found.push(Found::from(event));
                }
            })? {}
            if found.len() >= expected || Instant::now() >= deadline {
                return Ok(found);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn check(&self, pid: u32, end: End, found: &[Found], backend: &Backend, verdict: &mut Verdict) {
        let execs: Vec<&Found> = found.iter().filter(|found| found.pid == pid && found.exec.is_some()).collect();
        let exits: Vec<&Found> = found.iter().filter(|found| found.pid == pid && found.exec.is_none()).collect();
        let known = |field, value: String| if backend.never_knows(field) { UNKNOWN.to_owned() } else { value };

        verdict.check(
            &format!("{}: number of events", self.name),
            [Difference::between("execs", self.execs.len(), execs.len()), Difference::between("exits", 1, exits.len())],
        );
        for (index, (expected, found)) in self.execs.iter().zip(&execs).enumerate() {
            let Some(exec) = &found.exec else { continue };
            // The second exec of a child is always one of this binary, as is what ends up running a script.
            let file = if index == 0 { self.file.as_bytes() } else { &expected[0] };
            let cmdline: Vec<u8> = expected.iter().flat_map(|arg| arg.iter().copied().chain([0])).collect();
            let args = Args::new(&cmdline[..cmdline.len().min(ARGS_MAX)]);
            let truncated = cmdline.len() > ARGS_MAX;
            verdict.check(
                &format!("{}: exec{}", self.name, if index == 0 { "" } else { " again" }),
                [
                    Difference::between("ppid", process::id(), or_unknown(found.ppid)),
                    Difference::between("uid", self.uid_at_exec(index, found, backend), or_unknown(found.uid)),
                    Difference::between("comm", quoted(comm_of(file)), found.name()),
                    group_differs(found, backend),
                    Difference::between("file", quoted(file), quoted(&exec.file)),
                    Difference::between("file_truncated", false, exec.file_truncated),
                    Difference::between("args", known("args", listed(args)), or_unknown(exec.args.as_ref())),
                    Difference::between(
                        "args_truncated",
                        known("args", truncated.to_string()),
                        or_unknown(exec.args_truncated),
                    ),
                    Difference::between("cwd", known("cwd", self.cwd_at_exec(index)), or_unknown(exec.cwd.as_ref())),
                    self.tty_later.as_ref().filter(|_| index > 0).and_then(|tty| {
                        let tty = quoted(tty.as_bytes()).to_string();
                        Difference::between("tty", known("tty", tty), or_unknown(exec.tty.as_ref()))
                    }),
                ],
            );
        }
        if let [exit] = exits[..] {
            let uid = match (backend, exit.uid) {
                (Backend::Tracepoints { ends: Ends::Reported { .. }, .. }, _) => self.uid_at_exit.to_string(),
                (Backend::Tracepoints { bpf: false, .. }, None) if self.uid_is_unclear => UNKNOWN.to_owned(),
                _ => known("uid", self.uid_at_exit.to_string()),
            };
            let last_exec = execs.last().map(|exec| exec.time_ns);
            verdict.check(
                &format!("{}: exit", self.name),
                [
                    Difference::between("ppid", process::id(), or_unknown(exit.ppid)),
                    Difference::between("uid", uid, or_unknown(exit.uid)),
                    Difference::between("comm", quoted(self.comm_at_exit()), exit.name()),
                    group_differs(exit, backend),
                    Difference::between(
                        "end",
                        self.expected_end(end, exit.end, backend),
                        or_unknown(exit.end.map(described)),
                    ),
                    Difference::between(
                        "begin",
                        or_unknown(execs.last().and_then(|exec| exec.start_ns)),
                        or_unknown(exit.start_ns),
                    ),
                    Difference::between("time of its exec", or_unknown(last_exec), or_unknown(exit.exec_ns)),
                ],
            );
        }
        if let Some(end) = self.forked {
            let forked: Vec<_> = found.iter().filter(|found| found.ppid == Some(pid) && found.exec.is_none()).collect();
            let got = match forked[..] {
                [exit] => format!("{}, exec at {}", or_unknown(exit.end.map(described)), or_unknown(exit.exec_ns)),
                _ => format!("{} exits", forked.len()),
            };
            let expected = format!("{}, exec at {UNKNOWN}", self.expected_end(end, Some(end), backend));
            verdict.check(
                &format!("{}: exit of the forked process", self.name),
                [Difference::between("end", expected, got)],
            );
        }
    }

    fn cwd_at_exec(&self, index: usize) -> String {
        let is_elsewhere = index > 0 && self.tty_later.is_some();
        if is_elsewhere { workload::ELSEWHERE.to_owned() } else { "/".to_owned() }
    }

    fn uid_at_exec(&self, index: usize, found: &Found, backend: &Backend) -> String {
        let is_later = index > 0;
        match (backend, found.uid) {
            _ if !backend.knows_users() => UNKNOWN.to_owned(),
            (Backend::Tracepoints { users: UsersFrom::Tracepoints, .. }, None) if is_later && self.uid_is_unclear => {
                UNKNOWN.to_owned()
            }
            _ if is_later => self.uid_later.to_string(),
            _ => getuid().to_string(),
        }
    }

    /// How this backend has to report an end.
    fn expected_end(&self, end: End, got: Option<End>, backend: &Backend) -> String {
        let &Backend::Tracepoints { codes, ends, .. } = backend else { return described(end) };
        // On a machine that is too busy, the first thread of such a process may be the last one all the same.
        let is_unclear = self.end_is_unclear && got.is_none();
        match (ends, end) {
            (Ends::Reported { marks_last: true }, _) => described(end),
            (Ends::Reported { marks_last: false }, _) if is_unclear => UNKNOWN.to_owned(),
            (Ends::Reported { marks_last: false }, _) => described(end),
            (Ends::Observed, _) if is_unclear || self.is_32_bit => UNKNOWN.to_owned(),
            (Ends::Observed, End::Code(_)) if !codes => UNKNOWN.to_owned(),
            (Ends::Observed, End::Signal { number, .. }) if self.end.is_none() => {
                described(End::Signal { number, core_dumped: None })
            }
            (Ends::Observed, _) => described(end),
        }
    }

    /// The name it got at its last exec.
    fn comm_at_exit(&self) -> &[u8] {
        match self.execs.last() {
            Some(last) if self.execs.len() > 1 => comm_of(&last[0]),
            _ => comm_of(self.file.as_bytes()),
        }
    }
}

/// No child leaves the control group of this process; none if that cannot be seen.
fn group_differs(found: &Found, backend: &Backend) -> Option<Difference> {
    let expected = or_unknown(Some(cgroup::own_inode()?).filter(|_| !backend.never_knows("cgroup")));
    Difference::between("cgroup", expected, or_unknown(found.cgroup_id.map(cgroup::inode)))
}
