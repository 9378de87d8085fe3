//! How a run can end, and the exit code that says so.

use std::fmt;

/// The request itself was wrong: exit code 2, and nothing was begun.
#[derive(Debug)]
pub struct Request(pub String);

/// A signal ended the run: exit code 128 + its number.
#[derive(Debug)]
pub struct Interrupted(pub i32);

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted; nothing that was there before is changed")
    }
}

impl std::error::Error for Request {}
impl std::error::Error for Interrupted {}

/// Ends the function with a [`Request`] error.
#[macro_export]
macro_rules! bad_request {
    ($($message:tt)*) => {
        return Err($crate::error::Request(format!($($message)*)).into())
    };
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
