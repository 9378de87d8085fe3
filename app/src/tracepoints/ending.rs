//! How a process ended, from what its threads and signals did before: the kernel tells nobody without BTF.
//!
//! Either it is known for sure, or it is not told.

use crate::event::End;

/// A signal that was sent so long before an exit and did not end the process is blocked, or taken by other means than a
/// handler (sigwait, signalfd), and has no part in how the process ends. One that ends it does so at once.
const SETTLED_NS: u64 = 1_000_000_000;

/// The numbers differ between architectures.
const SIGKILL: u8 = libc::SIGKILL as u8;
/// What does nothing unless there is a handler, or only stops or continues the process.
const HARMLESS: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];
/// What writes a core dump, if the limits allow it.
const DUMPING: [i32; 10] = [
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

/// What has happened to a process that bears on its end.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// A thread has begun to end the whole process: with this code, at this time.
    group: Option<(u8, u64)>,
    /// The same for a thread that is the only one.
    alone: Option<(u8, u64)>,
    /// A signal without a handler was taken from the queue, and ends the process.
    taken: Option<u8>,
    /// Two things that exclude each other have happened.
    is_unclear: bool,
    /// A thread was ended by SIGKILL: somebody's, or the kernel's own, when the whole process ends.
    killed: bool,
    /// Signals on their way, with the time of the last one of each.
    sent: Vec<(u8, u64)>,
}

impl Ending {
    pub(super) fn exit_group(&mut self, code: u8, time_ns: u64) {
        match self.group {
            // The threads of a process may do so at once.
            Some((other, _)) if other != code => self.is_unclear = true,
            Some(_) => {}
            None => self.group = Some((code, time_ns)),
        }
    }

    /// A thread ends itself; `alone` if it has been the only one since the process began or executed a program.
    pub(super) fn exit_thread(&mut self, code: u8, time_ns: u64, alone: bool) {
        if alone {
            self.alone = Some((code, time_ns));
        } else {
            // Which thread's code counts differs between kernels.
            self.is_unclear = true;
        }
    }

    pub(super) fn signal_sent(&mut self, signal: u8, time_ns: u64) {
        if HARMLESS.contains(&signal.into()) {
            return;
        }
        self.sent.retain(|(other, _)| *other != signal);
        self.sent.push((signal, time_ns));
    }

    pub(super) fn signal_taken(&mut self, signal: u8, has_handler: bool) {
        if HARMLESS.contains(&signal.into()) {
            return;
        }
        if signal == SIGKILL {
            self.killed = true;
            return;
        }
        self.sent.retain(|(other, _)| *other != signal);
        if !has_handler {
            self.is_unclear |= self.taken.is_some_and(|other| other != signal);
            self.taken = Some(signal);
        }
    }

    /// The process does what only a living one can.
    pub(super) fn is_alive(&mut self) {
        let sent = std::mem::take(&mut self.sent);
        *self = Self { sent, ..Self::default() };
    }

    /// Once its last thread has ended.
    pub(super) fn end(&self) -> Option<End> {
        let code = self.group.or(self.alone);
        let newer_than = |time_ns: u64| self.sent.iter().filter(move |(_, sent)| sent + SETTLED_NS > time_ns);
        match (code, self.taken) {
            _ if self.is_unclear => None,
            (Some((code, time_ns)), None) if newer_than(time_ns).next().is_none() => Some(End::Code(code)),
            (None, Some(signal)) if self.sent.is_empty() => Some(by_signal(signal)),
            (None, None) if self.killed => match self.sent[..] {
                [(signal, _)] => Some(by_signal(signal)),
                _ => None,
            },
            _ => None,
        }
    }
}

