//! What `cargo xtask cache` shows and removes: what is the tool's own, and nothing else.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::support::{Run, Workspace, list};

const OLD: &str = "ziglang-0.16.0-0123456789abcdef";
const HALF: &str = "sysroot-mips-unknown-linux-musl-0123456789abcdef.partial";
/// What somebody else keeps in the same folder.
const FOREIGN: [&str; 4] = ["ann/letter.txt", "ziglang-notes/a.txt", "sysroot-backup-2024/a.txt", "file.txt"];

/// A workspace whose cache has the current compiler, an old one, a sysroot half done, and what is not the tool's.
fn workspace(name: &str) -> Workspace {
    let workspace = Workspace::usual(name);
    let cache = workspace.path("cache").to_str().unwrap().to_owned();
    let mut workspace = workspace.env("BPFSHIP_CACHE", &cache);
    for entry in [current().as_str(), OLD, HALF] {
        workspace = workspace.write(&format!("cache/{entry}/lib/file"), &"x".repeat(2_000_000));
    }
    for file in FOREIGN {
        workspace = workspace.write(&format!("cache/{file}"), "dear");
    }
    workspace
}

fn current() -> String {
    bpfship::testing::zig::name().unwrap()
}

fn make_older(workspace: &Workspace, entry: &str, days: u32) {
    let path = workspace.path("cache").join(entry);
    Run::of(Command::new("touch").arg("-d").arg(format!("{days} days ago")).arg(path)).succeeds();
}

#[track_caller]
fn foreign_things_are_there(workspace: &Workspace) {
    for file in FOREIGN {
        assert_eq!(workspace.read(&format!("cache/{file}")), "dear");
    }
}

#[test]
fn each_entry_is_shown_with_size_age_and_whether_it_is_used() {
    let workspace = workspace("cache list");
    make_older(&workspace, OLD, 40);
    let shown = workspace.xtask("cache").succeeds();
    let shown = shown.says(": 6 MB\nin use\n").says(&format!("  2 MB   0 days  {}\n", current()));
    let shown = shown.says(&format!("from another version\n  2 MB  40 days  {OLD}\nleft half done\n"));
    shown.says_nothing_of("notes").says_nothing_of("backup");
    assert!(workspace.xtask("cache").text().lines().all(|line| line.len() <= 80 || line.starts_with('/')));
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_listing_is_shown_as_json() {
    let workspace = workspace("cache json");
    make_older(&workspace, OLD, 40);
    let json = workspace.xtask("cache --json").succeeds().json();
    assert_eq!(json["folder"], workspace.path("cache").to_str().unwrap());
    assert!(json["bytes"].as_u64().unwrap() >= 6_000_000);
    let entries = json["entries"].as_array().unwrap();
    let states: Vec<_> = entries.iter().map(|entry| (&entry["name"], &entry["state"], &entry["age_days"])).collect();
    assert_eq!(
        serde_json::to_string(&states).unwrap(),
        format!(r#"[["{HALF}","half-done",0],["{OLD}","other-version",40],["{}","in-use",0]]"#, current())
    );
}

#[test]
fn it_lists_and_cleans_without_any_program_and_outside_of_a_workspace() {
    let workspace = workspace("cache alone").only(&[]);
    let sysroot = "sysroot-mips-unknown-linux-musl-4440b913e9f6f3f5";
    let workspace = workspace.write(&format!("cache/{sysroot}/file"), "");
    workspace.xtask("cache").succeeds().says("in use or not: that depends on the pinned Rust").says(sysroot);
    fs::remove_file(workspace.path("Cargo.toml")).unwrap();
    workspace.xtask("cache").succeeds().says(sysroot);
    workspace.xtask("cache clean").succeeds().says(&format!("removed {sysroot}"));
    foreign_things_are_there(&workspace);
}

#[test]
fn clean_removes_what_is_the_tools_own_and_nothing_else() {
    let workspace = workspace("cache clean");
    let outside = workspace.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "dear").unwrap();
    // A link under a name of ours, and one inside of an entry.
    let link = "ziglang-0.15.0-fedcba9876543210";
    symlink(&outside, workspace.path("cache").join(link)).unwrap();
    symlink(&outside, workspace.path("cache").join(OLD).join("link")).unwrap();
    workspace
        .xtask("cache clean")
        .succeeds()
        .says(&format!("removed {} (2 MB)", current()))
        .says(&format!("removed {OLD}"))
        .says(&format!("removed {HALF}"))
        .says("6 MB are free again in ");
    assert_eq!(
        list(&workspace.path("cache")),
        ["ann", "file.txt", "locks", "sysroot-backup-2024", link, "ziglang-notes"]
    );
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "dear");
    foreign_things_are_there(&workspace);
    workspace.xtask("cache clean").succeeds().says("nothing was removed from");
}

