//! How long builds took, for whoever waits for the next one. Nothing depends on it.

use std::collections::BTreeMap;

/// Their file, in cargo's target folder.
pub const FILE: &str = "bpfship-durations.json";

/// Seconds, by kind of build and target.
type Seconds = BTreeMap<String, BTreeMap<String, f32>>;

/// How long earlier builds for the same targets took.
#[derive(Debug)]
pub struct Durations {
    targets: String,
    known: Seconds,
}

impl Durations {
    /// `text` is that of the file. What cannot be understood is not known.
    pub fn parse(text: &str, triples: &[&str]) -> Durations {
        Durations { targets: triples.join(" "), known: serde_json::from_str(text).unwrap_or_default() }
    }

    /// Targets of one build share the processors, so one for fewer of them is of another kind; and so is one for which something
    /// was there already.
    fn kind(&self, again: bool) -> String {
        format!("{}{}", self.targets, if again { ", again" } else { "" })
    }

    /// In words, for a target.
    pub fn last_time(&self, triple: &str, again: bool) -> Option<String> {
        let seconds = self.known.get(&self.kind(again))?.get(triple)?;
        Some(format!("last time {seconds:.0} s in all"))
    }

    /// The text with a build that succeeded.
    pub fn with(mut self, seconds: &BTreeMap<String, f32>, again: bool) -> String {
        self.known.insert(self.kind(again), seconds.clone());
        serde_json::to_string(&self.known).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_compared_with_the_last_one_of_its_kind() {
        let last_time = |text: &str, triples: &[&str], triple: &str, again: bool| {
            Durations::parse(text, triples).last_time(triple, again).unwrap_or_default()
        };
        let seconds = |number: f32| BTreeMap::from([("a".to_owned(), number)]);
        let text = Durations::parse("", &["a"]).with(&seconds(64.6), false);
        let text = Durations::parse(&text, &["a"]).with(&seconds(9.0), true);
        let text = Durations::parse(&text, &["a", "b"]).with(&seconds(120.0), false);
        assert_eq!(last_time(&text, &["a"], "a", false), "last time 65 s in all");
        assert_eq!(last_time(&text, &["a"], "a", true), "last time 9 s in all");
        assert_eq!(last_time(&text, &["a", "b"], "a", false), "last time 120 s in all");
        assert_eq!(last_time(&text, &["a", "b"], "b", false), "");
        let text = Durations::parse(&text, &["a"]).with(&seconds(30.0), false);
        assert_eq!(last_time(&text, &["a"], "a", false), "last time 30 s in all");
        assert_eq!(last_time("nonsense", &["a"], "a", false), "");
    }
}
