//! Traces with what every kernel keeps stable, and so without BTF: tracepoints that tracefs describes, in samples of perf's,
//! perf's own records of tasks, and what netlink reports of their ends. Where the kernel has it, BPF hands the records over and
//! adds the user and the control group.

mod argv;
mod decode;
mod doubtful_ends;
mod ends_observed;
mod ends_reported;
mod processes;

use std::{
    collections::VecDeque,
    io,
    mem::offset_of,
    os::fd::{BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, PerCpuArray},
};
use exectrace_bpf::{
    RECORD_HEADER, get,
    tracepoints::{self as bindings, Tracepoint as Id, maps},
};

use self::{
    doubtful_ends::DoubtfulEnds,
    processes::{Inputs, Kind, Processes, Record, Who},
};
use super::{
    Ends, UsersFrom,
    terms::{Lost, Settings},
};
use crate::{
    bpf,
    cgroup::PerfGroups,
    clock::monotonic_ns,
    diag,
    error::Error,
    event::Event,
    netlink::{Report, Taskstats, Users},
    perf_ring::{Buffers, Content, Extras, Sample, Source},
    procfs,
    tracefs::Tracefs,
    tracepoint_set::{self, Purpose, Tracepoint},
};

/// How many times more room a buffer has whose samples hold stacks, which make an exec some ten times as large.
const LARGER: u32 = 4;
/// And how many times more than that reports may take: for each thread that ends, some 2 KiB of the kernel's memory, but only
/// as long as nobody reads them.
const MORE_FOR_REPORTS: u32 = 8;
/// Samples decoded before the caller has its turn again, should none of them mean anything.
const BATCH: usize = 4096;
/// Processes read from /proc before the buffers are looked at again.
const READ_AT_A_TIME: usize = 64;
/// So long it is waited for processes that are about to end.
const PATIENCE: Duration = Duration::from_secs(1);
/// So long an end may wait in the buffers. To be woken up by each record of a task costs the program that ends more than the record.
pub(crate) const LOOK_AFTER: Duration = Duration::from_millis(50);

/// What is to be used of what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) bpf: bool,
    /// Samples of execs have the user's stack.
    pub(crate) stacks: bool,
    /// BPF adds control groups, or samples of execs have them.
    pub(crate) cgroups: bool,
    pub(crate) users: UsersFrom,
    pub(crate) ends: Ends,
    pub(crate) no_exits: bool,
}

