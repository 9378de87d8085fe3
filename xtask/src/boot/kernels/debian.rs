//! Kernels of Debian's: packages whose names change with each version, of which one file is needed.

use anyhow::{Context, Result};

use crate::boot::kernels::run::{DownloadNewest, DownloadPinned, KeepFiles, WriteRecord, pkgnames};
use crate::boot::kernels::{DEVICE_TREE, IMAGE, Kernel, Package, RECORD};
use crate::debian::apt::{self, Mirror};
use crate::debian::deb::Deb;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::plan::Task;
use crate::sys::steps::{CacheEntry, Remove};

/// Plans to fetch a kernel into the cache, from the package that is pinned or the newest.
pub fn fetch(cache: &Cache, mirror: &Mirror, kernel: &Kernel, package: &Package, pin: Option<&Deb>) -> Result<Task> {
    let Kernel { arch, label, .. } = kernel;
    let debian = arch.debian.with_context(|| format!("Debian has no {arch}"))?;
    let name = kernel.entry(pin);
    let entry = cache.partial(&name);
    let folder = entry.join("apt");
    let mut steps = apt::update(&folder, mirror, package.suite, debian);
    let download = apt::command("apt-get", &folder).args(["--quiet", "download"]);
    steps.push(match pin {
        Some(deb) => Box::new(DownloadPinned { mirror: mirror.url.clone(), deb: deb.clone(), download }),
        None => Box::new(DownloadNewest {
            mirror: mirror.url.clone(),
            package: *package,
            names: pkgnames(apt::command("apt-cache", &folder), package.name),
            download,
        }),
    });
    let device_tree = package.device_tree.map(|pattern| (pattern, DEVICE_TREE));
    steps.push(Box::new(KeepFiles {
        arch,
        list: Command::new("dpkg-deb", &folder).arg("--fsys-tarfile"),
        files: std::iter::once((package.image, IMAGE)).chain(device_tree).collect(),
        entry: entry.clone(),
    }));
    steps.push(Box::new(WriteRecord {
        apt: folder.clone(),
        suite: package.suite,
        mirror: mirror.url.clone(),
        build: None,
        file: entry.join(RECORD),
    }));
    steps.push(Box::new(Remove { folder }));
    let title = format!("fetching the kernel {label} for {arch}, once, from Debian");
    Ok(Task::new(title, vec![Box::new(CacheEntry::new(cache.clone(), name, steps))]).live(arch.name))
}
