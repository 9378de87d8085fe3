//! What a snapshot holds, as data: of a clean work tree the commit, else what the work tree has.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};

use super::folders::Folders;
use super::git::{Commit, Hidden, Index, Listed, Recorded, Repository, What};
use super::id::{Format, Id};
use super::names;
use super::record::Record;
use crate::sys::parallel;
use crate::sys::process::Runner;
use crate::sys::stat::{self, Kind, Stat};
use crate::ui::error::bad_request;

/// The remedy for a submodule that is not there.
const UPDATE: &str = "git submodule update --init --recursive";

/// What is asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// A folder with a Cargo.toml.
    pub workspace: &'a Path,
    /// Where the snapshot lies, or will.
    pub snapshot: &'a Path,
    /// Folders of what is built, which are never part of it unless they are committed.
    pub left_out: &'a [PathBuf],
    /// This commit, whatever the work tree holds.
    pub commit: Option<&'a str>,
    /// The variables by which git finds the user's settings, which have a say in what is ignored.
    pub settings: BTreeMap<String, String>,
}

impl Request<'_> {
    /// All folders that are left out.
    pub(super) fn left_out(&self) -> Vec<PathBuf> {
        self.left_out.iter().map(|path| canonical(path)).chain([canonical(self.snapshot)]).collect()
    }
}

#[derive(Debug)]
pub struct Tree {
    /// The repository, or the workspace outside git.
    pub top: PathBuf,
    /// The path of the workspace in it.
    pub workspace: String,
    /// None outside git, and before the first commit.
    pub commit: Option<Commit>,
    /// In what it differs from the commit.
    pub changes: Vec<Change>,
    /// In the order of the paths.
    pub files: Vec<Entry>,
    /// What git's list of all files is called; none if there are submodules.
    pub(super) listed: Option<Id>,
    pub(super) repositories: Vec<Repository>,
    pub(super) snapshot: PathBuf,
    pub(super) record: Option<Record>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// In the repository.
    pub path: String,
    pub kind: Kind,
    pub id: Id,
    pub origin: Origin,
    /// Of the file in the work tree, if that has this id.
    pub(super) work: Stat,
}

/// Where the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An object of this one of the tree's repositories.
    Object(usize),
    WorkTree,
}

/// A path at which the work tree differs from the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub path: String,
    pub what: Difference,
    /// Why `git status` does not show it.
    pub hidden: Option<Hidden>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    Changed,
    Added,
    Removed,
    /// A package of this name, which is in no repository's work tree that the snapshot is of.
    Outside(String),
    /// A repository that is at another commit than is recorded. None is one without a commit, or that is not recorded.
    Module {
        found: Option<String>,
        recorded: Option<String>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = names::shown(&self.path);
        match &self.what {
            Difference::Changed => write!(f, "{path} is changed")?,
            Difference::Added => write!(f, "{path} is not committed")?,
            Difference::Removed => write!(f, "{path} is removed")?,
            Difference::Outside(package) => write!(f, "{package} is taken from {path}, outside the repository")?,
            Difference::Module { recorded: None, .. } => write!(f, "{path} is a repository that is not committed")?,
            Difference::Module { found, recorded: Some(recorded) } => {
                let found = found.as_deref().unwrap_or("no commit");
                write!(f, "submodule {path} is at {found}, and {recorded} is committed")?;
            }
        }
        match &self.hidden {
            Some(flag) => write!(f, " (git status does not show it: {flag} is set)"),
            None => Ok(()),
        }
    }
}

