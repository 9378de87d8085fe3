//! Where processes are started. They die with us: a signal that ends this program ends them first.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::sys::command::{Command, Environment, Heartbeat, UNSET};
use crate::ui::error::{Failed, Interrupted, Missing};
use crate::ui::github;
use crate::ui::remedies;
use crate::ui::screen::{Level, Line, Screen};
use crate::ui::table::Table;

/// The signal that stopped us, or 0.
static SIGNAL: AtomicI32 = AtomicI32::new(0);
/// The process groups of running children, and the signal that ends each.
static CHILDREN: Mutex<Vec<(Pid, Signal)>> = Mutex::new(Vec::new());

/// From now on SIGINT, SIGTERM and SIGHUP end the children and make [`Runner::check_interrupted`] fail; a second one
/// ends us at once.
pub fn catch_signals(runner: Runner) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot catch signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if SIGNAL.swap(signal, Ordering::SeqCst) != 0 {
                runner.screen.restore_terminal();
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
            for (group, end) in CHILDREN.lock().unwrap().iter() {
                let _ = kill_process_group(*group, *end);
            }
        }
    });
    Ok(())
}

/// Starts commands, and has the screen to report them.
#[derive(Debug, Clone, Copy)]
pub struct Runner {
    /// There is one for the whole of a process's life.
    screen: &'static Screen,
}

impl Runner {
    pub fn new(level: Level) -> Runner {
        Runner { screen: Box::leak(Box::new(Screen::new(level))) }
    }

    /// See [`Screen::status`].
    pub fn status(self, line: impl AsRef<str>) {
        self.screen.status(line.as_ref());
    }

    /// See [`Screen::eprintln`].
    pub fn eprintln(self, line: impl AsRef<str>) {
        self.screen.eprintln(line.as_ref());
    }

    /// See [`Screen::println`].
    pub fn println(self, line: impl AsRef<str>) {
        self.screen.println(line.as_ref());
    }

    /// See [`Screen::table`]. GitHub also shows the first one on the page of the run.
    pub fn table(self, tables: &[Table]) {
        self.screen.table(tables);
        let (Some(table), Some(page)) = (tables.first(), env::var_os("GITHUB_STEP_SUMMARY")) else { return };
        let page = Path::new(&page);
        let written = File::options()
            .append(true)
            .create(true)
            .open(page)
            .and_then(|mut file| file.write_all(github::summary(&table.lines()).as_bytes()));
        if let Err(error) = written {
            self.status(format!("cannot write to {}, which GITHUB_STEP_SUMMARY names: {error}", page.display()));
        }
    }

