//! How a process ended, from what taskstats reports of its threads.

use crate::{event::End, netlink::Report};

/// Two threads that end so close to one another may have done so in any order.
const CLOSE_NS: u64 = 10_000_000;
/// Between the two a thread frees the memory of its process.
const CLOSE_TO_A_WORKER_NS: u64 = 2_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    First,
    Other,
    /// A thread of the kernel's own, as for io_uring: what ends the process strikes it, too, but its status is always 0.
    Worker,
}

/// What is reported of the threads of a process that have ended, since it began or last executed a program.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// Of a thread that was struck: what ends a process as a whole strikes all other threads, and gives them its status.
    struck: Option<u32>,
    /// Of the first thread, and whether it was struck.
    first: Option<(u32, bool)>,
    last: Option<Thread>,
    /// The last one before that had another code than 0.
    failed: Option<Thread>,
    /// A thread has written a core dump: its status says so, and that of the process does, but not that of the others.
    core_dumped: bool,
    /// A worker was struck: something has ended the process as a whole.
    worker_struck: bool,
    /// When the last worker has ended.
    worker_ns: Option<u64>,
    /// Something was not reported.
    is_incomplete: bool,
}

#[derive(Debug, Clone, Copy)]
struct Thread {
    status: u32,
    time_ns: u64,
    is_first: bool,
    /// Since Linux 5.19. Before, only the first thread has.
    has_own_status: bool,
}

impl Reported {
    pub(super) fn thread_ended(&mut self, report: Option<&Report>, role: Role, time_ns: u64) {
        let Some(report) = report else {
            self.is_incomplete = true;
            return;
        };
        let has_own_status = report.is_last.is_some();
        if role == Role::Worker && has_own_status {
            self.worker_struck |= report.was_struck;
            self.worker_ns = Some(time_ns);
            return;
        }
        let is_first = role == Role::First;
        self.core_dumped |= report.status & CORE_DUMPED != 0;
        if is_first {
            self.first = Some((report.status, report.was_struck));
        }
        if report.was_struck && (has_own_status || is_first) {
            self.struck = Some(report.status);
        }
        let before = self.last.replace(Thread { status: report.status, time_ns, is_first, has_own_status });
        self.failed = before.filter(|thread| thread.status != 0).or(self.failed);
    }

    /// Threads may have ended that nothing is known of.
    pub(super) fn is_incomplete(&mut self) {
        self.is_incomplete = true;
    }

    /// Once the last thread has ended. `was_threaded`: it was not the only one; `group`: what a thread has ended all with,
    /// if that was seen.
    pub(super) fn end(&self, was_threaded: bool, group: Option<u8>) -> Option<End> {
        let last = self.last?;
        let status = if last.has_own_status {
            match self.struck {
                Some(status) => status,
                // One may have ended the process just when this one was ending itself.
                None if last.status == 0
                    && self.failed.is_some_and(|failed| failed.time_ns + CLOSE_NS > last.time_ns) =>
                {
                    return None;
                }
                None if last.status != 0 && self.may_end_with_a_worker(last) => return None,
                None => last.status,
            }
        } else if !was_threaded {
            last.status
        } else {
            // Up to Linux 5.18 the first one's status counts, unless another one has ended all after it had ended.
            match self.first {
                Some((status, was_struck)) if was_struck || last.is_first || group == Some((status >> 8) as u8) => {
                    status
                }
                _ => return None,
            }
        };
        Some(match End::from_status(status) {
            End::Signal { number, .. } => {
                let is_known = self.core_dumped
                    || !may_dump(number)
                    || !(self.is_incomplete || was_threaded && !last.has_own_status);
                End::Signal { number, core_dumped: is_known.then_some(self.core_dumped) }
            }
            code => code,
        })
    }

    /// Of threads that end by themselves, the one counts that begins last to do so, and the last one waits for workers. One that
    /// ends all looks the same if it has not struck them.
    fn may_end_with_a_worker(&self, last: Thread) -> bool {
        let is_close = |worker_ns: u64| worker_ns.abs_diff(last.time_ns) < CLOSE_TO_A_WORKER_NS;
        self.worker_ns.is_some_and(is_close) && (!self.worker_struck || self.is_incomplete)
    }
}

const CORE_DUMPED: u32 = 0x80;