/// Tracepoints that are watched, until this is dropped.
pub(crate) struct Tracepoints {
    tracepoints: Vec<Tracepoint>,
    buffers: Buffers,
    bpf: Option<Programs>,
    taskstats: Option<Taskstats>,
    users: Option<Users>,
    /// What samples call a control group is one of the unified hierarchy.
    perf_groups: Option<PerfGroups>,
    processes: Processes,
    /// Taken from the buffers, and not yet understood.
    samples: VecDeque<Sample>,
    doubtful_ends: DoubtfulEnds,
    /// Something was lost before them.
    in_doubt: bool,
    /// Until then it is waited for processes that are about to end.
    patient_until: Instant,
    /// How often what happened on some processor was not seen.
    blind: u64,
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

impl Tracepoints {
    /// Everything is watched when this returns.
    pub(crate) fn start(settings: &Settings, what: &Wanted) -> Result<Self, Error> {
        let tracefs = Tracefs::find().map_err(Error::Tracefs)?;
        let mut tracepoints = tracepoint_set::find(&tracefs).map_err(Error::Tracefs)?;
        tracepoints.retain(|tracepoint| what.needs(tracepoint.definition.purpose));
        let failed = |error: io::Error| Error::from_perf(error, settings.buffer_kib);
        let kib = settings.buffer_kib.saturating_mul(if what.stacks { LARGER } else { 1 });
        // Before perf: a report is there before the record that it belongs to.
        let mut taskstats = match what.ends {
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
        let with_cgroups = what.cgroups && !what.bpf;
        let perf_groups = if with_cgroups { PerfGroups::find() } else { None };
        buffers.open(Source::Tasks, Extras::default()).map_err(failed)?;
        let bpf = if what.bpf {
            buffers
                .open(Source::BpfExecs, Extras { stack: what.stacks, cgroup: false, wakes: true })
                .map_err(failed)?;
            buffers.open(Source::Bpf, Extras::default()).map_err(failed)?;
            let mut ebpf = load(&tracepoints, what.cgroups, settings.buffer_kib)?;
            let maps = [
                (Source::BpfExecs, bpf::map_data(&mut ebpf, maps::execs::NAME)?),
                (Source::Bpf, bpf::map_data(&mut ebpf, maps::others::NAME)?),
            ];
            for (source, map) in &maps {
                bpf::fill(map, &buffers, *source).map_err(failed)?;
            }
            buffers.enable().map_err(failed)?;
            let programs =
                tracepoints.iter().filter_map(|tracepoint| Some((tracepoint, tracepoint.definition.program?)));
            let events =
                programs.map(|(tracepoint, name)| attach(&mut ebpf, tracepoint, name)).collect::<Result<_, _>>()?;
            Some(Programs { events, maps, lost: maps::lost::take(&mut ebpf).map_err(Error::from_map)? })
        } else {
            for tracepoint in &tracepoints {
                let source = Source::Tracepoint(tracepoint.format.id);
                let extras = Extras {
                    stack: what.stacks && tracepoint.definition.is_exec(),
                    cgroup: with_cgroups && tracepoint.definition.has_cgroup(),
                    wakes: tracepoint.definition.is_exec(),
                };
                buffers.open(source, extras).map_err(failed)?;
            }
            buffers.enable().map_err(failed)?;
            None
        };
        let mut processes = Processes::new(Inputs {
            only_tracked: settings.only_tracked,
            keeps_users: !what.bpf && what.users != UsersFrom::Nowhere,
            users_are_reported: what.users == UsersFrom::Connector,
            reports: taskstats.is_some(),
            leaves: what.needs(Purpose::Ends),
        });
        if let Some(taskstats) = &mut taskstats {
            taskstats.begin();
        }
        // What happens meanwhile is in the buffers.
        let snapshot = procfs::snapshot().map_err(Error::Proc)?;
        processes.fill(snapshot, monotonic_ns());
        Ok(Self {
            tracepoints,
            buffers,
            bpf,
            taskstats,
            users,
            perf_groups,
            processes,
            samples: VecDeque::new(),
            doubtful_ends: DoubtfulEnds::default(),
            in_doubt: false,
            patient_until: Instant::now(),
            blind: 0,
            only_tracked: settings.only_tracked,
            no_exits: settings.no_exits,
            detached: false,
            until_ns: u64::MAX,
        })
    }

    /// --pid: these and their descendants.
    pub(crate) fn track(&mut self, pids: &[u32]) {
        // Whom they have forked since /proc was read is in the buffers.
        self.processes.track(pids);
    }

    /// Whether one of those that are followed is still there.
    pub(crate) fn has_tracked(&self) -> bool {
        self.processes.has_tracked()
    }

    /// Readable when something was executed. The rest is found when it is looked for.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.buffers.fds()
    }

    /// Whether [`Self::next`] is to be called again, without anything to wait for.
    pub(crate) fn has_more(&self) -> bool {
        !self.samples.is_empty() || self.in_doubt || self.processes.has_unread()
    }

    /// Whether something has happened that [`Self::next`] can give only a moment later.
    pub(crate) fn holds_back(&self) -> bool {
        self.buffers.holds_back() || !self.detached && (self.processes.waits() || !self.doubtful_ends.is_empty())
    }

