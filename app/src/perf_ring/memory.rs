//! The memory that the kernel shares with us, into which it writes.

use std::{
    io, mem,
    os::fd::{AsRawFd as _, OwnedFd},
    ptr, slice,
    sync::atomic::{AtomicUsize, Ordering},
};

use aya_obj::generated::{perf_event_mmap_page, perf_event_type::PERF_RECORD_LOST};

use super::sample::{HEADER, Header, Reader};

/// The least size of a buffer, in KiB: below, no sample with a stack would fit.
const LEAST_KIB: usize = 128;

/// A page that says how far the kernel has written and we have read, and the buffer after it.
pub(super) struct Memory {
    address: *mut u8,
    page: usize,
    size: usize,
}

impl Memory {
    pub(super) fn map(event: &OwnedFd, page: usize, kib: u32) -> io::Result<Self> {
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
    pub(super) fn is_nearly_full(&self) -> bool {
        self.size - self.used() < usize::from(u16::MAX)
    }

    fn used(&self) -> usize {
        self.head().wrapping_sub(self.tail().load(Ordering::Relaxed))
    }

    /// Hands on each record, and gives how many the kernel could not write.
    pub(super) fn read(&mut self, mut each: impl FnMut(Header, &[u8])) -> u64 {
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

#[cfg(test)]
mod tests {
    use super::*;

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
