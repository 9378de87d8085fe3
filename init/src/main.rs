//! The first process of a machine that was booted for one thing: to run a program there and to report on it.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use init::frame;
use init::message::{End, Message, facts};
use init::orders::{self, Orders};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};
use rustix::termios::tcdrain;

/// What a program for tracing may need: file system and place.
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

/// Longer lines of a command's are cut, in bytes.
const LINE: u64 = 4096;

fn main() {
    let faults: Vec<String> = MOUNTS.iter().filter_map(|(kind, place)| mount_at(kind, place).err()).collect();
    // Without a console nobody would ever hear why.
    let console = File::options().write(true).open("/dev/console").expect("a console");
    let text = fs::read_to_string(orders::PATH).expect("orders");
    fs::remove_file(orders::PATH).expect("a file that can be removed");
    let orders = Orders::parse(&text).expect("orders in the right form");
    // From here on the kernel keeps to itself what is no error: its lines would cut through ours.
    let _ = fs::write("/proc/sys/kernel/printk", "4");

    let mut reporter = Reporter { console, nonce: orders.nonce, number: 0 };
    faults.into_iter().for_each(|fault| reporter.tell(&Message::Fault(fault)));
    if let Some(file) = &orders.hide_btf {
        reporter.tell(&match hide_btf(file) {
            Ok(bytes) => Message::Fact { name: facts::HIDDEN_BTF.into(), value: bytes.to_string() },
            Err(fault) => Message::Fault(fault),
        });
    }
    for (name, value) in kernel_facts() {
        reporter.tell(&Message::Fact { name: name.into(), value });
    }
    for (number, words) in orders.commands.iter().enumerate() {
        reporter.tell(&Message::Begun(number));
        let end = run(words, |line| reporter.tell(&Message::Said { command: number, line }));
        reporter.tell(&Message::Ended { command: number, end });
    }
    reporter.tell(&Message::Done);

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
    fn tell(&mut self, message: &Message) {
        let frame = frame::encode(&self.nonce, self.number, &message.to_string());
        self.number += 1;
        // Twice, for a line of the kernel's may cut through one of them.
        let times = if message.counts() { 2 } else { 1 };
        for _ in 0..times {
            let _ = self.console.write_all(format!("\n{frame}\n").as_bytes());
        }
    }
}

fn mount_at(kind: &str, place: &str) -> Result<(), String> {
    // Whatever is there already will do; what is missing, mount says.
    let _ = fs::create_dir(place);
    mount(kind, place, kind, MountFlags::empty(), None::<&CStr>)
        .map_err(|error| format!("cannot mount {kind} at {place}: {error}"))
}

/// Puts the kernel's BTF into a file, and an empty folder in its place. Gives its bytes.
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
        Ok(false) => match fs::write(JIT, "1").and_then(|()| is_on()) {
            Ok(true) => "switched on",
            _ => "off",
        },
    }
}

/// Runs a command to its end, and hands on each line that it writes.
fn run(words: &[String], mut said: impl FnMut(String)) -> End {
    match start(words) {
        Err(error) => End::NotStarted(error.to_string()),
        Ok((lines, ended)) => {
            // What a child of the command's holds open does not keep us waiting for long.
            let status = loop {
                match lines.recv_timeout(Duration::from_millis(20)) {
                    Ok(line) => said(line),
                    Err(RecvTimeoutError::Timeout) => {
                        if let Ok(status) = ended.try_recv() {
                            break status;
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => match ended.recv() {
                        Ok(status) => break status,
                        Err(error) => return End::NotStarted(error.to_string()),
                    },
                }
            };
            while let Ok(line) = lines.recv_timeout(Duration::from_millis(200)) {
                said(line);
            }
            match (status.code(), status.signal()) {
                (Some(code), _) => End::Code(code),
                (None, signal) => End::Signal(signal.unwrap_or_default()),
            }
        }
    }
}

fn start(words: &[String]) -> std::io::Result<(Receiver<String>, Receiver<ExitStatus>)> {
    let (program, args) = words.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let (reader, writer) = std::io::pipe()?;
    let mut command = Command::new(program);
    command.args(args).env_clear().env("PATH", "/bin").env("HOME", "/").current_dir("/");
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // It holds the end of the pipe that is written to, which must be the child's alone.
    drop(command);
    let (line, lines) = mpsc::channel();
    let (status, ended) = mpsc::channel();
    thread::spawn(move || read_lines(reader, |text| line.send(text).is_ok()));
    thread::spawn(move || child.wait().map(|code| status.send(code)));
    Ok((lines, ended))
}

/// Hands on each line, the last one even if it is not ended, until nobody wants more.
fn read_lines(pipe: PipeReader, mut each: impl FnMut(String) -> bool) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe.by_ref().take(LINE).read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        if line.ends_with(b"\n") {
            line.pop();
        }
        if !each(String::from_utf8_lossy(&line).into_owned()) {
            return;
        }
        line.clear();
    }
}