    /// Has GitHub show an error of this run at its lines.
    pub fn annotate(self, error: &str) {
        if env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true") {
            self.eprintln(github::annotations(error).trim_end());
        }
    }

    /// See [`Screen::line`].
    pub fn line(self, name: &str) -> Line<'static> {
        self.screen.line(name)
    }

    pub fn screen(self) -> &'static Screen {
        self.screen
    }

    /// Fails if a signal stopped us.
    pub fn check_interrupted(self) -> Result<()> {
        match SIGNAL.load(Ordering::SeqCst) {
            0 => Ok(()),
            signal => Err(Interrupted(signal).into()),
        }
    }

    /// Runs a command to its end and gives what it printed.
    pub fn read(self, command: &Command) -> Result<String> {
        let output = self.output(command)?;
        if !output.status.success() {
            return Err(failed(command, output.status, String::from_utf8_lossy(&output.stderr).into()));
        }
        String::from_utf8(output.stdout)
            .with_context(|| format!("{} printed something that is not UTF-8, a file name perhaps", name(command)))
    }

    /// Runs a command to its end; whether it failed is the caller's to see.
    pub fn output(self, command: &Command) -> Result<Output> {
        let (child, group) = self.spawn(command, Stdio::piped(), Stdio::piped())?;
        let output = self.with_heartbeat(command, group, || child.wait_with_output());
        forget(group);
        self.check_interrupted()?;
        output?.with_context(|| format!("cannot wait for {}", name(command)))
    }

    /// Waits for a command; if whom that waits for does not answer any more, it is killed and has failed.
    fn with_heartbeat<T>(self, command: &Command, group: Pid, wait: impl FnOnce() -> T) -> Result<T> {
        let Some(Heartbeat { program, question, limit, lost }) = &command.heartbeat else { return Ok(wait()) };
        let question = Command { program: program.clone(), args: question.clone(), heartbeat: None, ..command.clone() };
        let (ended, end) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let watch = scope.spawn(move || {
                while end.recv_timeout(*limit / 2) == Err(RecvTimeoutError::Timeout) {
                    if matches!(self.output_within(&question, *limit), Ok(None)) {
                        let _ = kill_process_group(group, Signal::KILL);
                        return true;
                    }
                }
                false
            });
            let result = wait();
            drop(ended);
            match watch.join() {
                Ok(true) => bail!("{lost}"),
                _ => Ok(result),
            }
        })
    }

    /// The same for a command that must end within a time, or else is killed; then there is nothing to see.
    pub fn output_within(self, command: &Command, limit: Duration) -> Result<Option<Output>> {
        let (child, group) = self.spawn(command, Stdio::piped(), Stdio::piped())?;
        let (ended, end) = mpsc::channel::<()>();
        let (output, late) = thread::scope(|scope| {
            let watch = scope.spawn(move || {
                let late = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
                if late {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                late
            });
            let output = child.wait_with_output().with_context(|| format!("cannot wait for {}", name(command)));
            drop(ended);
            (output, watch.join().unwrap_or_default())
        });
        forget(group);
        self.check_interrupted()?;
        output.map(|output| (!late).then_some(output))
    }

    /// Runs a command to its end. Its output is of interest only if it fails, and is then printed below the error.
    pub fn run(self, command: &Command) -> Result<()> {
        self.run_and_see(command, |_| {})
    }

    /// The same, and hands on each line it prints.
    pub fn run_and_see(self, command: &Command, mut each: impl FnMut(&str)) -> Result<()> {
        let mut output = String::new();
        let status = self.lines(command, |line| {
            each(line);
            if self.screen.level == Level::Verbose {
                self.eprintln(line);
            }
            output.push_str(line);
            output.push('\n');
        })?;
        match self.screen.level {
            _ if status.success() => Ok(()),
            Level::Verbose => Err(Failed::shown(&name(command), status, output).into()),
            _ => Err(failed(command, status, output)),
        }
    }

    /// Runs a command and hands on each line it prints, on standard output or standard error.
    pub fn lines(self, command: &Command, mut each: impl FnMut(&str)) -> Result<ExitStatus> {
        let (reader, writer) = io::pipe().context("cannot make a pipe")?;
        let second = writer.try_clone().context("cannot make a pipe")?;
        let (mut child, group) = self.spawn(command, writer.into(), second.into())?;
        let mut lines = BufReader::new(reader);
        let ended = self.with_heartbeat(command, group, || {
            let read = (|| {
                let mut line = Vec::new();
                while lines.read_until(b'\n', &mut line)? > 0 {
                    each(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
                    line.clear();
                }
                io::Result::Ok(())
            })();
            (read, child.wait())
        });
        forget(group);
        self.check_interrupted()?;
        let (read, status) = ended?;
        read.and(status).with_context(|| format!("cannot wait for {}", name(command)))
    }

    /// Runs a command, which may be given `input`, and hands on each line it prints until it ends, `each` wants no more, or the
    /// time is over. In the last two cases it is killed.
    pub fn watch(
        self,
        command: &Command,
        input: Option<Vec<u8>>,
        limit: Duration,
        mut each: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Watched> {
        let deadline = Instant::now() + limit;
        let (mut reader, writer) = io::pipe().context("cannot make a pipe")?;
        let second = writer.try_clone().context("cannot make a pipe")?;
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        let (mut child, group) = self.spawn_with(command, stdin, writer.into(), second.into())?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // It ends with the command, which may want no more of it.
            thread::spawn(move || stdin.write_all(&input));
        }
        let read = watch_lines(&mut reader, deadline, &mut each);
        let _ = kill_process_group(group, Signal::KILL);
        let status = child.wait();
        forget(group);
        self.check_interrupted()?;
        let (read, status) =
            read.and_then(|read| Ok((read, status?))).with_context(|| format!("cannot watch {}", name(command)))?;
        Ok(read.unwrap_or(Watched::Ended(status)))
    }

    /// Runs a command and lets `read` have what it prints, until that has seen enough. Then it is killed, and how it
    /// ended is of no interest; unless `read` fails because the command did.
    pub fn stream<T>(self, command: &Command, read: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
        let (mut child, group) = self.spawn(command, Stdio::piped(), Stdio::null())?;
        let mut output = child.stdout.take().context("a command without an output")?;
        let result = read(&mut output);
        drop(output);
        let _ = kill_process_group(group, Signal::KILL);
        let status = child.wait().with_context(|| format!("cannot wait for {}", name(command)));
        forget(group);
        self.check_interrupted()?;
        match status?.code() {
            Some(code) if code != 0 && result.is_err() => {
                result.with_context(|| format!("{} failed (exit code {code})", name(command)))
            }
            _ => result,
        }
    }

    /// Runs a command that is given `input`, and lets `read` have all that it prints.
    pub fn pipe<T>(self, command: &Command, input: &[u8], read: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
        let (mut child, group) = self.spawn_with(command, Stdio::piped(), Stdio::piped(), Stdio::piped())?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (result, output) = thread::scope(|scope| {
            // One that wants no more of its input has failed, or will print less than `read` expects.
            scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input)));
            let output = scope.spawn(|| stderr.map(|stderr| io::read_to_string(stderr).unwrap_or_default()));
            let result = match stdout {
                Some(mut output) => read(&mut output),
                None => Err(anyhow!("a command without an output")),
            };
            if result.is_err() {
                let _ = kill_process_group(group, Signal::TERM);
            }
            (result, output.join().ok().flatten().unwrap_or_default())
        });
        let status = child.wait().with_context(|| format!("cannot wait for {}", name(command)));
        forget(group);
        self.check_interrupted()?;
        let status = status?;
        match status.code() {
            Some(0) => result,
            None if result.is_err() => result,
            _ => Err(failed(command, status, output)),
        }
    }

    /// Runs a command that cleans up, even after a signal. Whether it finds anything to do does not matter.
    pub fn sweep(self, command: &Command) {
        if self.screen.level == Level::Verbose {
            self.status(format!("running {command}"));
        }
        let null = || Stdio::null();
        let child = prepare(command)
            .and_then(|mut it| Ok(it.stdin(null()).stdout(null()).stderr(null()).process_group(0).spawn()?));
        if let Ok(mut child) = child {
            let group = Pid::from_child(&child);
            let _ = self.with_heartbeat(command, group, || child.wait());
        }
    }

    fn spawn(self, command: &Command, stdout: Stdio, stderr: Stdio) -> Result<(Child, Pid)> {
        self.spawn_with(command, Stdio::null(), stdout, stderr)
    }

    fn spawn_with(self, command: &Command, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Result<(Child, Pid)> {
        self.check_interrupted()?;
        if self.screen.level == Level::Verbose {
            self.status(format!("running {command}"));
        }
        let mut prepared = prepare(command)?;
        prepared.stdin(stdin).stdout(stdout).stderr(stderr).process_group(0);
        die_with_us(&mut prepared);
        let child = prepared.spawn().map_err(|error| cannot_start(command, error))?;
        let group = Pid::from_child(&child);
        let end = if command.deaf { Signal::KILL } else { Signal::TERM };
        CHILDREN.lock().unwrap().push((group, end));
        if SIGNAL.load(Ordering::SeqCst) != 0 {
            let _ = kill_process_group(group, end);
        }
        Ok((child, group))
    }
}

