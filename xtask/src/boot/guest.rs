//! Boots one machine, listens to it, and ends it.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use init::orders::Orders;

use crate::boot::console::Console;
use crate::boot::initramfs;
use crate::boot::kernels::Btf;
use crate::boot::plan::{Boot, Chosen};
use crate::boot::verdict;
use crate::boot::verdict::{Asked, Verdict};
use crate::release::pack;
use crate::sys::files;
use crate::sys::process::{Runner, Watched};
use crate::ui::error;
use crate::ui::screen::Line;
use crate::workspace::config;
use crate::workspace::config::Config;

/// What QEMU itself takes besides the memory of the guest, in MiB.
const OVERHEAD: u32 = 128;

/// Where init puts BTF that it hides.
const BTF_FILE: &str = "/tmp/vmlinux.btf";

/// How a boot went.
#[derive(Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    pub seconds: f64,
    pub console: Console,
}

/// What a guest is given.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    pub init: &'a [u8],
    pub binary: &'a [u8],
}

/// The commands that a guest runs, as a user would type them.
pub fn commands(config: &Config, btf: Btf) -> Vec<String> {
    let line =
        |words: &Vec<String>| shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "));
    arguments(&config.boot, btf)
        .iter()
        .map(|words| format!("{} {}", config.bin, line(words)).trim_end().into())
        .collect()
}

/// What the program is given there, one command after the other.
fn arguments(wanted: &config::Boot, btf: Btf) -> Vec<Vec<String>> {
    let mut commands = wanted.commands.clone();
    if btf == Btf::Hidden {
        let with_file = |words: &Vec<String>| words.iter().map(|word| word.replace(config::BTF, BTF_FILE)).collect();
        commands.extend(wanted.btf_commands.iter().map(with_file));
    }
    commands
}

/// Boots a machine, and ends it when it has said all, or has taken too long.
pub fn boot(
    runner: Runner,
    config: &Config,
    boot: &Boot,
    kernel: &Chosen,
    contents: Contents,
    line: &Line,
) -> Result<Outcome> {
    let program = initramfs::program(&config.bin);
    let hides_btf = kernel.btf == Btf::Hidden;
    let with_program = |words: Vec<String>| std::iter::once(program.clone()).chain(words).collect();
    let orders = Orders {
        nonce: nonce()?,
        hide_btf: hides_btf.then(|| BTF_FILE.into()),
        commands: arguments(&config.boot, kernel.btf).into_iter().map(with_program).collect(),
    };
    let archive = initramfs::compose(contents.init, &config.bin, contents.binary, &orders);
    files::write(&boot.initramfs, pack::gzip(&archive)?)?;

    let begin = Instant::now();
    let mut console = Console::new(orders.nonce);
    let limit = Duration::from_secs(config.boot.timeout);
    let watched = runner.watch(&boot.command, limit, |text| {
        if let Some(seen) = console.hear(text) {
            line.set(&format!("{}: {seen}", kernel.label));
        }
        if console.is_done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let ended = match watched {
        Watched::Stopped => verdict::Ended::Done,
        Watched::Late => verdict::Ended::Late(config.boot.timeout),
        Watched::Ended(status) if status.success() => verdict::Ended::Alone("ended".into()),
        Watched::Ended(status) => verdict::Ended::Alone(error::ended(status)),
    };
    let asked = Asked { commands: &commands(config, kernel.btf), hides_btf };
    let seconds = (begin.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    Ok(Outcome { verdict: verdict::judge(&console, &ended, asked), seconds, console })
}

/// 128 random bits.
fn nonce() -> Result<String> {
    let mut bytes = [0; 16];
    let read = File::open(Path::new("/dev/urandom")).and_then(|mut file| file.read_exact(&mut bytes));
    read.context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Memory that is shared by guests that run at once.
#[derive(Debug)]
pub struct Memory {
    /// MiB that are free, and guests that run.
    free: Mutex<(u32, usize)>,
    given_back: Condvar,
}

impl Memory {
    /// So many MiB; none for as much as is wanted.
    pub fn new(available: Option<u32>) -> Memory {
        Memory { free: Mutex::new((available.unwrap_or(u32::MAX), 0)), given_back: Condvar::new() }
    }

    /// Runs `guest` when there is memory for it. A guest for which there never will be runs alone.
    pub fn with<T>(&self, megabytes: u32, guest: impl FnOnce() -> T) -> T {
        let wanted = megabytes + OVERHEAD;
        let no_room = |free: &mut (u32, usize)| free.0 < wanted && free.1 > 0;
        let mut free = self.given_back.wait_while(self.free.lock().unwrap(), no_room).unwrap();
        let taken = wanted.min(free.0);
        *free = (free.0 - taken, free.1 + 1);
        drop(free);
        let result = guest();
        let mut free = self.free.lock().unwrap();
        *free = (free.0 + taken, free.1 - 1);
        self.given_back.notify_all();
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn the_file_of_btf_is_for_guests_in_which_btf_is_hidden() {
        let words = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        let orders = config::Boot {
            commands: vec![words("--version")],
            btf_commands: vec![words("--self-test --btf={btf}")],
            timeout: 1,
        };
        let with_file = [words("--version"), words("--self-test --btf=/tmp/vmlinux.btf")];
        assert_eq!(arguments(&orders, Btf::Hidden), with_file);
        for btf in [Btf::Yes, Btf::None] {
            assert_eq!(arguments(&orders, btf), with_file[..1]);
        }
    }

    #[test]
    fn as_many_guests_run_as_there_is_memory_for_and_one_at_least() {
        for (available, at_once) in [(Some(100), 1), (Some(1300), 2), (None, 4)] {
            let memory = Memory::new(available);
            let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        memory.with(512, || {
                            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            thread::sleep(Duration::from_millis(50));
                            running.fetch_sub(1, Ordering::SeqCst);
                        });
                    });
                }
            });
            assert!(most.load(Ordering::SeqCst) <= at_once, "{available:?}: {most:?}");
        }
    }
}
