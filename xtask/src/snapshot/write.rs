//! Lays a tree out in the folder of the snapshot, where a file is newer than what was built from it if its content is.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};

use super::clock::Clock;
use super::git::Repository;
use super::id::{Format, Id};
use super::lfs::{self, Pointer};
use super::links::leads_out;
use super::record::{Record, Written};
use super::stat::{Folders, Kind, Stat};
use super::tree::{Entry, Origin, Tree, id_of};
use super::{RECORD, SOURCE, TOUCHED};
use crate::{bad_request, files, hash, parallel};

/// A larger file is written as it comes from git; smaller ones by several threads. In bytes.
const LARGE: u64 = 1024 * 1024;

/// How many bytes or files are handed to a thread at once.
const BATCH: usize = 256 * 1024;
const BATCH_FILES: usize = 64;

/// A tree as it lies in its folder.
#[derive(Debug)]
pub struct Snapshot {
    folder: PathBuf,
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
    /// Whether that is another than when [`Snapshot::touch`] was called last.
    pub is_other: bool,
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
        match self {
            Fault::Added(path) => write!(f, "{path} was added"),
            Fault::Changed(path) => write!(f, "{path} was changed"),
            Fault::Removed(path) => write!(f, "{path} was removed"),
        }
    }
}

/// A file of the tree in the snapshot.
#[derive(Debug, Clone, Copy)]
struct There {
    stat: Stat,
    /// As in [`Written`].
    content: Option<Id>,
}

