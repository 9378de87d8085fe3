//! What is true of this machine that boots depend on.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};

use crate::arch::Arch;
use crate::boot::guest_package::GUEST_CRATE;
use crate::boot::kernel_image;
use crate::boot::kernels::from_source::{self, BuildTools};
use crate::boot::kernels::recipe::LLVM;
use crate::boot::kernels::{Kernel, Source};
use crate::boot::select::{Guest, Origin};
use crate::debian::apt::Mirror;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::sys::process::{self, Runner};
use crate::ui::error::bad_request;
use crate::ui::status::{Found, State, Status};
use crate::workspace::facts::Facts;

/// Programs that build kernels, and the Debian packages that have them.
const BUILD_PROGRAMS: [(&str, &str); 11] = [
    ("clang-19", "clang-19"),
    ("ld.lld-19", "lld-19"),
    ("llvm-objcopy-19", "llvm-19"),
    ("make", "make"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    // Makes BTF of the compiler's debug information.
    ("pahole", "pahole"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
    ("nice", "coreutils"),
];

/// What the programs of the kernel's build are themselves built with, and the packages that have it.
const BUILD_HEADERS: [(&str, &str); 3] =
    [("stdlib.h", "libc6-dev"), ("libelf.h", "libelf-dev"), ("zlib.h", "zlib1g-dev")];

/// What this machine has for booting certain guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The versions of QEMU, by the names of architectures.
    pub qemu: BTreeMap<&'static str, Found>,
    /// Where Debian's packages come from. `None` if no kernel must be fetched.
    pub mirror: Option<Found<Mirror>>,
    /// What builds kernels. `None` if no kernel must be built.
    pub build_tools: Option<Found<BuildTools>>,
    /// MiB of memory that guests may have between them; none if that cannot be known.
    pub memory: Option<u32>,
    /// SHA-256 of the workspace's Cargo.lock, if that knows the crates of the first process: a workspace that depends on
    /// this tool has them already.
    pub lock: Option<Sha256>,
}

impl Host {
    /// Reads what these guests need, and no more. Refuses a file of the user's that is no kernel.
    pub fn read(runner: Runner, facts: &Facts, guests: &[Guest]) -> Result<Host> {
        let mut qemu = BTreeMap::new();
        let mut missing = Vec::new();
        for guest in guests {
            qemu.entry(guest.arch.name).or_insert_with(|| qemu_version(runner, guest.arch));
            match &guest.origin {
                Origin::File(file) => {
                    if let Err(error) = files::read(file).and_then(|bytes| kernel_image::prepare(&bytes, guest.arch)) {
                        bad_request!("--kernel {} cannot be booted: {error:#}", file.display());
                    }
                }
                Origin::Table(kernel, pin) => {
                    let is_cached = facts.installed.cached.contains(&kernel.entry(pin.as_ref()));
                    missing.extend((!is_cached).then_some(*kernel));
                }
            }
        }
        let (mirror, build_tools) = suppliers(runner, &facts.passed_on, &missing);
        Ok(Host {
            qemu,
            mirror,
            build_tools,
            memory: files::read_if_there(Path::new("/proc/meminfo"))?.and_then(|text| available(&text)),
            lock: lock(facts)?,
        })
    }
}

/// Where kernels that are not in the cache come from, and what builds them; each only if one of them needs it.
pub fn suppliers(
    runner: Runner,
    passed_on: &BTreeMap<String, String>,
    missing: &[&Kernel],
) -> (Option<Found<Mirror>>, Option<Found<BuildTools>>) {
    let builds = missing.iter().any(|kernel| matches!(kernel.source, Source::Built(_)));
    ((!missing.is_empty()).then(|| Mirror::find(runner)), builds.then(|| BuildTools::find(runner, passed_on)))
}

/// The version of QEMU for an architecture, as it prints it.
pub fn qemu_version(runner: Runner, arch: &Arch) -> Found {
    let program = arch.emulator();
    let text = runner.read(&Command::new(&program, Path::new("/")).arg("--version"))?;
    match text.lines().next().and_then(|line| line.split_once("version ")) {
        Some((_, version)) => Ok(version.into()),
        None => Err(Status::new(State::NeedsYou, format!("`{program} --version` prints no version"))),
    }
}

fn lock(facts: &Facts) -> Result<Option<Sha256>> {
    let has_crate = facts.members.iter().chain(&facts.packages).any(|package| package.name == GUEST_CRATE);
    has_crate.then(|| hash::file(&facts.sources.workspace.join("Cargo.lock"))).transpose()
}

impl BuildTools {
    /// What builds kernels. `passed_on` is what a build sees of the user's environment.
    pub fn find(runner: Runner, passed_on: &BTreeMap<String, String>) -> Found<BuildTools> {
        let is_missing = |(program, _): &(&str, &str)| process::on_path(program).next().is_none();
        let mut missing: Vec<_> = BUILD_PROGRAMS.into_iter().filter(is_missing).collect();
        let compiler = from_source::tool(&format!("clang-{LLVM}"), Path::new("/"), passed_on);
        // Only the compiler knows which headers there are.
        if missing.iter().all(|(program, _)| !program.starts_with("clang")) {
            for (header, package) in BUILD_HEADERS {
                let probe = compiler.clone().args(["-fsyntax-only", "-include", header, "-x", "c", "/dev/null"]);
                if !runner.output(&probe)?.status.success() {
                    missing.push((header, package));
                }
            }
        }
        if let Some(status) = describe_missing(&missing) {
            return Err(status);
        }
        let first_line = |command: Command| -> Result<String> {
            let text = runner.read(&command.arg("--version"))?;
            Ok(text.lines().next().unwrap_or_default().trim().to_owned())
        };
        let jobs = match passed_on.get("CARGO_BUILD_JOBS") {
            Some(jobs) => jobs.parse().with_context(|| format!("CARGO_BUILD_JOBS is `{jobs}`, expected a number"))?,
            None => thread::available_parallelism().map_or(1, usize::from),
        };
        Ok(BuildTools {
            compiler: first_line(compiler)?,
            pahole: first_line(from_source::tool("pahole", Path::new("/"), passed_on))?,
            jobs,
        })
    }
}

/// What is missing, and one command that installs it.
fn describe_missing(missing: &[(&str, &str)]) -> Option<Status> {
    if missing.is_empty() {
        return None;
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    let detail = format!("there is no {} on this machine", names.join(", "));
    Some(Status::missing(detail, format!("apt install {} (Debian)", packages.join(" "))))
}

/// The memory that programs may still take, in MiB.
fn available(meminfo: &str) -> Option<u32> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    u32::try_from(kilobytes / 1024).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_named_at_once_with_one_command_that_installs_it() {
        assert_eq!(describe_missing(&[]), None);
        assert_eq!(
            describe_missing(&[("flex", "flex"), ("pahole", "dwarves"), ("libelf.h", "libelf-dev")])
                .unwrap()
                .sentence(),
            "there is no flex, pahole, libelf.h on this machine: apt install flex dwarves libelf-dev (Debian)"
        );
    }

    #[test]
    fn the_programs_are_of_one_release_of_llvm() {
        let of_llvm = BUILD_PROGRAMS.iter().filter(|(_, package)| package.contains('-') && *package != "xz-utils");
        assert!(of_llvm.clone().count() == 3 && of_llvm.clone().all(|(program, _)| program.ends_with(LLVM)));
    }

    #[test]
    fn the_memory_is_what_is_available() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2097152 kB\n"), Some(2048));
        assert_eq!(available(""), None);
    }
}
