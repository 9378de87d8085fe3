//! What the children of --self-test do: this same binary, started with one hidden argument.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::process::CommandExt as _,
    process::{self, Command, ExitCode},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::{
        resource::{Resource, setrlimit},
        signal::{SigSet, Signal, kill},
        wait::waitpid,
    },
    unistd::{Pid, Uid, alarm, getpid, gettid, setsid, setuid},
};

/// Before the name of what to do. In one argument, for a `#!` line passes no more than one.
const FLAG: &str = "--self-test-child=";

/// Ends a child that hangs, so that the self-test does not.
const TIMEOUT_SECONDS: u32 = 20;

/// Where [`Child::ExecElsewhere`] executes: beyond a mount point.
pub(super) const ELSEWHERE: &str = "/proc/sys/kernel";

/// By which [`Child::ExecAsOther`] executes.
pub(super) const EXEC_FD: i32 = 64;

pub(super) const FAILURE: u8 = 3;
pub(super) const FORKED: u8 = 4;
pub(super) const THREADS: u8 = 5;
pub(super) const LEADER: u8 = 7;
pub(super) const THREAD_GONE: u8 = 8;
pub(super) const WORKER: u8 = 9;
/// What a child becomes: "nobody" nearly everywhere, and it need not exist.
pub(super) const OTHER_USER: u32 = 65_534;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Child {
    Succeed,
    Fail,
    BeKilled,
    BeTerminated,
    /// By a signal that can make the kernel write a core dump.
    Crash,
    /// Ends while it still has other threads.
    Threads,
    /// A thread of it has come and gone.
    ThreadGone,
    /// Ends while the kernel has a thread of its own in it, for io_uring.
    Worker,
    /// Gives a thread of it another name.
    RenameThread,
    /// Its first thread ends before the others.
    LeaderFirst,
    /// Another thread than the first executes a program.
    ExecFromThread,
    /// Has a child that executes nothing.
    Fork,
    ChangeUser,
    /// And executes a program as that user.
    ExecAsOther,
    /// Executes a program in [`ELSEWHERE`], with the terminal that the next argument names, if any.
    ExecElsewhere,
}

impl Child {
    const ALL: [Self; 15] = [
        Self::Succeed,
        Self::Fail,
        Self::BeKilled,
        Self::BeTerminated,
        Self::Crash,
        Self::Threads,
        Self::ThreadGone,
        Self::Worker,
        Self::RenameThread,
        Self::LeaderFirst,
        Self::ExecFromThread,
        Self::Fork,
        Self::ChangeUser,
        Self::ExecAsOther,
        Self::ExecElsewhere,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Succeed => "succeed",
            Self::Fail => "fail",
            Self::BeKilled => "be-killed",
            Self::BeTerminated => "be-terminated",
            Self::Crash => "crash",
            Self::Threads => "threads",
            Self::ThreadGone => "thread-gone",
            Self::Worker => "worker",
            Self::RenameThread => "rename-thread",
            Self::LeaderFirst => "leader-first",
            Self::ExecFromThread => "exec-from-thread",
            Self::Fork => "fork",
            Self::ChangeUser => "change-user",
            Self::ExecAsOther => "exec-as-other",
            Self::ExecElsewhere => "exec-elsewhere",
        }
    }

    /// The argument that makes this binary such a child.
    pub(super) fn argument(self) -> String {
        format!("{FLAG}{}", self.name())
    }

    /// Returns at most for children that end in the ordinary way.
    pub(crate) fn run(self) -> ExitCode {
        // It outlives an exec, too.
        alarm::set(TIMEOUT_SECONDS);
        match self {
            Self::Succeed => ExitCode::SUCCESS,
            Self::Fail => ExitCode::from(FAILURE),
            Self::BeKilled => end_by(Signal::SIGKILL),
            Self::BeTerminated => end_by(Signal::SIGTERM),
            Self::Crash => {
                // No file is left behind, unless the machine hands dumps to a program.
                let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
                end_by(Signal::SIGSEGV)
            }
            Self::Threads => {
                // Many: several may end in the very same moment, and none of them is the end of the process twice.
                for _ in 0..30 {
                    thread::spawn(|| thread::sleep(Duration::from_secs(60)));
                }
                ExitCode::from(THREADS)
            }
            Self::ThreadGone => match thread::spawn(|| {}).join() {
                Ok(()) => ExitCode::from(THREAD_GONE),
                Err(_) => ExitCode::FAILURE,
            },
            Self::Worker => {
                begin_worker();
                ExitCode::from(WORKER)
            }
            Self::RenameThread => rename_thread(),
            Self::LeaderFirst => {
                thread::spawn(|| {
                    // Should this be too short, the leader is the last to end: that must give the same event.
                    thread::sleep(Duration::from_millis(100));
                    exit_thread(0)
                });
                exit_thread(LEADER)
            }
            Self::ExecFromThread => {
                let thread = thread::spawn(|| match env::current_exe() {
                    // Returns only if it fails.
                    Ok(exe) => Command::new(exe).arg(Self::Succeed.argument()).exec(),
                    Err(error) => error,
                });
                let _ = thread.join();
                ExitCode::FAILURE
            }
            Self::Fork => fork_and_wait(),
            Self::ChangeUser => match setuid(Uid::from_raw(OTHER_USER)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            },
            Self::ExecAsOther => exec_as_other(),
            Self::ExecElsewhere => exec_elsewhere(),
        }
    }
}

