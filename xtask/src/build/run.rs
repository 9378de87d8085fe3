//! The step that builds binaries, and what comes out of it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Error, Result, bail};
use cargo_metadata::camino::Utf8PathBuf;
use cargo_metadata::{PackageId, TargetKind};
use serde_json::{Value, json};

use crate::arch::Target;
use crate::build::cargo::CargoBuild;
use crate::build::crate_copies::{self, Fault};
use crate::build::crate_names;
use crate::build::durations::{self, Durations};
use crate::build::libraries;
use crate::build::messages::{Linked, Messages};
use crate::build::reads::{self, Said};
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::plan::{Slot, Step, Work};
use crate::sys::process::{self, Runner};
use crate::ui::error::Failed;
use crate::ui::remedies;
use crate::workspace::facts::SNAPSHOT;
use crate::workspace::ignored::IgnoredFiles;
use crate::workspace::snapshot;
use crate::workspace::source::first;

/// If this process was called by cargo in place of rustc, it becomes rustc, or fails.
pub fn compile_in_place_of_rustc() -> Option<Error> {
    let own = PathBuf::from(env::args_os().next()?);
    if own.file_name()? != crate_names::PROGRAM {
        return None;
    }
    let words = match process::own_arguments() {
        Ok(words) => words,
        Err(error) => return Some(error),
    };
    let source = snapshot::source(&own.parent()?.join(SNAPSHOT));
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).unwrap_or_default();
    let folders = [(source.as_path(), "source"), (home.as_path(), "cargo-home")];
    let mut words = crate_names::rewritten(words, |name| env::var(name).ok(), &folders).into_iter();
    let rustc = Command::new(words.next()?, Path::new("."));
    Some(process::replace_us(&rustc.args(words)))
}

/// What came out of a build.
#[derive(Debug, Default)]
pub struct Built {
    /// Binaries, by target and name.
    binaries: BTreeMap<(String, String), PathBuf>,
    /// When the last for a target was there, in seconds since the build started.
    pub seconds: BTreeMap<String, f32>,
    /// The packages linked into them.
    linked: BTreeMap<String, BTreeSet<PackageId>>,
    /// The targets for which C++'s standard library is linked.
    pub with_cxx: BTreeSet<String>,
    /// Why there is none.
    reasons: BTreeMap<String, String>,
    /// The targets for which something was compiled, and not just found to be there.
    compiled: BTreeSet<String>,
}

impl Built {
    pub fn binary(&self, triple: &str, name: &str) -> Result<&Path> {
        let binary = self.binaries.get(&(triple.into(), name.into()));
        binary.map(PathBuf::as_path).with_context(|| self.reason(triple).to_owned())
    }

    /// The packages that are linked into the binaries for a target.
    pub fn linked(&self, triple: &str) -> Result<&BTreeSet<PackageId>> {
        self.linked.get(triple).with_context(|| self.reason(triple).to_owned())
    }

    /// Why there is no binary for a target.
    fn reason(&self, triple: &str) -> &str {
        let reason = self.reasons.get(triple).or_else(|| self.reasons.get(""));
        reason.map_or("cannot build it, for the reason above", String::as_str)
    }
}

/// Builds binaries for all targets at once. A target for which that fails has none in the result.
#[derive(Debug)]
pub struct BuildBinaries {
    pub build: CargoBuild,
    pub bins: Vec<String>,
    pub targets: Vec<Target>,
    /// The standard libraries in the cache that it is built on: target, and name in the cache.
    pub sysroots: BTreeMap<String, String>,
    pub cache: Cache,
    /// The compiler in the cache by which C code is compiled.
    pub compiler: Option<String>,
    /// Whether it is compiled by what is in an image of the user's, and not by the pinned compiler.
    pub theirs: bool,
    /// Packages that are built though they are built already.
    pub anew: Vec<String>,
    /// The folder of the snapshot that is built.
    pub snapshot: PathBuf,
    /// The CARGO_HOME in which cargo unpacks crates for it.
    pub home: PathBuf,
    /// The folders that what is built may be made of.
    pub sources: Vec<PathBuf>,
    /// What may be missing.
    pub ignored: IgnoredFiles,
    pub built: Slot<Built>,
    /// Whether anything was compiled or failed, for any target.
    pub compiled: Slot<bool>,
}

impl Step for BuildBinaries {
    fn line(&self) -> String {
        let mut line = self.build.line();
        if !self.anew.is_empty() {
            line = format!("# whatever is built already, build these anew: {}\n{line}", self.anew.join(", "));
        }
        if !self.sysroots.is_empty() {
            let names: Vec<&str> = self.sysroots.values().map(String::as_str).collect();
            line += &format!("\n# check that what was used of these is as it was made: {}", names.join(", "));
        }
        line
    }

