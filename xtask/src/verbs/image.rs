//! `cargo xtask image`: makes a container image of what was released.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::flags::{self, Common};
use crate::image::plan;
use crate::release::beside::Shelf;
use crate::release::{artifacts, describe, staging};
use crate::sys;
use crate::sys::hash::Sha256;
use crate::sys::process::Runner;
use crate::ui::screen;
use crate::verify::release as verify;
use crate::workspace::facts::{self, Workspace};

/// What was made.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Images<'a> {
    pub folder: &'a Path,
    pub images: Vec<One<'a>>,
    /// What is in none of them, in a sentence.
    #[serde(rename = "left-out")]
    pub left_out: Option<String>,
}

/// One image, for several architectures.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct One<'a> {
    pub file: &'a str,
    pub name: &'a str,
    pub version: &'a str,
    /// By which a registry names it.
    pub digest: String,
    pub arches: Vec<&'static str>,
    /// Of the file, in bytes.
    pub size: u64,
    pub sha256: Sha256,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &flags::Image) -> Result<()> {
    let (Workspace { root, dist, config, .. }, _) = Workspace::find(runner, common)?;
    // What it is made of may not change meanwhile.
    let _lock = if request.show.plan { None } else { Some(facts::lock(runner, &root)?) };
    let manifest = artifacts::read(&dist)?;
    describe::check_release(&dist, &manifest, &config)?;
    let archives = artifacts::opened(runner, &dist, &manifest, &request.arches)?;
    let made = plan::images(&config, &manifest, &archives)?;
    let left_out = verify::left_out(&dist, &manifest)?;
    left_out.iter().for_each(|sentence| runner.status(sentence));
    let shelf = Shelf::new(&dist, "images")?;
    let tasks = plan::tasks(&shelf, &made);
    if request.show.plan {
        return sys::plan::print(&tasks, request.show.json);
    }
    sys::plan::run(runner, &tasks)?;
    if request.show.json {
        let published = shelf.published.get()?;
        let list = made.iter().filter_map(|made| {
            let (size, sha256) = published.get(&made.file)?;
            let arches: Vec<_> = made.image.platforms.iter().map(|(arch, _)| arch.name).collect();
            Some(One {
                file: &made.file,
                name: &made.image.name,
                version: &made.image.version,
                digest: format!("sha256:{}", made.layout.digest),
                arches,
                size: *size,
                sha256: *sha256,
            })
        });
        return screen::print_result(Images { folder: shelf.folder(), images: list.collect(), left_out });
    }
    let shown = staging::shown(shelf.folder()).display();
    for made in &made {
        let arches: Vec<_> = made.image.platforms.iter().map(|(arch, _)| arch.name).collect();
        screen::print(&format!("{}@sha256:{}\n", made.image.name, made.layout.digest))?;
        runner.status(format!("{shown}/{} is that image, for {}", made.file, arches.join(", ")));
    }
    Ok(())
}
