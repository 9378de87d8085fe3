//! What is built: a snapshot of the workspace, and its description.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use bpfship_embed::{is_source, is_source_folder};
use serde::Serialize;

use crate::sys::process::Runner;
use crate::sys::{files, hash};
use crate::ui::error::{BadRequest, bad_request};
use crate::ui::screen::Level;
use crate::workspace::date;
use crate::workspace::ignored::{IgnoredFiles, leads_out};
use crate::workspace::snapshot::{self, Change, Commit, Request, Taken};

/// How many changes are named in a sentence.
const NAMED: usize = 5;

/// The commit that is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// None outside git.
    pub commit: Option<String>,
    /// Whether what is built differs from the commit.
    pub dirty: bool,
    /// The date of everything in the archives: seconds since 1970.
    pub date: u64,
}

/// A snapshot, and where it is from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The folder that is given to the functions of snapshot/.
    pub folder: PathBuf,
    /// The top of the repository in it.
    pub top: PathBuf,
    /// The workspace in it. Only what is here is built.
    pub workspace: PathBuf,
    /// The path of the workspace in the repository.
    pub path: String,
    /// The top of the repository that it was taken from.
    pub from: PathBuf,
    pub commit: Option<Commit>,
    /// In what it differs from the commit.
    pub changes: Vec<Change>,
    /// A hash of the commit, whether there are changes, and all paths.
    pub identity: String,
    /// Links that lead out of the repository and were left out, by their paths in it, with their targets.
    pub outside: Vec<(String, String)>,
    pub ignored: IgnoredFiles,
}

impl Sources {
    /// Takes the snapshot of a workspace: of a commit, or of what is there. `left_out` are folders that are no sources.
    /// Nobody else may do so at the same time.
    pub fn take(
        runner: Runner,
        workspace: &Path,
        folder: &Path,
        left_out: &[PathBuf],
        commit: Option<&str>,
    ) -> Result<Sources> {
        let settings = snapshot::settings();
        let request = Request { workspace, snapshot: folder, left_out, commit, settings };
        let Taken { top, workspace: path, commit, changes, snapshot } = snapshot::take(runner, &request)?;
        if runner.screen().level == Level::Verbose {
            let (written, removed) = (snapshot.written.len(), snapshot.removed.len());
            runner.status(format!("snapshot in {}: {written} files written, {removed} removed", folder.display()));
        }
        let sources = Sources {
            folder: folder.into(),
            top: snapshot.source,
            workspace: snapshot.workspace,
            ignored: IgnoredFiles::new(runner, &top, &top.join(&path), left_out, &snapshot.outside),
            path,
            from: top,
            commit,
            changes,
            identity: snapshot.identity,
            outside: snapshot.outside,
        };
        if let (Some(commit), false) = (&sources.commit, sources.workspace.join("Cargo.toml").is_file()) {
            bad_request!("commit {} has no {}", commit.id, sources.in_repository("Cargo.toml"));
        }
        Ok(sources)
    }

    /// The path in the repository of what has this one in the workspace.
    pub fn in_repository(&self, path: &str) -> String {
        match self.path.as_str() {
            "" => path.into(),
            workspace => format!("{workspace}/{path}"),
        }
    }

    /// How many folders above the workspace are of its repository.
    pub fn above(&self) -> usize {
        self.path.split('/').filter(|part| !part.is_empty()).count()
    }

    /// The path in the user's repository of a file in the snapshot.
    pub fn as_user_knows(&self, file: &Path) -> PathBuf {
        file.strip_prefix(&self.top).map_or_else(|_| file.to_path_buf(), |path| self.from.join(path))
    }

    /// A wrong request that names files of the snapshot, by their names in the user's repository.
    pub fn in_user_words(&self, error: Error) -> Error {
        match error.downcast::<BadRequest>() {
            Ok(BadRequest(text)) => BadRequest(self.words(&text)).into(),
            Err(error) => error,
        }
    }

    /// A text with the names in the user's repository of what it names in the snapshot.
    pub fn words(&self, text: &str) -> String {
        text.replace(&*self.top.to_string_lossy(), &self.from.to_string_lossy())
    }

