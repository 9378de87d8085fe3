//! `cargo xtask boot`: proves on real kernels, under QEMU, that what was released works there.

use std::path::absolute;

use anyhow::{Context, Result, bail};

use crate::boot::facts::Host;
use crate::boot::kernels::{self, KERNELS, Kernel, Source};
use crate::boot::plan;
use crate::boot::run::Outcome;
use crate::boot::select::{self, Guest, KernelArg, Selection};
use crate::flags;
use crate::release::boot_report::{self, REPORT, Verdict};
use crate::release::{artifacts, layout, staging};
use crate::sys;
use crate::sys::process::Runner;
use crate::toolchain::plan::Needs;
use crate::ui::error::bad_request;
use crate::ui::status::{State, Status};
use crate::workspace::facts::Facts;
use crate::workspace::machine::Machine;
use crate::workspace::needs::Need;

/// Runs the verb.
pub fn run(runner: Runner, common: &flags::Common, request: &flags::Boot) -> Result<()> {
    let selection = selection(request)?;
    let (facts, _locks) = Facts::read(runner, common, None, None)?;
    let dist = layout::dist(&facts.root);
    let manifest = artifacts::read(&dist)?;
    let guests = select::guests(&manifest.artifacts, &request.arches, &selection)?;
    let host = Host::read(runner, &facts, &guests)?;
    let plan = plan::plan(&facts, &host, &manifest.artifacts, &guests)?;
    if request.show.plan {
        return sys::plan::print(&plan.tasks, request.show.json);
    }
    sys::plan::run(runner, &plan.tasks)?;

    runner.table(&boot_report::tables(plan.added.get()?));
    let mut failures = Vec::new();
    for (guest, outcome) in guests.iter().zip(&plan.outcomes) {
        failures.extend(show_failure(runner, guest, outcome.get()?));
    }
    runner.status(format!("what was booted is in {}", staging::shown(&dist).join(REPORT).display()));
    if !failures.is_empty() {
        bail!("{} of {} boots failed:{}", failures.len(), guests.len(), failures.concat());
    }
    Ok(())
}

fn selection(request: &flags::Boot) -> Result<Selection> {
    if request.all_kernels {
        return Ok(Selection::All);
    }
    if request.kernels.is_empty() {
        return Ok(Selection::Defaults);
    }
    let args = request.kernels.iter().map(|word| {
        if KERNELS.iter().any(|kernel| kernel.label == word) {
            return Ok(KernelArg::Label(word.clone()));
        }
        let file = absolute(word).with_context(|| format!("cannot find {word}"))?;
        if file.is_dir() {
            bad_request!("--kernel: {word} is a folder");
        }
        Ok(if file.exists() { KernelArg::File(file) } else { KernelArg::Label(word.clone()) })
    });
    Ok(Selection::Named(args.collect::<Result<_>>()?))
}

/// Shows the console of a guest that failed. Returns its line of the error.
fn show_failure(runner: Runner, guest: &Guest, outcome: &Outcome) -> Option<String> {
    let Verdict::Fail(why) = &outcome.verdict else { return None };
    let Guest { arch, label, .. } = guest;
    runner.eprintln(format!("\nthe console of {arch} on {label}:"));
    outcome.console.lines().for_each(|line| runner.eprintln(format!("  {line}")));
    let lost = outcome.console.lost();
    if lost > 0 {
        runner.eprintln(format!("  ({lost} of init's reports were lost among other lines)"));
    }
    Some(format!("\n  {arch} on {label}: {why}"))
}

/// What `boot` needs.
pub fn needs(machine: &Machine) -> Vec<Need> {
    let mut needs = machine.workspace();
    needs.extend(machine.builds(&machine.arches(), Needs::default()));
    needs.extend(machine.qemu.iter().map(|(arch, found)| Need::new(format!("QEMU {arch}"), found.clone())));
    let kernels = machine.arches().into_iter().map(kernels::default_of);
    let missing: Vec<_> = kernels.filter(|kernel| !machine.installed.cached.contains(&kernel.entry())).collect();
    let (built, fetched): (Vec<&Kernel>, Vec<&Kernel>) =
        missing.into_iter().partition(|kernel| matches!(kernel.source, Source::Built(_)));
    for (kernels, state) in [(&fetched, State::ToFetch), (&built, State::ToBuild)] {
        if !kernels.is_empty() {
            let names: Vec<String> = kernels.iter().map(|kernel| format!("{} {}", kernel.arch, kernel.label)).collect();
            let state = if machine.offline { State::NeedsYou } else { state };
            needs.push(Need::new("kernels", Err(Status::new(state, names.join(", ")))));
        }
    }
    // The sources of those that are built come from there, too.
    if !fetched.is_empty() || !built.is_empty() {
        needs.push(Need::new("mirror", machine.mirror.as_ref().map(|it| it.url.clone()).map_err(Status::clone)));
    }
    if !built.is_empty() {
        needs.push(Need::new(
            "kbuild",
            machine.kernel_tools.as_ref().map(|it| it.compiler.clone()).map_err(Status::clone),
        ));
    }
    needs
}
