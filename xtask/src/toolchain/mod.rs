//! What builds need in addition to cargo and rustc: standard libraries, and the pinned clang.

pub mod bpf_core;
pub mod facts;
pub mod nfpm;
pub mod plan;
pub mod run;
pub mod sysroot;
pub mod wheel;
pub mod zig;
