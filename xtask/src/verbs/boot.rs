//! `cargo xtask boot`: proves on real kernels, under QEMU, that what was released works there.

use crate::arch::Arch;
use crate::boot::facts::Host;
use crate::boot::guest;
use crate::boot::guest::{Contents, Memory, Outcome};
use crate::boot::kernels::KERNELS;
use crate::boot::kernels::{debian, from_source, image};
use crate::boot::plan;
use crate::boot::plan::{Boot, Chosen, Get, INIT, Plan, Selection, Wanted};
use crate::boot::verdict::Verdict;
use crate::build::run as cargo_build;
use crate::build::run::Lines;
use crate::release::artifacts;
use crate::release::boot_report::{self as report, REPORT, Report};
use crate::release::manifest::{Artifact, Manifest};
use crate::release::staging;
use crate::sys::command::Command;
use crate::sys::process::Runner;
use crate::sys::{files, hash, parallel};
use crate::ui::error::Failed;
use crate::ui::{error, screen};
use crate::workspace::facts::Facts;
use crate::{bad_request, flags, toolchain};
use anyhow::{Context, Error, Result, bail};
use cargo_metadata::TargetKind;
use init::message::facts as told;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Runs the verb.
pub fn run(runner: Runner, facts: &Facts, request: &flags::Boot) -> Result<()> {
    let dist = facts.root.join("dist");
    let host = Host::read(runner)?;
    let which = selection(request)?;
    let mut manifest = artifacts::read(&dist)?;
    if !facts.root.join(INIT).join("Cargo.toml").is_file() {
        bail!(
            "there is no crate `{INIT}` in the workspace, the first process of each guest: copy it from where xtask is from"
        );
    }
    let mut plan = plan::boot(facts, &host, &manifest, &request.arches, &which)?;
    if request.show.plan {
        return crate::build::plan::show(&plan, request.show.json);
    }
    check_files(&plan)?;
    let qemu = qemu_versions(runner, &host, &plan)?;

    let _lock = facts.lock(runner)?;
    // It may have changed while we waited.
    let now = artifacts::read(&dist)?;
    if now != manifest {
        plan = plan::boot(facts, &host, &now, &request.arches, &which)?;
        manifest = now;
    }
    let binaries = binaries(&dist, &manifest, &plan)?;
    let inits = build_init(runner, facts, &plan)?;
    get_kernels(runner, facts, &plan)?;
    let _held = hold_kernels(runner, facts, &plan)?;

    let outcomes = boot_all(runner, facts, &host, &plan, &binaries, &inits)?;
    let mut boots = Vec::new();
    for (boot, outcome) in plan.boots.iter().zip(&outcomes) {
        boots.push(describe(facts, &plan, boot, outcome, &manifest, &qemu)?);
    }
    runner.println(report::table(&boots, screen::width().unwrap_or(usize::MAX)).join("\n"));
    let failed: Vec<_> =
        plan.boots.iter().zip(&outcomes).filter_map(|(boot, outcome)| tell(runner, &plan, boot, outcome)).collect();
    keep(runner, &dist, &manifest, boots)?;
    if !failed.is_empty() {
        bail!("{} of {} boots failed:{}", failed.len(), outcomes.len(), failed.concat());
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
    let wanted = request.kernels.iter().map(|word| {
        if KERNELS.iter().any(|kernel| kernel.label == word) {
            return Ok(Wanted::Label(word.clone()));
        }
        let file = std::path::absolute(word).with_context(|| format!("cannot find {word}"))?;
        if file.is_dir() {
            bad_request!("--kernel: {word} is a folder");
        }
        Ok(if file.exists() { Wanted::File(file) } else { Wanted::Label(word.clone()) })
    });
    Ok(Selection::These(wanted.collect::<Result<_>>()?))
}

/// Refuses a file that is no kernel before anything is begun.
fn check_files(plan: &Plan) -> Result<()> {
    for kernel in &plan.kernels {
        if let Get::File(file) = &kernel.get
            && let Err(error) = files::read(file).and_then(|bytes| image::prepare(&bytes, kernel.arch))
        {
            bad_request!("--kernel {} is of no use: {error:#}", file.display());
        }
    }
    Ok(())
}

/// The version of each QEMU that is wanted, which must be there.
fn qemu_versions(runner: Runner, host: &Host, plan: &Plan) -> Result<BTreeMap<&'static str, String>> {
    let mut versions = BTreeMap::new();
    for kernel in &plan.kernels {
        if !versions.contains_key(kernel.arch.name) {
            let text = runner.read(&Command::new(host.emulator(kernel.arch)?, Path::new("/")).arg("--version"))?;
            let version = text.lines().next().and_then(|line| line.split_once("version ")).map(|(_, rest)| rest);
            versions.insert(kernel.arch.name, version.unwrap_or_default().to_owned());
        }
    }
    Ok(versions)
}

