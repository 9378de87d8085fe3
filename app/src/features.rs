//! What this kernel offers to this process, found out by trying: versions and configurations say less.

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
};

use aya::{
    Btf, EbpfLoader, Endianness,
    maps::MapType,
    programs::ProgramType,
    sys::{is_map_supported, is_program_supported},
};
use exectrace_bpf::Bundle;
use nix::{
    sys::{
        resource::{RLIM_INFINITY, Resource, getrlimit},
        utsname::uname,
    },
    unistd::geteuid,
};

use crate::{
    bpf,
    cgroup::{self, PerfGroups},
    error::Error,
    netlink::{Taskstats, Users},
    perf_ring::{self, Extras},
    procfs,
    tracefs::Tracefs,
    tracepoint_set::{self, Definition, Purpose, TRACEPOINTS},
};

pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

const BTF_MAGIC: u16 = 0xeb9f;

const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// The inode of the pid namespace that the machine booted with (PROC_PID_INIT_INO in the kernel).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Something that tracing may need.
#[derive(Debug)]
pub(crate) enum Support {
    /// With what there is to say of it.
    Yes(String),
    /// With the remedy.
    No(Error),
    /// Why it could not be tried.
    Unknown(&'static str),
}

impl Support {
    pub(crate) fn is_there(&self) -> bool {
        matches!(self, Self::Yes(_))
    }

    fn yes() -> Self {
        Self::Yes(String::new())
    }
}

/// Where the kernel's types are described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BtfFrom {
    Kernel,
    /// The user has named it.
    File(PathBuf),
    /// This program carries it, of a kernel of this name.
    Carried {
        btf: &'static [u8],
        of: String,
    },
}

