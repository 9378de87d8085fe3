//! Buffers that the kernel writes samples into, one for each processor: perf_event_open(2) and what comes of it.

use std::{
    io, mem,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

use aya_obj::generated::{
    PERF_EVENT_IOC_DISABLE, PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_OUTPUT, PERF_FLAG_FD_CLOEXEC, perf_event_attr,
    perf_event_mmap_page,
    perf_event_sample_format::{
        PERF_SAMPLE_RAW, PERF_SAMPLE_REGS_USER, PERF_SAMPLE_STACK_USER, PERF_SAMPLE_TID, PERF_SAMPLE_TIME,
    },
    perf_event_type::{PERF_RECORD_LOST, PERF_RECORD_SAMPLE},
    perf_sw_ids::PERF_COUNT_SW_BPF_OUTPUT,
    perf_type_id::{PERF_TYPE_SOFTWARE, PERF_TYPE_TRACEPOINT},
};

use crate::clock::monotonic_ns;

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

/// What samples are taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A tracepoint, by the number that tracefs has for it.
    Tracepoint(u32),
    /// What BPF programs hand over with bpf_perf_event_output().
    Bpf,
}

/// One sample, or what stands in the place of those that were lost.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub(crate) time_ns: u64,
    /// The process that ran, in the pid namespace of this program.
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    /// A tracepoint's record, or what the BPF program said.
    pub(crate) raw: Vec<u8>,
    pub(crate) stack: Option<Stack>,
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

/// The buffers of all processors that were online when it was made.
pub(crate) struct Buffers {
    buffers: Vec<Buffer>,
    /// Read, and not older than the last look into all buffers.
    held: Vec<Sample>,
    lost: u64,
    page: usize,
    kib: u32,
}

struct Buffer {
    cpu: u32,
    memory: Memory,
    /// The first one owns the memory.
    events: Vec<OwnedFd>,
}

impl Buffers {
    /// For buffers of at least so many KiB each; events are still to be opened.
    ///
    /// # Errors
    /// When /sys does not tell which processors there are.
    pub(crate) fn new(kib: u32) -> io::Result<Self> {
        let cpus = aya::util::online_cpus().map_err(|(_, error)| error)?;
        let page = page_size();
        let buffers = cpus.into_iter().map(|cpu| Buffer { cpu, memory: Memory::NONE, events: Vec::new() }).collect();
        Ok(Self { buffers, held: Vec::new(), lost: 0, page, kib })
    }

    /// Opens an event on every processor, and gives them by processor. Nothing is sampled before [`Self::enable`].
    ///
    /// # Errors
    /// Of perf_event_open() or mmap(): EPERM or ENOMEM if the memory is more than may be locked; EOPNOTSUPP, ENOSYS or
    /// EINVAL if this architecture has no stacks in samples.
    pub(crate) fn open(&mut self, source: Source, with_stack: bool) -> io::Result<Vec<(u32, BorrowedFd<'_>)>> {
        for buffer in &mut self.buffers {
            let event = open(source, Some(buffer.cpu), with_stack)?;
            match buffer.events.first() {
                Some(first) => ioctl(&event, PERF_EVENT_IOC_SET_OUTPUT, first.as_raw_fd())?,
                None => buffer.memory = Memory::map(&event, self.page, self.kib)?,
            }
            buffer.events.push(event);
        }
        Ok(self.buffers.iter().filter_map(|buffer| Some((buffer.cpu, buffer.events.last()?.as_fd()))).collect())
    }

    /// Starts or stops all events.
    pub(crate) fn enable(&self, on: bool) -> io::Result<()> {
        let request = if on { PERF_EVENT_IOC_ENABLE } else { PERF_EVENT_IOC_DISABLE };
        self.buffers.iter().flat_map(|buffer| &buffer.events).try_for_each(|event| ioctl(event, request, 0))
    }

