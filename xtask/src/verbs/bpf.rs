//! `cargo xtask bpf`: compiles the BPF objects, or compares them with what is checked in.

use crate::bpf::engine::Place;
use crate::bpf::plan::{End, Plan};
use crate::bpf::run::{objects, run as compile};
use crate::build::plan;
use crate::build::run::Lines;
use crate::flags;
use crate::release::compare;
use crate::sys::files;
use crate::sys::hash;
use crate::sys::process::Runner;
use crate::toolchain;
use crate::workspace::facts::Facts;
use crate::workspace::machine::Machine;
use crate::workspace::needs::Need;
use anyhow::{Result, bail};

/// Runs the verb `bpf`.
pub fn run(runner: Runner, facts: &Facts, request: &flags::Bpf) -> Result<()> {
    let place = Place::choose(runner, facts, request.clang.engine)?;
    let plan = plan::bpf(facts, &place, request)?;
    if request.show.plan {
        return plan::show(&plan, request.show.json);
    }
    let _lock = facts.lock(runner)?;
    let _held = toolchain::get(runner, facts, &plan.get, &Lines::new())?;
    if plan.objects.end == End::Compare {
        return check(runner, facts, &plan.objects);
    }
    let before = &facts.bpf.objects;
    for (name, object) in compile(runner, &facts.cache, &plan.objects)? {
        let changed = before.get(&name).is_none_or(|sha256| *sha256 != hash::bytes(&object.bytes));
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

/// What `bpf` needs.
pub fn needs(machine: &Machine) -> Vec<Need> {
    let mut needs = machine.workspace();
    needs.extend(machine.engine());
    needs.extend(machine.toolchain(&machine.clang()));
    needs
}

/// Compiles everything, and compares it with what is checked in.
fn check(runner: Runner, facts: &Facts, plan: &Plan) -> Result<()> {
    let objects = objects(runner, &facts.cache, plan)?;
    let present = files::list(&plan.folder.join("objects"))?;
    let shown = |name: &str| format!("{}/objects/{name}", facts.config.bpf.folder);
    let mut faults = Vec::new();
    for (name, object) in &objects {
        if !present.contains(name) {
            faults.push(format!("{} is missing", shown(name)));
            continue;
        }
        let found = files::read(&plan.folder.join("objects").join(name))?;
        let differences = compare::differences(&found, &object.bytes);
        if differences.is_empty() {
            runner.status(format!("{}  {} bytes: as its source gives it", shown(name), found.len()));
        }
        faults.extend(differences.into_iter().map(|difference| format!("{}: {difference}", shown(name))));
    }
    for orphan in present.iter().filter(|name| name.ends_with(".o") && !objects.contains_key(*name)) {
        faults.push(format!("{} has no source", shown(orphan)));
    }
    if let Some(reason) = facts.bpf.stale(&facts.config.bpf) {
        faults.push(match facts.bpf.lock {
            Some(_) => format!("{}/bpf.lock is out of date: {reason}", facts.config.bpf.folder),
            None => reason,
        });
    }
    if faults.is_empty() {
        return Ok(());
    }
    let faults: String = faults.iter().map(|fault| format!("\n  {fault}")).collect();
    bail!(
        "the checked-in BPF objects are not what their sources give: run `cargo xtask bpf`, and commit its result{faults}"
    )
}
