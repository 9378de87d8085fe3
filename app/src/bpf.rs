//! What all BPF programs need: to be attached, and maps.

use std::{
    fs, io, mem,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
};

use aya::{
    Ebpf,
    maps::{Map, MapData, PerCpuArray},
    programs::{Program, ProgramError, TracePoint},
};
use aya_obj::generated::{bpf_attr, bpf_cmd::BPF_MAP_UPDATE_ELEM};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use crate::{
    error::Error,
    perf_ring::{self, Buffers, Source},
    tracefs::Format,
};

/// The program runs on all processors as long as what this gives is there. aya would do the same, but for where it looks for
/// tracefs.
pub(crate) fn attach_tracepoint(program: &mut TracePoint, name: &str, format: &Format) -> Result<OwnedFd, Error> {
    match program.load() {
        // For another tracepoint.
        Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
        Err(error) => return Err(Error::from_program(name, error)),
    }
    let program = program.fd().map_err(|error| Error::from_program(name, error))?;
    perf_ring::attach(format.id, program.as_fd()).map_err(Error::Perf)
}

pub(crate) fn program<'e, P>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut P, Error>
where
    &'e mut P: TryFrom<&'e mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or_else(|| Error::Load(format!("the object has no program {name}")))?
        .try_into()
        .map_err(|error| Error::from_program(name, error))
}

/// All processors' counters together.
pub(crate) fn sum(counters: &PerCpuArray<MapData, u64>) -> Result<u64, Error> {
    match counters.get(&0, 0) {
        Ok(counters) => Ok(counters.iter().sum()),
        Err(error) => Err(Error::Load(format!("cannot read the counter of lost events: {error}"))),
    }
}

/// How often a program did not run, because it was interrupted on the same processor and then was to run for somebody else. Since
/// Linux 7.0 the kernel may interrupt the programs of raw tracepoints (a46023d5616e). Before 5.12 it does not say.
pub(crate) fn misses(program: BorrowedFd<'_>) -> u64 {
    misses_in(&fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).unwrap_or_default())
}

fn misses_in(info: &str) -> u64 {
    let count = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

/// A map of perf buffers.
pub(crate) fn map_data(ebpf: &mut Ebpf, name: &str) -> Result<MapData, Error> {
    match ebpf.take_map(name) {
        Some(Map::PerfEventArray(map)) => Ok(map),
        _ => Err(Error::Load(format!("the object has no map {name} of perf buffers"))),
    }
}

/// Gives a map of perf buffers the event of each processor: aya fills such maps only with buffers of its own, which hold no
/// stacks.
pub(crate) fn fill(map: &MapData, buffers: &Buffers, source: Source) -> io::Result<()> {
    buffers.events(source).try_for_each(|(cpu, event)| set_element(map, cpu, event.as_raw_fd()))
}

fn set_element(map: &MapData, key: u32, value: RawFd) -> io::Result<()> {
    // SAFETY: all zeros is a valid bpf_attr, a union of structs of numbers.
    let mut attr = unsafe { mem::zeroed::<bpf_attr>() };
    // SAFETY: the command below reads this part of the union.
    let element = unsafe { &mut attr.__bindgen_anon_2 };
    element.map_fd = map.fd().as_fd().as_raw_fd() as u32;
    element.key = &raw const key as usize as u64;
    element.__bindgen_anon_1.value = &raw const value as usize as u64;
    // SAFETY: attr, key and value are alive, and of the sizes that the map has.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_UPDATE_ELEM as libc::c_int, &raw mut attr, size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Before Linux 5.11 maps count as locked memory, and a processor of many takes several descriptors. Where these are
/// not to be raised, what is allowed may still be enough.
pub(crate) fn raise_limits() {
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_often_a_program_did_not_run() {
        assert_eq!(misses_in("pos:\t0\nrun_cnt:\t7\nrecursion_misses:\t12\nverified_insns:\t594\n"), 12);
        assert_eq!(misses_in("pos:\t0\n"), 0);
    }
}
