//! `cargo xtask init`: adds to a workspace what this tool needs there, and overwrites nothing.

use anyhow::Result;
use serde::Serialize;

use crate::adopt::facts::{Facts, Source};
use crate::adopt::plan;
use crate::flags::{Common, Init};
use crate::sys;
use crate::sys::process::Runner;
use crate::ui::screen;

/// What was done, and what is left to do, in words.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Done {
    pub done: Vec<String>,
    pub next: Vec<String>,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &Init) -> Result<()> {
    let facts = Facts::read(runner, common.manifest_path.as_deref())?;
    let tool = request.tool.as_deref().map(Source::parse).transpose()?;
    let plan = plan::plan(&facts, request.package.as_deref(), tool, !request.no_example)?;
    if request.show.plan {
        return sys::plan::print(&plan.tasks, request.show.json);
    }
    sys::plan::run(runner, &plan.tasks)?;
    if request.show.json {
        let done = plan.tasks.iter().map(|task| task.title.clone()).collect();
        return screen::print_result(Done { done, next: plan.next });
    }
    if plan.tasks.is_empty() {
        runner.status("nothing is missing");
    }
    for next in &plan.next {
        runner.status(format!("next: {next}"));
    }
    Ok(())
}
