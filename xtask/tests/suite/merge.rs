//! `merge`: parts that were built apart become what one run would have made, or are refused.

use std::fs;

use bpfship::testing::Arch;
use bpfship::testing::hash;
use bpfship::testing::manifest::{Archive, Artifact, BpfObject, Manifest, Rustc, SCHEMA};
use serde_json::Value;

use super::support::Workspace;

const AMD64: &str = "tool-0.3.0-x86_64-unknown-linux-musl.tar.gz";
const ARM64: &str = "tool-0.3.0-aarch64-unknown-linux-musl.tar.gz";

/// The archive that a part has for an architecture: merging does not look into it.
fn archive(arch: &Arch) -> Vec<u8> {
    format!("an archive for {arch}").into_bytes()
}

/// The manifest of a run that made these architectures.
fn manifest(arches: &[&str]) -> Manifest {
    let mut manifest = Manifest {
        schema: SCHEMA,
        archives: vec![Archive::example("0.3.0")],
        commit: Some("1a2b".into()),
        dirty: false,
        source_date_epoch: 1_700_000_000,
        cargo_lock: hash::bytes(b"1"),
        bpf_lock: Some(hash::bytes(b"2")),
        rustc: Rustc { version: "1.95.0".into(), commit: "3".into(), llvm: "22".into() },
        c_compiler: "zig".into(),
        compressor: "deflate".into(),
        cargo_toml: hash::bytes(b"2b"),
        flags: vec!["-Cx".into()],
        bpf_objects: Vec::new(),
        artifacts: Vec::new(),
    };
    let described = |name: &&str| {
        let arch = Arch::named(name);
        Artifact::example("0.3.0", arch, &archive(arch))
    };
    let mut artifacts: Vec<Artifact> = arches.iter().map(described).collect();
    artifacts.sort_by(|one, other| one.file.cmp(&other.file));
    let object = |file: &str| BpfObject { file: file.parse().unwrap(), size: 9, sha256: hash::bytes(b"6") };
    manifest.bpf_objects = ["tick_bpfeb.o", "tick_bpfel.o"].map(object).into();
    Manifest { artifacts, ..manifest }
}

/// Writes a part into a folder of the workspace.
fn part(workspace: &Workspace, folder: &str, manifest: &Manifest) {
    let folder = workspace.path(folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("release.json"), manifest.to_json().unwrap()).unwrap();
    for artifact in &manifest.artifacts {
        let line = format!("{}  {}\n", artifact.sha256, artifact.file);
        fs::write(folder.join(&artifact.file), archive(artifact.arch)).unwrap();
        fs::write(folder.join(format!("{}.sha256", artifact.file)), line).unwrap();
        fs::write(folder.join(&artifact.sbom.file), "sbom").unwrap();
    }
}

/// A workspace with two parts, in folders called `a` (amd64) and `b` (arm64); `change` alters the manifest of the second.
fn two_parts(name: &str, change: impl FnOnce(&mut Manifest)) -> Workspace {
    let workspace = Workspace::usual(name);
    part(&workspace, "a", &manifest(&["amd64"]));
    let mut second = manifest(&["arm64"]);
    change(&mut second);
    part(&workspace, "b", &second);
    workspace
}

fn merged(workspace: &Workspace) -> Value {
    serde_json::from_str(&workspace.read("dist/release.json")).unwrap()
}

fn merged_arches(workspace: &Workspace) -> Vec<String> {
    let manifest = merged(workspace);
    let artifacts = manifest["artifacts"].as_array().unwrap().iter();
    artifacts.map(|artifact| artifact["arch"].as_str().unwrap().to_owned()).collect()
}

/// Every file of a folder, with its bytes.
fn contents(workspace: &Workspace, folder: &str) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| (name.clone(), fs::read(workspace.path(folder).join(name)).unwrap());
    workspace.list(folder).into_iter().map(read).collect()
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn parts_built_apart_become_what_one_run_makes_byte_for_byte() {
    let both = Workspace::usual("both");
    both.xtask("dist --arch amd64 --arch arm64").succeeds();
    let whole = contents(&both, "dist");
    assert_eq!(whole.len(), 10);

    let one = Workspace::usual("one");
    one.xtask("dist --arch amd64").succeeds();
    let other = Workspace::usual("other");
    other.xtask("dist --arch arm64").succeeds();
    let fresh = Workspace::usual("fresh");
    let parts = [&one, &other].map(|part| part.path("dist").to_str().unwrap().to_owned()).join(" ");
    fresh.xtask(&format!("merge {parts}")).succeeds().says(AMD64).says(ARM64);
    assert!(contents(&fresh, "dist") == whole);
    fresh.shell("cd dist && sha256sum -c SHA256SUMS && sha256sum -c *.sha256").succeeds();

    // dist/ itself may be one of them, and none of them changes.
    let before = contents(&other, "dist");
    one.xtask(&format!("merge dist {}", other.path("dist").display())).succeeds();
    assert!(contents(&one, "dist") == whole && contents(&other, "dist") == before);
    // A run that follows finds all of it as it should be.
    one.xtask("dist --arch amd64").succeeds();
    assert!(contents(&one, "dist") == whole);
}

