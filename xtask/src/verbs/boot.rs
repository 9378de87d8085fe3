//! `cargo xtask boot`: proves on real kernels, under QEMU, that what was released works there.

use std::fs::File;
use std::path::absolute;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::arch::Arch;
use crate::boot::facts::Host;
use crate::boot::kernels::KERNELS;
use crate::boot::kernels::lock::Lock;
use crate::boot::plan;
use crate::boot::run::Outcome;
use crate::boot::select::{self, Guest, KernelArg, Selection};
use crate::flags;
use crate::release::boot_report::{self, Boot, REPORT, Verdict};
use crate::release::{artifacts, staging};
use crate::sys;
use crate::sys::process::Runner;
use crate::ui::error::bad_request;
use crate::ui::screen;
use crate::workspace::facts::Facts;

/// What was booted.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Booted<'a> {
    pub boots: &'a [Boot],
}

/// Runs the verb.
pub fn run(runner: Runner, common: &flags::Common, request: &flags::Boot) -> Result<()> {
    let selection = selection(request)?;
    let (facts, _locks) = Facts::read(runner, common, None, None)?;
    let dist = facts.dist.clone();
    let manifest = artifacts::read(&dist)?;
    let mut guests = select::guests(&manifest.artifacts, &request.arches, &selection, &Lock::read(&facts.root)?)?;
    if request.kvm {
        use_kvm(&mut guests)?;
    }
    let host = Host::read(runner, &facts, &guests)?;
    let plan = plan::plan(&facts, &host, &manifest.artifacts, &guests)?;
    if request.show.plan {
        return sys::plan::print(&plan.tasks, request.show.json);
    }
    sys::plan::run(runner, &plan.tasks)?;

    match request.show.json {
        true => screen::print_result(Booted { boots: plan.added.get()? })?,
        false => runner.table(&boot_report::tables(plan.added.get()?)),
    }
    let mut failures = Vec::new();
    for (guest, outcome) in guests.iter().zip(&plan.outcomes) {
        failures.extend(show_failure(runner, guest, outcome.get()?));
    }
    let report = screen::linked(&staging::shown(&dist).join(REPORT), &dist.join(REPORT));
    runner.status(format!("what was booted is in {report}"));
    if !failures.is_empty() {
        bail!("{} of {} boots failed:{}", failures.len(), guests.len(), failures.concat());
    }
    Ok(())
}

/// Has this machine's processor run the guests that are of its kind.
fn use_kvm(guests: &mut [Guest]) -> Result<()> {
    let Some(own) = Arch::of_this_machine() else {
        bad_request!("--kvm: nothing is shipped for this machine's architecture, {}", std::env::consts::ARCH);
    };
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        bad_request!("--kvm: /dev/kvm cannot be opened ({error}): this machine has no KVM, or you may not use it");
    }
    // Boards have their own processors.
    let mut same =
        guests.iter_mut().filter(|guest| guest.arch == own && guest.machine.name == own.machine.name).peekable();
    if same.peek().is_none() {
        bad_request!("--kvm: this machine is {own}, and none of the guests is");
    }
    same.for_each(|guest| guest.kvm = true);
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
