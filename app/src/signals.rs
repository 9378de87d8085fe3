//! What is asked for by signals.

use std::{
    fs,
    os::fd::{AsFd, BorrowedFd},
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

use crate::cli::Cli;

/// Those that wait until they are asked for.
pub(crate) struct Signals(SignalFd);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGINT, which a terminal sends to the command as well.
    Interrupt,
    Terminate,
    /// SIGHUP, with --output.
    Reopen,
    /// The command has changed its state.
    Child,
}

impl Signals {
    /// Those that are not ignored: a shell without job control starts what is in the background so, and Ctrl-C is not for it.
    pub(crate) fn new(cli: &Cli) -> nix::Result<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = ignored_signals(&status).unwrap_or(0);
        let is_ignored = |signal: Signal| ignored >> (signal as u32 - 1) & 1 == 1;
        let mut signals: SigSet =
            [Signal::SIGINT, Signal::SIGTERM].into_iter().filter(|signal| !is_ignored(*signal)).collect();
        if cli.output.is_some() {
            signals.add(Signal::SIGHUP);
        }
        if !cli.command.is_empty() {
            signals.add(Signal::SIGCHLD);
        }
        signals.thread_block()?;
        Ok(Self(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    pub(crate) fn next(&self) -> Option<Asked> {
        let signal = self.0.read_signal().ok().flatten()?;
        Some(match Signal::try_from(signal.ssi_signo as i32) {
            Ok(Signal::SIGINT) => Asked::Interrupt,
            Ok(Signal::SIGHUP) => Asked::Reopen,
            Ok(Signal::SIGCHLD) => Asked::Child,
            _ => Asked::Terminate,
        })
    }
}

/// A bit for each, from the lowest for signal 1 on.
fn ignored_signals(status: &str) -> Option<u128> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u128::from_str_radix(line.trim(), 16).ok()
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn a_signal_waits_until_it_is_asked_for() {
        let signals = Signals::new(&Cli::parse_from(["exectrace", "--output", "x"])).unwrap();
        assert_eq!(signals.next(), None);
        // To this thread alone, where they are blocked.
        for (signal, asked) in [(Signal::SIGTERM, Asked::Terminate), (Signal::SIGHUP, Asked::Reopen)] {
            raise(signal).unwrap();
            assert_eq!(signals.next(), Some(asked));
        }
        assert_eq!(signals.next(), None);
    }

    #[test]
    fn ignored_signals_are_read_from_proc() {
        assert_eq!(ignored_signals("SigBlk:\t0\nSigIgn:\t0000000000000002\n"), Some(2));
        // mips has 128 of them.
        assert_eq!(ignored_signals(&format!("SigIgn:\t{}\n", "f".repeat(32))), Some(u128::MAX));
        assert_eq!(ignored_signals(""), None);
    }
}
