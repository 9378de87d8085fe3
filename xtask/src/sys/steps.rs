//! The steps that every subject uses: files and processes.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::sys::cache::Cache;
use crate::sys::command::{Command, quote, word};
use crate::sys::files;
use crate::sys::hash::Sha256;
use crate::sys::plan::{self, Step, Steps, Work};
use crate::ui::screen;

/// Puts names in a folder by which this program is called in place of others, and is them (`main`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstallNames {
    pub folder: PathBuf,
    pub names: Vec<String>,
}

impl Step for InstallNames {
    fn line(&self) -> String {
        format!("# in {}, have these names lead to this program: {}", quote(&self.folder), self.names.join(", "))
    }

    fn json(&self) -> Value {
        json!({ "install-names": self })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let mut us = env::current_exe().context("cannot find this program")?;
        for name in &self.names {
            let link = self.folder.join(name);
            if is_same_file(&us, &link) {
                continue;
            }
            let _ = fs::remove_file(&link);
            // A hard link, for whoever follows a symbolic one would call this program by its own name. Across file systems
            // there is none, so there the others are links to a copy.
            if fs::hard_link(&us, &link).is_err() {
                files::copy(&us, &link)?;
                us = link;
            }
        }
        Ok(())
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::symlink_metadata(path).map(|found| (found.dev(), found.ino())).ok();
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// Removes a folder and all in it, if it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remove {
    pub folder: PathBuf,
}

impl Step for Remove {
    fn line(&self) -> String {
        format!("rm -rf {}", quote(&self.folder))
    }

    fn json(&self) -> Value {
        json!({ "remove": self })
    }

    fn run(&self, _: &Work) -> Result<()> {
        files::remove_folder(&self.folder)
    }
}

/// Writes a file aside, with the folder it is in, and renames it. One that has the text already stays as it is: for cargo, a newer
/// file has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Write {
    pub file: PathBuf,
    pub text: String,
}

impl Step for Write {
    fn line(&self) -> String {
        format!("{} && printf %s {} >{}", make_folder_of(&self.file), word(&self.text), quote(&self.file))
    }

    fn json(&self) -> Value {
        json!({ "write": self })
    }

    fn run(&self, _: &Work) -> Result<()> {
        files::replace_one(&self.file, self.text.as_bytes())
    }
}

/// Copies a file, with the folder it goes to, if it still holds what it held when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copy {
    pub from: PathBuf,
    pub to: PathBuf,
    pub sha256: Sha256,
}

impl Step for Copy {
    fn line(&self) -> String {
        format!("{} && cp {} {}", make_folder_of(&self.to), quote(&self.from), quote(&self.to))
    }

    fn json(&self) -> Value {
        json!({ "copy": self })
    }

    fn run(&self, _: &Work) -> Result<()> {
        files::write(&self.to, files::read_unchanged(&self.from, &self.sha256)?)
    }
}

/// Removes what was built with another compiler, with other flags or in another image: cargo does not see that it has to be built
/// again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DropOthers {
    /// The folders of what was built.
    pub folders: Vec<PathBuf>,
    /// Where it stands what that was built with.
    pub file: PathBuf,
    pub key: String,
}

impl Step for DropOthers {
    fn line(&self) -> String {
        let folders: String = self.folders.iter().map(|folder| format!(" {}", quote(folder))).collect();
        format!("# if {} is not {}: rm -rf{folders}", quote(&self.file), self.key)
    }

    fn json(&self) -> Value {
        json!({ "drop-others": self })
    }

    fn run(&self, _: &Work) -> Result<()> {
        if files::read_if_there(&self.file)?.is_some_and(|key| key == self.key) {
            return Ok(());
        }
        self.folders.iter().try_for_each(|folder| files::remove_folder(folder))?;
        files::write(&self.file, &self.key)
    }
}

/// Makes a folder, unless it is there. A link of its name is no folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MakeFolder {
    pub folder: PathBuf,
}

impl Step for MakeFolder {
    fn line(&self) -> String {
        let folder = quote(&self.folder);
        format!("if [ -L {folder} ]; then rm {folder}; fi && mkdir -p {folder}")
    }

    fn json(&self) -> Value {
        json!({ "make-folder": self })
    }

    fn run(&self, _: &Work) -> Result<()> {
        remove_link(&self.folder)?;
        files::create_folder(&self.folder)
    }
}

/// Makes a symbolic link, in place of one that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    pub file: PathBuf,
    pub to: PathBuf,
}

impl Step for Link {
    fn line(&self) -> String {
        format!("ln -sfn {} {}", quote(&self.to), quote(&self.file))
    }

    fn json(&self) -> Value {
        json!({ "link": self })
    }

    fn run(&self, _: &Work) -> Result<()> {
        remove_link(&self.file)?;
        symlink(&self.to, &self.file).with_context(|| format!("cannot create {}", self.file.display()))
    }
}

/// Runs a command, whose messages are shown if it fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run(pub Command);

impl Step for Run {
    fn line(&self) -> String {
        self.0.to_string()
    }

    fn json(&self) -> Value {
        json!({ "run": self })
    }

    fn run(&self, work: &Work) -> Result<()> {
        work.runner.run(&self.0)
    }
}

/// Runs a command that downloads one file to a folder, or to a folder in it, and shows how much of it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Download {
    pub command: Command,
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Step for Download {
    fn line(&self) -> String {
        self.command.to_string()
    }

    fn json(&self) -> Value {
        json!({ "run": self.command })
    }

    fn run(&self, work: &Work) -> Result<()> {
        download(work, &self.command, &self.folder)
    }
}

