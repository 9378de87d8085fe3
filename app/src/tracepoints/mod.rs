//! Traces with what every kernel keeps stable, and so without BTF: tracepoints that tracefs describes, in samples of perf's,
//! perf's own records of tasks, and what netlink tells of their ends. Where the kernel has it, BPF hands the records over and
//! adds the user.

mod ending;
pub(crate) mod record;
mod stack;
mod status;
mod table;

use std::{
    collections::VecDeque,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, PerCpuArray},
};
use exectrace_bpf::RECORD_HEADER;

use self::{
    record::{Known, Tells},
    table::{Means, Seen, Table, What},
};
use crate::{
    backend::{Ends, UsersFrom},
    clock::monotonic_ns,
    error::Error,
    event::Event,
    load::{self, Settings},
    netlink::{Report, Taskstats, Users},
    perf::{Buffers, Content, Sample, Source},
    proc,
    tracefs::Tracefs,
    tracer::Lost,
};

/// How many times more room a buffer has whose samples hold stacks, which make an exec some ten times as large.
const LARGER: u32 = 4;
/// And how many times more than that reports may take: for each thread that ends, some 2 KiB of the kernel's memory, but only
/// as long as nobody reads them.
const MORE_FOR_REPORTS: u32 = 8;
/// Samples understood before the caller has its turn again, should none of them mean anything.
const BATCH: usize = 4096;
/// Processes read from /proc before the buffers are looked at again.
const READ_AT_A_TIME: usize = 64;
/// So long it is waited for processes that are about to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is to be used of what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) bpf: bool,
    /// Samples of execs have the user's stack.
    pub(crate) stacks: bool,
    pub(crate) users: UsersFrom,
    pub(crate) ends: Ends,
}

/// Tracepoints that are watched, until this is dropped.
pub(crate) struct Tracer {
    known: Vec<Known>,
    buffers: Buffers,
    bpf: Option<Programs>,
    taskstats: Option<Taskstats>,
    users: Option<Users>,
    table: Table,
    /// Taken from the buffers, and not yet understood.
    samples: VecDeque<Sample>,
    /// Something was lost before them.
    in_doubt: bool,
    /// Until then it is waited for processes that are about to end.
    patient_until: Instant,
    /// What happened on some processor was not seen.
    is_blind: bool,
    only_tracked: bool,
    no_exits: bool,
    detached: bool,
    /// Samples from later are left out.
    until_ns: u64,
}

/// Loaded and attached, until this is dropped.
struct Programs {
    /// In the place of links.
    events: Vec<OwnedFd>,
    /// When a map is closed, the kernel takes the buffers out of it.
    maps: [(Source, MapData); 2],
    lost: PerCpuArray<MapData, u64>,
}

impl Tracer {
    /// Everything is watched when this returns.
    pub(crate) fn start(settings: &Settings, what: &Wanted) -> Result<Self, Error> {
        let tracefs = Tracefs::find().map_err(Error::Tracefs)?;
        let mut known = record::known(&tracefs).map_err(Error::Tracefs)?;
        known.retain(|known| what.needs(known.tracepoint.tells));
        let failed = |error: io::Error| Error::from_perf(error, settings.buffer_kib);
        let kib = settings.buffer_kib.saturating_mul(if what.stacks { LARGER } else { 1 });
        // Before perf: a report is there before the record that it belongs to.
        let taskstats = match what.ends {
            Ends::Reported { .. } => {
                Some(Taskstats::start(kib.saturating_mul(MORE_FOR_REPORTS)).map_err(Error::Taskstats)?)
            }
            Ends::Observed => None,
        };
        let users = match what.users {
            UsersFrom::Connector => Some(Users::start(kib).map_err(Error::Connector)?),
            _ => None,
        };
        let mut buffers = Buffers::new(kib).map_err(Error::Perf)?;
        // The first one: it says when to wake up.
        buffers.open(Source::Tasks, false).map_err(failed)?;
        let bpf = if what.bpf {
            buffers.open(Source::BpfExecs, what.stacks).map_err(failed)?;
            buffers.open(Source::Bpf, false).map_err(failed)?;
            let mut ebpf = load(&known, settings.buffer_kib)?;
            let maps = [
                (Source::BpfExecs, load::map_data(&mut ebpf, "execs")?),
                (Source::Bpf, load::map_data(&mut ebpf, "others")?),
            ];
            for (source, map) in &maps {
                load::fill(map, &buffers, *source).map_err(failed)?;
            }
            buffers.enable().map_err(failed)?;
            let programs = known.iter().filter_map(|known| Some((known, known.tracepoint.program?)));
            let events = programs.map(|(known, name)| attach(&mut ebpf, known, name)).collect::<Result<_, _>>()?;
            Some(Programs { events, maps, lost: load::take_map(&mut ebpf, "lost")? })
        } else {
            for known in &known {
                let source = Source::Tracepoint(known.format.id);
                buffers.open(source, what.stacks && known.tracepoint.with_stack()).map_err(failed)?;
            }
            buffers.enable().map_err(failed)?;
            None
        };
        let mut table = Table::new(Means {
            only_tracked: settings.only_tracked,
            keeps_users: !what.bpf && what.users != UsersFrom::Nowhere,
            users_are_told: what.users == UsersFrom::Connector,
            reports: taskstats.is_some(),
            users_at_end: what.bpf && taskstats.is_none(),
        });
        // What happens meanwhile is in the buffers.
        let snapshot = proc::snapshot().map_err(Error::Proc)?;
        table.fill(snapshot, monotonic_ns());
        Ok(Self {
            known,
            buffers,
            bpf,
            taskstats,
            users,
            table,
            samples: VecDeque::new(),
            in_doubt: false,
            patient_until: Instant::now(),
            is_blind: false,
            only_tracked: settings.only_tracked,
            no_exits: settings.no_exits,
            detached: false,
            until_ns: u64::MAX,
        })
    }

