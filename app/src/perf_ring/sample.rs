//! What lies in a buffer: records of tasks, and samples.

use aya_obj::generated::perf_event_type::{PERF_RECORD_COMM, PERF_RECORD_EXIT, PERF_RECORD_FORK, PERF_RECORD_SAMPLE};

/// In the header of a PERF_RECORD_COMM: an exec gave the name.
const PERF_RECORD_MISC_COMM_EXEC: u16 = 1 << 13;

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
    Raw { bytes: Vec<u8>, stack: Option<Stack>, cgroup_id: Option<u64> },
    /// A thread or a process has begun, made by this one.
    Forked { maker: u32, maker_tid: u32 },
    /// A thread has got another name.
    Renamed { comm: Vec<u8>, by_exec: bool },
    /// A thread has ended, of a process that has this parent: unknown before Linux 5.7, which puts the process itself there.
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

/// The size of what every record begins with, in bytes.
pub(super) const HEADER: usize = 8;

/// What a record begins with, but for its size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) kind: u32,
    pub(super) misc: u16,
}

impl Sample {
    /// In the order in which perf_event_open(2) says that the parts come; none of what is not asked for.
    pub(super) fn read(header: Header, record: &[u8]) -> Option<Self> {
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
        // Which of the two there are, the length shows: a stack takes 16 bytes at least.
        let stack = if reader.0.len() > 8 { reader.stack()? } else { None };
        let cgroup_id = if reader.0.is_empty() { None } else { Some(reader.u64()?) };
        Some(Self { time_ns, pid, tid, content: Content::Raw { bytes, stack, cgroup_id } })
    }
}

/// Takes numbers off the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length.try_into().ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.bytes(4)?.try_into().ok()?))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
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
        let content = Content::Raw { bytes: b"raw!".to_vec(), stack: None, cgroup_id: None };
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
    fn a_control_group_comes_last_with_a_stack_or_without() {
        let cgroup_of = |rest: &[u64]| match Sample::read(SAMPLE, &record(b"raw!", rest)).unwrap().content {
            Content::Raw { stack, cgroup_id, .. } => (stack.is_some(), cgroup_id),
            other => panic!("{other:?}"),
        };
        assert_eq!(cgroup_of(&[77]), (false, Some(77)));
        assert_eq!(cgroup_of(&[0, 0, 77]), (false, Some(77)));
        assert_eq!(cgroup_of(&[2, 0xfff0, 0, 77]), (false, Some(77)));
        assert_eq!(cgroup_of(&[2, 0xfff0, 8, 1, 8, 77]), (true, Some(77)));
        assert_eq!(cgroup_of(&[2, 0xfff0, 8, 1, 8]), (true, None));
    }

    #[test]
    fn a_record_that_is_cut_is_none() {
        let whole = record(b"raw!", &[2, 0xfff0, 16, 1, 2, 16]);
        let without_stack = record(b"raw!", &[]).len();
        for length in (0..whole.len()).filter(|length| ![without_stack, without_stack + 8].contains(length)) {
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
}
