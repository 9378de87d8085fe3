//! Building binaries with cargo.

pub mod cargo;
pub mod crate_copies;
pub mod crate_names;
pub mod libraries;
pub mod messages;
pub mod plan;
pub mod profile;
pub mod run;
