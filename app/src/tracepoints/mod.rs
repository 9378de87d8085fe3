//! Traces with what every kernel keeps stable, and so without BTF: the tracepoints that tracefs describes, in samples of
//! perf's. Where the kernel has it, BPF hands the records over and adds the user.

mod ending;
pub(crate) mod record;
mod stack;
mod table;

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use aya::{Ebpf, EbpfLoader, maps::MapData, programs::TracePoint};
use aya_obj::generated::{PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF};
use exectrace_bpf::RECORD_HEADER;

use self::{
    record::{Known, Tells},
    table::Table,
};
use crate::{
    clock::monotonic_ns,
    error::Error,
    event::Event,
    load::{self, Settings},
    perf::{self, Buffers, Sample, Source},
    proc,
    tracefs::Tracefs,
};

/// How many times more room a buffer has whose samples hold stacks, which make an exec some ten times as large.
const LARGER: u32 = 4;

/// What is to be used of what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) bpf: bool,
    /// Samples of execs have the user's stack.
    pub(crate) stacks: bool,
    /// Users are kept up from what tracepoints tell.
    pub(crate) users: bool,
}

/// Tracepoints that are watched, until this is dropped.
pub(crate) struct Tracer {
    known: Vec<Known>,
    buffers: Buffers,
    bpf: Option<Programs>,
    table: Table,
    /// Taken from the buffers, and not yet understood.
    samples: VecDeque<Sample>,
    /// Samples of before a loss, which were not shown for what they rest on may be missing.
    discarded: u64,
    detached: bool,
}

/// Loaded and attached, until this is dropped.
struct Programs {
    /// In the place of links.
    events: Vec<OwnedFd>,
    /// When a map is closed, the kernel takes the buffers out of it.
    _maps: [MapData; 2],
}

impl Tracer {
    /// Everything is watched when this returns.
    pub(crate) fn start(settings: &Settings, what: &Wanted) -> Result<Self, Error> {
        let Wanted { bpf: with_bpf, stacks, users } = *what;
        let tracefs = Tracefs::find().map_err(Error::Tracefs)?;
        let known = record::known(&tracefs).map_err(Error::Tracefs)?;
        let kib = settings.buffer_kib.saturating_mul(if stacks { LARGER } else { 1 });
        let mut buffers = Buffers::new(kib).map_err(Error::Perf)?;
        let failed = |error: io::Error| Error::from_perf(error, settings.buffer_kib);
        let bpf = if with_bpf {
            let mut ebpf = load(&known, settings.buffer_kib)?;
            let maps = [load::map_data(&mut ebpf, "execs")?, load::map_data(&mut ebpf, "others")?];
            for (map, with_stack) in maps.iter().zip([stacks, false]) {
                load::fill(map, &mut buffers, with_stack).map_err(failed)?;
            }
            buffers.enable(true).map_err(failed)?;
            let programs = known.iter().filter_map(|known| Some((known, known.tracepoint.program?)));
            let events = programs.map(|(known, name)| attach(&mut ebpf, known, name)).collect::<Result<_, _>>()?;
            Some(Programs { events, _maps: maps })
        } else {
            for known in known.iter().filter(|known| users || known.tracepoint.tells != Tells::Users) {
                let source = Source::Tracepoint(known.format.id);
                buffers.open(source, stacks && known.tracepoint.with_stack()).map_err(failed)?;
            }
            buffers.enable(true).map_err(failed)?;
            None
        };
        let table = Table::new(settings.only_tracked, users);
        let mut tracer = Self { known, buffers, bpf, table, samples: VecDeque::new(), discarded: 0, detached: false };
        tracer.look_around()?;
        Ok(tracer)
    }

    /// Takes the processes from /proc. What happens meanwhile is in the buffers.
    fn look_around(&mut self) -> Result<(), Error> {
        let snapshot = proc::snapshot().map_err(Error::Proc)?;
        self.table.fill(snapshot, monotonic_ns());
        Ok(())
    }

    /// --pid: these and their descendants.
    pub(crate) fn track(&mut self, pids: &[u32]) {
        // Whom they have forked since we looked around is told by what is in the buffers.
        self.table.track(pids);
    }

