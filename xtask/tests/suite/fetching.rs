//! What is fetched: reported, checked, kept only when it is right, and never asked for with --offline.

use super::support::{Workspace, list};

/// A workspace with an empty cache, and a `python3` that answers `pip download --dest FOLDER` with this script.
fn with_pip(name: &str, script: &str) -> Workspace {
    let workspace = Workspace::usual(name);
    let cache = workspace.path("cache").to_str().unwrap().to_owned();
    let program = format!("#!/bin/sh\nwhile [ \"$1\" != --dest ]; do shift; done\nmkdir -p \"$2\"\n{script}\n");
    workspace.env("BPFSHIP_CACHE", &cache).program("python3", &program)
}

/// What is in the cache, apart from locks.
fn cached(workspace: &Workspace) -> Vec<String> {
    list(&workspace.path("cache")).into_iter().filter(|name| name != "locks").collect()
}

#[test]
fn a_download_with_the_wrong_hash_leaves_nothing() {
    let workspace = with_pip("wrong-hash", "echo wrong > \"$2/ziglang.whl\"");
    workspace
        .xtask("bpf")
        .ends_with(1)
        .says("fetching ziglang==")
        .says(workspace.path("cache").to_str().unwrap())
        .says("which is not the one pinned for this machine");
    assert!(cached(&workspace).is_empty(), "{:?}", cached(&workspace));
    assert!(!workspace.path("kernel/objects").exists());
}

#[test]
fn a_download_that_is_cut_off_leaves_nothing() {
    let workspace = with_pip("cut-off", "echo half > \"$2/ziglang.whl\"; echo 'connection reset' >&2; exit 1");
    workspace
        .xtask("bpf")
        .ends_with(1)
        .says("connection reset")
        .says("cannot get ziglang==0.17.1 with pip: the network does not answer");
    assert!(cached(&workspace).is_empty(), "{:?}", cached(&workspace));
}

#[test]
fn what_an_earlier_run_left_half_done_is_not_trusted() {
    let workspace = with_pip("half", "exit 1");
    let name = bpfship::testing::zig::name().unwrap();
    let workspace = workspace.write(&format!("cache/{name}.partial/zig"), "half a compiler");
    workspace.xtask("bpf").ends_with(1).says("fetching ziglang==");
    assert!(cached(&workspace).is_empty(), "{:?}", cached(&workspace));
}

#[test]
fn without_pip_the_remedy_is_named() {
    let workspace =
        Workspace::usual("no-pip").program("python3", "#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n");
    let cache = workspace.path("cache").to_str().unwrap().to_owned();
    workspace
        .env("BPFSHIP_CACHE", &cache)
        .xtask("bpf")
        .ends_with(1)
        .says("No module named pip")
        .says("apt install python3-pip");
}

#[test]
fn offline_with_an_empty_cache_names_what_is_missing_and_starts_no_download() {
    let workspace = with_pip("offline", "touch \"$BPFSHIP_CACHE/asked\"");
    workspace
        .xtask("dist --arch mips --offline")
        .ends_with(1)
        .says("--offline, but this is missing:")
        .says("the compiler (ziglang==0.17.1, through pip)")
        .says("run once without --offline")
        .in_one_line();
    assert!(!workspace.path("cache/asked").exists() && !workspace.path("dist").exists());
}

#[test]
fn a_cache_that_cannot_be_written_is_named_with_the_remedy() {
    Workspace::usual("cache")
        .env("BPFSHIP_CACHE", "/proc/nowhere")
        .xtask("bpf")
        .ends_with(1)
        .says("set BPFSHIP_CACHE")
        .in_one_line();
}
