//! Pins kernels: writes down which packages are the newest now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::boot::kernels::from_source::INDEX;
use crate::boot::kernels::lock::Lock;
use crate::boot::kernels::recipe::{PACKAGE, SUITE};
use crate::boot::kernels::run::{newest_first, pkgnames};
use crate::boot::kernels::{Kernel, Source};
use crate::debian::apt::{self, Mirror};
use crate::debian::deb::Deb;
use crate::sys::command::{Command, quote};
use crate::sys::files;
use crate::sys::plan::{Slot, Step, Task, Work};

/// Plans to pin these kernels in the file `to`, where others stay as `lock` has them. apt works in `folder`.
pub fn tasks(
    mirror: &Mirror,
    folder: &Path,
    kernels: &[&'static Kernel],
    lock: Lock,
    to: PathBuf,
) -> Result<Vec<Task>> {
    // By what apt knows at once: a suite, and Debian's word for an architecture.
    let mut groups: BTreeMap<(&str, &str), Vec<&'static Kernel>> = BTreeMap::new();
    for kernel in kernels {
        let known = match &kernel.source {
            Source::Debian(package) => {
                (package.suite, kernel.arch.debian.with_context(|| format!("Debian has no {}", kernel.arch))?)
            }
            Source::Built(_) => (SUITE, INDEX),
        };
        groups.entry(known).or_default().push(kernel);
    }
    let mut newest = Vec::new();
    let mut tasks = Vec::new();
    for ((suite, debian), members) in groups {
        let apt = folder.join(format!("{suite}-{debian}"));
        let mut steps = apt::update(&apt, mirror, suite, debian);
        for kernel in members {
            let deb = Slot::default();
            steps.push(Box::new(FindNewest {
                name: match &kernel.source {
                    Source::Debian(package) => package.name,
                    Source::Built(_) => PACKAGE,
                },
                missing: format!("{} has no package for {} {} in {suite}", mirror.url, kernel.arch, kernel.label),
                cache: apt::command("apt-cache", &apt),
                deb: deb.clone(),
            }));
            newest.push((kernel, deb));
        }
        let title = format!("asking which kernels Debian {suite} has for {debian}");
        tasks.push(Task::new(title, steps).live(debian).beside("suites").failure("cannot pin the kernels"));
    }
    tasks.push(Task::new("pinning the kernels", vec![Box::new(WriteLock { lock, newest, to })]));
    Ok(tasks)
}

/// Finds out which package of a pattern is the newest.
#[derive(Debug)]
struct FindNewest {
    name: &'static str,
    /// The sentence if there is none.
    missing: String,
    /// apt-cache.
    cache: Command,
    deb: Slot<Deb>,
}

impl FindNewest {
    fn names(&self) -> Command {
        pkgnames(self.cache.clone(), self.name)
    }

    fn show(&self, name: &str) -> Command {
        self.cache.clone().args(["show", "--no-all-versions", name])
    }
}

impl Step for FindNewest {
    fn line(&self) -> String {
        format!("{}\n{}", self.names(), self.show(self.name))
    }

    fn json(&self) -> Value {
        json!({ "find-newest": { "package": self.name, "names": self.names() } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let names = work.runner.read(&self.names())?;
        let Some(name) = newest_first(self.name, names.lines()).first().map(|name| (*name).to_owned()) else {
            bail!("{}", self.missing);
        };
        let text = work.runner.read(&self.show(&name))?;
        let field = |word: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(": "));
            value.with_context(|| format!("apt-cache prints no {word} of {name}"))
        };
        let (version, sha256) = (field("Version")?.to_owned(), field("SHA256")?.parse()?);
        self.deb.put(Deb { name, version, sha256 })
    }
}

/// Writes the lock.
#[derive(Debug)]
struct WriteLock {
    lock: Lock,
    newest: Vec<(&'static Kernel, Slot<Deb>)>,
    to: PathBuf,
}

impl Step for WriteLock {
    fn line(&self) -> String {
        format!("# write {}: package, version and SHA-256 of each", quote(&self.to))
    }

    fn json(&self) -> Value {
        json!({ "write-lock": { "file": self.to } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let mut lock = self.lock.clone();
        for (kernel, deb) in &self.newest {
            lock.set(kernel, deb.get()?.clone());
        }
        files::write(&self.to, lock.to_string())
    }
}