    /// Readable when something has happened.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.buffers.fds()
    }

    /// Something has happened that [`Self::next`] can tell a moment later, without anything to wait for.
    pub(crate) fn has_more(&self) -> bool {
        !self.samples.is_empty() || self.buffers.has_more()
    }

    /// Hands on the next event, if there is one.
    pub(crate) fn next(&mut self, show: &mut dyn FnMut(&Event<'_>)) -> Result<bool, Error> {
        loop {
            if self.samples.is_empty() {
                let (samples, lossy) = self.buffers.drain();
                if lossy {
                    // Whose child or thread somebody is, and what has ended, is not known any more. Where it happens
                    // again and again, the caller must still have its turn.
                    self.discarded += samples.len() as u64;
                    // But who is to be tracked with --pid.
                    for sample in &samples {
                        if let Some(seen) = understand(&self.known, self.bpf.is_some(), sample) {
                            let _ = self.table.see(&seen);
                        }
                    }
                    self.look_around()?;
                    return Ok(false);
                }
                self.table.resolve(
                    |pid| Some((proc::parent(pid)?, monotonic_ns())),
                    |pid| Some((proc::uid(pid)?, monotonic_ns())),
                );
                if samples.is_empty() {
                    return Ok(false);
                }
                self.samples.extend(samples);
            }
            let Some(sample) = self.samples.pop_front() else { return Ok(false) };
            let Some(seen) = understand(&self.known, self.bpf.is_some(), &sample) else { continue };
            if let Some(event) = self.table.see(&seen) {
                show(&event);
                return Ok(true);
            }
        }
    }

    /// Samples that found their buffer full, since the start, and those that were worthless without them.
    pub(crate) fn lost(&self) -> u64 {
        self.buffers.lost() + self.discarded
    }

    /// Nothing new arrives after this; what is in the buffers stays there to be read.
    pub(crate) fn detach(&mut self) {
        if !self.detached {
            self.detached = true;
            if let Some(programs) = &mut self.bpf {
                programs.events.clear();
            }
            // What cannot be stopped ends with this program.
            let _ = self.buffers.enable(false);
        }
    }
}

fn understand<'s>(known: &[Known], with_bpf: bool, sample: &'s Sample) -> Option<table::Seen<'s>> {
    if with_bpf {
        let (header, record) = sample.raw.split_at_checked(RECORD_HEADER)?;
        let [number, uid] =
            [&header[..4], &header[4..]].map(|bytes| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        known.iter().find(|known| known.tracepoint.number == number)?.understand(sample, Some(uid), record)
    } else {
        // Every record begins with the number of its tracepoint.
        let id = u16::from_ne_bytes(sample.raw.get(..2)?.try_into().ok()?);
        known.iter().find(|known| known.format.id == u32::from(id))?.understand(sample, None, &sample.raw)
    }
}

fn load(known: &[Known], kib: u32) -> Result<Ebpf, Error> {
    let file_word = known.iter().find_map(Known::file_word).unwrap_or_default();
    EbpfLoader::new()
        .btf(None)
        .override_global("file_word", &file_word, true)
        .load(exectrace_bpf::tracepoints())
        .map_err(|error| Error::from_loader(error, kib))
}

/// The program runs on all processors as long as the event is there. aya would do the same, but for where it looks for
/// tracefs.
fn attach(ebpf: &mut Ebpf, known: &Known, name: &str) -> Result<OwnedFd, Error> {
    let program: &mut TracePoint = load::program(ebpf, name)?;
    program.load().map_err(|error| Error::from_program(name, error))?;
    let fd = program.fd().map_err(|error| Error::from_program(name, error))?.as_fd().as_raw_fd();
    let attach = || -> io::Result<OwnedFd> {
        let event = perf::open_for_program(known.format.id)?;
        perf::ioctl(&event, PERF_EVENT_IOC_SET_BPF, fd)?;
        perf::ioctl(&event, PERF_EVENT_IOC_ENABLE, 0)?;
        Ok(event)
    };
    attach().map_err(Error::Perf)
}
