//! The binaries: what is built, and how.

pub mod messages;
pub mod plan;
pub mod run;
