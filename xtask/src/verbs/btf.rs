//! `cargo xtask btf`: the parts of kernels' types that the BPF objects need.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use bpfship_embed::Kernel as Name;
use serde::Serialize;

use crate::arch::Arch;
use crate::boot::kernels::lock::Lock as Pins;
use crate::bpf::OBJECTS;
use crate::bpf::facts::Inputs;
use crate::btf;
use crate::btf::facts::{OWN, named};
use crate::btf::parts::{Objects, Outcome};
use crate::btf::run::{WriteLock, WriteParts};
use crate::btf::select::{self, Origin};
use crate::flags::{self, Common};
use crate::sys;
use crate::sys::files;
use crate::sys::plan::{Slot, Task};
use crate::sys::process::Runner;
use crate::ui::error::bad_request;
use crate::ui::screen;
use crate::workspace::facts::Workspace;

/// What was written.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Written {
    pub folder: PathBuf,
    pub files: Vec<Part>,
    /// What the objects ask for and some of these kernels do not have.
    pub missing: Vec<Missing>,
}

/// The types of kernels that one file has.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Part {
    pub file: String,
    pub bytes: usize,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Missing {
    pub what: String,
    pub kernels: Vec<String>,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &flags::Btf) -> Result<()> {
    let sources = sources(request)?;
    let name = request.name.as_ref().map(|name| given(name, &sources)).transpose()?;
    let (workspace, rust) = Workspace::find(runner, common)?;
    let bpf = &workspace.config.bpf;
    let folder = match (&request.output, &bpf.btf) {
        (Some(folder), _) => folder.clone(),
        (None, Some(folder)) => workspace.root.join(folder),
        (None, None) => bad_request!(
            "nothing says where they are to be: set `btf` in [workspace.metadata.bpfship.bpf] of Cargo.toml to a folder that the \
             binary carries, or name one with --output"
        ),
    };
    let inputs = workspace.current_bpf(runner, &rust, common.offline)?;
    let objects = objects(&inputs, &workspace.root.join(&bpf.folder))?;
    let relocations = objects.relocations()?.to_string();
    let lock = inputs.lock.unwrap_or_default();
    if request.add
        && request.output.is_none()
        && !lock.btf.is_empty()
        && lock.btf_relocations.as_ref() != Some(&relocations)
    {
        bail!(
            "what is there was made for other relocations than the objects have now: name all kernels again, without --add"
        );
    }

    let (mut tasks, files) = btf::run::kernels(runner, common.offline, &sources, &Pins::read(&workspace.root)?)?;
    let outcome = Slot::default();
    let parts = WriteParts {
        kernels: sources.into_iter().zip(files).collect(),
        name,
        arches: workspace.config.arches.clone(),
        objects,
        folder: folder.clone(),
        add: request.add,
        lock: request.output.is_none().then(|| WriteLock {
            root: workspace.root.clone(),
            bpf: bpf.clone(),
            lock,
            relocations,
        }),
        outcome: outcome.clone(),
    };
    tasks.push(Task::new("writing the parts of types", vec![Box::new(parts)]));
    if request.show.plan {
        return sys::plan::print(&tasks, request.show.json);
    }
    sys::plan::run(runner, &tasks)?;
    let outcome = outcome.get()?;
    outcome.lines().iter().for_each(|line| runner.status(line));
    if !request.show.json {
        return Ok(());
    }
    let Outcome { files, missing } = outcome;
    let files = files.iter().map(|(file, part)| Part { file: file.clone(), bytes: part.len() }).collect();
    let missing = missing.iter().map(|(what, kernels)| Missing { what: what.clone(), kernels: kernels.clone() });
    screen::print_result(Written { folder, files, missing: missing.collect() })
}

/// The kernels that are meant.
fn sources(request: &flags::Btf) -> Result<Vec<Origin>> {
    let words = if request.kernels.is_empty() { vec![OWN.to_owned()] } else { request.kernels.clone() };
    let mut all = Vec::new();
    for word in &words {
        match request.labels.as_slice() {
            [] => all.extend(named(word, None)?),
            labels => {
                for label in labels {
                    all.extend(named(word, Some(label))?);
                }
            }
        }
    }
    if !request.labels.is_empty() && all.iter().any(|source| source.kernel().is_none()) {
        bad_request!("--kernel is for architectures: name no files besides");
    }
    Ok(all)
}

/// The name that the user gives a file.
fn given(name: &str, sources: &[Origin]) -> Result<(Name, &'static Arch)> {
    let [Origin::File(_)] = sources else { bad_request!("--name is for one FILE") };
    match select::name_in(Path::new(&format!("{name}.btf"))) {
        Some(name) => Ok(name),
        None => bad_request!(
            "--name is `{name}`; ID/VERSION/ARCH/RELEASE is expected, such as debian/12/x86_64/6.1.0-50-amd64"
        ),
    }
}

/// The checked-in objects.
fn objects(inputs: &Inputs, folder: &Path) -> Result<Objects> {
    let read = |name: &String| {
        let bytes = files::read(&folder.join(OBJECTS).join(name))?;
        Ok((name.parse().map_err(anyhow::Error::msg)?, bytes))
    };
    Ok(Objects(inputs.objects.keys().map(read).collect::<Result<_>>()?))
}