    fn json(&self) -> Value {
        json!({ "build-binaries": { "build": self.build.json(), "bins": self.bins, "sysroots": self.sysroots, "anew": self.anew } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let begin = Instant::now();
        let lines: BTreeMap<&str, _> =
            self.targets.iter().map(|(arch, _)| (arch.triple, work.runner.line(arch.name))).collect();
        let earlier = self.build.target.join(durations::FILE);
        // What cannot be read is not known.
        let text = files::read_if_there(&earlier).ok().flatten().unwrap_or_default();
        let durations = Durations::parse(&text, &lines.keys().copied().collect::<Vec<_>>());
        // Whether something was there already. cargo tells that first.
        let again = Cell::new(false);
        let show = |triple: &str, text: &str| {
            if let Some(line) = lines.get(triple) {
                let last_time = durations.last_time(triple, again.get());
                line.set(&last_time.map_or_else(|| text.to_owned(), |last_time| format!("{text}  ({last_time})")));
            }
        };
        let mut built = Built::default();
        snapshot::begin(&self.snapshot)?;
        self.anew.iter().try_for_each(|package| self.forget_for_targets(package))?;
        let (status, messages) = self.build.run(work.runner, &show, |triple, artifact| {
            if artifact.fresh {
                again.set(true);
            } else {
                built.compiled.insert(triple.into());
            }
            let name = artifact.target.name;
            let is_ours = self.bins.contains(&name) && artifact.target.kind.contains(&TargetKind::Bin);
            if let (true, Some(binary)) = (is_ours, artifact.executable) {
                built.binaries.insert((triple.into(), name), binary.into());
                built.seconds.insert(triple.into(), begin.elapsed().as_secs_f32());
            }
            built.linked.entry(triple.into()).or_default().insert(artifact.package_id);
        })?;
        built.reasons = reasons(&messages);
        built.with_cxx.extend(messages.with_cxx.iter().filter_map(|folder| {
            let folder = folder.strip_prefix(&self.build.target).ok()?;
            folder.components().next().map(|triple| triple.to_string())
        }));
        messages.failed.values().flatten().try_for_each(|package| self.drop_copy(package))?;
        let errors = messages.errors();
        if !errors.is_empty() {
            self.ignored.named_in(&errors).iter().for_each(|sentence| work.runner.eprintln(sentence));
        }
        // cargo may not report the target of a failure.
        built.compiled.extend(messages.failed.keys().cloned());
        self.check_sysroots(work.runner, &built.compiled)?;
        if !built.compiled.is_empty() {
            self.check_copies(work.runner, &messages.with_script)?;
            if !self.theirs {
                self.check_libraries(&messages)?;
            }
        }
        // Where something failed, cargo writes no list of what the rest was made of, and nothing is shipped.
        if status.success() {
            self.check_reads(work.runner, &built, &messages)?;
            if !built.compiled.is_empty() {
                files::write(&earlier, durations.with(&built.seconds, again.get()))?;
            }
        } else {
            // What is found there may be why.
            let told: Vec<PathBuf> = self.linked(&messages)?.into_iter().filter(|path| path.is_dir()).collect();
            if !told.is_empty() {
                let folders = shown(&told);
                work.runner.eprintln(format!("build scripts have the linker look into {folders}, of this machine"));
            }
        }
        self.compiled.put(!built.compiled.is_empty())?;
        if !status.success() && (!messages.finished || built.binaries.len() == self.targets.len() * self.bins.len()) {
            return Err(Failed::shown(remedies::BUILD, status, errors).into());
        }
        self.built.put(built)
    }
}

impl BuildBinaries {
    /// Removes our copies of the sources of a package: its build script failed, and may have left something half done there.
    fn drop_copy(&self, package: &str) -> Result<()> {
        let copies = self.home.join("registry/src");
        for index in files::list(&copies)? {
            let folder = copies.join(index);
            for name in files::list(&folder)? {
                let version = name.strip_prefix(package).and_then(|rest| rest.strip_prefix('-'));
                if version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit())) {
                    files::remove_folder(&folder.join(name))?;
                }
            }
        }
        Ok(())
    }

    /// Makes sure that no build script wrote into the sources of its crate. What was made of such sources is removed, and our
    /// copy of them, so that the next run does all of it again.
    fn check_copies(&self, runner: Runner, packages: &BTreeMap<PathBuf, String>) -> Result<()> {
        let faults = crate_copies::faults(runner, &self.home, packages)?;
        for Fault { package, copy, .. } in &faults {
            copy.iter().try_for_each(|copy| files::remove_folder(copy))?;
            self.forget(package)?;
        }
        match faults.as_slice() {
            [] => Ok(()),
            faults => bail!(
                "a build script wrote into the sources of its crate, which all targets and later builds share: {}; have it \
                 write to OUT_DIR, or use another version of the crate",
                first(faults)
            ),
        }
    }

    /// Has cargo build a package again, for this machine and all targets.
    fn forget(&self, package: &str) -> Result<()> {
        forget(&self.build.target, package)?;
        self.forget_for_targets(package)
    }

