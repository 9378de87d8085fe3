//! The BPF objects: which there are, what they are made from, and how.

pub mod bindings;
pub mod cflags;
pub mod contained;
pub mod container;
pub mod dependencies;
pub mod facts;
pub mod failures;
pub mod flags;
pub mod includes;
pub mod layouts;
pub mod paths;
pub mod plan;
pub mod records;
pub mod report_text;
pub mod results;
pub mod run;
pub mod rust;
pub mod settle;
mod source_text;
pub mod target;
pub mod units;

/// What the objects in a BPF folder were made from, in that folder.
pub const LOCK: &str = "bpf.lock";

/// The folder of the objects, in that folder.
pub const OBJECTS: &str = "objects";
