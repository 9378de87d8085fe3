//! Compiles BPF objects as planned, checks them, and puts them in their place.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use bpfship_embed::Lock;
use bpfship_object::Object;

use crate::bpf::container;
use crate::bpf::engine;
use crate::bpf::facts::reads;
use crate::bpf::plan::{Job, Plan};
use crate::sys::cache::Cache;
use crate::sys::files;
use crate::sys::hash;
use crate::sys::parallel;
use crate::sys::process;
use crate::sys::process::Runner;
use crate::toolchain::zig;
use crate::ui::error;

/// Compiles everything, and writes nothing unless all of it is right. Gives the objects by name.
pub fn run(runner: Runner, cache: &Cache, plan: &Plan) -> Result<BTreeMap<String, Object>> {
    let objects = objects(runner, cache, plan)?;
    write(plan, &objects)?;
    Ok(objects)
}

/// Compiles everything. Gives the objects by name, if all of it is right.
pub fn objects(runner: Runner, cache: &Cache, plan: &Plan) -> Result<BTreeMap<String, Object>> {
    if plan.reads_compiler() {
        cache.check(runner, &zig::name()?, reads)?;
    }
    runner.perform(&plan.stage)?;
    let results = match &plan.container {
        Some(container) => in_container(runner, cache, plan, container)?,
        None => parallel::map(&plan.jobs, |job| compile(runner, job)),
    };
    runner.check_interrupted()?;

    let mut objects = BTreeMap::new();
    let mut failures = Vec::new();
    for (job, result) in plan.jobs.iter().zip(results) {
        match result {
            Ok(object) => {
                objects.insert(job.object.clone(), object);
            }
            Err(error) => failures.push(format!("{}: {error:#}", job.object)),
        }
    }
    if !failures.is_empty() {
        // Both byte orders fail with the same messages, as a rule: say them once.
        failures.dedup_by(|a, b| after_name(a) == after_name(b));
        return Err(anyhow!("{}", failures.join("\n"))
            .context("cannot compile the BPF objects; the previous ones are untouched"));
    }
    Ok(objects)
}

fn in_container(
    runner: Runner,
    cache: &Cache,
    plan: &Plan,
    container: &container::Plan,
) -> Result<Vec<Result<Object>>> {
    if !container.get.is_empty() {
        runner.status("getting the image of the compiler (once)");
    }
    runner.perform(&container.get).context("cannot get the image of the compiler")?;
    if container.builds {
        engine::remember(runner, &plan.folder, cache, container.kind, &container.image)?;
    }
    runner.sweep(&container.sweep);
    let filled = runner.perform(&container.fill).context("cannot give a container the sources");
    let results = filled.map(|()| parallel::map(&plan.jobs, |job| compile(runner, job)));
    runner.sweep(&container.sweep);
    results
}

fn after_name(failure: &str) -> &str {
    failure.split_once(": ").map_or(failure, |(_, rest)| rest)
}

fn compile(runner: Runner, job: &Job) -> Result<Object> {
    let output = runner.output(&job.command)?;
    let messages = String::from_utf8_lossy(&output.stderr);
    let messages = messages.trim_end();
    match output.status.code() {
        Some(0) => {}
        // An engine's own codes: clang was never started.
        Some(125..=127) => {
            let failed = process::failed(&job.command, output.status, messages.into());
            return Err(failed.context("the container did not start"));
        }
        // All that it says, for what comes first is the cause of the rest.
        _ => bail!("clang {}\n{messages}", error::ended(output.status)),
    }
    if !messages.is_empty() {
        runner.status(format!("clang on {} for {}:\n{messages}", job.source, job.endian.bpf_target()));
    }
    Object::new(&output.stdout, job.endian)
        .with_context(|| format!("clang compiled {}, but no kernel would take the result", job.source))
}

/// Writes objects and lock file beside their places, then renames them; the objects of sources that are gone go too.
fn write(plan: &Plan, objects: &BTreeMap<String, Object>) -> Result<()> {
    let folder = plan.folder.join("objects");
    files::create_folder(&folder)?;
    let mut lock = Lock { inputs: plan.inputs.clone(), objects: BTreeMap::new() };
    let mut files = Vec::new();
    for (name, object) in objects {
        files.push((folder.join(name), object.bytes.as_slice()));
        lock.objects.insert(name.clone(), hash::bytes(&object.bytes));
    }
    let text = lock.to_string();
    files.push((plan.folder.join("bpf.lock"), text.as_bytes()));
    files::replace(&files)?;
    remove_orphans(&folder, &lock)
}

fn remove_orphans(folder: &Path, lock: &Lock) -> Result<()> {
    for name in files::list(folder)? {
        if name.ends_with(".o") && !lock.objects.contains_key(&name) {
            let path = folder.join(name);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}
