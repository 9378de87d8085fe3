//! How a run can end, and its exit code.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::ui::remedies::{self, Installation};

/// The request itself was wrong: a usage error, exit code 2, before any work.
#[derive(Debug)]
pub struct BadRequest(pub String);

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
pub struct Missing {
    pub program: String,
    pub installation: &'static Installation,
}

/// Another program failed.
#[derive(Debug)]
pub struct Failed {
    pub program: String,
    /// As in "PROGRAM failed (exit code 1)".
    pub ended: String,
    pub output: String,
    /// Whether the output was already shown to the user. If not, it is printed below the sentence.
    shown: bool,
}

impl Failed {
    pub fn of(program: &str, status: ExitStatus, output: String) -> Failed {
        Failed { program: program.into(), ended: ended(status), output, shown: false }
    }

    /// The same for a program whose output was shown as it came.
    pub fn shown(program: &str, status: ExitStatus, output: String) -> Failed {
        Failed { shown: true, ..Failed::of(program, status, output) }
    }

    /// The last lines of a program's output are enough to see why it failed.
    const LINES: usize = 30;
    /// Characters. There are programs that print their memory.
    const LINE: usize = 1000;
}

/// How a process ended, to be put after its name.
pub fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        // The former is how a container engine reports the latter.
        (Some(137), _) | (None, Some(9)) => "was killed, most likely because the machine ran out of memory".into(),
        (Some(code), _) => format!("failed (exit code {code})"),
        (None, signal) => format!("was ended by signal {}", signal.unwrap_or(0)),
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { program, ended, output, shown } = self;
        let words = words(output);
        match (remedies::verdict(program, output), remedies::last_resort(program)) {
            (Some(remedy), _) => write!(f, "{remedy}")?,
            (None, Some(remedy)) => write!(f, "{program} {ended}: {remedy}")?,
            (None, None) if *shown && !words.is_empty() => write!(f, "{program} {ended}, for the reason above")?,
            (None, None) => write!(f, "{program} {ended}")?,
        }
        if *shown || words.is_empty() {
            return Ok(());
        }
        write!(f, "\n\n{program} printed:")?;
        words[words.len().saturating_sub(Failed::LINES)..].iter().try_for_each(|line| {
            match line.char_indices().nth(Failed::LINE) {
                _ if line.is_empty() => writeln!(f),
                Some((end, _)) => write!(f, "\n  {} …", &line[..end]),
                None => write!(f, "\n  {line}"),
            }
        })
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no {} on this machine: {}", self.program, self.installation)
    }
}

/// The lines of a program's output without stack traces: Python's, and Rust's when
/// RUST_BACKTRACE is set.
fn words(output: &str) -> Vec<&str> {
    let output = output.split("\nStack backtrace:\n").next().unwrap_or_default().trim_end();
    let mut in_traceback = false;
    let is_word = |line: &&str| {
        in_traceback = line.starts_with("Traceback (") || in_traceback && line.starts_with(' ');
        !in_traceback
    };
    output.lines().filter(is_word).collect()
}

impl fmt::Display for BadRequest {
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
impl std::error::Error for BadRequest {}
impl std::error::Error for Interrupted {}

/// Ends the function with a [`BadRequest`] error.
macro_rules! bad_request {
    ($($message:tt)*) => {
        return Err($crate::ui::error::BadRequest(format!($($message)*)).into())
    };
}
pub(crate) use bad_request;

/// An error as a user reads it: what failed, on which thing, why, and what can be done.
pub fn describe(error: &anyhow::Error) -> String {
    let remedy = error.chain().find_map(|cause| match cause.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some("free some space on that disk"),
        io::ErrorKind::ReadOnlyFilesystem => Some("make it writable"),
        io::ErrorKind::PermissionDenied => Some("check its permissions"),
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
    } else if error.is::<BadRequest>() {
        2
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_in_its_own_code_a_program_failed_is_left_out() {
        let python = "Collecting a\nERROR: Exception:\nTraceback (most recent call last):\n  File \"x.py\", line 1, in f\n    \
                      f()\nOSError: [Errno 28] No space left on device\n";
        assert_eq!(words(python), ["Collecting a", "ERROR: Exception:", "OSError: [Errno 28] No space left on device"]);
        assert_eq!(words("error: odd\n\nStack backtrace:\n   0: rustup::main\n"), ["error: odd"]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_reported_with_the_remedy() {
        for (kind, remedy) in [
            (io::ErrorKind::StorageFull, "free some space on that disk"),
            (io::ErrorKind::ReadOnlyFilesystem, "make it writable"),
            (io::ErrorKind::PermissionDenied, "check its permissions"),
        ] {
            let error = anyhow::Error::new(io::Error::from(kind)).context("cannot write file");
            assert_eq!(describe(&error), format!("cannot write file: {kind}: {remedy}"));
        }
    }
}
