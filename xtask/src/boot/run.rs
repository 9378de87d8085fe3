//! The steps of a boot that only this tool can do: booting guests, and the report.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use bpfship_guest::config::GuestConfig;
use bpfship_guest::message::facts;
use serde_json::{Value, json};

use crate::arch::Arch;
use crate::boot::console::Console;
use crate::boot::machines;
use crate::boot::memory::Memory;
use crate::boot::select::Guest;
use crate::boot::verdict::{self, Request};
use crate::boot::{initramfs, kernel_image, kernels};
use crate::build::run::Built;
use crate::release::boot_report::{self, REPORT, Report, Verdict};
use crate::release::pack;
use crate::sys::command::{Command, quote};
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::sys::plan::{Slot, Step, Work};
use crate::sys::process::Watched;
use crate::sys::steps::Write;
use crate::ui::error;

/// Brings a kernel file of the user's into the form that QEMU takes.
#[derive(Debug)]
pub struct PrepareImage {
    pub from: PathBuf,
    pub arch: &'static Arch,
    pub to: PathBuf,
}

impl Step for PrepareImage {
    fn line(&self) -> String {
        format!("# write {} to {}, unpacked if it is packed", quote(&self.from), quote(&self.to))
    }

    fn json(&self) -> Value {
        json!({ "prepare-image": { "from": self.from, "arch": self.arch, "to": self.to } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        files::write(&self.to, kernel_image::prepare(&files::read(&self.from)?, self.arch)?)
    }
}

/// How a boot went.
#[derive(Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    pub seconds: f64,
    pub console: Console,
}

/// Boots one guest, and ends it when it is done or has taken too long. That it fails is an outcome, and no error.
#[derive(Debug)]
pub struct BootGuest {
    pub guest: Guest,
    /// What is run: the name of a binary and its arguments, and each command as a user would type it.
    pub words: Vec<Vec<String>>,
    pub commands: Vec<String>,
    /// The file that the kernel's BTF is moved to, if it is hidden.
    pub hide_btf: Option<String>,
    /// What lines hold after which a command is interrupted.
    pub interrupt_after: Vec<String>,
    /// `NAME=VALUE`.
    pub environment: Vec<String>,
    /// Seconds.
    pub timeout: u64,
    /// The name of what `built` gives.
    pub first_process: String,
    pub initramfs: PathBuf,
    pub qemu: Command,
    pub memory: Arc<Memory>,
    /// The first process, by target, and the binaries.
    pub built: Slot<Built>,
    pub binaries: Slot<BTreeMap<String, Vec<u8>>>,
    pub outcome: Slot<Outcome>,
}

impl Step for BootGuest {
    fn line(&self) -> String {
        let initramfs = quote(&self.initramfs);
        format!(
            "# make {initramfs} of the first process, the binaries and what to run: {}\n{}",
            self.commands.join("; "),
            self.qemu
        )
    }

