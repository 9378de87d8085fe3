//! Ships a Rust eBPF application as one static binary for each architecture. The way through is
//! flags → snapshot → facts → plan → run → artifacts → manifest; see docs/architecture.md.
//!
//! A workspace uses it as a dependency of a package whose `main` calls [`main`]:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     bpfship::main()
//! }
//! ```

mod adopt;
mod arch;
mod boot;
mod bpf;
mod btf;
mod build;
mod cc;
mod container;
mod cross;
mod debian;
mod deploy;
mod emit;
mod flags;
mod image;
mod package;
mod rebuild;
mod release;
mod route;
mod schemas;
mod sign;
mod sys;
mod toolchain;
mod ui;
mod verbs;
mod verify;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;

use flags::{Flags, Verb};
use sys::process::{self, Runner};
use ui::error::{self, Damaged, Interrupted};
use ui::screen;

/// What this tool is called wherever it needs a name: its cache folder, its folder in target/, its key in Cargo.toml,
/// its container images, and what its lines begin with. Its variables begin with `BPFSHIP_`.
pub(crate) const NAME: &str = "bpfship";

/// Runs the command line of this process, and prints what went wrong with it. Its exit code is 2 for a wrong request,
/// before any work, 128 and the number of a signal that ended it, and 1 for any other failure.
///
/// Called by the name of a compiler, it is that compiler, and nothing else (`cc/`).
pub fn main() -> ExitCode {
    let others =
        [bpf::rust::shim::as_clang, cc::tool::as_tool, bpf::rust::linker::as_linker, bpf::rust::answer::as_program];
    if let Some(code) = others.iter().find_map(|as_other| as_other()) {
        return code;
    }
    if let Some(error) = build::run::compile_in_place_of_rustc() {
        eprintln!("{} {}", screen::error_word(), error::describe(&error));
        return ExitCode::FAILURE;
    }
    let flags = match flags::parse() {
        Ok(flags) => flags,
        Err(error) => return screen::usage(&error),
    };
    screen::choose_colors(flags.common.color);
    let runner = Runner::new(flags.common.level());
    let result = process::catch_signals(runner).and_then(|()| match run(runner, &flags) {
        // What was damaged is gone now, and made again.
        Err(error) if error.is::<Damaged>() => {
            runner.status(format!("{error:#}"));
            run(runner, &flags)
        }
        result => result,
    });
    runner.screen().clear();
    match result {
        Ok(()) => {
            runner.screen().finish();
            ExitCode::SUCCESS
        }
        Err(error) => {
            screen::print_failure(&error::describe(&error), error::exit_code(&error));
            // What was under way when a signal came did not fail.
            match error.downcast_ref::<Interrupted>() {
                Some(interrupted) => runner.eprintln(interrupted.to_string()),
                None => {
                    let text = error::describe(&error);
                    runner.eprintln(format!("{} {text}", screen::error_word()));
                    runner.annotate(&text);
                }
            }
            ExitCode::from(error::exit_code(&error))
        }
    }
}

fn run(runner: Runner, flags: &Flags) -> Result<()> {
    let common = &flags.common;
    match &flags.verb {
        Verb::Boot(request) => verbs::boot::run(runner, common, request),
        Verb::Bpf(request) => verbs::bpf::run(runner, common, request),
        Verb::Btf(request) => verbs::btf::run(runner, common, request),
        Verb::Cache(request) => verbs::cache::run(runner, common, request),
        Verb::Ci(request) => verbs::ci::run(runner, common, request),
        Verb::Completions(request) => verbs::completions::run(request),
        Verb::Deploy(request) => verbs::deploy::run(runner, common, request),
        Verb::Dist(request) => verbs::dist::run(runner, common, request),
        Verb::Doctor(request) => verbs::doctor::run(runner, common, request, &verbs::NEEDS),
        Verb::Emit(request) => verbs::emit::run(runner, common, request),
        Verb::Image(request) => verbs::image::run(runner, common, request),
        Verb::Init(request) => verbs::init::run(runner, common, request),
        Verb::Kernels(request) => verbs::kernels::run(runner, common, request),
        Verb::Merge(request) => verbs::merge::run(runner, common, request),
        Verb::Package(request) => verbs::package::run(runner, common, request),
        Verb::Rebuild(request) => verbs::rebuild::run(runner, common, request),
        Verb::Report(request) => verbs::report::run(runner, common, request),
        Verb::Sign(request) => verbs::sign::run(runner, common, request),
        Verb::Verify(request) => verbs::verify::run(runner, common, request),
        Verb::Vmlinux(request) => verbs::vmlinux::run(runner, common, request),
    }
}
/// What the tests of the command line, in tests/, take from the inside. It is not part of the interface, and may change
/// at any time.
#[doc(hidden)]
pub mod testing {
    pub use crate::arch::{ARCHES, Arch, Endian};
    pub use crate::boot::kernels;
    pub use crate::bpf::container;
    pub use crate::bpf::target::ObjectName;
    pub use crate::container::recipe;
    pub use crate::deploy::unit;
    pub use crate::flags::Flags;
    pub use crate::release::{binary, boot_report, compare, install, layout, manifest, pack, unpack};
    pub use crate::sys::cache::Cache;
    pub use crate::sys::hash;
    pub use crate::toolchain::facts::names;
    pub use crate::toolchain::zig;
    pub use crate::workspace::packaging::Install;
    pub use crate::workspace::products::Deploy;
    pub use crate::workspace::rust::Rust;
    pub use bpfship_object::kernel_features::markdown_table as features_table;
}
