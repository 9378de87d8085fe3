//! The pipelines that `ci` writes, and their guide, docs/ci.md: valid, of commands, architectures and files that are there, and run
//! up to the door of the service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bpfship::testing::ARCHES;

use serde_json::Value;

use super::support::{Run, Workspace, commit, has, knows_the_commands, list, own_root};

fn read(path: &str) -> String {
    fs::read_to_string(own_root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn template(name: &str) -> String {
    read(&format!("xtask/templates/{name}.yml"))
}

/// Both pipelines for one runner, both for a matrix, as the guide has the user put them together, and the one for tags.
fn pipelines() -> [(&'static str, String); 5] {
    let (github, gitlab, guide) = (template("github-ci"), template("gitlab-ci"), read("docs/ci.md"));
    let blocks: Vec<&str> = guide.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    let &[github_matrix, gitlab_matrix] = blocks.as_slice() else { panic!("docs/ci.md has {} blocks", blocks.len()) };
    let before = |text: &str, marker: &str| text.split_once(marker).expect(marker).0.to_owned();
    let github_matrix = before(&github, "      - run: cargo xtask dist") + github_matrix;
    let gitlab_matrix = before(&gitlab, "dist:\n") + gitlab_matrix;
    let release = template("github-release");
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
#[ignore = "long: --include-ignored runs it"]
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

    let forms = own_root().join(".github/ISSUE_TEMPLATE");
    for name in list(&forms) {
        let schema = if name == "config.yml" { "vendor.github-issue-config" } else { "vendor.github-issue-forms" };
        let checked =
            Command::new(way[0]).args(&way[1..]).args(["--builtin-schema", schema]).arg(forms.join(&name)).output();
        Run::from_output(checked.unwrap()).succeeds();
    }
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
        assert!(if name == "github-release" { files.is_empty() } else { files.len() > 1 }, "{name}: {files:?}");
        for file in files {
            assert!(own_root().join(file).is_file(), "{name} names {file}, which is not there");
        }
    }
}

/// A workspace with the command `cargo xtask` and two programs on PATH: `cargo`, by which that is the tool that is tested, and
/// `gh`, which writes down what it is asked.
fn adopter(name: &str) -> Workspace {
    let workspace = Workspace::usual(name)
        .write("xtask/Cargo.toml", "[package]\nname = \"bpfship\"\nversion = \"0.0.0\"\nedition = \"2024\"\n")
        .write("xtask/src/lib.rs", "")
        .write(".gitignore", "/target\n/dist\n/programs\n")
        .write("CHANGELOG.md", "# Changes\n\n## 0.3.0\n\n- It ticks.\n\n## 0.2.0\n\n- It began.\n");
    let manifest = workspace.read("Cargo.toml").replace("members = [", "members = [\"xtask\", ");
    let key = manifest.replace("package = \"tool\"", "package = \"tool\"\narches = [\"amd64\"]");
    let cargo = format!(
        "#!/bin/sh\n[ \"$1\" = xtask ] || exec '{}' \"$@\"\nshift\nexec '{}' \"$@\"\n",
        env!("CARGO"),
        env!("CARGO_BIN_EXE_xtask")
    );
    let lock = format!("{}\n[[package]]\nname = \"bpfship\"\nversion = \"0.0.0\"\n", workspace.read("Cargo.lock"));
    workspace
        .write("Cargo.toml", &key)
        .write("Cargo.lock", &lock)
        .program("cargo", &cargo)
        .program(
            "gh",
            "#!/bin/sh\necho \"$@\" >>\"$GH_LOG\"\ncat \"${6#--notes-file=}\" >>\"$GH_LOG\" 2>/dev/null || true\n",
        )
        .without_env("SOURCE_DATE_EPOCH")
}

#[test]
fn ci_writes_pipelines_brings_them_up_to_date_and_leaves_those_of_others_alone() {
    let workspace = adopter("ci");
    workspace.xtask("ci github --check").ends_with(1).says(".github/workflows/ci.yml is not there");
    let plan = workspace.xtask("ci github --plan").succeeds().text();
    assert!(!workspace.path(".github").exists());
    workspace.xtask("ci github").succeeds();
    assert_eq!(workspace.read(".github/workflows/ci.yml"), template("github-ci"));
    workspace.xtask("ci github --check").succeeds();
    workspace.shell(&format!("rm -r .github; {plan}")).succeeds();
    workspace.xtask("ci github --check").succeeds();

    let workspace = workspace.write(".github/workflows/release.yml", &template("github-release").replace("60", "90"));
    workspace.xtask("ci github --check").ends_with(1).says("release.yml differs, first in line 2");
    workspace.xtask("ci github").succeeds().says(".github/workflows/release.yml: brought up to date");
    workspace.xtask("ci github").succeeds().says("up to date");

    let workspace = workspace.write(".gitlab-ci.yml", "test: {}\n");
    workspace.xtask("ci gitlab").ends_with(2).says(".gitlab-ci.yml is there, and not of this command").in_one_line();
    assert_eq!(workspace.read(".gitlab-ci.yml"), "test: {}\n");

    // By the name that the command has there, and the Rust that is pinned.
    let manifest =
        "[package]\nname = \"ship\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\nbpfship = \"0.1\"\n";
    let workspace = workspace.write("xtask/Cargo.toml", manifest);
    workspace.shell("rm .gitlab-ci.yml").succeeds();
    workspace.xtask("ci gitlab").succeeds();
    let text = workspace.read(".gitlab-ci.yml");
    assert!(text.contains("cargo ship dist --locked") && !text.contains("xtask"), "{text}");
}

/// The jobs of a workflow, as JSON.
fn jobs(workspace: &Workspace, path: &str) -> Value {
    let script = "import json, sys; from ruamel.yaml import YAML; \
                  print(json.dumps(YAML(typ='safe').load(open(sys.argv[1]))['jobs']))";
    workspace.shell(&format!("python3 -c \"{script}\" {path}")).succeeds().json()
}

/// Runs the steps of a job in a folder of its own, with programs in place of the actions. Ends with its first step that fails.
fn run_job(workspace: &Workspace, job: &Value, name: &str, tag: &str) -> Result<(), String> {
    let top = workspace.path("..").canonicalize().unwrap();
    let (folder, artifacts) = (top.join(format!("job {name}")), top.join("artifacts"));
    fs::create_dir_all(&folder).unwrap();
    for step in job["steps"].as_array().unwrap() {
        let with = |key: &str| step["with"][key].as_str().unwrap_or_default().to_owned();
        let action = step["uses"].as_str().and_then(|uses| uses.split_once('@')).map_or("", |(action, _)| action);
        let script = match action {
            "actions/checkout" => format!("git clone -q '{}' .", workspace.path("").display()),
            "actions/upload-artifact" => {
                format!("mkdir -p '{0}' && cp -r {1} '{0}/{2}'", artifacts.display(), with("path"), with("name"))
            }
            "actions/download-artifact" => {
                format!("mkdir -p {1} && cp -r '{0}/{2}/.' {1}", artifacts.display(), with("path"), with("name"))
            }
            "actions/attest" => {
                format!("test -s {} && echo '{{}}' >'{}/bundle'", with("subject-checksums"), top.display())
            }
            "" => step["run"].as_str().unwrap().to_owned(),
            other => panic!("a stand-in for {other}"),
        };
        fs::write(top.join("step"), &script).unwrap();
        let (folder, top) = (folder.display(), top.display());
        let run = workspace.shell(&format!(
            "export BPFSHIP_SIGNING_KEY=\"$(cat '{top}/key')\" GITHUB_REF_NAME={tag} RUNNER_TEMP='{top}' BUNDLE='{top}/bundle' GH_LOG='{top}/gh.log' && cd '{folder}' && bash -e '{top}/step' && echo 'it succeeds'"
        ));
        if !run.text().contains("it succeeds\n") {
            return Err(script);
        }
    }
    Ok(())
}

/// The programs in place of the actions do what these are for.
#[test]
#[ignore = "long: --include-ignored runs it"]
fn every_command_of_a_release_works_in_order_up_to_the_door_of_the_service() {
    let has_yaml = Command::new("python3").args(["-c", "import ruamel.yaml"]).output();
    if !has("ruamel.yaml", "pip install ruamel.yaml", has_yaml.is_ok_and(|output| output.status.success())) {
        return;
    }
    let workspace = adopter("release");
    workspace.xtask("ci github").succeeds();
    workspace.xtask("bpf").succeeds();
    commit(&workspace);
    workspace.shell("ssh-keygen -q -t ed25519 -N '' -f ../key").succeeds();
    let jobs = jobs(&workspace, ".github/workflows/release.yml");
    assert_eq!(
        run_job(&workspace, &jobs["dist"], "0", "v9.9.9"),
        Err("! test -f CHANGELOG.md || grep -E \"^## .*${GITHUB_REF_NAME#v}\" CHANGELOG.md".into())
    );
    let other = run_job(&workspace, &jobs["dist"], "1", "v0.2.0").unwrap_err();
    assert!(other.contains("jq -r"), "the version is 0.3.0, but: {other}");
    for name in ["dist", "rebuild", "publish"] {
        assert_eq!(run_job(&workspace, &jobs[name], name, "v0.3.0"), Ok(()), "{name}");
    }
    let asked = workspace.read("../gh.log");
    let [create, heading, .., edit] = asked.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>()[..] else {
        panic!("{asked}")
    };
    assert!(create.starts_with("release create v0.3.0 --draft --verify-tag --notes-file="), "{create}");
    for file in list(&workspace.path("../job publish/dist")) {
        assert!(create.contains(&format!(" dist/{file}")), "{file}");
    }
    for file in ["SHA256SUMS.minisig", "attestation.sigstore.json"] {
        assert!(create.contains(&format!(" dist/{file} ")), "{create}");
    }
    assert_eq!((heading, edit), ("## 0.3.0", "release edit v0.3.0 --draft=false"));
    assert!(asked.contains("- It ticks.") && !asked.contains("- It began."), "{asked}");
}