#[test]
fn it_needs_no_compiler_no_crates_and_no_cache() {
    let asked = "#!/bin/sh\ntouch \"$ASKED\"\nexit 1\n";
    let mut workspace = two_parts("alone", |_| {});
    for program in ["python3", "pip", "rustup", "git", "cc", "ld"] {
        workspace = workspace.program(program, asked);
    }
    fs::remove_file(workspace.path("Cargo.lock")).unwrap();
    let [asked, cache, home] = ["asked", "cache", "cargo-home"].map(|name| workspace.path(name));
    let workspace = workspace
        .without_env("SOURCE_DATE_EPOCH")
        .env("ASKED", asked.to_str().unwrap())
        .env("BPFSHIP_CACHE", cache.to_str().unwrap())
        .env("CARGO_HOME", home.to_str().unwrap());
    workspace.xtask("merge a b --offline").succeeds();
    assert_eq!(merged_arches(&workspace), ["arm64", "amd64"]);
    assert!(!asked.exists() && !cache.exists() && !workspace.path("target").exists());
}

#[test]
fn an_archive_that_does_not_match_its_manifest_is_refused_and_dist_is_as_it_was() {
    let workspace = two_parts("altered", |_| {}).write("dist/SHA256SUMS", "before\n");
    let workspace = workspace.write(&format!("b/{ARM64}"), "altered");
    workspace
        .xtask("merge a b")
        .ends_with(1)
        .says(&format!("b/{ARM64} has sha256 {}", hash::bytes(b"altered")))
        .says(&format!("has {}: copy it again", manifest(&["arm64"]).artifacts[0].sha256))
        .in_one_line();
    fs::remove_file(workspace.path(&format!("b/{ARM64}"))).unwrap();
    workspace
        .xtask("merge a b")
        .ends_with(1)
        .says(&format!("b/{ARM64} is not there, but the release.json beside it names it: copy the whole folder"))
        .in_one_line();
    assert_eq!(contents(&workspace, "dist"), [("SHA256SUMS".to_owned(), b"before\n".to_vec())]);
}

#[test]
fn an_archive_of_another_size_than_in_its_manifest_is_refused() {
    let workspace = two_parts("size", |second| second.artifacts[0].size = 1);
    workspace.xtask("merge a b").ends_with(1).says("has 20 bytes, but").says("has 1:").in_one_line();
    assert!(!workspace.path("dist").exists());
}

#[test]
fn parts_of_different_origin_are_refused_with_what_differs_first() {
    type Change = fn(&mut Manifest);
    let cases: [(Change, &str); 5] = [
        (
            |second| {
                second.commit = Some("3c4d".into());
                second.bpf_lock = Some(hash::bytes(b"7"));
            },
            r#"`commit` is "1a2b" in the one and "3c4d" in the other"#,
        ),
        (|second| second.dirty = true, "`dirty` is false in the one and true in the other"),
        (
            |second| second.rustc.version = "1.96.0".into(),
            r#"`rustc.version` is "1.95.0" in the one and "1.96.0" in the other"#,
        ),
        (|second| second.source_date_epoch = 7, "`source_date_epoch` is 1700000000 in the one and 7 in the other"),
        (
            |second| second.bpf_objects[1].sha256 = hash::bytes(b"7"),
            &format!(
                r#"`bpf_objects[1].sha256` is "{}" in the one and "{}" in the other"#,
                hash::bytes(b"6"),
                hash::bytes(b"7")
            ),
        ),
    ];
    for (change, difference) in cases {
        let workspace = two_parts("origin", change);
        workspace
            .xtask("merge a b")
            .ends_with(1)
            .says(&format!("a and b are of different origin: {difference}; build both from one commit"))
            .in_one_line();
        assert!(!workspace.path("dist").exists());
    }
}

#[test]
fn an_archive_that_two_parts_have_must_be_the_same_in_both() {
    let workspace = two_parts("twice", |_| {});
    part(&workspace, "c", &manifest(&["arm64", "s390x"]));
    workspace.xtask("merge a b c").succeeds();
    assert_eq!(merged_arches(&workspace), ["arm64", "s390x", "amd64"]);

    let mut another = manifest(&["arm64"]);
    another.artifacts[0].sha256 = hash::bytes(b"another build");
    part(&workspace, "c", &another);
    let workspace = workspace.write(&format!("c/{ARM64}"), "another build");
    another.artifacts[0].size = "another build".len() as u64;
    let workspace = workspace.write("c/release.json", &another.to_json().unwrap());
    let before = contents(&workspace, "dist");
    workspace
        .xtask("merge a b c")
        .ends_with(1)
        .says(&format!("{ARM64} is not the same in b and c: `sha256` is"))
        .says(&another.artifacts[0].sha256.to_string())
        .in_one_line();
    assert!(contents(&workspace, "dist") == before);
}