    /// Hands on the next event, if there is one.
    pub(crate) fn next(&mut self, show: &mut dyn FnMut(&Event<'_>)) -> Result<bool, Error> {
        for _ in 0..BATCH {
            let Some(sample) = self.next_sample()? else { return Ok(self.show_overdue(show)) };
            let report = match sample.content {
                Content::Exited { .. } => self.taskstats.as_mut().and_then(|taskstats| taskstats.take(sample.tid)),
                _ => None,
            };
            let (with_bpf, has_groups) = (self.bpf.is_some(), self.perf_groups.is_some());
            let Some(record) = record_of(&self.tracepoints, with_bpf, has_groups, &sample, report) else { continue };
            if let Some(event) = self.processes.see(&record) {
                show(&event);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next one that is what it seems to be.
    fn next_sample(&mut self) -> Result<Option<Sample>, Error> {
        loop {
            if self.samples.is_empty() && !self.drain()? {
                return Ok(self.doubtful_ends.overdue(monotonic_ns()));
            }
            let Some(sample) = self.samples.pop_front() else { return Ok(None) };
            if !self.doubtful_ends.is_empty()
                && let Some(end) = self.settle(&sample)
            {
                self.samples.push_front(sample);
                return Ok(Some(end));
            }
            if sample.time_ns > self.until_ns {
                continue;
            }
            if let Content::Exited { .. } = sample.content {
                if self.processes.is_executing(sample.tid) {
                    // Whose children they are is looked up, whichever it was.
                    self.processes.orphan_children(sample.pid);
                    self.doubtful_ends.hold(sample);
                    continue;
                }
                // If there was another one before, that was none.
                self.doubtful_ends.goes_on(sample.tid);
            }
            return Ok(Some(sample));
        }
    }

    /// An end that was one, as what comes after it shows.
    fn settle(&mut self, next: &Sample) -> Option<Sample> {
        match &next.content {
            Content::Raw { bytes, .. } => {
                let (tracepoint, ..) = split(&self.tracepoints, self.bpf.is_some(), bytes)?;
                if tracepoint.definition.number == Id::SCHED_PROCESS_EXEC {
                    self.doubtful_ends.goes_on(next.tid);
                }
                None
            }
            Content::Forked { .. } => self.doubtful_ends.confirmed(next.tid),
            _ => None,
        }
    }

    fn show_overdue(&mut self, show: &mut dyn FnMut(&Event<'_>)) -> bool {
        let now_ns = if self.detached { u64::MAX } else { monotonic_ns() };
        if self.detached {
            self.processes.miss_exits(self.doubtful_ends.clear());
        }
        let event = self.processes.overdue(now_ns);
        event.iter().for_each(show);
        event.is_some()
    }

    /// Takes out of the buffers what is there, and whether there was anything.
    fn drain(&mut self) -> Result<bool, Error> {
        if std::mem::take(&mut self.in_doubt) {
            let pids = procfs::pids().map_err(Error::Proc)?;
            let parents = if self.only_tracked { procfs::parents().map_err(Error::Proc)? } else { Vec::new() };
            self.processes.relearn(pids, procfs::start_ns, &parents, monotonic_ns());
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
        if self.perf_groups.as_ref().is_some_and(|groups| !drained.samples.is_empty() && !groups.are_unified()) {
            self.perf_groups = None;
            diag::note(format_args!("{}: from now on, cgroup is not known", Error::PerfGroupsOfVersion1));
        }
        self.samples.extend(drained.samples);
        if drained.lossy || self.users.as_ref().map(Users::overruns) != overruns {
            self.doubt();
        } else {
            self.processes.resolve(
                |pid| Some((procfs::parent(pid)?, monotonic_ns())),
                |pid| Some((procfs::uid(pid)?, monotonic_ns())),
            );
            self.processes.read_some(READ_AT_A_TIME, Instant::now() < self.patient_until, procfs::read);
        }
        Ok(!self.samples.is_empty())
    }

    /// What is known so far does not hold any more. What has been seen already is still shown, as far as that goes.
    fn doubt(&mut self) {
        self.processes.miss_exits(self.doubtful_ends.clear());
        self.processes.forget(monotonic_ns());
        if let Some(taskstats) = &mut self.taskstats {
            taskstats.doubt();
        }
        self.in_doubt = true;
    }

    /// Looks whether there are processors that are not watched.
    pub(crate) fn follow_processors(&mut self) -> Result<(), Error> {
        let failed = |error: io::Error| Error::from_perf(error, 0);
        if !self.detached && self.buffers.follow_processors().map_err(failed)? {
            self.blind += 1;
            if let Some(programs) = &self.bpf {
                for (source, map) in &programs.maps {
                    bpf::fill(map, &self.buffers, *source).map_err(failed)?;
                }
            }
            self.doubt();
        }
        Ok(())
    }

    /// Execs and exits that could not be shown, since the start.
    pub(crate) fn lost(&self) -> Result<Lost, Error> {
        let mut missed = self.processes.missed();
        let source = self.tracepoints.iter().find_map(Tracepoint::exec_source);
        let execs = match &self.bpf {
            Some(programs) => Some(bpf::sum(&programs.lost)?),
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
                (execs + exits, is_certain && !self.only_tracked && missed.exits == 0)
            }
            // Every thread that begins, ends, or gets a name has a record, too.
            (Some(execs), None, Some(tasks)) => (execs + tasks, false),
            _ => (self.buffers.lost(), false),
        };
        let count = count + missed.exits;
        Ok(Lost {
            count: count + hidden,
            is_exact: is_exact || count + hidden == 0,
            hidden,
            interrupted: 0,
            blind: self.blind,
            is_incomplete: self.blind > 0,
        })
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
    fn needs(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Anything => true,
            Purpose::Codes => self.ends != Ends::Reported { marks_last: true },
            Purpose::Signals => self.ends == Ends::Observed,
            Purpose::Ends => !self.no_exits && (self.cgroups || self.bpf && self.ends == Ends::Observed),
            Purpose::Users => !self.bpf && self.users == UsersFrom::Tracepoints,
        }
    }
}

fn record_of<'s>(
    tracepoints: &[Tracepoint],
    with_bpf: bool,
    has_groups: bool,
    sample: &'s Sample,
    report: Option<Report>,
) -> Option<Record<'s>> {
    let what = match &sample.content {
        Content::Raw { bytes, stack, cgroup_id } => {
            let (tracepoint, header, record) = split(tracepoints, with_bpf, bytes)?;
            let who = if with_bpf {
                let cgroup_id: u64 = get(header, offset_of!(bindings::Record, cgroup_id));
                Who {
                    uid: Some(get(header, offset_of!(bindings::Record, uid))),
                    cgroup_id: Some(cgroup_id).filter(|id| *id != 0),
                }
            } else {
                Who { uid: None, cgroup_id: cgroup_id.filter(|_| has_groups) }
            };
            return tracepoint.decode(sample, stack.as_ref(), who, record);
        }
        &Content::Forked { maker, maker_tid } => Kind::Forked { maker, maker_tid },
        Content::Renamed { comm, by_exec } => Kind::Renamed { comm, by_exec: *by_exec },
        &Content::Exited { ppid } => Kind::End { ppid, report },
        &Content::UserSet(uid) => Kind::UserChanged(Some(uid)),
    };
    Some(Record { pid: sample.pid, tid: sample.tid, time_ns: sample.time_ns, who: Who::default(), what })
}

/// Of which tracepoint this is, with what BPF has put before its record.
fn split<'t, 's>(
    tracepoints: &'t [Tracepoint],
    with_bpf: bool,
    bytes: &'s [u8],
) -> Option<(&'t Tracepoint, &'s [u8], &'s [u8])> {
    let (header, record) = bytes.split_at_checked(if with_bpf { RECORD_HEADER } else { 0 })?;
    let tracepoint = if with_bpf {
        let number: bindings::Tracepoint = get(header, offset_of!(bindings::Record, tracepoint));
        tracepoints.iter().find(|tracepoint| tracepoint.definition.number == number)
    } else {
        // Every record begins with the number of its tracepoint.
        let id = u16::from_ne_bytes(record.get(..2)?.try_into().ok()?);
        tracepoints.iter().find(|tracepoint| tracepoint.format.id == u32::from(id))
    };
    Some((tracepoint?, header, record))
}

fn load(tracepoints: &[Tracepoint], cgroups: bool, kib: u32) -> Result<Ebpf, Error> {
    let file_word = tracepoints.iter().find_map(Tracepoint::file_word).unwrap_or_default();
    let overrides = bindings::globals::Overrides { file_word: Some(file_word), with_cgroups: Some(cgroups.into()) };
    let mut loader = EbpfLoader::new();
    overrides.apply(loader.btf(None));
    loader.load(bindings::object()).map_err(|error| Error::from_loader(error, kib))
}

fn attach(ebpf: &mut Ebpf, tracepoint: &Tracepoint, name: &str) -> Result<OwnedFd, Error> {
    bpf::attach_tracepoint(bpf::program(ebpf, name)?, name, &tracepoint.format)
}
