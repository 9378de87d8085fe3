//! `cargo xtask bpf`: compiles the BPF objects, or compares them with what is checked in.

use anyhow::Result;
use serde::Serialize;

use crate::bpf::container::Place;
use crate::bpf::plan::{self, End};
use crate::bpf::settle;
use crate::bpf::target::ObjectName;
use crate::flags::{self, Choice, Show};
use crate::sys;
use crate::sys::hash::Sha256;
use crate::sys::process::Runner;
use crate::ui::error::bad_request;
use crate::ui::screen;
use crate::workspace::facts::Facts;

/// What was compiled.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Compiled {
    pub compiled: Vec<Source>,
    /// How many sources had not changed.
    pub up_to_date: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Source {
    pub source: String,
    pub objects: Vec<Object>,
    /// Whether its objects are others than before.
    pub changed: bool,
    /// Why there is an object for each architecture, if there is.
    pub why_several: Option<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Object {
    pub name: String,
    pub sha256: Sha256,
}

/// With --check: that the checked-in objects are what their sources give.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Checked {
    pub same: bool,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &flags::Common, request: &flags::Bpf) -> Result<()> {
    let (mut facts, _locks) = Facts::read(runner, common, None, None)?;
    if !facts.config.bpf.has_sources() {
        bad_request!(
            "there are no BPF sources for this command: `bpf.folder` in [workspace.metadata.bpfship] of Cargo.toml names no folder, \
             and where it says nothing, there is no folder `bpf`"
        );
    }
    if !request.cflags.is_empty() {
        facts.add_cflags(&request.cflags)?;
    }
    if request.compdb {
        let tasks = plan::compile_commands(&facts)?;
        return match request.show {
            Show { plan: true, json } => sys::plan::print(&tasks, json),
            Show { json: true, .. } => {
                bad_request!("--compdb has no result as JSON but the file that it writes: leave --json out")
            }
            _ => sys::plan::run(runner, &tasks),
        };
    }
    let pending = plan::pending(&facts)?;
    let place = match pending.is_any_c() || request.clang.engine != Choice::Auto {
        true => Place::choose(runner, &facts, request.clang.engine)?,
        // Nothing is to be run.
        false => Place::Host,
    };
    let has_rust = pending.is_any_rust();
    let end = if request.check { End::Compare } else { End::Write };
    let plan = plan::bpf(&facts, &place, end, pending)?;
    if request.show.plan {
        return sys::plan::print(&plan.tasks, request.show.json);
    }
    if has_rust {
        for pin in &facts.bpf.rust.pins {
            runner.status(format!(
                "{pin} has no effect here: BPF is compiled with Rust {}, as all else",
                facts.rust.version
            ));
        }
    }
    facts.sources.ignored.explain(sys::plan::run(runner, &plan.tasks))?;
    if end == End::Compare {
        return if request.show.json { screen::print_result(Checked { same: true }) } else { Ok(()) };
    }
    let settled = plan.settled.get()?;
    let (mut compiled, before) = (Vec::new(), &facts.bpf.objects);
    let mut written: Vec<&str> = settled.objects.keys().map(|name| name.as_str()).collect();
    written.retain(|name| before.get(*name) != Some(&settled.objects[*name].kept.sha256));
    for line in &settled.compiled {
        let ready = |name: &ObjectName| settled.objects.get(&name.to_string());
        let kept: Vec<_> = line.objects.iter().filter_map(|name| Some((name.to_string(), ready(name)?.kept))).collect();
        written.retain(|name| kept.iter().all(|(compiled, _)| compiled != name));
        let same = kept.iter().all(|(name, kept)| before.get(name) == Some(&kept.sha256));
        let objects = kept.iter().map(|(name, kept)| Object { name: name.clone(), sha256: kept.sha256 }).collect();
        compiled.push(Source { source: line.shown.clone(), objects, changed: !same, why_several: line.why.clone() });
        let programs = kept.first().map_or(0, |(_, kept)| kept.programs);
        runner.status(format!(
            "{}: {}  {}, {}: {}",
            line.shown,
            settle::short(&line.objects),
            screen::size(kept.iter().map(|(_, kept)| kept.size as u64).sum()),
            if programs == 1 { "1 program".into() } else { format!("{programs} programs") },
            if same { "as before" } else { "changed" },
        ));
        if line.why.is_none() && line.objects.iter().all(|name| name.target.arch_word.is_some()) {
            runner.status("  for this architecture only: the source depends on it");
        }
        line.why.iter().for_each(|why| runner.status(format!("  one for each architecture: {why}")));
        line.note.iter().for_each(|note| runner.status(format!("  {note}")));
    }
    if request.show.json {
        return screen::print_result(Compiled { compiled, up_to_date: settled.unchanged });
    }
    let other = if settled.compiled.is_empty() { "" } else { "other " };
    let sources = match settled.unchanged {
        0 => return Ok(()),
        1 => format!("1 {other}source"),
        count => format!("{count} {other}sources"),
    };
    runner.status(match written.as_slice() {
        [] => format!("{sources}, whose objects are up to date"),
        names => {
            format!("{sources} without a change; written as an earlier run compiled them: {}", names.join(", "))
        }
    });
    Ok(())
}
