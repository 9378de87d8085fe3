//! `cargo xtask report`: what each object contains and needs of a kernel. Compiles nothing, and writes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bpfship_object::Endian;
use bpfship_object::report::Report;
use serde::Serialize;

use crate::bpf::OBJECTS;
use crate::bpf::report_text;
use crate::bpf::target::{BpfTarget, ObjectName, TARGETS};
use crate::flags::{self, Common};
use crate::sys::process::Runner;
use crate::ui::error::bad_request;
use crate::ui::screen;
use crate::workspace::facts::Workspace;

/// What is printed as JSON.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reports {
    pub objects: Vec<Reported>,
}

/// The files that have one report, as those of one source for several targets mostly do.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reported {
    name: String,
    files: Vec<PathBuf>,
    targets: Vec<&'static BpfTarget>,
    #[serde(flatten)]
    report: Report,
}

/// Bytes of a file. No kernel takes a program for which so many would be needed.
const MAX_FILE: u64 = 16 << 20;

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &flags::Report) -> Result<()> {
    if let Some(missing) = request.files.iter().find(|file| !file.is_file()) {
        bad_request!("there is no file {}", missing.display());
    }
    let (folder, files) = match request.files.as_slice() {
        [] => checked_in(runner, common)?,
        files => (PathBuf::new(), files.to_vec()),
    };
    let mut reported: Vec<Reported> = Vec::new();
    let mut failures = Vec::new();
    for file in files {
        match read(&folder.join(&file)) {
            Ok((endian, report)) => add(&mut reported, file, endian, report),
            Err(error) => failures.push(screen::plain(&format!("{}: {error:#}", file.display()))),
        }
    }
    match request.json {
        true => screen::print_result(Reports { objects: reported })?,
        false => screen::print(&reported.iter().map(Reported::text).collect::<Vec<_>>().join("\n"))?,
    }
    match failures.as_slice() {
        [] => Ok(()),
        [failure] => bail!("{failure}"),
        _ => bail!("these files cannot be read:\n  {}", failures.join("\n  ")),
    }
}

/// The folder of the checked-in objects, and their names: those of one source in the order of their targets.
fn checked_in(runner: Runner, common: &Common) -> Result<(PathBuf, Vec<PathBuf>)> {
    let (workspace, rust) = Workspace::find(runner, common)?;
    let inputs = workspace.current_bpf(runner, &rust, common.offline)?;
    // Those of one source together, in the order of their targets.
    let mut names: Vec<ObjectName> = inputs.objects.keys().filter_map(|name| name.parse().ok()).collect();
    let order = |name: &ObjectName| TARGETS.iter().position(|target| target == name.target);
    names.sort_by_key(|name| (name.stem.clone(), order(name)));
    let files = names.iter().map(|name| name.to_string().into()).collect();
    Ok((workspace.root.join(&workspace.config.bpf.folder).join(OBJECTS), files))
}

fn read(path: &Path) -> Result<(Endian, Report)> {
    let length = fs::metadata(path).context("it cannot be read")?.len();
    if length > MAX_FILE {
        bail!("it has {} MB, and a BPF object has {} at most", length >> 20, MAX_FILE >> 20);
    }
    Report::read(&fs::read(path).context("it cannot be read")?)
}

fn add(reported: &mut Vec<Reported>, file: PathBuf, endian: Endian, report: Report) {
    // The user's files may have any name. Their contents count more than their names.
    let text = file.to_string_lossy().into_owned();
    let (name, target) = match text.parse() {
        Ok(ObjectName { stem, target }) if target.endian == endian => (stem, target),
        Ok(ObjectName { stem, .. }) => (stem, BpfTarget::of_byte_order(endian)),
        Err(_) => (text, BpfTarget::of_byte_order(endian)),
    };
    let same = |other: &&mut Reported| other.name == name && other.report == report && !other.targets.contains(&target);
    match reported.iter_mut().find(same) {
        Some(other) => {
            other.files.push(file);
            other.targets.push(target);
        }
        None => reported.push(Reported { name, files: vec![file], targets: vec![target], report }),
    }
}

impl Reported {
    fn text(&self) -> String {
        let width = screen::width().unwrap_or(100).clamp(60, 140);
        let lines = report_text::lines(&self.name, &self.targets, &self.report, width);
        lines.iter().map(|line| screen::plain(line) + "\n").collect()
    }
}
