//! `cargo xtask dist`: from sources to checked, checksummed archives.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;

use crate::bpf::engine::Place;
use crate::build::plan::{self as build, source_root};
use crate::flags;
use crate::release::documents::Files;
use crate::release::plan::Product;
use crate::release::{plan, staging};
use crate::sys;
use crate::sys::process::Runner;
use crate::toolchain;
use crate::ui::status::{State, Status};
use crate::workspace::facts;
use crate::workspace::git::Source;
use crate::workspace::machine::Machine;
use crate::workspace::needs::Need;

/// Runs the verb.
pub fn run(runner: Runner, common: &flags::Common, request: &flags::Dist) -> Result<()> {
    let (facts, _lock) = facts::read_locked(runner, common, request.show.plan)?;
    build::check(&facts)?;
    let source = Source::read(runner, &facts.root)?;
    let documents = Files::new(source_root(&facts), &source.top, source.files.as_ref())?
        .documents(&facts.config.include, facts.package_folder())?;
    let place = match facts.bpf.stale(&facts.config.bpf) {
        Some(_) if !request.locked => Some(Place::choose(runner, &facts, request.clang.engine)?),
        _ => None,
    };
    let dist = facts.root.join("dist");
    let plan = plan::dist(&Arc::new(facts), source, documents, place.as_ref(), request)?;
    let archives: Vec<String> = plan.products.iter().map(Product::archive).collect();
    staging::check(&dist, &archives)?;
    if request.show.plan {
        return sys::plan::print(&plan.tasks, request.show.json);
    }
    let earlier = staging::earlier(&dist);
    sys::plan::run(runner, &plan.tasks)?;

    let mut seconds = BTreeMap::new();
    for built in &plan.built {
        seconds.extend(built.get()?.seconds.clone());
    }
    let made: Vec<_> = plan.products.iter().map(|product| product.arch).collect();
    staging::report(runner, &dist, &made, Some(&seconds), plan.manifest.get()?, earlier.as_ref());
    Ok(())
}

/// What `dist` needs.
pub fn needs(machine: &Machine) -> Vec<Need> {
    let mut needs = machine.workspace();
    let mut compiler = toolchain::Needs::default();
    match &machine.stale {
        Ok(Some(reason)) => {
            needs.push(Need::new("BPF objects", Err(Status::new(State::ToBuild, reason))));
            needs.extend(machine.engine());
            compiler = machine.clang();
        }
        stale => needs.push(Need::new("BPF objects", stale.clone().map(|_| "up to date".into()))),
    }
    needs.push(Need::new("git", machine.commit.clone()));
    needs.extend(machine.builds(&machine.arches(), compiler));
    needs
}
