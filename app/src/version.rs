//! `--version`: what exactly this binary is.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use crate::error::Error;

pub(crate) fn print() -> Result<ExitCode, Error> {
    match io::stdout().write_all(text().as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn text() -> String {
    // Set by `cargo xtask dist`, which knows whether the checkout was clean.
    let commit = option_env!("BPFSHIP_COMMIT").unwrap_or("unknown (not built by cargo xtask dist)");
    let mut text = format!("exectrace {}\ncommit {commit}\ntarget {}\n", env!("CARGO_PKG_VERSION"), env!("TARGET"));
    for (name, sha256) in exectrace_bpf::OBJECTS {
        let _ = writeln!(text, "bpf object {name} sha256 {sha256}");
    }
    text
}
