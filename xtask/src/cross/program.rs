//! The pinned version of cross.

use crate::sys::hash;

/// The only version that is used: what it runs was read and tried.
pub const VERSION: &str = "0.2.5";

/// What the name of the folder in the cache begins with.
pub const PREFIX: &str = "cross-";

/// The file in it that is started.
pub const FILE: &str = "bin/cross";

/// What the program prints of itself. One that was built from its repository adds a commit, and is another program.
pub fn line() -> String {
    format!("cross {VERSION}")
}

/// The name in the cache of the program for this machine.
pub fn name(host: &str) -> String {
    format!("{PREFIX}{VERSION}-{:.16}", hash::bytes(format!("1 {host}").as_bytes()))
}
