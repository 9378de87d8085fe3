//! --self-test: starts children whose doings are known, and compares with them what arrives.

pub(crate) mod child;
mod stage;

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write as _},
    os::unix::{ffi::OsStrExt as _, process::ExitStatusExt as _},
    path::Path,
    process::{self, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use exectrace_bpf::{ARGS_MAX, COMM_SIZE};
use nix::unistd::getuid;

use self::{child::Child, stage::Stage};
use crate::{
    cli::Cli,
    error::Error,
    event::{Args, End, Event, Exec, Exit},
    follow,
    load::{Settings, Tracer},
    text::quoted,
};

/// How long to wait for what has not arrived. The kernel sends an exit before it lets wait() return, so that only
/// failures take this long.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let exe = env::current_exe()
        .map_err(|error| Error::SelfTest(format!("cannot find this binary: {error}: mount -t proc proc /proc")))?;
    let stage = Stage::set_up(&exe).map_err(Error::SelfTest)?;

    let mut verdict = Verdict::default();
    // The verifier drops what a setting leaves unused, so that each is another program to it. Nearly all is checked
    // among our own descendants: the rest of the machine stays out, and the fork program has to work.
    let plain = Case::new("whole machine", &exe, Child::Succeed, End::Code(0));
    for (only_tracked, cases) in [(false, vec![plain]), (true, cases(&exe, &stage))] {
        let mut tracer = Tracer::start(&Settings { buffer_kib: cli.buffer, only_tracked })?;
        if only_tracked {
            follow::track(tracer.tracked(), &[process::id()])?;
        }
        for case in cases {
            case.run(&mut tracer, &mut verdict)?;
        }
        // What the rest of a busy machine loses is no fault.
        if only_tracked {
            verdict.check("no event lost", [Difference::between("lost", 0, tracer.lost()?)]);
        }
    }
    Ok(verdict.tell())
}

/// One child, and what has to arrive about it.
struct Case {
    name: &'static str,
    file: OsString,
    args: Vec<OsString>,
    /// All arguments that the kernel has to report for each exec of the child.
    execs: Vec<Vec<Vec<u8>>>,
    /// `None`: as wait(2) says.
    end: Option<End>,
    uid_at_exit: u32,
    /// How a child of the child ends that executes nothing.
    forked: Option<End>,
}

