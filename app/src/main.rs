//! exectrace: shows every program that a Linux machine runs.

// What panics, and what prints where perhaps nobody reads: `diag::note`, `write!` and errors do not.
#![warn(
    clippy::expect_used,
    clippy::get_unwrap,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod backend;
mod bpf;
mod cgroup;
mod cli;
mod clock;
mod command;
mod diag;
mod error;
mod event;
mod features;
mod netlink;
mod output;
mod perf_ring;
mod place;
mod preflight;
mod procfs;
mod quote;
mod run;
mod selftest;
mod show;
mod signals;
mod start;
mod tracefs;
mod tracepoint_set;
mod version;

use std::{env, process::ExitCode};

use crate::{cli::Cli, error::Error};

fn main() -> ExitCode {
    // Before anything else: a child of --self-test is what its parent describes, and no more.
    if let Some(child) = selftest::workload::named_by(env::args_os().nth(1)) {
        return child.run();
    }
    if let Some(fd) = command::waits_on(env::args_os().nth(1)) {
        return command::run_when_ready(fd, env::args_os().skip(2));
    }
    let cli = Cli::read(env::args_os()).unwrap_or_else(|error| error.exit());
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            diag::note(&error);
            if let (true, Some(log)) = (cli.verbose, error.verifier_log()) {
                diag::note(format_args!("the verifier's log:\n{}", log.trim_end()));
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    if cli.version {
        return version::print();
    }
    if cli.preflight {
        return preflight::run(cli);
    }
    if cli.self_test { selftest::run(cli) } else { run::run(cli) }
}
