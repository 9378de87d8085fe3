//! The BPF half of exectrace: the object for this target, and the layout of the events it sends.
//!
//! The layout is that of `include/exectrace.h`; both sides assert it when they are compiled, and a test of the
//! application compares it with the BTF in the object.

use std::mem::{offset_of, size_of};

/// Bytes of a process's name, the final NUL included.
pub const COMM_SIZE: usize = 16;
/// Bytes of a file's name that an event carries at most.
pub const FILE_MAX: usize = 4096;
/// Bytes of all arguments together that an event carries at most, the NUL after each included.
pub const ARGS_MAX: usize = 4096;

/// [`EventHeader::kind`] of an [`ExecEvent`].
pub const EVENT_EXEC: u32 = 1;
/// [`EventHeader::kind`] of an [`ExitEvent`].
pub const EVENT_EXIT: u32 = 2;

/// [`EventHeader::kind`] of a [`FailedEvent`].
pub const EVENT_FAILED: u32 = 3;

/// The file's name goes on beyond [`FILE_MAX`].
pub const EXEC_FILE_CUT: u32 = 1;
/// The arguments go on beyond [`ARGS_MAX`].
pub const EXEC_ARGS_CUT: u32 = 2;
/// The arguments could not be read: none are in the event.
pub const EXEC_ARGS_UNREADABLE: u32 = 4;

/// What every event begins with. Numbers are in the machine's byte order.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EventHeader {
    /// [`EVENT_EXEC`] or [`EVENT_EXIT`].
    pub kind: u32,
    /// In the first pid namespace, as is `ppid`.
    pub pid: u32,
    pub ppid: u32,
    /// The real one, in the first user namespace.
    pub uid: u32,
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub time_ns: u64,
    /// The same, of the begin of the process.
    pub start_ns: u64,
    /// In the unified hierarchy; 0 if the kernel has none.
    pub cgroup_id: u64,
    pub comm: [u8; COMM_SIZE],
}

/// A program has begun; the file's name and the arguments follow this struct.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ExecEvent {
    pub header: EventHeader,
    /// Bytes of the file's name, without a NUL.
    pub file_len: u32,
    /// Bytes of the arguments, which come after the name: as in `/proc/PID/cmdline`.
    pub args_len: u32,
    /// [`EXEC_FILE_CUT`], [`EXEC_ARGS_CUT`], [`EXEC_ARGS_UNREADABLE`].
    pub flags: u32,
    pub reserved: u32,
}

/// The last thread of a process has ended.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ExitEvent {
    pub header: EventHeader,
    /// `CLOCK_MONOTONIC` of its last exec, in nanoseconds; 0 if none was seen.
    pub exec_ns: u64,
    /// As wait(2) reports it.
    pub status: u32,
    pub reserved: u32,
}

/// An exec was refused; the file's name follows this struct.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct FailedEvent {
    /// Of the process, which goes on as what it was.
    pub header: EventHeader,
    /// Bytes of the file's name, without a NUL.
    pub file_len: u32,
    /// errno
    pub error: u32,
    /// [`EXEC_FILE_CUT`]
    pub flags: u32,
    pub reserved: u32,
}

const _: () = {
    assert!(size_of::<EventHeader>() == 56);
    assert!(offset_of!(EventHeader, time_ns) == 16);
    assert!(offset_of!(EventHeader, comm) == 40);
    assert!(size_of::<ExecEvent>() == 72);
    assert!(offset_of!(ExecEvent, file_len) == 56);
    assert!(offset_of!(ExecEvent, args_len) == 60);
    assert!(offset_of!(ExecEvent, flags) == 64);
    assert!(size_of::<ExitEvent>() == 72);
    assert!(offset_of!(ExitEvent, exec_ns) == 56);
    assert!(offset_of!(ExitEvent, status) == 64);
    assert!(size_of::<FailedEvent>() == 72);
    assert!(offset_of!(FailedEvent, file_len) == 56);
    assert!(offset_of!(FailedEvent, error) == 60);
    assert!(offset_of!(FailedEvent, flags) == 64);
};

/// What `tracepoints.bpf.c` puts before a tracepoint's record: the tracepoint and the user, as `u32` each.
pub const RECORD_HEADER: usize = 8;

/// The tracepoints that it knows, by their names in tracefs (enum tracepoint in `include/tracepoints.h`).
pub const TASK_NEWTASK: u32 = 1;
pub const SCHED_PROCESS_EXEC: u32 = 3;
pub const SCHED_PROCESS_EXIT: u32 = 4;
pub const SYS_ENTER_EXIT_GROUP: u32 = 5;
pub const SYS_ENTER_EXIT: u32 = 6;
pub const SIGNAL_GENERATE: u32 = 7;
pub const SIGNAL_DELIVER: u32 = 8;

/// Reads the kernel's own structs, which takes BTF, and sends events through a ring buffer.
pub fn exectrace() -> &'static [u8] {
    bpfship_embed::embed!("exectrace")
}

/// The same programs, which send events through perf buffers.
pub fn exectrace_perf() -> &'static [u8] {
    bpfship_embed::embed!("exectrace_perf")
}

/// Hands over the records of tracepoints, without BTF.
pub fn tracepoints() -> &'static [u8] {
    bpfship_embed::embed!("tracepoints")
}

/// Name and SHA-256 of each embedded object, as bpf.lock has them.
pub const OBJECTS: [(&str, &str); 3] = bpfship_embed::objects!();

/// Notices what cargo does not: a source whose content changed and whose time did not.
#[test]
fn the_objects_are_what_their_sources_give() -> Result<(), bpfship_embed::Error> {
    bpfship_embed::verify(".").map(drop)
}
