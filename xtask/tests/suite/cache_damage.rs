//! The cache is not trusted: a job that reads an entry verifies it first.

use std::fs;

use super::support::{Workspace, list};

/// A workspace with its own cache, into which nothing can be fetched.
fn with_cache(name: &str) -> Workspace {
    let workspace = Workspace::usual(name).program("python3", "#!/bin/sh\nexit 1\n");
    let cache = workspace.path("cache").to_str().unwrap().to_owned();
    workspace.env("BPFSHIP_CACHE", &cache)
}

#[test]
fn a_compiler_with_a_flipped_byte_is_not_run_and_is_fetched_again() {
    let name = bpfship::testing::zig::name().unwrap();
    let hash = bpfship::testing::hash::bytes(b"#!/bin/sh\necho once\n");
    with_cache("flipped compiler")
        .write(&format!("cache/{name}/zig"), "#!/bin/sh\necho twice\n")
        .write(&format!("cache/{name}/CONTENTS"), &format!("{hash}  zig\n"))
        .xtask("bpf")
        .ends_with(1)
        .says(&format!("{name} in the cache is damaged (zig), and is made again"))
        .says("fetching ziglang==");
}

#[test]
fn a_compiler_of_which_nothing_is_known_is_not_run() {
    let name = bpfship::testing::zig::name().unwrap();
    with_cache("unknown compiler")
        .write(&format!("cache/{name}/zig"), "#!/bin/sh\necho anything\n")
        .xtask("bpf")
        .ends_with(1)
        .says(&format!("{name} in the cache is damaged (CONTENTS), and is made again"));
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_standard_library_with_a_flipped_byte_gets_into_no_archive() {
    // Makes the standard library, if no test has yet.
    let whole = Workspace::usual("whole std");
    whole.xtask("dist --arch s390x").succeeds();
    let manifest: serde_json::Value = serde_json::from_str(&whole.read("dist/release.json")).unwrap();
    let name = manifest["artifacts"][0]["sysroot"].as_str().unwrap();
    let cache = bpfship::testing::Cache::find().unwrap();
    let workspace = with_cache("flipped std");
    let copy = workspace.path("cache").join(name);
    workspace.shell(&format!("mkdir cache && cp -r '{}' '{}'", cache.path(name).display(), copy.display())).succeeds();
    let lib = copy.join("lib/rustlib/s390x-unknown-linux-musl/lib");
    // A crate that this program has no code of, so that only its hash differs.
    let krate =
        list(&lib).into_iter().find(|name| name.starts_with("libproc_macro-") || name.starts_with("libunwind-"));
    let file = lib.join(krate.unwrap());
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, bytes).unwrap();
    workspace.shell("BPFSHIP_CACHE= \"$BPFSHIP\" bpf").succeeds();
    workspace
        .xtask("dist --arch s390x")
        .ends_with(1)
        .says(&format!("{name} in the cache is damaged (lib/rustlib/s390x-unknown-linux-musl/lib/"));
    assert!(!copy.exists() && !workspace.path("target/bpfship/build/s390x-unknown-linux-musl").exists());
    assert!(!workspace.path("dist/release.json").exists());
}

#[test]
fn doctor_reads_all_of_it_and_changes_nothing() {
    let name = bpfship::testing::zig::name().unwrap();
    let hash = bpfship::testing::hash::bytes(b"once\n");
    let workspace = with_cache("doctor of the cache")
        .write(&format!("cache/{name}/zig"), "twice\n")
        .write(&format!("cache/{name}/CONTENTS"), &format!("{hash}  zig\n"));
    workspace.xtask("doctor --cache").says("zig is damaged; who needs it makes it again");
    assert_eq!(workspace.list(&format!("cache/{name}")), ["CONTENTS", "zig"]);
    let workspace = workspace.write(&format!("cache/{name}/zig"), "once\n");
    workspace.xtask("doctor --cache").says("as it was made").says_nothing_of("damaged");
}
