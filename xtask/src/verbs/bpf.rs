//! `cargo xtask bpf`: compiles the BPF objects, or compares them with what is checked in.

use anyhow::Result;

use crate::bpf::container::Place;
use crate::bpf::plan::{self, End};
use crate::flags;
use crate::sys::process::Runner;
use crate::sys::{self, hash};
use crate::ui::error::bad_request;
use crate::workspace::facts::Facts;

/// Runs the verb.
pub fn run(runner: Runner, common: &flags::Common, request: &flags::Bpf) -> Result<()> {
    let (facts, _locks) = Facts::read(runner, common, None, None)?;
    if !facts.config.bpf.has_sources() {
        bad_request!(
            "there is no folder `bpf`, and `bpf.folder` in [workspace.metadata.bpfship] of Cargo.toml names no other"
        );
    }
    let place = Place::choose(runner, &facts, request.clang.engine)?;
    let end = if request.check { End::Compare } else { End::Write };
    let plan = plan::bpf(&facts, &place, end)?;
    if request.show.plan {
        return sys::plan::print(&plan.tasks, request.show.json);
    }
    facts.sources.ignored.explain(sys::plan::run(runner, &plan.tasks))?;
    if end == End::Compare {
        return Ok(());
    }
    for (name, object) in &plan.objects {
        let object = object.get()?;
        let changed = facts.bpf.objects.get(name).is_none_or(|sha256| *sha256 != hash::bytes(&object.bytes));
        runner.status(format!(
            "{}/objects/{name}  {} bytes, {}: {}",
            facts.config.bpf.folder,
            object.bytes.len(),
            if changed { "changed" } else { "as before" },
            object.programs.join(", ")
        ));
    }
    Ok(())
}
