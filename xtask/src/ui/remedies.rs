//! What can be done about it when another program is missing or fails: recognized by its output.

use std::fmt;

use crate::ui::linker::Missing;

/// How a program is installed, in the words of each distribution.
#[derive(Debug, PartialEq, Eq)]
pub struct Installation {
    pub program: &'static str,
    pub debian: &'static str,
    pub fedora: &'static str,
    pub arch: &'static str,
    pub macos: &'static str,
}

/// What the names of QEMU's programs that are machines begin with.
const QEMU: &str = "qemu-system";
const RUSTUP: &str = "see https://rustup.rs";

const INSTALLATIONS: [Installation; 12] = [
    Installation {
        program: "python3",
        debian: "apt install python3 python3-pip",
        fedora: "dnf install python3 python3-pip",
        arch: "pacman -S python python-pip",
        macos: "brew install python",
    },
    Installation {
        program: "pip",
        debian: "apt install python3-pip",
        fedora: "dnf install python3-pip",
        arch: "pacman -S python-pip",
        macos: "brew install python",
    },
    Installation {
        program: "git",
        debian: "apt install git",
        fedora: "dnf install git",
        arch: "pacman -S git",
        macos: "brew install git",
    },
    Installation {
        program: "ssh",
        debian: "apt install openssh-client",
        fedora: "dnf install openssh-clients",
        arch: "pacman -S openssh",
        macos: "it is part of the system",
    },
    Installation {
        program: "cc",
        debian: "apt install gcc libc6-dev",
        fedora: "dnf install gcc",
        arch: "pacman -S gcc",
        macos: "xcode-select --install",
    },
    Installation { program: "rustup", debian: RUSTUP, fedora: RUSTUP, arch: "pacman -S rustup", macos: RUSTUP },
    Installation { program: "rustc", debian: RUSTUP, fedora: RUSTUP, arch: "pacman -S rustup", macos: RUSTUP },
    Installation { program: "cargo", debian: RUSTUP, fedora: RUSTUP, arch: "pacman -S rustup", macos: RUSTUP },
    Installation {
        program: "xz",
        debian: "apt install xz-utils",
        fedora: "dnf install xz",
        arch: "pacman -S xz",
        macos: "brew install xz",
    },
    Installation {
        program: QEMU,
        debian: "apt install qemu-system",
        fedora: "dnf install qemu",
        arch: "pacman -S qemu-emulators-full",
        macos: "brew install qemu",
    },
    Installation {
        program: "docker",
        debian: "apt install docker.io",
        fedora: "dnf install moby-engine",
        arch: "pacman -S docker",
        macos: "brew install docker",
    },
    Installation {
        program: "podman",
        debian: "apt install podman",
        fedora: "dnf install podman",
        arch: "pacman -S podman",
        macos: "brew install podman",
    },
];

/// How to install a program, if we know it.
pub fn installation(program: &str) -> Option<&'static Installation> {
    let program = if program.starts_with(QEMU) { QEMU } else { program };
    INSTALLATIONS.iter().find(|row| row.program == program)
}

/// What can be done when a part of the toolchain or of the cache is not where it was put.
pub fn restoration(program: &str) -> &'static str {
    match program {
        "cargo" | "rustc" => "install the toolchain again with rustup",
        _ => "remove its folder, and run this again",
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Installation { debian, fedora, arch, macos, .. } = self;
        if debian == fedora && debian == macos {
            return write!(f, "{debian}");
        }
        write!(f, "{debian} (Debian), {fedora} (Fedora), {arch} (Arch), {macos} (macOS)")
    }
}

/// A way to fail that users meet.
#[derive(Debug, PartialEq, Eq)]
pub struct Remedy {
    /// The programs that print it, or none for any.
    programs: &'static [&'static str],
    /// Any of these in the output identifies it. They are the program's words, and unambiguous: a
    /// wrong remedy is worse than none.
    clues: &'static [&'static str],
    pub reason: &'static str,
    pub remedy: &'static str,
}

