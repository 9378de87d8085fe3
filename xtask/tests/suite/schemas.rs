//! What verbs print with --json, and the configuration, against the schemas in docs/schemas/.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::support::{Workspace, commit, has, own_root, python, released};

/// Checks a document against a schema in which every object has the keys that are described, and no others.
const CHECK: &str = r#"
import json, sys, jsonschema
def strict(schema):
    if isinstance(schema, dict):
        if "properties" in schema: schema.setdefault("additionalProperties", False)
        for value in schema.values(): strict(value)
    elif isinstance(schema, list):
        for value in schema: strict(value)
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
if sys.argv[2] == "strict": strict(schema)
error = jsonschema.exceptions.best_match(jsonschema.Draft7Validator(schema).iter_errors(json.load(sys.stdin)))
if error: sys.exit(f"{error.json_path}: {error.message}")
"#;

/// Why a document does not fit a schema, if it does not.
fn misfit(schema: &str, document: &str, how: &str) -> Option<String> {
    let file = own_root().join(format!("docs/schemas/{schema}.schema.json"));
    let mut python = Command::new("python3");
    python.args(["-c", CHECK]).arg(file).arg(how).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = python.spawn().unwrap();
    child.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// The schema of what a command line prints, if it prints JSON.
fn schema_of(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if !words.contains(&"--json") {
        return None;
    }
    let has = |word: &str| words.contains(&word);
    let verb = *words.iter().find(|word| !word.starts_with('-'))?;
    Some(match verb {
        _ if has("--plan") || has("--dry-run") => "plan".into(),
        "merge" => "dist".into(),
        "bpf" | "ci" if has("--check") => format!("{verb}-check"),
        "cache" if has("clean") => "cache-clean".into(),
        "deploy" if has("--status") => "deploy-status".into(),
        "doctor" if words.iter().any(|word| word.starts_with("--adopt")) => "doctor-adopt".into(),
        "sign" if has("--public") => "sign-public".into(),
        verb => verb.into(),
    })
}

/// Whoever runs the tool in a test with --json gets this checked, where python has jsonschema.
#[track_caller]
pub fn check(line: &str, printed: &str, succeeded: bool) {
    let Some(schema) = schema_of(line).filter(|_| python("jsonschema")) else { return };
    let misfit = match misfit(&schema, printed, "strict") {
        Some(_) if !succeeded => misfit("error", printed, "strict"),
        other => other,
    };
    assert!(misfit.is_none(), "{line}: {}\n{printed}", misfit.unwrap_or_default());
}

fn can_check() -> bool {
    has("jsonschema for python", "pip install check-jsonschema", python("jsonschema"))
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_verbs_print_as_json_is_what_the_schemas_describe() {
    if !can_check() {
        return;
    }
    // Each of these is checked as it is run, and so is every other run of these tests with --json.
    let workspace = released("schemas", "", &["amd64", "arm64"]);
    commit(&workspace);
    for line in [
        "kernels --json",
        "kernels --arch mips --json",
        "cache --json",
        "doctor --json",
        "doctor --adopt --json",
        "verify --json dist",
        "image --json",
        "image --plan --json",
        "cache clean --older-than 36500 --json",
        "cache clean --dry-run --json",
        "init --json",
        "emit systemd --json",
        "emit systemd --plan --json",
        "ci github --json",
        "ci gitlab --check --json",
        "vmlinux --json --output types.h",
        "dist --plan --json",
        "report --json nothing.o",
        "boot --json --kernel nowhere",
        "deploy --json",
        "frobnicate --json",
        "kernels --arch arm46 --json",
    ] {
        workspace.xtask(line);
    }
    for file in ["release", "boot-report"] {
        let text = match file {
            "release" => workspace.read("dist/release.json"),
            _ => r#"{ "schema": 3, "boots": [] }"#.into(),
        };
        assert_eq!(misfit(file, &text, "strict"), None);
        assert!(misfit(file, r#"{ "schema": 99 }"#, "strict").is_some());
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_error_is_json_with_json() {
    let workspace = Workspace::usual("errors");
    let error =
        workspace.xtask("report --json nothing.o").ends_with(2).says("error: there is no file nothing.o").json();
    assert_eq!((&error["error"], &error["code"]), (&"there is no file nothing.o".into(), &2.into()));
    let error = workspace.xtask("dist --target x --json").ends_with(2).json();
    assert!(error["error"].as_str().unwrap().contains("`--arch` names an architecture"), "{error}");
    // Not where the words are for someone else, or nobody asked for JSON.
    for line in ["dist --target x", "report nothing.o -- --json"] {
        let stdout = workspace.command(line).output().unwrap().stdout;
        assert_eq!(String::from_utf8_lossy(&stdout), "", "{line}");
    }
}

/// The keys of the schema are those of the parser, since it is written from it. Here: that it takes what the documentation shows.
#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_configuration_of_the_documentation_fits_its_schema() {
    if !can_check() {
        return;
    }
    let json = |toml: &str| serde_json::to_string(&toml.parse::<toml::Table>().unwrap()).unwrap();
    let page = fs::read_to_string(own_root().join("docs/configuration.md")).unwrap();
    let shown = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(misfit("configuration", &json(shown), "as it is"), None);
    for file in ["Cargo.toml", "xtask/Cargo.toml"] {
        let text = fs::read_to_string(own_root().join(file)).unwrap();
        assert_eq!(misfit("configuration", &json(&text), "as it is"), None, "{file}");
    }
    for (wrong, why) in [
        ("packge = \"x\"", "packge"),
        ("bpf.cpu = \"v9\"", "v9"),
        ("boot.timeout = \"long\"", "long"),
        ("deploy.service = 1", "1"),
        ("minimum-kernel = \"five\"", "five"),
    ] {
        for table in ["workspace", "package"] {
            let misfit = misfit("configuration", &json(&format!("[{table}.metadata.bpfship]\n{wrong}\n")), "as it is");
            assert!(misfit.as_ref().is_some_and(|misfit| misfit.contains(why)), "{wrong}: {misfit:?}");
        }
    }
}
