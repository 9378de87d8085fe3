//! Building binaries with cargo.

pub mod builder;
pub mod cargo;
pub mod contained;
pub mod crate_copies;
pub mod crate_names;
pub mod durations;
pub mod facts;
pub mod kind;
pub mod libraries;
pub mod messages;
pub mod plan;
pub mod profile;
pub mod reads;
pub mod run;
pub mod site;
pub mod unported;
