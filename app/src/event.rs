//! What happens, and how it is read from the BPF programs' records.

use std::mem::{offset_of, size_of};

use exectrace_bpf::{
    ARGS_MAX, COMM_SIZE, CWD_MAX, FILE_MAX, TTY_SIZE,
    exectrace::{EventHeader, EventKind, ExecEvent, ExecFlags, ExitEvent, FailedEvent},
    get,
};
use nix::errno::Errno;

use crate::{error::Error, place::Place};

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    Exec(Exec<'a>),
    Exit(Exit<'a>),
    Failed(Failed<'a>),
}

/// Who it happened to, and when.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Process<'a> {
    pub(crate) pid: u32,
    /// None where the backend does not know it, as in all options below.
    pub(crate) ppid: Option<u32>,
    pub(crate) uid: Option<u32>,
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub(crate) time_ns: u64,
    /// The same, of its begin. With `pid`, it names the process: its number alone comes back.
    pub(crate) start_ns: Option<u64>,
    /// In the unified hierarchy.
    pub(crate) cgroup_id: Option<u64>,
    pub(crate) comm: Option<&'a [u8]>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exec<'a> {
    pub(crate) process: Process<'a>,
    pub(crate) file: &'a [u8],
    pub(crate) file_truncated: bool,
    pub(crate) args: Option<Args<'a>>,
    pub(crate) args_truncated: Option<bool>,
    /// None if nobody wants to know, too.
    pub(crate) place: Option<Place<'a>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exit<'a> {
    pub(crate) process: Process<'a>,
    pub(crate) end: Option<End>,
    /// When its last exec was, in `CLOCK_MONOTONIC` nanoseconds, if it was seen.
    pub(crate) exec_ns: Option<u64>,
}

/// An exec that was refused; the process goes on as what it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failed<'a> {
    pub(crate) process: Process<'a>,
    /// Empty if it cannot be read.
    pub(crate) file: &'a [u8],
    pub(crate) file_truncated: bool,
    pub(crate) error: Errno,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Code(u8),
    Signal { number: u8, core_dumped: Option<bool> },
}

/// The arguments as they lay in the process's memory: each ends with a NUL, but for one that was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Args<'a>(&'a [u8]);

impl<'a> Args<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Those that were cut.
    pub(crate) fn cut(bytes: &'a [u8]) -> Self {
        Self(whole_characters(bytes))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
            let arg = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            Some(arg)
        })
    }
}

impl<'a> Event<'a> {
    /// # Errors
    /// When the record is not what the BPF program of this build sends.
    pub(crate) fn read(record: &'a [u8]) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Record(format!("{what}, {} bytes", record.len()));
        if record.len() < size_of::<EventHeader>() {
            return Err(wrong("no header"));
        }
        // Perf's buffers do not align them.
        let header: EventHeader = get(record, 0);
        let process = Process {
            pid: header.pid,
            ppid: Some(header.ppid),
            uid: Some(header.uid),
            time_ns: header.time_ns,
            start_ns: Some(header.start_ns),
            cgroup_id: Some(header.cgroup_id).filter(|id| *id != 0),
            comm: Some(until_nul(&record[offset_of!(EventHeader, comm)..][..COMM_SIZE])),
        };
        match header.kind {
            EventKind::EVENT_EXEC if record.len() >= size_of::<ExecEvent>() => {
                let event: ExecEvent = get(record, 0);
                let (file_len, args_len) = (event.file_len as usize, event.args_len as usize);
                let (cwd_len, tty_len) = (event.cwd_len as usize, event.tty_len as usize);
                let has = |flag: ExecFlags| event.flags.0 & flag.0 != 0;
                let data = &record[size_of::<ExecEvent>()..];
                // Each on its own first: their sum might not fit into 32 bits.
                if file_len > FILE_MAX
                    || args_len > ARGS_MAX
                    || cwd_len > CWD_MAX
                    || tty_len > TTY_SIZE
                    || file_len + args_len + cwd_len + tty_len > data.len()
                {
                    return Err(wrong("lengths beyond its end"));
                }
                let (file, rest) = data.split_at(file_len);
                let (args, rest) = rest.split_at(args_len);
                let (cwd, rest) = rest.split_at(cwd_len);
                let file_truncated = has(ExecFlags::EXEC_FILE_CUT);
                let args_cut = has(ExecFlags::EXEC_ARGS_CUT);
                Ok(Self::Exec(Exec {
                    process,
                    file: if file_truncated { whole_characters(file) } else { file },
                    file_truncated,
                    args: Some(if args_cut { Args::cut(args) } else { Args::new(args) }),
                    args_truncated: Some(args_cut || has(ExecFlags::EXEC_ARGS_UNREADABLE)),
                    place: has(ExecFlags::EXEC_PLACE).then(|| Place::new(cwd, &rest[..tty_len], event.flags)),
                }))
            }
            EventKind::EVENT_EXIT if record.len() >= size_of::<ExitEvent>() => {
                let event: ExitEvent = get(record, 0);
                Ok(Self::Exit(Exit {
                    process,
                    end: Some(End::from_status(event.status)),
                    exec_ns: Some(event.exec_ns).filter(|time| *time != 0),
                }))
            }
            EventKind::EVENT_FAILED if record.len() >= size_of::<FailedEvent>() => {
                let event: FailedEvent = get(record, 0);
                let file_truncated = event.flags.0 & ExecFlags::EXEC_FILE_CUT.0 != 0;
                let file = record[size_of::<FailedEvent>()..]
                    .get(..event.file_len as usize)
                    .ok_or_else(|| wrong("a length beyond its end"))?;
                Ok(Self::Failed(Failed {
                    process,
                    file: if file_truncated { whole_characters(file) } else { file },
                    file_truncated,
                    error: Errno::from_raw(event.error as i32),
                }))
            }
            EventKind::EVENT_EXEC | EventKind::EVENT_EXIT | EventKind::EVENT_FAILED => Err(wrong("cut short")),
            EventKind(kind) => Err(wrong(&format!("kind {kind}"))),
        }
    }

