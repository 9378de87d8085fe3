//! `cargo xtask vmlinux`: a kernel's types as a C header.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::arch::Arch;
use crate::boot::kernels::lock::Lock;
use crate::btf;
use crate::btf::facts::{OWN, named};
use crate::btf::run::WriteHeaders;
use crate::btf::select::Origin;
use crate::flags::{Common, Vmlinux};
use crate::sys;
use crate::sys::files;
use crate::sys::plan::{Slot, Task};
use crate::sys::process::Runner;
use crate::ui::error::bad_request;
use crate::ui::screen;
use crate::workspace::facts::{self, Workspace};

/// What was written.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Headers {
    pub files: Vec<Written>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Written {
    pub file: PathBuf,
    pub bytes: usize,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &Vmlinux) -> Result<()> {
    let sources = sources(request)?;
    let outputs = outputs(&sources, request.output.as_deref())?;
    if request.show.json && !request.show.plan && outputs.is_empty() {
        bad_request!("--json prints what was written: name a file with --output");
    }
    let used = if request.used { Some(names(runner, common)?) } else { None };
    let (mut tasks, files) = btf::run::kernels(runner, common.offline, &sources, &pins(common)?)?;
    let texts = Slot::default();
    let to = outputs.iter().cloned().map(Some).chain(std::iter::repeat(None));
    let headers = WriteHeaders { headers: files.into_iter().zip(to).collect(), used, texts: texts.clone() };
    tasks.push(Task::new("writing types as C", vec![Box::new(headers)]));
    if request.show.plan {
        return sys::plan::print(&tasks, request.show.json);
    }
    sys::plan::run(runner, &tasks)?;
    let texts = texts.get()?;
    if outputs.is_empty() {
        return screen::print(&texts.concat());
    }
    let written = outputs.into_iter().zip(texts.iter().map(String::len));
    if request.show.json {
        return screen::print_result(Headers { files: written.map(|(file, bytes)| Written { file, bytes }).collect() });
    }
    for (file, bytes) in written {
        runner.status(format!("{}  {}", file.display(), screen::size(bytes as u64)));
    }
    Ok(())
}

/// One kernel, or one for each of several architectures.
fn sources(request: &Vmlinux) -> Result<Vec<Origin>> {
    if request.kernels.is_empty() {
        return named(OWN, None);
    }
    if let Some(folder) = request.kernels.iter().find(|word| Path::new(word).is_dir()) {
        bad_request!("{folder} is a folder: a file or an architecture is expected");
    }
    let all = request.kernels.iter().map(|word| named(word, request.kernel.as_deref()));
    let all: Vec<Origin> = all.collect::<Result<Vec<_>>>()?.concat();
    match all.iter().find(|source| source.kernel().is_none()) {
        Some(Origin::File(file)) if all.len() > 1 => {
            bad_request!("{}: several headers are written for architectures only: name one file", file.display())
        }
        Some(_) if request.kernel.is_some() => bad_request!("--kernel is for architectures: name one"),
        _ => {}
    }
    let arches: Vec<&Arch> = all.iter().filter_map(|source| Some(source.kernel()?.arch)).collect();
    for (at, arch) in arches.iter().enumerate() {
        if let Some(other) = arches[..at].iter().find(|other| other.linux == arch.linux) {
            bad_request!("the headers of {other} and {arch} would both be {}/vmlinux.h: name one of them", arch.linux);
        }
    }
    Ok(all)
}

/// Where headers are written: nowhere, if they are printed.
fn outputs(sources: &[Origin], output: Option<&Path>) -> Result<Vec<PathBuf>> {
    match (output, sources) {
        (None, [_]) => Ok(Vec::new()),
        (None, _) => bad_request!("several headers are written to a folder: name it with --output"),
        (Some(file), [_]) => Ok(vec![file.into()]),
        (Some(folder), _) => {
            let file = |source: &Origin| Some(folder.join(source.kernel()?.arch.linux).join("vmlinux.h"));
            Ok(sources.iter().filter_map(file).collect())
        }
    }
}

/// The kernels that the workspace pins, if this is called in one.
fn pins(common: &Common) -> Result<Lock> {
    match facts::find_manifest(common.manifest_path.as_deref()) {
        Ok(manifest) => Lock::read(&facts::root_of(&manifest)),
        Err(_) if common.manifest_path.is_none() => Ok(Lock::default()),
        Err(error) => Err(error),
    }
}

/// The words of all BPF sources, and of libbpf's headers. More than the types in them, which does no harm.
fn names(runner: Runner, common: &Common) -> Result<BTreeSet<String>> {
    let (workspace, rust) = Workspace::find(runner, common)?;
    let inputs = workspace.bpf(runner, &rust, common.offline)?;
    let folder = workspace.root.join(&workspace.config.bpf.folder);
    let own = inputs.sources.keys().filter(|name| !name.ends_with("vmlinux.h")).map(|name| folder.join(name));
    let libbpf = inputs.libbpf_folder.iter().flat_map(|folder| inputs.libbpf.keys().map(|name| folder.join(name)));
    let mut names = BTreeSet::new();
    for file in own.chain(libbpf).collect::<Vec<PathBuf>>() {
        let text = files::read(&file)?;
        let text = String::from_utf8_lossy(&text);
        names.extend(text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).map(String::from));
    }
    Ok(names)
}