/// See [`Download`].
pub fn download(work: &Work, command: &Command, folder: &Path) -> Result<()> {
    // As the program prints it, when it begins.
    let whole = Mutex::new(None);
    let (ended, end) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(|| {
            let end = end;
            while end.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                if let Some(there) = files::largest(folder).filter(|there| *there > 0) {
                    work.show(&progress(there, *whole.lock().unwrap()));
                }
            }
        });
        let result = work.runner.run_and_see(command, |line| {
            if let Some(size) = announced_size(line) {
                *whole.lock().unwrap() = Some(size);
            }
        });
        drop(ended);
        result
    })
}

fn progress(there: u64, whole: Option<u64>) -> String {
    match whole {
        Some(whole) if whole > there => {
            format!("{} of {}, {} %", screen::size(there), screen::size(whole), 100 * there / whole)
        }
        _ => screen::size(there),
    }
}

/// The size in a line such as pip's `Downloading x.whl (100.2 MB)`, or apt's `Get:1 … [68.3 MB]`.
fn announced_size(line: &str) -> Option<u64> {
    let (_, last) = line.trim_end_matches([')', ']']).rsplit_once(['(', '['])?;
    let (number, unit) = last.split_once(' ')?;
    let factor = match unit {
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        _ => return None,
    };
    Some((number.parse::<f64>().ok()? * factor) as u64)
}

/// Runs a command that cleans up, even after an interruption. Whether it finds anything to do is of no interest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sweep(pub Command);

impl Step for Sweep {
    fn line(&self) -> String {
        format!("{} || true", self.0)
    }

    fn json(&self) -> Value {
        json!({ "sweep": self })
    }

    fn run(&self, work: &Work) -> Result<()> {
        work.runner.sweep(&self.0);
        Ok(())
    }
}

/// Copies a file that an earlier step makes, with the folder it goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CopyMade {
    pub from: PathBuf,
    pub to: PathBuf,
}

impl Step for CopyMade {
    fn line(&self) -> String {
        format!("{} && cp {} {}", make_folder_of(&self.to), quote(&self.from), quote(&self.to))
    }

    fn json(&self) -> Value {
        json!({ "copy": self })
    }

    fn run(&self, _: &Work) -> Result<()> {
        files::copy(&self.from, &self.to)
    }
}

/// Makes an entry of the cache and reports it, unless another run has made it meanwhile. Its steps fill
/// [`Cache::partial`] of its name. No other run removes it while the plan lives.
#[derive(Debug)]
pub struct CacheEntry {
    cache: Cache,
    name: String,
    steps: Steps,
    held: Mutex<Vec<File>>,
}

impl CacheEntry {
    pub fn new(cache: Cache, name: String, steps: Steps) -> CacheEntry {
        CacheEntry { cache, name, steps, held: Mutex::default() }
    }
}

impl Step for CacheEntry {
    fn line(&self) -> String {
        let (partial, entry) = (self.cache.partial(&self.name), self.cache.path(&self.name));
        let mut lines: Vec<String> = self.steps.iter().map(|step| step.line()).collect();
        lines.push(format!("# keep {} in the cache as {}", partial.display(), entry.display()));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let steps: Vec<Value> = self.steps.iter().map(|step| step.json()).collect();
        json!({ "cache-entry": { "name": self.name, "folder": self.cache.partial(&self.name), "steps": steps } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        self.cache.get(work.runner, &self.name, |_| {
            work.announce();
            plan::run_steps(&self.steps, work)
        })?;
        self.held.lock().unwrap().extend(self.cache.hold([&self.name]));
        Ok(())
    }
}

/// Keeps entries of the cache from being removed while the plan lives.
#[derive(Debug)]
pub struct HoldEntries {
    cache: Cache,
    names: Vec<String>,
    held: Mutex<Vec<File>>,
}

impl HoldEntries {
    pub fn new(cache: Cache, names: Vec<String>) -> HoldEntries {
        HoldEntries { cache, names, held: Mutex::default() }
    }
}

impl Step for HoldEntries {
    fn line(&self) -> String {
        format!("# lock {} in the cache {}", self.names.join(", "), self.cache.folder.display())
    }

    fn json(&self) -> Value {
        json!({ "hold-entries": { "cache": self.cache.folder, "names": self.names } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        self.held.lock().unwrap().extend(self.cache.hold(&self.names));
        Ok(())
    }
}

/// Makes sure that an entry of the cache is as it was made, as far as it is used.
#[derive(Debug)]
pub struct CheckEntry {
    pub cache: Cache,
    pub name: String,
    /// The files that are used.
    pub reads: fn(&str) -> bool,
}

impl Step for CheckEntry {
    fn line(&self) -> String {
        format!("# check that {} is as it was made", self.cache.path(&self.name).display())
    }

    fn json(&self) -> Value {
        json!({ "check-entry": { "cache": self.cache.folder, "name": self.name } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        self.cache.check(work.runner, &self.name, self.reads)
    }
}

fn remove_link(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn make_folder_of(file: &Path) -> String {
    format!("mkdir -p {}", quote(file.parent().unwrap_or(Path::new("/"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_much_of_a_download_is_there_is_told_by_what_its_program_announces() {
        let whole = announced_size("Downloading ziglang-0.17.1-py3-none-x86_64.whl (100.2 MB)");
        assert_eq!(whole, Some(100_200_000));
        assert_eq!(
            announced_size("Get:1 http://mirror/debian trixie/main amd64 linux amd64 6.12 [68.3 MB]"),
            Some(68_300_000)
        );
        for line in ["Reading package lists...", "Get:2 http://mirror x", "a (b) c", "(x MB)"] {
            assert_eq!(announced_size(line), None, "{line}");
        }
        assert_eq!(progress(25_050_000, whole), "25 MB of 100 MB, 25 %");
        assert_eq!(progress(25_050_000, None), "25 MB");
    }
}
