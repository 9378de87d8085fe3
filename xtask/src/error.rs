//! How a run can end, and the exit code that says so.

use std::fmt;
use std::io;
use std::process::ExitStatus;

use crate::remedies::{self, Installation};
use crate::run;

/// The request itself was wrong: exit code 2, and nothing was begun.
#[derive(Debug)]
pub struct Request(pub String);

/// Something in the cache is not what it was when it was made. It is removed, so that a second try makes it anew.
#[derive(Debug)]
pub struct Damaged {
    pub entry: String,
    pub file: String,
}

/// A signal ended the run: exit code 128 + its number.
#[derive(Debug)]
pub struct Interrupted(pub i32);

/// Another program is not on this machine.
#[derive(Debug)]
pub struct Missing(pub &'static Installation);

/// Another program failed. What it said stands below the sentence.
#[derive(Debug)]
pub struct Failed {
    pub program: String,
    /// As in "PROGRAM failed (exit code 1)".
    pub ended: String,
    pub said: String,
}

impl Failed {
    pub fn of(program: &str, status: ExitStatus, said: String) -> Failed {
        Failed { program: program.into(), ended: run::ended(status), said }
    }

    /// The last lines of what a program said are enough to see why it failed.
    const LINES: usize = 30;
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { program, ended, said } = self;
        match remedies::find(program, said) {
            Some(remedy) => write!(f, "{remedy}")?,
            None => write!(f, "{program} {ended}")?,
        }
        let lines: Vec<&str> = said.trim_end().lines().collect();
        if !lines.is_empty() {
            write!(f, "\n\n{program} said:")?;
        }
        lines[lines.len().saturating_sub(Failed::LINES)..].iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no {} on this machine: {}", self.0.program, self.0)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in the cache is damaged ({}), and is made again", self.entry, self.file)
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted; nothing that was there before is changed")
    }
}

impl std::error::Error for Damaged {}
impl std::error::Error for Failed {}
impl std::error::Error for Missing {}
impl std::error::Error for Request {}
impl std::error::Error for Interrupted {}

/// Ends the function with a [`Request`] error.
#[macro_export]
macro_rules! bad_request {
    ($($message:tt)*) => {
        return Err($crate::error::Request(format!($($message)*)).into())
    };
}

/// An error as a user reads it: what failed, on which thing, why, and what can be done.
pub fn describe(error: &anyhow::Error) -> String {
    let remedy = error.chain().find_map(|cause| match cause.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some("free some space on that disk"),
        io::ErrorKind::ReadOnlyFilesystem => Some("nothing can be written there"),
        _ => None,
    });
    match remedy {
        Some(remedy) => format!("{error:#}: {remedy}"),
        None => format!("{error:#}"),
    }
}

/// The exit code for an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(Interrupted(signal)) = error.downcast_ref() {
        u8::try_from(128 + signal).unwrap_or(1)
    } else if error.is::<Request>() {
        2
    } else {
        1
    }
}
