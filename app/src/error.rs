//! What can go wrong, each with its remedy.

use std::{fmt, io, path::PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError};

#[derive(Debug)]
pub(crate) enum Error {
    NotPrivileged { root: bool },
    NoBpf,
    Refused(&'static str),
    Paranoid,
    Lockdown,
    NoSysfs,
    NoBtf,
    NotCarried(String),
    UnreadableBtf { what: String, why: String },
    OtherBtf(String),
    NoRingBuffer { release: String },
    NoBpfEvents,
    OldBpf { release: String, why: String },
    Perf(io::Error),
    NoStacks,
    TooManyFiles,
    NoPerfGroups,
    PerfGroupsOfVersion1,
    Tracefs(io::Error),
    NoTracepoint(&'static str),
    NoUsers,
    Taskstats(io::Error),
    Connector(io::Error),
    NoBackend(String),
    Unknowable { flag: &'static str, field: &'static str },
    Word32On64 { machine: String },
    Memory { kib: u32 },
    JitOff,
    Rejected { program: String, error: io::Error, log: String },
    Load(String),
    PidNamespace { what: &'static str },
    TimeNamespace,
    NoProcess(u32),
    Thread { tid: u32, process: u32 },
    Proc(io::Error),
    Record(String),
    NoCgroup(PathBuf),
    FailedNeedsBtf,
    Output(io::Error),
    OutputFile { file: PathBuf, error: io::Error },
    SelfTest(String),
    System { call: &'static str, error: io::Error },
}

impl std::error::Error for Error {}

/// Whether perf_event_open() is kept to fewer than Linux itself can keep it to: by kernels of Debian and Ubuntu.
fn is_paranoid() -> bool {
    let text = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    text.trim().parse::<i32>().is_ok_and(|level| level > 2)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPrivileged { root: false } => {
                write!(f, "tracing needs root, or the capabilities CAP_BPF and CAP_PERFMON: run it with sudo")
            }
            Self::NotPrivileged { root: true } => write!(
                f,
                "root has neither CAP_SYS_ADMIN nor CAP_BPF and CAP_PERFMON here: give the container --privileged, \
                 or --cap-add BPF --cap-add PERFMON"
            ),
            Self::NoBpf => write!(
                f,
                "there is no bpf() system call here: run it on a kernel with CONFIG_BPF_SYSCALL=y, \
                 and not under an emulator such as qemu-user"
            ),
            Self::Refused(call) => write!(
                f,
                "the kernel refuses {call} in spite of the capabilities: \
                 run it on the host, or in a container with --privileged"
            ),
            Self::Paranoid => write!(
                f,
                "perf_event_open() wants CAP_SYS_ADMIN here, as kernel.perf_event_paranoid is above 2: \
                 set that to 2, or add the capability"
            ),
            Self::Lockdown => write!(
                f,
                "kernel lockdown is set to confidentiality, which keeps BPF from reading the kernel's memory: \
                 boot with lockdown=integrity or without it"
            ),
            Self::NoSysfs => write!(f, "/sys is not mounted: mount -t sysfs sysfs /sys"),
            Self::NoBtf => write!(
                f,
                "this kernel does not describe its types (/sys/kernel/btf/vmlinux is missing): \
                 use a kernel with CONFIG_DEBUG_INFO_BTF=y, or --btf with a file made for this one"
            ),
            Self::NotCarried(why) => write!(
                f,
                "this kernel does not describe its types (/sys/kernel/btf/vmlinux is missing), and {why}: \
                 use a kernel with CONFIG_DEBUG_INFO_BTF=y, or --btf with a file made for this one"
            ),
            Self::UnreadableBtf { what, why } => write!(
                f,
                "cannot read {what}: {why}: name a file such as the /sys/kernel/btf/vmlinux of a machine with the same kernel"
            ),
            Self::OtherBtf(what) => write!(
                f,
                "{what} describes another kernel than this one, with which wrong values would be shown: \
                 name one that was made for exactly this kernel"
            ),
            Self::NoRingBuffer { release } => {
                write!(f, "Linux {release} has no BPF ring buffer: use Linux 5.8 or newer")
            }
            Self::NoBpfEvents => write!(
                f,
                "this kernel runs no BPF programs on tracepoints: use a kernel with CONFIG_BPF_EVENTS=y, \
                 which CONFIG_UPROBE_EVENTS=y or CONFIG_KPROBE_EVENTS=y brings"
            ),
            Self::OldBpf { release, why } => {
                write!(
                    f,
                    "Linux {release} does not load the BPF programs for tracepoints ({why}): use Linux 5.2 or newer"
                )
            }
            Self::Perf(error) => write!(
                f,
                "the kernel refuses perf_event_open() ({error}): use a kernel with CONFIG_PERF_EVENTS=y, \
                 and no seccomp filter against it"
            ),
            Self::TooManyFiles => write!(f, "too many files would be open at once: raise the limit, with ulimit -Hn"),
            Self::NoPerfGroups => {
                write!(f, "perf samples no control groups here: use Linux 5.7 or newer with CONFIG_CGROUP_PERF=y")
            }
            Self::PerfGroupsOfVersion1 => {
                write!(f, "perf samples control groups of version 1 here: unmount the hierarchy with perf_event")
            }
            Self::NoStacks => write!(f, "perf samples no user stacks on this architecture: use a newer kernel"),
            // EACCES is of what is mounted, EPERM of mounting it.
            Self::Tracefs(error) if error.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "only root may read the kernel's tracepoints ({error}): run it as root, or {}give it the capabilities \
                 CAP_DAC_READ_SEARCH and CAP_NET_ADMIN, too",
                if error.raw_os_error() == Some(libc::EACCES) {
                    ""
                } else {
                    "mount -t tracefs tracefs /sys/kernel/tracing and "
                }
            ),
            Self::Tracefs(error) => write!(
                f,
                "cannot read the kernel's tracepoints ({error}): use a kernel with CONFIG_FTRACE=y and \
                 CONFIG_ENABLE_DEFAULT_TRACERS=y or a tracer, or mount -t tracefs tracefs /sys/kernel/tracing"
            ),
            Self::NoTracepoint(name) => write!(
                f,
                "this kernel has no tracepoint {name}: use a kernel with {}",
                if name.starts_with("syscalls/") { "CONFIG_FTRACE_SYSCALLS=y" } else { "CONFIG_EVENT_TRACING=y" }
            ),
            Self::Taskstats(error) => write!(
                f,
                "the kernel does not report how processes end ({error}): use a kernel with CONFIG_TASKSTATS=y, \
                 and root or the capability CAP_NET_ADMIN, in the host's user and pid namespace"
            ),
            Self::Connector(error) => write!(
                f,
                "the kernel does not report changes of user ({error}): use a kernel with CONFIG_PROC_EVENTS=y, \
                 and root or the capability CAP_NET_ADMIN, in the host's user and pid namespace"
            ),
            Self::NoUsers => {
                write!(f, "on x86_64 no tracepoint shows every change of user: use a kernel with CONFIG_BPF_EVENTS=y")
            }
            Self::NoBackend(why) => f.write_str(why),
            Self::Unknowable { flag, field } => write!(
                f,
                "{flag} needs to know the {field} of processes, which this backend does not know: leave it out, or use a kernel \
                 with CONFIG_BPF_EVENTS=y and CONFIG_DEBUG_INFO_BTF=y"
            ),
            Self::Word32On64 { machine } => write!(
                f,
                "this is a 32-bit program on a 64-bit kernel ({machine}), whose words it would misread: \
                 use the exectrace for {machine}"
            ),
            Self::Memory { kib } => write!(
                f,
                "the kernel grants no memory for a buffer of {kib} KiB and its tables: \
                 try ulimit -l unlimited, or a smaller --buffer"
            ),
            Self::JitOff => write!(
                f,
                "this kernel runs exectrace's BPF programs with its BPF JIT only, which is off: \
                 sysctl -w net.core.bpf_jit_enable=1"
            ),
            Self::Rejected { program, error, .. } => write!(
                f,
                "the kernel's verifier rejected the BPF program {program} ({error}): \
                 please report it, with the log that -v shows"
            ),
            Self::Load(why) => {
                write!(f, "cannot load the BPF programs: {why}: please report it, with the output of uname -a")
            }
            Self::PidNamespace { what } => write!(
                f,
                "{what} needs the host's process numbers, and this is another pid namespace: \
                 start the container with --pid=host"
            ),
            Self::TimeNamespace => write!(
                f,
                "this process has another time namespace than its children, and its clock cannot be set right: \
                 start it with unshare --fork"
            ),
            Self::NoProcess(pid) => write!(f, "no process has the number {pid}: see ps -e for those that run"),
            Self::Thread { tid, process } => {
                write!(f, "{tid} is a thread of process {process}: use --pid {process}")
            }
            Self::Proc(error) => write!(
                f,
                "cannot read /proc: {error}: mount -t proc proc /proc, or run it as root if /proc has hidepid"
            ),
            Self::Record(why) => write!(
                f,
                "the BPF program sent a record that makes no sense ({why}): please report it, \
                 with the output of exectrace --version"
            ),
            Self::Output(error) => write!(f, "cannot write to standard output: {error}"),
            Self::OutputFile { file, error } => write!(f, "cannot write to {}: {error}", file.display()),
            Self::FailedNeedsBtf => write!(
                f,
                "--failed needs BPF that reads the kernel's structs: leave it out, or use a kernel with \
                 CONFIG_BPF_EVENTS=y and CONFIG_DEBUG_INFO_BTF=y"
            ),
            Self::NoCgroup(path) => {
                write!(f, "no control group {}: name one as in /proc/PID/cgroup, such as /system.slice", path.display())
            }
            Self::SelfTest(why) => write!(f, "cannot run the self-test: {why}"),
            Self::System { call, error } => write!(f, "{call} failed: {error}"),
        }
    }
}

impl Error {
    /// What the verifier had to say, for `-v`.
    pub(crate) fn verifier_log(&self) -> Option<&str> {
        match self {
            Self::Rejected { log, .. } => Some(log),
            _ => None,
        }
    }