/// Files by their places in the tree, and their bytes.
type Batch = Vec<(usize, Vec<u8>)>;

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
        let snapshot = Snapshot {
            folder: self.snapshot.clone(),
            // Joined one by one, the top has no slash at its end.
            workspace: source.iter().chain(Path::new(&self.workspace)).collect(),
            written: missing.iter().map(|at| self.files[*at].path.clone()).collect(),
            removed: extra.clone(),
            outside: outside.iter().map(|(link, target)| ((*link).into(), (*target).into())).collect(),
            is_other: files::read_if_there(&self.snapshot.join(TOUCHED))?.as_ref() != Some(&identity),
            identity,
            source,
        };
        if missing.is_empty() && extra.is_empty() && same_folders && self.is_recorded(&there) {
            return Ok(snapshot);
        }
        let record = self.snapshot.join(RECORD);
        clear(&record)?;
        let clock = Clock::begin(&self.snapshot)?;
        for path in &extra {
            clear(&snapshot.source.join(path))?;
        }
        for folder in &folders {
            let folder = snapshot.source.join(folder);
            if !at(&folder)?.is_some_and(|stat| stat.is_folder()) {
                clear(&folder)?;
                fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            }
        }
        for missing in &missing {
            clear(&snapshot.source.join(&self.files[*missing].path))?;
        }
        let placed = self.place(&snapshot.source, &missing, &targets, clock.floor)?;

        let mut latest = 0;
        for (at, there_now) in placed {
            latest = latest.max(there_now.stat.ctime);
            there[at] = Some(there_now);
        }
        let mut written = Record::default();
        for (entry, there) in self.files.iter().zip(there) {
            let there = there.with_context(|| format!("{} was not written", entry.path))?;
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
            let stat = at(&snapshot.source.join(&folder))?.unwrap_or(Stat::UNKNOWN);
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
            let Ok(target) = String::from_utf8(target) else {
                bail!("the target of the link {path} is not UTF-8: make it another");
            };
            targets.insert(path.clone(), target);
            Ok(())
        };
        for at in unknown.iter().copied().filter(|at| self.files[*at].origin == Origin::WorkTree) {
            let Entry { path, id, .. } = &self.files[at];
            let file = self.top.join(path);
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
    fn is_recorded(&self, there: &[Option<There>]) -> bool {
        let Some(record) = &self.record else { return false };
        let mut all = record.files.iter().zip(&self.files).zip(there);
        record.files.len() == self.files.len()
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

    /// Writes files and links, where there are none.
    fn place(
        &self,
        source: &Path,
        missing: &[usize],
        targets: &BTreeMap<String, String>,
        floor: Option<SystemTime>,
    ) -> Result<Vec<(usize, There)>> {
        let (links, files): (Vec<usize>, Vec<usize>) =
            missing.iter().partition(|at| self.files[**at].kind == Kind::Link);
        let mut placed = self.place_objects(source, &files, floor)?;
        let work: Vec<usize> = files.iter().copied().filter(|at| self.files[*at].origin == Origin::WorkTree).collect();
        let copied = parallel::map(&work, |at| anyhow::Ok((*at, self.copy(source, &self.files[*at], floor)?)));
        for copied in copied {
            placed.push(copied?);
        }
        for link in links {
            let path = &self.files[link].path;
            let file = source.join(path);
            let target = targets.get(path).with_context(|| format!("link {path} has no target"))?;
            let stat = symlink(target, &file).and_then(|()| Stat::at(&file));
            let stat = stat.with_context(|| format!("cannot write {}", file.display()))?;
            placed.push((link, There { stat: stat.unwrap_or(Stat::UNKNOWN), content: None }));
        }
        Ok(placed)
    }

    /// Writes the files whose bytes are objects: one thread reads, the others write.
    fn place_objects(&self, source: &Path, wanted: &[usize], floor: Option<SystemTime>) -> Result<Vec<(usize, There)>> {
        let placed = Mutex::new(Vec::new());
        let mut pointers = Vec::new();
        let write = |batch: Batch| -> Result<()> {
            for (at, bytes) in batch {
                let Entry { path, kind, id, .. } = &self.files[at];
                if id.format().of_bytes(&bytes) != *id {
                    bail!("git gave other bytes than {path} has in the commit: git fsck");
                }
                let stat = create(&source.join(path), *kind, floor, |file| Ok(file.write_all(&bytes)?))?;
                placed.lock().unwrap().push((at, There { stat, content: None }));
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers = thread::available_parallelism().map_or(1, usize::from);
            let (sender, receiver) = mpsc::sync_channel::<Batch>(workers * 2);
            // Goes away with the last worker, so that nobody waits for one.
            let receiver = Arc::new(Mutex::new(receiver));
            let write = &write;
            let workers: Vec<_> = (0..workers)
                .map(|_| {
                    let receiver = Arc::clone(&receiver);
                    scope.spawn(move || {
                        loop {
                            let batch = receiver.lock().unwrap().recv();
                            let Ok(batch) = batch else { return Ok(()) };
                            write(batch)?;
                        }
                    })
                })
                .collect();
            drop(receiver);
            let mut batch = Vec::new();
            let mut size = 0;
            let read = self.objects(wanted, |at, length, reader| {
                let Entry { path, kind, id, .. } = &self.files[at];
                if length > LARGE {
                    let stat = create(&source.join(path), *kind, floor, |file| {
                        match pour(reader, file, id.format(), length)? == *id {
                            true => Ok(()),
                            false => bail!("git gave other bytes than {path} has in the commit: git fsck"),
                        }
                    })?;
                    placed.lock().unwrap().push((at, There { stat, content: None }));
                    return Ok(());
                }
                let mut bytes = Vec::with_capacity(usize::try_from(length)?);
                reader.read_to_end(&mut bytes)?;
                if let Some(pointer) = Pointer::parse(&bytes) {
                    pointers.push((at, pointer));
                    return Ok(());
                }
                size += bytes.len();
                batch.push((at, bytes));
                if size > BATCH || batch.len() > BATCH_FILES {
                    size = 0;
                    sender.send(std::mem::take(&mut batch)).context("cannot write the snapshot")?;
                }
                Ok(())
            });
            let _ = sender.send(batch);
            drop(sender);
            // Why a file could not be written, rather than that nobody wrote any more.
            let written = workers.into_iter().map(|worker| worker.join().expect("a thread that does not panic"));
            written.collect::<Result<()>>().and(read)
        })?;
        let mut placed = placed.into_inner().unwrap();
        for (at, pointer) in pointers {
            placed.push((at, self.follow(source, &self.files[at], &pointer, floor)?));
        }
        Ok(placed)
    }

    /// Copies a file of the work tree.
    fn copy(&self, source: &Path, entry: &Entry, floor: Option<SystemTime>) -> Result<There> {
        let Entry { path, kind, id, .. } = entry;
        let from = self.top.join(path);
        let mut file = File::open(&from).with_context(|| format!("cannot read {}", from.display()))?;
        let size = file.metadata().with_context(|| format!("cannot read {}", from.display()))?.len();
        let mut bytes = Vec::new();
        if size < lfs::LARGEST {
            file.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", from.display()))?;
            if let Some(pointer) = Pointer::parse(&bytes) {
                return self.follow(source, entry, &pointer, floor);
            }
        }
        let stat = create(&source.join(path), *kind, floor, |to| {
            match pour(&mut bytes.as_slice().chain(file), to, id.format(), size)? == *id {
                true => Ok(()),
                false => Err(changed(path)),
            }
        })?;
        Ok(There { stat, content: None })
    }

    /// Writes what an LFS pointer stands for, if it is on this machine.
    fn follow(&self, source: &Path, entry: &Entry, pointer: &Pointer, floor: Option<SystemTime>) -> Result<There> {
        let Entry { path, kind, .. } = entry;
        let mut places = vec![self.top.join(path)];
        for repository in &self.repositories {
            places.push(pointer.place(&repository.shared()?));
        }
        for place in places {
            let is_it = |stat: Stat| stat.size == pointer.size && stat.kind().is_some_and(|kind| kind != Kind::Link);
            if at(&place)?.is_some_and(is_it) {
                let mut from = File::open(&place).with_context(|| format!("cannot read {}", place.display()))?;
                let to = source.join(path);
                let mut content = None;
                let stat = create(&to, *kind, floor, |file| {
                    content = Some(pour(&mut from, file, Format::Plain, pointer.size)?);
                    Ok(())
                })?;
                if content == Some(pointer.content) {
                    return Ok(There { stat, content });
                }
                clear(&to)?;
            }
        }
        bad_request!("{path} is a Git LFS pointer, and the file that it stands for is not here: git lfs pull")
    }

    /// The bytes of those of these files that are objects. `each` must read all of them.
    fn objects(&self, wanted: &[usize], mut each: impl FnMut(usize, u64, &mut dyn Read) -> Result<()>) -> Result<()> {
        for (number, repository) in self.repositories.iter().enumerate() {
            let wanted: Vec<usize> =
                wanted.iter().copied().filter(|at| self.files[*at].origin == Origin::Object(number)).collect();
            if wanted.is_empty() {
                continue;
            }
            let names: String = wanted.iter().map(|at| format!("{}\n", self.files[*at].id.hex())).collect();
            let mut next = 0;
            repository
                .objects(&names, |line, _, size, reader| {
                    if line != next {
                        return Err(self.missing(repository, wanted[next]));
                    }
                    next += 1;
                    each(wanted[line], size, &mut reader.take(size))
                })
                .context("cannot read the files of the commit")?;
            if next != wanted.len() {
                return Err(self.missing(repository, wanted[next]));
            }
        }
        Ok(())
    }

    fn missing(&self, repository: &Repository, at: usize) -> anyhow::Error {
        let Entry { path, id, .. } = &self.files[at];
        let folder = repository.folder.display();
        anyhow!("{path} is not in the repository at {folder}: fetch it (git cat-file -p {})", id.hex())
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
        hash::bytes(text.as_bytes())
    }
}

impl Snapshot {
    /// Makes files newer than all that was built of the snapshot: those whose packages depend on what cargo does not see,
    /// the commit and which files there are. By their paths in the repository.
    pub fn touch(&self, paths: &[&str]) -> Result<()> {
        let file = self.folder.join(RECORD);
        let mut record = Record::load(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let clock = Clock::begin(&self.folder)?;
        for path in paths {
            let at = record.files.binary_search_by(|file| file.path.as_str().cmp(path));
            let written = &mut record.files[at.ok().with_context(|| format!("{path} is not in the snapshot"))?];
            let file = self.source.join(path);
            let touched = File::options().write(true).open(&file).and_then(|file| file.set_modified(clock.time()));
            let stat = touched.and_then(|()| Stat::at(&file));
            let stat = stat.with_context(|| format!("cannot change the date of {}", file.display()))?;
            written.snapshot = stat.unwrap_or(Stat::UNKNOWN);
        }
        let latest = paths.iter().filter_map(|path| Some(record.find(path)?.snapshot.ctime)).max();
        clock.end(latest.unwrap_or(0))?;
        record.save(&file)?;
        files::write(&self.folder.join(TOUCHED), &self.identity)
    }
}

/// How the snapshot in a folder is not what was written, by the paths in it. What was built of it has been built.
pub fn verify(folder: &Path) -> Result<Vec<Fault>> {
    Clock::built(folder)?;
    let (source, record) = (folder.join(SOURCE), folder.join(RECORD));
    let record = Record::load(&record).with_context(|| format!("cannot read {}", record.display()))?;
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
    let mut extra = Vec::new();
    let is_file = |path: &str| record.find(path).is_some_and(|file| file.snapshot != Stat::UNKNOWN);
    unknown(&source, &record.folders, is_file, &mut extra)?;
    faults.extend(extra.into_iter().map(Fault::Added));
    faults.sort();
    Ok(faults)
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
                let names = files::list(&source.join(folder))?.into_iter().map(|name| format!("{prefix}{name}"));
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
    let mut folders = vec![String::new()];
    let mut last = "";
    for Entry { path, .. } in files.iter().filter(|entry| !outside.contains_key(entry.path.as_str())) {
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

/// Whether a file may be one of this kind that was written here.
fn is_like(stat: &Stat, kind: Kind) -> bool {
    stat.kind() == Some(kind) && (kind == Kind::Link || stat.mode & 0o7777 == mode(kind))
}

fn mode(kind: Kind) -> u32 {
    match kind {
        Kind::Executable => 0o755,
        Kind::Regular | Kind::Link => 0o644,
    }
}

/// Writes a file where there is none. If the run ends meanwhile, the record is missing, and the next one looks into it.
fn create(
    path: &Path,
    kind: Kind,
    floor: Option<SystemTime>,
    fill: impl FnOnce(&mut File) -> Result<()>,
) -> Result<Stat> {
    let mode = mode(kind);
    let created = (|| {
        let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
        fill(&mut file)?;
        let mut metadata = file.metadata()?;
        if Stat::of(&metadata).mode & 0o7777 != mode || floor.is_some() {
            file.set_permissions(Permissions::from_mode(mode))?;
            floor.map_or(Ok(()), |floor| file.set_modified(floor))?;
            metadata = file.metadata()?;
        }
        anyhow::Ok(Stat::of(&metadata))
    })();
    created.map_err(|error| match error.downcast_ref::<io::Error>() {
        Some(cause) if cause.kind() == io::ErrorKind::AlreadyExists => anyhow!(
            "{} has the name of another file but for upper and lower case, and this file system takes them for one: \
             rename it",
            path.display()
        ),
        Some(_) => error.context(format!("cannot write {}", path.display())),
        None => error,
    })
}

/// Copies so many bytes, or as many as there are, and gives their id.
fn pour(from: &mut dyn Read, to: &mut File, format: Format, size: u64) -> Result<Id> {
    let mut hasher = format.hasher(size);
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(BATCH).clamp(1, BATCH)];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => {
                hasher.update(&buffer[..count]);
                to.write_all(&buffer[..count])?;
            }
        }
    }
}

/// Removes what is at a path; a link, not what it leads to.
fn clear(path: &Path) -> Result<()> {
    match at(path)? {
        None => Ok(()),
        Some(stat) if stat.is_folder() => files::remove_folder(path),
        Some(_) => fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display())),
    }
}

fn at(path: &Path) -> Result<Option<Stat>> {
    Stat::at(path).with_context(|| format!("cannot read {}", path.display()))
}

fn changed(path: &str) -> anyhow::Error {
    anyhow!("{path} changed while the snapshot was made: run it again")
}