impl Case {
    fn new(name: &'static str, exe: &Path, child: Child, end: impl Into<Option<End>>) -> Self {
        let case = Self {
            name,
            file: exe.into(),
            args: vec![child.argument().into()],
            execs: Vec::new(),
            end: end.into(),
            uid_at_exit: getuid().as_raw(),
            forked: None,
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

fn cases(exe: &Path, stage: &Stage) -> Vec<Case> {
    let long = vec![b'a'; ARGS_MAX * 2 / 3];
    let success = End::Code(0);
    let mut cases = vec![
        Case::new("plain child", exe, Child::Succeed, success),
        Case::new("failing child", exe, Child::Fail, End::Code(child::FAILURE)),
        Case::new("killed child", exe, Child::BeKilled, End::Signal { number: 9, core_dumped: false }),
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
            file: stage.script().into(),
            args: vec!["one two".into()],
            execs: vec![vec![
                stage.interpreter().as_os_str().as_bytes().to_vec(),
                Child::Succeed.argument().into_bytes(),
                stage.script().as_os_str().as_bytes().to_vec(),
                b"one two".to_vec(),
            ]],
            ..Case::new("script", exe, Child::Succeed, success)
        },
        Case::new("threads", exe, Child::Threads, End::Code(child::THREADS)),
        // Up to Linux 5.17 the first thread's code is the process's, later the last one's.
        Case::new("first thread ends first", exe, Child::LeaderFirst, None),
    ];

    let mut exec_from_thread = Case::new("exec from another thread", exe, Child::ExecFromThread, success);
    exec_from_thread.execs.push(vec![exe.as_os_str().as_bytes().to_vec(), Child::Succeed.argument().into_bytes()]);
    cases.push(exec_from_thread);

    cases.push(Case {
        forked: Some(End::Code(child::FORKED)),
        ..Case::new("fork without exec", exe, Child::Fork, success)
    });
    // Whoever traces with capabilities alone cannot change the user.
    if getuid().is_root() {
        cases.push(Case {
            uid_at_exit: child::OTHER_USER,
            ..Case::new("change of user", exe, Child::ChangeUser, success)
        });
    }
    cases
}

impl Case {
    fn run(&self, tracer: &mut Tracer, verdict: &mut Verdict) -> Result<(), Error> {
        let started = Command::new(&self.file)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = started
            .map_err(|error| Error::SelfTest(format!("cannot start {}: {error}", quoted(self.file.as_bytes()))))?;
        let pid = child.id();
        let status = child.wait().map_err(|error| Error::System { call: "wait", error })?;

        let records = self.collect(tracer, pid)?;
        let events = records.iter().map(|record| Event::read(record)).collect::<Result<Vec<_>, _>>()?;
        let end = self.end.unwrap_or(End::from_status(status.into_raw() as u32));
        self.check(pid, end, &events, verdict);
        Ok(())
    }

    /// What arrives until as much is there as has to be, or patience ends.
    fn collect(&self, tracer: &mut Tracer, pid: u32) -> Result<Vec<Vec<u8>>, Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut records: Vec<Vec<u8>> = Vec::new();
        loop {
            while let Some(record) = tracer.ring().next() {
                let process = Event::read(&record)?;
                // A pid of an earlier child could be seen here only if the kernel sent its exit after wait() returned.
                if process.process().pid == pid || process.process().ppid == pid {
                    records.push(record.to_vec());
                }
            }
            let expected = self.execs.len() + 1 + usize::from(self.forked.is_some());
            if records.len() >= expected || Instant::now() >= deadline {
                return Ok(records);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn check(&self, pid: u32, end: End, events: &[Event<'_>], verdict: &mut Verdict) {
        let of = |event: &&Event<'_>| event.process().pid == pid;
        let execs: Vec<&Exec<'_>> = events.iter().filter(of).filter_map(as_exec).collect();
        let exits: Vec<&Exit<'_>> = events.iter().filter(of).filter_map(as_exit).collect();

        verdict.check(
            &format!("{}: number of events", self.name),
            [Difference::between("execs", self.execs.len(), execs.len()), Difference::between("exits", 1, exits.len())],
        );
        for (index, (expected, exec)) in self.execs.iter().zip(&execs).enumerate() {
            // The second exec of a child is always one of this binary, as is what ends up running a script.
            let file = if index == 0 { self.file.as_bytes() } else { &expected[0] };
            let cmdline: Vec<u8> = expected.iter().flat_map(|arg| arg.iter().copied().chain([0])).collect();
            let args = Args::new(&cmdline[..cmdline.len().min(ARGS_MAX)]);
            verdict.check(
                &format!("{}: exec{}", self.name, if index == 0 { "" } else { " again" }),
                [
                    Difference::between("ppid", process::id(), exec.process.ppid),
                    Difference::between("uid", getuid().as_raw(), exec.process.uid),
                    Difference::between("comm", quoted(comm_of(file)), quoted(exec.process.comm)),
                    Difference::between("file", quoted(file), quoted(exec.file)),
                    Difference::between("file_truncated", false, exec.file_truncated),
                    Difference::between("args", listed(args), listed(exec.args)),
                    Difference::between("args_truncated", cmdline.len() > ARGS_MAX, exec.args_truncated),
                ],
            );
        }
        if let [exit] = exits[..] {
            let last_exec = execs.last().map(|exec| exec.process.time_ns);
            verdict.check(
                &format!("{}: exit", self.name),
                [
                    Difference::between("ppid", process::id(), exit.process.ppid),
                    Difference::between("uid", self.uid_at_exit, exit.process.uid),
                    Difference::between("comm", quoted(self.comm_at_exit()), quoted(exit.process.comm)),
                    Difference::between("end", told(end), told(exit.end)),
                    Difference::between("time of its exec", or_none(last_exec), or_none(exit.exec_ns)),
                ],
            );
        }
        if let Some(end) = self.forked {
            let forked: Vec<_> =
                events.iter().filter(|event| event.process().ppid == pid).filter_map(as_exit).collect();
            let got = match forked[..] {
                [exit] => format!("{}, exec at {}", told(exit.end), or_none(exit.exec_ns)),
                _ => format!("{} exits", forked.len()),
            };
            verdict.check(
                &format!("{}: exit of the forked process", self.name),
                [Difference::between("end", format!("{}, exec at none", told(end)), got)],
            );
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

fn as_exec<'e, 'r>(event: &'e Event<'r>) -> Option<&'e Exec<'r>> {
    match event {
        Event::Exec(exec) => Some(exec),
        Event::Exit(_) => None,
    }
}

fn as_exit<'e, 'r>(event: &'e Event<'r>) -> Option<&'e Exit<'r>> {
    match event {
        Event::Exit(exit) => Some(exit),
        Event::Exec(_) => None,
    }
}

/// The name that the kernel gives to a process which executes this file.
fn comm_of(file: &[u8]) -> &[u8] {
    let base = file.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    &base[..base.len().min(COMM_SIZE - 1)]
}

fn listed(args: Args<'_>) -> String {
    args.iter().map(|arg| quoted(arg).to_string()).collect::<Vec<_>>().join(" ")
}

fn told(end: End) -> String {
    match end {
        End::Code(code) => format!("code {code}"),
        End::Signal { number, core_dumped: false } => format!("signal {number}"),
        End::Signal { number, core_dumped: true } => format!("signal {number} with a core dump"),
    }
}

fn or_none(time_ns: Option<u64>) -> String {
    time_ns.map_or_else(|| "none".to_owned(), |time_ns| format!("{time_ns} ns"))
}

/// One thing that is not as it has to be.
struct Difference(String);

impl Difference {
    fn between(what: &str, expected: impl ToString, got: impl ToString) -> Option<Self> {
        let (expected, got) = (expected.to_string(), got.to_string());
        (expected != got).then(|| Self(format!("expected {what} {expected}, got {got}")))
    }
}

#[derive(Default)]
struct Verdict {
    checks: usize,
    failed: usize,
}

impl Verdict {
    fn check<const N: usize>(&mut self, name: &str, differences: [Option<Difference>; N]) {
        let differences: Vec<String> = differences.into_iter().flatten().map(|difference| difference.0).collect();
        self.checks += 1;
        if differences.is_empty() {
            say(&format!("ok   {name}"));
        } else {
            self.failed += 1;
            say(&format!("FAIL {name}: {}", differences.join("; ")));
        }
    }

    fn tell(&self) -> ExitCode {
        if self.failed == 0 {
            say(&format!("self-test: passed ({} checks)", self.checks));
            ExitCode::SUCCESS
        } else {
            say(&format!("self-test: failed ({} of {} checks)", self.failed, self.checks));
            ExitCode::FAILURE
        }
    }
}

/// The exit code tells the verdict as well: that nobody reads this is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
