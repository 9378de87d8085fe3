//! How kernels get into the cache.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use crate::boot::kernels::from_source::BuildTools;
use crate::boot::kernels::{Kernel, Source, debian, from_source};
use crate::debian::apt::Mirror;
use crate::debian::deb::Deb;
use crate::sys::cache::Cache;
use crate::sys::plan::Task;
use crate::sys::steps::{CheckEntry, HoldEntries};
use crate::ui::status::Found;

/// What kernels are got with.
#[derive(Debug)]
pub struct Means<'a> {
    pub cache: &'a Cache,
    /// What a build sees of the user's environment.
    pub passed_on: &'a BTreeMap<String, String>,
    pub offline: bool,
    /// Where Debian's packages come from, if anything must be fetched.
    pub mirror: Option<&'a Found<Mirror>>,
    /// What builds kernels, if one must be built.
    pub build_tools: Option<&'a Found<BuildTools>>,
    /// What a user can do instead: `boot one of your own with --kernel FILE`.
    pub instead: &'static str,
}

/// Plans to have kernels in the cache, which has the entries `cached`, and to keep them there: each from the package that is
/// pinned, if one is.
pub fn get<'a>(
    means: &Means,
    cached: &BTreeSet<String>,
    kernels: impl IntoIterator<Item = (&'a Kernel, Option<&'a Deb>)>,
) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    let mut entries = BTreeSet::new();
    for (kernel, pin) in kernels {
        let entry = kernel.entry(pin);
        if entries.insert(entry.clone()) && !cached.contains(&entry) {
            tasks.push(fetch(means, kernel, pin)?.beside("kernels").failure("cannot get the kernels"));
        }
    }
    if !entries.is_empty() {
        let hold = HoldEntries::new(means.cache.clone(), entries.iter().cloned().collect());
        tasks.push(Task::new("keeping the kernels in the cache", vec![Box::new(hold)]));
    }
    // Side by side, so that all that are damaged are fetched again at once.
    tasks.extend(entries.into_iter().map(|name| {
        let title = format!("checking {name}");
        let check = CheckEntry { cache: means.cache.clone(), name, reads: |_| true };
        Task::new(title, vec![Box::new(check)]).beside("kernel checks")
    }));
    Ok(tasks)
}

/// Plans to get a kernel into the cache.
fn fetch(means: &Means, kernel: &Kernel, pin: Option<&Deb>) -> Result<Task> {
    let Kernel { arch, label, .. } = kernel;
    let instead = means.instead;
    if means.offline {
        bail!(
            "--offline, but the kernel {label} for {arch} is not in the cache: run this once without --offline, or {instead}"
        );
    }
    let mirror = match means.mirror {
        Some(Ok(mirror)) => mirror,
        Some(Err(status)) => {
            bail!("the kernel {label} for {arch} comes from Debian's packages, and {}; or {instead}", status.sentence())
        }
        None => bail!("no mirror was read for the kernel {label} for {arch}"),
    };
    match &kernel.source {
        Source::Debian(package) => debian::fetch(means.cache, mirror, kernel, package, pin),
        Source::Built(own) => {
            let tools = match means.build_tools {
                Some(Ok(tools)) => tools,
                Some(Err(status)) => bail!("the kernel {label} for {arch} must be built, and {}", status.sentence()),
                None => bail!("no build tools were read for the kernel {label} for {arch}"),
            };
            from_source::build(means.cache, means.passed_on, mirror, tools, kernel, own, pin)
        }
    }
}