/// Whether a signal writes a core dump, if the limits allow it.
pub(super) fn may_dump(signal: u8) -> bool {
    // The numbers differ between architectures.
    [
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
    ]
    .contains(&signal.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const SEGV: u8 = libc::SIGSEGV as u8;

    fn report(status: u32, was_struck: bool, is_last: Option<bool>) -> Report {
        Report { status, was_struck, is_last, only_forked: false, uid: 0, ppid: 1, comm: Vec::new() }
    }

    /// Threads that end one after the other, each so many nanoseconds after the first: status, struck.
    fn ended(threads: &[(u32, bool, u64)], first: usize, is_new: bool) -> Reported {
        let mut status = Reported::default();
        for (index, &(code, was_struck, after_ns)) in threads.iter().enumerate() {
            let is_last = index + 1 == threads.len();
            let report = report(code, was_struck, is_new.then_some(is_last));
            let role = if index == first { Role::First } else { Role::Other };
            status.thread_ended(Some(&report), role, SECOND + after_ns);
        }
        status
    }

    fn killed(number: u8, core_dumped: impl Into<Option<bool>>) -> Option<End> {
        Some(End::Signal { number, core_dumped: core_dumped.into() })
    }

    #[test]
    fn one_thread_is_enough_on_every_kernel() {
        for is_new in [false, true] {
            let end = |status| ended(&[(status, false, 0)], 0, is_new).end(false, None);
            assert_eq!(end(3 << 8), Some(End::Code(3)));
            assert_eq!(end(9), killed(9, false));
            assert_eq!(end(u32::from(SEGV) | 0x80), killed(SEGV, true));
            assert_eq!(end(SEGV.into()), killed(SEGV, false));
        }
    }

    #[test]
    fn a_thread_that_came_and_went_hides_nothing() {
        let end = |threads: &[_]| ended(threads, threads.len() - 1, true).end(true, None);
        assert_eq!(end(&[(0, false, 0), (3 << 8, false, 5)]), Some(End::Code(3)));
        assert_eq!(end(&[(0, false, 0), (15, true, 5)]), killed(15, false));
    }

    #[test]
    fn what_strikes_the_others_is_how_the_process_ends() {
        // The first thread had ended before.
        assert_eq!(
            ended(&[(0, false, 0), (7 << 8, false, 5), (7 << 8, true, 6)], 0, true).end(true, None),
            Some(End::Code(7))
        );
        // One thread was ending itself when another one ended all.
        assert_eq!(ended(&[(7 << 8, true, 0), (1 << 8, false, 5)], 1, true).end(true, None), Some(End::Code(7)));
        // Only who writes the dump has the mark.
        let dumped = ended(&[(u32::from(SEGV) | 0x80, true, 0), (SEGV.into(), true, 1)], 1, true);
        assert_eq!(dumped.end(true, None), killed(SEGV, true));
    }

    #[test]
    fn workers_of_the_kernel_have_no_status() {
        let end = |status, was_struck, workers: &[(bool, u64)]| {
            let mut reported = Reported::default();
            for &(is_struck, after_ns) in workers {
                reported.thread_ended(Some(&report(0, is_struck, Some(false))), Role::Worker, SECOND + after_ns);
            }
            reported.thread_ended(Some(&report(status, was_struck, Some(true))), Role::First, 9 * SECOND);
            reported.end(true, None)
        };
        let (before, at_once) = (SECOND, 8 * SECOND);
        // By exit_group(), by a signal, and one by one: then the worker may count.
        assert_eq!(end(7 << 8, false, &[(true, at_once)]), Some(End::Code(7)));
        assert_eq!(end(u32::from(SEGV) | 0x80, true, &[(true, at_once)]), killed(SEGV, true));
        assert_eq!(end(7 << 8, false, &[(false, at_once)]), None);
        assert_eq!(end(0, false, &[(false, at_once)]), Some(End::Code(0)));
        // One that was idle had ended before.
        assert_eq!(end(7 << 8, false, &[(false, before)]), Some(End::Code(7)));
        assert_eq!(end(7 << 8, false, &[(false, before), (true, at_once)]), Some(End::Code(7)));
        // Nor does it count if it comes last, or on an old kernel.
        let mut last = ended(&[(7 << 8, false, 0)], 0, true);
        last.thread_ended(Some(&report(0, true, Some(true))), Role::Worker, SECOND + 1);
        assert_eq!(last.end(true, None), Some(End::Code(7)));
        let mut old = ended(&[(7 << 8, false, 0)], 0, false);
        old.thread_ended(Some(&report(0, true, None)), Role::Worker, SECOND + 1);
        assert_eq!(old.end(true, None), None);
        assert_eq!(old.end(true, Some(7)), Some(End::Code(7)));
    }

    #[test]
    fn where_two_ends_are_too_close_it_is_unknown() {
        let apart = |ns| ended(&[(7 << 8, false, 0), (0, false, ns)], 1, true).end(true, None);
        assert_eq!(apart(5), None);
        assert_eq!(apart(SECOND), Some(End::Code(0)));
        assert_eq!(Reported::default().end(false, None), None);
    }

    #[test]
    fn old_kernels_report_the_first_thread_only() {
        let end = |threads: &[_], first, group| ended(threads, first, false).end(true, group);
        // Struck, or the last one: that is how the process ended.
        assert_eq!(end(&[(0, false, 0), (7 << 8, true, 1)], 1, None), Some(End::Code(7)));
        assert_eq!(end(&[(7 << 8, true, 0), (0, true, 1)], 0, None), Some(End::Code(7)));
        assert_eq!(end(&[(0, false, 0), (7 << 8, false, 1)], 1, None), Some(End::Code(7)));
        // It ended first, by itself: only the tracepoint shows whether it has ended all.
        assert_eq!(end(&[(7 << 8, false, 0), (0, true, 1)], 0, None), None);
        assert_eq!(end(&[(7 << 8, false, 0), (0, true, 1)], 0, Some(7)), Some(End::Code(7)));
        assert_eq!(end(&[(0, false, 0), (0, true, 1)], 0, Some(7)), None);
        // Who has written the dump is not known.
        assert_eq!(end(&[(0, true, 0), (SEGV.into(), true, 1)], 1, None), killed(SEGV, None));
        assert_eq!(end(&[(0, true, 0), (15, true, 1)], 1, None), killed(15, false));
    }

    #[test]
    fn without_all_reports_a_core_dump_is_not_denied() {
        let mut status = ended(&[(SEGV.into(), true, 0)], 0, true);
        status.is_incomplete();
        assert_eq!(status.end(true, None), killed(SEGV, None));
        let mut unknown = Reported::default();
        unknown.thread_ended(None, Role::First, SECOND);
        assert_eq!(unknown.end(false, None), None);
    }
}