    /// One for each processor: readable when its buffer is not empty.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.buffers.iter().filter_map(|buffer| buffer.events.first()).map(|event| event.as_fd())
    }

    /// Whether samples were read that [`Self::drain`] has still to give.
    pub(crate) fn has_more(&self) -> bool {
        !self.held.is_empty()
    }

    /// How many samples the kernel could not write, since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes out all samples from before this moment, in the order of time, and whether some may be missing.
    ///
    /// What causes another event on another processor was written before that one happened. So if whatever is not older
    /// than the beginning of this look is held back for the next one, no effect is given before its cause.
    pub(crate) fn drain(&mut self) -> (Vec<Sample>, bool) {
        let now = monotonic_ns();
        let mut lossy = false;
        for buffer in &mut self.buffers {
            lossy |= buffer.memory.is_nearly_full();
            let lost = buffer.memory.read(|kind, record| {
                if kind == PERF_RECORD_SAMPLE as u32
                    && let Some(sample) = Sample::read(record)
                {
                    self.held.push(sample);
                }
            });
            lossy |= lost > 0;
            self.lost += lost;
        }
        // Stable: what one processor wrote stays in its order.
        self.held.sort_by_key(|sample| sample.time_ns);
        let ripe = self.held.partition_point(|sample| sample.time_ns < now);
        (self.held.drain(..ripe).collect(), lossy)
    }
}

/// A tracepoint as a place for a BPF program, which then runs on all processors.
pub(crate) fn open_for_program(tracepoint: u32) -> io::Result<OwnedFd> {
    open(Source::Tracepoint(tracepoint), None, false)
}

/// Whether perf allows samples, with or without the user's stack.
pub(crate) fn try_one(with_stack: bool) -> io::Result<()> {
    open(Source::Bpf, Some(0), with_stack).map(drop)
}

