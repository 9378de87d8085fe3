//! Bindings for the BPF object `tracepoints`, written by `cargo xtask bpf`.
//!
//! object 104db01e00ecc5ce05414c603782daa246e30232ec7ba850b5cfb3dc60124b48 tracepoints_bpfeb.o
//! object c3f73f66ed60cf86184559834455e23b76c01834db54766843dc7a092d06518c tracepoints_bpfel.o
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
    oldest: Some((5, 5)),
    btf: false,
    features: &[
        ("5.5", "helper probe_read_kernel"),
        ("5.2", "global variables"),
        ("4.18", "helper get_current_cgroup_id"),
        ("4.7", "tracepoint/… programs"),
        ("4.6", "map type percpu_array"),
        ("4.4", "helper perf_event_output"),
        ("4.3", "map type perf_event_array"),
        ("4.2", "helper get_current_uid_gid"),
        ("3.19", "helper map_lookup_elem"),
        ("3.19", "map type array"),
    ],
};

/// The object for this target.
#[must_use]
pub fn object() -> &'static [u8] {
    ::bpfship_embed::embed!("tracepoints")
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
        file_word "file_word": u32,
        with_cgroups "with_cgroups": u32,
    }

    ::bpfship_embed::plain_struct! {
        /// The variables in `.rodata`
        #[derive(PartialEq, Eq, Hash)]
        pub struct Rodata: size 8, align 8 {
            file_word: u32 = 0,
            with_cgroups: u32 = 4,
        }
    }
    ::bpfship_embed::section!(rodata, ".rodata", 8 bytes, Rodata);
}

/// The maps, each with its name and a typed handle.
pub mod maps {
    /// The map `execs`: perf_event_array
    pub mod execs {
        pub const NAME: &str = "execs";
        ::bpfship_embed::map!(PerfEventArray);
    }

    /// The map `lost`: percpu_array
    pub mod lost {
        pub const NAME: &str = "lost";
        pub type Key = u32;
        pub type Value = u64;
        ::bpfship_embed::map!(PerCpuArray, Value);
    }

    /// The map `others`: perf_event_array
    pub mod others {
        pub const NAME: &str = "others";
        ::bpfship_embed::map!(PerfEventArray);
    }

    /// The map `scratch`: percpu_array
    pub mod scratch {
        pub const NAME: &str = "scratch";
        pub type Key = u32;
        pub type Value = super::super::Record;
        ::bpfship_embed::map!(PerCpuArray, Value);
    }
}

/// The programs, each with its name and a typed handle.
pub mod programs {
    /// The program `on_exec`, in section `tracepoint/sched/sched_process_exec`
    pub mod on_exec {
        pub const NAME: &str = "on_exec";
        pub const SECTION: &str = "tracepoint/sched/sched_process_exec";
        ::bpfship_embed::program!(TracePoint, trace_point::TracePointLinkId, attach("sched", "sched_process_exec"));
    }

    /// The program `on_exit`, in section `tracepoint/sched/sched_process_exit`
    pub mod on_exit {
        pub const NAME: &str = "on_exit";
        pub const SECTION: &str = "tracepoint/sched/sched_process_exit";
        ::bpfship_embed::program!(TracePoint, trace_point::TracePointLinkId, attach("sched", "sched_process_exit"));
    }

    /// The program `on_exit_group`, in section `tracepoint/syscalls/sys_enter_exit_group`
    pub mod on_exit_group {
        pub const NAME: &str = "on_exit_group";
        pub const SECTION: &str = "tracepoint/syscalls/sys_enter_exit_group";
        ::bpfship_embed::program!(TracePoint, trace_point::TracePointLinkId, attach("syscalls", "sys_enter_exit_group"));
    }

    /// The program `on_exit_thread`, in section `tracepoint/syscalls/sys_enter_exit`
    pub mod on_exit_thread {
        pub const NAME: &str = "on_exit_thread";
        pub const SECTION: &str = "tracepoint/syscalls/sys_enter_exit";
        ::bpfship_embed::program!(TracePoint, trace_point::TracePointLinkId, attach("syscalls", "sys_enter_exit"));
    }

    /// The program `on_new_task`, in section `tracepoint/task/task_newtask`
    pub mod on_new_task {
        pub const NAME: &str = "on_new_task";
        pub const SECTION: &str = "tracepoint/task/task_newtask";
        ::bpfship_embed::program!(TracePoint, trace_point::TracePointLinkId, attach("task", "task_newtask"));
    }

    /// The program `on_signal_sent`, in section `tracepoint/signal/signal_generate`
    pub mod on_signal_sent {
        pub const NAME: &str = "on_signal_sent";
        pub const SECTION: &str = "tracepoint/signal/signal_generate";
        ::bpfship_embed::program!(TracePoint, trace_point::TracePointLinkId, attach("signal", "signal_generate"));
    }

    /// The program `on_signal_taken`, in section `tracepoint/signal/signal_deliver`
    pub mod on_signal_taken {
        pub const NAME: &str = "on_signal_taken";
        pub const SECTION: &str = "tracepoint/signal/signal_deliver";
        ::bpfship_embed::program!(TracePoint, trace_point::TracePointLinkId, attach("signal", "signal_deliver"));
    }
}

::bpfship_embed::plain_struct! {
    /// `struct record`
    #[derive(PartialEq, Eq, Hash)]
    pub struct Record: size 4368, align 8 {
        tracepoint: Tracepoint = 0,
        uid: u32 = 4,
        cgroup_id: u64 = 8,
        data: [u8; 4352] = 16,
    }
}

::bpfship_embed::plain_enum! {
    /// `enum tracepoint`
    pub enum Tracepoint: u32, align 4 {
        TASK_NEWTASK = 1,
        SCHED_PROCESS_EXEC = 3,
        SCHED_PROCESS_EXIT = 4,
        SYS_ENTER_EXIT_GROUP = 5,
        SYS_ENTER_EXIT = 6,
        SIGNAL_GENERATE = 7,
        SIGNAL_DELIVER = 8,
    }
}
