//! What every subject stands on: processes, files, hashes and the cache. It imports nothing from above.

pub mod cache;
pub mod command;
pub mod files;
pub mod hash;
pub mod parallel;
pub mod plan;
pub mod process;
pub mod stat;
pub mod steps;
