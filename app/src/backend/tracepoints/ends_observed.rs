//! How a process ended, from what its threads and signals did before: the last resort, where there is no taskstats.
//!
//! Either it is known for sure, or it is unknown.

use super::ends_reported::may_dump;
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
/// What has happened to a process that bears on its end.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// A thread has begun to end the whole process: with this code, at this time.
    group: Option<(u8, u64)>,
    /// The same for a thread that is the only one.
    alone: Option<(u8, u64)>,
    /// A signal without a handler was taken from the queue, and ends the process.
    taken: Option<(u8, u64)>,
    /// Two things that exclude each other have happened.
    is_unclear: bool,
    /// A thread that was not alone has ended itself: which thread's code counts, if none ends all, differs between kernels.
    threads_end_singly: bool,
    /// Signals on their way, with the time of the last one of each.
    sent: Vec<(u8, u64)>,
    /// Threads that have taken a deadly signal, which that was, and when: somebody's, or the kernel's own SIGKILL, when
    /// the whole process ends.
    struck: Vec<(u32, u8, u64)>,
    /// SIGKILL was among them.
    killed: bool,
    /// When the last thread ended without.
    unstruck_ns: Option<u64>,
}

impl Observed {
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
            self.threads_end_singly = true;
        }
    }

    pub(super) fn signal_sent(&mut self, signal: u8, time_ns: u64) {
        if HARMLESS.contains(&signal.into()) {
            return;
        }
        self.sent.retain(|(other, _)| *other != signal);
        self.sent.push((signal, time_ns));
    }

    pub(super) fn signal_taken(&mut self, tid: u32, signal: u8, has_handler: bool, time_ns: u64) {
        if HARMLESS.contains(&signal.into()) {
            return;
        }
        if !has_handler {
            self.struck.push((tid, signal, time_ns));
        }
        if signal == SIGKILL {
            self.killed = true;
            return;
        }
        self.sent.retain(|(other, _)| *other != signal);
        if !has_handler {
            self.is_unclear |= self.taken.is_some_and(|(other, _)| other != signal);
            self.taken = Some((signal, time_ns));
        }
    }

    pub(super) fn thread_ended(&mut self, tid: u32, time_ns: u64) {
        let struck = self.struck.iter().any(|&(other, signal, struck_ns)| {
            // The first process of a pid namespace takes signals that do it nothing. A core dump takes its time, and so
            // does giving back the memory of a process that was killed.
            let at_once = time_ns < struck_ns + SETTLED_NS;
            other == tid && (at_once || signal == SIGKILL || may_dump(signal))
        });
        if !struck {
            self.unstruck_ns = Some(time_ns);
        }
    }

    /// The process does what only one that no signal has ended can do.
    pub(super) fn is_alive(&mut self) {
        self.taken = None;
        self.killed = false;
        self.struck.clear();
    }

    /// The process executes a program, and begins anew but for signals that are on their way.
    pub(super) fn executes(&mut self) {
        *self = Self { sent: std::mem::take(&mut self.sent), ..Self::default() };
    }

    /// As an exec does that fails beyond the point of no return.
    pub(super) fn was_killed(&self) -> bool {
        self.killed || self.taken.is_some_and(|(signal, _)| signal == libc::SIGSEGV as u8)
    }

    /// The code with which a thread has ended all, if that is known.
    pub(super) fn group_code(&self) -> Option<u8> {
        self.group.filter(|_| !self.is_unclear).map(|(code, _)| code)
    }

    /// Once its last thread has ended.
    pub(super) fn end(&self) -> Option<End> {
        let code = self.group.or(self.alone.filter(|_| !self.threads_end_singly));
        let newer_than = |time_ns: u64| self.sent.iter().filter(move |(_, sent)| sent + SETTLED_NS > time_ns);
        // What ends a process by a signal strikes all threads that it has then.
        let struck_all_since = |time_ns: u64| self.unstruck_ns.is_none_or(|unstruck_ns| unstruck_ns < time_ns);
        match (code, self.taken) {
            _ if self.is_unclear => None,
            (Some((code, time_ns)), None) if newer_than(time_ns).next().is_none() => Some(End::Code(code)),
            (None, Some((signal, time_ns))) if self.sent.is_empty() && struck_all_since(time_ns) => {
                Some(by_signal(signal))
            }
            (None, None) if self.killed => match self.sent[..] {
                [(signal, time_ns)] if struck_all_since(time_ns) => Some(by_signal(signal)),
                _ => None,
            },
            _ => None,
        }
    }
}