#[test]
fn what_was_not_committed_when_the_parts_were_built_is_reported() {
    let workspace = two_parts("dirty", |second| second.dirty = true);
    let mut first = manifest(&["amd64"]);
    first.dirty = true;
    part(&workspace, "a", &first);
    workspace.xtask("merge a b").succeeds().says("changes that are not committed");
    assert_eq!(merged(&workspace)["dirty"], true);
}

#[test]
fn parts_of_another_version_or_application_are_refused() {
    let of = |name: &str, version: &str, manifest: &mut Manifest| {
        manifest.archives[0] = Archive { name: name.into(), ..Archive::example(version) };
        let artifact = &mut manifest.artifacts[0];
        artifact.archive = name.into();
        artifact.file = format!("{name}-{version}-{}.tar.gz", artifact.triple);
        artifact.sbom.file = format!("{name}-{version}-{}.cdx.json", artifact.triple);
    };
    two_parts("version", |second| of("tool", "0.2.9", second))
        .xtask("merge a b")
        .ends_with(2)
        .says("b contains tool 0.2.9, but this workspace ships tool 0.3.0: check out")
        .in_one_line();
    two_parts("application", |second| of("tol", "0.3.0", second))
        .xtask("merge a b")
        .ends_with(2)
        .says("contains tol 0.3.0");
}

#[test]
fn a_folder_that_is_no_part_is_refused() {
    let workspace = two_parts("no-part", |_| {}).write("parts/amd64/release.json", "{}").write("empty/file", "");
    let cases = [
        ("nowhere", "nowhere is not there"),
        ("README.md", "README.md is not a folder: a folder with a release.json is expected"),
        ("empty", "empty contains no release.json: name what `cargo xtask dist` wrote"),
        ("parts", "parts contains no release.json, but folders in it do: name those"),
    ];
    for (folder, sentence) in cases {
        workspace.xtask(&format!("merge a {folder} b")).ends_with(2).says(sentence).in_one_line();
    }
    assert!(!workspace.path("dist").exists());
}

#[test]
fn a_manifest_that_this_tool_does_not_understand_is_refused() {
    let workspace = two_parts("strange", |second| second.schema = 4);
    workspace
        .xtask("merge a b")
        .ends_with(1)
        .says("cannot use b/release.json: its schema is 4, and this tool knows 3: build that part again")
        .in_one_line();
    for text in ["", "{}", "half a manif"] {
        let workspace = two_parts("unreadable", |_| {}).write("b/release.json", text);
        workspace
            .xtask("merge a b")
            .ends_with(1)
            .says("cannot use b/release.json: not a manifest that this version understands: ")
            .in_one_line();
    }
}

#[test]
fn a_manifest_cannot_name_a_file_outside_its_folder() {
    let workspace = two_parts("outside", |_| {});
    let mut second = manifest(&["arm64"]);
    second.artifacts[0].file = "../a/README.md".into();
    let workspace = workspace.write("b/release.json", &second.to_json().unwrap());
    workspace
        .xtask("merge a b")
        .ends_with(1)
        .says("cannot use b/release.json: it names ../a/README.md, which is not tool 0.3.0 for arm64")
        .in_one_line();
}

#[test]
fn of_what_lies_in_dist_that_of_the_same_origin_is_kept_in_the_manifest() {
    let workspace = two_parts("kept", |_| {});
    part(&workspace, "dist", &manifest(&["riscv64"]));
    workspace.xtask("merge a b").succeeds();
    assert_eq!(merged_arches(&workspace), ["arm64", "riscv64", "amd64"]);
    assert_eq!(workspace.read("dist/SHA256SUMS").matches(".tar.gz\n").count(), 3);

    let mut earlier = manifest(&["riscv64", "amd64"]);
    earlier.commit = Some("3c4d".into());
    part(&workspace, "dist", &earlier);
    workspace
        .xtask("merge a b")
        .succeeds()
        .says("not in release.json: riscv64, built with another `commit` (\"3c4d\", and now \"1a2b\")");
    assert_eq!(merged_arches(&workspace), ["arm64", "amd64"]);
    assert_eq!(merged(&workspace)["commit"], "1a2b");
    // Its own checksum vouches for it there, as after a run that builds.
    assert_eq!(workspace.read("dist/SHA256SUMS").matches(".tar.gz\n").count(), 3);
    workspace.shell("cd dist && sha256sum -c SHA256SUMS").succeeds();
}

#[test]
fn a_plan_names_what_would_be_taken_over_and_does_nothing() {
    let workspace = two_parts("merge plan", |_| {});
    let run = workspace.xtask("merge a b --plan").succeeds().says(&format!("# taking over {AMD64}\n"));
    run.says(&manifest(&["arm64"]).artifacts[0].sha256.to_string());
    assert!(!workspace.path("dist").exists());
}

#[test]
fn the_flag_that_it_was_is_refused_with_the_command() {
    let workspace = two_parts("flags", |_| {});
    workspace.xtask("dist --merge a b").ends_with(2).says("`--merge` is a command now: cargo xtask merge DIR");
    workspace.xtask("merge").ends_with(2).says("<DIR>...");
}
