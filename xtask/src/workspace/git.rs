//! The commit that is built, and what of the workspace is in it.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::sys::command::Command;
use crate::sys::process::Runner;
use crate::ui::error::bad_request;

/// The commit that is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// None outside git.
    pub commit: Option<String>,
    /// Whether the work tree differs from the commit.
    pub dirty: bool,
    /// Whether a Cargo.lock does: cargo itself brings it up to date when it starts this tool.
    pub lock_changed: bool,
    /// The date of everything in the archives: seconds since 1970.
    pub date: u64,
    /// The files of the workspace that git does not ignore, by their paths in it. None outside git.
    #[serde(skip)]
    pub files: Option<BTreeSet<String>>,
}

impl Source {
    pub fn read(runner: Runner, root: &Path) -> Result<Source> {
        let epoch = match env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => match text.parse() {
                Ok(seconds) => Some(seconds),
                Err(_) => bad_request!("SOURCE_DATE_EPOCH is `{text}`; seconds since 1970 are wanted"),
            },
            Err(_) => None,
        };
        let git = |args: &[&str]| {
            runner
                // In English, for `remedies.rs`.
                .read(&Command::new("git", root).env("LC_ALL", "C").args(args.iter().copied()))
                .context("cannot ask git about the commit")
        };
        let in_git = root.ancestors().any(|folder| folder.join(".git").exists());
        // Everything that git does not ignore. A workspace that it does ignore is of another repository than this.
        let files: BTreeSet<String> = match in_git {
            true => git(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?
                .split_terminator('\0')
                .map(String::from)
                .collect(),
            false => BTreeSet::new(),
        };
        if !files.contains("Cargo.toml") {
            return match epoch {
                Some(date) => Ok(Source { commit: None, dirty: false, lock_changed: false, date, files: None }),
                None => bad_request!(
                    "{} is not in a git repository, so the files in the archives have no date: \
                     set SOURCE_DATE_EPOCH to seconds since 1970",
                    root.display()
                ),
            };
        }
        let head = git(&["log", "-1", "--no-show-signature", "--format=%H %ct"])?;
        let (commit, date) = head.trim_end().split_once(' ').context("git did not tell the commit")?;
        // Not as the user has configured it: what is not committed must be seen.
        let status = ["status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=none"];
        let status = git(&status)?;
        Ok(Source {
            commit: Some(commit.into()),
            dirty: !status.is_empty(),
            lock_changed: status.lines().any(|line| line.ends_with("Cargo.lock")),
            date: match epoch {
                Some(date) => date,
                None => date.parse().context("git did not tell the date of the commit")?,
            },
            files: Some(files),
        })
    }

    /// The commit as `doctor` shows it.
    pub fn summary(&self) -> String {
        match &self.commit {
            Some(commit) => format!("commit {commit:.12}{}", if self.dirty { ", with changes" } else { "" }),
            None => "not in git; SOURCE_DATE_EPOCH tells the date".into(),
        }
    }

    /// The commit as `--version` of the binary prints it.
    pub fn describe(&self) -> Option<String> {
        let commit = self.commit.as_ref()?;
        Some(if self.dirty { format!("{commit}-dirty") } else { commit.clone() })
    }
}