    /// Why the snapshot does not have this path of the workspace, if that is known.
    pub fn why_missing(&self, path: &str) -> Option<String> {
        let in_repository = self.in_repository(path);
        let is_behind =
            |link: &str| in_repository.strip_prefix(link).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match self.outside.iter().find(|(link, _)| is_behind(link)) {
            Some((_, target)) => Some(leads_out(target)),
            None => match self.outside.iter().find(|(link, _)| link.starts_with(&format!("{in_repository}/"))) {
                Some((link, target)) => Some(format!("holds {link}, which {}", leads_out(target))),
                None => self.ignored.why(path),
            },
        }
    }

    /// A link in one of these folders of the repository that is a BPF source, or a folder of some, and is not in the snapshot.
    pub fn source_outside(&self, folders: &[String]) -> Option<String> {
        let is_inside = |link: &str| folders.iter().any(|folder| link.starts_with(&format!("{folder}/")));
        let is_source = |link: &str| {
            let path = self.from.join(link);
            let name = link.rsplit('/').next().unwrap_or(link);
            match path.is_dir() {
                true => files::names(&path).is_ok_and(|names| {
                    is_source_folder(name) && names.iter().any(|name| is_source(&name.to_string_lossy()))
                }),
                false => is_source(name),
            }
        };
        let (link, target) = self.outside.iter().find(|(link, _)| is_inside(link) && is_source(link))?;
        Some(format!("{link} {}", leads_out(target)))
    }

    /// What depends on the commit or on the list of files without cargo's knowledge is built again if this is another
    /// one.
    pub fn stamp(&self, source: &Source) -> String {
        let Source { commit, dirty, date } = source;
        hash::bytes(format!("{} {commit:?} {dirty} {date}", self.identity).as_bytes()).to_string()
    }

    /// Refuses changes.
    pub fn check_clean(&self) -> Result<()> {
        match self.changes.as_slice() {
            [] => Ok(()),
            changes => bail!(
                "--locked, but there are changes that are not committed: {}; commit them, or add --allow-dirty",
                first(changes)
            ),
        }
    }
}

/// What git finds where a snapshot is built, in place of the user's repository, in which that folder is: tags, changes and the
/// branch of that are not of the commit. git prints what stands behind the colon.
const NO_REPOSITORY: &str = "gitdir: /none: what is built is a snapshot, whose commit is in BPFSHIP_COMMIT\n";

/// Makes the folder in which builds work. It has one name, however it was reached: the name is in what is compiled there.
pub fn work_folder(folder: &Path) -> Result<PathBuf> {
    files::create_folder(folder)?;
    folder.canonicalize().with_context(|| format!("cannot read {}", folder.display()))
}

/// Keeps what is built in a folder from finding the user's repository.
pub fn hide_repository(work: &Path) -> Result<()> {
    files::replace(&[(work.join(".git"), NO_REPOSITORY.as_bytes())])
}

/// The first of several names, and how many more there are.
pub fn first<T: ToString>(all: &[T]) -> String {
    let mut text = all.iter().take(NAMED).map(T::to_string).collect::<Vec<_>>().join(", ");
    if all.len() > NAMED {
        text += &format!(", and {} more", all.len() - NAMED);
    }
    text
}

impl Source {
    /// Of a workspace at `root`, of which this is the commit.
    pub fn new(root: &Path, commit: Option<&Commit>, dirty: bool) -> Result<Source> {
        let of_commit = commit.map(|commit| date::of_commit(&commit.date.to_string()));
        let date = match (date::asked()?, of_commit) {
            (Some(date), _) => Some(date),
            (None, of_commit) => of_commit.transpose()?,
        };
        let Some(date) = date else {
            bad_request!(
                "{} is in no commit of a git repository, so the files in the archives have no date: \
                 set SOURCE_DATE_EPOCH to seconds since 1970",
                root.display()
            )
        };
        Ok(Source { commit: commit.map(|commit| commit.id.clone()), dirty: dirty && commit.is_some(), date })
    }

    /// The commit as `doctor` shows it.
    pub fn summary(&self) -> String {
        match &self.commit {
            Some(commit) => format!("commit {commit:.12}{}", if self.dirty { ", with changes" } else { "" }),
            None => "not in git; the date is from SOURCE_DATE_EPOCH".into(),
        }
    }

    /// The commit as `--version` of the binary prints it.
    pub fn describe(&self) -> Option<String> {
        let commit = self.commit.as_ref()?;
        Some(if self.dirty { format!("{commit}-dirty") } else { commit.clone() })
    }
}