    /// --pid: these and their descendants.
    pub(crate) fn track(&mut self, pids: &[u32]) {
        // Whom they have forked since we looked around is told by what is in the buffers.
        self.table.track(pids);
    }

    /// Whether one of those that are followed is still there.
    pub(crate) fn has_tracked(&self) -> bool {
        self.table.has_tracked()
    }

    /// Readable when something has happened.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.buffers.fds()
    }

    /// Whether [`Self::next`] is to be called again, without anything to wait for.
    pub(crate) fn has_more(&self) -> bool {
        !self.samples.is_empty() || self.in_doubt || self.table.has_unread()
    }

    /// Whether something has happened that [`Self::next`] can tell only a moment later.
    pub(crate) fn holds_back(&self) -> bool {
        self.buffers.holds_back()
    }

    /// Hands on the next event, if there is one.
    pub(crate) fn next(&mut self, show: &mut dyn FnMut(&Event<'_>)) -> Result<bool, Error> {
        for _ in 0..BATCH {
            if self.samples.is_empty() && !self.drain()? {
                return Ok(false);
            }
            let Some(sample) = self.samples.pop_front() else { return Ok(false) };
            if sample.time_ns > self.until_ns {
                continue;
            }
            let report = match sample.content {
                Content::Exited { .. } => self.taskstats.as_mut().and_then(|taskstats| taskstats.take(sample.tid)),
                _ => None,
            };
            let Some(seen) = understand(&self.known, self.bpf.is_some(), &sample, report) else { continue };
            if let Some(event) = self.table.see(&seen) {
                show(&event);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes out of the buffers what is there, and whether there was anything.
    fn drain(&mut self) -> Result<bool, Error> {
        if std::mem::take(&mut self.in_doubt) {
            let pids = proc::pids().map_err(Error::Proc)?;
            let parents = if self.only_tracked { proc::parents().map_err(Error::Proc)? } else { Vec::new() };
            self.table.relearn(pids, proc::start_ns, &parents);
            self.patient_until = Instant::now() + PATIENCE;
        }
        let (taskstats, users) = (&mut self.taskstats, &mut self.users);
        let overruns = users.as_ref().map(Users::overruns);
        let drained = self.buffers.drain(|held| {
            // After the buffers: what caused a record in them is there by now.
            if let Some(users) = users {
                users.read(held);
            }
            if let Some(taskstats) = taskstats {
                taskstats.read();
            }
        });
        self.samples.extend(drained.samples);
        if drained.lossy || self.users.as_ref().map(Users::overruns) != overruns {
            self.doubt();
        } else {
            self.table.resolve(
                |pid| Some((proc::parent(pid)?, monotonic_ns())),
                |pid| Some((proc::uid(pid)?, monotonic_ns())),
            );
            self.table.read_some(READ_AT_A_TIME, Instant::now() < self.patient_until, proc::read);
        }
        Ok(!self.samples.is_empty())
    }

    /// What is known so far does not hold any more. What has been seen already is still told, as far as that goes.
    fn doubt(&mut self) {
        self.table.forget(monotonic_ns());
        if let Some(taskstats) = &mut self.taskstats {
            taskstats.doubt();
        }
        self.in_doubt = true;
    }

    /// Looks whether there are processors that are not watched.
    pub(crate) fn follow_processors(&mut self) -> Result<(), Error> {
        let failed = |error: io::Error| Error::from_perf(error, 0);
        if !self.detached && self.buffers.follow_processors().map_err(failed)? {
            self.is_blind = true;
            if let Some(programs) = &self.bpf {
                for (source, map) in &programs.maps {
                    load::fill(map, &self.buffers, *source).map_err(failed)?;
                }
            }
            self.doubt();
        }
        Ok(())
    }

    /// Execs and exits that could not be told, since the start.
    pub(crate) fn lost(&self) -> Result<Lost, Error> {
        let mut missed = self.table.missed();
        let source = self.known.iter().find_map(Known::exec_source);
        let execs = match &self.bpf {
            Some(programs) => Some(load::sum(&programs.lost)?),
            None => self.buffers.lost_of(source.unwrap_or(Source::Bpf)),
        };
        let hidden = missed.execs.saturating_sub(execs.unwrap_or(self.buffers.lost()));
        let reports = self.taskstats.as_ref().filter(|taskstats| taskstats.overruns() == 0);
        let tasks = self.buffers.lost_of(Source::Tasks);
        // Where no record of a task was lost, those that are not there yet will come.
        let mut exits = reports.and_then(Taskstats::unclaimed).map(|(lost, waiting)| match tasks {
            Some(0) => (lost, true),
            _ => (lost + waiting, waiting == 0),
        });
        if self.no_exits {
            missed.exits = 0;
            exits = Some((0, true));
        }
        let (count, is_exact) = match (execs, exits, tasks) {
            (Some(execs), Some((exits, is_certain)), _) => {
                (execs + exits, is_certain && !self.only_tracked && !self.is_blind && missed.exits == 0)
            }
            // Every thread that begins, ends, or gets a name has a record, too.
            (Some(execs), None, Some(tasks)) => (execs + tasks, false),
            _ => (self.buffers.lost(), false),
        };
        let count = count + missed.exits;
        Ok(Lost { count: count + hidden, is_exact: is_exact || count + hidden == 0, hidden, is_blind: self.is_blind })
    }

    /// Nothing new arrives after this; what is in the buffers stays there to be read.
    pub(crate) fn detach(&mut self) {
        if !self.detached {
            self.detached = true;
            // While one is stopped after the other, what comes makes no sense.
            self.until_ns = monotonic_ns();
            if let Some(programs) = &mut self.bpf {
                programs.events.clear();
            }
            // What cannot be stopped ends with this program.
            let _ = self.buffers.disable();
            if let Some(taskstats) = &mut self.taskstats {
                taskstats.detach();
            }
        }
    }
}

impl Wanted {
    fn needs(&self, tells: Tells) -> bool {
        match tells {
            Tells::Anything => true,
            Tells::Codes => self.ends != Ends::Reported { marks_last: true },
            Tells::Signals => self.ends == Ends::Observed,
            Tells::Users => !self.bpf && self.users == UsersFrom::Tracepoints,
        }
    }
}

fn understand<'s>(known: &[Known], with_bpf: bool, sample: &'s Sample, report: Option<Report>) -> Option<Seen<'s>> {
    let what = match &sample.content {
        Content::Raw { bytes, stack } if with_bpf => {
            let (header, record) = bytes.split_at_checked(RECORD_HEADER)?;
            let [number, uid] =
                [&header[..4], &header[4..]].map(|bytes| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
            let known = known.iter().find(|known| known.tracepoint.number == number)?;
            return known.understand(sample, stack.as_ref(), Some(uid), record);
        }
        Content::Raw { bytes, stack } => {
            // Every record begins with the number of its tracepoint.
            let id = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
            let known = known.iter().find(|known| known.format.id == u32::from(id))?;
            return known.understand(sample, stack.as_ref(), None, bytes);
        }
        &Content::Forked { maker, maker_tid } => What::Forked { maker, maker_tid },
        Content::Renamed { comm, by_exec } => What::Renamed { comm, by_exec: *by_exec },
        &Content::Exited { ppid } => What::End { ppid, report },
        &Content::UserSet(uid) => What::UserChanged(Some(uid)),
    };
    Some(Seen { pid: sample.pid, tid: sample.tid, time_ns: sample.time_ns, uid: None, what })
}

fn load(known: &[Known], kib: u32) -> Result<Ebpf, Error> {
    let file_word = known.iter().find_map(Known::file_word).unwrap_or_default();
    EbpfLoader::new()
        .btf(None)
        .override_global("file_word", &file_word, true)
        .load(exectrace_bpf::tracepoints())
        .map_err(|error| Error::from_loader(error, kib))
}

fn attach(ebpf: &mut Ebpf, known: &Known, name: &str) -> Result<OwnedFd, Error> {
    load::attach_tracepoint(load::program(ebpf, name)?, name, &known.format)
}
