//! Writes the files of a tree that are not in the snapshot yet.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};

use super::git::Repository;
use super::id::{Format, Id};
use super::lfs::{self, Pointer};
use super::names;
use super::tree::{Entry, Origin, Tree};
use super::write::{There, at, changed, clear, mode};
use crate::sys::parallel;
use crate::sys::stat::{Kind, Stat};
use crate::ui::error::bad_request;

/// A larger file is written as it comes from git; smaller ones by several threads. In bytes.
const LARGE: u64 = 1024 * 1024;

/// How many bytes or files are handed to a thread at once.
const BATCH: usize = 256 * 1024;
const BATCH_FILES: usize = 64;

/// Files by their places in the tree, and their bytes.
type Batch = Vec<(usize, Vec<u8>)>;

impl Tree {
    /// Writes files and links, where there are none.
    pub(super) fn place(
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
            let file = names::path(source, path);
            let target = targets.get(path).with_context(|| format!("link {path} has no target"))?;
            let stat = symlink(OsStr::from_bytes(&names::bytes(target)), &file).and_then(|()| Stat::at(&file));
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
                    bail!("git gave other bytes than {} has in the commit: git fsck", names::shown(path));
                }
                let stat = create(&names::path(source, path), *kind, floor, |file| Ok(file.write_all(&bytes)?))?;
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
                    let stat = create(&names::path(source, path), *kind, floor, |file| {
                        match pour(reader, file, id.format(), length)? == *id {
                            true => Ok(()),
                            false => {
                                bail!("git gave other bytes than {} has in the commit: git fsck", names::shown(path))
                            }
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
        let from = names::path(&self.top, path);
        let mut file = File::open(&from).with_context(|| format!("cannot read {}", from.display()))?;
        let size = file.metadata().with_context(|| format!("cannot read {}", from.display()))?.len();
        let mut bytes = Vec::new();
        if size < lfs::LARGEST {
            file.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", from.display()))?;
            if let Some(pointer) = Pointer::parse(&bytes) {
                return self.follow(source, entry, &pointer, floor);
            }
        }
        let stat = create(&names::path(source, path), *kind, floor, |to| {
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
        let mut places = vec![names::path(&self.top, path)];
        for repository in &self.repositories {
            places.push(pointer.place(&repository.shared()?));
        }
        for place in places {
            let is_it = |stat: Stat| stat.size == pointer.size && stat.kind().is_some_and(|kind| kind != Kind::Link);
            if at(&place)?.is_some_and(is_it) {
                let mut from = File::open(&place).with_context(|| format!("cannot read {}", place.display()))?;
                let to = names::path(source, path);
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
        bad_request!(
            "{} is a Git LFS pointer, and the file that it stands for is not here: git lfs pull",
            names::shown(path)
        )
    }

    /// The bytes of those of these files that are objects. `each` must read all of them.
    pub(super) fn objects(
        &self,
        wanted: &[usize],
        mut each: impl FnMut(usize, u64, &mut dyn Read) -> Result<()>,
    ) -> Result<()> {
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
        anyhow!("{} is not in the repository at {folder}: fetch it (git cat-file -p {})", names::shown(path), id.hex())
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
