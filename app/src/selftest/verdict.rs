//! What was expected, and what came.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// In the place of what is not known.
pub(super) const UNKNOWN: &str = "-";

pub(super) fn or_unknown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

/// One thing that is not as it has to be.
pub(super) struct Difference(String);

impl Difference {
    pub(super) fn between(what: &str, expected: impl ToString, got: impl ToString) -> Option<Self> {
        let (expected, got) = (expected.to_string(), got.to_string());
        (expected != got).then(|| Self(format!("expected {what} {expected}, got {got}")))
    }
}

#[derive(Default)]
pub(super) struct Verdict {
    /// Nothing is printed.
    pub(super) is_quiet: bool,
    pub(super) checks: usize,
    pub(super) failed: usize,
    pub(super) lost: u64,
}

impl Verdict {
    pub(super) fn check<const N: usize>(&mut self, name: &str, differences: [Option<Difference>; N]) {
        let differences: Vec<String> = differences.into_iter().flatten().map(|difference| difference.0).collect();
        self.checks += 1;
        self.failed += usize::from(!differences.is_empty());
        if differences.is_empty() {
            self.say(&format!("ok   {name}"));
        } else {
            self.say(&format!("FAIL {name}: {}", differences.join("; ")));
        }
    }

    pub(super) fn report(&self) -> ExitCode {
        if self.failed == 0 {
            self.say(&format!("self-test: passed ({} checks)", self.checks));
            ExitCode::SUCCESS
        } else {
            self.say(&format!("self-test: failed ({} of {} checks)", self.failed, self.checks));
            ExitCode::FAILURE
        }
    }

    /// The exit code is the verdict as well: that nobody reads this is no reason to stop.
    pub(super) fn say(&self, line: &str) {
        if !self.is_quiet {
            let _ = writeln!(io::stdout(), "{line}");
        }
    }
}
