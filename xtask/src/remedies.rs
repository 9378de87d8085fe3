//! What can be done about it when another program is missing or fails: known by what it said.

use std::fmt;

/// How a program is installed, in the words of each distribution.
#[derive(Debug, PartialEq, Eq)]
pub struct Installation {
    pub program: &'static str,
    pub debian: &'static str,
    pub fedora: &'static str,
    pub arch: &'static str,
    pub macos: &'static str,
}

const RUSTUP: &str = "see https://rustup.rs";

const INSTALLATIONS: [Installation; 8] = [
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
        program: "cc",
        debian: "apt install gcc libc6-dev",
        fedora: "dnf install gcc",
        arch: "pacman -S gcc",
        macos: "xcode-select --install",
    },
    Installation { program: "rustup", debian: RUSTUP, fedora: RUSTUP, arch: "pacman -S rustup", macos: RUSTUP },
    Installation { program: "rustc", debian: RUSTUP, fedora: RUSTUP, arch: "pacman -S rustup", macos: RUSTUP },
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
    INSTALLATIONS.iter().find(|row| row.program == program)
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
    /// The program that says it, or empty for any.
    program: &'static str,
    /// It is this one if the program said any of these.
    clues: &'static [&'static str],
    pub reason: &'static str,
    pub remedy: &'static str,
}

/// The first that fits holds, so what is said along with something else comes after it.
const REMEDIES: [Remedy; 17] = [
    Remedy {
        program: "",
        clues: &["No space left on device", "os error 28", "Disk quota exceeded"],
        reason: "the disk is full",
        remedy: "free some space, or set XTASK_CACHE and TMPDIR to folders on a larger disk",
    },
    Remedy {
        program: "",
        clues: &[
            "Tunnel connection failed",
            "ProxyError",
            "CONNECT tunnel failed",
            "from proxy after CONNECT",
            "resolve proxy",
        ],
        reason: "the proxy does not let it through",
        remedy: "see that HTTPS_PROXY names a proxy that works, and NO_PROXY what needs none",
    },
    Remedy {
        program: "",
        clues: &[
            "CERTIFICATE_VERIFY_FAILED",
            "certificate verify failed",
            "invalid peer certificate",
            "SSL certificate problem",
        ],
        reason: "the server's certificate is not trusted",
        remedy: "set PIP_CERT, CARGO_HTTP_CAINFO and SSL_CERT_FILE to your organisation's certificates",
    },
    Remedy {
        program: "",
        clues: &[
            "Temporary failure in name resolution",
            "Temporary failure resolving",
            "Could not resolve '",
            "Could not connect to",
            "Name or service not known",
            "failed to lookup address",
            "dns error",
            "Could not resolve host",
            "Couldn't resolve host",
            "Network is unreachable",
            "Connection refused",
            "Connection reset",
            "connection reset",
            "timed out",
            "Couldn't connect to server",
            "NewConnectionError",
            "error sending request",
        ],
        reason: "the network does not answer",
        remedy: "see that this machine is connected, and that HTTPS_PROXY is set if it needs a proxy",
    },
    Remedy {
        program: "python3",
        clues: &["No module named pip", "No module named 'pip'"],
        reason: "python3 has no pip",
        remedy: "install it: apt install python3-pip (Debian), dnf install python3-pip (Fedora), pacman -S python-pip (Arch), \
                 brew install python (macOS)",
    },
    Remedy {
        program: "python3",
        clues: &["no such option"],
        reason: "this pip is too old",
        remedy: "bring it up to date: python3 -m pip install --user --upgrade pip",
    },
    Remedy {
        program: "python3",
        clues: &["DO NOT MATCH THE HASHES"],
        reason: "what came is not the pinned file",
        remedy: "try again; if that does not help, a mirror in pip's configuration (`python3 -m pip config list`) serves another one",
    },
    Remedy {
        program: "python3",
        clues: &["No matching distribution found", "Could not find a version"],
        reason: "the package index does not have it",
        remedy: "see which index pip asks: python3 -m pip config list",
    },
    Remedy {
        program: "rustup",
        clues: &["404", "does not contain component", "unavailable for download", "does not support component"],
        reason: "the server that rustup asks does not have it",
        remedy: "see RUSTUP_DIST_SERVER, or take the route that needs no download of it (`--std source`)",
    },
    Remedy {
        program: "cargo",
        clues: &["signal: 9"],
        reason: "the compiler was killed: most likely, the machine ran out of memory",
        remedy: "build less at once: set CARGO_BUILD_JOBS=1, or name one --arch at a time",
    },
    Remedy {
        program: "cargo",
        clues: &["AtomicU64", "AtomicI64"],
        reason: "the code uses 64-bit atomics, which a 32-bit processor does not have",
        remedy: "use those of the crate portable-atomic, or leave the architecture out of `arches`",
    },
    Remedy {
        program: "cargo",
        clues: &[
            "failed to find tool",
            "ToolNotFound",
            "error occurred in cc-rs",
            "is `cmake` not installed",
            "pkg-config has not been configured to support cross-compilation",
            "Could not find directory of OpenSSL",
        ],
        reason: "a crate compiles or looks for C code, and the build has no C compiler for the target",
        remedy: "use a crate, or a feature of it, that is Rust alone",
    },
    Remedy {
        program: "cargo",
        clues: &["undefined symbol", "unable to find library"],
        reason: "linking failed: something is called that no crate brings along, C code most likely",
        remedy: "use a crate, or a feature of it, that is Rust alone",
    },
    Remedy {
        program: "cargo",
        clues: &["linking with"],
        reason: "linking failed",
        remedy: "see the linker's words above",
    },
    Remedy {
        program: "cargo",
        clues: &["can't find crate for `std`", "can't find crate for `core`"],
        reason: "the standard library is not whole",
        remedy: "remove it (cargo xtask cache clean, or rustup target remove) and run this again",
    },
    Remedy {
        program: "cargo",
        clues: &["error: failed to run custom build command"],
        reason: "a build script failed",
        remedy: "see its words above",
    },
    Remedy {
        program: "docker",
        clues: &["permission denied while trying to connect"],
        reason: "you may not talk to its daemon",
        remedy: "add yourself to the group `docker`, or use podman",
    },
];

/// What can be done about the failure of a program that said this.
pub fn find(program: &str, said: &str) -> Option<&'static Remedy> {
    let fits = |row: &&Remedy| {
        (row.program.is_empty() || row.program == program) && row.clues.iter().any(|clue| said.contains(clue))
    };
    REMEDIES.iter().find(fits)
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.remedy)
    }
}
