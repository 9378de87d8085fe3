//! Where processes are started. They die with us: a signal that ends this program ends them first.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::command::{Command, Environment, UNSET};
use crate::error::Interrupted;
use crate::files;
use crate::hash;
use crate::step::Step;

/// The signal that told us to stop, or 0.
static SIGNAL: AtomicI32 = AtomicI32::new(0);
/// The process groups of running children.
static CHILDREN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// From now on SIGINT, SIGTERM and SIGHUP end the children and make [`Runner::check_interrupted`] fail; a second one ends us
/// at once.
pub fn catch_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot catch signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if SIGNAL.swap(signal, Ordering::SeqCst) != 0 {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
            for group in CHILDREN.lock().unwrap().iter() {
                let _ = kill_process_group(*group, Signal::TERM);
            }
        }
    });
    Ok(())
}

/// Starts commands, and tells the user what is going on.
#[derive(Debug, Clone, Copy)]
pub struct Runner {
    /// Show each command as it is started.
    pub verbose: bool,
}

impl Runner {
    /// One line of progress.
    pub fn say(self, line: impl AsRef<str>) {
        self.show(&format!("xtask: {}", line.as_ref()));
    }

    /// A line of another program's. That nobody reads it is no reason to stop.
    pub fn show(self, line: &str) {
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// Fails if a signal told us to stop.
    pub fn check_interrupted(self) -> Result<()> {
        match SIGNAL.load(Ordering::SeqCst) {
            0 => Ok(()),
            signal => Err(Interrupted(signal).into()),
        }
    }

    /// Does what a plan says.
    pub fn perform(self, steps: &[Step]) -> Result<()> {
        for step in steps {
            match step {
                Step::Remove { folder } => files::remove_folder(folder)?,
                Step::Write { file, text } => files::write(file, text)?,
                Step::Copy { from, to, sha256 } => {
                    let bytes = files::read(from)?;
                    if hash::bytes(&bytes) != *sha256 {
                        bail!("{} has changed since this run began: run it again", from.display());
                    }
                    files::write(to, bytes)?;
                }
                Step::Link { file, to } => {
                    symlink(to, file).with_context(|| format!("cannot create {}", file.display()))?
                }
                Step::Run(command) => self.run(command)?,
            }
        }
        Ok(())
    }

    /// Runs a command to its end and gives what it printed; its standard error goes into the error if it fails.
    pub fn read(self, command: &Command) -> Result<String> {
        let output = self.output(command)?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(anyhow!("{}", stderr.trim_end()).context(format!(
                "{} {}",
                self.name(command),
                ended(output.status)
            )));
        }
        String::from_utf8(output.stdout)
            .with_context(|| format!("{} printed something that is not text", self.name(command)))
    }

    /// Runs a command to its end; whether it failed is the caller's to see.
    pub fn output(self, command: &Command) -> Result<Output> {
        let (child, group) = self.spawn(command, Stdio::piped(), Stdio::piped())?;
        let output = child.wait_with_output().with_context(|| format!("cannot wait for {}", self.name(command)));
        forget(group);
        self.check_interrupted()?;
        output
    }

    /// Runs a command whose messages are for the user; its standard output is joined with ours on standard error.
    pub fn run(self, command: &Command) -> Result<()> {
        self.lines(command, |line| {
            self.show(line);
            Ok(())
        })
    }

    /// Runs a command, hands on each line it prints, and leaves its standard error to the user.
    pub fn lines(self, command: &Command, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let (mut child, group) = self.spawn(command, Stdio::piped(), Stdio::inherit())?;
        let stdout = child.stdout.take().context("no pipe to read from")?;
        let mut lines = BufReader::new(stdout);
        let read = (|| {
            let mut line = String::new();
            while lines.read_line(&mut line)? > 0 {
                each(line.trim_end_matches('\n'))?;
                line.clear();
            }
            anyhow::Ok(())
        })();
        if read.is_err() {
            // The child must not be left waiting for a reader that has gone.
            let _ = lines.read_to_end(&mut Vec::new());
        }
        let status = child.wait();
        forget(group);
        self.check_interrupted()?;
        read.with_context(|| format!("cannot understand {}", self.name(command)))?;
        let status = status.with_context(|| format!("cannot wait for {}", self.name(command)))?;
        if !status.success() {
            return Err(anyhow!("{} {}", self.name(command), ended(status)));
        }
        Ok(())
    }

    fn spawn(self, command: &Command, stdout: Stdio, stderr: Stdio) -> Result<(Child, Pid)> {
        self.check_interrupted()?;
        if self.verbose {
            self.say(format!("running {command}"));
        }
        let child = prepare(command)?
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.program.display()))?;
        let group = Pid::from_child(&child);
        CHILDREN.lock().unwrap().push(group);
        if SIGNAL.load(Ordering::SeqCst) != 0 {
            let _ = kill_process_group(group, Signal::TERM);
        }
        Ok((child, group))
    }

    fn name(self, command: &Command) -> String {
        let program = Path::new(&command.program).file_name().unwrap_or(command.program.as_os_str());
        program.to_string_lossy().into_owned()
    }
}

fn prepare(command: &Command) -> Result<std::process::Command> {
    let shell = xshell::Shell::new().context("cannot read the current folder")?;
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
    CHILDREN.lock().unwrap().retain(|known| *known != group);
}

/// How a process ended, to be put after its name.
pub fn ended(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed (exit code {code})"),
        (None, Some(9)) => "was killed (signal 9; if nobody did that, the machine ran out of memory)".into(),
        (None, signal) => format!("was ended by signal {}", signal.unwrap_or(0)),
    }
}
