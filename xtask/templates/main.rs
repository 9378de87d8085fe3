//! `cargo xtask`: builds, checks and packs this workspace's application.

use std::process::ExitCode;

fn main() -> ExitCode {
    bpfship::main()
}
