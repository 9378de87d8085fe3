//! Buffers that the kernel writes samples into, one for each processor: perf_event_open(2) and what comes of it.

mod event;
mod memory;
mod sample;

use std::{
    collections::BTreeSet,
    fs, io, mem,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

pub(crate) use self::{
    event::{Extras, attach, page_size, stacks_are_cut, try_one},
    sample::{Content, Sample, Stack},
};
use self::{
    event::{Request, enabled_ns, ioctl, lost_samples, open, own_cpu},
    memory::Memory,
};
use crate::clock::monotonic_ns;

/// In so long a time, a clock has gone on.
const INACCURACY_NS: u64 = 50_000_000;

/// What samples are taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nothing, but perf's own records of tasks that begin, end, and get another name. It needs no tracepoint, and no BPF
    /// program of others can keep them away.
    Tasks,
    /// A tracepoint, by the number that tracefs has for it.
    Tracepoint(u32),
    /// What BPF programs hand over with bpf_perf_event_output(): execs, or anything else.
    BpfExecs,
    Bpf,
}

/// The buffers of all processors that are online.
pub(crate) struct Buffers {
    buffers: Vec<Buffer>,
    /// What each of them has an event of.
    sources: Vec<(Source, Extras)>,
    enabled: bool,
    /// Read, and not older than the last look into all buffers.
    held: Vec<Sample>,
    /// Records that found no room.
    lost: u64,
    /// The kernel counts lost samples for each event.
    counts_lost: bool,
    /// Those that events of processors which are gone have counted, by source.
    lost_before: Vec<u64>,
    page: usize,
    kib: u32,
}

struct Buffer {
    cpu: u32,
    memory: Option<Memory>,
    /// One for each source. The first one owns the memory.
    events: Vec<OwnedFd>,
    /// Lost samples that are known already, where the kernel counts them.
    lost_known: u64,
    /// When the first event was last looked at, and how long it had been at work.
    checked: Option<(u64, u64)>,
}

/// What a look into all buffers has found.
pub(crate) struct Drained {
    /// In the order of time.
    pub(crate) samples: Vec<Sample>,
    /// Some may be missing.
    pub(crate) lossy: bool,
}

impl Buffers {
    /// For buffers of at least so many KiB each; events are still to be opened.
    ///
    /// # Errors
    /// When /sys does not say which processors there are.
    pub(crate) fn new(kib: u32) -> io::Result<Self> {
        let buffers = possible_cpus()?.into_iter().map(Buffer::new).collect();
        Ok(Self {
            buffers,
            sources: Vec::new(),
            enabled: false,
            held: Vec::new(),
            lost: 0,
            counts_lost: open(Source::Tasks, Some(own_cpu()), Extras::default(), true).is_ok(),
            lost_before: Vec::new(),
            page: page_size(),
            kib,
        })
    }

    /// Opens an event on every processor. Nothing is sampled before [`Self::enable`].
    ///
    /// # Errors
    /// Of perf_event_open() or mmap(): EPERM or ENOMEM if the memory is more than may be locked; EOPNOTSUPP, ENOSYS or
    /// EINVAL if this kernel has not these extras.
    pub(crate) fn open(&mut self, source: Source, extras: Extras) -> io::Result<()> {
        self.sources.push((source, extras));
        self.lost_before.push(0);
        for buffer in &mut self.buffers {
            buffer.open(source, extras, self.counts_lost, self.page, self.kib)?;
        }
        // Those that are switched off.
        self.buffers.retain(|buffer| !buffer.events.is_empty());
        Ok(())
    }

