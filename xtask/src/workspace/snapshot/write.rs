//! Lays a tree out in the folder of the snapshot, where a file is newer than what was built from it if its content is.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::clock::Clock;
use super::folders::Folders;
use super::id::{Format, Id};
use super::links::leads_out;
use super::names;
use super::record::{Clean, Record, Written};
use super::tree::{Entry, Origin, Tree, id_of, list};
use super::{RECORD, SOURCE, TOUCHED, UNCHECKED};
use crate::bpf::paths;
use crate::sys::stat::{Kind, Stat};
use crate::sys::{files, hash, parallel};

/// A tree as it lies in its folder.
#[derive(Debug)]
pub struct Snapshot {
    /// The top of the repository.
    pub source: PathBuf,
    /// The workspace in it.
    pub workspace: PathBuf,
    /// Files that were written: there was none, or another.
    pub written: Vec<String>,
    /// What was removed, because it is not part of the tree.
    pub removed: Vec<String>,
    /// Links that lead out of the snapshot, with their targets. They are left out of it.
    pub outside: Vec<(String, String)>,
    /// A hash of the commit, whether there are changes, and all paths.
    pub identity: String,
}

/// How a snapshot is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Added(String),
    Changed(String),
    Removed(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, what) = match self {
            Fault::Added(path) => (path, "added"),
            Fault::Changed(path) => (path, "changed"),
            Fault::Removed(path) => (path, "removed"),
        };
        write!(f, "{} was {what}", names::shown(path))
    }
}

/// A file of the tree in the snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) struct There {
    pub stat: Stat,
    /// As in [`Written`].
    pub content: Option<Id>,
}

impl Tree {
    /// Makes the folder of the snapshot hold this tree. The caller sees to it that nobody else does at the same time.
    pub fn write(&self) -> Result<Snapshot> {
        let source = self.snapshot.join(SOURCE);
        // Whoever put a link here does not get files written elsewhere.
        match at(&source)? {
            Some(stat) if stat.is_folder() => {}
            _ => {
                clear(&source)?;
                files::create_folder(&source)?;
            }
        }
        let targets = self.targets()?;
        let outside: BTreeMap<&str, &str> = targets
            .iter()
            .filter(|(link, _)| leads_out(&targets, link))
            .map(|(link, target)| (link.as_str(), target.as_str()))
            .collect();
        let mut there = self.there(&source, &outside)?;
        let missing: Vec<usize> = (0..there.len()).filter(|at| there[*at].is_none()).collect();
        let folders = folders(&self.files, &outside);
        let (extra, same_folders) = self.extra(&source, &folders, &outside)?;
        let identity = self.identity();
        let clean = self.clean(outside.is_empty(), &identity);
        let snapshot = Snapshot {
            // Joined one by one, the top has no slash at its end.
            workspace: source.iter().chain(Path::new(&self.workspace)).collect(),
            written: missing.iter().map(|at| self.files[*at].path.clone()).collect(),
            removed: extra.clone(),
            outside: outside
                .iter()
                .map(|(link, target)| (names::shown(link).into(), names::shown(target).into()))
                .collect(),
            identity,
            source,
        };
        if missing.is_empty() && extra.is_empty() && same_folders && self.is_recorded(&clean, &there) {
            return Ok(snapshot);
        }
        let record = self.snapshot.join(RECORD);
        clear(&record)?;
        let clock = Clock::begin(&self.snapshot)?;
        for path in &extra {
            clear(&names::path(&snapshot.source, path))?;
        }
        for folder in &folders {
            let folder = names::path(&snapshot.source, folder);
            if !at(&folder)?.is_some_and(|stat| stat.is_folder()) {
                clear(&folder)?;
                fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            }
        }
        for missing in &missing {
            clear(&names::path(&snapshot.source, &self.files[*missing].path))?;
        }
        let placed = self.place(&snapshot.source, &missing, &targets, clock.floor)?;

        let mut latest = 0;
        for (at, there_now) in placed {
            latest = latest.max(there_now.stat.ctime);
            there[at] = Some(there_now);
        }
        let mut written = Record { clean, ..Record::default() };
        for (entry, there) in self.files.iter().zip(there) {
            let there = there.with_context(|| format!("{} was not written", names::shown(&entry.path)))?;
            written.files.push(Written {
                path: entry.path.clone(),
                kind: entry.kind,
                id: entry.id,
                content: there.content,
                target: targets.get(&entry.path).cloned(),
                snapshot: there.stat,
                work: entry.work,
            });
        }
        for folder in folders {
            let stat = at(&names::path(&snapshot.source, &folder))?.unwrap_or(Stat::UNKNOWN);
            latest = latest.max(stat.ctime);
            written.folders.push((folder, stat));
        }
        clock.end(latest)?;
        written.save(&record)?;
        Ok(snapshot)
    }