#[test]
fn clean_leaves_what_another_run_makes_or_uses() {
    let workspace = workspace("cache locks").write("cache/locks/x", "");
    let hold = |name: &str| File::create(workspace.path("cache/locks").join(name)).unwrap();
    let used = hold(&format!("{}.in-use", current()));
    used.lock_shared().unwrap();
    let made = hold(HALF.strip_suffix(".partial").unwrap());
    made.lock().unwrap();
    workspace
        .xtask("cache clean")
        .succeeds()
        .says(&format!("left {}: another run makes or uses it", current()))
        .says(&format!("left {HALF}: another run makes or uses it"))
        .says(&format!("removed {OLD}"));
    assert!(workspace.path("cache").join(current()).join("lib/file").exists());
    drop((used, made));
    workspace.xtask("cache clean").succeeds().says(&format!("removed {}", current()));
}

#[test]
fn clean_removes_what_is_older_and_what_is_half_done() {
    let workspace = workspace("cache older");
    make_older(&workspace, OLD, 30);
    workspace.xtask("cache clean --older-than 31").succeeds().says(HALF).says_nothing_of(OLD);
    workspace.xtask("cache clean --older-than 29").succeeds().says(OLD).says_nothing_of(&current());
    workspace.xtask("cache clean --older-than 0").succeeds().says(&current());
}

#[test]
fn what_an_interrupted_clean_left_is_not_whole_and_goes_with_the_next() {
    let workspace = workspace("cache cut").write(&format!("cache/{OLD}.removed/old"), "");
    workspace.xtask("cache").succeeds().says("left half done\n");
    workspace.xtask("cache clean --older-than 100").succeeds().says(&format!("removed {OLD}.removed"));
    assert!(workspace.path("cache").join(OLD).exists());
}

#[test]
fn a_cache_that_is_not_there_is_empty() {
    let workspace = workspace("cache none").env("BPFSHIP_CACHE", "nowhere");
    let shown = workspace.xtask("cache").succeeds();
    shown.says(&format!("{}: 0 kB\n", workspace.path("nowhere").display())).in_one_line();
    workspace.xtask("cache clean").succeeds().says("nothing was removed from");
    assert!(!workspace.path("nowhere").exists());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_wrong_request_is_refused() {
    let workspace = workspace("cache wrong");
    for line in ["cache clean --older-than -1", "cache clean --older-than week", "cache clean --older-than", "cache x"]
    {
        workspace.xtask(line).ends_with(2);
    }
    // The flag may stand before the word.
    assert!(workspace.xtask("cache --json clean --plan").succeeds().json()["tasks"].is_array());
    assert!(workspace.path("cache").join(current()).exists());
}

/// A compiler that cleans the cache it is in, while a run uses it.
#[test]
fn what_a_run_uses_stays_while_it_runs() {
    let workspace = workspace("cache held");
    let zig = format!("cache/{}/zig", current());
    let (cache, log) = (workspace.path("cache"), workspace.path("log"));
    let script = format!(
        "#!/bin/sh\nBPFSHIP_CACHE='{}' '{}' cache clean 2>>'{}'\nexit 1\n",
        cache.display(),
        env!("CARGO_BIN_EXE_xtask"),
        log.display()
    );
    let contents = format!("{}  zig\n", bpfship::testing::hash::bytes(script.as_bytes()));
    let workspace = workspace.write(&zig, &script).write(&format!("cache/{}/CONTENTS", current()), &contents);
    fs::set_permissions(workspace.path(&zig), fs::Permissions::from_mode(0o755)).unwrap();
    workspace.xtask("bpf").ends_with(1).says("cannot compile the BPF objects");
    assert!(workspace.read("log").contains(&format!("left {}: another run makes or uses it", current())));
    assert!(workspace.path(&zig).exists() && !cache.join(OLD).exists());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_libbpf_that_the_workspace_is_not_built_with_is_from_another_version() {
    let entry = "libbpf-aarch64-unknown-linux-musl-0123456789abcdef";
    let workspace = workspace("cache libbpf").write(&format!("cache/{entry}/libbpf.a"), "");
    let state = |workspace: &Workspace| {
        let json = workspace.xtask("cache --json").succeeds().json();
        let entries = json["entries"].as_array().unwrap();
        entries.iter().find(|it| it["name"] == entry).unwrap()["state"].clone()
    };
    assert_eq!(state(&workspace), "other-version");
    // Which one it is built with is not known without its crates.
    fs::remove_file(workspace.path("Cargo.lock")).unwrap();
    assert_eq!(state(&workspace), "unknown");
    workspace.xtask("cache clean").succeeds().says(&format!("removed {entry}"));
}