/// How a command that was watched came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    Ended(ExitStatus),
    Stopped,
    Late,
}

/// The longest line that is handed on in one piece, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// Reads lines until the deadline, the end (then `Ok`), or until the caller has enough.
fn watch_lines(
    reader: &mut PipeReader,
    deadline: Instant,
    each: &mut impl FnMut(&str) -> ControlFlow<()>,
) -> io::Result<Option<Watched>> {
    let mut line = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Some(Watched::Late));
        }
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&left)) {
            Ok(0) | Err(Errno::INTR) => continue,
            result => result?,
        };
        let read = reader.read(&mut bytes)?;
        for byte in &bytes[..read] {
            line.push(*byte);
            if *byte == b'\n' || line.len() == LONGEST_LINE {
                let text = String::from_utf8_lossy(&line).into_owned();
                line.clear();
                if each(text.trim_end_matches(['\n', '\r'])).is_break() {
                    return Ok(Some(Watched::Stopped));
                }
            }
        }
        if read == 0 {
            let _ = each(&String::from_utf8_lossy(&line));
            return Ok(None);
        }
    }
}

/// Has the kernel end a child when we are gone: if we are killed, we cannot signal it.
#[cfg(target_os = "linux")]
fn die_with_us(command: &mut std::process::Command) {
    let us = rustix::process::getpid();
    // SAFETY: between fork and exec this makes two system calls, and touches no memory but its own.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
            // If we ended before that, nothing would end the child.
            match rustix::process::getppid() {
                Some(parent) if parent == us => Ok(()),
                _ => Err(io::ErrorKind::BrokenPipe.into()),
            }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_us(_: &mut std::process::Command) {}

/// The arguments that this program was called with.
pub fn own_arguments() -> Result<Vec<String>> {
    let given = env::args_os().skip(1).map(|arg| arg.into_string().map_err(|arg| anyhow!("{arg:?} is not UTF-8")));
    given.collect()
}

/// The programs of this name on PATH, the first of which is the one that is started.
pub fn on_path(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let files: Vec<PathBuf> = env::split_paths(&path).map(|folder| folder.join(name)).collect();
    files.into_iter().filter(|file| file.is_file())
}

/// The program of this name that comes next on PATH after those in a folder.
pub fn next_on_path(name: &str, folder: &Path) -> Option<PathBuf> {
    on_path(name).find(|program| program.parent() != Some(folder))
}

/// Becomes this command, with what it reads and prints. It returns only if that fails.
pub fn replace_us(command: &Command) -> anyhow::Error {
    match prepare(command) {
        Ok(mut prepared) => cannot_start(command, prepared.exec()),
        Err(error) => error,
    }
}

/// What users call a command: its program.
fn name(command: &Command) -> String {
    let program = Path::new(&command.program).file_name().unwrap_or(command.program.as_os_str());
    program.to_string_lossy().into_owned()
}

/// The failure of a command, with its output.
pub fn failed(command: &Command, status: ExitStatus, output: String) -> anyhow::Error {
    Failed::of(&name(command), status, output).into()
}

fn cannot_start(command: &Command, error: io::Error) -> anyhow::Error {
    let (name, program) = (name(command), command.program.display());
    match remedies::installation(&name) {
        // What we know the place of came with something else.
        _ if error.kind() == io::ErrorKind::NotFound && command.program.is_absolute() => {
            anyhow!("there is no {program}: {}", remedies::restoration(&name))
        }
        Some(installation) if error.kind() == io::ErrorKind::NotFound => Missing { program: name, installation }.into(),
        _ => anyhow::Error::new(error).context(format!("cannot start {program}")),
    }
}

fn prepare(command: &Command) -> Result<std::process::Command> {
    let shell = xshell::Shell::new().context("cannot read the current directory")?;
    let mut prepared = shell.cmd(&command.program).args(&command.args);
    prepared = match &command.environment {
        Environment::Users(variables) => {
            UNSET.iter().fold(prepared, |command, name| command.env_remove(name)).envs(variables)
        }
        Environment::Only(variables) => prepared.env_clear().envs(variables),
    };
    let mut prepared = std::process::Command::from(prepared);
    prepared.current_dir(&command.folder);
    Ok(prepared)
}

fn forget(group: Pid) {
    CHILDREN.lock().unwrap().retain(|(known, _)| *known != group);
}
