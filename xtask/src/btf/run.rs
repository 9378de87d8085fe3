//! Gets the kernels of `boot`'s whose types are wanted, and writes the parts of their types.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bpfship_embed::{Kernel as Name, Lock};

use crate::boot::facts::suppliers;
use crate::boot::kernels::lock::Lock as Pins;
use crate::boot::kernels::plan::{Means, get};
use crate::boot::kernels::{IMAGE, Kernel};
use crate::bpf::{LOCK, paths};
use crate::btf::select::Origin;
use crate::sys;
use crate::sys::cache::Cache;
use crate::sys::process::Runner;
use crate::sys::{files, hash};
use crate::workspace::config::Bpf;
use crate::workspace::facts::passed_on;

/// Has the kernels among these in the cache, those that `lock` pins, and keeps them there while this runs. Gives where each
/// source's file is.
pub fn files(runner: Runner, offline: bool, sources: &[Origin], lock: &Pins) -> Result<Vec<PathBuf>> {
    let entry = |kernel: &Kernel| kernel.entry(lock.pin(kernel));
    let kernels: Vec<&Kernel> = sources.iter().filter_map(Origin::kernel).collect();
    let cache = Cache::find()?;
    if !kernels.is_empty() {
        let (passed_on, cached) = (passed_on(), cache.entries()?);
        let missing: Vec<&Kernel> = kernels.iter().filter(|kernel| !cached.contains(&entry(kernel))).copied().collect();
        let (mirror, build_tools) = suppliers(runner, &passed_on, &missing);
        let means = Means {
            cache: &cache,
            passed_on: &passed_on,
            offline,
            mirror: mirror.as_ref(),
            build_tools: build_tools.as_ref(),
            instead: "name a FILE",
        };
        let tasks = get(&means, &cached, kernels.iter().map(|kernel| (*kernel, lock.pin(kernel))))?;
        sys::plan::run(runner, &tasks)?;
    }
    let file = |source: &Origin| match source {
        Origin::File(file) => file.clone(),
        Origin::Boot(kernel) => cache.path(&entry(kernel)).join(IMAGE),
    };
    Ok(sources.iter().map(file).collect())
}

/// Writes the files, and removes others unless they are to be kept.
pub fn write(folder: &Path, parts: &BTreeMap<String, Vec<u8>>, keep: bool) -> Result<()> {
    let mut written = Vec::new();
    for (path, part) in parts {
        let file = folder.join(path);
        file.parent().map_or(Ok(()), files::create_folder)?;
        written.push((file, part.as_slice()));
    }
    files::replace(&written)?;
    for other in present(folder)?.iter().filter(|path| !keep && !parts.contains_key(*path)) {
        let file = folder.join(other);
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        // Those above may be empty now.
        let above = file.ancestors().skip(1).take_while(|above| *above != folder);
        above.map_while(|above| fs::remove_dir(above).ok()).for_each(drop);
    }
    Ok(())
}

/// The files of BTF in a folder.
fn present(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    files::walk(folder, "", &mut found)?;
    found.retain(|path| Name::of_path(path).is_some());
    Ok(found)
}

/// Writes to the lock file what there is now, and for which relocations.
pub fn remember(root: &Path, bpf: &Bpf, lock: Lock, folder: &Path, relocations: String) -> Result<()> {
    let configured = bpf.btf.as_deref().unwrap_or_default();
    let mut hashes = BTreeMap::new();
    for path in present(folder)? {
        let name = paths::from_folder(&bpf.folder, &format!("{configured}/{path}"));
        hashes.insert(name, hash::file(&folder.join(path))?.to_string());
    }
    let (relocations, btf_relocations) = (Some(relocations.clone()), Some(relocations));
    let text = Lock { btf: hashes, relocations, btf_relocations, ..lock }.to_string();
    files::replace(&[(root.join(&bpf.folder).join(LOCK), text.as_bytes())])
}
