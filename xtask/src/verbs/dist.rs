//! `cargo xtask dist`: from sources to checked, checksummed archives.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;

use crate::bpf::container::Place;
use crate::build::plan as build;
use crate::flags;
use crate::release::documents::Files;
use crate::release::layout::{self, Product};
use crate::release::{plan, staging};
use crate::sys;
use crate::sys::process::Runner;
use crate::ui::screen;
use crate::workspace::facts::Facts;
use crate::workspace::source::Source;

/// Runs the verb.
pub fn run(runner: Runner, common: &flags::Common, request: &flags::Dist) -> Result<()> {
    let to = request.to.as_ref().map(std::path::absolute).transpose()?;
    let (facts, _locks) = Facts::read(runner, common, request.commit.as_deref(), to.as_deref())?;
    build::check(&facts)?;
    let sources = &facts.sources;
    if common.verbose {
        sources.changes.iter().for_each(|change| runner.status(change.to_string()));
    }
    let source = Source::new(&facts.root, sources.commit.as_ref(), !sources.changes.is_empty())?;
    let files = Files::new(&sources.workspace, &sources.top, &sources.outside)?;
    let documents = files.documents(&facts.config.include, facts.package_folder()).and_then(|mut documents| {
        facts.license_file().map_or(Ok(()), |file| files.add_license(file, &mut documents))?;
        Ok(documents)
    });
    let documents = documents.map_err(|error| sources.in_user_words(error));
    let documents = sources.ignored.explain(documents)?;
    let place = match facts.bpf.stale(&facts.config) {
        Some(_) if request.compiles() => Some(Place::choose(runner, &facts, request.clang.engine)?),
        _ => None,
    };
    let dist = to.unwrap_or_else(|| layout::dist(&facts.root));
    let facts = Arc::new(facts);
    let plan = plan::dist(&facts, source, documents, place.as_ref(), &dist, request);
    let plan = facts.sources.ignored.explain(plan)?;
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
    if request.show.json {
        return screen::print_result(staging::result(&dist, &made, &seconds, plan.manifest.get()?)?);
    }
    staging::report(runner, &dist, &made, Some(&seconds), plan.manifest.get()?, earlier.as_ref());
    Ok(())
}
