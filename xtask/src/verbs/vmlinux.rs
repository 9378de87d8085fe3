//! `cargo xtask vmlinux`: a kernel's types as a C header.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use bpfship_object::btf::{Btf, find};
use bpfship_object::header::{self, Wanted};

use crate::bpf::facts::{Inputs, above};
use crate::flags::{Common, Vmlinux};
use crate::sys::files;
use crate::sys::process::Runner;
use crate::ui::error::bad_request;
use crate::ui::screen;
use crate::workspace::facts::Workspace;

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &Vmlinux) -> Result<()> {
    let shown = request.file.display();
    if !request.file.is_file() {
        bad_request!("there is no file {shown}");
    }
    let names = if request.used { Some(names(runner, common)?) } else { None };
    let bytes = files::read(&request.file)?;
    let (endian, data) = find::find(&bytes).with_context(|| format!("cannot read the types of {shown}"))?;
    let btf = Btf::parse(data, endian).with_context(|| format!("cannot read the types of {shown}"))?;
    let text = header::write(&btf, names.as_ref().map_or(Wanted::All, Wanted::Named))?;
    match &request.output {
        Some(file) => {
            if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                files::create_folder(folder)?;
            }
            files::replace(&[(file.clone(), text.as_bytes())])?;
            runner.status(format!("{}  {}", file.display(), screen::size(text.len() as u64)));
            Ok(())
        }
        None => screen::print(&text),
    }
}

/// The words of all BPF sources, and of libbpf's headers. More than the types in them, which does no harm.
fn names(runner: Runner, common: &Common) -> Result<BTreeSet<String>> {
    let (workspace, rust) = Workspace::find(runner, common)?;
    let packages = workspace.crates(runner, &rust, common.offline)?.packages;
    let bpf = &workspace.config.bpf;
    let inputs = Inputs::read(&workspace.root, above(&workspace.root), &packages, bpf)?;
    let folder = workspace.root.join(&bpf.folder);
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
