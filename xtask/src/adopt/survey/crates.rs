//! What is known of crates that compile or link C code: one row each. Crates of other names that end with `-sys` are not known.

use super::lock::Crate;
use crate::arch::Arch;
use crate::build::unported;

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
    /// It is there for these of our architectures: what is amiss with the others, and what to do.
    Only(&'static [&'static str], &'static str, &'static str),
    /// It stands in the way: why, and what to do.
    Blocks(&'static str, &'static str),
}

use Fate::{Blocks, Only, Program, TypesFor, Unknown, Works};

/// A library of the system.
const SYSTEM: &str = "it links a library of the system, and there is none for a target";

const LEAVE_OUT: &str = "leave it out, by a feature of the application";

/// Crates, and what is known of them: seen on all architectures, or read in their build scripts (docs/adopted.md).
const KNOWN: [(&str, Fate); 48] = [
    ("alsa-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("aws-lc-fips-sys", Unknown("if a feature enables it, it needs cmake and Go on this machine")),
    ("aws-lc-sys", Works("its C code is compiled")),
    ("blake3", Works("its C code is compiled, where it has any for the processor")),
    ("bpf-sys", Blocks("it runs make, and looks for libelf of the system", "load BPF programs with aya or libbpf-rs")),
    ("bzip2-sys", Works("its C code is compiled")),
    ("cxx", Works("its C++ code is compiled")),
    ("fuse3-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("hidapi", Blocks(SYSTEM, LEAVE_OUT)),
    ("jemalloc-sys", Works("its C code is compiled")),
    ("libappindicator-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("libbpf-sys", Works("libbpf, libelf and zlib are built from its sources; libelf is LGPL (docs/c-code.md)")),
    ("libfuzzer-sys", Works("its C++ code is compiled")),
    ("libgit2-sys", Works("its C code is compiled")),
    ("libmimalloc-sys", Works("its C code is compiled")),
    ("libnftnl-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("libnghttp2-sys", Works("its C code is compiled")),
    ("libpam-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("librocksdb-sys", Works("its C++ code is compiled")),
    ("libseccomp", Blocks(SYSTEM, LEAVE_OUT)),
    ("libseccomp-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("libsql-ffi", Works("its C code is compiled")),
    ("libssh2-sys", Works("its C code is compiled")),
    ("libsystemd-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("libudev-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("libz-sys", Works("its C code is compiled")),
    ("llvm-sys", Blocks("it links LLVM of the system", LEAVE_OUT)),
    ("lz4-sys", Works("its C code is compiled")),
    ("lzma-sys", Works("its C code is compiled")),
    ("mnl-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("nftnl-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("pam-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("pcap", Blocks(SYSTEM, LEAVE_OUT)),
    ("pcap-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("pcre2-sys", Works("its C code is compiled")),
    ("prost-build", Program("protoc", "apt install protobuf-compiler (Debian)")),
    ("protobuf-src", Works("its C++ code is compiled for this machine")),
    ("psm", Works("its assembler code is compiled")),
    ("pyo3-ffi", Blocks("it links Python", LEAVE_OUT)),
    ("rdkafka-sys", Program("cmake", "apt install cmake make (Debian)")),
    ("ring", Works("its C code is compiled")),
    ("scx_cargo", TypesFor(&["arm", "arm64", "mips", "powerpc", "riscv", "s390", "x86"])),
    ("seccomp-sys", Blocks(SYSTEM, LEAVE_OUT)),
    ("systemd", Blocks(SYSTEM, LEAVE_OUT)),
    ("tikv-jemalloc-sys", Works("its C code is compiled, for the largest page of each architecture")),
    ("v8", Blocks("it downloads V8 ready-made, and there is none for a target", LEAVE_OUT)),
    ("vmlinux", Works("its bindings are Rust")),
    ("zstd-sys", Works("its C code is compiled")),
];

/// What is known of a crate. None if nothing is to be said of it.
pub fn fate(package: &Crate, all: &[&Crate]) -> Option<Fate> {
    let is_there = |name: &str| all.iter().any(|other| other.name == name);
    let version = |parts: &str| package.version.starts_with(parts);
    let is_refused = |arch| unported::reason(&package.name, &package.version, Arch::named(arch)).is_some();
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
        "libbpf-sys" if is_refused("amd64") => Some(Blocks(
            "it links libelf and zlib of the system: their sources are part of it since 1.2",
            "update libbpf-rs, or what else depends on it",
        )),
        "libsqlite3-sys" if package.has("cc") => Some(Works("its feature `bundled` brings SQLite along")),
        "libsqlite3-sys" => Some(Blocks(
            "without its feature `bundled`, it looks for SQLite of the system",
            "enable `bundled` (rusqlite) or the like",
        )),
        // That of libbpf/vmlinux.h, which is not published.
        "vmlinux" if package.git().is_some() => {
            Some(TypesFor(&["arm", "arm64", "loongarch", "powerpc", "riscv", "s390", "x86"]))
        }
        "prost-build" if ["protoc-bin-vendored", "protobuf-src", "protox"].into_iter().any(is_there) => None,
        "bindgen" if package.has("clang-sys") => Some(Program("libclang.so", "apt install libclang-dev (Debian)")),
        "nix" if version("0.29.") => {
            Some(Unknown("with its feature `fs`, it does not compile for s390x (`statfs.rs`)"))
        }
        "ring" if is_refused("mips") => {
            Some(Only(&["amd64", "arm64"], "it is for few processors", "update what depends on it, for 0.17"))
        }
        name => known(name).or_else(|| by_build_script(package)),
    }
}

/// The same without a Cargo.lock, which would tell what its features and its version are.
pub fn fate_by_name(package: &Crate, all: &[&Crate]) -> Option<Fate> {
    const BY_LOCK: [&str; 7] = ["bindgen", "libbpf-sys", "libdbus-sys", "libsqlite3-sys", "nix", "openssl-sys", "ring"];
    match package.name.as_str() {
        name if BY_LOCK.contains(&name) => Some(Unknown("only Cargo.lock tells")),
        _ => fate(package, all),
    }
}

/// What is known of a crate whatever else is in Cargo.lock.
fn known(name: &str) -> Option<Fate> {
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, fate)| *fate)
}

/// What the build script of a crate of bindings does, by what it depends on.
fn by_build_script(package: &Crate) -> Option<Fate> {
    if !may_link_c(package) {
        return None;
    }
    match ["system-deps", "cmake", "cc", "pkg-config", "vcpkg"].map(|name| package.has(name)) {
        [true, ..] => Some(Blocks(SYSTEM, LEAVE_OUT)),
        [_, true, ..] => Some(Program("cmake", "apt install cmake make (Debian)")),
        [_, _, true, false, false] => Some(Works("its C code is compiled")),
        _ => None,
    }
}

/// BPF in Rust of these versions has no registers of some architectures.
pub fn old_aya_ebpf(package: &Crate) -> Option<Fate> {
    let is_old = package.name == "aya-ebpf" && package.version.starts_with("0.1.") && package.git().is_none();
    is_old.then_some(Only(
        &["amd64", "arm64", "riscv64", "s390x"],
        "it has no registers of some architectures",
        "update it to 0.2 (docs/rust-bpf.md)",
    ))
}

/// Whether a crate may be one that links C code, by its name.
pub fn may_link_c(package: &Crate) -> bool {
    // Bindings of the system's own calls, what is opened when a program runs, what is Rust alone, and what is for other systems.
    const PURE: [&str; 16] = [
        "clang-sys",
        "dirs-sys",
        "inotify-sys",
        "ktls-sys",
        "libbz2-rs-sys",
        "libredox-sys",
        "libsql-sys",
        "libz-rs-sys",
        "linux-raw-sys",
        "ndk-sys",
        "netlink-sys",
        "nvml-wrapper-sys",
        "perf-event-open-sys",
        "security-framework-sys",
        "system-configuration-sys",
        "wayland-sys",
    ];
    package.name.ends_with("-sys") && !PURE.contains(&package.name.as_str())
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
        assert!(!may_link_c(&package("linux-raw-sys", "0.4.0", &[])));
        assert!(may_link_c(&package("unheard-of-sys", "1.0.0", &[])));
    }

    #[test]
    fn a_crate_of_bindings_is_known_by_what_its_build_script_depends_on() {
        let of = |name: &str, dependencies: &[&str]| fate(&package(name, "1.0.0", dependencies), &[]);
        assert!(matches!(of("odd-sys", &["cc"]), Some(Works(_))));
        assert!(matches!(of("odd-sys", &["cc", "cmake"]), Some(Program("cmake", _))));
        assert!(matches!(of("gtk-odd-sys", &["libc", "pkg-config", "system-deps"]), Some(Blocks(..))));
        // It may bring its sources along, or not.
        assert_eq!(of("odd-sys", &["cc", "pkg-config"]), None);
        assert_eq!(of("odd", &["cc"]), None);
    }

    #[test]
    fn old_versions_leave_architectures_out() {
        assert!(matches!(fate(&package("ring", "0.16.20", &["cc"]), &[]), Some(Only(..))));
        assert!(matches!(fate(&package("ring", "0.17.14", &["cc"]), &[]), Some(Works(_))));
        assert!(matches!(fate(&package("libbpf-sys", "1.1.1+v1.1.0", &[]), &[]), Some(Blocks(..))));
        assert!(matches!(fate(&package("libbpf-sys", "1.2.1+v1.2.0", &[]), &[]), Some(Works(_))));
        assert!(old_aya_ebpf(&package("aya-ebpf", "0.1.1", &[])).is_some());
        assert!(old_aya_ebpf(&package("aya-ebpf", "0.2.1", &[])).is_none());
        let from_git = Crate { source: Some("git+https://host/aya#1".into()), ..package("aya-ebpf", "0.1.1", &[]) };
        assert!(old_aya_ebpf(&from_git).is_none());
    }
}
