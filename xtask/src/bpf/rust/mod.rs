//! BPF written in Rust: rustc gives one module of bitcode, of which the pinned clang makes the object.

pub mod answer;
pub mod errors;
pub mod facts;
pub mod flags;
pub mod linker;
pub mod plan;
pub mod run;
pub mod scripts;
pub mod shim;