fn by_signal(number: u8) -> End {
    // Whether the kernel really wrote a dump is told nowhere.
    End::Signal { number, core_dumped: (!DUMPING.contains(&number.into())).then_some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const SIGTERM: u8 = libc::SIGTERM as u8;
    const SIGSEGV: u8 = libc::SIGSEGV as u8;
    const SIGHUP: u8 = libc::SIGHUP as u8;

    fn after(happened: impl FnOnce(&mut Ending)) -> Option<End> {
        let mut ending = Ending::default();
        happened(&mut ending);
        ending.end()
    }

    fn killed_by(number: u8) -> Option<End> {
        Some(End::Signal { number, core_dumped: Some(false) })
    }

    #[test]
    fn a_process_that_ends_itself_gives_its_code() {
        assert_eq!(after(|ending| ending.exit_group(3, SECOND)), Some(End::Code(3)));
        assert_eq!(after(|ending| ending.exit_thread(4, SECOND, true)), Some(End::Code(4)));
        // The other threads are ended with a SIGKILL that nobody has sent.
        let with_threads = after(|ending| {
            ending.exit_group(3, SECOND);
            ending.signal_taken(SIGKILL, false);
        });
        assert_eq!(with_threads, Some(End::Code(3)));
    }

    #[test]
    fn a_signal_that_ends_it_is_told() {
        let killed = after(|ending| {
            ending.signal_sent(SIGKILL, SECOND);
            ending.signal_taken(SIGKILL, false);
        });
        assert_eq!(killed, killed_by(SIGKILL));
        // One that writes no dump ends all threads as SIGKILL does, and is never taken from the queue.
        let terminated = after(|ending| {
            ending.signal_sent(SIGTERM, SECOND);
            ending.signal_taken(SIGKILL, false);
        });
        assert_eq!(terminated, killed_by(SIGTERM));
        let crashed = after(|ending| {
            ending.signal_sent(SIGSEGV, SECOND);
            ending.signal_taken(SIGSEGV, false);
        });
        assert_eq!(crashed, Some(End::Signal { number: SIGSEGV, core_dumped: None }));
    }

    #[test]
    fn signals_that_did_not_end_it_do_not_count() {
        let handled = after(|ending| {
            ending.signal_sent(SIGTERM, SECOND);
            ending.signal_taken(SIGTERM, true);
            ending.exit_group(3, SECOND + 1);
        });
        assert_eq!(handled, Some(End::Code(3)));
        let harmless = after(|ending| {
            ending.signal_sent(libc::SIGCHLD as u8, SECOND);
            ending.signal_taken(libc::SIGTSTP as u8, false);
            ending.exit_group(3, SECOND);
        });
        assert_eq!(harmless, Some(End::Code(3)));
        let blocked_for_long = after(|ending| {
            ending.signal_sent(SIGTERM, SECOND);
            ending.exit_group(3, 3 * SECOND);
        });
        assert_eq!(blocked_for_long, Some(End::Code(3)));
    }

    #[test]
    fn what_is_not_known_for_sure_is_not_told() {
        assert_eq!(after(|_| {}), None);
        // Either may have been first.
        let at_once = |ending: &mut Ending| {
            ending.signal_sent(SIGTERM, SECOND);
            ending.exit_group(3, SECOND + 5);
        };
        assert_eq!(after(at_once), None);
        let two_signals = after(|ending| {
            ending.signal_sent(SIGHUP, SECOND);
            ending.signal_sent(SIGTERM, SECOND);
            ending.signal_taken(SIGKILL, false);
        });
        assert_eq!(two_signals, None);
        let two_codes = after(|ending| {
            ending.exit_group(3, SECOND);
            ending.exit_group(4, SECOND);
        });
        assert_eq!(two_codes, None);
        assert_eq!(after(|ending| ending.exit_thread(3, SECOND, false)), None);
        // A 32-bit program's end is not seen on a 64-bit kernel; its other threads are.
        assert_eq!(after(|ending| ending.signal_taken(SIGKILL, false)), None);
        let two_deadly = after(|ending| {
            ending.signal_taken(SIGSEGV, false);
            ending.signal_taken(SIGHUP, false);
        });
        assert_eq!(two_deadly, None);
    }

    #[test]
    fn a_sign_of_life_takes_back_what_seemed_deadly() {
        let alive = after(|ending| {
            ending.signal_taken(SIGTERM, false);
            ending.is_alive();
            ending.exit_group(0, SECOND);
        });
        assert_eq!(alive, Some(End::Code(0)));
    }
}
