//! Habits of this codebase that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};

use bpfship::testing::{ARCHES, Arch};

use super::support::{follow_links, knows_the_commands, list, own_root};

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for name in list(folder) {
        let path = folder.join(&name);
        if path.is_dir() && name != "target" {
            rust_files(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

fn all_rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for part in ["app", "bpf", "xtask"] {
        rust_files(&own_root().join(part), &mut files);
    }
    files
}

#[test]
fn every_file_says_at_its_top_what_it_is() {
    for file in all_rust_files() {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not begin with //!", file.display());
    }
}

#[test]
fn processes_are_started_in_one_place() {
    for file in all_rust_files().iter().filter(|file| file.starts_with(own_root().join("xtask/src"))) {
        if !file.ends_with("sys/process.rs") {
            let text = fs::read_to_string(file).unwrap();
            assert!(!text.contains("process::Command") && !text.contains("xshell::"), "{}", file.display());
        }
    }
}

/// It ships any application that its configuration names.
#[test]
fn the_tool_does_not_know_the_application() {
    for file in all_rust_files().iter().filter(|file| file.starts_with(own_root().join("xtask/src"))) {
        assert!(!fs::read_to_string(file).unwrap().contains("exectrace"), "{}", file.display());
    }
}

#[test]
fn the_table_in_the_readme_is_the_one_in_the_code() {
    let readme = fs::read_to_string(own_root().join("README.md")).unwrap();
    let mut table = String::from(
        "| `--arch` | Rust target | byte order | bits | std | oldest processor checked | runs on |\n|---|---|---|---|---|---|---|\n",
    );
    for Arch { name, triple, endian, bits, route, oldest_cpu, machines, .. } in &ARCHES {
        let endian = endian.name();
        table += &format!("| `{name}` | `{triple}` | {endian} | {bits} | {route} | `{oldest_cpu}` | {machines} |\n");
    }
    assert!(readme.contains(&table), "README.md wants this table:\n{table}");
}

#[test]
fn a_command_of_the_documentation_is_one_that_exists() {
    for page in ["README.md", "docs/commands.md"] {
        knows_the_commands(&fs::read_to_string(own_root().join(page)).unwrap());
    }
}

#[test]
fn a_file_that_the_architecture_names_is_there() {
    let root = own_root();
    let files = all_rust_files();
    let text = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let is_path = |word: &&str| (word.ends_with(".rs") || word.ends_with('/')) && !word.contains(' ');
    let names: Vec<&str> = text.split(['`', ' ', ',', '\n']).filter(is_path).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let is_there =
            ["", "xtask/src", "xtask/src/workspace"].iter().any(|folder| root.join(folder).join(name).exists());
        assert!(is_there || files.iter().any(|file| file.ends_with(name)), "{name}");
    }
}

/// Files of this extension, wherever they are in the repository.
fn files_of_kind(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) {
    for name in list(folder).into_iter().filter(|name| !["target", "dist", ".git"].contains(&name.as_str())) {
        let path = folder.join(&name);
        if path.is_dir() {
            files_of_kind(&path, extension, files);
        } else if name.ends_with(extension) {
            files.push(path);
        }
    }
}

#[test]
fn a_link_of_the_documentation_leads_somewhere() {
    let mut pages = Vec::new();
    files_of_kind(&own_root(), ".md", &mut pages);
    let followed: usize = pages.iter().map(|page| follow_links(page, &own_root())).sum();
    assert!(followed > 80, "{followed} links");
}

#[test]
fn a_test_that_the_documentation_names_is_one_that_exists() {
    let text = fs::read_to_string(own_root().join("docs/reproducible.md")).unwrap();
    let (_, table) = text.split_once("## What notices\n").expect("no table of tests");
    let table = table.split("\n## ").next().unwrap();
    let names: Vec<&str> = table.split('`').filter(|word| word.contains('_') && !word.contains(' ')).collect();
    assert!(names.len() > 10, "{names:?}");
    let sources: String = all_rust_files().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    for name in names {
        assert!(sources.contains(&format!("fn {name}()")), "there is no test {name}");
    }
}

#[test]
fn a_test_is_ignored_for_nothing_but_its_length_and_ci_runs_it() {
    for file in all_rust_files() {
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines().filter(|line| line.starts_with("#[ignore")) {
            assert_eq!(line, "#[ignore = \"long: --include-ignored runs it\"]", "{}", file.display());
        }
    }
    for page in [".ci/run", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(own_root().join(page)).unwrap();
        assert!(text.contains("cargo test --workspace -- --include-ignored"), "{page}");
    }
}
