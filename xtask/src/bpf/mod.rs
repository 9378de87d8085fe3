//! The BPF objects: which there are, what they are made from, and how.

pub mod btf;
pub mod co_re;
pub mod code;
pub mod container;
pub mod engine;
pub mod facts;
pub mod instructions;
pub mod lock;
pub mod maps;
pub mod needs;
pub mod object;
pub mod plan;
pub mod report;
pub mod run;
