//! Words for the user beside the output.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// One line on standard error. Should nobody listen there, that is no failure: eprintln! would panic.
pub(crate) fn note(message: impl Display) {
    let _ = writeln!(io::stderr(), "exectrace: {message}");
}