/// The binaries to boot, by the names of their tarballs.
fn binaries(dist: &Path, manifest: &Manifest, plan: &Plan) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut binaries = BTreeMap::new();
    for boot in &plan.boots {
        if !binaries.contains_key(&boot.file) {
            binaries.insert(boot.file.clone(), artifacts::binary(dist, artifact(manifest, boot)?)?);
        }
    }
    Ok(binaries)
}

fn artifact<'a>(manifest: &'a Manifest, boot: &Boot) -> Result<&'a Artifact> {
    manifest.artifacts.iter().find(|artifact| artifact.file == boot.file).context("a boot of no artifact")
}

/// Builds init; gives the binary for each target.
fn build_init(runner: Runner, facts: &Facts, plan: &Plan) -> Result<BTreeMap<String, Vec<u8>>> {
    let arches: BTreeMap<_, _> = plan.kernels.iter().map(|kernel| (kernel.arch.triple, kernel.arch.name)).collect();
    let lines: Lines = arches.iter().map(|(triple, name)| (*triple, runner.line(name))).collect();
    let _held = toolchain::get(runner, facts, &plan.get, &lines)?;
    runner.perform(&plan.build.home)?;
    let mut built: BTreeMap<String, PathBuf> = BTreeMap::new();
    let (status, messages) =
        cargo_build::run(runner, &plan.build.command, &plan.build.target, &lines, |triple, artifact| {
            let is_init = artifact.target.name == INIT && artifact.target.kind.contains(&TargetKind::Bin);
            if let (true, Some(binary)) = (is_init, artifact.executable) {
                built.insert(triple.into(), binary.into());
            }
        })?;
    if !status.success() {
        let failed = Failed::of("cargo", status, messages.errors());
        return Err(Error::new(failed).context(format!("cannot build `{INIT}`, the first process of each guest")));
    }
    built.into_iter().map(|(triple, path)| Ok((triple, files::read(&path)?))).collect()
}

fn get_kernels(runner: Runner, facts: &Facts, plan: &Plan) -> Result<()> {
    let missing: Vec<&Chosen> = plan.kernels.iter().filter(|kernel| kernel.get != Get::Nothing).collect();
    let got = parallel::map(&missing, |kernel| match &kernel.get {
        Get::Nothing => Ok(()),
        Get::Debian(plan) => {
            runner.status(format!("fetching the kernel {} for {}, once, from Debian", kernel.label, kernel.arch));
            debian::get(runner, &facts.cache, plan, &runner.line(kernel.arch.name))
        }
        Get::Built(plan) => from_source::get(runner, &facts.cache, plan, &runner.line(kernel.arch.name)).map(drop),
        Get::File(file) => files::write(&kernel.image, image::prepare(&files::read(file)?, kernel.arch)?),
    });
    runner.check_interrupted()?;
    let failures: Vec<_> = got.into_iter().filter_map(Result::err).map(|error| error::describe(&error)).collect();
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    Ok(())
}

/// Makes sure that the kernels in the cache are what they were, and stay.
fn hold_kernels(runner: Runner, facts: &Facts, plan: &Plan) -> Result<Vec<File>> {
    let entries: BTreeSet<&String> = plan.kernels.iter().filter_map(|kernel| kernel.entry.as_ref()).collect();
    let held = facts.cache.hold(entries.iter().copied());
    // All of them, before the first damaged one has all of this done again.
    let checked: Vec<Result<()>> = entries.iter().map(|entry| facts.cache.check(runner, entry, |_| true)).collect();
    checked.into_iter().collect::<Result<()>>()?;
    Ok(held)
}

