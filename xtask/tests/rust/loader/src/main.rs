//! Loads the programs of `probes`, has something happen for each, and says what came.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, ffi::CString, fs, fs::File, io, thread};

use anyhow::{Context, Result, ensure};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, PerCpuArray, RingBuf};
use aya::programs::{
    BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, KProbe, RawTracePoint, TracePoint, Xdp,
    xdp::XdpMode,
};
use aya::{Btf, Ebpf};
use bpfship_embed::embed;

type Check = (&'static str, fn() -> Result<String>);

const CHECKS: [Check; 5] =
    [("events", events), ("opened", opened), ("packets", packets), ("sent", sent), ("forked", forked)];

fn main() -> ExitCode {
    if env::args().any(|word| word == "--version") {
        println!("loader {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let mut failed = false;
    for (name, check) in CHECKS {
        match check() {
            Ok(text) => println!("{name}: {text}"),
            Err(error) => {
                failed = true;
                println!("{name}: FAILED: {error:#}");
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Asks until there is an answer.
fn wait_for<T>(mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(begin.elapsed() < Duration::from_secs(20), "nothing came");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Mounts a file system of the kernel's in a folder of our own, if the machine does not have it where it usually is.
fn mounted(kind: &str, usual: &str, proof: &str) -> Result<PathBuf> {
    if Path::new(usual).join(proof).exists() {
        return Ok(usual.into());
    }
    let folder = match Path::new(usual).is_dir() && kind == "tracefs" {
        true => PathBuf::from(usual),
        false => env::temp_dir().join(format!("loader-{kind}")),
    };
    // An earlier run mounted it.
    if folder.join(proof).exists() {
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    let (target, kind) = (CString::new(folder.to_string_lossy().as_bytes())?, CString::new(kind)?);
    let result = unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    ensure!(result == 0, "cannot mount {}: {}", folder.display(), io::Error::last_os_error());
    Ok(folder)
}

/// Sets the loopback device up, which a machine that was just started may not have.
fn loopback() -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) };
    ensure!(result == 0, "cannot set lo up: {}", io::Error::last_os_error());
    Ok(())
}

fn events() -> Result<String> {
    mounted("tracefs", "/sys/kernel/tracing", "events")?;
    let mut ebpf = Ebpf::load(&embed!("events"))?;
    let raw: &mut RawTracePoint = ebpf.program_mut("raw_enter").context("no raw_enter")?.try_into()?;
    raw.load()?;
    raw.attach("sys_enter")?;
    let plain: &mut TracePoint = ebpf.program_mut("enter").context("no enter")?.try_into()?;
    plain.load()?;
    plain.attach("sched", "sched_switch")?;
    let mut ring = RingBuf::try_from(ebpf.take_map("EVENTS").context("no EVENTS")?)?;
    let (mut seen, own) = ([false; 2], std::process::id());
    wait_for(|| {
        while let Some(event) = ring.next() {
            let word = |at: usize| u32::from_ne_bytes(event[at..at + 4].try_into().unwrap_or_default());
            let (id, pid) = (word(0), word(4));
            if let Some(seen) = seen.get_mut(id as usize) {
                *seen |= id == 1 || pid == own;
            }
        }
        Ok((seen == [true; 2]).then_some(()))
    })?;
    let counts: PerCpuArray<_, u64> = PerCpuArray::try_from(ebpf.take_map("COUNTS").context("no COUNTS")?)?;
    let count: u64 = counts.get(&0, 0)?.iter().sum();
    ensure!(count > 0, "nothing was counted");
    Ok("from a raw tracepoint and from a tracepoint, through a ring buffer".into())
}

fn opened() -> Result<String> {
    let mut ebpf = Ebpf::load(&embed!("opened"))?;
    let program: &mut KProbe = ebpf.program_mut("opened").context("no opened")?.try_into()?;
    program.load()?;
    if !Path::new("/sys/bus/event_source/devices/kprobe").exists() {
        return Ok("loaded, and not attached: this kernel has no kprobes".into());
    }
    // `do_sys_openat2(dfd, name, how)`.
    program.attach("do_sys_openat2", 0)?;
    let mut ring = RingBuf::try_from(ebpf.take_map("NAMES").context("no NAMES")?)?;
    let path = CString::new("/proc/self/status")?;
    let address = path.as_ptr() as u64;
    wait_for(|| {
        let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) };
        unsafe { libc::close(file) };
        let mut found = None;
        while let Some(name) = ring.next() {
            let argument = u64::from_ne_bytes(name[..8].try_into().unwrap_or_default());
            // Of 32 bits, a register may have anything above them.
            found = found.or((argument as usize == address as usize).then_some(()));
        }
        Ok(found)
    })?;
    Ok("the second argument of a function of the kernel is the address that was given".into())
}

fn packets() -> Result<String> {
    loopback()?;
    let mut ebpf = Ebpf::load(&embed!("packets"))?;
    let mut known: LpmTrie<_, [u8; 4], u32> = LpmTrie::try_from(ebpf.take_map("KNOWN").context("no KNOWN")?)?;
    known.insert(&Key::new(8, [127, 0, 0, 0]), 1, 0)?;
    let program: &mut Xdp = ebpf.program_mut("packets").context("no packets")?.try_into()?;
    program.load()?;
    program.attach("lo", XdpMode::Skb)?;
    let counts: Array<_, u64> = Array::try_from(ebpf.take_map("PACKETS").context("no PACKETS")?)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    wait_for(|| {
        socket.send_to(b"packet", socket.local_addr()?)?;
        Ok((counts.get(&0, 0)? > 0).then_some(()))
    })?;
    Ok("a packet's address was parsed, and found in a trie".into())
}

fn sent() -> Result<String> {
    loopback()?;
    let mut ebpf = Ebpf::load(&embed!("sent"))?;
    let program: &mut CgroupSkb = ebpf.program_mut("sent").context("no sent")?.try_into()?;
    program.load()?;
    let cgroup = File::open(mounted("cgroup2", "/sys/fs/cgroup", "cgroup.controllers")?)?;
    program.attach(cgroup, CgroupSkbAttachType::Egress, CgroupAttachMode::Single)?;
    let bytes: PerCpuArray<_, u64> = PerCpuArray::try_from(ebpf.take_map("BYTES").context("no BYTES")?)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let sum = wait_for(|| {
        socket.send_to(b"packet", socket.local_addr()?)?;
        let sum: u64 = bytes.get(&0, 0)?.iter().sum();
        Ok((sum > 0).then_some(sum))
    })?;
    // A header of IP, one of UDP, and six letters.
    ensure!(sum >= 34, "{sum} bytes were counted");
    Ok("what a cgroup sends was counted".into())
}

fn forked() -> Result<String> {
    let btf = match Btf::from_sys_fs() {
        Ok(btf) => btf,
        Err(_) => return Ok("not tried: this kernel has no BTF".into()),
    };
    let mut ebpf = Ebpf::load(&embed!("forked"))?;
    let program: &mut BtfTracePoint = ebpf.program_mut("forked").context("no forked")?.try_into()?;
    program.load("sched_process_fork", &btf)?;
    program.attach()?;
    let forks: Array<_, u64> = Array::try_from(ebpf.take_map("FORKS").context("no FORKS")?)?;
    wait_for(|| {
        // A thread is made in the same way.
        let _ = Command::new("/proc/self/exe").arg("--version").output();
        Ok((forks.get(&0, 0)? > 0 && forks.get(&1, 0)? == u64::from(std::process::id())).then_some(()))
    })?;
    Ok("a new process was counted, and C found out by whom".into())
}
