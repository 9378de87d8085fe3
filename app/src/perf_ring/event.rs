//! perf_event_open(2), and what can be asked of an event.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use aya_obj::generated::{
    PERF_EVENT_IOC_DISABLE, PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF, PERF_EVENT_IOC_SET_OUTPUT,
    PERF_FLAG_FD_CLOEXEC, perf_event_attr,
    perf_event_sample_format::{
        PERF_SAMPLE_CGROUP, PERF_SAMPLE_RAW, PERF_SAMPLE_REGS_USER, PERF_SAMPLE_STACK_USER, PERF_SAMPLE_TID,
        PERF_SAMPLE_TIME,
    },
    perf_sw_ids::{PERF_COUNT_SW_BPF_OUTPUT, PERF_COUNT_SW_DUMMY},
    perf_type_id::{PERF_TYPE_SOFTWARE, PERF_TYPE_TRACEPOINT},
};
use nix::{
    sched::sched_getcpu,
    unistd::{SysconfVar, read, sysconf},
};

use super::{Source, sample::Reader};

/// How much of a user's stack a sample holds: what lies below the arguments (at most 8 KiB at random, and two tables of
/// pointers) and the arguments that are shown.
const STACK_BYTES: u32 = 24 * 1024;

/// Of pages that are larger than 16 KiB, whose size is the random part: as much as there is room for in a record. The kernel cuts
/// off what does not fit.
const MOST_STACK_BYTES: u32 = 65_528;

/// Whether the arguments may lie further from the stack pointer than a sample reaches.
pub(crate) fn stacks_are_cut() -> bool {
    page_size() > 16 * 1024
}

/// The number that perf has for the stack pointer (asm/perf_regs.h).
#[cfg(target_arch = "x86_64")]
const STACK_POINTER: u32 = 7;
#[cfg(target_arch = "aarch64")]
const STACK_POINTER: u32 = 31;
#[cfg(target_arch = "riscv64")]
const STACK_POINTER: u32 = 2;
#[cfg(target_arch = "loongarch64")]
const STACK_POINTER: u32 = 3;
#[cfg(target_arch = "s390x")]
const STACK_POINTER: u32 = 15;
#[cfg(target_arch = "mips")]
const STACK_POINTER: u32 = 29;
#[cfg(target_arch = "arm")]
const STACK_POINTER: u32 = 13;
#[cfg(target_arch = "powerpc64")]
const STACK_POINTER: u32 = 1;

/// What an event reads: how often it happened, and for how long it has been looked at.
const PERF_FORMAT_TOTAL_TIME_ENABLED: u64 = 1;

/// An event can count the samples that found no room: since Linux 6.0 (the header of aya-obj is older).
const PERF_FORMAT_LOST: u64 = 1 << 4;

/// Samples of this event that found no room, where the kernel counts them.
pub(super) fn lost_samples(event: impl AsFd) -> u64 {
    let mut numbers = [0; 24];
    match read(event, &mut numbers) {
        Ok(24) => Reader(&numbers[16..]).u64().unwrap_or_default(),
        // Its processor is gone.
        _ => 0,
    }
}

/// How long the event has been at work, in nanoseconds.
pub(super) fn enabled_ns(event: impl AsFd) -> u64 {
    let mut numbers = [0; 24];
    match read(event, &mut numbers) {
        Ok(16..) => Reader(&numbers[8..]).u64().unwrap_or_default(),
        _ => 0,
    }
}

/// What is asked of samples, besides who, when and what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    /// The top of the user's stack.
    pub(crate) stack: bool,
    /// The control group, in the hierarchy of perf's own controller: since Linux 5.7, with `CONFIG_CGROUP_PERF`.
    pub(crate) cgroup: bool,
    /// Each wakes up who waits for the buffer: an interrupt, which costs more than the sample. Nothing else does before a
    /// half of the buffer is full.
    pub(crate) wakes: bool,
}