    /// Whether another backend may work.
    pub(crate) fn is_of_the_backend(&self) -> bool {
        matches!(
            self,
            Self::JitOff
                | Self::Rejected { .. }
                | Self::Refused(_)
                | Self::Paranoid
                | Self::Load(_)
                | Self::UnreadableBtf { .. }
                | Self::OtherBtf(_)
                | Self::Perf(_)
        )
    }

    pub(crate) fn from_map(error: MapError) -> Self {
        Self::Load(chain(&error))
    }

    /// What a failed BPF_PROG_LOAD means.
    pub(crate) fn from_program(program: &str, error: ProgramError) -> Self {
        match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                let log = verifier_log.to_string();
                if log.contains("requires BPF JIT") {
                    Self::JitOff
                } else if io_error.kind() == io::ErrorKind::PermissionDenied && log.is_empty() {
                    Self::Refused("to load a BPF program")
                } else {
                    Self::Rejected { program: program.to_owned(), error: io_error, log }
                }
            }
            other => Self::Load(format!("{program}: {}", chain(&other))),
        }
    }

    /// What a failure of perf's means.
    pub(crate) fn from_perf(error: io::Error, kib: u32) -> Self {
        match error.kind() {
            io::ErrorKind::OutOfMemory => Self::Memory { kib },
            // Of mmap(), when more would be locked than is allowed; perf_event_open() was allowed before.
            io::ErrorKind::PermissionDenied if kib > 0 => Self::Memory { kib },
            io::ErrorKind::PermissionDenied if is_paranoid() => Self::Paranoid,
            io::ErrorKind::PermissionDenied => Self::Refused("perf_event_open()"),
            _ if error.raw_os_error() == Some(libc::EMFILE) => Self::TooManyFiles,
            _ => Self::Perf(error),
        }
    }

    /// What a failure before BPF_PROG_LOAD means: in the object, its relocations, or its maps.
    pub(crate) fn from_loader(error: EbpfError, kib: u32) -> Self {
        match io_error(&error).map(|error| (error.kind(), error.raw_os_error())) {
            Some((io::ErrorKind::Unsupported, _)) => Self::NoBpf,
            Some((_, Some(libc::EMFILE))) => Self::TooManyFiles,
            // Before Linux 5.11 maps count as locked memory, and too much of that is EPERM.
            Some((io::ErrorKind::PermissionDenied | io::ErrorKind::OutOfMemory, _)) => Self::Memory { kib },
            _ => Self::Load(chain(&error)),
        }
    }
}

