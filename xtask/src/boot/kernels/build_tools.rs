//! What the machine must have to build a kernel.

use std::env;
use std::ffi::OsStr;

use anyhow::{Result, bail};

use crate::sys::command::Command;
use crate::sys::process::Runner;

/// The release of LLVM that builds kernels, as in the names of Debian's packages and programs. One compiler serves all
/// architectures.
pub const LLVM: &str = "19";

/// Programs, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 11] = [
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
const HEADERS: [(&str, &str); 3] = [("stdlib.h", "libc6-dev"), ("libelf.h", "libelf-dev"), ("zlib.h", "zlib1g-dev")];

/// Fails unless everything is there.
pub fn check(runner: Runner, compiler: &Command) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut missing = missing_programs(&path);
    // The compiler itself has to say what headers there are.
    if missing.iter().all(|(program, _)| !program.starts_with("clang")) {
        for (header, package) in HEADERS {
            let probe = compiler.clone().args(["-fsyntax-only", "-include", header, "-x", "c", "/dev/null"]);
            if !runner.output(&probe)?.status.success() {
                missing.push((header, package));
            }
        }
    }
    match told(&missing) {
        Some(told) => bail!("{told}"),
        None => Ok(()),
    }
}

fn missing_programs(path: &OsStr) -> Vec<(&'static str, &'static str)> {
    let is_there = |program: &str| env::split_paths(path).any(|folder| folder.join(program).is_file());
    PROGRAMS.into_iter().filter(|(program, _)| !is_there(program)).collect()
}

/// The sentence about what is missing.
fn told(missing: &[(&str, &str)]) -> Option<String> {
    if missing.is_empty() {
        return None;
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    Some(format!("there is no {} on this machine: apt install {} (Debian)", names.join(", "), packages.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_named_at_once_with_one_command_that_installs_it() {
        assert_eq!(told(&[]), None);
        assert_eq!(
            told(&[("flex", "flex"), ("pahole", "dwarves"), ("libelf.h", "libelf-dev")]).unwrap(),
            "there is no flex, pahole, libelf.h on this machine: apt install flex dwarves libelf-dev (Debian)"
        );
    }

    #[test]
    fn where_there_is_no_program_all_are_missing() {
        assert_eq!(missing_programs(OsStr::new("/nowhere")), PROGRAMS);
    }

    #[test]
    fn the_programs_are_of_one_release_of_llvm() {
        let of_llvm = PROGRAMS.iter().filter(|(_, package)| package.contains('-') && *package != "xz-utils");
        assert!(of_llvm.clone().count() == 3 && of_llvm.clone().all(|(program, _)| program.ends_with(LLVM)));
    }
}
