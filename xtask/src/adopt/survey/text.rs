//! Findings as people read them.

use console::Style;

use super::findings::{Finding, State, Verdict, shortened};
use crate::ui::table::beside;

impl State {
    fn word(self) -> (&'static str, Style) {
        match self {
            State::Ok => ("ok", Style::new().green()),
            State::ToDo => ("to do", Style::new().yellow()),
            State::Limits => ("limits", Style::new().yellow()),
            State::Unknown => ("unknown", Style::new().yellow()),
            State::Blocks => ("blocks", Style::new().red().bold()),
        }
    }
}

/// The findings, in lines of at most `width` columns; with `brief`, only what is amiss.
pub fn text(findings: &[Finding], verdict: &Verdict, width: usize, brief: bool) -> String {
    // Longer names stand out of the column.
    let column = findings.iter().map(|it| it.name.len()).filter(|width| *width < 22).max().unwrap_or_default();
    let indent = 2 + 7 + 2 + column + 2;
    let mut text = String::new();
    for (index, finding) in findings.iter().enumerate() {
        let Finding { state, detail, remedy, not_for, .. } = finding;
        let is_same = |other: &&Finding| Finding { name: finding.name.clone(), ..(*other).clone() } == *finding;
        if brief && *state == State::Ok || findings[..index].iter().any(|other| is_same(&other)) {
            continue;
        }
        // What is the same of several is said once.
        let names: Vec<String> = findings[index..].iter().filter(is_same).map(|other| other.name.clone()).collect();
        let name = shortened(&names);
        let (word, style) = state.word();
        let left_out = if not_for.is_empty() { String::new() } else { format!(": not for {}", not_for.join(", ")) };
        let label = format!("  {:7}  {name:column$}  ", style.apply_to(word));
        let detail = format!("{detail}{left_out}");
        text += &beside(&label, indent, [detail.as_str()].into_iter().chain(remedy.as_deref()), width);
    }
    let words = match (verdict.ready, verdict.arches.as_slice()) {
        (_, []) => "no architecture is left".into(),
        (false, _) => "cannot be shipped as it is".into(),
        (true, arches) => format!("nothing known stands in the way for {}", arches.join(", ")),
    };
    text + &beside("", 0, [words.as_str()], width)
}
