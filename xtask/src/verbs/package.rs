//! `cargo xtask package`: makes packages for systems of what was released.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::arch::Arch;
use crate::flags::{self, Common};
use crate::package::format::Format;
use crate::package::plan;
use crate::package::spec::Package;
use crate::release::beside::Shelf;
use crate::release::{artifacts, describe, layout, staging};
use crate::sys;
use crate::sys::cache::Cache;
use crate::sys::hash::Sha256;
use crate::sys::process::Runner;
use crate::toolchain;
use crate::ui::error::bad_request;
use crate::ui::screen;
use crate::ui::table::Align::{Left, Right};
use crate::ui::table::Table;
use crate::verify::release as verify;
use crate::workspace::facts::{self, Workspace};

/// What was made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Packages<'a> {
    pub folder: &'a Path,
    pub packages: Vec<One<'a>>,
    /// What is not made, in sentences.
    pub left_out: Vec<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct One<'a> {
    pub file: &'a str,
    pub format: Format,
    pub archive: &'a str,
    pub arch: &'static Arch,
    /// What the format calls it.
    pub architecture: &'a str,
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &flags::Package) -> Result<()> {
    let (Workspace { root, dist, config, .. }, _) = Workspace::find(runner, common)?;
    // What it is made of may not change meanwhile.
    let _lock = if request.show.plan { None } else { Some(facts::lock(runner, &root)?) };
    let manifest = artifacts::read(&dist)?;
    describe::check_release(&dist, &manifest, &config)?;
    let archives = artifacts::opened(runner, &dist, &manifest, &request.arches)?;
    let (packages, mut left_out) = plan::packages(&plan::Request {
        config: &config,
        manifest: &manifest,
        formats: &request.formats,
        archives: &archives,
    })?;
    if packages.is_empty() {
        bad_request!("there is nothing to package: {}", left_out.join("; "));
    }
    left_out.extend(verify::left_out(&dist, &manifest)?);
    let shelf = Shelf::new(&dist, "packages")?;
    let cache = Cache::find()?;
    let (mut tasks, packager) = toolchain::plan::packager(&cache, &root, common.offline)?;
    tasks.extend(plan::tasks(&shelf, &cache.path(&packager), &packages));
    if request.show.plan {
        left_out.iter().for_each(|sentence| runner.status(sentence));
        return sys::plan::print(&tasks, request.show.json);
    }
    sys::plan::run(runner, &tasks)?;

    let published = shelf.published.get()?;
    let made: Vec<(&Package, String)> = packages.iter().map(|package| (package, package.file())).collect();
    if request.show.json {
        let list = made.iter().filter_map(|(package, file)| {
            let (size, sha256) = published.get(file)?;
            Some(One {
                file,
                format: package.row.format,
                archive: &package.archive,
                arch: package.target,
                architecture: package.arch,
                size: *size,
                sha256: *sha256,
            })
        });
        return screen::print_result(Packages { folder: shelf.folder(), packages: list.collect(), left_out });
    }
    let shown = staging::shown(shelf.folder()).display().to_string();
    let mut table = Table::new([Left, Left, Right, Left]);
    table.row(["package", "for", "size", "sha256"]);
    for (package, file) in &made {
        if let Some((size, sha256)) = published.get(file) {
            let size = format!("{} kB", size.div_ceil(1000));
            table.row([&format!("{shown}/{file}"), package.target.name, &size, &format!("{sha256:.12}")]);
        }
    }
    runner.table(&[table]);
    left_out.iter().for_each(|sentence| runner.status(sentence));
    let link = screen::linked(staging::shown(shelf.folder()), shelf.folder());
    runner.status(format!("packages and {} are in {link}", layout::CHECKSUMS));
    Ok(())
}
