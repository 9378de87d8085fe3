//! What this machine must have, asked before anything is loaded: each lack has its own sentence.

use std::{fs, io, path::Path};

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{is_map_supported, is_program_supported},
};
use nix::{
    sys::{
        resource::{RLIM_INFINITY, Resource, setrlimit},
        utsname::uname,
    },
    unistd::geteuid,
};

use crate::{cli::Cli, error::Error, load::KERNEL_BTF, stderr};

const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// The inode of the pid namespace that the machine booted with (PROC_PID_INIT_INO in the kernel).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

pub(crate) fn check(cli: &Cli) -> Result<(), Error> {
    check_privileges()?;
    check_bpf()?;
    check_btf()?;
    check_tracepoints()?;
    check_pid_namespace(cli)
}

fn check_privileges() -> Result<(), Error> {
    let root = geteuid().is_root();
    let granted = match fs::read_to_string("/proc/self/status").ok().and_then(|status| effective_capabilities(&status))
    {
        Some(capabilities) => may_trace(capabilities),
        // Without /proc, the kernel will have the last word.
        None => root,
    };
    if granted { Ok(()) } else { Err(Error::NotPrivileged { root }) }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn may_trace(capabilities: u64) -> bool {
    capabilities & CAP_SYS_ADMIN != 0 || capabilities & (CAP_BPF | CAP_PERFMON) == CAP_BPF | CAP_PERFMON
}

fn check_bpf() -> Result<(), Error> {
    // Before Linux 5.11 maps count as locked memory. Later it does nothing, and without CAP_SYS_RESOURCE it fails:
    // then what is allowed may still be enough.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);

    let system = uname().map_err(|errno| Error::System { call: "uname", error: errno.into() })?;
    let machine = system.machine().to_string_lossy().into_owned();
    if cfg!(target_pointer_width = "32") && machine.contains("64") {
        return Err(Error::Word32On64 { machine });
    }
    match is_map_supported(MapType::RingBuf) {
        Ok(true) => {}
        Ok(false) => {
            return Err(Error::NoRingBuffer { release: system.release().to_string_lossy().into_owned() });
        }
        // ENOSYS; its number differs between architectures.
        Err(error) if error.io_error.kind() == io::ErrorKind::Unsupported => {
            return Err(Error::NoBpf);
        }
        Err(error) if error.io_error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Error::Refused("bpf()"));
        }
        Err(error) => {
            return Err(Error::System { call: "bpf", error: error.io_error });
        }
    }
    // Often not there to be read: then the verifier will say no.
    match fs::read_to_string("/sys/kernel/security/lockdown") {
        Ok(modes) if modes.contains("[confidentiality]") => Err(Error::Lockdown),
        _ => Ok(()),
    }
}

fn check_btf() -> Result<(), Error> {
    if Path::new(KERNEL_BTF).exists() {
        Ok(())
    } else if Path::new("/sys/kernel").exists() {
        Err(Error::NoBtf)
    } else {
        Err(Error::NoSysfs)
    }
}

fn check_tracepoints() -> Result<(), Error> {
    // Where the question itself fails, loading will tell more.
    match is_program_supported(ProgramType::RawTracePoint) {
        Ok(false) => Err(Error::NoTracepoints),
        _ => Ok(()),
    }
}

/// The kernel side numbers processes as the first pid namespace does.
fn check_pid_namespace(cli: &Cli) -> Result<(), Error> {
    let Ok(namespace) = fs::read_link("/proc/self/ns/pid") else {
        return Ok(());
    };
    if namespace == Path::new(FIRST_PID_NAMESPACE) {
        return Ok(());
    }
    if cli.self_test {
        return Err(Error::PidNamespace { flag: "--self-test" });
    }
    if !cli.pid.is_empty() {
        return Err(Error::PidNamespace { flag: "--pid" });
    }
    stderr::say("this is another pid namespace than the host's, whose process numbers are shown");
    Ok(())
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