    /// The targets of all links.
    fn targets(&self) -> Result<BTreeMap<String, String>> {
        let mut targets = BTreeMap::new();
        let mut unknown = Vec::new();
        for (at, entry) in self.files.iter().enumerate().filter(|(_, entry)| entry.kind == Kind::Link) {
            match self.record.as_ref().and_then(|record| record.find(&entry.path)) {
                Some(Written { id, target: Some(target), .. }) if *id == entry.id => {
                    targets.insert(entry.path.clone(), target.clone());
                }
                _ => unknown.push(at),
            }
        }
        let mut add = |at: usize, target: Vec<u8>| {
            let Entry { path, .. } = &self.files[at];
            targets.insert(path.clone(), names::text(&target).into_owned());
            Ok(())
        };
        for at in unknown.iter().copied().filter(|at| self.files[*at].origin == Origin::WorkTree) {
            let Entry { path, id, .. } = &self.files[at];
            let file = names::path(&self.top, path);
            let target = fs::read_link(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let target = target.into_os_string().into_encoded_bytes();
            if id.format().of_bytes(&target) != *id {
                return Err(changed(path));
            }
            add(at, target)?;
        }
        self.objects(&unknown, |at, _, reader| {
            let mut target = Vec::new();
            reader.read_to_end(&mut target)?;
            add(at, target)
        })?;
        Ok(targets)
    }

    /// What of the tree is there already.
    fn there(&self, source: &Path, outside: &BTreeMap<&str, &str>) -> Result<Vec<Option<There>>> {
        let mut known = self.record.as_ref().map(Record::cursor);
        let mut folders = Folders::new(source);
        let mut there = Vec::with_capacity(self.files.len());
        let mut unknown = Vec::new();
        for (at, entry) in self.files.iter().enumerate() {
            if entry.kind == Kind::Link && outside.contains_key(entry.path.as_str()) {
                there.push(Some(There { stat: Stat::UNKNOWN, content: None }));
                continue;
            }
            let known = known.as_mut().and_then(|known| known.find(&entry.path));
            let known = known.filter(|known| known.id == entry.id && known.kind == entry.kind);
            let stat = folders.stat(&entry.path)?;
            there.push(match (stat, known) {
                (Some(stat), Some(known)) if stat == known.snapshot => Some(There { stat, content: known.content }),
                (Some(stat), _) if is_like(&stat, entry.kind) => {
                    unknown.push((at, There { stat, content: known.and_then(|known| known.content) }));
                    None
                }
                _ => None,
            });
        }
        let same = parallel::map(&unknown, |(at, there)| {
            let Entry { path, id, .. } = &self.files[*at];
            let content = there.content.unwrap_or(*id);
            Ok(id_of(source, path, &there.stat, content.format())? == content)
        });
        for ((at, found), same) in unknown.into_iter().zip(same) {
            let same: Result<bool> = same;
            there[at] = same?.then_some(found);
        }
        Ok(there)
    }

    /// Whether the record says all that is known now.
    fn is_recorded(&self, clean: &Option<Clean>, there: &[Option<There>]) -> bool {
        let Some(record) = &self.record else { return false };
        let mut all = record.files.iter().zip(&self.files).zip(there);
        record.clean == *clean
            && record.files.len() == self.files.len()
            && all.all(|((file, entry), there)| {
                file.path == entry.path
                    && file.id == entry.id
                    && file.kind == entry.kind
                    && there.as_ref().is_some_and(|there| there.stat == file.snapshot)
                    && (entry.work == file.work || entry.work == Stat::UNKNOWN)
            })
    }

    /// What is there, and is not part of the tree; and whether the folders are as they were written.
    fn extra(&self, source: &Path, folders: &[String], outside: &BTreeMap<&str, &str>) -> Result<(Vec<String>, bool)> {
        let mut extra: Vec<String> = outside.keys().map(|link| (*link).into()).collect();
        let is_folder = |path: &str| folders.binary_search_by(|folder| folder.as_str().cmp(path)).is_ok();
        let is_file = |path: &str| self.files.binary_search_by(|entry| entry.path.as_str().cmp(path)).is_ok();
        let is_same = match &self.record {
            Some(record) => {
                // What was replaced by a file or folder of the same name is removed when that is written.
                let is_gone = |path: &str| !is_file(path) && !is_folder(path);
                let mut cursor = self.files.iter().peekable();
                for file in &record.files {
                    while cursor.next_if(|entry| entry.path < file.path).is_some() {}
                    if cursor.peek().is_none_or(|entry| entry.path != file.path) && is_gone(&file.path) {
                        extra.push(file.path.clone());
                    }
                }
                let gone = record.folders.iter().map(|(path, _)| path).filter(|path| is_gone(path));
                extra.extend(gone.cloned());
                unknown(source, &record.folders, |path| record.find(path).is_some(), &mut extra)?
            }
            None => {
                let folders: Vec<(String, Stat)> = folders.iter().map(|path| (path.clone(), Stat::UNKNOWN)).collect();
                unknown(source, &folders, is_file, &mut extra)?
            }
        };
        extra.sort();
        extra.dedup();
        let mut folders = Folders::new(source);
        let mut there = Vec::new();
        for path in extra {
            // A path through a link is not in the snapshot, wherever that leads.
            if folders.stat(&path)?.is_some() {
                there.push(path);
            }
        }
        Ok((there, is_same))
    }

    /// What is remembered of a tree that is a commit and nothing else.
    fn clean(&self, nothing_left_out: bool, identity: &str) -> Option<Clean> {
        match (&self.commit, self.listed) {
            (Some(commit), Some(listed))
                if nothing_left_out && !self.is_dirty() && self.files.iter().all(is_like_work) =>
            {
                Some(Clean { commit: commit.clone(), listed, identity: identity.into() })
            }
            _ => None,
        }
    }

    fn identity(&self) -> String {
        let mut text = match &self.commit {
            Some(commit) => format!("{} {}\0", commit.id, self.is_dirty()),
            None => "\0".into(),
        };
        for entry in &self.files {
            text.push_str(&entry.path);
            text.push('\0');
        }
        hash::bytes(text.as_bytes()).to_string()
    }
}

/// What is built from now on is unchecked until [`verify`] finds no fault.
pub fn begin(folder: &Path) -> Result<()> {
    files::write(&folder.join(UNCHECKED), "")
}

/// Makes files newer than all that was built of the snapshot in a folder, unless that was done for the same `stamp` last, and
/// what was built since was checked: those whose packages depend on what cargo does not see, the commit and which files
/// there are. By their paths in the repository. Gives whether it was done.
pub fn touch(folder: &Path, stamp: &str, paths: &[String]) -> Result<bool> {
    let touched = folder.join(TOUCHED);
    let is_checked = at(&folder.join(UNCHECKED))?.is_none();
    if is_checked && files::read_if_there(&touched)?.as_deref() == Some(stamp) {
        return Ok(false);
    }
    let mut record = load(folder)?;
    let clock = Clock::begin(folder)?;
    let mut latest = 0;
    for path in paths {
        let known = record.files.binary_search_by(|file| file.path.as_str().cmp(path));
        let known = known.ok().with_context(|| format!("{path} is not in the snapshot"))?;
        let file = names::path(&folder.join(SOURCE), path);
        let touched = File::options().write(true).open(&file).and_then(|file| file.set_modified(clock.time()));
        let stat = touched.and_then(|()| Stat::at(&file));
        let stat = stat.with_context(|| format!("cannot change the date of {}", file.display()))?;
        record.files[known].snapshot = stat.unwrap_or(Stat::UNKNOWN);
        latest = latest.max(record.files[known].snapshot.ctime);
    }
    clock.end(latest)?;
    record.save(&folder.join(RECORD))?;
    files::write(&touched, stamp)?;
    Ok(true)
}

/// Puts files into the snapshot in a folder, by their paths in the repository, and removes others. What is the same stays
/// as it is.
pub fn put(folder: &Path, put: &[(String, &[u8])], removed: &[String]) -> Result<()> {
    let source = folder.join(SOURCE);
    let mut record = load(folder)?;
    let format = record.files.first().map_or(Format::Plain, |file| file.id.format());
    let new: Vec<&(String, &[u8])> = put
        .iter()
        .filter(|(path, bytes)| {
            record.find(path).is_none_or(|file| file.content() != file.content().format().of_bytes(bytes))
        })
        .collect();
    record.clean = None;
    // Until it is done, nothing is known of the snapshot.
    clear(&folder.join(RECORD))?;
    let clock = Clock::begin(folder)?;
    for path in removed {
        clear(&names::path(&source, path))?;
        record.files.retain(|file| file.path != *path);
    }
    let mut latest = 0;
    for (path, bytes) in new {
        let file = names::path(&source, path);
        clear(&file)?;
        files::write(&file, bytes)?;
        let opened = File::options().write(true).open(&file).and_then(|file| {
            file.set_permissions(Permissions::from_mode(mode(Kind::Regular)))?;
            clock.floor.map_or(Ok(()), |floor| file.set_modified(floor))
        });
        opened.with_context(|| format!("cannot write {}", file.display()))?;
        let stat = at(&file)?.unwrap_or(Stat::UNKNOWN);
        latest = latest.max(stat.ctime);
        let written = Written {
            path: path.clone(),
            kind: Kind::Regular,
            id: format.of_bytes(bytes),
            content: None,
            target: None,
            snapshot: stat,
            work: Stat::UNKNOWN,
        };
        match record.files.binary_search_by(|file| file.path.cmp(path)) {
            Ok(at) => record.files[at] = written,
            Err(at) => record.files.insert(at, written),
        }
    }
    let files = record.files.iter().filter(|file| file.snapshot != Stat::UNKNOWN);
    let parents = files.map(|file| file.path.as_str());
    for folder in folders_of(parents) {
        let stat = at(&names::path(&source, &folder))?.unwrap_or(Stat::UNKNOWN);
        match record.folders.binary_search_by(|(known, _)| known.cmp(&folder)) {
            Ok(at) => record.folders[at].1 = stat,
            Err(at) => record.folders.insert(at, (folder, stat)),
        }
    }
    clock.end(latest)?;
    record.save(&folder.join(RECORD))
}

fn load(folder: &Path) -> Result<Record> {
    let file = folder.join(RECORD);
    Record::load(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// How the snapshot in a folder is not what was written, by the paths in it. What was built of it has been built. What has the
/// form of one of these patterns may have been written anew.
pub fn verify(folder: &Path, generated: &[String]) -> Result<Vec<Fault>> {
    Clock::built(folder)?;
    let (source, record) = (folder.join(SOURCE), load(folder)?);
    let mut faults = Vec::new();
    let mut folders = Folders::new(&source);
    for file in &record.files {
        // A link that leads out was not written; if one is there now, its folder says so.
        if file.snapshot == Stat::UNKNOWN {
            continue;
        }
        match folders.stat(&file.path)? {
            Some(stat) if stat == file.snapshot => {}
            Some(stat) if is_like(&stat, file.kind) => {
                let content = file.content();
                if id_of(&source, &file.path, &stat, content.format())? != content {
                    faults.push(Fault::Changed(file.path.clone()));
                }
            }
            Some(_) => faults.push(Fault::Changed(file.path.clone())),
            None => faults.push(Fault::Removed(file.path.clone())),
        }
    }
    faults.extend(added(&source, &record)?.into_iter().map(Fault::Added));
    let is_generated = |path: &str| generated.iter().any(|pattern| paths::matches(pattern, path));
    faults.retain(|fault| !matches!(fault, Fault::Changed(path) if is_generated(path)));
    faults.sort();
    if faults.is_empty() {
        checked(folder)?;
    }
    Ok(faults)
}

/// Removes what a build added to the snapshot in a folder, as far as its paths have the form of one of these patterns.
pub fn sweep(folder: &Path, patterns: &[String]) -> Result<()> {
    let source = folder.join(SOURCE);
    added(&source, &load(folder)?)?.iter().try_for_each(|path| sweep_at(&source, path, patterns))
}

fn sweep_at(source: &Path, path: &str, patterns: &[String]) -> Result<()> {
    let file = names::path(source, path);
    if at(&file)?.is_some_and(|stat| stat.is_folder()) {
        list(&file)?.iter().try_for_each(|name| sweep_at(source, &format!("{path}/{name}"), patterns))?;
        return if list(&file)?.is_empty() { clear(&file) } else { Ok(()) };
    }
    match patterns.iter().any(|pattern| paths::matches(pattern, path)) {
        true => clear(&file),
        false => Ok(()),
    }
}

/// What is in a snapshot and was not written there, by its paths; of a folder, no more than its own.
fn added(source: &Path, record: &Record) -> Result<Vec<String>> {
    let mut added = Vec::new();
    let is_file = |path: &str| record.find(path).is_some_and(|file| file.snapshot != Stat::UNKNOWN);
    unknown(source, &record.folders, is_file, &mut added)?;
    Ok(added)
}

/// Nothing that was built of the snapshot in a folder is unchecked.
pub(super) fn checked(folder: &Path) -> Result<()> {
    clear(&folder.join(UNCHECKED))
}

/// Finds what is in these folders, and is neither one of them nor a file that is known. Gives whether all folders are as they
/// were; one of which that is so is not read.
fn unknown(
    source: &Path,
    folders: &[(String, Stat)],
    is_file: impl Fn(&str) -> bool,
    found: &mut Vec<String>,
) -> Result<bool> {
    let is_folder = |path: &str| folders.binary_search_by(|(folder, _)| folder.as_str().cmp(path)).is_ok();
    let mut stats = Folders::new(source);
    let mut is_same = true;
    for (folder, written) in folders {
        let stat = match folder.as_str() {
            "" => at(source)?,
            folder => stats.stat(folder)?,
        };
        match stat {
            Some(stat) if stat == *written => continue,
            Some(stat) if stat.is_folder() => {
                let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
                let names = list(&names::path(source, folder))?.into_iter().map(|name| format!("{prefix}{name}"));
                found.extend(names.filter(|path| !is_file(path) && !is_folder(path)));
            }
            Some(_) => found.push(folder.clone()),
            None => {}
        }
        is_same = false;
    }
    Ok(is_same)
}

/// The folders that files are in, in the order of their paths.
fn folders(files: &[Entry], outside: &BTreeMap<&str, &str>) -> Vec<String> {
    folders_of(files.iter().map(|entry| entry.path.as_str()).filter(|path| !outside.contains_key(path)))
}

fn folders_of<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut folders = vec![String::new()];
    let mut last = "";
    for path in paths {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if parent == last {
            continue;
        }
        for end in parent.match_indices('/').map(|(at, _)| at).chain([parent.len()]) {
            let folder = &parent[..end];
            let is_there = last.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if !is_there && !folder.is_empty() {
                folders.push(folder.into());
            }
        }
        last = parent;
    }
    if !folders.is_sorted() {
        folders.sort();
    }
    folders
}

/// Whether nothing but what is recorded says what kind of file this is. What modes and links mean to git is asked anew.
fn is_like_work(entry: &Entry) -> bool {
    entry.work == Stat::UNKNOWN || entry.work.kind() == Some(entry.kind)
}

/// Whether a file may be one of this kind that was written here.
fn is_like(stat: &Stat, kind: Kind) -> bool {
    stat.kind() == Some(kind) && (kind == Kind::Link || stat.mode & 0o7777 == mode(kind))
}

pub(super) fn mode(kind: Kind) -> u32 {
    match kind {
        Kind::Executable => 0o755,
        Kind::Regular | Kind::Link => 0o644,
    }
}

/// Removes what is at a path; a link, not what it leads to.
pub(super) fn clear(path: &Path) -> Result<()> {
    match at(path)? {
        None => Ok(()),
        Some(stat) if stat.is_folder() => files::remove_folder(path),
        Some(_) => fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display())),
    }
}

pub(super) fn at(path: &Path) -> Result<Option<Stat>> {
    Stat::at(path).with_context(|| format!("cannot read {}", path.display()))
}

pub(super) fn changed(path: &str) -> anyhow::Error {
    anyhow!("{} changed while the snapshot was made: run it again", names::shown(path))
}
