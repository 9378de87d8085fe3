//! Words for the user beside the output.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// A number and what it is of: `1 exec`, `2 execs`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// One line on standard error. Should nobody listen there, that is no failure: eprintln! would panic.
pub(crate) fn note(message: impl Display) {
    let _ = writeln!(io::stderr(), "exectrace: {message}");
}