/// `cpu`: none for the first one, without samples.
fn open(source: Source, cpu: Option<u32>, with_stack: bool) -> io::Result<OwnedFd> {
    // SAFETY: all zeros is a valid perf_event_attr, whose fields are numbers.
    let mut attr = unsafe { mem::zeroed::<perf_event_attr>() };
    attr.size = size_of::<perf_event_attr>() as u32;
    (attr.type_, attr.config) = match source {
        Source::Tracepoint(id) => (PERF_TYPE_TRACEPOINT as u32, id.into()),
        Source::Bpf => (PERF_TYPE_SOFTWARE as u32, PERF_COUNT_SW_BPF_OUTPUT as u64),
    };
    attr.set_disabled(1);
    attr.set_use_clockid(1);
    attr.clockid = libc::CLOCK_MONOTONIC;
    if cpu.is_some() {
        attr.__bindgen_anon_1.sample_period = 1;
        attr.__bindgen_anon_2.wakeup_events = 1;
        attr.sample_type = PERF_SAMPLE_TID as u64 | PERF_SAMPLE_TIME as u64 | PERF_SAMPLE_RAW as u64;
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

/// An ioctl of perf's that takes a number.
pub(crate) fn ioctl(event: &OwnedFd, request: u32, argument: i32) -> io::Result<()> {
    // SAFETY: none of the requests that are made here takes a pointer.
    match unsafe { libc::ioctl(event.as_raw_fd(), request as _, libc::c_long::from(argument)) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// In bytes.
pub(crate) fn page_size() -> usize {
    // SAFETY: takes no pointer.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// A page that tells how far the kernel has written and we have read, and the buffer after it.
struct Memory {
    address: *mut u8,
    page: usize,
    size: usize,
}

impl Memory {
    const NONE: Self = Self { address: ptr::null_mut(), page: 0, size: 0 };

    fn map(event: &OwnedFd, page: usize, kib: u32) -> io::Result<Self> {
        let size = buffer_size(page, kib);
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
        self.size > 0 && self.size - self.used() < usize::from(u16::MAX)
    }

    fn used(&self) -> usize {
        self.head().wrapping_sub(self.tail().load(Ordering::Relaxed))
    }

    /// Hands on each record without its header, and gives how many the kernel could not write.
    fn read(&mut self, mut each: impl FnMut(u32, &[u8])) -> u64 {
        if self.size == 0 {
            return 0;
        }
        let mut lost = 0;
        let head = self.head();
        let mut tail = self.tail().load(Ordering::Relaxed);
        let mut record = Vec::new();
        while tail != head {
            self.copy(tail, 8, &mut record);
            // type, misc and size (struct perf_event_header).
            let kind = u32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
            let size = usize::from(u16::from_ne_bytes([record[6], record[7]]));
            if size < 8 || size > head.wrapping_sub(tail) {
                // Not the kernel's doing.
                lost += 1;
                tail = head;
                break;
            }
            self.copy(tail.wrapping_add(8), size - 8, &mut record);
            if kind == PERF_RECORD_LOST as u32 {
                // id and lost.
                lost += Reader(&record[8..]).u64().unwrap_or(1);
            } else {
                each(kind, &record);
            }
            tail = tail.wrapping_add(size);
        }
        // The kernel must not write there before we have read.
        self.tail().store(tail, Ordering::Release);
        lost
    }

    fn copy(&self, from: usize, length: usize, to: &mut Vec<u8>) {
        to.clear();
        let begin = from & (self.size - 1);
        let first = length.min(self.size - begin);
        // SAFETY: within the buffer, whose size is a power of two, and from which the kernel keeps off until the tail
        // moves.
        unsafe {
            let buffer = self.address.add(self.page);
            to.extend_from_slice(std::slice::from_raw_parts(buffer.add(begin), first));
            to.extend_from_slice(std::slice::from_raw_parts(buffer, length - first));
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.size > 0 {
            // SAFETY: ours alone, and nothing points there any more.
            unsafe { libc::munmap(self.address.cast(), self.page + self.size) };
        }
    }
}

/// A power of two of pages, with the KiB that are wanted.
fn buffer_size(page: usize, kib: u32) -> usize {
    (kib as usize).max(LEAST_KIB).saturating_mul(1024).next_power_of_two().max(page)
}

impl Sample {
    /// In the order in which perf_event_open(2) says that the parts come.
    fn read(record: &[u8]) -> Option<Self> {
        let mut reader = Reader(record);
        let (pid, tid) = (reader.u32()?, reader.u32()?);
        let time_ns = reader.u64()?;
        let size = reader.u32()?;
        let raw = reader.bytes(size.into())?.to_vec();
        let stack = if reader.0.is_empty() { None } else { reader.stack()? };
        Some(Self { time_ns, pid, tid, raw, stack })
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

    #[test]
    fn a_sample_is_read() {
        let sample = Sample::read(&record(b"raw!", &[])).unwrap();
        assert_eq!(sample, Sample { time_ns: 9, pid: 7, tid: 8, raw: b"raw!".to_vec(), stack: None });
    }

    #[test]
    fn of_a_stack_what_the_kernel_has_filled_is_read() {
        // abi, the register, the size, the bytes, and how many of them count.
        let sample = Sample::read(&record(b"", &[1, 0xfff0, 16, 1, 2, 8])).unwrap();
        let stack = Stack { is_32_bit: true, pointer: 0xfff0, bytes: 1_u64.to_ne_bytes().to_vec() };
        assert_eq!(sample.stack, Some(stack));
        // A kernel thread has no registers of a user's; a process may have no memory any more.
        assert_eq!(Sample::read(&record(b"", &[0, 0])).unwrap().stack, None);
        assert_eq!(Sample::read(&record(b"", &[2, 0xfff0, 0])).unwrap().stack, None);
    }

    #[test]
    fn a_record_that_is_cut_is_none() {
        let whole = record(b"raw!", &[2, 0xfff0, 16, 1, 2, 16]);
        let without_stack = record(b"raw!", &[]).len();
        for length in (0..whole.len()).filter(|length| *length != without_stack) {
            assert_eq!(Sample::read(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn buffers_are_whole_pages_and_powers_of_two_whatever_the_page() {
        for (page, kib, size) in
            [(4096, 1024, 1 << 20), (16_384, 1000, 1 << 20), (65_536, 1, 128 << 10), (4096, 129, 256 << 10)]
        {
            assert_eq!(buffer_size(page, kib), size);
            assert_eq!(size % page, 0);
        }
    }
}