fn boot_all(
    runner: Runner,
    facts: &Facts,
    host: &Host,
    plan: &Plan,
    binaries: &BTreeMap<String, Vec<u8>>,
    inits: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<Outcome>> {
    let memory = Memory::new(host.memory);
    let outcomes = parallel::map(&plan.boots, |boot| {
        let kernel = &plan.kernels[boot.kernel];
        let init = inits.get(kernel.arch.triple).context("cargo did not say where init is")?;
        let contents = Contents { init, binary: &binaries[&boot.file] };
        memory.with(kernel.machine.memory, || {
            let line = runner.line(kernel.arch.name);
            line.set(&kernel.label);
            guest::boot(runner, &facts.config, boot, kernel, contents, &line)
        })
    });
    runner.check_interrupted()?;
    outcomes.into_iter().collect()
}

/// What a failure says on the screen: the guest's console, and then why.
fn tell(runner: Runner, plan: &Plan, boot: &Boot, outcome: &Outcome) -> Option<String> {
    let Verdict::Fail(why) = &outcome.verdict else { return None };
    let Chosen { arch, label, .. } = &plan.kernels[boot.kernel];
    runner.eprintln(format!("\nthe console of {arch} on {label}:"));
    outcome.console.lines().for_each(|line| runner.eprintln(format!("  {line}")));
    let lost = outcome.console.lost();
    if lost > 0 {
        runner.eprintln(format!("  ({lost} of init's reports were lost among other lines)"));
    }
    Some(format!("\n  {arch} on {label}: {why}"))
}

fn describe(
    facts: &Facts,
    plan: &Plan,
    boot: &Boot,
    outcome: &Outcome,
    manifest: &Manifest,
    qemu: &BTreeMap<&'static str, String>,
) -> Result<report::Boot> {
    let kernel = &plan.kernels[boot.kernel];
    let arch: &Arch = kernel.arch;
    let artifact = artifact(manifest, boot)?;
    let record = kernel.image.with_file_name(debian::RECORD);
    let fact = |name: &str| outcome.console.fact(name).map(String::from);
    let number = |name: &str| outcome.console.fact(name).and_then(|text| text.parse().ok());
    Ok(report::Boot {
        arch: arch.name.into(),
        file: boot.file.clone(),
        sha256: artifact.sha256.clone(),
        binary_sha256: artifact.binary.sha256.clone(),
        kernel: report::Kernel {
            label: kernel.label.clone(),
            sha256: hash::file(&kernel.image)?,
            source: files::read_if_there(&record)?.and_then(|text| serde_json::from_str(&text).ok()),
            release: fact(told::RELEASE),
            btf: number(told::BTF),
            hidden_btf: number(told::HIDDEN_BTF),
            jit: fact(told::JIT),
            page: number(told::PAGE),
        },
        qemu: qemu.get(arch.name).cloned().unwrap_or_default(),
        machine: kernel.machine.name.into(),
        cpu: kernel.machine.cpu(arch).into(),
        commands: guest::commands(&facts.config, kernel.btf),
        verdict: outcome.verdict.clone(),
        seconds: outcome.seconds,
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
    })
}

/// Writes the report, with what earlier ones say of tarballs that are still there.
fn keep(runner: Runner, dist: &Path, manifest: &Manifest, boots: Vec<report::Boot>) -> Result<()> {
    let path = dist.join(REPORT);
    let known = files::read_if_there(&path)?.map(|text| Report::parse(&text));
    if known == Some(None) {
        runner.status(format!("{REPORT} is none that this version understands, and is begun anew"));
    }
    let mut report = known.flatten().unwrap_or_default();
    report.add(boots, |sha256| manifest.artifacts.iter().any(|artifact| artifact.sha256 == sha256));
    files::replace(&[(path, report.to_json()?.as_bytes())])?;
    runner.status(format!("what was booted is in {}", staging::shown(dist).join(REPORT).display()));
    Ok(())
}
