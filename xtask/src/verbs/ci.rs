//! `cargo xtask ci`: writes the pipelines that test and release a workspace, and sees whether they are still those.

use anyhow::{Result, bail};
use serde::Serialize;

use crate::adopt::facts::{Facts, Outside};
use crate::adopt::pipelines::{MARK, first_difference, pipelines};
use crate::adopt::run::Add;
use crate::flags::{Ci, Common};
use crate::sys::files;
use crate::sys::plan::{self, Task};
use crate::sys::process::Runner;
use crate::sys::steps::Write;
use crate::ui::error::bad_request;
use crate::ui::screen;
use crate::workspace::snapshot;

/// What was written, in words.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Done {
    pub done: Vec<String>,
}

/// With --check: what differs from what would be written, in words.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Differences {
    pub differences: Vec<String>,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &Ci) -> Result<()> {
    let facts = Facts::read(runner, common.manifest_path.as_deref())?;
    let top = snapshot::top(&facts.root).unwrap_or(&facts.root);
    if top != facts.root {
        bad_request!(
            "pipelines lie at the top of a repository, {}, and this workspace does not: \
             run it in a workspace at the top, and set the working directory of what it writes",
            top.display()
        );
    }
    if let Some(Outside { package, dependency, path }) = facts.outside.first() {
        bad_request!(
            "{package} depends on {dependency} by the path {path}, which no checkout of this repository has: push that, and \
             depend on its git address (`git = \"…\"`)"
        );
    }
    let mut differences = Vec::new();
    let mut tasks = Vec::new();
    for pipeline in pipelines(request.service, &facts)? {
        let file = facts.root.join(pipeline.path);
        let what = match files::read_if_there(&file)? {
            Some(present) if present == pipeline.text => continue,
            Some(present) => {
                let line = first_difference(&present, &pipeline.text);
                differences.push(format!("{} differs, first in line {line}", pipeline.path));
                if !request.check && !present.starts_with(MARK) {
                    bad_request!("{} is not one that this command wrote: move it away first", pipeline.path);
                }
                "brought up to date"
            }
            None => {
                differences.push(format!("{} is not there", pipeline.path));
                "written"
            }
        };
        let add = Add { write: Write { file, text: pipeline.text }, name: pipeline.path.into(), what: what.into() };
        tasks.push(Task::new(format!("writing {}", add.name), vec![Box::new(add)]));
    }
    if request.check {
        if request.show.json {
            screen::print_result(Differences { differences: differences.clone() })?;
        }
        return match differences.is_empty() {
            true => Ok(()),
            false => bail!("{}; without --check, this command writes it", differences.join("; ")),
        };
    }
    if request.show.plan {
        return plan::print(&tasks, request.show.json);
    }
    let done: Vec<String> = tasks.iter().map(|task| task.title.clone()).collect();
    plan::run(runner, &tasks)?;
    match request.show.json {
        true => screen::print_result(Done { done })?,
        false if done.is_empty() => runner.status("the pipelines are up to date"),
        false => {}
    }
    Ok(())
}
