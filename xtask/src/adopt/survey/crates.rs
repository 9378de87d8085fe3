//! What is known of crates that compile or link C code: one row each. Crates of other names that end with `-sys` are not known.

use super::lock::Crate;

/// What becomes of a crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is compiled for every target.
    Works(&'static str),
    /// The build machine must have a program.
    Program(&'static str, &'static str),
    /// Only a build shows it: what to look for.
    Unknown(&'static str),
    /// It brings types of the kernel along, for the architectures that the kernel has these words for.
    TypesFor(&'static [&'static str]),
    /// It stands in the way: why, and what to do.
    Blocks(&'static str, &'static str),
}

use Fate::{Blocks, Program, TypesFor, Unknown, Works};

/// A library of the system.
const SYSTEM: &str = "it links a library of the system, and there is none for a target";

const LEAVE_OUT: &str = "leave it out, by a feature of the application";

/// Crates, and what is known of them: seen on all architectures, or read in their build scripts (docs/adopted.md).
const KNOWN: [(&str, Fate); 33] = [
    ("alsa-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("aws-lc-sys", Works("its C code is compiled")),
    ("blake3", Works("its C code is compiled, where it has any for the processor")),
    ("bzip2-sys", Works("its C code is compiled")),
    ("cxx", Works("its C++ code is compiled")),
    ("fuse3-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("hidapi", Blocks(SYSTEM, LEAVE_OUT)),
    ("libbpf-sys", Works("libbpf, libelf and zlib are built from its sources; libelf is LGPL (docs/c-code.md)")),
    ("libmimalloc-sys", Works("its C code is compiled")),
    ("libnftnl-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("libnghttp2-sys", Works("its C code is compiled")),
    ("libseccomp", Blocks(SYSTEM, LEAVE_OUT)),
    ("libseccomp-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("libsystemd-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("libudev-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("libz-sys", Works("its C code is compiled")),
    ("lz4-sys", Works("its C code is compiled")),
    ("lzma-sys", Works("its C code is compiled")),
    ("mnl-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("nftnl-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("pam-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("pcap", Blocks(SYSTEM, LEAVE_OUT)),
    ("prost-build", Program("protoc", "apt install protobuf-compiler (Debian)")),
    ("protobuf-src", Works("its C++ code is compiled for this machine")),
    ("psm", Works("its assembler code is compiled")),
    ("pyo3-ffi", Blocks("it links Python", LEAVE_OUT)),
    ("rdkafka-sys", Program("cmake", "apt install cmake make (Debian)")),
    ("ring", Works("its C code is compiled")),
    ("scx_cargo", TypesFor(&["arm", "arm64", "mips", "powerpc", "riscv", "s390", "x86"])),
    ("systemd", Blocks(SYSTEM, LEAVE_OUT)),
    ("tikv-jemalloc-sys", Works("its C code is compiled, for the largest page of each architecture")),
    ("vmlinux", Works("its bindings are Rust")),
    ("zstd-sys", Works("its C code is compiled")),
];

/// What is known of a crate. None if nothing is to be said of it.
pub fn fate(package: &Crate, all: &[&Crate]) -> Option<Fate> {
    let is_there = |name: &str| all.iter().any(|other| other.name == name);
    let version = |parts: &str| package.version.starts_with(parts);
    match package.name.as_str() {
        "openssl-sys" if is_there("openssl-src") => Some(Works("its feature `vendored` brings OpenSSL along")),
        "openssl-sys" => Some(Blocks(
            "without its feature `vendored`, it looks for OpenSSL of the system",
            "enable `openssl/vendored`",
        )),
        "libdbus-sys" if package.has("cc") => Some(Works("its feature `vendored` brings D-Bus along")),
        "libdbus-sys" => {
            Some(Blocks("without its feature `vendored`, it looks for D-Bus of the system", "enable `dbus/vendored`"))
        }
        "libsqlite3-sys" if package.has("cc") => Some(Works("its feature `bundled` brings SQLite along")),
        "libsqlite3-sys" => Some(Blocks(
            "without its feature `bundled`, it looks for SQLite of the system",
            "enable `bundled` (rusqlite) or the like",
        )),
        // That of libbpf/vmlinux.h, which is not published.
        "vmlinux" if package.git().is_some() => {
            Some(TypesFor(&["arm", "arm64", "loongarch", "powerpc", "riscv", "s390", "x86"]))
        }
        "prost-build" if is_there("protoc-bin-vendored") || is_there("protobuf-src") => None,
        "bindgen" if package.has("clang-sys") => Some(Program("libclang.so", "apt install libclang-dev (Debian)")),
        "nix" if version("0.29.") => {
            Some(Unknown("with its feature `fs`, it does not compile for s390x (`statfs.rs`)"))
        }
        name => KNOWN.iter().find(|(known, _)| *known == name).map(|(_, fate)| *fate),
    }
}

/// Whether a crate may be one that links C code, by its name.
pub fn may_link_c(package: &Crate) -> bool {
    // Bindings of the system's own calls, and what is for other systems.
    const PURE: [&str; 19] = [
        "clang-sys",
        "core-foundation-sys",
        "dirs-sys",
        "fsevent-sys",
        "inotify-sys",
        "jni-sys",
        "js-sys",
        "kernel32-sys",
        "kqueue-sys",
        "libredox-sys",
        "linux-raw-sys",
        "ndk-sys",
        "netlink-sys",
        "objc-sys",
        "perf-event-open-sys",
        "security-framework-sys",
        "system-configuration-sys",
        "wayland-sys",
        "web-sys",
    ];
    let is_windows = ["windows", "winapi"].iter().any(|start| package.name.starts_with(start));
    package.name.ends_with("-sys") && !is_windows && !PURE.contains(&package.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, dependencies: &[&str]) -> Crate {
        let dependencies = dependencies.iter().map(|it| (*it).into()).collect();
        Crate { name: name.into(), version: version.into(), source: Some("registry+x".into()), dependencies }
    }

    #[test]
    fn the_rows_are_sorted_and_features_that_bring_sources_along_are_seen() {
        assert!(KNOWN.is_sorted_by(|(one, _), (other, _)| one < other));
        let vendored = package("openssl-src", "300.0.0", &["cc"]);
        let openssl = package("openssl-sys", "0.9.100", &["openssl-src"]);
        assert!(matches!(fate(&openssl, &[&vendored, &openssl]), Some(Works(_))));
        assert!(matches!(fate(&openssl, &[&openssl]), Some(Blocks(..))));
        let bundled = package("libsqlite3-sys", "0.30.0", &["cc", "pkg-config"]);
        assert!(matches!(fate(&bundled, &[]), Some(Works(_))));
        assert!(matches!(fate(&package("libsqlite3-sys", "0.30.0", &["pkg-config"]), &[]), Some(Blocks(..))));
        assert!(matches!(fate(&package("nix", "0.29.0", &[]), &[]), Some(Unknown(_))));
        assert_eq!(fate(&package("nix", "0.30.1", &[]), &[]), None);
    }

    #[test]
    fn a_crate_of_the_kernels_interface_links_nothing() {
        assert!(
            !may_link_c(&package("linux-raw-sys", "0.4.0", &[])) && !may_link_c(&package("windows-sys", "1.0.0", &[]))
        );
        assert!(may_link_c(&package("unheard-of-sys", "1.0.0", &[])));
    }
}
