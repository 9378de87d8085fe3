//! `rebuild`: what a manifest names is built again, apart from all that is here.

use super::support::{Workspace, commit};

/// A commit with up-to-date objects, so that building it needs no compiler for them.
fn released(name: &str) -> Workspace {
    let workspace = Workspace::usual(name).write(".gitignore", "target\ndist\n");
    workspace.xtask("bpf").succeeds();
    commit(&workspace);
    workspace.xtask("dist --arch amd64").succeeds();
    workspace
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_was_built_from_the_commit_is_the_same_built_again() {
    let workspace = released("rebuild");
    let before = workspace.shell("git status --porcelain --ignored && git rev-parse HEAD && ls .git").succeeds().text();
    // The date is the manifest's, and none of this moment.
    let workspace = workspace.without_env("SOURCE_DATE_EPOCH");
    let plan = workspace.xtask("rebuild --plan").succeeds();
    let plan = plan.says("dist --locked --commit ").says(" --arch amd64 --std prebuilt --to ").says("\ncmp ").text();
    let folder = plan.lines().find_map(|line| line.strip_prefix("mkdir -m 700 ")).unwrap();
    assert!(!std::path::Path::new(folder).exists());
    workspace.xtask("verify --rebuild").ends_with(2).says("`--rebuild` is a command now: cargo xtask rebuild");

    workspace.xtask("rebuild").succeeds().says("  ok  built again");
    let after = workspace.shell("git status --porcelain --ignored && git rev-parse HEAD && ls .git").succeeds().text();
    assert_eq!(before, after);
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_was_not_built_from_the_commit_is_reported_by_file_section_and_text() {
    let workspace = released("another commit");
    let main = workspace.read("tool/main.rs").replace("probe of", "PROBE OF");
    let workspace = workspace.write("tool/main.rs", &main);
    commit(&workspace);
    let script = "sed -i \"s/\\\"commit\\\": .*/\\\"commit\\\": \\\"$(git rev-parse HEAD)\\\",/\" dist/release.json && rm dist/SHA256SUMS";
    workspace.shell(script).succeeds();
    workspace
        .xtask("rebuild")
        .ends_with(1)
        .says("built again, the release is another one:\n  ")
        .says("`probe`: in section `.rodata`")
        .says("around the first difference, it has `");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_is_in_no_commit_cannot_be_built_again() {
    let workspace = released("dirty").write("README.md", "Changed.\n");
    workspace.xtask("dist --arch amd64").succeeds();
    workspace.xtask("rebuild").ends_with(1).says("the manifest has `dirty`: the work tree had changes");
    let script = "sed -i 's/\"dirty\": true/\"dirty\": false/; s/\"commit\": .*/\"commit\": \"0123456789012345678901234567890123456789\",/' \
                  dist/release.json && rm dist/SHA256SUMS";
    workspace.shell(script).succeeds();
    workspace.xtask("rebuild").ends_with(1).says("there is no commit 0123456789012345678901234567890123456789 in ");
}
