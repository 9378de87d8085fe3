//! Bindings for the BPF object `exectrace`, written by `cargo xtask bpf`.
//!
//! object 16c6b75c1fb171da57253bbb4904f0bcf77c5056ed7c9a3f284a71938f64a9ce exectrace_bpfeb.o
//! object 1e98034bd909056c1244cbd235d3269636ed2f6935376c82ec4dfeefab6f4790 exectrace_bpfel.o
#![cfg_attr(rustfmt, rustfmt_skip)]
#![allow(
    dead_code, non_camel_case_types, non_snake_case, non_upper_case_globals, unused_imports, unused_qualifications,
    reason = "names are those of C, and not all of them are used"
)]
#![allow(
    clippy::cast_lossless, clippy::doc_markdown, clippy::iter_not_returning_iterator,
    clippy::large_types_passed_by_value, clippy::len_without_is_empty, clippy::missing_errors_doc,
    clippy::module_inception, clippy::new_ret_no_self, clippy::pub_underscore_fields, clippy::should_implement_trait,
    clippy::similar_names, clippy::struct_field_names, clippy::trivially_copy_pass_by_ref, clippy::unreadable_literal,
    clippy::upper_case_acronyms, clippy::wrong_self_convention,
    reason = "the same, and what one user needs, another does not"
)]

/// What it needs of a kernel.
pub const KERNEL_NEEDS: ::bpfship_embed::KernelNeeds = ::bpfship_embed::KernelNeeds {
    oldest: Some((5, 8)),
    btf: true,
    features: &[
        ("5.8", "helper ringbuf_output"),
        ("5.8", "map type ringbuf"),
        ("5.5", "helper probe_read_kernel"),
        ("5.5", "helper probe_read_kernel_str"),
        ("5.5", "helper probe_read_user"),
        ("5.5", "helper probe_read_user_str"),
        ("5.3", "loops"),
        ("5.2", "global variables"),
        ("4.18", "helper get_current_cgroup_id"),
        ("4.17", "raw_tp/… programs"),
        ("4.10", "map type lru_hash"),
        ("4.8", "helper get_current_task"),
        ("4.7", "tracepoint/… programs"),
        ("4.6", "map type percpu_array"),
        ("4.4", "helper perf_event_output"),
        ("4.2", "helper get_current_comm"),
        ("4.2", "helper get_current_pid_tgid"),
        ("4.2", "helper get_current_uid_gid"),
        ("4.2", "helper tail_call"),
        ("4.2", "map type prog_array"),
        ("4.1", "helper ktime_get_ns"),
        ("3.19", "helper map_delete_elem"),
        ("3.19", "helper map_lookup_elem"),
        ("3.19", "helper map_update_elem"),
        ("3.19", "map type array"),
        ("3.19", "map type hash"),
    ],
};

/// The object for this target.
#[must_use]
pub fn object() -> &'static [u8] {
    ::bpfship_embed::embed!("exectrace")
}

/// Gives the object to the kernel: its maps now, its programs when they are attached.
///
/// Variables get their values from `overrides`.
pub fn load(overrides: &globals::Overrides) -> ::core::result::Result<::aya::Ebpf, ::aya::EbpfError> {
    let mut loader = ::aya::EbpfLoader::new();
    overrides.apply(&mut loader);
    loader.load(object())
}

/// The global variables: those that are not `static`.
pub mod globals {
    ::bpfship_embed::overrides! {
        unused_exit_event "unused_exit_event": u64,
        unused_limits "unused_limits": u64,
        execve_file "execve_file": u32,
        execveat_file "execveat_file": u32,
        no_exits "no_exits": u32,
        only_tracked "only_tracked": u32,
        returned "returned": u32,
        with_cgroups "with_cgroups": u32,
        with_places "with_places": u32,
        with_ring_buffer "with_ring_buffer": u32,
    }

    ::bpfship_embed::plain_struct! {
        /// The variables in `.bss`
        #[derive(PartialEq, Eq, Hash)]
        pub struct Bss: size 16, align 8 {
            unused_exit_event: u64 = 0,
            unused_limits: u64 = 8,
        }
    }
    ::bpfship_embed::section!(bss, ".bss", 16 bytes, Bss);