    pub(crate) fn process(&self) -> &Process<'a> {
        match self {
            Self::Exec(exec) => &exec.process,
            Self::Exit(exit) => &exit.process,
            Self::Failed(failed) => &failed.process,
        }
    }
}

impl Exit<'_> {
    /// Nanoseconds since its last exec.
    pub(crate) fn since_exec_ns(&self) -> Option<u64> {
        self.exec_ns.map(|exec_ns| self.process.time_ns.saturating_sub(exec_ns))
    }
}

impl End {
    /// From what wait(2) reports; the same bits on every architecture.
    pub(crate) fn from_status(status: u32) -> Self {
        match (status & 0x7f) as u8 {
            0 => Self::Code((status >> 8) as u8),
            number => Self::Signal { number, core_dumped: Some(status & 0x80 != 0) },
        }
    }
}

/// What was cut within a character of UTF-8, without the part that is left of it.
pub(crate) fn whole_characters(bytes: &[u8]) -> &[u8] {
    // A character has at most four bytes.
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let begin = tail.iter().rposition(|&byte| byte & 0xc0 != 0x80).unwrap_or(0);
    match std::str::from_utf8(&tail[begin..]) {
        Err(error) if error.error_len().is_none() => &bytes[..bytes.len() - (tail.len() - begin)],
        _ => bytes,
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: EventKind) -> Vec<u8> {
        let mut record = Vec::new();
        for number in [kind.0, 42, 7, 1000] {
            record.extend(u32::to_ne_bytes(number));
        }
        for number in [123_456, 120_000, 77] {
            record.extend(u64::to_ne_bytes(number));
        }
        record.extend(b"name\0garbage\0\0\0\0");
        record
    }

    fn exec_record(file_len: u32, args_len: u32, flags: u32, data: &[u8]) -> Vec<u8> {
        let mut record = header(EventKind::EVENT_EXEC);
        for number in [file_len, args_len, flags, 0, 0, 0] {
            record.extend(u32::to_ne_bytes(number));
        }
        record.extend(data);
        record
    }

    fn exit_record(exec_ns: u64, status: u32) -> Vec<u8> {
        let mut record = header(EventKind::EVENT_EXIT);
        record.extend(u64::to_ne_bytes(exec_ns));
        record.extend(u32::to_ne_bytes(status));
        record.extend(u32::to_ne_bytes(0));
        record
    }

    fn process() -> Process<'static> {
        Process {
            pid: 42,
            ppid: Some(7),
            uid: Some(1000),
            time_ns: 123_456,
            start_ns: Some(120_000),
            cgroup_id: Some(77),
            comm: Some(b"name"),
        }
    }

    #[test]
    fn an_exec_is_read() {
        // The ring buffer may pad a record.
        let record = exec_record(3, 7, ExecFlags::EXEC_ARGS_CUT.0, b"/lsls\0-l a\0\0\0");
        let Event::Exec(exec) = Event::read(&record).unwrap() else { panic!("no exec") };
        assert_eq!(exec.process, process());
        assert_eq!((exec.file, exec.file_truncated), (&b"/ls"[..], false));
        assert_eq!(exec.args.unwrap().iter().collect::<Vec<_>>(), [&b"ls"[..], b"-l a"]);
        assert_eq!(exec.args_truncated, Some(true));
        assert_eq!(exec.place, None);
    }

    #[test]
    fn an_exec_may_say_where_it_was() {
        let mut record = exec_record(3, 3, ExecFlags::EXEC_PLACE.0, b"/lsls\0b\0a\0pts3\0\0\0");
        let lengths = offset_of!(ExecEvent, cwd_len);
        record[lengths..lengths + 8].copy_from_slice(&[4_u32, 5].map(u32::to_ne_bytes).concat());
        let Event::Exec(exec) = Event::read(&record).unwrap() else { panic!("no exec") };
        let place = exec.place.unwrap();
        assert_eq!((place.cwd(), place.tty()), (b"/a/b".to_vec(), b"pts/3".to_vec()));
        // A length that leads beyond the end.
        record[lengths..lengths + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(Event::read(&record).is_err());
    }

    #[test]
    fn an_exit_is_read() {
        let record = exit_record(123_000, 3 << 8);
        let Event::Exit(exit) = Event::read(&record).unwrap() else { panic!("no exit") };
        assert_eq!(exit, Exit { process: process(), end: Some(End::Code(3)), exec_ns: Some(123_000) });
        assert_eq!(exit.since_exec_ns(), Some(456));
    }

    #[test]
    fn a_refused_exec_is_read() {
        let mut record = header(EventKind::EVENT_FAILED);
        for number in [4, Errno::ENOENT as u32, 0, 0] {
            record.extend(u32::to_ne_bytes(number));
        }
        record.extend(b"/nopadding");
        let Event::Failed(failed) = Event::read(&record).unwrap() else { panic!("no refused exec") };
        assert_eq!((failed.file, failed.file_truncated, failed.error), (&b"/nop"[..], false, Errno::ENOENT));
        assert_eq!(failed.process, process());
        for length in 0..76 {
            assert!(Event::read(&record[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn no_exec_time_is_none() {
        let record = exit_record(0, 9);
        let Event::Exit(exit) = Event::read(&record).unwrap() else { panic!("no exit") };
        assert_eq!(exit.end, Some(End::Signal { number: 9, core_dumped: Some(false) }));
        assert_eq!(exit.since_exec_ns(), None);
    }

    #[test]
    fn wait_status_is_shown_apart() {
        assert_eq!(End::from_status(0), End::Code(0));
        assert_eq!(End::from_status(0xff00), End::Code(255));
        assert_eq!(End::from_status(11 | 0x80), End::Signal { number: 11, core_dumped: Some(true) });
        assert_eq!(End::from_status(64), End::Signal { number: 64, core_dumped: Some(false) });
    }

    #[test]
    fn arguments_end_with_a_nul_or_where_they_were_cut() {
        let args = |bytes| Args::new(bytes).iter().collect::<Vec<_>>();
        assert!(args(b"").is_empty());
        assert_eq!(args(b"\0"), [b""]);
        assert_eq!(args(b"a\0"), [b"a"]);
        assert_eq!(args(b"a\0\0"), [&b"a"[..], b""]);
        assert_eq!(args(b"a\0cu"), [&b"a"[..], b"cu"]);
    }

    #[test]
    fn a_cut_leaves_no_part_of_a_character() {
        for (bytes, whole) in [
            (&b"abc"[..], &b"abc"[..]),
            (b"a\xc3", b"a"),
            (b"a\xe2\x82", b"a"),
            (b"a\xf0\x9f\x98", b"a"),
            ("aß€😀".as_bytes(), "aß€😀".as_bytes()),
            // No UTF-8 anyway.
            (b"a\xff", b"a\xff"),
            (b"\x80\x80\x80\x80", b"\x80\x80\x80\x80"),
            (b"", b""),
        ] {
            assert_eq!(whole_characters(bytes), whole);
        }
        let record = exec_record(4, 3, ExecFlags::EXEC_FILE_CUT.0 | ExecFlags::EXEC_ARGS_CUT.0, b"/l\xe2\x82a\0\xc3");
        let Event::Exec(exec) = Event::read(&record).unwrap() else { panic!("no exec") };
        assert_eq!(exec.file, b"/l");
        assert_eq!(exec.args.unwrap().iter().collect::<Vec<_>>(), [b"a"]);
    }

    #[test]
    fn a_record_that_makes_no_sense_is_an_error() {
        let whole = exec_record(3, 4, 0, b"/ls\0abc");
        for length in 0..whole.len() {
            assert!(Event::read(&whole[..length]).is_err(), "{length}");
        }
        let exit = exit_record(0, 0);
        for length in 0..exit.len() {
            assert!(Event::read(&exit[..length]).is_err(), "{length}");
        }
        for (file_len, args_len) in [(u32::MAX, 0), (0, u32::MAX), (u32::MAX, 8), (u32::MAX - 1, u32::MAX), (8, 0)] {
            assert!(Event::read(&exec_record(file_len, args_len, 0, b"/ls\0abc")).is_err(), "{file_len} {args_len}");
        }
        let error = Event::read(&header(EventKind(77))).unwrap_err().to_string();
        assert!(error.contains("(kind 77, 56 bytes)"), "{error}");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        // A xorshift: the same bytes on every run.
        let mut state = 0x2545_f491_u32;
        for _ in 0..20_000 {
            let mut record: Vec<u8> = (0..state % 96)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 17;
                    state ^= state << 5;
                    state as u8
                })
                .collect();
            if let Some(kind) = record.get_mut(..4) {
                kind.copy_from_slice(&(1 + state % 3).to_ne_bytes());
            }
            if let Ok(Event::Exec(exec)) = Event::read(&record) {
                exec.args.unwrap().iter().for_each(drop);
            }
            state = state.wrapping_mul(0x9e37_79b1) | 1;
        }
    }
}
