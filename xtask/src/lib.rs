//! Ships a Rust eBPF application as one static binary for each architecture. The way through is
//! flags → facts → plan → run → artifacts → manifest; docs/architecture.md tells more.

pub mod arch;
pub mod binary;
pub mod boot;
pub mod bpf;
pub mod cache;
pub mod cache_verb;
pub mod cargo_build;
pub mod cargo_home;
pub mod command;
pub mod config;
pub mod dist;
pub mod doctor;
pub mod elf;
pub mod engine;
pub mod error;
pub mod facts;
pub mod files;
pub mod flags;
pub mod hash;
pub mod licenses;
pub mod manifest;
pub mod merge;
pub mod messages;
pub mod pack;
pub mod packages;
pub mod parallel;
pub mod plan;
pub mod probe;
pub mod rebuild;
pub mod remedies;
pub mod run;
pub mod screen;
pub mod snapshot;
pub mod step;
pub mod suggest;
pub mod sysroot;
pub mod toolchain;
pub mod unpack;
pub mod verify;
pub mod zig;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use error::{Damaged, Interrupted};
use facts::Facts;
use flags::{Flags, Verb};
use run::Runner;

/// Runs the command line, and tells what went wrong with it.
pub fn main() -> ExitCode {
    let flags = Flags::parse();
    let runner = Runner::new(flags.common.level());
    let result = run(runner, &flags);
    runner.screen().clear();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What was under way when a signal came did not fail.
            match error.downcast_ref::<Interrupted>() {
                Some(interrupted) => runner.show(&interrupted.to_string()),
                None => runner.show(&format!("{} {}", screen::error_word(), error::describe(&error))),
            }
            ExitCode::from(error::exit_code(&error))
        }
    }
}

fn run(runner: Runner, flags: &Flags) -> Result<()> {
    run::catch_signals()?;
    let facts = || Facts::read(runner, &flags.common);
    match &flags.verb {
        Verb::Bpf(request) if request.report => bpf::report_verb::run(runner, &flags.common, request),
        Verb::Bpf(request) => twice(runner, || bpf::compile::verb(runner, &facts()?, request)),
        Verb::Cache(request) => cache_verb::run(runner, &flags.common, request),
        Verb::Dist(request) if !request.merge.is_empty() => merge::run(runner, &flags.common, &request.merge),
        Verb::Dist(request) => twice(runner, || dist::run(runner, &facts()?, request)),
        Verb::Boot(request) if request.list => boot::list(runner),
        Verb::Boot(request) => twice(runner, || boot::run(runner, &facts()?, request)),
        Verb::Doctor(request) => doctor::run(runner, &flags.common, request),
        Verb::Verify(request) => verify::run(runner, &flags.common, request),
        Verb::Completions(request) => request.print(),
    }
}

/// Does it again if the cache was damaged: what was, is gone now, and will be got anew.
fn twice(runner: Runner, run: impl Fn() -> Result<()>) -> Result<()> {
    match run() {
        Err(error) if error.is::<Damaged>() => {
            runner.say(format!("{error:#}"));
            run()
        }
        result => result,
    }
}