impl fmt::Display for BtfFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str(KERNEL_BTF),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Carried { of, .. } => write!(f, "the BTF of {of} that this program carries"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Features {
    pub(crate) release: String,
    pub(crate) machine: String,
    /// In bytes.
    pub(crate) page: usize,
    pub(crate) jit: &'static str,
    /// What is allowed before it is raised. It counts before Linux 5.11, for maps and programs.
    pub(crate) locked_memory: String,
    pub(crate) rights: Support,
    /// Process numbers are those of the first pid namespace.
    pub(crate) numbers: Support,
    /// The kernel's memory may be read.
    pub(crate) lockdown: Support,
    pub(crate) bpf: Support,
    /// BPF programs on raw tracepoints, and on classic ones.
    pub(crate) raw_tracepoints: Support,
    pub(crate) classic_tracepoints: Support,
    pub(crate) btf: Support,
    pub(crate) btf_from: BtfFrom,
    pub(crate) ring_buffer: Support,
    pub(crate) perf: Support,
    /// Samples hold the user's stack.
    pub(crate) stacks: Support,
    /// The kernel has control groups, and samples hold them.
    pub(crate) cgroups: bool,
    pub(crate) perf_groups: Support,
    pub(crate) tracefs: Support,
    /// /proc shows all processes.
    pub(crate) processes: Support,
    /// All tracepoints without which nothing is seen.
    pub(crate) tracepoints: Support,
    /// Those that show which code a process ends with.
    pub(crate) codes: Support,
    /// Those that show when a process changes its user.
    pub(crate) users: Support,
    /// Reports of how tasks end.
    pub(crate) taskstats: Support,
    /// They say which thread was the last one of its process.
    pub(crate) marks_last: bool,
    /// Reports changes of user, where BPF does not add users.
    pub(crate) connector: Support,
}

impl Features {
    /// `btf_file`: in the place of the kernel's own; else the variable EXECTRACE_BTF may name one.
    ///
    /// # Errors
    /// When such a file is of no use, the kernel does not say its name, or has other words than this program.
    pub(crate) fn probe(btf_file: Option<&Path>) -> Result<Self, Error> {
        let variable = env::var_os("EXECTRACE_BTF").filter(|value| !value.is_empty()).map(PathBuf::from);
        let btf_file = btf_file.or(variable.as_deref());
        let system = uname().map_err(|errno| Error::System { call: "uname", error: errno.into() })?;
        let release = system.release().to_string_lossy().into_owned();
        let machine = system.machine().to_string_lossy().into_owned();
        if cfg!(target_pointer_width = "32") && machine.contains("64") {
            return Err(Error::Word32On64 { machine });
        }
        let rights = rights();
        let may = rights.is_there();
        let locked_memory = locked_memory();
        if may {
            bpf::raise_limits();
        }
        // Without rights the kernel refuses everything alike.
        let tried = |offer: &dyn Fn() -> Support| if may { offer() } else { Support::Unknown("needs root") };
        let bpf = tried(&bpf);
        let with_bpf = |offer: &dyn Fn() -> Support| match &bpf {
            Support::Yes(_) => offer(),
            Support::No(_) => Support::Unknown("needs bpf()"),
            Support::Unknown(why) => Support::Unknown(why),
        };
        let (btf, btf_from) = match btf_file {
            Some(file) => (given_btf(file)?, BtfFrom::File(file.into())),
            None => kernel_btf(exectrace_bpf::BTF),
        };
        let (tracefs, [tracepoints, codes, users]) = tracefs(may);
        let (taskstats, marks_last) = if may { taskstats() } else { (Support::Unknown("needs root"), false) };
        let (perf, stacks) =
            if may { perf() } else { (Support::Unknown("needs root"), Support::Unknown("needs root")) };
        Ok(Self {
            page: perf_ring::page_size(),
            jit: jit(),
            locked_memory,
            numbers: numbers(),
            lockdown: lockdown(),
            raw_tracepoints: with_bpf(&|| program(ProgramType::RawTracePoint)),
            classic_tracepoints: with_bpf(&|| classic_tracepoints(&release)),
            btf,
            btf_from,
            ring_buffer: with_bpf(&|| ring_buffer(&release)),
            perf_groups: if perf.is_there() { perf_groups() } else { Support::Unknown("needs perf events") },
            cgroups: cgroup::exist(),
            perf,
            stacks,
            tracefs,
            processes: processes(),
            tracepoints,
            codes,
            users,
            taskstats,
            marks_last,
            connector: tried(&connector),
            bpf,
            rights,
            release,
            machine,
        })
    }
}

fn rights() -> Support {
    let root = geteuid().is_root();
    let granted = match fs::read_to_string("/proc/self/status").ok().and_then(|status| effective_capabilities(&status))
    {
        Some(capabilities) => may_trace(capabilities),
        // Without /proc, the kernel will have the last word.
        None => root,
    };
    if granted { Support::yes() } else { Support::No(Error::NotPrivileged { root }) }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn may_trace(capabilities: u64) -> bool {
    capabilities & CAP_SYS_ADMIN != 0 || capabilities & (CAP_BPF | CAP_PERFMON) == CAP_BPF | CAP_PERFMON
}

fn numbers() -> Support {
    match fs::read_link("/proc/self/ns/pid") {
        Ok(namespace) if namespace != Path::new(FIRST_PID_NAMESPACE) => {
            Support::No(Error::PidNamespace { what: "this backend" })
        }
        // Without /proc, /proc is what will be missed.
        _ => Support::yes(),
    }
}

fn processes() -> Support {
    match procfs::pids() {
        Ok(_) => Support::yes(),
        Err(error) => Support::No(Error::Proc(error)),
    }
}

fn lockdown() -> Support {
    // Often not there to be read: then loading will be refused.
    match fs::read_to_string("/sys/kernel/security/lockdown") {
        Ok(modes) if modes.contains("[confidentiality]") => Support::No(Error::Lockdown),
        _ => Support::yes(),
    }
}

fn bpf() -> Support {
    match is_map_supported(MapType::Array) {
        Ok(true) => Support::yes(),
        Ok(false) => Support::No(Error::NoBpf),
        Err(error) => Support::No(match error.io_error.kind() {
            // ENOSYS; its number differs between architectures.
            io::ErrorKind::Unsupported => Error::NoBpf,
            io::ErrorKind::PermissionDenied => Error::Refused("bpf()"),
            _ => Error::System { call: "bpf", error: error.io_error },
        }),
    }
}

/// By a program of two instructions.
fn program(kind: ProgramType) -> Support {
    match is_program_supported(kind) {
        Ok(true) => Support::yes(),
        Ok(false) => Support::No(Error::NoBpfEvents),
        Err(_) => Support::No(Error::Refused("to load a BPF program")),
    }
}

/// By loading the object without a program of it.
fn classic_tracepoints(release: &str) -> Support {
    let support = program(ProgramType::TracePoint);
    if !support.is_there() {
        return support;
    }
    // How many processors there are, which is how large maps are.
    if !Path::new("/sys/devices/system/cpu").exists() {
        return Support::No(Error::NoSysfs);
    }
    match EbpfLoader::new().btf(None).load(exectrace_bpf::tracepoints::object()) {
        Ok(_) => support,
        Err(error) => Support::No(match Error::from_loader(error, 0) {
            // It has no global data yet.
            Error::Load(why) => Error::OldBpf { release: release.to_owned(), why },
            error => error,
        }),
    }
}

fn ring_buffer(release: &str) -> Support {
    match is_map_supported(MapType::RingBuf) {
        Ok(true) => Support::yes(),
        _ => Support::No(Error::NoRingBuffer { release: release.to_owned() }),
    }
}

/// The kernel's own, or else what this program carries for it.
fn kernel_btf(carried: Bundle) -> (Support, BtfFrom) {
    let support = match fs::metadata(KERNEL_BTF) {
        Ok(file) => Support::Yes(format!("{} kB", file.len() / 1000)),
        Err(_) if !Path::new("/sys/kernel").exists() => Support::No(Error::NoSysfs),
        Err(_) if carried.is_empty() => Support::No(Error::NoBtf),
        Err(_) => match carried.for_this_kernel() {
            Ok(found) => {
                let from = BtfFrom::Carried { btf: found.btf, of: found.of.to_string() };
                return (Support::Yes(from.to_string()), from);
            }
            Err(why) => Support::No(Error::NotCarried(why.to_string())),
        },
    };
    (support, BtfFrom::Kernel)
}

fn given_btf(file: &Path) -> Result<Support, Error> {
    let wrong = |why: String| Error::UnreadableBtf { what: file.display().to_string(), why };
    let bytes = fs::read(file).map_err(|error| wrong(error.to_string()))?;
    // aya takes anything for BTF.
    if !bytes.starts_with(&BTF_MAGIC.to_ne_bytes()) {
        return Err(wrong("it holds no raw BTF, or in the other byte order".to_owned()));
    }
    match Btf::parse(&bytes, Endianness::default()) {
        Ok(_) => Ok(Support::Yes(file.display().to_string())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn perf() -> (Support, Support) {
    // Which processors there are.
    if aya::util::online_cpus().is_err() {
        return (Support::No(Error::NoSysfs), Support::Unknown("needs /sys"));
    }
    let with_stack = Extras { stack: true, ..Extras::default() };
    match (perf_ring::try_one(with_stack), perf_ring::try_one(Extras::default())) {
        (Ok(()), _) => (Support::yes(), Support::yes()),
        (Err(_), Ok(())) => (Support::yes(), Support::No(Error::NoStacks)),
        (_, Err(error)) => (Support::No(Error::from_perf(error, 0)), Support::Unknown("needs perf events")),
    }
}

fn perf_groups() -> Support {
    let with_group = Extras { cgroup: true, ..Extras::default() };
    match (perf_ring::try_one(with_group), PerfGroups::find()) {
        (Err(_), _) => Support::No(Error::NoPerfGroups),
        (Ok(()), None) => Support::No(Error::PerfGroupsOfVersion1),
        (Ok(()), Some(_)) => Support::yes(),
    }
}

/// tracefs, and the tracepoints that are needed at all, for codes, and for users.
fn tracefs(may: bool) -> (Support, [Support; 3]) {
    let unknown = |why| [why; 3].map(Support::Unknown);
    let known = Tracefs::find().and_then(|tracefs| Ok((tracepoint_set::find(&tracefs)?, tracefs.is_mounted())));
    let (known, is_mounted) = match known {
        Ok(known) => known,
        Err(_) if !may => return (Support::Unknown("needs root"), unknown("needs root")),
        Err(error) => return (Support::No(Error::Tracefs(error)), unknown("needs tracefs")),
    };
    let is_missing = |tracepoint: &&Definition| !known.iter().any(|known| known.name() == tracepoint.name);
    let all = |purpose| match TRACEPOINTS.iter().filter(|tracepoint| tracepoint.purpose == purpose).find(is_missing) {
        Some(tracepoint) => Support::No(Error::NoTracepoint(tracepoint.name)),
        None => Support::yes(),
    };
    // On x86_64 every program may use the system calls of 32-bit ones, which these tracepoints leave out.
    let users = if cfg!(target_arch = "x86_64") { Support::No(Error::NoUsers) } else { all(Purpose::Users) };
    let how = if is_mounted { "mounted" } else { "not mounted; exectrace mounts it for itself" };
    (Support::Yes(how.to_owned()), [all(Purpose::Anything), all(Purpose::Codes), users])
}

/// Reports of how tasks end, and whether they say which one was the last of a process.
fn taskstats() -> (Support, bool) {
    match Taskstats::marks_last() {
        Ok(true) => (Support::yes(), true),
        Ok(false) => (Support::Yes("of the first thread of a process only, before Linux 5.19".to_owned()), false),
        Err(error) => (Support::No(Error::Taskstats(error)), false),
    }
}

fn connector() -> Support {
    match Users::start(64) {
        Ok(_) => Support::yes(),
        Err(error) => Support::No(Error::Connector(error)),
    }
}

fn jit() -> &'static str {
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable") {
        Ok(value) if value.trim() == "0" => "off",
        Ok(_) => "on",
        Err(error) if error.kind() == io::ErrorKind::NotFound => "none",
        Err(_) => "not known: needs root",
    }
}

fn locked_memory() -> String {
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((RLIM_INFINITY, _)) => "unlimited".to_owned(),
        Ok((bytes, _)) => format!("{} KiB", bytes / 1024),
        Err(_) => "not known".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_proc() {
        assert_eq!(effective_capabilities("Name:\tx\nCapPrm:\t00\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }

    #[test]
    fn sys_admin_or_bpf_with_perfmon_suffice() {
        assert!(may_trace(CAP_SYS_ADMIN));
        assert!(may_trace(CAP_BPF | CAP_PERFMON));
        assert!(!may_trace(CAP_BPF));
        assert!(!may_trace(0));
    }
}
