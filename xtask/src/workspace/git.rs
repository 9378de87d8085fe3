//! The commit that is built, and what of the workspace is in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::bad_request;
use crate::sys::command::Command;
use crate::sys::process::Runner;
use crate::workspace::date;

/// The commit that is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// None outside git.
    pub commit: Option<String>,
    /// Whether the work tree differs from the commit.
    pub dirty: bool,
    /// Whether Cargo.lock does: cargo itself brings it up to date when it starts this tool.
    pub lock_changed: bool,
    /// The date of everything in the archives: seconds since 1970.
    pub date: u64,
    /// The repository; the workspace itself outside git.
    pub top: PathBuf,
    /// The files of the repository and its submodules that git does not ignore, by their paths in it. None outside git.
    #[serde(skip)]
    pub files: Option<BTreeSet<String>>,
}

impl Source {
    pub fn read(runner: Runner, root: &Path) -> Result<Source> {
        let epoch = date::asked()?;
        let root = &root.canonicalize().with_context(|| format!("cannot read {}", root.display()))?;
        let repository = root.ancestors().find(|folder| folder.join(".git").exists());
        let top = repository.unwrap_or(root);
        let git = |args: &[&str]| {
            runner
                // In English, for `remedies.rs`.
                .read(&Command::new("git", top).env("LC_ALL", "C").args(args.iter().copied()))
                .context("cannot ask git about the commit")
        };
        // Everything that git does not ignore. A workspace that it does ignore is of another repository than this.
        let mut files = BTreeSet::new();
        if repository.is_some() {
            let listed = git(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
            files.extend(listed.split_terminator('\0').map(String::from));
        }
        if files.contains(".gitmodules") {
            let listed = git(&["ls-files", "-z", "--cached", "--recurse-submodules"])?;
            files.extend(listed.split_terminator('\0').map(String::from));
        }
        let path = |file: &str| root.strip_prefix(top).unwrap_or(root).join(file).to_string_lossy().into_owned();
        if !files.contains(&path("Cargo.toml")) {
            return match epoch {
                Some(date) => {
                    Ok(Source { commit: None, dirty: false, lock_changed: false, date, top: root.clone(), files: None })
                }
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
        let lock = path("Cargo.lock");
        Ok(Source {
            commit: Some(commit.into()),
            dirty: !status.is_empty(),
            lock_changed: status.lines().any(|line| line.get(3..) == Some(lock.as_str())),
            date: match epoch {
                Some(date) => date,
                None => date::of_commit(date)?,
            },
            top: top.into(),
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
