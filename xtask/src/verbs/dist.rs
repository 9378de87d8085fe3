//! `cargo xtask dist`: from sources to checked, checksummed archives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use crate::bpf::container::Place;
use crate::build::builder::Builders;
use crate::build::plan as build;
use crate::flags;
use crate::release::documents::{Documents, Files};
use crate::release::layout::Tarball;
use crate::release::{plan, staging};
use crate::sys;
use crate::sys::process::Runner;
use crate::ui::screen;
use crate::workspace::facts::Facts;
use crate::workspace::packages::Package;
use crate::workspace::products::Archive;
use crate::workspace::source::Source;

/// Runs the verb.
pub fn run(runner: Runner, common: &flags::Common, request: &flags::Dist) -> Result<()> {
    let to = request.to.as_ref().map(std::path::absolute).transpose()?;
    let (facts, _locks) = Facts::read(runner, common, request.commit.as_deref(), to.as_deref())?;
    build::check(&facts)?.into_iter().for_each(|line| runner.status(line));
    let sources = &facts.sources;
    if common.verbose {
        sources.changes.iter().for_each(|change| runner.status(change.to_string()));
    }
    let source = Source::new(&facts.root, sources.commit.as_ref(), !sources.changes.is_empty())?;
    let files = Files::new(&sources.workspace, &sources.top, &sources.outside)?;
    let documents = facts.config.archives.iter().map(|archive| {
        let packages = facts.shipped(archive);
        Ok((archive.name.clone(), documents(&files, archive, &packages, &sources.workspace)?))
    });
    let documents = documents.collect::<Result<BTreeMap<_, _>>>().map_err(|error| sources.in_user_words(error));
    let documents = sources.ignored.explain(documents)?;
    let place = match facts.bpf.stale(&facts.config) {
        Some(_) if request.compiles() => Some(Place::choose(runner, &facts, request.clang.engine)?),
        _ => None,
    };
    let arches = if request.arches.is_empty() { &facts.config.arches } else { &request.arches };
    let builders = Builders::find(runner, &facts, arches, request.builder, request.clang.engine)?;
    let dist = to.unwrap_or_else(|| facts.dist.clone());
    let facts = Arc::new(facts);
    let plan = plan::dist(&facts, source, documents, place.as_ref(), &builders, &dist, request);
    let plan = facts.sources.ignored.explain(plan)?;
    let made: Vec<String> = plan.tarballs.iter().map(Tarball::file).collect();
    staging::check(&dist, &made)?;
    if request.show.plan {
        return sys::plan::print(&plan.tasks, request.show.json);
    }
    let earlier = staging::earlier(&dist);
    sys::plan::run(runner, &plan.tasks)?;

    let mut seconds = BTreeMap::new();
    for (tarball, builds) in plan.tarballs.iter().zip(&plan.built) {
        // It waited for the longest.
        for built in builds {
            let of_build = built.get()?.seconds.get(tarball.arch.triple).copied().unwrap_or_default();
            let longest = seconds.entry(tarball.file()).or_insert(of_build);
            *longest = of_build.max(*longest);
        }
    }
    if request.show.json {
        return screen::print_result(staging::Made::new(&dist, &made, &seconds, plan.manifest.get()?));
    }
    staging::report(runner, &dist, &made, Some(&seconds), plan.manifest.get()?, earlier.as_ref());
    Ok(())
}

/// What goes into an archive besides binaries. `packages` are those that are shipped in it, of that workspace.
fn documents(files: &Files, archive: &Archive, packages: &[&Package], workspace: &Path) -> Result<Documents> {
    let inside = |package: &&Package| package.folder.strip_prefix(workspace).unwrap_or(Path::new("")).to_owned();
    let folders: Vec<PathBuf> = packages.iter().map(inside).collect();
    let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    let mut documents = files.documents(&archive.include, &folders)?;
    for file in packages.iter().filter_map(|package| package.license_file.as_deref()) {
        files.add_license(file, &mut documents)?;
    }
    Ok(documents)
}