/// The whole story of an error from below, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries repeat the cause in their own message.
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

fn io_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use aya_obj::VerifierLog;

    use super::*;

    #[test]
    fn what_perf_refuses_has_a_reason() {
        let said = |number, kib| Error::from_perf(io::Error::from_raw_os_error(number), kib).to_string();
        assert!(said(libc::EMFILE, 0).contains("ulimit -Hn"));
        assert!(said(libc::EACCES, 0).contains("run it on the host"));
        assert!(said(libc::EPERM, 64).contains("a smaller --buffer"));
        assert!(said(libc::ENOSYS, 0).contains("CONFIG_PERF_EVENTS"));
    }

    #[test]
    fn tracepoints_are_mounted_only_if_they_are_not() {
        let said = |number| Error::Tracefs(io::Error::from_raw_os_error(number)).to_string();
        let capabilities = "give it the capabilities CAP_DAC_READ_SEARCH and CAP_NET_ADMIN, too";
        assert!(said(libc::EACCES).ends_with(&format!("run it as root, or {capabilities}")));
        assert!(
            said(libc::EPERM).ends_with(&format!("mount -t tracefs tracefs /sys/kernel/tracing and {capabilities}"))
        );
    }

    fn load_error(error: io::ErrorKind, log: &str) -> Error {
        Error::from_program(
            "on_exec",
            ProgramError::LoadError { io_error: error.into(), verifier_log: VerifierLog::new(log.to_owned()) },
        )
    }

    #[test]
    fn a_rejection_keeps_the_log_for_verbose_only() {
        let error = load_error(io::ErrorKind::InvalidInput, "R1 invalid mem access 'scalar'");
        assert_eq!(error.verifier_log(), Some("R1 invalid mem access 'scalar'"));
        assert_eq!(
            error.to_string(),
            "the kernel's verifier rejected the BPF program on_exec (invalid input parameter): \
             please report it, with the log that -v shows"
        );
    }

    #[test]
    fn a_missing_jit_has_its_own_remedy() {
        let error = load_error(io::ErrorKind::Unsupported, "program requires BPF JIT compiler but it is not available");
        assert!(error.to_string().ends_with("sysctl -w net.core.bpf_jit_enable=1"), "{error}");
    }

    #[test]
    fn a_refusal_without_a_log_is_no_rejection() {
        let error = load_error(io::ErrorKind::PermissionDenied, "");
        assert!(error.to_string().starts_with("the kernel refuses to load a BPF program"), "{error}");
    }
}
