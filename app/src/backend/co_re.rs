//! Loads the BPF programs that read the kernel's own structs, attaches them, and reads what they send and count.

use std::{
    borrow::Cow,
    collections::VecDeque,
    fs, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::{
    Btf, Ebpf, EbpfLoader, Endianness,
    maps::{HashMap, MapData, PerCpuArray, ProgramArray, RingBuf},
    programs::{
        ProgramError, RawTracePoint, TracePoint,
        raw_trace_point::{RawTracePointLink, RawTracePointLinkId},
    },
};
use exectrace_bpf::{
    exectrace::{
        self,
        globals::Overrides,
        maps,
        programs::{on_exec, on_exec_place, on_execve, on_execve_end, on_execveat, on_exit, on_fork},
    },
    with_perf_buffers,
};

use super::{
    descendants,
    terms::{Lost, Settings},
};
use crate::{
    bpf::{attach_tracepoint, fill, map_data, misses, program, sum},
    cgroup,
    error::Error,
    event::Event,
    features::{BtfFrom, KERNEL_BTF},
    perf_ring::{Buffers, Content, Extras, Sample, Source},
    tracefs::{Format, Tracefs},
};

/// Programs that are loaded and attached, until this is dropped.
pub(crate) struct CoRe {
    output: Output,
    lost: PerCpuArray<MapData, u64>,
    tracked: HashMap<MapData, u32, u8>,
    links: Vec<RawTracePointLink>,
    /// Of the same programs: they count how often they did not run.
    programs: Vec<OwnedFd>,
    /// What one program calls another by. When it is closed, the kernel empties it.
    _places: Option<ProgramArray<MapData>>,
    /// --failed: the same for the tracepoints of system calls.
    calls: Vec<OwnedFd>,
    /// How often a processor had no buffer for a while. What found no room there is counted all the same.
    blind: u64,
}

/// What the programs write to.
enum Output {
    Ring(RingBuf<MapData>),
    /// When the map is closed, the kernel takes the buffers out of it.
    Perf {
        buffers: Buffers,
        samples: VecDeque<Sample>,
        map: MapData,
    },
}

impl CoRe {
    /// Everything is attached when this returns.
    pub(crate) fn start(settings: &Settings, btf: &BtfFrom, ring_buffer: bool) -> Result<Self, Error> {
        // aya loads code for another kernel's structs without a word when it finds no BTF, so it gets it from us or
        // it gets nothing to load.
        let parsed = match btf {
            BtfFrom::Kernel => Btf::parse_file(KERNEL_BTF, Endianness::default()),
            BtfFrom::File(file) => Btf::parse_file(file, Endianness::default()),
            BtfFrom::Carried { btf, .. } => Btf::parse(btf, Endianness::default()),
        };
        let btf = parsed.map_err(|error| Error::UnreadableBtf { what: btf.to_string(), why: error.to_string() })?;
        let processes = process_limit();
        let mut loader = EbpfLoader::new();
        loader
            .btf(Some(&btf))
            .map_max_entries(maps::exec_times::NAME, processes)
            .map_max_entries(maps::tracked::NAME, if settings.only_tracked { processes } else { 1 });
        let calls = if settings.failed { Some(Calls::find()?) } else { None };
        let overrides = Overrides {
            only_tracked: Some(settings.only_tracked.into()),
            no_exits: Some(settings.no_exits.into()),
            with_places: Some(settings.places.into()),
            // Without control groups, there is no helper to ask for one.
            with_cgroups: Some(cgroup::exist().into()),
            with_ring_buffer: Some(ring_buffer.into()),
            ..calls.as_ref().map(Calls::words).transpose()?.unwrap_or_default()
        };
        overrides.apply(&mut loader);
        let object = if ring_buffer {
            loader.map_max_entries(maps::events::NAME, settings.buffer_kib.saturating_mul(1024));
            Cow::Borrowed(exectrace::object())
        } else {
            let changed = with_perf_buffers(exectrace::object(), maps::events::NAME);
            Cow::Owned(changed.map_err(|error| Error::Load(error.to_string()))?)
        };
        let mut ebpf = loader.load(&object).map_err(|error| Error::from_loader(error, settings.buffer_kib))?;
        let output = if ring_buffer {
            Output::Ring(maps::events::take(&mut ebpf).map_err(Error::from_map)?)
        } else {
            let map = map_data(&mut ebpf, maps::events::NAME)?;
            let failed = |error: io::Error| Error::from_perf(error, settings.buffer_kib);
            let mut buffers = Buffers::new(settings.buffer_kib).map_err(failed)?;
            buffers.open(Source::Bpf, Extras { wakes: true, ..Extras::default() }).map_err(failed)?;
            fill(&map, &buffers, Source::Bpf).map_err(failed)?;
            buffers.enable().map_err(failed)?;
            Output::Perf { buffers, samples: VecDeque::new(), map }
        };

        let places = if settings.places { Some(load_places(&mut ebpf)?) } else { None };

        // Fork first, so that no child of a tracked process slips through while the others are attached.
        let mut attached = Vec::new();
        if settings.only_tracked {
            attached.push(attach(&mut ebpf, on_fork::NAME, on_fork::attach)?);
        }
        if settings.only_tracked || !settings.no_exits {
            attached.push(attach(&mut ebpf, on_exit::NAME, on_exit::attach)?);
        }
        attached.push(attach(&mut ebpf, on_exec::NAME, on_exec::attach)?);
        let (links, programs) = attached.into_iter().unzip();

        let events = calls.iter().flat_map(|calls| &calls.0).map(|(name, format)| {
            let program: &mut TracePoint = program(&mut ebpf, name)?;
            attach_tracepoint(program, name, format)
        });
        let calls = events.collect::<Result<_, _>>()?;

        Ok(Self {
            output,
            calls,
            lost: maps::lost::take(&mut ebpf).map_err(Error::from_map)?,
            tracked: maps::tracked::take(&mut ebpf).map_err(Error::from_map)?,
            links,
            programs,
            _places: places,
            blind: 0,
        })
    }

    /// --pid: these and their descendants.
    pub(crate) fn track(&mut self, pids: &[u32]) -> Result<(), Error> {
        descendants::track(&mut self.tracked, pids)
    }

    /// Whether one of those that are followed is still there. What cannot be read may hold one.
    pub(crate) fn has_tracked(&self) -> bool {
        self.tracked.keys().next().is_some()
    }

    /// Readable when something has happened.
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match &self.output {
            Output::Ring(ring) => vec![ring.as_fd()],
            Output::Perf { buffers, .. } => buffers.fds().collect(),
        }
    }

    /// Whether [`Self::next`] is to be called again, without anything to wait for.
    pub(crate) fn has_more(&self) -> bool {
        matches!(&self.output, Output::Perf { samples, .. } if !samples.is_empty())
    }

    /// Whether something has happened that [`Self::next`] can give only a moment later.
    pub(crate) fn holds_back(&self) -> bool {
        matches!(&self.output, Output::Perf { buffers, .. } if buffers.holds_back())
    }

    /// Hands on the next event, if there is one.
    pub(crate) fn next(&mut self, show: &mut dyn FnMut(&Event<'_>)) -> Result<bool, Error> {
        match &mut self.output {
            Output::Ring(ring) => match ring.next() {
                Some(record) => show(&Event::read(&record)?),
                None => return Ok(false),
            },
            Output::Perf { buffers, samples, .. } => {
                if samples.is_empty() {
                    samples.extend(buffers.drain(|_| {}).samples);
                }
                match samples.pop_front().map(|sample| sample.content) {
                    Some(Content::Raw { bytes, .. }) => show(&Event::read(&bytes)?),
                    Some(_) => {}
                    None => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    /// Whether each processor has its own buffer.
    pub(crate) fn watches_processors(&self) -> bool {
        matches!(self.output, Output::Perf { .. })
    }

    /// Looks whether there are processors that have no buffer.
    pub(crate) fn follow_processors(&mut self) -> Result<(), Error> {
        if let Output::Perf { buffers, map, .. } = &mut self.output {
            let failed = |error: io::Error| Error::from_perf(error, 0);
            if buffers.follow_processors().map_err(failed)? {
                self.blind += 1;
                fill(map, buffers, Source::Bpf).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Events for which there was no room, since the start.
    pub(crate) fn lost(&self) -> Result<Lost, Error> {
        // Of those that did not run, some would have had nothing to send.
        let interrupted = self.programs.iter().map(|program| misses(program.as_fd())).sum();
        Ok(Lost {
            count: sum(&self.lost)? + interrupted,
            is_exact: interrupted == 0,
            interrupted,
            blind: self.blind,
            ..Lost::default()
        })
    }

    /// Nothing new arrives after this; what is in the buffer stays there to be read.
    pub(crate) fn detach(&mut self) {
        self.links.clear();
        self.calls.clear();
    }
}

/// The tracepoints of the system calls that execute a program, each with the BPF program for it.
struct Calls([(&'static str, Format); 4]);

impl Calls {
    fn find() -> Result<Self, Error> {
        let tracefs = Tracefs::find().map_err(Error::Tracefs)?;
        let find = |program: &'static str, name: &'static str| {
            let format = tracefs.format(name).map_err(Error::Tracefs)?;
            Ok((program, format.ok_or(Error::NoTracepoint(name))?))
        };
        Ok(Self([
            find(on_execve::NAME, "syscalls/sys_enter_execve")?,
            find(on_execveat::NAME, "syscalls/sys_enter_execveat")?,
            find(on_execve_end::NAME, "syscalls/sys_exit_execve")?,
            find(on_execve_end::NAME, "syscalls/sys_exit_execveat")?,
        ]))
    }

    /// Where the words are that the programs read.
    fn words(&self) -> Result<Overrides, Error> {
        let [(_, execve), (_, execveat), (_, end), _] = &self.0;
        let place = |format: &Format, field: &str| {
            let place = format.offset(field).and_then(|offset| u32::try_from(offset).ok());
            place.ok_or_else(|| Error::Tracefs(io::Error::other(format!("a system call has no field {field}"))))
        };
        Ok(Overrides {
            execve_file: Some(place(execve, "filename")?),
            execveat_file: Some(place(execveat, "filename")?),
            returned: Some(place(end, "ret")?),
            ..Default::default()
        })
    }
}

/// The program that a program calls to find out where it is.
fn load_places(ebpf: &mut Ebpf) -> Result<ProgramArray<MapData>, Error> {
    let mut places = maps::places::take(ebpf).map_err(Error::from_map)?;
    let place: &mut RawTracePoint = program(ebpf, on_exec_place::NAME)?;
    place.load().map_err(|error| Error::from_program(on_exec_place::NAME, error))?;
    let fd = place.fd().map_err(|error| Error::from_program(on_exec_place::NAME, error))?;
    places.set(0, fd, 0).map_err(Error::from_map)?;
    Ok(places)
}

fn attach(
    ebpf: &mut Ebpf,
    name: &str,
    attach: fn(&mut Ebpf) -> Result<RawTracePointLinkId, ProgramError>,
) -> Result<(RawTracePointLink, OwnedFd), Error> {
    let link = attach(ebpf).map_err(|error| Error::from_program(name, error))?;
    let program: &mut RawTracePoint = program(ebpf, name)?;
    let taken = program.take_link(link).map_err(|error| Error::from_program(name, error))?;
    let fd = program.fd().map_err(|error| Error::from_program(name, error))?;
    let fd = fd.as_fd().try_clone_to_owned().map_err(|error| Error::System { call: "dup", error })?;
    Ok((taken, fd))
}

/// How many processes there can be. The kernel derives its limit of threads from the memory, so that tables of this
/// size take less than a thousandth of it.
fn process_limit() -> u32 {
    fs::read_to_string("/proc/sys/kernel/threads-max")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(32_768_u32)
        .clamp(1024, 131_072)
}
