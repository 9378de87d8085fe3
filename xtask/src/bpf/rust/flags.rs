//! How cargo, rustc and clang are called for BPF written in Rust, apart from paths.

use crate::arch::ARCHES;
use crate::bpf::target::BpfTarget;
use crate::toolchain::bpf_core;
use crate::workspace::config::Bpf;

/// The profile, whatever the workspace's is.
pub const PROFILE: [&str; 9] = [
    "--config=profile.release.opt-level=3",
    "--config=profile.release.lto='fat'",
    "--config=profile.release.codegen-units=1",
    "--config=profile.release.panic='abort'",
    // BTF is made of it.
    "--config=profile.release.debug=2",
    "--config=profile.release.strip=false",
    "--config=profile.release.incremental=false",
    "--config=profile.release.overflow-checks=false",
    "--config=profile.release.debug-assertions=false",
];

/// A build script of a library has C linked by `rustc-link-lib=link-arg=…`, which is unstable. What cargo names crates by depends on it.
pub const UNSTABLE: &str = "-Zunstable-options";

/// clang's flags for bitcode. A call of memcpy that it cannot make shorter is an error to it, and there may be many.
pub const CLANG: [&str; 13] = [
    "-x",
    "ir",
    "-O2",
    "-g",
    "-fno-addrsig",
    "-ferror-limit=0",
    "-Wno-override-module",
    "-mllvm",
    "--cold-callsite-rel-freq=0",
    "-mllvm",
    "--bpf-disable-trap-unreachable",
    // Else what panics is in a section of its own, which libbpf takes for one of programs.
    "-mllvm",
    "--profile-guided-section-prefix=false",
];

/// The flags that affect the bytes, for the lock file.
pub fn of(bpf: &Bpf) -> Vec<String> {
    let (profile, clang) = (PROFILE.iter().map(ToString::to_string), CLANG.iter().map(ToString::to_string));
    profile.chain(bpf_core::rustflags(&bpf.cpu)).chain([UNSTABLE.into()]).chain(clang).collect()
}

/// Whether a file of a package may be part of what is compiled, by its name.
pub fn is_source(name: &str) -> bool {
    let is_text = [".md", ".txt"].iter().any(|end| name.ends_with(end));
    !name.starts_with('.')
        && !is_text
        && !["LICENSE", "COPYING", "COPYRIGHT"].iter().any(|start| name.starts_with(start))
}

/// Rust's word for the architecture that a target is for.
pub fn rust_arch(target: &BpfTarget) -> Option<&'static str> {
    ARCHES.iter().find(|arch| target.arch_word == Some(arch.linux)).map(|arch| arch.rust())
}
