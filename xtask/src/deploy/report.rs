//! What a target reports, which may be anything.

use std::ops::ControlFlow;

use crate::ui::screen;

/// Bytes that a target may print in one call, and lines that are kept of what is no report.
const LIMIT: usize = 1 << 20;
const LINES: usize = 20;
/// Characters of a line that are kept.
const LENGTH: usize = 400;

/// What came of one call. None of its text does anything to a terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Words and what follows each.
    pub said: Vec<(String, String)>,
    /// The last of what else was printed: by ssh, by a login shell, by the program.
    pub output: Vec<String>,
    bytes: usize,
}

impl Report {
    /// Takes one more line. With `Break`, it was too many.
    pub fn take(&mut self, token: &str, line: &str) -> ControlFlow<()> {
        self.bytes += line.len() + 1;
        if self.bytes > LIMIT {
            return ControlFlow::Break(());
        }
        // What a login shell complains about may not end its line.
        let (noise, words) = match line.split_once(&format!("@{token} ")) {
            Some((noise, words)) => (noise, Some(words)),
            None => (line, None),
        };
        if !noise.is_empty() {
            self.keep(noise);
        }
        match words.map(|words| words.split_once(' ').unwrap_or((words, ""))) {
            Some(("output", text)) => self.keep(text),
            Some((word, rest)) => self.said.push((shown(word), shown(rest.trim_end()))),
            None => {}
        }
        ControlFlow::Continue(())
    }

    fn keep(&mut self, line: &str) {
        if self.output.len() == LINES {
            self.output.remove(0);
        }
        self.output.push(shown(line));
    }

    /// What follows a word, if it was said; the last, if it was said more than once.
    pub fn get(&self, word: &str) -> Option<&str> {
        self.said.iter().rev().find(|(said, _)| said == word).map(|(_, rest)| rest.as_str())
    }

    pub fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.said.iter().filter(move |(said, _)| said == word).map(|(_, rest)| rest.as_str())
    }

    /// What was printed besides, to be put below a sentence.
    pub fn below(&self) -> String {
        self.output.iter().filter(|line| !line.is_empty()).map(|line| format!("\n    {line}")).collect()
    }
}

fn shown(text: &str) -> String {
    screen::plain(&text.chars().take(LENGTH).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> Report {
        let mut report = Report::default();
        for line in lines {
            assert!(report.take("12ab", line).is_continue());
        }
        report
    }

    #[test]
    fn only_who_knows_the_token_reports_and_the_rest_is_kept_for_errors() {
        let report = report(&[
            "Welcome to pi",
            "@12ab machine aarch64",
            "@9999 machine mips",
            "@12abc machine mips",
            "env: no bash@12ab end",
        ]);
        assert_eq!((report.get("machine"), report.get("end")), (Some("aarch64"), Some("")));
        assert_eq!(
            report.below(),
            "\n    Welcome to pi\n    @9999 machine mips\n    @12abc machine mips\n    env: no bash"
        );
    }

    #[test]
    fn nothing_of_it_moves_a_cursor_and_no_line_and_no_number_of_lines_is_too_long() {
        let report = report(&["\x1b[2J\x07boo", "@12ab kernel \x1b]0;x\x07\u{202e}", &"x".repeat(5000)]);
        let text = format!("{:?}{}", report.said, report.below());
        assert!(!text.contains(['\x1b', '\x07', '\u{202e}']), "{text}");
        assert!(report.output.iter().all(|line| line.len() <= 400));
        let many: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(self::report(&many).output.len(), LINES);
    }

    #[test]
    fn who_prints_without_end_is_left() {
        let mut report = Report::default();
        let ended = (0..3000).find(|_| report.take("12ab", &"y".repeat(1000)).is_break());
        assert!(ended.is_some_and(|lines| lines < 1100));
    }
}
