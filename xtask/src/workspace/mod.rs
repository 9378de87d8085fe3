//! The workspace that is shipped, and the machine it is built on: what is true of them.

pub mod cached;
pub mod cargo_home;
pub mod config;
pub mod date;
pub mod facts;
pub mod features;
pub mod ignored;
pub mod keys;
pub mod machine;
pub mod needs;
pub mod packages;
pub mod packaging;
pub mod products;
pub mod rust;
pub mod snapshot;
pub mod source;