    /// The events of a source, with their processors.
    pub(crate) fn events(&self, source: Source) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        let index = self.sources.iter().position(|(other, _)| *other == source);
        self.buffers.iter().filter_map(move |buffer| Some((buffer.cpu, buffer.events.get(index?)?.as_fd())))
    }

    /// Starts all events.
    pub(crate) fn enable(&mut self) -> io::Result<()> {
        self.enabled = true;
        self.buffers.iter().flat_map(|buffer| &buffer.events).try_for_each(|event| ioctl(event, Request::Enable))
    }

    /// Stops all events.
    pub(crate) fn disable(&mut self) -> io::Result<()> {
        self.enabled = false;
        self.buffers.iter().flat_map(|buffer| &buffer.events).try_for_each(|event| ioctl(event, Request::Disable))
    }

    /// Opens events on processors that are online since the last look, and whether there are any: what happened there until
    /// now was not seen.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub(crate) fn follow_processors(&mut self) -> io::Result<bool> {
        let online: BTreeSet<u32> = aya::util::online_cpus().map_err(|(_, error)| error)?.into_iter().collect();
        let mut kept = Vec::new();
        for mut buffer in mem::take(&mut self.buffers) {
            let is_there = online.contains(&buffer.cpu) || is_online(buffer.cpu);
            if is_there && !(self.enabled && buffer.has_stopped()) {
                kept.push(buffer);
            } else {
                self.lost += buffer.read(&mut self.held);
                for (event, before) in buffer.events.iter().zip(&mut self.lost_before) {
                    *before += if self.counts_lost { lost_samples(event) } else { 0 };
                }
            }
        }
        self.buffers = kept;
        let known: BTreeSet<u32> = self.buffers.iter().map(|buffer| buffer.cpu).collect();
        let mut is_new = false;
        for cpu in possible_cpus()?.into_iter().filter(|cpu| !known.contains(cpu) && is_online(*cpu)) {
            let mut buffer = Buffer::new(cpu);
            for &(source, extras) in &self.sources {
                buffer.open(source, extras, self.counts_lost, self.page, self.kib)?;
            }
            if self.enabled {
                buffer.events.iter().try_for_each(|event| ioctl(event, Request::Enable))?;
            }
            if !buffer.events.is_empty() {
                is_new = true;
                self.buffers.push(buffer);
            }
        }
        Ok(is_new)
    }

    /// One for each processor: readable when there is a sample that wakes, or much else.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.buffers.iter().filter_map(|buffer| buffer.events.first()).map(|event| event.as_fd())
    }

    /// Whether samples were read that [`Self::drain`] has still to give.
    pub(crate) fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// How many records the kernel could not write, since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// The same for samples of one source, if the kernel counts them.
    pub(crate) fn lost_of(&self, source: Source) -> Option<u64> {
        let index = self.sources.iter().position(|(other, _)| *other == source)?;
        let now: u64 = self.events(source).map(|(_, event)| lost_samples(event)).sum();
        self.counts_lost.then_some(now + self.lost_before[index])
    }

    /// Takes out all samples from before this moment, and what `more` adds to them.
    ///
    /// What causes another event on another processor was written before that one happened. So if whatever is not older
    /// than the beginning of this look is held back for the next one, no effect is given before its cause.
    pub(crate) fn drain(&mut self, more: impl FnOnce(&mut Vec<Sample>)) -> Drained {
        let now = monotonic_ns();
        let mut lossy = false;
        for buffer in &mut self.buffers {
            lossy |= buffer.has_lost(self.counts_lost);
            let lost = buffer.read(&mut self.held);
            lossy |= lost > 0;
            self.lost += lost;
        }
        more(&mut self.held);
        // Stable: what one processor wrote stays in its order.
        self.held.sort_by_key(|sample| sample.time_ns);
        let ripe = self.held.partition_point(|sample| sample.time_ns < now);
        Drained { samples: self.held.drain(..ripe).collect(), lossy }
    }
}

impl Buffer {
    fn new(cpu: u32) -> Self {
        Self { cpu, memory: None, events: Vec::new(), lost_known: 0, checked: None }
    }

    /// Whether the processor was switched off since the last look, be it on again: its events do not survive that. Suspending
    /// does it to all but one.
    fn has_stopped(&mut self) -> bool {
        let Some(first) = self.events.first() else { return true };
        let now_ns = monotonic_ns();
        let enabled = enabled_ns(first);
        let Some((then_ns, before)) = self.checked.replace((now_ns, enabled)) else { return false };
        // At the first look after that it has been at work for a part of the time. Only that it was not at all is certain: on a
        // virtual machine whose processors wait for each other, the clock of one can be a second behind.
        enabled == before && now_ns.saturating_sub(then_ns) > INACCURACY_NS
    }

    /// Leaves out a processor that is not there any more.
    fn open(&mut self, source: Source, extras: Extras, counts_lost: bool, page: usize, kib: u32) -> io::Result<()> {
        let event = match open(source, Some(self.cpu), extras, counts_lost) {
            Ok(event) => event,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {
                self.events.clear();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match self.events.first() {
            Some(first) => ioctl(&event, Request::SetOutput(first.as_fd()))?,
            None => self.memory = Some(Memory::map(&event, page, kib)?),
        }
        self.events.push(event);
        Ok(())
    }

    /// Whether a sample has found no room, or may have where the kernel does not count them: it writes that down only with
    /// the next one that finds some.
    fn has_lost(&mut self, counts_lost: bool) -> bool {
        if !self.memory.as_ref().is_some_and(Memory::is_nearly_full) {
            return false;
        }
        if !counts_lost {
            return true;
        }
        let lost = self.events.iter().map(lost_samples).sum();
        mem::replace(&mut self.lost_known, lost) != lost
    }

    /// Takes out what is there, and gives how many records were lost.
    fn read(&mut self, samples: &mut Vec<Sample>) -> u64 {
        let Some(memory) = &mut self.memory else { return 0 };
        memory.read(|header, record| samples.extend(Sample::read(header, record)))
    }
}

/// The processors that there may ever be. Those that are online, in a container, /sys may say of the container.
fn possible_cpus() -> io::Result<Vec<u32>> {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    ranges(text.trim()).ok_or(io::ErrorKind::InvalidData.into())
}

/// Numbers and ranges of them, such as "0-3,7".
fn ranges(text: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        numbers.extend(first.parse().ok()?..=last.parse::<u32>().ok()?);
    }
    Some(numbers)
}

/// As perf has it.
fn is_online(cpu: u32) -> bool {
    let opened = open(Source::Tasks, Some(cpu), Extras::default(), false);
    opened.err().and_then(|error| error.raw_os_error()) != Some(libc::ENODEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_numbers_and_ranges() {
        assert_eq!(ranges("0"), Some(vec![0]));
        assert_eq!(ranges("0-2,5,7-8"), Some(vec![0, 1, 2, 5, 7, 8]));
        for text in ["", "a", "0-", "0,"] {
            assert_eq!(ranges(text), None, "{text}");
        }
        assert!(possible_cpus().unwrap().contains(&0));
    }
}