fn by_signal(number: u8) -> End {
    // Whether the kernel really wrote a dump is recorded nowhere.
    End::Signal { number, core_dumped: (!may_dump(number)).then_some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const SIGTERM: u8 = libc::SIGTERM as u8;
    const SIGSEGV: u8 = libc::SIGSEGV as u8;
    const SIGHUP: u8 = libc::SIGHUP as u8;

    fn after(happened: impl FnOnce(&mut Observed)) -> Option<End> {
        let mut ending = Observed::default();
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
            ending.signal_taken(7, SIGKILL, false, SECOND);
        });
        assert_eq!(with_threads, Some(End::Code(3)));
    }

    #[test]
    fn a_signal_that_ends_it_is_shown() {
        let killed = after(|ending| {
            ending.signal_sent(SIGKILL, SECOND);
            ending.signal_taken(7, SIGKILL, false, SECOND);
        });
        assert_eq!(killed, killed_by(SIGKILL));
        // One that writes no dump ends all threads as SIGKILL does, and is never taken from the queue.
        let terminated = after(|ending| {
            ending.signal_sent(SIGTERM, SECOND);
            ending.signal_taken(7, SIGKILL, false, SECOND);
        });
        assert_eq!(terminated, killed_by(SIGTERM));
        let crashed = after(|ending| {
            ending.signal_sent(SIGSEGV, SECOND);
            ending.signal_taken(7, SIGSEGV, false, SECOND);
        });
        assert_eq!(crashed, Some(End::Signal { number: SIGSEGV, core_dumped: None }));
    }

    #[test]
    fn signals_that_did_not_end_it_do_not_count() {
        let handled = after(|ending| {
            ending.signal_sent(SIGTERM, SECOND);
            ending.signal_taken(7, SIGTERM, true, SECOND);
            ending.exit_group(3, SECOND + 1);
        });
        assert_eq!(handled, Some(End::Code(3)));
        let harmless = after(|ending| {
            ending.signal_sent(libc::SIGCHLD as u8, SECOND);
            ending.signal_taken(7, libc::SIGTSTP as u8, false, SECOND);
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
    fn a_thread_that_came_and_went_hides_neither_code_nor_signal() {
        let code = after(|ending| {
            ending.exit_thread(0, SECOND, false);
            ending.exit_group(3, SECOND + 5);
        });
        assert_eq!(code, Some(End::Code(3)));
        let killed = after(|ending| {
            ending.exit_thread(0, SECOND, false);
            ending.signal_sent(SIGTERM, SECOND + 5);
            ending.signal_taken(7, SIGKILL, false, SECOND + 6);
        });
        assert_eq!(killed, killed_by(SIGTERM));
        // With the last thread's code it would be another matter.
        assert_eq!(
            after(|ending| {
                ending.exit_thread(0, SECOND, false);
                ending.exit_thread(3, SECOND + 5, true);
            }),
            None
        );
    }

    #[test]
    fn what_is_not_known_for_sure_is_unknown() {
        assert_eq!(after(|_| {}), None);
        // Either may have been first.
        let at_once = |ending: &mut Observed| {
            ending.signal_sent(SIGTERM, SECOND);
            ending.exit_group(3, SECOND + 5);
        };
        assert_eq!(after(at_once), None);
        let two_signals = after(|ending| {
            ending.signal_sent(SIGHUP, SECOND);
            ending.signal_sent(SIGTERM, SECOND);
            ending.signal_taken(7, SIGKILL, false, SECOND);
        });
        assert_eq!(two_signals, None);
        let two_codes = after(|ending| {
            ending.exit_group(3, SECOND);
            ending.exit_group(4, SECOND);
        });
        assert_eq!(two_codes, None);
        assert_eq!(after(|ending| ending.exit_thread(3, SECOND, false)), None);
        // A 32-bit program's end is not seen on a 64-bit kernel; its other threads are.
        assert_eq!(after(|ending| ending.signal_taken(7, SIGKILL, false, SECOND)), None);
        let two_deadly = after(|ending| {
            ending.signal_taken(7, SIGSEGV, false, SECOND);
            ending.signal_taken(7, SIGHUP, false, SECOND);
        });
        assert_eq!(two_deadly, None);
    }

    #[test]
    fn a_sign_of_life_takes_back_what_seemed_deadly() {
        let alive = after(|ending| {
            ending.signal_taken(7, SIGTERM, false, SECOND);
            ending.is_alive();
            ending.exit_group(0, SECOND);
        });
        assert_eq!(alive, Some(End::Code(0)));
    }

    #[test]
    fn a_signal_that_did_not_strike_every_thread_did_not_end_it() {
        // Taken by sigwait, with the end of the whole process unseen: one thread ended by itself, and took the other along.
        let waited_for = |first: u32, second: u32| {
            after(|ending| {
                ending.signal_sent(SIGTERM, SECOND);
                ending.signal_taken(8, SIGKILL, false, 2 * SECOND);
                ending.thread_ended(first, 2 * SECOND + 1);
                ending.thread_ended(second, 2 * SECOND + 2);
            })
        };
        assert_eq!(waited_for(7, 8), None);
        assert_eq!(waited_for(8, 7), None);
        // A thread that had ended before the signal came has no say.
        let killed = after(|ending| {
            ending.thread_ended(9, SECOND - 1);
            ending.signal_sent(SIGTERM, SECOND);
            for tid in [7, 8] {
                ending.signal_taken(tid, SIGKILL, false, SECOND + 1);
                ending.thread_ended(tid, SECOND + 2);
            }
        });
        assert_eq!(killed, killed_by(SIGTERM));
    }

    #[test]
    fn a_signal_that_a_thread_survived_did_not_end_it() {
        let ended_after = |ns| {
            after(|ending| {
                ending.signal_taken(7, SIGHUP, false, SECOND);
                ending.thread_ended(7, SECOND + ns);
            })
        };
        assert_eq!(ended_after(1000), killed_by(SIGHUP));
        assert_eq!(ended_after(5 * SECOND), None);
        let dumped = after(|ending| {
            ending.signal_taken(7, SIGSEGV, false, SECOND);
            ending.thread_ended(7, 30 * SECOND);
        });
        assert_eq!(dumped, Some(End::Signal { number: SIGSEGV, core_dumped: None }));
    }

    #[test]
    fn a_thread_that_makes_another_does_not_undo_the_end_of_all() {
        let code = after(|ending| {
            ending.exit_group(3, SECOND);
            ending.is_alive();
        });
        assert_eq!(code, Some(End::Code(3)));
        let executed = after(|ending| {
            ending.exit_group(3, SECOND);
            ending.executes();
        });
        assert_eq!(executed, None);
    }
}
