//! The tool as a program of its own, for workspaces that do not compile it: see lib.rs.

use std::process::ExitCode;

fn main() -> ExitCode {
    bpfship::main()
}