/// cargo while it compiles: its output is then that of compilers, linkers and build scripts. Everything else of cargo's
/// is `cargo`, which talks to the network.
pub const BUILD: &str = "cargo build";

/// Programs that use the network, with proxies and certificates from the user's environment.
const FETCHING: &[&str] = &["python3", "rustup", "rustc", "cargo", "apt-get"];

/// Container engines.
const ENGINES: &[&str] = &["docker", "podman"];

/// The first match is taken, so a clue that appears along with another one comes after it.
const REMEDIES: &[Remedy] = &[
    Remedy {
        programs: ENGINES,
        clues: &["no space left on device"],
        reason: "the disk on which the engine keeps its images is full",
        remedy: "free some space there; its `system df` shows what uses it",
    },
    Remedy {
        programs: &["python3", "zig"],
        clues: &["No space left on device", "NoSpaceLeft", "Disk quota exceeded"],
        reason: "the disk is full",
        remedy: "free some space, or set BPFSHIP_CACHE to a folder on a larger disk",
    },
    Remedy {
        programs: &["cargo"],
        clues: &["No space left on device", "Disk quota exceeded"],
        reason: "the disk is full",
        remedy: "free some space, or set CARGO_HOME to a folder on a larger disk",
    },
    Remedy {
        programs: &[BUILD],
        clues: &["No space left on device", "Disk quota exceeded"],
        reason: "the disk is full",
        remedy: "free some space, or have the build elsewhere (CARGO_TARGET_DIR for binaries, BPFSHIP_CACHE for standard libraries)",
    },
    Remedy {
        programs: &[],
        clues: &["No space left on device", "Disk quota exceeded"],
        reason: "the disk is full",
        remedy: "free some space",
    },
    Remedy {
        programs: &["rustup"],
        clues: &["Read-only file system", "Permission denied"],
        reason: "rustup may not write where it keeps toolchains",
        remedy: "run this as the owner of that folder (RUSTUP_HOME), or install your own rustup",
    },
    Remedy {
        programs: &["cargo"],
        clues: &["Cargo.toml`\n\nCaused by:\n  Permission denied"],
        reason: "a Cargo.toml cannot be read",
        remedy: "check its permissions",
    },
    Remedy {
        programs: &["cargo"],
        // What stands before it is the name of a file: a program that may not be started has another message.
        clues: &["`\n\nCaused by:\n  Read-only file system", "`\n\nCaused by:\n  Permission denied"],
        reason: "cargo may not write where it keeps crates",
        remedy: "set CARGO_HOME to a folder of your own",
    },
    Remedy {
        programs: FETCHING,
        clues: &[
            "Tunnel connection failed",
            "Cannot connect to proxy",
            "ProxyError(",
            "CONNECT tunnel failed",
            "from proxy after CONNECT",
            "Could not resolve proxy",
            "tunnel error: ",
        ],
        reason: "the proxy does not answer, or does not let it through",
        remedy: "see that HTTPS_PROXY names one that works, with user and password if it wants them, and NO_PROXY what needs none",
    },
    Remedy {
        programs: FETCHING,
        clues: &[
            "CERTIFICATE_VERIFY_FAILED",
            "certificate verify failed",
            "certificate verification failed",
            "invalid peer certificate",
            "SSL certificate problem",
            "the SSL certificate is invalid",
        ],
        reason: "the server's certificate is not trusted",
        remedy: "set PIP_CERT, CARGO_HTTP_CAINFO and SSL_CERT_FILE to your organisation's certificates",
    },
    Remedy {
        programs: FETCHING,
        clues: &[
            "Temporary failure in name resolution",
            "Temporary failure resolving",
            "Could not resolve '",
            "Could not connect to",
            "Name or service not known",
            "NameResolutionError(",
            "failed to lookup address",
            "failed to resolve address",
            "dns error",
            "Could not resolve host",
            "Couldn't resolve host",
            "Network is unreachable",
            "Connection refused",
            "Connection aborted",
            "Connection reset",
            "connection reset",
            "timed out",
            "Timeout was reached",
            "Couldn't connect to server",
            "NewConnectionError(",
            "network failure seems to have happened",
            "error sending request",
        ],
        reason: "the network does not answer",
        remedy: "see that this machine is connected, and that HTTPS_PROXY is right, or not set where no proxy is needed",
    },
    Remedy {
        programs: &["python3"],
        clues: &["No module named pip", "No module named 'pip'"],
        reason: "python3 has no pip",
        remedy: "install it: apt install python3-pip (Debian), dnf install python3-pip (Fedora), pacman -S python-pip (Arch), \
                 brew install python (macOS)",
    },
    Remedy {
        programs: &["python3"],
        // The last is all that an old pip sees: it does not know what today's wheels are called.
        clues: &["unknown command \"download\"", "no such option: --require-hashes", "(from versions: 0.0.0)"],
        reason: "this pip is too old",
        remedy: "bring it up to date: python3 -m pip install --user --upgrade pip",
    },
    Remedy {
        programs: &["python3"],
        clues: &["DO NOT MATCH THE HASHES"],
        reason: "what came is not the pinned file",
        remedy: "try again; if that does not help, a mirror in pip's configuration (`python3 -m pip config list`) serves another one",
    },
    Remedy {
        programs: &["python3"],
        clues: &["error: incomplete-download"],
        reason: "the download was cut off",
        remedy: "try again; if it is cut off each time, see whether the disk of BPFSHIP_CACHE is full, which pip does not report",
    },
    Remedy {
        programs: &["python3"],
        // pip prints no more about a server that does not answer when it may not retry.
        clues: &["(from versions: none)", "(from versions: )"],
        reason: "the package index does not answer, or has no such package",
        remedy: "see that this machine is connected, and which index pip asks: python3 -m pip config list",
    },
    Remedy {
        programs: &["python3"],
        clues: &["No matching distribution found"],
        reason: "the package index does not have this version",
        remedy: "see which index pip asks: python3 -m pip config list",
    },
    Remedy {
        programs: &["rustup"],
        clues: &[
            "request returned an unsuccessful status code",
            "does not contain component",
            "is unavailable for download for channel",
            "has no prebuilt artifacts available for target",
        ],
        reason: "the server that rustup asks does not have it",
        remedy: "see RUSTUP_DIST_SERVER; a standard library can also be built from its sources (`--std source`)",
    },
    Remedy {
        programs: &["rustc", "rustup"],
        clues: &["' is not installed", "no default is configured"],
        reason: "rustup does not have the Rust that this workspace wants",
        remedy: "install it: rustup toolchain install",
    },
    Remedy {
        programs: &["rustc", "rustup"],
        clues: &["is not applicable to the"],
        reason: "the toolchain is not whole",
        remedy: "install it again: rustup toolchain uninstall, and then rustup toolchain install",
    },
    Remedy {
        programs: &["cargo"],
        clues: &["failed to get successful HTTP response", "config.json not found in registry"],
        reason: "the registry does not have it, or does not hand it out",
        remedy: "see which registry cargo asks (`[source]` in its configuration), and log in if it wants that",
    },
    Remedy {
        programs: &["cargo", BUILD],
        clues: &["--offline was specified", "you're using offline mode (--offline)"],
        reason: "a crate was never downloaded",
        remedy: "run once without --offline",
    },
    Remedy {
        programs: &["git"],
        clues: &["detected dubious ownership"],
        reason: "the folder belongs to somebody else, which git takes for a trap",
        remedy: "trust it: git config --global --add safe.directory FOLDER",
    },
    Remedy {
        programs: ENGINES,
        clues: &["/v2/\": "],
        reason: "the registry does not answer",
        remedy: "see that the engine can reach it: docker's daemon has its own proxy and certificates",
    },
    Remedy {
        programs: &["docker"],
        clues: &["permission denied while trying to connect"],
        reason: "you may not talk to its daemon",
        remedy: "add yourself to the group `docker`, or use podman",
    },
    Remedy {
        programs: &[BUILD],
        clues: &["(signal: 9, SIGKILL: kill)", "failed: signal: 9 (SIGKILL)"],
        reason: "the compiler or a build script was killed, most likely because the machine ran out of memory",
        remedy: "build less at once: set CARGO_BUILD_JOBS=1, or name one --arch at a time",
    },
    Remedy {
        programs: &[BUILD],
        clues: &[
            "no `AtomicU64` in `sync::atomic`",
            "no `AtomicI64` in `sync::atomic`",
            "cannot find `AtomicU64` in `atomic`",
            "cannot find `AtomicI64` in `atomic`",
            "cannot find type `AtomicU64` in module `std::sync::atomic`",
            "cannot find type `AtomicI64` in module `std::sync::atomic`",
            "cannot find type `AtomicU64` in module `core::sync::atomic`",
            "cannot find type `AtomicI64` in module `core::sync::atomic`",
            "rust-lld: error: undefined symbol: __atomic_",
            "rust-lld: error: undefined symbol: __sync_",
        ],
        reason: "the code uses 64-bit atomics, which a 32-bit processor does not have",
        remedy: "use those of the crate portable-atomic, or leave the architecture out of `arches`",
    },
    Remedy {
        programs: &[BUILD],
        clues: &[
            "error occurred in cc-rs: failed to find tool",
            "error occurred: Failed to find tool",
            "kind: ToolNotFound",
            "is `cmake` not installed",
        ],
        reason: "a crate compiles C code with a program that is not on this machine",
        remedy: "install it, or use a feature of the crate that does not need it",
    },
    Remedy {
        programs: &[BUILD],
        clues: &[
            "pkg-config has not been configured to support cross-compilation",
            "Could not find directory of OpenSSL",
            "The system library `",
        ],
        reason: "a crate looks for a library of the system, and there is none for the target",
        remedy: "enable a feature of the crate that brings the sources along (often `vendored` or `bundled`), or leave it out",
    },
    Remedy {
        programs: &[BUILD],
        clues: &["error: linker `cc` not found"],
        reason: "there is no cc on this machine, with which build scripts and procedural macros are linked",
        remedy: "install it: apt install gcc libc6-dev (Debian), dnf install gcc (Fedora), pacman -S gcc (Arch), \
                 xcode-select --install (macOS)",
    },
    Remedy {
        programs: &[BUILD],
        clues: &["rust-lld: error: undefined symbol: "],
        reason: "linking failed, because a symbol is undefined",
        remedy: "link what defines it for this target, or use a feature of that crate, or another crate, that does not need it",
    },
    Remedy {
        programs: &[BUILD],
        clues: &["rust-lld: error: unable to find library -l"],
        reason: "linking failed, because a library is missing for this target",
        remedy: "use a feature of the crate that links it, or another crate, that does not need it",
    },
    Remedy {
        programs: &[BUILD],
        clues: &["rust-lld: error: can't find matching R_MIPS_"],
        reason: "linking failed, because assembler of a crate holds half an address: rust-lld would put a wrong one in its place",
        remedy: "use a feature of the crate that compiles C instead, or leave the architecture out of `arches`",
    },
    Remedy {
        programs: &[BUILD],
        clues: &["error: linking with `"],
        reason: "linking failed",
        remedy: "see the linker's words above",
    },
    Remedy {
        programs: &[BUILD],
        clues: &["can't find crate for `std`", "can't find crate for `core`"],
        reason: "the standard library is not whole",
        remedy: "remove it (cargo xtask cache clean, or rustup target remove) and run this again",
    },
    Remedy {
        programs: &[BUILD],
        clues: &["is not supported by the following package"],
        reason: "a crate wants a newer Rust than the pinned one",
        remedy: "take an older version of it (cargo update NAME --precise VERSION), or pin a newer Rust in rust-toolchain.toml",
    },
    Remedy {
        programs: &[BUILD],
        clues: &["error: failed to run custom build command", "error: build script logged errors"],
        reason: "its build script failed",
        remedy: "see its words above",
    },
];