impl Tree {
    /// Reads what is there. Nothing is written.
    pub fn read(runner: Runner, request: &Request) -> Result<Tree> {
        let workspace = canonical(request.workspace);
        let reader = |top: &Path| Reader {
            left_out: request.left_out(),
            tree: Tree {
                top: top.into(),
                workspace: String::new(),
                commit: None,
                changes: Vec::new(),
                files: Vec::new(),
                listed: None,
                repositories: Vec::new(),
                snapshot: request.snapshot.into(),
                record: Record::load(&request.snapshot.join(super::RECORD)),
            },
        };
        if let Some(repository) = Repository::around(runner, &workspace, &request.settings) {
            let path = workspace.strip_prefix(&repository.folder)?;
            let path = path.to_str().with_context(|| format!("{} is not UTF-8: rename it", path.display()))?;
            let mut reader = reader(&repository.folder);
            reader.tree.workspace = path.into();
            reader.tree.commit = match request.commit {
                Some(name) => Some(reader.commit(repository, "", name)?),
                None => reader.work_tree(repository, "", None)?,
            };
            let mut tree = reader.tree;
            // In a submodule's folder is what stands elsewhere in the order of the outer repository.
            if !tree.files.is_sorted_by(|a, b| a.path < b.path) {
                tree.files.sort_by(|a, b| a.path.cmp(&b.path));
            }
            tree.changes.sort_by(|a, b| a.path.cmp(&b.path));
            for folder in request.snapshot.parent().iter().flat_map(|work| inside(&[canonical(work)], &tree.top)) {
                if let Some(entry) = tree.files.iter().find(|entry| is_in(&entry.path, &folder)) {
                    bad_request!(
                        "{} is committed, in a folder that each build changes: git rm -r --cached {folder}, and add it to .gitignore",
                        names::shown(&entry.path)
                    );
                }
            }
            // A workspace that git ignores is of another repository than this.
            if request.commit.is_some() || tree.file("Cargo.toml").is_some() {
                return Ok(tree);
            }
        } else if let Some(commit) = request.commit {
            bad_request!("{} is not in a git repository, so it has no commit {commit}", workspace.display());
        }
        let mut reader = reader(&workspace);
        reader.outside_git()?;
        Ok(reader.tree)
    }

    pub fn is_dirty(&self) -> bool {
        !self.changes.is_empty()
    }

    /// A file of the workspace, by its path in it.
    pub fn file(&self, path: &str) -> Option<&Entry> {
        let path = match self.workspace.as_str() {
            "" => path.to_owned(),
            workspace => format!("{workspace}/{path}"),
        };
        let at = self.files.binary_search_by(|entry| entry.path.cmp(&path)).ok()?;
        Some(&self.files[at])
    }
}

pub(super) fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.into())
}

/// Those of these folders that are in another one, by their paths in there.
pub(super) fn inside(folders: &[PathBuf], outer: &Path) -> Vec<String> {
    let inside = folders.iter().filter_map(|folder| folder.strip_prefix(outer).ok()?.to_str());
    inside.filter(|folder| !folder.is_empty()).map(String::from).collect()
}

fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Collects what a tree holds.
struct Reader {
    left_out: Vec<PathBuf>,
    tree: Tree,
}

/// A path that the commit or the work tree has.
struct Seen<'a> {
    path: &'a str,
    committed: Option<(Kind, Id)>,
    index: Option<Index<'a>>,
    /// Of a file or link in the work tree.
    stat: Option<Stat>,
    /// What that holds.
    found: Option<(Kind, Id)>,
}

/// A repository in the work tree of another.
struct Module<'a> {
    path: &'a str,
    /// The commit that the other one holds of it.
    recorded: Option<&'a str>,
}

impl Reader {
    /// All that a commit holds.
    fn commit(&mut self, repository: Repository, prefix: &str, name: &str) -> Result<Commit> {
        let Some(commit) = repository.commit(name)? else {
            match prefix {
                "" => bad_request!("there is no commit {name} in {}: fetch it", repository.folder.display()),
                prefix => {
                    bad_request!("there is no commit {name} in submodule {}: {UPDATE}", names::shown(unslashed(prefix)))
                }
            }
        };
        let number = self.tree.repositories.len();
        self.tree.repositories.push(repository.clone());
        for Recorded { path, what } in repository.tree(&commit.id)? {
            let full = format!("{prefix}{path}");
            match what {
                What::File(kind, id) => {
                    let origin = Origin::Object(number);
                    self.tree.files.push(Entry { path: full, kind, id, origin, work: Stat::UNKNOWN });
                }
                What::Module(commit) => {
                    self.commit(module(&repository, prefix, &path)?, &format!("{full}/"), &commit)?;
                }
            }
        }
        Ok(commit)
    }

