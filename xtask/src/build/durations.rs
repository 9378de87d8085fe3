//! How long builds took, for whoever waits for the next one. Nothing depends on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::sys::files;

/// In cargo's target folder.
const FILE: &str = "bpfship-durations.json";

/// Seconds, by kind of build and target.
type Seconds = BTreeMap<String, BTreeMap<String, f32>>;

/// How long earlier builds for the same targets took.
#[derive(Debug)]
pub struct Durations {
    file: PathBuf,
    targets: String,
    known: Seconds,
}

impl Durations {
    /// `target` is cargo's target folder. What cannot be read is not known.
    pub fn read(target: &Path, triples: &[&str]) -> Durations {
        let file = target.join(FILE);
        let text = files::read_if_there(&file).ok().flatten().unwrap_or_default();
        Durations { file, targets: triples.join(" "), known: serde_json::from_str(&text).unwrap_or_default() }
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

    /// Remembers a build that succeeded.
    pub fn remember(mut self, seconds: &BTreeMap<String, f32>, again: bool) {
        self.known.insert(self.kind(again), seconds.clone());
        // Without it, the next build has no estimate.
        let _ = serde_json::to_string(&self.known).map(|text| files::write(&self.file, &text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_compared_with_the_last_one_of_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let read = |triples: &[&str]| Durations::read(folder.path(), triples);
        assert_eq!(read(&["a"]).last_time("a", false), None);
        let seconds = |number: f32| BTreeMap::from([("a".to_owned(), number)]);
        read(&["a"]).remember(&seconds(64.6), false);
        read(&["a"]).remember(&seconds(9.0), true);
        read(&["a", "b"]).remember(&seconds(120.0), false);
        assert_eq!(read(&["a"]).last_time("a", false).unwrap(), "last time 65 s in all");
        assert_eq!(read(&["a"]).last_time("a", true).unwrap(), "last time 9 s in all");
        assert_eq!(read(&["a", "b"]).last_time("a", false).unwrap(), "last time 120 s in all");
        assert_eq!(read(&["a", "b"]).last_time("b", false), None);
        read(&["a"]).remember(&seconds(30.0), false);
        assert_eq!(read(&["a"]).last_time("a", false).unwrap(), "last time 30 s in all");
        std::fs::write(folder.path().join(FILE), "nonsense").unwrap();
        assert_eq!(read(&["a"]).last_time("a", false), None);
    }
}
