//! The workspace that is shipped, and the machine it is built on: what is true of them.

pub mod cargo_home;
pub mod config;
pub mod facts;
pub mod packages;
pub mod probe;
