//! Files of the work tree that are not in the snapshot, and so may be why something fails: git ignores them, or they lie
//! behind a link that leads out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sys::process::Runner;
use crate::workspace::snapshot;

/// Asked only when something failed. Where git does not answer, nothing is added to the error.
#[derive(Debug, Clone)]
pub struct IgnoredFiles {
    runner: Runner,
    /// The top of the work tree, and the workspace in it.
    top: PathBuf,
    root: PathBuf,
    /// Folders that are no sources.
    left_out: Vec<PathBuf>,
    /// Links that lead out of the repository, by their paths in it, with their targets.
    outside: Vec<(String, String)>,
    settings: BTreeMap<String, String>,
}

/// Why a link is not in a snapshot.
pub fn leads_out(target: &str) -> String {
    format!("is a link that leads to {target}, outside the repository")
}

impl IgnoredFiles {
    pub fn new(
        runner: Runner,
        top: &Path,
        root: &Path,
        left_out: &[PathBuf],
        outside: &[(String, String)],
    ) -> IgnoredFiles {
        IgnoredFiles {
            runner,
            top: top.into(),
            root: root.into(),
            left_out: left_out.into(),
            outside: outside.into(),
            settings: snapshot::settings(),
        }
    }

    /// Why a path of the workspace that is there is not in the snapshot.
    pub fn why(&self, path: &str) -> Option<String> {
        self.of(&self.root.join(path))
    }

    fn of(&self, path: &Path) -> Option<String> {
        path.symlink_metadata().ok()?;
        if path.read_dir().is_ok_and(|mut entries| entries.next().is_none()) {
            return Some("is empty, and git keeps no empty folders".into());
        }
        snapshot::ignored(self.runner, path, &self.settings).ok()?.map(|ignored| ignored.to_string())
    }

    /// Sentences about such files that a text names.
    pub fn named_in(&self, text: &str) -> Vec<String> {
        let all = snapshot::all_ignored(self.runner, &self.top, &self.left_out, &self.settings).unwrap_or_default();
        let named = all.iter().filter(|path| is_named(text, path.trim_end_matches('/')));
        let ignored = named.filter_map(|path| Some(format!("{path} {}", self.of(&self.top.join(path))?)));
        // Of a link to a folder, an error names what would be in it.
        let links = self.outside.iter().filter(|(link, _)| is_named(text, link));
        ignored.chain(links.map(|(link, target)| format!("{link} {}", leads_out(target)))).collect()
    }

    /// Puts such sentences before an error that names such files and does not say so itself.
    pub fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.or_else(|error| {
            let text = format!("{error:#}");
            let reasons: Vec<String> = self.outside.iter().map(|(_, target)| leads_out(target)).collect();
            let is_said = |sentence: &str| {
                text.contains(sentence)
                    || reasons
                        .iter()
                        .any(|reason| sentence.ends_with(reason.as_str()) && text.contains(reason.as_str()))
            };
            let mut sentences = self.named_in(&text);
            sentences.retain(|sentence| !is_said(sentence));
            match sentences.as_slice() {
                [] => Err(error),
                sentences => Err(error).context(sentences.join("; ")),
            }
        })
    }
}

/// Whether a text has the last part of a path, and not as a part of another word.
fn is_named(text: &str, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_of_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
    text.match_indices(name).any(|(at, _)| {
        let after = text[at + name.len()..].trim_start_matches('.').chars().next();
        !text[..at].ends_with(is_of_word) && !after.is_some_and(is_of_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_a_whole_word() {
        for text in ["cannot read `util/src/gen.rs`", "gen.rs", "no gen.rs.", "in \"src/gen.rs\": none"] {
            assert!(is_named(text, "util/src/gen.rs"), "{text}");
        }
        for text in ["oxygen.rs", "gen.rsx", "gen", "my-gen.rs"] {
            assert!(!is_named(text, "util/src/gen.rs"), "{text}");
        }
    }
}
