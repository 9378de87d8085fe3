//! Ends of threads that may be none.
//!
//! When a program is executed that its user may not look into, such as sudo or one that cannot be read, the kernel takes perf's
//! events of the process away, and perf records that as the end of the thread. It comes between the name that the exec gives and the
//! exec itself (perf_event_exit_task() in begin_new_exec()). A thread can end there, too, if what it executes is broken. What comes
//! next of the thread says which it was.

use std::collections::HashMap;

use crate::perf_ring::Sample;

/// So long it takes at most.
const PATIENCE_NS: u64 = 2_000_000_000;

/// By thread.
#[derive(Debug, Default)]
pub(super) struct DoubtfulEnds(HashMap<u32, Sample>);

impl DoubtfulEnds {
    pub(super) fn hold(&mut self, end: Sample) {
        self.0.insert(end.tid, end);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The thread goes on with another program: it was none.
    pub(super) fn goes_on(&mut self, tid: u32) {
        self.0.remove(&tid);
    }

    /// It was one.
    pub(super) fn confirmed(&mut self, tid: u32) -> Option<Sample> {
        self.0.remove(&tid)
    }

    /// One of which nothing more has come.
    pub(super) fn overdue(&mut self, now_ns: u64) -> Option<Sample> {
        let is_old = |end: &Sample| now_ns.saturating_sub(end.time_ns) >= PATIENCE_NS;
        let tid = *self.0.iter().find(|(_, end)| is_old(end))?.0;
        self.0.remove(&tid)
    }

    /// What comes next will not be seen. How many there were.
    pub(super) fn clear(&mut self) -> u64 {
        self.0.drain().count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf_ring::Content;

    fn end(tid: u32, time_ns: u64) -> Sample {
        Sample { time_ns, pid: tid, tid, content: Content::Exited { ppid: Some(1) } }
    }

    #[test]
    fn what_comes_next_says_whether_it_was_one() {
        let mut ends = DoubtfulEnds::default();
        for tid in [10, 11, 12, 13] {
            ends.hold(end(tid, 100));
        }
        ends.goes_on(10);
        assert_eq!(ends.confirmed(10), None);
        assert_eq!(ends.confirmed(11), Some(end(11, 100)));
        assert_eq!(ends.overdue(99 + PATIENCE_NS), None);
        ends.goes_on(12);
        assert_eq!(ends.overdue(100 + PATIENCE_NS), Some(end(13, 100)));
        assert!(ends.is_empty());
        ends.hold(end(14, 100));
        assert_eq!((ends.clear(), ends.is_empty()), (1, true));
    }
}
