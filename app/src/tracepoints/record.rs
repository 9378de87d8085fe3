//! From the records of tracepoints to what they mean.

use std::io;

use exectrace_bpf::{
    FILE_MAX, SCHED_PROCESS_EXEC, SCHED_PROCESS_EXIT, SIGNAL_DELIVER, SIGNAL_GENERATE, SYS_ENTER_EXIT,
    SYS_ENTER_EXIT_GROUP, TASK_NEWTASK, TASK_RENAME,
};

use super::{
    stack,
    table::{Seen, What},
};
use crate::{
    perf::Sample,
    tracefs::{Format, Tracefs},
};

/// A tracepoint that is used here.
#[derive(Debug)]
pub(crate) struct Tracepoint {
    /// What the BPF half calls it (enum tracepoint).
    pub(super) number: u32,
    pub(crate) name: &'static str,
    /// The BPF program for it.
    pub(super) program: &'static str,
    fields: &'static [&'static str],
    /// Without it, nothing at all can be told.
    pub(crate) is_needed: bool,
}

const fn needed(number: u32, name: &'static str, program: &'static str, fields: &'static [&'static str]) -> Tracepoint {
    Tracepoint { number, name, program, fields, is_needed: true }
}

const fn useful(number: u32, name: &'static str, program: &'static str, fields: &'static [&'static str]) -> Tracepoint {
    Tracepoint { number, name, program, fields, is_needed: false }
}

/// The name of the exec tracepoint's field for the file.
const FILENAME: &str = "filename";

pub(crate) static TRACEPOINTS: [Tracepoint; 8] = [
    needed(TASK_NEWTASK, "task/task_newtask", "on_new_task", &["pid", "clone_flags", "comm"]),
    needed(TASK_RENAME, "task/task_rename", "on_rename", &["newcomm"]),
    needed(SCHED_PROCESS_EXEC, "sched/sched_process_exec", "on_exec", &[FILENAME]),
    needed(SCHED_PROCESS_EXIT, "sched/sched_process_exit", "on_exit", &[]),
    useful(SYS_ENTER_EXIT_GROUP, "syscalls/sys_enter_exit_group", "on_exit_group", &["error_code"]),
    useful(SYS_ENTER_EXIT, "syscalls/sys_enter_exit", "on_exit_thread", &["error_code"]),
    needed(SIGNAL_GENERATE, "signal/signal_generate", "on_signal_sent", &["sig", "pid", "result"]),
    needed(SIGNAL_DELIVER, "signal/signal_deliver", "on_signal_taken", &["sig", "sa_handler"]),
];

impl Tracepoint {
    /// Whether samples of it hold the user's stack.
    pub(super) fn with_stack(&self) -> bool {
        self.number == SCHED_PROCESS_EXEC
    }
}

/// A tracepoint that this kernel has.
#[derive(Debug)]
pub(crate) struct Known {
    pub(super) tracepoint: &'static Tracepoint,
    pub(super) format: Format,
}

/// What this kernel has of [`TRACEPOINTS`].
///
/// # Errors
/// When one of them cannot be read, or lacks a field.
pub(crate) fn known(tracefs: &Tracefs) -> io::Result<Vec<Known>> {
    let mut known = Vec::new();
    for tracepoint in &TRACEPOINTS {
        if let Some(format) = tracefs.format(tracepoint.name)? {
            if let Some(field) = tracepoint.fields.iter().find(|field| format.offset(field).is_none()) {
                return Err(io::Error::other(format!("{} has no field {field}", tracepoint.name)));
            }
            known.push(Known { tracepoint, format });
        }
    }
    Ok(known)
}

impl Known {
    pub(crate) fn name(&self) -> &'static str {
        self.tracepoint.name
    }

    /// Where the word is that tells where the name of the executed file lies.
    pub(super) fn file_word(&self) -> Option<u32> {
        self.format.offset(FILENAME)?.try_into().ok()
    }

    /// What a record means; none if it makes no sense, or says nothing that matters.
    pub(super) fn understand<'s>(&self, sample: &'s Sample, uid: Option<u32>, record: &'s [u8]) -> Option<Seen<'s>> {
        let number = |field| self.format.number(record, field);
        let word = |field| number(field).map(|number| number as u32);
        let text = |field| self.format.text(record, field);
        let what = match self.tracepoint.number {
            TASK_NEWTASK => What::NewTask { tid: word("pid")?, flags: number("clone_flags")?, comm: text("comm")?.0 },
            // Newer kernels may leave the thread out, for it is nearly always the one that runs.
            TASK_RENAME => What::Rename { tid: word("pid").unwrap_or(sample.tid), comm: text("newcomm")?.0 },
            SCHED_PROCESS_EXEC => {
                let (file, cut) = text(FILENAME)?;
                What::Exec {
                    file: &file[..file.len().min(FILE_MAX)],
                    file_truncated: cut || file.len() > FILE_MAX,
                    args: sample.stack.as_ref().and_then(|stack| stack::arguments(stack, exectrace_bpf::ARGS_MAX)),
                }
            }
            SCHED_PROCESS_EXIT => What::End,
            SYS_ENTER_EXIT_GROUP => What::ExitGroup(word("error_code")? as u8),
            SYS_ENTER_EXIT => What::ExitThread(word("error_code")? as u8),
            // TRACE_SIGNAL_DELIVERED or _LOSE_INFO: neither ignored nor there already.
            SIGNAL_GENERATE if !matches!(word("result")?, 0 | 4) => return None,
            SIGNAL_GENERATE => What::SignalSent { tid: word("pid")?, signal: word("sig")? as u8 },
            // SIG_DFL
            SIGNAL_DELIVER => What::SignalTaken { signal: word("sig")? as u8, has_handler: number("sa_handler")? != 0 },
            _ => return None,
        };
        Some(Seen { pid: sample.pid, tid: sample.tid, time_ns: sample.time_ns, uid, what })
    }
}