    /// What the work tree of a repository holds, whose commit the outer repository `recorded`. Gives its commit.
    fn work_tree(&mut self, repository: Repository, prefix: &str, recorded: Option<&str>) -> Result<Option<Commit>> {
        let now = stat::now();
        repository.check_place()?;
        let left_out = inside(&self.left_out, &repository.folder);
        let (printed, commit) = thread::scope(|scope| {
            let printed = scope.spawn(|| repository.list(&left_out));
            let commit = repository.commit("HEAD").and_then(|commit| {
                let tree = commit.as_ref().map_or(Ok(Vec::new()), |commit| repository.tree(&commit.id))?;
                Ok((commit, tree))
            });
            (printed.join().expect("a thread that does not panic"), commit)
        });
        let (printed, (commit, tree)) = (printed?, commit?);
        self.tree.listed = prefix.is_empty().then(|| Format::Plain.of_bytes(&printed));
        let printed = names::text(&printed);
        let listed = Repository::listed(&printed)?;

        let found = commit.as_ref().map(|commit| commit.id.clone());
        if !prefix.is_empty() && found.as_deref() != recorded {
            let what = Difference::Module { found, recorded: recorded.map(String::from) };
            self.tree.changes.push(Change { path: unslashed(prefix).into(), what, hidden: None });
        }
        let (mut seen, modules) = self.see(&repository, prefix, &tree, &listed)?;
        hash(&repository, &tree, &mut seen)?;
        ask_git(&repository, &mut seen)?;
        let number = self.tree.repositories.len();
        self.tree.repositories.push(repository.clone());
        self.tree.files.reserve(seen.len());
        for seen in &seen {
            self.add(prefix, number, seen, now);
        }
        for Module { path, recorded } in modules {
            let inner = module(&repository, prefix, path)?;
            self.work_tree(inner, &format!("{prefix}{path}/"), recorded)?;
        }
        Ok(commit)
    }

    /// Puts side by side what the commit has and what the work tree has; submodules apart.
    fn see<'a>(
        &mut self,
        repository: &Repository,
        prefix: &str,
        tree: &'a [Recorded],
        listed: &[Listed<'a>],
    ) -> Result<(Vec<Seen<'a>>, Vec<Module<'a>>)> {
        let mut known = self.tree.record.as_ref().map(Record::cursor);
        let mut folders = Folders::new(&repository.folder);
        let mut full = String::from(prefix);
        let (mut seen, mut modules) = (Vec::with_capacity(listed.len()), Vec::new());
        let (mut tree, mut listed) = (tree.iter().peekable(), listed.iter().peekable());
        loop {
            let next = match (tree.peek(), listed.peek()) {
                (None, None) => return Ok((seen, modules)),
                (Some(recorded), None) => &recorded.path,
                (None, Some(listed)) => listed.path,
                (Some(recorded), Some(listed)) => listed.path.min(&recorded.path),
            };
            let committed = tree.next_if(|recorded| recorded.path == next).map(|recorded| &recorded.what);
            let listed = listed.next_if(|listed| listed.path == next);
            let index = listed.and_then(|listed| listed.index);
            let is_module = match (listed, index) {
                (_, Some(index)) => index.is_module(),
                (Some(listed), None) => listed.path.ends_with('/'),
                (None, None) => false,
            };
            let (commit, committed) = match committed {
                Some(What::Module(commit)) => (Some(commit.as_str()), None),
                Some(What::File(kind, id)) => (None, Some((*kind, *id))),
                None => (None, None),
            };
            if is_module {
                modules.push(Module { path: unslashed(next), recorded: commit });
            } else if commit.is_some() {
                let change = Change { path: format!("{prefix}{next}"), what: Difference::Removed, hidden: None };
                self.tree.changes.push(change);
            }
            if is_module && committed.is_none() {
                continue;
            }
            let mut stat = None;
            let mut found = None;
            if let (Some(_), false) = (listed, is_module) {
                stat = folders.stat(next)?.filter(|stat| stat.kind().is_some());
                full.truncate(prefix.len());
                full.push_str(next);
                let known = known.as_mut().and_then(|known| known.find(&full));
                let known = known.filter(|known| stat == Some(known.work));
                // Whether modes mean anything is asked anew.
                found = known.and_then(|known| Some((stat?.kind()?, known.id)));
            }
            if committed.is_some() || stat.is_some() || index.is_some() {
                seen.push(Seen { path: next, committed, index, stat, found });
            }
        }
    }