/// The child that this process is to be, if it is one.
pub(crate) fn named_by(argument: Option<OsString>) -> Option<Child> {
    let argument = argument?;
    let name = argument.to_str()?.strip_prefix(FLAG)?;
    Child::ALL.into_iter().find(|child| child.name() == name)
}

fn end_by(signal: Signal) -> ExitCode {
    // Whoever traces has blocked some, and children inherit that.
    let _ = SigSet::from_iter([signal]).thread_unblock();
    let _ = kill(getpid(), signal);
    // Only a process that takes no notice of it gets here.
    ExitCode::FAILURE
}

/// Ends the calling thread alone, without the C library, which would end the process with the first one.
fn exit_thread(code: u8) -> ! {
    // SAFETY: the kernel takes this thread away; nobody waits for it, and nothing on its stack is used by another.
    unsafe { libc::syscall(libc::SYS_exit, libc::c_long::from(code)) };
    // A thread that has ended does not get here.
    process::abort()
}

/// Where the kernel has no io_uring, or does not allow it, there is none.
fn begin_worker() {
    // linux/io_uring.h: struct io_uring_params, whose third word are flags; IORING_SETUP_SQPOLL.
    let mut params = [0_u32; 30];
    params[2] = 2;
    // SAFETY: the kernel reads and writes these 120 bytes, which are alive during the call.
    unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
}

/// As pthread_setname_np() does for another thread than the one that calls it.
fn rename_thread() -> ExitCode {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(gettid());
        thread::sleep(Duration::from_secs(60));
    });
    let renamed = receiver.recv().is_ok_and(|tid| fs::write(format!("/proc/self/task/{tid}/comm"), "worker").is_ok());
    if renamed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The file is opened before: the other user need not be able to reach it.
fn exec_as_other() -> ExitCode {
    // Whoever started this may have left lower ones open.
    let opened = fs::File::open("/proc/self/exe").and_then(|exe| Ok(fcntl(&exe, FcntlArg::F_DUPFD(EXEC_FD))?));
    let Ok(fd) = opened else { return ExitCode::FAILURE };
    if setuid(Uid::from_raw(OTHER_USER)).is_ok() {
        let path = format!("/proc/self/fd/{fd}");
        // Returns only if it fails.
        let _ = Command::new(path).arg(Child::Succeed.argument()).exec();
    }
    ExitCode::FAILURE
}

fn exec_elsewhere() -> ExitCode {
    let terminal = env::args_os().nth(2);
    // Whoever has no terminal gets the first one that it opens.
    let has_moved = env::set_current_dir(ELSEWHERE).is_ok() && setsid().is_ok();
    let opened = terminal.map(|terminal| fs::OpenOptions::new().read(true).write(true).open(terminal)).transpose();
    if let (true, Ok(_terminal), Ok(exe)) = (has_moved, opened, env::current_exe()) {
        // Returns only if it fails.
        let _ = Command::new(exe).arg(Child::Succeed.argument()).exec();
    }
    ExitCode::FAILURE
}

fn fork_and_wait() -> ExitCode {
    // SAFETY: there is one thread only, and the new process ends at once, running nothing of ours.
    let forked = unsafe {
        match libc::fork() {
            0 => libc::_exit(FORKED.into()),
            pid => pid,
        }
    };
    match waitpid(Pid::from_raw(forked), None) {
        Ok(_) if forked > 0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_child_is_found_by_its_argument() {
        for child in Child::ALL {
            assert_eq!(named_by(Some(child.argument().into())), Some(child));
        }
        assert_eq!(named_by(Some("--self-test-child=other".into())), None);
        assert_eq!(named_by(Some("--json".into())), None);
        assert_eq!(named_by(None), None);
    }
}
