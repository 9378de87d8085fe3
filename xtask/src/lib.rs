//! Ships a Rust eBPF application as one static binary for each architecture. The way through is
//! flags → facts → plan → run → artifacts → manifest; docs/architecture.md says more.

pub mod adopt;
pub mod arch;
pub mod boot;
pub mod bpf;
pub mod build;
pub mod flags;
pub mod rebuild;
pub mod release;
pub mod route;
pub mod sys;
pub mod toolchain;
pub mod ui;
pub mod verbs;
pub mod workspace;

use std::process::ExitCode;

use anyhow::Result;

use flags::{Flags, Verb};
use sys::process::{self, Runner};
use ui::error::{self, Damaged, Interrupted};
use ui::screen;

/// What this tool is called wherever it needs a name: its cache folder, its folder in target/, its key in Cargo.toml, its
/// container images, and what its lines begin with. Its variables begin with `BPFSHIP_`.
pub const NAME: &str = "bpfship";

/// Runs the command line, and prints what went wrong with it.
pub fn main() -> ExitCode {
    let flags = flags::parse();
    let runner = Runner::new(flags.common.level());
    let result = run(runner, &flags);
    runner.screen().clear();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What was under way when a signal came did not fail.
            match error.downcast_ref::<Interrupted>() {
                Some(interrupted) => runner.eprintln(interrupted.to_string()),
                None => runner.eprintln(format!("{} {}", screen::error_word(), error::describe(&error))),
            }
            ExitCode::from(error::exit_code(&error))
        }
    }
}

fn run(runner: Runner, flags: &Flags) -> Result<()> {
    process::catch_signals(runner)?;
    match &flags.verb {
        Verb::Bpf(request) => twice(runner, || verbs::bpf::run(runner, &flags.common, request)),
        Verb::Cache(request) => verbs::cache::run(runner, &flags.common, request),
        Verb::Dist(request) => twice(runner, || verbs::dist::run(runner, &flags.common, request)),
        Verb::Boot(request) => twice(runner, || verbs::boot::run(runner, &flags.common, request)),
        Verb::Doctor(request) => verbs::doctor::run(runner, &flags.common, request, &verbs::NEEDS),
        Verb::Init(request) => verbs::init::run(runner, &flags.common, request),
        Verb::Kernels(request) => verbs::kernels::run(runner, request),
        Verb::Merge(request) => verbs::merge::run(runner, &flags.common, request),
        Verb::Rebuild(request) => verbs::rebuild::run(runner, &flags.common, request),
        Verb::Report(request) => verbs::report::run(runner, &flags.common, request),
        Verb::Verify(request) => verbs::verify::run(runner, &flags.common, request),
        Verb::Completions(request) => request.print(),
    }
}

/// Runs it again if the cache was damaged: what was, is gone now, and will be fetched again.
fn twice(runner: Runner, run: impl Fn() -> Result<()>) -> Result<()> {
    match run() {
        Err(error) if error.is::<Damaged>() => {
            runner.status(format!("{error:#}"));
            run()
        }
        result => result,
    }
}
