//! Memory that is shared by guests that run at once.

use std::sync::{Condvar, Mutex};

/// What QEMU itself takes in addition to the guest's memory, in MiB.
const OVERHEAD: u32 = 128;

/// The memory that guests have between them.
#[derive(Debug)]
pub struct Memory {
    /// MiB that are free, and guests that run.
    free: Mutex<(u32, usize)>,
    given_back: Condvar,
}

impl Memory {
    /// So many MiB; `None` for no limit.
    pub fn new(available: Option<u32>) -> Memory {
        Memory { free: Mutex::new((available.unwrap_or(u32::MAX), 0)), given_back: Condvar::new() }
    }

    /// Runs `guest` when there is memory for it. A guest for which there never will be runs alone.
    pub fn with<T>(&self, megabytes: u32, guest: impl FnOnce() -> T) -> T {
        let wanted = megabytes + OVERHEAD;
        let no_room = |free: &mut (u32, usize)| free.0 < wanted && free.1 > 0;
        let mut free = self.given_back.wait_while(self.free.lock().unwrap(), no_room).unwrap();
        let taken = wanted.min(free.0);
        *free = (free.0 - taken, free.1 + 1);
        drop(free);
        let result = guest();
        let mut free = self.free.lock().unwrap();
        *free = (free.0 + taken, free.1 - 1);
        self.given_back.notify_all();
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn as_many_guests_run_as_there_is_memory_for_and_one_at_least() {
        for (available, at_once) in [(Some(100), 1), (Some(1300), 2), (None, 4)] {
            let memory = Memory::new(available);
            let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        memory.with(512, || {
                            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            thread::sleep(Duration::from_millis(50));
                            running.fetch_sub(1, Ordering::SeqCst);
                        });
                    });
                }
            });
            assert!(most.load(Ordering::SeqCst) <= at_once, "{available:?}: {most:?}");
        }
    }
}
