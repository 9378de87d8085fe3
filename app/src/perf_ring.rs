//! Buffers that the kernel writes samples into, one for each processor: perf_event_open(2) and what comes of it.

use std::{
    collections::BTreeSet,
    io, mem,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr, slice,
    sync::atomic::{AtomicUsize, Ordering},
};

use aya_obj::generated::{
    PERF_EVENT_IOC_DISABLE, PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF, PERF_EVENT_IOC_SET_OUTPUT,
    PERF_FLAG_FD_CLOEXEC, perf_event_attr, perf_event_mmap_page,
    perf_event_sample_format::{
        PERF_SAMPLE_RAW, PERF_SAMPLE_REGS_USER, PERF_SAMPLE_STACK_USER, PERF_SAMPLE_TID, PERF_SAMPLE_TIME,
    },
    perf_event_type::{PERF_RECORD_COMM, PERF_RECORD_EXIT, PERF_RECORD_FORK, PERF_RECORD_LOST, PERF_RECORD_SAMPLE},
    perf_sw_ids::{PERF_COUNT_SW_BPF_OUTPUT, PERF_COUNT_SW_DUMMY},
    perf_type_id::{PERF_TYPE_SOFTWARE, PERF_TYPE_TRACEPOINT},
};
use nix::unistd::{SysconfVar, read, sysconf};

use crate::clock::{monotonic_ns, suspended_ns};

/// How much of a user's stack a sample holds: what lies below the arguments (at most 8 KiB at random, and two tables of
/// pointers) and the arguments that are shown.
const STACK_BYTES: u32 = 24 * 1024;

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

/// The least size of a buffer, in KiB: below, no sample with a stack would fit.
const LEAST_KIB: usize = 128;

/// More than this is no inaccuracy of clocks.
const SLEEP_NS: u64 = 10_000_000;

/// An event can count the samples that found no room: since Linux 6.0 (the header of aya-obj is older).
const PERF_FORMAT_LOST: u64 = 1 << 4;
/// In the header of a PERF_RECORD_COMM: an exec gave the name.
const PERF_RECORD_MISC_COMM_EXEC: u16 = 1 << 13;

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

/// One record, with who and when.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub(crate) time_ns: u64,
    /// The process that ran, or that the record is about, in the pid namespace of this program.
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) content: Content,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A tracepoint's record, or what the BPF program said.
    Raw { bytes: Vec<u8>, stack: Option<Stack> },
    /// A thread or a process has begun, made by this one.
    Forked { maker: u32, maker_tid: u32 },
    /// A thread has got another name.
    Renamed { comm: Vec<u8>, by_exec: bool },
    /// A thread has ended, of a process that has this parent: unknown before Linux 5.8, which puts the process itself there.
    Exited { ppid: Option<u32> },
    /// A thread has another real user. Not from perf: from the proc connector.
    UserSet(u32),
}

/// The top of a user's stack.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stack {
    /// Of a 32-bit program.
    pub(crate) is_32_bit: bool,
    /// Where `bytes` begin in the memory of the process.
    pub(crate) pointer: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The buffers of all processors that are online.
