//! What `cargo xtask boot` is made of.

pub mod build;
pub mod host;