    fn json(&self) -> Value {
        json!({ "boot-guest": {
            "arch": self.guest.arch, "kernel": self.guest.label, "archive": self.guest.artifact.file,
            "commands": self.commands, "timeout": self.timeout, "initramfs": self.initramfs, "run": self.qemu,
        } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let outcome = self.memory.with(self.guest.machine.memory, || self.boot(work))?;
        self.outcome.put(outcome)
    }
}

impl BootGuest {
    fn boot(&self, work: &Work) -> Result<Outcome> {
        work.show(&self.guest.label);
        let with_path = |words: &Vec<String>| match words.as_slice() {
            [bin, arguments @ ..] => [&[initramfs::program(bin)], arguments].concat(),
            [] => Vec::new(),
        };
        let config = GuestConfig {
            nonce: hash::nonce()?,
            hide_btf: self.hide_btf.clone(),
            interrupt_after: self.interrupt_after.clone(),
            environment: self.environment.clone(),
            commands: self.words.iter().map(with_path).collect(),
        };
        let (built, triple) = (self.built.get()?, self.guest.arch.triple);
        let first_process = files::read(built.binary(triple, &self.first_process)?)?;
        let archive = initramfs::compose(&first_process, self.binaries.get()?, &config);
        files::write(&self.initramfs, pack::gzip(&archive)?)?;

        let begin = Instant::now();
        let mut console = Console::new(config.nonce);
        let watched = work.runner.watch(&self.qemu, None, Duration::from_secs(self.timeout), |text| {
            if let Some(seen) = console.push_line(text) {
                work.show(&format!("{}: {seen}", self.guest.label));
            }
            if console.is_done() || self.guest.kvm && console.has_stopped() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        let ended = match watched {
            Watched::Stopped if !console.is_done() => verdict::Ended::Alone("stopped the guest".into()),
            Watched::Stopped => verdict::Ended::Done,
            Watched::Late => verdict::Ended::Late(self.timeout),
            Watched::Ended(status) if status.success() => verdict::Ended::Alone("ended".into()),
            Watched::Ended(status) => verdict::Ended::Alone(error::ended(status)),
        };
        let request = Request { commands: &self.commands, hides_btf: self.hide_btf.is_some() };
        let seconds = (begin.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        Ok(Outcome { verdict: verdict::judge(&console, &ended, request), seconds, console })
    }
}

/// What the report contains of a boot and is known before it.
#[derive(Debug)]
pub struct Booted {
    pub guest: Guest,
    pub commands: Vec<String>,
    /// The kernel that QEMU was given.
    pub image: PathBuf,
    pub qemu_version: String,
    pub outcome: Slot<Outcome>,
}

/// Writes files that this program carries to a folder, where they are not there already.
#[derive(Debug)]
pub struct WriteCarried {
    pub folder: PathBuf,
    pub files: &'static [(&'static str, &'static str)],
}

impl WriteCarried {
    fn names(&self) -> Vec<&'static str> {
        self.files.iter().map(|(name, _)| *name).collect()
    }
}

impl Step for WriteCarried {
    fn line(&self) -> String {
        format!("# write to {} what this program carries: {}", quote(&self.folder), self.names().join(", "))
    }

    fn json(&self) -> Value {
        json!({ "write-carried": { "folder": self.folder, "files": self.names() } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let write =
            |(name, text): &(&str, &str)| Write { file: self.folder.join(name), text: (*text).into() }.run(work);
        self.files.iter().try_for_each(write)
    }
}

/// Writes the report, with the entries of the previous one for archives that are still there.
#[derive(Debug)]
pub struct WriteReport {
    pub dist: PathBuf,
    /// SHA-256 of the archives in dist/.
    pub archives: Vec<Sha256>,
    pub boots: Vec<Booted>,
    /// What was added to the report.
    pub added: Slot<Vec<boot_report::Boot>>,
}

impl Step for WriteReport {
    fn line(&self) -> String {
        format!("# write {}: the boots of this run, and its other entries", quote(&self.dist.join(REPORT)))
    }

    fn json(&self) -> Value {
        json!({ "write-report": { "file": self.dist.join(REPORT) } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let boots: Vec<_> = self.boots.iter().map(Booted::describe).collect::<Result<_>>()?;
        let path = self.dist.join(REPORT);
        let known = files::read_if_there(&path)?.map(|text| Report::parse(&text));
        if known == Some(None) {
            work.runner.status(format!("{REPORT} is not one that this version understands: it is written anew"));
        }
        let mut report = known.flatten().unwrap_or_default();
        report.add(boots.clone(), |sha256| self.archives.iter().any(|archive| archive == sha256));
        files::replace(&[(path, report.to_json()?.as_bytes())])?;
        self.added.put(boots)
    }
}

impl Booted {
    fn describe(&self) -> Result<boot_report::Boot> {
        let Guest { artifact, arch, label, machine, kvm, .. } = &self.guest;
        let (machine, cpu) = machines::words(machine, arch, *kvm);
        let outcome = self.outcome.get()?;
        let fact = |name: &str| outcome.console.fact(name).map(String::from);
        let number = |name: &str| outcome.console.fact(name).and_then(|text| text.parse().ok());
        let record = files::read_if_there(&self.image.with_file_name(kernels::RECORD))?;
        Ok(boot_report::Boot {
            arch,
            file: artifact.file.clone(),
            sha256: artifact.sha256,
            binaries: artifact.binaries.iter().map(|binary| (binary.file.clone(), binary.sha256)).collect(),
            kernel: boot_report::Kernel {
                label: label.clone(),
                sha256: hash::file(&self.image)?,
                source: record.and_then(|text| serde_json::from_str(&text).ok()),
                release: fact(facts::RELEASE),
                btf: number(facts::BTF),
                hidden_btf: number(facts::HIDDEN_BTF),
                jit: fact(facts::JIT),
                page: number(facts::PAGE),
            },
            qemu: self.qemu_version.clone(),
            machine,
            cpu,
            commands: self.commands.clone(),
            verdict: outcome.verdict.clone(),
            seconds: outcome.seconds,
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        })
    }
}
