//! The first process of a machine that was booted to run a program and to report on it.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};
use rustix::process::{Pid, Signal, kill_process};
use rustix::system::{RebootCommand, reboot};
use rustix::termios::tcdrain;

use crate::config::{self, GuestConfig};
use crate::frame;
use crate::message::{End, Message, facts};

/// The file systems that a tracing program may need, and where they are mounted.
const MOUNTS: [(&str, &str); 7] = [
    ("devtmpfs", "/dev"),
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("tmpfs", "/tmp"),
    ("tracefs", "/sys/kernel/tracing"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
];

const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";
const BTF_FOLDER: &str = "/sys/kernel/btf";
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// How long a command has that says that it waits, until it is interrupted.
const BEFORE_INTERRUPT: Duration = Duration::from_secs(1);

/// Bytes of a line of a command's output. Longer lines are split.
const MAX_LINE: u64 = 4096;

/// Runs as the first process of a guest: mounts what programs need, runs the commands of the configuration, reports on
/// the console, and powers off.
///
/// # Panics
///
/// If it is not process 1, or the guest has no console or configuration.
pub fn main() -> ! {
    assert_eq!(process::id(), 1, "this program is the first process of a guest, and mounts and powers off");
    let faults: Vec<String> = MOUNTS.iter().filter_map(|(kind, place)| mount_at(kind, place).err()).collect();
    // A panic of this process is a panic of the kernel's, which the host sees.
    let console = File::options().write(true).open("/dev/console").expect("a console");
    let text = fs::read_to_string(config::PATH).expect("a configuration");
    fs::remove_file(config::PATH).expect("a configuration that can be removed");
    let config = GuestConfig::parse(&text).expect("a valid configuration");
    // A kernel without a network has none.
    let _ = set_loopback_up();
    // A libc knows `localhost` from there, and there is no other.
    let _ = fs::create_dir_all("/etc").and_then(|()| fs::write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"));
    // From here on the kernel prints errors only: its lines would cut through ours.
    let _ = fs::write("/proc/sys/kernel/printk", "4");

    let mut reporter = Reporter { console, nonce: config.nonce.clone(), number: 0 };
    faults.into_iter().for_each(|fault| reporter.report(&Message::Fault(fault)));
    if let Some(file) = &config.hide_btf {
        reporter.report(&match hide_btf(file) {
            Ok(bytes) => Message::Fact { name: facts::HIDDEN_BTF.into(), value: bytes.to_string() },
            Err(fault) => Message::Fault(fault),
        });
    }
    for (name, value) in kernel_facts() {
        reporter.report(&Message::Fact { name: name.into(), value });
    }
    for (number, words) in config.commands.iter().enumerate() {
        reporter.report(&Message::Started(number));
        let end = run(words, &config, |line| {
            reporter.report(&Message::Output { command: number, line });
        });
        reporter.report(&Message::Exited { command: number, end });
    }
    reporter.report(&Message::Done);

    let _ = tcdrain(&reporter.console);
    let _ = reboot(RebootCommand::PowerOff);
    // A machine that cannot power off is ended by the host. Were this process to end, the kernel would panic.
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// Writes reports to the console.
struct Reporter {
    console: File,
    nonce: String,
    number: u32,
}

impl Reporter {
    fn report(&mut self, message: &Message) {
        let frame = frame::encode(&self.nonce, self.number, &message.to_string());
        self.number += 1;
        // Twice, because a line of the kernel's may cut through one of them.
        let times = if message.counts() { 2 } else { 1 };
        for _ in 0..times {
            let _ = self.console.write_all(format!("\n{frame}\n").as_bytes());
        }
    }
}

fn mount_at(kind: &str, place: &str) -> Result<(), String> {
    // If the folder is missing, mount reports it.
    let _ = fs::create_dir(place);
    mount(kind, place, kind, MountFlags::empty(), None::<&CStr>)
        .map_err(|error| format!("cannot mount {kind} at {place}: {error}"))
}

/// Asks the kernel to set its first network device up, which is the loopback device: elsewhere, it is.
fn set_loopback_up() -> Result<(), Errno> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const IFF_UP: u32 = 1;
    let number = |number: u32| number.to_ne_bytes();
    let kind = [RTM_NEWLINK.to_ne_bytes(), NLM_F_REQUEST.to_ne_bytes()].concat();
    // A message's header (its length, what it is, a sequence number, a sender), and what it says of a device: a family and a type,
    // its number, its flags, and which of these are to change.
    let header = [&number(32)[..], &kind, &number(0), &number(0)].concat();
    let message = [&header[..], &number(0), &number(1), &number(IFF_UP), &number(IFF_UP)].concat();
    // That of routes and devices is the first protocol.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).map(drop)
}

/// Moves the kernel's BTF to a file, with an empty folder in its place. Returns its size in bytes.
fn hide_btf(file: &str) -> Result<usize, String> {
    let btf = fs::read(BTF).map_err(|error| format!("cannot read {BTF}: {error}"))?;
    fs::write(file, &btf).map_err(|error| format!("cannot write {file}: {error}"))?;
    mount_at("tmpfs", BTF_FOLDER)?;
    Ok(btf.len())
}

fn kernel_facts() -> Vec<(&'static str, String)> {
    let line = |path: &str| fs::read_to_string(path).map(|text| text.trim_end().to_owned()).ok();
    let kilobytes =
        |text: String| Some(text.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse::<u64>().ok()? * 1024);
    let memory = line("/proc/meminfo").and_then(|text| kilobytes(text.lines().next()?.into()));
    let btf = fs::metadata(BTF).map_or("none".into(), |file| file.len().to_string());
    vec![
        (facts::RELEASE, line("/proc/sys/kernel/osrelease").unwrap_or_default()),
        (facts::PAGE, rustix::param::page_size().to_string()),
        (facts::MEMORY, memory.unwrap_or_default().to_string()),
        (facts::BTF, btf),
        (facts::JIT, switch_jit_on().into()),
    ]
}

/// riscv64 kernels have the JIT off, and later ones load some programs only with it.
fn switch_jit_on() -> &'static str {
    let is_on = || fs::read_to_string(JIT).map(|text| text.trim() != "0");
    match is_on() {
        Err(_) => "none",
        Ok(true) => "on",
        // That of 32-bit x86 knows no atomics, and Linux 6.1 then refuses a program instead of interpreting it.
        Ok(false) if cfg!(target_arch = "x86") => "off",
        Ok(false) => match fs::write(JIT, "1").and_then(|()| is_on()) {
            Ok(true) => "switched on",
            _ => "off",
        },
    }
}

/// Runs a command until it exits, and passes on each line that it writes. It is interrupted once, after a line that holds
/// one of those texts.
fn run(words: &[String], config: &GuestConfig, mut output: impl FnMut(String)) -> End {
    match start(words, &config.environment) {
        Err(error) => End::NotStarted(error.to_string()),
        Ok((child, lines, exited)) => {
            let mut to_interrupt = config.interrupt_after.as_slice();
            let mut interrupted = false;
            // A child of the command's may keep the pipe open: do not wait for that long.
            let status = loop {
                match lines.recv_timeout(Duration::from_millis(20)) {
                    Ok(line) => {
                        let is_at_work = to_interrupt.iter().any(|text| line.contains(text));
                        output(line);
                        if is_at_work {
                            to_interrupt = &[];
                            // It may say so before it waits, and else be killed by the signal.
                            thread::sleep(BEFORE_INTERRUPT);
                            // If it is gone, how it ended tells.
                            interrupted = kill_process(child, Signal::INT).is_ok();
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        if let Ok(status) = exited.try_recv() {
                            break status;
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => match exited.recv() {
                        Ok(status) => break status,
                        Err(error) => return End::NotStarted(error.to_string()),
                    },
                }
            };
            while let Ok(line) = lines.recv_timeout(Duration::from_millis(200)) {
                output(line);
            }
            match (status.code(), status.signal()) {
                (Some(code), _) => End::Code(code),
                (None, Some(signal)) if interrupted && signal == Signal::INT.as_raw() => End::Interrupted,
                (None, signal) => End::Signal(signal.unwrap_or_default()),
            }
        }
    }
}

fn start(words: &[String], environment: &[String]) -> std::io::Result<(Pid, Receiver<String>, Receiver<ExitStatus>)> {
    let (program, args) = words.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let (reader, writer) = std::io::pipe()?;
    let mut command = Command::new(program);
    command.args(args).env_clear().env("PATH", "/bin").env("HOME", "/").current_dir("/");
    command.envs(environment.iter().filter_map(|variable| variable.split_once('=')));
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // It holds the writing end of the pipe, which must be the child's alone.
    drop(command);
    let pid = Pid::from_child(&child);
    let (line, lines) = mpsc::channel();
    let (status, exited) = mpsc::channel();
    thread::spawn(move || read_lines(reader, |text| line.send(text).is_ok()));
    thread::spawn(move || child.wait().map(|code| status.send(code)));
    Ok((pid, lines, exited))
}

/// Passes on each line, also the last one without a line break, until `each` wants no more.
fn read_lines(pipe: PipeReader, mut each: impl FnMut(String) -> bool) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        if line.ends_with(b"\n") {
            line.pop();
        }
        if !each(String::from_utf8_lossy(&line).into_owned()) {
            return;
        }
        line.clear();
    }
}
