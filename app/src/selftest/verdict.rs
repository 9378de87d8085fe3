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
    /// A line for each check, for whoever wants to read them.
    lines: Vec<String>,
    pub(super) checks: usize,
    pub(super) failed: usize,
    /// Events that were lost where something failed, which may be why.
    pub(super) lost: u64,
}

impl Verdict {
    pub(super) fn check<const N: usize>(&mut self, name: &str, differences: [Option<Difference>; N]) {
        let differences: Vec<String> = differences.into_iter().flatten().map(|difference| difference.0).collect();
        self.checks += 1;
        self.failed += usize::from(!differences.is_empty());
        self.note(if differences.is_empty() {
            format!("ok   {name}")
        } else {
            format!("FAIL {name}: {}", differences.join("; "))
        });
    }

    pub(super) fn note(&mut self, line: String) {
        self.lines.push(line);
    }

    /// Prints what was found, and counts it with the rest.
    pub(super) fn add(&mut self, found: &Self) {
        for line in &found.lines {
            say(line);
        }
        self.checks += found.checks;
        self.failed += found.failed;
    }

    pub(super) fn report(&self) -> ExitCode {
        if self.failed == 0 {
            say(&format!("self-test: passed ({} checks)", self.checks));
            ExitCode::SUCCESS
        } else {
            say(&format!("self-test: failed ({} of {} checks)", self.failed, self.checks));
            ExitCode::FAILURE
        }
    }
}

/// The exit code is the verdict as well: that nobody reads this is no reason to stop.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