    /// Adds a file of the work tree, and says in what it differs from the commit.
    fn add(&mut self, prefix: &str, repository: usize, seen: &Seen, now: i64) {
        let Seen { committed, index, stat, found, .. } = *seen;
        let object = Origin::Object(repository);
        let hidden = index.and_then(|index| index.hidden);
        let work = stat.map_or(Stat::UNKNOWN, |stat| stat.settled(now));
        let entry = match (found, committed) {
            (Some(found), Some((_, id))) if found.1 == id => Some((found, object)),
            (Some(found), _) => Some((found, Origin::WorkTree)),
            // Not there, and not missed: a sparse checkout.
            (None, committed) if hidden == Some(Hidden::SkipWorktree) => {
                committed.or(index.and_then(|index| index.file())).map(|file| (file, object))
            }
            (None, _) => None,
        };
        let what = match (entry.map(|(file, _)| file), committed) {
            (Some(file), Some(committed)) if file == committed => None,
            (Some(_), Some(_)) => Some(Difference::Changed),
            (Some(_), None) => Some(Difference::Added),
            (None, Some(_)) => Some(Difference::Removed),
            (None, None) => None,
        };
        let path = format!("{prefix}{}", seen.path);
        if let Some(what) = what {
            self.tree.changes.push(Change { path: path.clone(), what, hidden });
        }
        if let Some(((kind, id), origin)) = entry {
            self.tree.files.push(Entry { path, kind, id, origin, work });
        }
    }

    /// All files of a folder that is in no repository.
    fn outside_git(&mut self) -> Result<()> {
        let now = stat::now();
        let mut found = Vec::new();
        walk(&self.tree.top, "", &self.left_out, &mut found)?;
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let mut known = self.tree.record.as_ref().map(Record::cursor);
        let known: Vec<Option<Id>> = found
            .iter()
            .map(|(path, stat)| {
                let known = known.as_mut()?.find(path).filter(|known| known.work == *stat)?;
                Some(known.id)
            })
            .collect();
        let unknown: Vec<&(String, Stat)> =
            found.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(found, _)| found).collect();
        let mut hashed =
            parallel::map(&unknown, |(path, stat)| id_of(&self.tree.top, path, stat, Format::Plain)).into_iter();
        for ((path, stat), known) in found.iter().zip(known) {
            let id = match known {
                Some(id) => id,
                None => hashed.next().context("a file that was not hashed")??,
            };
            let kind = stat.kind().context("neither file nor link")?;
            let work = stat.settled(now);
            self.tree.files.push(Entry { path: path.clone(), kind, id, origin: Origin::WorkTree, work });
        }
        Ok(())
    }
}

/// The repository of a submodule, as far as it is checked out.
fn module(outer: &Repository, prefix: &str, path: &str) -> Result<Repository> {
    match outer.inner(path) {
        Some(repository) => Ok(repository),
        None => bad_request!("submodule {} is not checked out: {UPDATE}", names::shown(&format!("{prefix}{path}"))),
    }
}

