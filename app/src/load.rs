//! Loads the BPF programs, attaches them, and reads what they count.

use std::fs;

use aya::{
    Btf, Ebpf, EbpfLoader, Endianness,
    maps::{HashMap, MapData, PerCpuArray, RingBuf},
    programs::{RawTracePoint, raw_trace_point::RawTracePointLink},
};

use crate::error::Error;

pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Programs that are loaded and attached, until this is dropped.
pub(crate) struct Tracer {
    ring: RingBuf<MapData>,
    lost: PerCpuArray<MapData, u64>,
    tracked: HashMap<MapData, u32, u8>,
    links: Vec<RawTracePointLink>,
}

pub(crate) struct Settings {
    /// Size of the ring buffer.
    pub(crate) buffer_kib: u32,
    /// Tells only of processes in the map of tracked ones, and of their descendants.
    pub(crate) only_tracked: bool,
}

impl Tracer {
    /// Everything is attached when this returns.
    pub(crate) fn start(settings: &Settings) -> Result<Self, Error> {
        // aya loads code for another kernel's structs without a word when it finds no BTF, so it gets it from us or
        // it gets nothing to load.
        let btf = Btf::parse_file(KERNEL_BTF, Endianness::default())
            .map_err(|error| Error::UnreadableBtf(error.to_string()))?;
        let processes = process_limit();
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            .map_max_entries("events", settings.buffer_kib.saturating_mul(1024))
            .map_max_entries("exec_times", processes)
            .map_max_entries("tracked", if settings.only_tracked { processes } else { 1 })
            .override_global("only_tracked", &u32::from(settings.only_tracked), true)
            .load(exectrace_bpf::exectrace())
            .map_err(|error| Error::from_loader(error, settings.buffer_kib))?;

        // Fork first, so that no child of a tracked process slips through while the others are attached.
        let mut links = Vec::new();
        if settings.only_tracked {
            links.push(attach(&mut ebpf, "on_fork", "sched_process_fork")?);
        }
        links.push(attach(&mut ebpf, "on_exit", "sched_process_exit")?);
        links.push(attach(&mut ebpf, "on_exec", "sched_process_exec")?);

        Ok(Self {
            ring: take_map(&mut ebpf, "events")?,
            lost: take_map(&mut ebpf, "lost")?,
            tracked: take_map(&mut ebpf, "tracked")?,
            links,
        })
    }

    pub(crate) fn ring(&mut self) -> &mut RingBuf<MapData> {
        &mut self.ring
    }

    pub(crate) fn tracked(&mut self) -> &mut HashMap<MapData, u32, u8> {
        &mut self.tracked
    }

    /// Events that found the ring buffer full, since the start.
    pub(crate) fn lost(&self) -> Result<u64, Error> {
        match self.lost.get(&0, 0) {
            Ok(counters) => Ok(counters.iter().sum()),
            Err(error) => Err(Error::Load(format!("cannot read the counter of lost events: {error}"))),
        }
    }

    /// Nothing new arrives after this; what is in the ring buffer stays there to be read.
    pub(crate) fn detach(&mut self) {
        self.links.clear();
    }
}

fn attach(ebpf: &mut Ebpf, name: &str, tracepoint: &str) -> Result<RawTracePointLink, Error> {
    let program: &mut RawTracePoint = ebpf
        .program_mut(name)
        .ok_or_else(|| Error::Load(format!("the object has no program {name}")))?
        .try_into()
        .map_err(|error| Error::from_program(name, error))?;
    program.load().map_err(|error| Error::from_program(name, error))?;
    let link = program.attach(tracepoint).map_err(|error| Error::from_program(name, error))?;
    program.take_link(link).map_err(|error| Error::from_program(name, error))
}

fn take_map<M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<M, Error> {
    let map = ebpf.take_map(name).ok_or_else(|| Error::Load(format!("the object has no map {name}")))?;
    M::try_from(map).map_err(|error| Error::Load(format!("map {name}: {error}")))
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
