//! The C compiler for every target: the pinned clang, behind names that build scripts look for. What is called by one of
//! these names is this program itself, by a hard link (docs/c-code.md).

pub mod cxx;
pub mod facts;
pub mod libbpf;
pub mod plan;
pub mod recipe;
pub mod run;
pub mod tool;
