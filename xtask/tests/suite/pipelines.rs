//! The pipelines in `ci/` and their guide, docs/ci.md: valid, and of commands, architectures and files that are there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bpfship::testing::ARCHES;

use super::support::{Run, has, knows_the_commands, own_root};

fn read(path: &str) -> String {
    fs::read_to_string(own_root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Both pipelines for one runner, both for a matrix, as the guide has the user put them together, and the one for tags.
fn pipelines() -> [(&'static str, String); 5] {
    let (github, gitlab, guide) = (read("ci/github.yml"), read("ci/gitlab.yml"), read("docs/ci.md"));
    let blocks: Vec<&str> = guide.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    let &[github_matrix, gitlab_matrix] = blocks.as_slice() else { panic!("docs/ci.md has {} blocks", blocks.len()) };
    let before = |text: &str, marker: &str| text.split_once(marker).expect(marker).0.to_owned();
    let github_matrix = before(&github, "      - run: cargo xtask dist") + github_matrix;
    let gitlab_matrix = before(&gitlab, "dist:\n") + gitlab_matrix;
    let release = read("ci/github-release.yml");
    [
        ("github", github),
        ("gitlab", gitlab),
        ("github-matrix", github_matrix),
        ("gitlab-matrix", gitlab_matrix),
        ("github-release", release),
    ]
}

/// How check-jsonschema is started here, if it is.
fn check_jsonschema() -> Option<Vec<&'static str>> {
    let ways = [vec!["check-jsonschema"], vec!["python3", "-m", "check_jsonschema"]];
    ways.into_iter().find(|way| {
        let asked = Command::new(way[0]).args(&way[1..]).arg("--version").output();
        asked.is_ok_and(|output| output.status.success())
    })
}

#[test]
fn every_pipeline_is_one_that_its_service_understands() {
    let way = check_jsonschema();
    if !has("check-jsonschema", "pip install check-jsonschema", way.is_some()) {
        return;
    }
    let way = way.unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pipelines");
    fs::create_dir_all(&folder).unwrap();
    let check = |name: &str, text: &str| {
        let file: PathBuf = folder.join(format!("{name}.yml"));
        fs::write(&file, text).unwrap();
        let schema = if name.starts_with("github") { "vendor.github-workflows" } else { "vendor.gitlab-ci" };
        Run::of(Command::new(way[0]).args(&way[1..]).args(["--builtin-schema", schema]).arg(file))
    };
    for (name, text) in pipelines() {
        check(name, &text).succeeds();
    }
    let [(_, github), (_, gitlab), ..] = pipelines();
    check("github-wrong", &github.replace("steps:", "step:")).ends_with(1);
    check("gitlab-wrong", &gitlab.replace("artifacts:", "artefacts:")).ends_with(1);
}

#[test]
fn every_command_of_a_pipeline_and_of_the_guide_is_one_that_exists() {
    // What a pipeline fills in.
    let filled = |text: &str| text.replace("${{ matrix.arch }}", "amd64").replace("$ARCH", "amd64");
    for (_, text) in pipelines() {
        knows_the_commands(&filled(&text));
    }
    knows_the_commands(&filled(&read("docs/ci.md")));
}

#[test]
fn a_matrix_has_every_architecture() {
    let names: Vec<&str> = ARCHES.iter().filter(|arch| arch.by_default).map(|arch| arch.name).collect();
    let list = format!("[{}]", names.join(", "));
    assert_eq!(read("docs/ci.md").matches(&list).count(), 2, "docs/ci.md wants {list} in both matrices");
}

/// A name that is not there would be passed over in silence, and the key would never change.
#[test]
fn every_file_that_a_cache_is_keyed_by_is_there() {
    for (name, text) in pipelines() {
        let lists = text.split("hashFiles(").skip(1).map(|rest| rest.split_once(')').unwrap().0);
        let lists = lists.chain(text.split("files: [").skip(1).map(|rest| rest.split_once(']').unwrap().0));
        let files: Vec<&str> = lists.flat_map(|list| list.split(", ")).map(|file| file.trim_matches('\'')).collect();
        // Nothing that others could have written goes into a release.
        assert!(if name == "github-release" { files.is_empty() } else { files.len() > 3 }, "{name}: {files:?}");
        for file in files {
            assert!(own_root().join(file).is_file(), "{name} names {file}, which is not there");
        }
    }
}
