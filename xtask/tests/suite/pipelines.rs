//! The pipelines that `ci` writes, and their guide, docs/ci.md: valid, of commands, architectures and files that are there, and run
//! up to the door of the service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bpfship::testing::ARCHES;

use serde_json::{Value, json};

use super::sign::boot_report;
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

/// Build scripts and macros of crates run where something is compiled, and could read what is there.
#[test]
fn nothing_is_compiled_in_a_job_that_has_a_secret_or_may_write() {
    let release = template("github-release");
    let (_, jobs) = release.split_once("\njobs:\n").unwrap();
    let is_name = |line: &str| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':');
    let mut powerful = Vec::new();
    for (number, name) in jobs.lines().enumerate().filter(|(_, line)| is_name(line)) {
        let lines: Vec<&str> = jobs.lines().skip(number + 1).take_while(|line| !is_name(line)).collect();
        let has = |word: &str| lines.iter().any(|line| line.contains(word));
        let may = [": write", "secrets.", "github.token"].iter().any(|word| has(word));
        assert!(!(may && has("cargo ")), "{name}");
        assert!(may || has("cargo "), "{name}");
        powerful.extend(may.then_some(name.trim()));
    }
    assert_eq!(powerful, ["publish:"]);
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
        "#!/bin/sh\n[ \"$1\" = xtask ] || exec '{}' \"$@\"\nshift\nmkdir -p target/debug && ln -sf '{1}' target/debug/xtask\n\
         exec '{1}' \"$@\"\n",
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
            "#!/bin/sh\ntest \"$GH_TOKEN $GH_REPO\" = 'a token a/b' || exit 1\necho \"$@\" >>\"$GH_LOG\"\ncat \"${6#--notes-file=}\" >>\"$GH_LOG\" 2>/dev/null || true\n",
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
    workspace.xtask("ci gitlab").ends_with(2).says(".gitlab-ci.yml is not one that this command wrote").in_one_line();
    assert_eq!(workspace.read(".gitlab-ci.yml"), "test: {}\n");

    // By the name that the command has there, and the Rust that is pinned.
    let manifest =
        "[package]\nname = \"ship\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\nbpfship = \"0.1\"\n";
    let workspace = workspace.write("xtask/Cargo.toml", manifest);
    workspace.shell("rm .gitlab-ci.yml").succeeds();
    workspace.xtask("ci gitlab").succeeds();
    let text = workspace.read(".gitlab-ci.yml");
    assert!(text.contains("cargo ship dist --locked") && !text.contains("xtask"), "{text}");
    let workspace = workspace.write("xtask/src/main.rs", "fn main() {}\n");
    workspace.shell("rm -r .github").succeeds();
    workspace.xtask("ci github").succeeds();
    let text = workspace.read(".github/workflows/release.yml");
    for words in ["cargo ship boot", "target/debug/ship\n", "chmod +x tool/ship && tool/ship sign dist"] {
        assert!(text.contains(words), "{words}: {text}");
    }

    // What no checkout has.
    let manifest = workspace.read("xtask/Cargo.toml");
    let outside = own_root().join("xtask");
    let by_path = manifest.replace("\"0.1\"", &format!("{{ path = \"{}\" }}", outside.display()));
    let workspace = workspace.write("xtask/Cargo.toml", &by_path);
    for line in ["ci github", "ci github --check", "ci gitlab --plan"] {
        let refused = workspace.xtask(line).ends_with(2).in_one_line();
        refused.says("ship depends on bpfship by the path ").says("which no checkout of this repository has");
    }
}

/// The jobs of a workflow, as JSON.
fn jobs(workspace: &Workspace, path: &str) -> Value {
    let script = "import json, sys; from ruamel.yaml import YAML; \
                  print(json.dumps(YAML(typ='safe').load(open(sys.argv[1]))['jobs']))";
    workspace.shell(&format!("python3 -c \"{script}\" {path}")).succeeds().json()
}

/// What a workflow's expressions are here. Secrets and tokens are where the workflow hands them over, and nowhere else.
fn filled(workspace: &Workspace, expression: &str) -> String {
    match expression {
        "${{ secrets.BPFSHIP_SIGNING_KEY }}" => workspace.read("../key"),
        "${{ github.token }}" => "a token".into(),
        "${{ github.repository }}" => "a/b".into(),
        "${{ steps.attest.outputs.bundle-path }}" => {
            workspace.path("..").canonicalize().unwrap().join("bundle").display().to_string()
        }
        other => panic!("a value for {other}"),
    }
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
                // What lies in a folder that is named, or the file, without the rights that it has.
                let (path, to) = (with("path"), format!("'{}/{}'", artifacts.display(), with("name")));
                let from = if path.ends_with('/') { format!("{path}.") } else { path };
                format!("mkdir -p {to} && cp -rL {from} {to} && chmod -R a-x+X {to}")
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
        let handed = [&job["env"], &step["env"]].into_iter().filter_map(Value::as_object).flatten();
        let handed = handed.map(|(name, value)| {
            format!("export {name}='{}'\n", filled(workspace, value.as_str().unwrap()).trim_end())
        });
        let handed: String = handed.collect();
        let run = workspace.shell(&format!(
            "{handed}export GITHUB_REF_NAME={tag} RUNNER_TEMP='{top}' GH_LOG='{top}/gh.log' && cd '{folder}' && bash -e '{top}/step' && echo 'it succeeds'"
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
    // Booting takes a mirror of Debian's packages: what it hands on is made up.
    assert_eq!(jobs["publish"]["needs"], json!(["dist", "rebuild", "boot", "tool"]));
    let handed_on = jobs["boot"]["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&handed_on["with"]["name"], &handed_on["with"]["path"]),
        (&json!("boots"), &json!("dist/boot-report.json"))
    );
    for name in ["dist", "rebuild", "tool", "publish"] {
        if name == "publish" {
            let report = boot_report(&workspace.read("../artifacts/dist/release.json"));
            fs::create_dir(workspace.path("../artifacts/boots")).unwrap();
            fs::write(workspace.path("../artifacts/boots/boot-report.json"), report).unwrap();
        }
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
    for file in ["SHA256SUMS.minisig", "attestation.sigstore.json", "boot-report.json", "boots.intoto.jsonl"] {
        assert!(create.contains(&format!(" dist/{file} ")), "{create}");
    }
    assert_eq!((heading, edit), ("## 0.3.0", "release edit v0.3.0 --draft=false"));
    assert!(asked.contains("- It ticks.") && !asked.contains("- It began."), "{asked}");
}