    ::bpfship_embed::plain_struct! {
        /// The variables in `.rodata`
        #[derive(PartialEq, Eq, Hash)]
        pub struct Rodata: size 32, align 8 {
            no_exits: u32 = 0,
            with_cgroups: u32 = 4,
            only_tracked: u32 = 8,
            with_places: u32 = 12,
            with_ring_buffer: u32 = 16,
            execve_file: u32 = 20,
            execveat_file: u32 = 24,
            returned: u32 = 28,
        }
    }
    ::bpfship_embed::section!(rodata, ".rodata", 32 bytes, Rodata);
}

/// The maps, each with its name and a typed handle.
pub mod maps {
    /// The map `attempts`: lru_hash
    pub mod attempts {
        pub const NAME: &str = "attempts";
        pub type Key = u64;
        pub type Value = u64;
        ::bpfship_embed::map!(HashMap, Key, Value);
    }

    /// The map `ended`: lru_hash
    pub mod ended {
        pub const NAME: &str = "ended";
        pub type Key = super::super::Process;
        pub type Value = u8;
        ::bpfship_embed::map!(HashMap, Key, Value);
    }

    /// The map `events`: ringbuf
    pub mod events {
        pub const NAME: &str = "events";
        ::bpfship_embed::owned_map!(RingBuf);
    }

    /// The map `exec_times`: hash
    pub mod exec_times {
        pub const NAME: &str = "exec_times";
        pub type Key = super::super::Process;
        pub type Value = u64;
        ::bpfship_embed::map!(HashMap, Key, Value);
    }

    /// The map `failed_scratch`: percpu_array
    pub mod failed_scratch {
        pub const NAME: &str = "failed_scratch";
        pub type Key = u32;
        pub type Value = super::super::FailedRecord;
        ::bpfship_embed::map!(PerCpuArray, Value);
    }

    /// The map `lost`: percpu_array
    pub mod lost {
        pub const NAME: &str = "lost";
        pub type Key = u32;
        pub type Value = u64;
        ::bpfship_embed::map!(PerCpuArray, Value);
    }

    /// The map `places`: prog_array
    pub mod places {
        pub const NAME: &str = "places";
        ::bpfship_embed::map!(ProgramArray);
    }

    /// The map `scratch`: percpu_array
    pub mod scratch {
        pub const NAME: &str = "scratch";
        pub type Key = u32;
        pub type Value = super::super::ExecRecord;
        ::bpfship_embed::map!(PerCpuArray, Value);
    }

    /// The map `tracked`: hash
    pub mod tracked {
        pub const NAME: &str = "tracked";
        pub type Key = u32;
        pub type Value = u8;
        ::bpfship_embed::map!(HashMap, Key, Value);
    }
}

/// The programs, each with its name and a typed handle.
pub mod programs {
    /// The program `on_exec`, in section `raw_tp/sched_process_exec`
    pub mod on_exec {
        pub const NAME: &str = "on_exec";
        pub const SECTION: &str = "raw_tp/sched_process_exec";
        ::bpfship_embed::program!(RawTracePoint, raw_trace_point::RawTracePointLinkId, attach("sched_process_exec"));
    }

    /// The program `on_exec_place`, in section `raw_tp/sched_process_exec`
    pub mod on_exec_place {
        pub const NAME: &str = "on_exec_place";
        pub const SECTION: &str = "raw_tp/sched_process_exec";
        ::bpfship_embed::program!(RawTracePoint, raw_trace_point::RawTracePointLinkId, attach("sched_process_exec"));
    }

    /// The program `on_execve`, in section `tracepoint/syscalls/sys_enter_execve`
    pub mod on_execve {
        pub const NAME: &str = "on_execve";
        pub const SECTION: &str = "tracepoint/syscalls/sys_enter_execve";
        ::bpfship_embed::program!(TracePoint, trace_point::TracePointLinkId, attach("syscalls", "sys_enter_execve"));
    }

    /// The program `on_execve_end`, in section `tracepoint/syscalls/sys_exit_execve`
    pub mod on_execve_end {
        pub const NAME: &str = "on_execve_end";
        pub const SECTION: &str = "tracepoint/syscalls/sys_exit_execve";
        ::bpfship_embed::program!(TracePoint, trace_point::TracePointLinkId, attach("syscalls", "sys_exit_execve"));
    }