/// A BPF program on a tracepoint: it runs on all processors as long as what this gives is there.
pub(crate) fn attach(tracepoint: u32, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let event = open(Source::Tracepoint(tracepoint), None, Extras::default(), false)?;
    ioctl(&event, Request::SetBpf(program))?;
    ioctl(&event, Request::Enable)?;
    Ok(event)
}

/// Whether perf allows samples that hold these.
pub(crate) fn try_one(extras: Extras) -> io::Result<()> {
    open(Source::Bpf, Some(own_cpu()), extras, false).map(drop)
}

/// `cpu`: none for the first one, without samples.
pub(super) fn open(source: Source, cpu: Option<u32>, extras: Extras, counts_lost: bool) -> io::Result<OwnedFd> {
    // SAFETY: all zeros is a valid perf_event_attr, whose fields are numbers.
    let mut attr = unsafe { mem::zeroed::<perf_event_attr>() };
    attr.size = size_of::<perf_event_attr>() as u32;
    (attr.type_, attr.config) = match source {
        Source::Tracepoint(id) => (PERF_TYPE_TRACEPOINT as u32, id.into()),
        Source::Bpf | Source::BpfExecs => (PERF_TYPE_SOFTWARE as u32, PERF_COUNT_SW_BPF_OUTPUT as u64),
        Source::Tasks => (PERF_TYPE_SOFTWARE as u32, PERF_COUNT_SW_DUMMY as u64),
    };
    attr.set_disabled(1);
    attr.set_use_clockid(1);
    attr.clockid = libc::CLOCK_MONOTONIC;
    if cpu.is_some() {
        attr.__bindgen_anon_1.sample_period = 1;
        attr.__bindgen_anon_2.wakeup_events = extras.wakes.into();
        attr.sample_type = PERF_SAMPLE_TID as u64 | PERF_SAMPLE_TIME as u64 | PERF_SAMPLE_RAW as u64;
    }
    if source == Source::Tasks {
        attr.set_task(1);
        attr.set_comm(1);
        attr.set_comm_exec(1);
        // Who and when, behind each record.
        attr.set_sample_id_all(1);
    }
    attr.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | if counts_lost { PERF_FORMAT_LOST } else { 0 };
    if extras.cgroup {
        attr.sample_type |= PERF_SAMPLE_CGROUP as u64;
    }
    if extras.stack {
        attr.sample_type |= PERF_SAMPLE_REGS_USER as u64 | PERF_SAMPLE_STACK_USER as u64;
        attr.sample_regs_user = 1 << STACK_POINTER;
        attr.sample_stack_user = if stacks_are_cut() { MOST_STACK_BYTES } else { STACK_BYTES };
    }
    // SAFETY: attr is alive and as long as it says; the call keeps no pointer to it.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            -1 as libc::pid_t,
            cpu.unwrap_or_else(own_cpu) as libc::c_int,
            -1 as libc::c_int,
            libc::c_ulong::from(PERF_FLAG_FD_CLOEXEC),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call gave this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// What can be asked of an event.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    Enable,
    Disable,
    /// Its samples go into the buffer of another.
    SetOutput(BorrowedFd<'a>),
    SetBpf(BorrowedFd<'a>),
}

pub(super) fn ioctl(event: impl AsFd, request: Request<'_>) -> io::Result<()> {
    let (number, argument) = match request {
        Request::Enable => (PERF_EVENT_IOC_ENABLE, 0),
        Request::Disable => (PERF_EVENT_IOC_DISABLE, 0),
        Request::SetOutput(other) => (PERF_EVENT_IOC_SET_OUTPUT, other.as_raw_fd()),
        Request::SetBpf(program) => (PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()),
    };
    // SAFETY: none of these requests takes a pointer.
    match unsafe { libc::ioctl(event.as_fd().as_raw_fd(), number as _, libc::c_long::from(argument)) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A processor that is switched on: the first one need not be.
pub(super) fn own_cpu() -> u32 {
    sched_getcpu().ok().and_then(|cpu| u32::try_from(cpu).ok()).unwrap_or(0)
}

/// In bytes.
pub(crate) fn page_size() -> usize {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| usize::try_from(size).ok()).unwrap_or(4096)
}
