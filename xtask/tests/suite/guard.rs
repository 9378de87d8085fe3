//! A plain `cargo build` needs no clang, and refuses objects that do not match their sources, in one line.

use std::fs;
use std::process::Command;

use super::support::{Run, Workspace};

fn build(workspace: &Workspace) -> Run {
    let mut command = Command::new("cargo");
    command
        .args(["build", "--quiet", "--offline", "--package", "exectrace-bpf"])
        .current_dir(&workspace.root)
        // A PATH without this and that would be another test: nothing here could call a clang anyway.
        .env_remove("CARGO")
        .env("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/guard-target"));
    Run::of(&mut command)
}

#[test]
fn objects_that_do_not_match_their_sources_are_refused() {
    let copy = Workspace::copy_of_our_own("guard");
    build(&copy).succeeds();

    let source = copy.read("bpf/exectrace.bpf.c");
    let copy = copy.write("bpf/exectrace.bpf.c", &format!("{source}\n"));
    build(&copy)
        .ends_with(101)
        .says("bpf/exectrace.bpf.c is not what the BPF objects were compiled from: run `cargo xtask bpf`");
    let copy = copy.write("bpf/exectrace.bpf.c", &source);
    build(&copy).succeeds();

    let copy = copy.write("bpf/include/new.h", "");
    build(&copy).ends_with(101).says("bpf/include/new.h is not what the BPF objects were compiled from");
    fs::remove_file(copy.path("bpf/include/new.h")).unwrap();

    let object = fs::read(copy.path("bpf/objects/exectrace_bpfeb.o")).unwrap();
    let copy = copy.write("bpf/objects/exectrace_bpfeb.o", "altered");
    build(&copy).ends_with(101).says("bpf/objects/exectrace_bpfeb.o is not what was compiled: run `cargo xtask bpf`");
    fs::write(copy.path("bpf/objects/exectrace_bpfeb.o"), object).unwrap();

    let lock = copy.read("bpf/bpf.lock");
    fs::remove_file(copy.path("bpf/bpf.lock")).unwrap();
    build(&copy).ends_with(101).says("bpf/bpf.lock is missing: run `cargo xtask bpf`");
    let copy = copy.write("bpf/bpf.lock", &lock);
    build(&copy).succeeds();
}