pub(crate) struct Buffers {
    buffers: Vec<Buffer>,
    /// What each of them has an event of, and whether with stacks.
    sources: Vec<(Source, bool)>,
    enabled: bool,
    /// Read, and not older than the last look into all buffers.
    held: Vec<Sample>,
    /// Records that found no room.
    lost: u64,
    /// The kernel counts lost samples for each event.
    counts_lost: bool,
    /// Those that events of processors which are gone have counted, by source.
    lost_before: Vec<u64>,
    /// How long the machine had slept: it takes processors off and brings them back.
    suspended_ns: u64,
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
        let buffers = online_cpus()?.into_iter().map(Buffer::new).collect();
        Ok(Self {
            buffers,
            sources: Vec::new(),
            enabled: false,
            held: Vec::new(),
            lost: 0,
            counts_lost: open(Source::Tasks, Some(0), false, true).is_ok(),
            lost_before: Vec::new(),
            suspended_ns: suspended_ns(),
            page: page_size(),
            kib,
        })
    }

    /// Opens an event on every processor. Nothing is sampled before [`Self::enable`].
    ///
    /// # Errors
    /// Of perf_event_open() or mmap(): EPERM or ENOMEM if the memory is more than may be locked; EOPNOTSUPP, ENOSYS or
    /// EINVAL if this architecture has no stacks in samples.
    pub(crate) fn open(&mut self, source: Source, with_stack: bool) -> io::Result<()> {
        self.sources.push((source, with_stack));
        self.lost_before.push(0);
        for buffer in &mut self.buffers {
            buffer.open(source, with_stack, self.counts_lost, self.page, self.kib)?;
        }
        // A processor that has gone since they were counted.
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
        let online: BTreeSet<u32> = online_cpus()?.into_iter().collect();
        let suspended_ns = suspended_ns();
        // Events do not survive that their processor is switched off; suspending does that to all but one.
        let has_slept = suspended_ns.saturating_sub(self.suspended_ns) > SLEEP_NS;
        self.suspended_ns = suspended_ns;
        let mut kept = Vec::new();
        for mut buffer in mem::take(&mut self.buffers) {
            if online.contains(&buffer.cpu) && !has_slept {
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
        for &cpu in online.difference(&known) {
            let mut buffer = Buffer::new(cpu);
            for &(source, with_stack) in &self.sources {
                buffer.open(source, with_stack, self.counts_lost, self.page, self.kib)?;
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

    /// One for each processor: readable when its buffer is not empty.
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
        Self { cpu, memory: None, events: Vec::new(), lost_known: 0 }
    }

    /// Leaves out a processor that is not there any more.
    fn open(&mut self, source: Source, with_stack: bool, counts_lost: bool, page: usize, kib: u32) -> io::Result<()> {
        let event = match open(source, Some(self.cpu), with_stack, counts_lost) {
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

/// The processors that are online.
fn online_cpus() -> io::Result<Vec<u32>> {
    aya::util::online_cpus().map_err(|(_, error)| error)
}

/// Samples of this event that found no room: the second number of what it reads with PERF_FORMAT_LOST.
fn lost_samples(event: impl AsFd) -> u64 {
    let mut numbers = [0; 16];
    match read(event, &mut numbers) {
        Ok(16) => Reader(&numbers[8..]).u64().unwrap_or_default(),
        // Its processor is gone.
        _ => 0,
    }
}

/// A BPF program on a tracepoint: it runs on all processors as long as what this gives is there.
pub(crate) fn attach(tracepoint: u32, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let event = open(Source::Tracepoint(tracepoint), None, false, false)?;
    ioctl(&event, Request::SetBpf(program))?;
    ioctl(&event, Request::Enable)?;
    Ok(event)
}

/// Whether perf allows samples, with or without the user's stack.
pub(crate) fn try_one(with_stack: bool) -> io::Result<()> {
    open(Source::Bpf, Some(0), with_stack, false).map(drop)
}

/// `cpu`: none for the first one, without samples.
fn open(source: Source, cpu: Option<u32>, with_stack: bool, counts_lost: bool) -> io::Result<OwnedFd> {
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
        attr.__bindgen_anon_2.wakeup_events = 1;
        attr.sample_type = PERF_SAMPLE_TID as u64 | PERF_SAMPLE_TIME as u64 | PERF_SAMPLE_RAW as u64;
    }
    if source == Source::Tasks {
        attr.set_task(1);
        attr.set_comm(1);
        attr.set_comm_exec(1);
        // Who and when, behind each record.
        attr.set_sample_id_all(1);
        // No samples, so that their number wakes nobody up: the first byte does.
        attr.set_watermark(1);
        attr.__bindgen_anon_2.wakeup_watermark = 1;
    }
    if counts_lost {
        attr.read_format = PERF_FORMAT_LOST;
    }
    if with_stack {
        attr.sample_type |= PERF_SAMPLE_REGS_USER as u64 | PERF_SAMPLE_STACK_USER as u64;
        attr.sample_regs_user = 1 << STACK_POINTER;
        attr.sample_stack_user = STACK_BYTES;
    }
    // SAFETY: attr is alive and as long as it says; the call keeps no pointer to it.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            -1 as libc::pid_t,
            cpu.unwrap_or_default() as libc::c_int,
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
enum Request<'a> {
    Enable,
    Disable,
    /// Its samples go into the buffer of another.
    SetOutput(BorrowedFd<'a>),
    SetBpf(BorrowedFd<'a>),
}

fn ioctl(event: impl AsFd, request: Request<'_>) -> io::Result<()> {
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

/// In bytes.
pub(crate) fn page_size() -> usize {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| usize::try_from(size).ok()).unwrap_or(4096)
}

/// A page that says how far the kernel has written and we have read, and the buffer after it.
struct Memory {
    address: *mut u8,
    page: usize,
    size: usize,
}

impl Memory {
    fn map(event: &OwnedFd, page: usize, kib: u32) -> io::Result<Self> {
        let size = buffer_size(page, kib).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                page + size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { address: address.cast(), page, size })
    }

    /// One of the kernel's 64-bit counters, of which the low word is enough: a buffer is smaller than that.
    fn counter(&self, offset: usize) -> &AtomicUsize {
        let low = if cfg!(target_endian = "big") { size_of::<u64>() - size_of::<usize>() } else { 0 };
        // SAFETY: within the first page, aligned, and mapped as long as we are; the kernel writes whole words.
        unsafe { AtomicUsize::from_ptr(self.address.add(offset + low).cast()) }
    }

    fn head(&self) -> usize {
        self.counter(mem::offset_of!(perf_event_mmap_page, data_head)).load(Ordering::Acquire)
    }

    fn tail(&self) -> &AtomicUsize {
        self.counter(mem::offset_of!(perf_event_mmap_page, data_tail))
    }

    /// Whether a large sample may have found no room.
    fn is_nearly_full(&self) -> bool {
        self.size - self.used() < usize::from(u16::MAX)
    }

    fn used(&self) -> usize {
        self.head().wrapping_sub(self.tail().load(Ordering::Relaxed))
    }

    /// Hands on each record, and gives how many the kernel could not write.
    fn read(&mut self, mut each: impl FnMut(Header, &[u8])) -> u64 {
        let mut lost = 0;
        let head = self.head();
        let mut tail = self.tail().load(Ordering::Relaxed);
        let mut copy = Vec::new();
        while tail != head {
            // type, misc and size (struct perf_event_header).
            let header = self.bytes(tail, HEADER, &mut copy);
            let size = usize::from(u16::from_ne_bytes([header[6], header[7]]));
            let header = Header {
                kind: u32::from_ne_bytes([header[0], header[1], header[2], header[3]]),
                misc: u16::from_ne_bytes([header[4], header[5]]),
            };
            if size < HEADER || size > head.wrapping_sub(tail) {
                // Not the kernel's doing.
                lost += 1;
                tail = head;
                break;
            }
            let record = self.bytes(tail.wrapping_add(HEADER), size - HEADER, &mut copy);
            if header.kind == PERF_RECORD_LOST as u32 {
                // id and lost.
                lost += record.get(8..).and_then(|record| Reader(record).u64()).unwrap_or(1);
            } else {
                each(header, record);
            }
            tail = tail.wrapping_add(size);
        }
        // The kernel must not write there before we have read.
        self.tail().store(tail, Ordering::Release);
        lost
    }

    /// What lies there; in `copy`, if its end is at the beginning of the buffer.
    fn bytes<'b>(&'b self, from: usize, length: usize, copy: &'b mut Vec<u8>) -> &'b [u8] {
        let begin = from & (self.size - 1);
        let first = length.min(self.size - begin);
        // SAFETY: within the buffer, whose size is a power of two, and from which the kernel keeps off until the tail
        // moves.
        let (end, beginning) = unsafe {
            let buffer = self.address.add(self.page);
            (slice::from_raw_parts(buffer.add(begin), first), slice::from_raw_parts(buffer, length - first))
        };
        if beginning.is_empty() {
            return end;
        }
        copy.clear();
        copy.extend_from_slice(end);
        copy.extend_from_slice(beginning);
        copy
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: ours alone, and nothing points there any more.
        unsafe { libc::munmap(self.address.cast(), self.page + self.size) };
    }
}

/// A power of two of pages, with the KiB that are wanted; none if that is more than can be mapped with the page before it.
fn buffer_size(page: usize, kib: u32) -> Option<usize> {
    let size = (kib as usize).max(LEAST_KIB).checked_mul(1024)?.checked_next_power_of_two()?.max(page);
    size.checked_add(page).filter(|all| *all <= isize::MAX as usize).map(|_| size)
}

/// The size of what every record begins with, in bytes.
const HEADER: usize = 8;

/// What a record begins with, but for its size.
#[derive(Debug, Clone, Copy)]
struct Header {
    kind: u32,
    misc: u16,
}

impl Sample {
    /// In the order in which perf_event_open(2) says that the parts come; none of what is not asked for.
    fn read(header: Header, record: &[u8]) -> Option<Self> {
        let is = |kind| header.kind == kind as u32;
        if is(PERF_RECORD_SAMPLE) {
            return Self::read_sample(record);
        }
        // Behind each of the others: who ran (8 bytes), and when.
        let (record, mut trailer) = record
            .split_at_checked(record.len().checked_sub(16)?)
            .map(|(record, trailer)| (record, Reader(trailer)))?;
        trailer.u64()?;
        let time_ns = trailer.u64()?;
        let mut reader = Reader(record);
        if is(PERF_RECORD_COMM) {
            let (pid, tid) = (reader.u32()?, reader.u32()?);
            let comm = reader.0.split(|&byte| byte == 0).next().unwrap_or_default().to_vec();
            let by_exec = header.misc & PERF_RECORD_MISC_COMM_EXEC != 0;
            return Some(Self { time_ns, pid, tid, content: Content::Renamed { comm, by_exec } });
        }
        let (pid, other, tid, other_tid) = (reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?);
        let content = if is(PERF_RECORD_FORK) {
            Content::Forked { maker: other, maker_tid: other_tid }
        } else if is(PERF_RECORD_EXIT) {
            Content::Exited { ppid: Some(other).filter(|ppid| *ppid != pid) }
        } else {
            return None;
        };
        Some(Self { time_ns, pid, tid, content })
    }

    fn read_sample(record: &[u8]) -> Option<Self> {
        let mut reader = Reader(record);
        let (pid, tid) = (reader.u32()?, reader.u32()?);
        let time_ns = reader.u64()?;
        let size = reader.u32()?;
        let bytes = reader.bytes(size.into())?.to_vec();
        let stack = if reader.0.is_empty() { None } else { reader.stack()? };
        Some(Self { time_ns, pid, tid, content: Content::Raw { bytes, stack } })
    }
}

/// Takes numbers off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length.try_into().ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.bytes(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_ne_bytes(self.bytes(8)?.try_into().ok()?))
    }

    /// The outer option is none if the record is cut, the inner one if there was no user's stack.
    fn stack(&mut self) -> Option<Option<Stack>> {
        let abi = self.u64()?;
        // PERF_SAMPLE_REGS_ABI_NONE, _32 and _64; no register follows the first.
        let pointer = if abi == 0 { 0 } else { self.u64()? };
        let size = self.u64()?;
        if size == 0 || abi == 0 {
            return Some(None);
        }
        let bytes = self.bytes(size)?;
        let filled = self.u64()?.min(size) as usize;
        Some(Some(Stack { is_32_bit: abi == 1, pointer, bytes: bytes[..filled].to_vec() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(raw: &[u8], rest: &[u64]) -> Vec<u8> {
        let mut record = Vec::new();
        record.extend(7_u32.to_ne_bytes());
        record.extend(8_u32.to_ne_bytes());
        record.extend(9_u64.to_ne_bytes());
        record.extend((raw.len() as u32).to_ne_bytes());
        record.extend(raw);
        rest.iter().for_each(|number| record.extend(number.to_ne_bytes()));
        record
    }

    const SAMPLE: Header = Header { kind: PERF_RECORD_SAMPLE as u32, misc: 0 };

    fn stack_of(record: &[u8]) -> Option<Stack> {
        match Sample::read(SAMPLE, record).unwrap().content {
            Content::Raw { stack, .. } => stack,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sample_is_read() {
        let sample = Sample::read(SAMPLE, &record(b"raw!", &[])).unwrap();
        let content = Content::Raw { bytes: b"raw!".to_vec(), stack: None };
        assert_eq!(sample, Sample { time_ns: 9, pid: 7, tid: 8, content });
    }

    #[test]
    fn of_a_stack_what_the_kernel_has_filled_is_read() {
        // abi, the register, the size, the bytes, and how many of them count.
        let stack = stack_of(&record(b"", &[1, 0xfff0, 16, 1, 2, 8]));
        let expected = Stack { is_32_bit: true, pointer: 0xfff0, bytes: 1_u64.to_ne_bytes().to_vec() };
        assert_eq!(stack, Some(expected));
        // A kernel thread has no registers of a user's; a process may have no memory any more.
        assert_eq!(stack_of(&record(b"", &[0, 0])), None);
        assert_eq!(stack_of(&record(b"", &[2, 0xfff0, 0])), None);
    }

    #[test]
    fn a_record_that_is_cut_is_none() {
        let whole = record(b"raw!", &[2, 0xfff0, 16, 1, 2, 16]);
        let without_stack = record(b"raw!", &[]).len();
        for length in (0..whole.len()).filter(|length| *length != without_stack) {
            assert_eq!(Sample::read(SAMPLE, &whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn records_of_tasks_are_read() {
        let words = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|word| word.to_ne_bytes()).collect() };
        let trailer = |time: u64| [words(&[70, 80]), time.to_ne_bytes().to_vec()].concat();
        let read = |kind, misc, record: Vec<u8>| Sample::read(Header { kind: kind as u32, misc }, &record);
        let sample = |content| Some(Sample { time_ns: 9, pid: 7, tid: 8, content });
        // pid, ppid, tid, ptid, and the time once more.
        let task = [words(&[7, 70, 8, 80, 5, 0]), trailer(9)].concat();
        let forked = Content::Forked { maker: 70, maker_tid: 80 };
        assert_eq!(read(PERF_RECORD_FORK, 0, task.clone()), sample(forked));
        assert_eq!(read(PERF_RECORD_EXIT, 0, task.clone()), sample(Content::Exited { ppid: Some(70) }));
        let own = [words(&[7, 7, 8, 8, 5, 0]), trailer(9)].concat();
        assert_eq!(read(PERF_RECORD_EXIT, 0, own), sample(Content::Exited { ppid: None }));
        let comm = |misc| read(PERF_RECORD_COMM, misc, [words(&[7, 8]), b"name\0\0\0\0".to_vec(), trailer(9)].concat());
        let renamed = |by_exec| Content::Renamed { comm: b"name".to_vec(), by_exec };
        assert_eq!(comm(0), sample(renamed(false)));
        assert_eq!(comm(PERF_RECORD_MISC_COMM_EXEC), sample(renamed(true)));
        for length in 0..32 {
            assert_eq!(read(PERF_RECORD_FORK, 0, task[..length].to_vec()), None, "{length}");
        }
    }

    #[test]
    fn buffers_are_whole_pages_and_powers_of_two_whatever_the_page() {
        for (page, kib, size) in
            [(4096, 1024, 1 << 20), (16_384, 1000, 1 << 20), (65_536, 1, 128 << 10), (4096, 129, 256 << 10)]
        {
            assert_eq!(buffer_size(page, kib), Some(size));
            assert_eq!(size % page, 0);
        }
        // --buffer at its most, four times over, is more than 32 bits can address.
        let most = buffer_size(4096, 4 << 20);
        assert_eq!(most, if cfg!(target_pointer_width = "32") { None } else { Some(4 << 30) });
    }
}
