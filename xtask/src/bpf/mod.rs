//! The BPF objects: which there are, what they are made from, and how.

pub mod cflags;
pub mod container;
pub mod dependencies;
pub mod engine;
pub mod facts;
pub mod plan;
pub mod report_text;
pub mod run;
mod source_text;
pub mod target;
