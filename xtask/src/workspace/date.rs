//! The date of everything in the archives: the commit's, or SOURCE_DATE_EPOCH.

use std::env;

use anyhow::{Result, bail};

use crate::ui::error::bad_request;
use crate::ui::suggest;

/// The variable that names another date than the commit's.
const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// The last second that a tar header can hold, in eleven octal digits: in the year 2242.
const LAST: u64 = 0o777_7777_7777;

/// The value of SOURCE_DATE_EPOCH, in seconds since 1970.
pub fn asked() -> Result<Option<u64>> {
    let Some(text) = env::var_os(VARIABLE) else { return Ok(None) };
    let text = text.to_string_lossy();
    match seconds(&text) {
        Some(seconds) if seconds <= LAST => Ok(Some(seconds)),
        Some(_) => bad_request!("{VARIABLE} is {text}, but no archive can hold a date after {LAST}"),
        None => bad_request!("{VARIABLE} is `{}`; seconds since 1970 are expected", suggest::cut(&text)),
    }
}

/// The date of a commit, as git prints it.
pub fn of_commit(text: &str) -> Result<u64> {
    match seconds(text) {
        Some(seconds) if seconds <= LAST => Ok(seconds),
        _ => bail!("the commit has the date {text}, which no archive can hold: set {VARIABLE} to seconds since 1970"),
    }
}

/// A number without a sign, unlike what `parse` takes.
fn seconds(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_what_an_archive_can_hold() {
        assert_eq!(of_commit("0").unwrap(), 0);
        assert_eq!(of_commit("8589934591").unwrap(), LAST);
        for text in ["8589934592", "99999999999999999999999", "-1", "+1", "", "1.5", "now"] {
            assert!(of_commit(text).is_err(), "{text}");
        }
    }
}