/// Reads the files of which nothing is known.
fn hash(repository: &Repository, tree: &[Recorded], seen: &mut [Seen]) -> Result<()> {
    let unknown: Vec<usize> =
        (0..seen.len()).filter(|at| seen[*at].stat.is_some() && seen[*at].found.is_none()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let of_tree = tree.iter().find_map(|recorded| match &recorded.what {
        What::File(_, id) => Some(id.format()),
        What::Module(_) => None,
    });
    let format = match of_tree {
        Some(format) => format,
        None => repository.format()?,
    };
    let all: &[Seen] = seen;
    let hashed = parallel::map(&unknown, |at| {
        let Seen { path, stat, .. } = &all[*at];
        let stat = stat.context("a file that is not there")?;
        Ok((stat.kind().context("neither file nor link")?, id_of(&repository.folder, path, &stat, format)?))
    });
    for (at, found) in unknown.into_iter().zip(hashed) {
        let found: Result<(Kind, Id)> = found;
        seen[at].found = Some(found?);
    }
    Ok(())
}

/// Where a file is not what the commit holds, git may still see it so: by line ends, filters, or modes that do not count.
/// That decides what is called a change. What is then built is the commit's.
fn ask_git(repository: &Repository, seen: &mut [Seen]) -> Result<()> {
    let is_file = |kind| kind != Kind::Link;
    let other_modes: Vec<usize> = (0..seen.len())
        .filter(|at| match (seen[*at].found, seen[*at].committed) {
            (Some((found, _)), Some((kind, _))) => found != kind && is_file(found) && is_file(kind),
            (Some((found, _)), None) => found == Kind::Executable,
            _ => false,
        })
        .collect();
    if !other_modes.is_empty() && !repository.is_on("core.fileMode")? {
        for at in other_modes {
            let Seen { committed, index, found, .. } = &mut seen[at];
            let kind = committed.or(index.and_then(|index| index.file())).map_or(Kind::Regular, |(kind, _)| kind);
            *found = found.map(|(_, id)| (kind, id));
        }
    }
    // Without links, a file holds where one leads to.
    let is_file_for_link = |seen: &Seen| match (seen.found, seen.committed) {
        (Some((found, id)), Some((Kind::Link, committed))) => is_file(found) && id == committed,
        _ => false,
    };
    if seen.iter().any(is_file_for_link) && !repository.is_on("core.symlinks")? {
        seen.iter_mut().filter(|seen| is_file_for_link(seen)).for_each(|seen| seen.found = seen.committed);
    }
    let other_bytes: Vec<usize> = (0..seen.len())
        .filter(|at| match (seen[*at].found, seen[*at].committed) {
            (Some((found, id)), Some((kind, committed))) => id != committed && is_file(found) && is_file(kind),
            _ => false,
        })
        .collect();
    let paths: Vec<&str> = other_bytes.iter().map(|at| seen[*at].path).collect();
    if paths.is_empty() {
        return Ok(());
    }
    let filtered = repository.filtered(&paths).context("cannot ask git what has changed")?;
    for (at, id) in other_bytes.into_iter().zip(filtered) {
        let Seen { committed, found, .. } = &mut seen[at];
        if committed.is_some_and(|(_, committed)| committed == id) {
            *found = found.map(|(kind, _)| (kind, id));
        }
    }
    Ok(())
}

/// The id of a file or link of this stat.
pub(super) fn id_of(folder: &Path, path: &str, stat: &Stat, format: Format) -> Result<Id> {
    let file = names::path(folder, path);
    let id = match stat.kind() {
        Some(Kind::Link) => fs::read_link(&file).map(|target| format.of_bytes(target.as_os_str().as_bytes())),
        _ => format.of_file(&file, stat.size),
    };
    id.with_context(|| format!("cannot read {}", file.display()))
}

/// The files and links below a folder.
fn walk(top: &Path, prefix: &str, left_out: &[PathBuf], found: &mut Vec<(String, Stat)>) -> Result<()> {
    for name in list(&names::path(top, prefix))? {
        let path = format!("{prefix}{name}");
        let full = names::path(top, &path);
        if name == ".git" || left_out.contains(&full) {
            continue;
        }
        let stat = Stat::at(&full).with_context(|| format!("cannot read {}", full.display()))?;
        match stat {
            Some(stat) if stat.is_folder() => walk(top, &format!("{path}/"), left_out, found)?,
            // Sockets and the like are no files, for git neither.
            Some(stat) if stat.kind().is_some() => found.push((path, stat)),
            _ => {}
        }
    }
    Ok(())
}

/// The names in a folder.
pub(super) fn list(folder: &Path) -> Result<Vec<String>> {
    let listing = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let listing = listing.with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(listing.iter().map(|entry| names::text(entry.file_name().as_bytes()).into_owned()).collect())
}

fn unslashed(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}
