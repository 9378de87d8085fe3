//! `exectrace -- COMMAND`: a program that begins only when everything is in place to see it.
//!
//! It is started as this same binary with one hidden argument, which waits for a byte and then becomes the command. So the
//! first that is seen of it is its exec.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, PipeWriter, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, Command, ExitCode, ExitStatus},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::{SigSet, Signal, kill},
    unistd::{Gid, Pid, Uid, User, close, geteuid, initgroups, setgid, setuid},
};

use crate::{diag, error::Error};

/// Before the number of the descriptor on which to wait.
const FLAG: &str = "--run-when-ready=";

/// As shells have it: of what cannot be found, and of what cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

pub(crate) struct Running {
    child: Child,
    /// Closed, or dropped with this, it says to give up.
    go: Option<PipeWriter>,
}

impl Running {
    /// It waits until [`Self::go`].
    pub(crate) fn prepare(command: &[OsString]) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::System { call: "starting the command", error };
        let (ready, go) = io::pipe().map_err(failed)?;
        fcntl(&ready, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| failed(errno.into()))?;
        let exe = env::current_exe().map_err(failed)?;
        let child =
            Command::new(exe).arg(format!("{FLAG}{}", ready.as_raw_fd())).args(command).spawn().map_err(failed)?;
        Ok(Self { child, go: Some(go) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn go(&mut self) {
        // Should it be gone already, that will be seen.
        if let Some(mut go) = self.go.take() {
            let _ = go.write_all(b"!");
        }
    }

    /// The code to exit with if it has ended: its own, or 128 and the signal, as shells have it.
    pub(crate) fn ended(&mut self) -> Option<ExitCode> {
        self.child.try_wait().ok().flatten().map(exit_code)
    }

    pub(crate) fn terminate(&self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What has not begun ends now; what has is left alone.
        if self.go.take().is_some() {
            let _ = self.child.wait();
        }
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    ExitCode::from(match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, signal) => 128_u8.wrapping_add(signal.unwrap_or_default() as u8),
    })
}

/// The descriptor on which this process is to wait, if it is such a child.
pub(crate) fn waits_on(argument: Option<OsString>) -> Option<RawFd> {
    argument?.to_str()?.strip_prefix(FLAG)?.parse().ok()
}

/// Returns only if it fails.
pub(crate) fn run_when_ready(fd: RawFd, mut command: impl Iterator<Item = OsString>) -> ExitCode {
    let ready = File::open(format!("/proc/self/fd/{fd}")).and_then(|mut pipe| {
        let _ = close(fd);
        pipe.read_exact(&mut [0])
    });
    let (Ok(()), Some(program)) = (ready, command.next()) else { return ExitCode::FAILURE };
    // Whoever traces has blocked some signals.
    let _ = SigSet::empty().thread_set_mask();
    let mut start = Command::new(&program);
    start.args(command);
    let error = match as_caller_of_sudo(&mut start) {
        Ok(()) => start.exec(),
        Err(error) => error,
    };
    diag::note(format_args!("cannot run {}: {error}", program.display()));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN })
}

/// Gives up root for the user who has called sudo: tracing needs it, and the command does not.
fn as_caller_of_sudo(start: &mut Command) -> io::Result<()> {
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let (Some(uid), Some(gid)) = (number("SUDO_UID"), number("SUDO_GID")) else { return Ok(()) };
    if uid == 0 || !geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if let Some(user) = User::from_uid(uid)? {
        let name = std::ffi::CString::new(user.name.clone())?;
        initgroups(&name, gid)?;
        start.env("USER", &user.name).env("LOGNAME", &user.name).env("HOME", &user.dir);
    }
    setgid(gid)?;
    Ok(setuid(uid)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hidden_argument_names_a_descriptor() {
        assert_eq!(waits_on(Some("--run-when-ready=5".into())), Some(5));
        for other in ["--run-when-ready=x", "--json"] {
            assert_eq!(waits_on(Some(other.into())), None);
        }
        assert_eq!(waits_on(None), None);
    }

    #[test]
    fn a_signal_becomes_a_code_as_in_a_shell() {
        for (status, code) in [(3 << 8, 3), (9, 137), (11 | 0x80, 139)] {
            assert_eq!(exit_code(ExitStatus::from_raw(status)), ExitCode::from(code));
        }
    }
}
