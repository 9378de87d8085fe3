//! `cargo xtask init`: adds to a workspace what this tool needs there, and overwrites nothing.

use anyhow::Result;

use crate::adopt::facts::Facts;
use crate::adopt::{plan, run};
use crate::flags::{Common, Init};
use crate::sys::plan as tasks;
use crate::sys::process::Runner;
use crate::ui::screen;

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &Init) -> Result<()> {
    let facts = Facts::read(runner, common.manifest_path.as_deref())?;
    let plan = plan::plan(&facts, request.package.as_deref(), request.tool.as_deref())?;
    let planned = run::tasks(&plan);
    if request.show.plan {
        return screen::print(&match request.show.json {
            true => format!("{:#}\n", tasks::to_json(&planned)),
            false => tasks::script(&planned),
        });
    }
    tasks::run(runner, &planned)?;
    if plan.changes.is_empty() {
        runner.status("nothing is missing");
    }
    for next in &plan.next {
        runner.status(format!("next: {next}"));
    }
    Ok(())
}
