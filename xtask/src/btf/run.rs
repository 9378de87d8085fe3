//! Gets the kernels of `boot`'s whose types are wanted.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;

use crate::boot::facts::suppliers;
use crate::boot::kernels::lock::Lock;
use crate::boot::kernels::plan::{Means, fetch};
use crate::boot::kernels::{IMAGE, Kernel};
use crate::btf::select::From;
use crate::sys;
use crate::sys::cache::Cache;
use crate::sys::plan::Task;
use crate::sys::process::Runner;
use crate::sys::steps::{CheckEntry, HoldEntries};
use crate::workspace::facts::passed_on;

/// Has the kernels among these in the cache, those that `lock` pins, and keeps them there while this runs. Gives where each
/// source's file is.
pub fn files(runner: Runner, offline: bool, sources: &[From], lock: &Lock) -> Result<Vec<PathBuf>> {
    let entry = |kernel: &Kernel| kernel.entry(lock.pin(kernel));
    let kernels: Vec<&Kernel> = sources.iter().filter_map(From::kernel).collect();
    let cache = Cache::find()?;
    if !kernels.is_empty() {
        let (passed_on, cached) = (passed_on(), cache.entries()?);
        let mut entries = BTreeSet::new();
        let missing: Vec<&Kernel> = kernels
            .iter()
            .filter(|kernel| entries.insert(entry(kernel)) && !cached.contains(&entry(kernel)))
            .copied()
            .collect();
        let (mirror, build_tools) = suppliers(runner, &passed_on, &missing);
        let means = Means {
            cache: &cache,
            passed_on: &passed_on,
            offline,
            mirror: mirror.as_ref(),
            build_tools: build_tools.as_ref(),
            instead: "name a FILE",
        };
        let fetched = missing.iter().map(|kernel| {
            Ok(fetch(&means, kernel, lock.pin(kernel))?.beside("kernels").failure("cannot get the kernels"))
        });
        let mut tasks = fetched.collect::<Result<Vec<Task>>>()?;
        let hold = HoldEntries::new(cache.clone(), entries.iter().cloned().collect());
        tasks.push(Task::new("keeping the kernels in the cache", vec![Box::new(hold)]));
        tasks.extend(entries.into_iter().map(|name| {
            let title = format!("checking {name}");
            Task::new(title, vec![Box::new(CheckEntry { cache: cache.clone(), name, reads: |_| true })])
        }));
        sys::plan::run(runner, &tasks)?;
    }
    let file = |source: &From| match source {
        From::File(file) => file.clone(),
        From::Boot(kernel) => cache.path(&entry(kernel)).join(IMAGE),
    };
    Ok(sources.iter().map(file).collect())
}