    /// The program `on_execveat`, in section `tracepoint/syscalls/sys_enter_execveat`
    pub mod on_execveat {
        pub const NAME: &str = "on_execveat";
        pub const SECTION: &str = "tracepoint/syscalls/sys_enter_execveat";
        ::bpfship_embed::program!(TracePoint, trace_point::TracePointLinkId, attach("syscalls", "sys_enter_execveat"));
    }

    /// The program `on_exit`, in section `raw_tp/sched_process_exit`
    pub mod on_exit {
        pub const NAME: &str = "on_exit";
        pub const SECTION: &str = "raw_tp/sched_process_exit";
        ::bpfship_embed::program!(RawTracePoint, raw_trace_point::RawTracePointLinkId, attach("sched_process_exit"));
    }

    /// The program `on_fork`, in section `raw_tp/sched_process_fork`
    pub mod on_fork {
        pub const NAME: &str = "on_fork";
        pub const SECTION: &str = "raw_tp/sched_process_fork";
        ::bpfship_embed::program!(RawTracePoint, raw_trace_point::RawTracePointLinkId, attach("sched_process_fork"));
    }
}

::bpfship_embed::plain_struct! {
    /// `struct event_header`
    #[derive(PartialEq, Eq, Hash)]
    pub struct EventHeader: size 56, align 8 {
        kind: EventKind = 0,
        pid: u32 = 4,
        ppid: u32 = 8,
        uid: u32 = 12,
        time_ns: u64 = 16,
        start_ns: u64 = 24,
        cgroup_id: u64 = 32,
        comm: [u8; 16] = 40,
    }
}

::bpfship_embed::plain_enum! {
    /// `enum event_kind`
    pub enum EventKind: u32, align 4 {
        EVENT_EXEC = 1,
        EVENT_EXIT = 2,
        EVENT_FAILED = 3,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct exec_event`
    #[derive(PartialEq, Eq, Hash)]
    pub struct ExecEvent: size 80, align 8 {
        header: EventHeader = 0,
        file_len: u32 = 56,
        args_len: u32 = 60,
        flags: ExecFlags = 64,
        cwd_len: u32 = 68,
        tty_len: u32 = 72,
        reserved: u32 = 76,
    }
}

::bpfship_embed::plain_enum! {
    /// `enum exec_flags`
    pub enum ExecFlags: u32, align 4 {
        EXEC_FILE_CUT = 1,
        EXEC_ARGS_CUT = 2,
        EXEC_ARGS_UNREADABLE = 4,
        EXEC_PLACE = 8,
        EXEC_CWD_CUT = 16,
        EXEC_CWD_DELETED = 32,
        EXEC_CWD_UNREACHABLE = 64,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct exec_record`
    #[derive(PartialEq, Eq, Hash)]
    pub struct ExecRecord: size 12472, align 8 {
        event: ExecEvent = 0,
        data: [u8; 12352] = 80,
        position: Position = 12432,
        root: Position = 12448,
        calls: u64 = 12464,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct exit_event`
    #[derive(PartialEq, Eq, Hash)]
    pub struct ExitEvent: size 72, align 8 {
        header: EventHeader = 0,
        exec_ns: u64 = 56,
        status: u32 = 64,
        reserved: u32 = 68,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct failed_event`
    #[derive(PartialEq, Eq, Hash)]
    pub struct FailedEvent: size 72, align 8 {
        header: EventHeader = 0,
        file_len: u32 = 56,
        error: u32 = 60,
        flags: ExecFlags = 64,
        reserved: u32 = 68,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct failed_record`
    #[derive(PartialEq, Eq, Hash)]
    pub struct FailedRecord: size 4176, align 8 {
        event: FailedEvent = 0,
        data: [u8; 4104] = 72,
    }
}

::bpfship_embed::plain_enum! {
    /// `enum limits`
    pub enum Limits: u32, align 4 {
        COMM_SIZE = 16,
        FILE_MAX = 4096,
        ARGS_MAX = 4096,
        CWD_MAX = 4096,
        TTY_SIZE = 64,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct position`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Position: size 16, align 8 {
        mnt: u64 = 0,
        dentry: u64 = 8,
    }
}

::bpfship_embed::plain_struct! {
    /// `struct process`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Process: size 16, align 8 {
        start_ns: u64 = 0,
        pid: u32 = 8,
        reserved: u32 = 12,
    }
}
