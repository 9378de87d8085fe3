//! Events that have arrived, to be compared.

use exectrace_bpf::COMM_SIZE;

use super::verdict::or_unknown;
use crate::{
    event::{Args, End, Event},
    quote::quoted,
};

/// An event that has arrived.
pub(super) struct Found {
    pub(super) pid: u32,
    pub(super) ppid: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) time_ns: u64,
    pub(super) start_ns: Option<u64>,
    pub(super) cgroup_id: Option<u64>,
    pub(super) comm: Option<Vec<u8>>,
    /// Of an exec.
    pub(super) exec: Option<FoundExec>,
    /// Of an exit.
    pub(super) end: Option<End>,
    pub(super) exec_ns: Option<u64>,
}

pub(super) struct FoundExec {
    pub(super) file: Vec<u8>,
    pub(super) file_truncated: bool,
    pub(super) args: Option<String>,
    pub(super) args_truncated: Option<bool>,
    pub(super) cwd: Option<String>,
    pub(super) tty: Option<String>,
}

impl Found {
    pub(super) fn name(&self) -> String {
        or_unknown(self.comm.as_deref().map(quoted))
    }
}

impl From<&Event<'_>> for Found {
    fn from(event: &Event<'_>) -> Self {
        let process = event.process();
        let (exec, end, exec_ns) = match event {
            Event::Exec(exec) => {
                let exec = FoundExec {
                    file: exec.file.to_vec(),
                    file_truncated: exec.file_truncated,
                    args: exec.args.map(listed),
                    args_truncated: exec.args_truncated,
                    cwd: exec.place.map(|place| quoted(&place.cwd()).to_string()),
                    tty: exec.place.map(|place| quoted(&place.tty()).to_string()),
                };
                (Some(exec), None, None)
            }
            Event::Exit(exit) => (None, exit.end, exit.exec_ns),
            // Not asked for.
            Event::Failed(_) => (None, None, None),
        };
        Self {
            pid: process.pid,
            ppid: process.ppid,
            uid: process.uid,
            time_ns: process.time_ns,
            start_ns: process.start_ns,
            cgroup_id: process.cgroup_id,
            comm: process.comm.map(<[u8]>::to_vec),
            exec,
            end,
            exec_ns,
        }
    }
}

/// The name that the kernel gives to a process which executes this file.
pub(super) fn comm_of(file: &[u8]) -> &[u8] {
    let base = file.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    &base[..base.len().min(COMM_SIZE - 1)]
}

pub(super) fn listed(args: Args<'_>) -> String {
    args.iter().map(|arg| quoted(arg).to_string()).collect::<Vec<_>>().join(" ")
}

pub(super) fn described(end: End) -> String {
    match end {
        End::Code(code) => format!("code {code}"),
        End::Signal { number, core_dumped: Some(false) } => format!("signal {number}"),
        End::Signal { number, core_dumped: Some(true) } => format!("signal {number} with a core dump"),
        End::Signal { number, core_dumped: None } => format!("signal {number}, perhaps with a core dump"),
    }
}
