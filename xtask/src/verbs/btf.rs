//! `cargo xtask btf`: the parts of kernels' types that the BPF objects need.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bpfship_embed::{Kernel as Name, arch_in_path};
use serde::Serialize;

use crate::arch::Arch;
use crate::boot::kernels::lock::Lock as Pins;
use crate::bpf::OBJECTS;
use crate::bpf::facts::Inputs;
use crate::btf;
use crate::btf::facts::{OWN, Types, named, own_name};
use crate::btf::parts::{Made, Objects, Outcome};
use crate::btf::select::{self, Origin};
use crate::flags::{self, Common};
use crate::sys::process::Runner;
use crate::sys::{files, parallel};
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

    let files = btf::run::files(runner, common.offline, &sources, &Pins::read(&workspace.root)?)?;
    let all: Vec<(Origin, PathBuf)> = sources.into_iter().zip(files).collect();
    let made = parallel::map(&all, |(source, file)| {
        runner.check_interrupted()?;
        let types = Types::read(runner, file)?;
        let (name, arch) = match &name {
            Some(name) => name.clone(),
            None => name_of(source, file, &types)?,
        };
        if !workspace.config.arches.iter().any(|configured| configured.rust() == arch.rust()) {
            return Ok(None);
        }
        let part =
            objects.part(&types, arch).with_context(|| format!("cannot read the types of {}", file.display()))?;
        Ok(Some(Made { path: name.path(arch_in_path(arch.rust(), arch.endian.name())), part }))
    });
    let made = made.into_iter().filter_map(Result::transpose).collect::<Result<Vec<_>>>()?;
    if made.is_empty() {
        bail!("none of these kernels is for an architecture of `arches` in [workspace.metadata.bpfship] of Cargo.toml");
    }
    let outcome = Outcome::of(made)?;
    btf::run::write(&folder, &outcome.files, request.add)?;
    if request.output.is_none() {
        btf::run::remember(&workspace.root, bpf, lock, &folder, relocations)?;
    }
    outcome.lines().iter().for_each(|line| runner.status(line));
    if !request.json {
        return Ok(());
    }
    let files = outcome.files.into_iter().map(|(file, part)| Part { file, bytes: part.len() }).collect();
    let missing = outcome.missing.into_iter().map(|(what, kernels)| Missing { what, kernels }).collect();
    screen::print_result(Written { folder, files, missing })
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

/// What the kernel of a file is called, and its architecture.
fn name_of(source: &Origin, file: &Path, types: &Types) -> Result<(Name, &'static Arch)> {
    match source {
        Origin::Boot(kernel) => {
            let release =
                types.release.clone().with_context(|| format!("{} does not say its release", file.display()))?;
            Ok((select::name_of(kernel, release), kernel.arch))
        }
        Origin::File(file) if file == Path::new(OWN) => own_name(),
        Origin::File(file) => match select::name_in(file) {
            Some(name) => Ok(name),
            None => {
                let release = types.release.as_deref().unwrap_or("RELEASE");
                bad_request!(
                    "{} does not lie where BTFHub would have it, so which kernel it is of is not known: say it with \
                     --name ID/VERSION/ARCH/{release}",
                    file.display()
                )
            }
        },
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
