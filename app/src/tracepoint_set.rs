//! The tracepoints that are used, and those of them that this kernel has.

use std::io;

use exectrace_bpf::tracepoints::{
    Tracepoint as Id,
    programs::{on_exec, on_exit, on_exit_group, on_exit_thread, on_new_task, on_signal_sent, on_signal_taken},
};

use crate::{
    perf_ring::Source,
    tracefs::{Format, Tracefs},
};

/// A tracepoint that is used here.
#[derive(Debug)]
pub(crate) struct Definition {
    /// What the BPF half calls it (enum tracepoint).
    pub(crate) number: Id,
    pub(crate) name: &'static str,
    /// The BPF program for it. None if BPF has no use for it.
    pub(crate) program: Option<&'static str>,
    fields: &'static [&'static str],
    pub(crate) purpose: Purpose,
}

/// What a tracepoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Nothing is seen without it.
    Anything,
    /// Which code a process ends with, where that is not reported.
    Codes,
    /// Which signal: the last resort, where nothing is reported.
    Signals,
    /// Who it was that ends, where BPF or perf adds that.
    Ends,
    /// Users, where neither BPF adds nor the kernel reports them.
    Users,
}

/// The name of the exec tracepoint's field for the file.
pub(crate) const FILENAME: &str = "filename";
/// A system call that changes the user has returned.
pub(crate) const USER_CHANGED: Id = Id(9);

use Purpose::{Anything, Codes, Ends, Signals, Users};

#[rustfmt::skip]
pub(crate) static TRACEPOINTS: [Definition; 10] = [
    row(Id::TASK_NEWTASK, "task/task_newtask", Some(on_new_task::NAME), &["pid", "clone_flags", "comm"], Anything),
    row(Id::SCHED_PROCESS_EXEC, "sched/sched_process_exec", Some(on_exec::NAME), &[FILENAME], Anything),
    row(Id::SCHED_PROCESS_EXIT, "sched/sched_process_exit", Some(on_exit::NAME), &[], Ends),
    row(Id::SIGNAL_GENERATE, "signal/signal_generate", Some(on_signal_sent::NAME), &["sig", "pid", "result"], Signals),
    row(Id::SIGNAL_DELIVER, "signal/signal_deliver", Some(on_signal_taken::NAME), &["sig", "sa_handler"], Signals),
    row(Id::SYS_ENTER_EXIT_GROUP, "syscalls/sys_enter_exit_group", Some(on_exit_group::NAME), &["error_code"], Codes),
    row(Id::SYS_ENTER_EXIT, "syscalls/sys_enter_exit", Some(on_exit_thread::NAME), &["error_code"], Codes),
    row(USER_CHANGED, "syscalls/sys_exit_setuid", None, &["ret"], Users),
    row(USER_CHANGED, "syscalls/sys_exit_setreuid", None, &["ret"], Users),
    row(USER_CHANGED, "syscalls/sys_exit_setresuid", None, &["ret"], Users),
];

const fn row(
    number: Id,
    name: &'static str,
    program: Option<&'static str>,
    fields: &'static [&'static str],
    purpose: Purpose,
) -> Definition {
    Definition { number, name, program, fields, purpose }
}

impl Definition {
    /// Samples of it hold the user's stack.
    pub(crate) fn is_exec(&self) -> bool {
        self.number == Id::SCHED_PROCESS_EXEC
    }

    /// And the control group.
    pub(crate) fn has_cgroup(&self) -> bool {
        matches!(self.number, Id::SCHED_PROCESS_EXEC | Id::SCHED_PROCESS_EXIT)
    }
}

/// A tracepoint that this kernel has.
#[derive(Debug)]
pub(crate) struct Tracepoint {
    pub(crate) definition: &'static Definition,
    pub(crate) format: Format,
}

/// What this kernel has of [`TRACEPOINTS`].
///
/// # Errors
/// When one of them cannot be read, or lacks a field.
pub(crate) fn find(tracefs: &Tracefs) -> io::Result<Vec<Tracepoint>> {
    let mut found = Vec::new();
    for definition in &TRACEPOINTS {
        if let Some(format) = tracefs.format(definition.name)? {
            if let Some(field) = definition.fields.iter().find(|field| format.offset(field).is_none()) {
                return Err(io::Error::other(format!("{} has no field {field}", definition.name)));
            }
            found.push(Tracepoint { definition, format });
        }
    }
    Ok(found)
}

impl Tracepoint {
    pub(crate) fn name(&self) -> &'static str {
        self.definition.name
    }

    /// Where perf's samples of execs come from.
    pub(crate) fn exec_source(&self) -> Option<Source> {
        self.definition.is_exec().then_some(Source::Tracepoint(self.format.id))
    }

    /// Where the word is that says where the name of the executed file lies.
    pub(crate) fn file_word(&self) -> Option<u32> {
        self.format.offset(FILENAME)?.try_into().ok()
    }
}
