//! How kernels get into the cache.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::boot::kernels::from_source::BuildTools;
use crate::boot::kernels::{Kernel, Source, debian, from_source};
use crate::debian::apt::Mirror;
use crate::debian::deb::Deb;
use crate::sys::cache::Cache;
use crate::sys::plan::Task;
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

/// Plans to get a kernel into the cache, from the package that is pinned, if one is.
pub fn fetch(means: &Means, kernel: &Kernel, pin: Option<&Deb>) -> Result<Task> {
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