    fn forget_for_targets(&self, package: &str) -> Result<()> {
        self.targets.iter().try_for_each(|(arch, _)| forget(&self.build.target.join(arch.triple), package))
    }

    /// Refuses what was made of a file that is in no commit, and says what build scripts name of this machine. That shows in a
    /// run that compiled nothing, too.
    fn check_reads(&self, runner: Runner, built: &Built, messages: &Messages) -> Result<()> {
        let mut read = Vec::new();
        for binary in built.binaries.values() {
            read.extend(reads::of(binary)?);
        }
        let linked = self.linked(messages)?.into_iter();
        let (mut foreign, mut told): (Vec<PathBuf>, Vec<PathBuf>) = linked.partition(|path| path.is_file());
        let read = reads::foreign(read, &self.sources);
        if !read.is_empty() {
            let named = Said::read(messages.scripts())?.named;
            let (named, read): (Vec<PathBuf>, Vec<PathBuf>) = read.into_iter().partition(|file| named.contains(file));
            told.extend(named);
            foreign.extend(read);
        }
        if !told.is_empty() {
            runner.status(format!(
                "build scripts name {}, of this machine: elsewhere, the same commit may give other bytes",
                shown(&told)
            ));
        }
        if !foreign.is_empty() {
            bail!(
                "what is built contains {}, by a path that leads out of the repository, so it is of no commit: copy it there, \
                 and name it by a path inside",
                shown(&foreign)
            );
        }
        Ok(())
    }

    /// What build scripts have the linker read, and where they have it look, that is not of this build.
    fn linked(&self, messages: &Messages) -> Result<Vec<PathBuf>> {
        let of_targets = messages.scripts().filter(|(_, out_dir)| self.is_of_target(out_dir));
        Ok(reads::outside(Said::read(of_targets)?.linked, &self.sources))
    }

    /// Whether the output folder of a build script is of one of the targets, and not of this machine.
    fn is_of_target(&self, out_dir: &Path) -> bool {
        let folder = out_dir.strip_prefix(&self.build.target).ok().and_then(|path| path.iter().next());
        folder.is_some_and(|folder| self.targets.iter().any(|(arch, _)| folder == arch.triple))
    }

    /// Refuses a library of C code that another compiler made: it is for this machine and its C library. Those that crates
    /// bring along are as they are. The package is built again the next time.
    fn check_libraries(&self, messages: &Messages) -> Result<()> {
        for Linked { package, out_dir, archives } in &messages.linked {
            if !self.is_of_target(out_dir.as_std_path()) {
                continue;
            }
            let is_made = |archive: &&Utf8PathBuf| !archive.starts_with(&self.home) && archive.is_file();
            for archive in archives.iter().filter(is_made) {
                if let Some(compiler) = libraries::other_compiler(&files::read(archive.as_std_path())?) {
                    self.forget(package)?;
                    bail!(
                        "the build script of `{package}` links {archive}, which another compiler made ({compiler}): have it use \
                         the crate `cc`, or leave it out, by a feature"
                    );
                }
            }
        }
        Ok(())
    }

    /// Makes sure that what was compiled was compiled with the standard library that the cache was given. What a
    /// damaged one left is removed, for cargo does not see that it has to be built again.
    fn check_sysroots(&self, runner: Runner, compiled: &BTreeSet<String>) -> Result<()> {
        for (triple, name) in &self.sysroots {
            if compiled.contains(triple) || compiled.contains("") {
                let checked = self.cache.check(runner, name, |_| true);
                if checked.is_err() {
                    files::remove_folder(&self.build.target.join(triple))?;
                }
                checked?;
            }
        }
        if let Some(name) = self.compiler.as_ref().filter(|_| !compiled.is_empty()) {
            let checked = self.cache.check(runner, name, |_| true);
            if checked.is_err() {
                files::remove_folder(&self.build.target)?;
            }
            checked?;
        }
        Ok(())
    }
}

fn shown(paths: &[PathBuf]) -> String {
    first(&paths.iter().map(|path| path.display()).collect::<Vec<_>>())
}

/// Has cargo build a package again, in a folder of what is built for one machine.
pub fn forget(folder: &Path, package: &str) -> Result<()> {
    let folder = folder.join("release/.fingerprint");
    for name in files::list(&folder)? {
        if name.rsplit_once('-').is_some_and(|(built, _)| built == package) {
            files::remove_folder(&folder.join(name))?;
        }
    }
    Ok(())
}

/// Why nothing came out for a target, for the empty one for every target: cargo's messages about it are above.
fn reasons(messages: &Messages) -> BTreeMap<String, String> {
    let reason = |triple: &str, packages: &BTreeSet<String>| {
        let names = packages.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match messages.problems(triple, packages).find_map(|output| remedies::verdict(remedies::BUILD, output)) {
            Some(remedy) => format!("cannot build {names}: {remedy}"),
            None => format!("cannot build {names}, for the reason above"),
        }
    };
    messages.failed.iter().map(|(triple, packages)| (triple.clone(), reason(triple, packages))).collect()
}
