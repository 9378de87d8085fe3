//! What this machine has for booting others.

use std::path::PathBuf;

/// A server that has Debian's packages, and how this machine talks to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    pub url: String,
    /// The keys that Debian signs with.
    pub keyring: PathBuf,
    /// apt's settings for the network, as its configuration has them.
    pub acquire: String,
}