/// What can be done about the failure of a program with this output.
pub fn find(program: &str, output: &str) -> Option<&'static Remedy> {
    known(program, output).map(|(remedy, _)| remedy)
}

/// The same in words, with what a linker lacks and who needs it.
pub fn verdict(program: &str, output: &str) -> Option<String> {
    let (row, clue) = known(program, output)?;
    Some(match Missing::find(output, clue) {
        Some(missing) => format!("{} ({missing}): {}", row.reason, row.remedy),
        None => row.to_string(),
    })
}

/// The remedy, and the clue that it is known by.
fn known(program: &str, output: &str) -> Option<(&'static Remedy, &'static str)> {
    let rows = REMEDIES.iter().filter(|row| row.programs.is_empty() || row.programs.contains(&program));
    rows.flat_map(|row| row.clues.iter().map(move |clue| (row, *clue))).find(|(_, clue)| output.contains(clue))
}

/// What can be done when such a program fails for an unknown reason.
pub fn last_resort(program: &str) -> Option<&'static str> {
    ENGINES.contains(&program).then_some("fix the problem above, or use --engine host, which needs no container")
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.remedy)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Program, the start of the expected reason, and the program's output.
    fn output() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        include_str!("remedies-samples.txt").split("\n== ").skip(1).map(|entry| {
            let (head, words) = entry.split_once('\n').unwrap();
            let (program, reason) = head.split_once(": ").unwrap();
            (program, reason, words)
        })
    }

    #[test]
    fn a_failure_is_known_by_the_words_of_the_real_program() {
        for (program, reason, output) in output() {
            let found = find(program, output).unwrap_or_else(|| panic!("{program}: {output}"));
            assert!(found.reason.starts_with(reason), "{program}: {output}\n{found}");
        }
    }

    #[test]
    fn every_remedy_has_a_sample() {
        let found: BTreeSet<&str> =
            output().filter_map(|(program, _, words)| Some(find(program, words)?.remedy)).collect();
        for row in REMEDIES {
            assert!(found.contains(row.remedy), "{row}");
        }
    }

    #[test]
    fn what_merely_sounds_like_a_failure_is_not_taken_for_one() {
        for output in [
            "error[E0277]: `AtomicU64` cannot be shared between threads safely",
            "error: this test timed out, see the manual: Connection refused",
            "error: expected `;`, found `404`",
            "error: custom attribute panicked\n  = help: message: the proxy made a tunnel error: none",
            "error[E0432]: unresolved import `crate::counters::AtomicU64`\n  no `AtomicU64` in `counters`",
            "error: a file `/tmp/x` is needed\n\nCaused by:\n  Permission denied (os error 13)",
        ] {
            assert_eq!(find(BUILD, output), None, "{output}");
        }
        let never_started = "error: could not execute process `rustc -vV` (never executed)\n\nCaused by:\n  Permission denied (os error 13)";
        assert_eq!(find("cargo", never_started), None);
        // It looks for a compiler, does without, and fails for another reason.
        let tolerated = "error: failed to run custom build command for `a`\n  cargo:warning=Compiler family detection failed due to error: ToolNotFound: failed to find tool \"x86_64-linux-musl-gcc\": No such file or directory (os error 2)\n  --- stderr\n  no protoc";
        assert_eq!(find(BUILD, tolerated).unwrap().reason, "its build script failed");
    }
}
