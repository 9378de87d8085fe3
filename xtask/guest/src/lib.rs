//! The first process of a guest: what the host tells it to run, how it reports, and the process itself.

pub mod config;
pub mod frame;
#[cfg(target_os = "linux")]
mod init;
pub mod message;

#[cfg(target_os = "linux")]
pub use init::main;
