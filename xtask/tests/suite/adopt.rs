//! Another workspace takes the tool from a git repository, and ships an application of its own with it.

use std::fs;
use std::path::Path;

use super::boot::can_boot_amd64;
use super::support::{Workspace, commit, own_root};

const MAIN: &str = r#"fn main() {
    println!("an object of {} bytes", hello_bpf::hello().len());
}
"#;

const PIN: &str = include_str!("../../../rust-toolchain.toml");

/// A package that was not prepared for this tool.
fn application() -> Workspace {
    let workspace = Workspace::empty("hello")
        .write(
            "Cargo.toml",
            "[package]\nname = \"hello\"\nversion = \"1.2.3\"\nedition = \"2024\"\nlicense = \"MIT\"\n",
        )
        .write("src/main.rs", "fn main() {}\n")
        .write("README.md", "Says hello.\n")
        .env("BPFSHIP_ENGINE", "host");
    commit(&workspace);
    workspace
}

/// What this tool's own repository would be, with the work tree committed. It stays in one place, so that cargo
/// compiles only what changed since the last run of this test.
fn repository() -> String {
    let tool = Workspace::copy_of_our_own("repository");
    let commit = "git init -q && git add -A && { git diff --cached --quiet HEAD 2>/dev/null ||
        git -c user.name=a -c user.email=a@b.invalid commit -qm now; }";
    tool.shell(commit).succeeds();
    format!("file://{}", tool.root.display())
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_workspace_that_takes_the_tool_from_git_ships_verifies_and_boots_its_application() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("adopter");
    let workspace = application().env("CARGO_TARGET_DIR", target.to_str().unwrap());
    workspace.xtask(&format!("init --tool '{}'", repository())).succeeds().says("next: cargo xtask bpf");
    let manifest = workspace.read("Cargo.toml");
    let workspace = workspace
        .write("Cargo.toml", &format!("{manifest}\n[dependencies]\nhello-bpf = {{ path = \"bpf\" }}\n"))
        .write("src/main.rs", MAIN)
        // The same versions as here, which are on this machine.
        .write("Cargo.lock", &fs::read_to_string(own_root().join("Cargo.lock")).unwrap());
    workspace.shell("cargo xtask bpf").succeeds();
    assert_eq!(workspace.list("bpf/objects"), ["hello_bpfeb.o", "hello_bpfel.o"]);
    commit(&workspace);
    workspace.shell("cargo xtask dist --locked --arch amd64").succeeds().says("hello-1.2.3-x86_64-unknown-linux-musl");
    workspace.shell("cargo xtask verify").succeeds().says("  ok  ");
    assert!(workspace.read("dist/release.json").contains("\"dirty\": false"));
    if can_boot_amd64() {
        workspace.shell("cargo xtask boot").succeeds().says("pass");
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_is_there_is_not_overwritten_and_a_second_time_adds_nothing() {
    let workspace = application()
        .write(".gitignore", "*.tmp\n")
        .write(".cargo/config.toml", "[alias]\nb = \"build\" # short\n")
        .write("kernel/tick.bpf.c", "int tick;\n")
        .write("rust-toolchain.toml", &format!("# Ours.\n{PIN}"));
    let tool = own_root();
    workspace.xtask(&format!("init --tool '{}'", tool.display())).succeeds().says_nothing_of("hello_bpf");
    assert_eq!(workspace.read(".gitignore"), "*.tmp\n/target/\n/dist/\n");
    assert!(workspace.read(".cargo/config.toml").contains("b = \"build\" # short"));
    assert!(workspace.read("rust-toolchain.toml").starts_with("# Ours.\n"));
    assert!(workspace.read("Cargo.toml").contains("[workspace.metadata.bpfship.bpf]\nfolder = \"kernel\""));
    assert_eq!(workspace.list("kernel"), ["tick.bpf.c"]);
    let everything = "find . -path ./.git -prune -o -type f -print | sort | xargs sha256sum";
    let before = workspace.shell(everything).text();
    workspace.xtask("init").succeeds().says("nothing is missing");
    assert_eq!(workspace.xtask("init --json").succeeds().json()["done"].as_array().map(Vec::len), Some(0));
    assert_eq!(workspace.shell(everything).text(), before);
}

#[test]
fn a_plan_of_init_is_a_script_that_does_the_same() {
    let [planned, done] = [application(), application()];
    let tool = own_root();
    planned.shell(&format!("\"$BPFSHIP\" init --plan --tool '{}' >../plan.sh", tool.display())).succeeds();
    assert_eq!(planned.list("."), [".git", "Cargo.toml", "README.md", "src"]);
    planned.shell("sh ../plan.sh").succeeds();
    done.xtask(&format!("init --tool '{}'", tool.display())).succeeds().says("next: cargo xtask bpf");
    done.xtask("init").succeeds().says("nothing is missing");
    for file in ["Cargo.toml", "xtask/Cargo.toml", "xtask/src/main.rs", "bpf/hello.bpf.c", ".cargo/config.toml"] {
        assert_eq!(planned.read(file), done.read(file), "{file}");
    }
}

#[test]
fn where_init_cannot_know_it_asks_in_one_sentence() {
    let workspace = application();
    workspace.xtask("init").ends_with(2).says("no package in").says("--tool").in_one_line();
    workspace.xtask("init --tool nowhere").ends_with(2).says("neither a git address nor a checkout").in_one_line();
    let key = "init --tool 'git = \"https://example.com/bpfship\"'";
    workspace.xtask(key).ends_with(2).says("--tool is the address alone").in_one_line();
    let tool = own_root();
    let init = format!("init --tool '{}'", tool.display());
    workspace.xtask(&format!("{init} --package hullo")).ends_with(2).says("those are hello").in_one_line();

    let workspace = workspace.write("src/main.rs", "").write("src/lib.rs", "");
    fs::remove_file(workspace.path("src/main.rs")).unwrap();
    workspace.xtask(&init).ends_with(2).says("has a binary to ship").in_one_line();
}

#[test]
fn init_finds_bpf_in_rust_and_starts_the_tool_past_a_runner() {
    let probes = "[package]\nname = \"hello-ebpf\"\nversion = \"0.1.0\"\n[dependencies]\naya-ebpf = \"0.2\"\n";
    // A member, or a package beside the workspace, which is known by its folder.
    for (key, folder) in [("members", "hello-ebpf"), ("exclude", "kernel/ebpf")] {
        let workspace = application()
            .write(".cargo/config.toml", "[target.\"cfg(all())\"]\nrunner = \"sudo -E\"\n")
            .write(&format!("{folder}/Cargo.toml"), probes)
            .write(&format!("{folder}/src/main.rs"), "")
            .write("tests/ebpf/Cargo.toml", probes)
            .write("tests/ebpf/src/main.rs", "");
        let manifest = workspace.read("Cargo.toml");
        let workspace = workspace.write("Cargo.toml", &format!("{manifest}[workspace]\n{key} = [\"{folder}\"]\n"));
        workspace.xtask(&format!("init --tool '{}'", own_root().display())).succeeds();
        let manifest = workspace.read("Cargo.toml");
        let named = format!("package = \"hello\"\n\n[workspace.metadata.bpfship.bpf]\nrust = [\"{folder}\"]\n");
        assert!(manifest.contains(&named), "{manifest}");
        // No example is added.
        assert!(!workspace.path("bpf").exists());
        let config = workspace.read(".cargo/config.toml");
        let past = "run --quiet --config target.'cfg(all())'.runner='env' --package xtask --";
        assert!(config.contains(past), "{config}");
        workspace.xtask("init").succeeds().says("nothing is missing");
    }
}

#[test]
fn init_takes_all_folders_of_sources() {
    let init = format!("init --tool '{}'", own_root().display());
    let workspace = application().write("a/x.bpf.c", "").write("a/in/z.bpf.c", "").write("b/y.bpf.c", "");
    workspace.xtask(&init).succeeds();
    assert!(workspace.read("Cargo.toml").contains("\nfolder = [\"a\", \"b\"]\n"), "{}", workspace.read("Cargo.toml"));
}

#[test]
fn a_workspace_without_bpf_or_with_a_build_script_for_it_gets_nothing_of_it() {
    let init = format!("init --tool '{}'", own_root().display());
    let keys = |workspace: &Workspace| {
        let manifest = workspace.read("Cargo.toml");
        let (_, keys) = manifest.split_once("[workspace.metadata.bpfship]\n").unwrap();
        keys.to_owned()
    };
    let none = application();
    none.xtask(&format!("{init} --no-example"))
        .succeeds()
        .says("next: cargo xtask dist")
        .says(".cargo/config.toml: the alias `xtask`")
        .says_nothing_of("xtask bpf");
    assert_eq!(keys(&none), "package = \"hello\"\n");
    assert!(!none.path("bpf").exists());
    none.xtask("init --no-example").succeeds().says("nothing is missing");

    // A folder of another kind, which objects would be looked for in.
    let other = application().write("bpf/notes.txt", "");
    other.xtask(&init).succeeds();
    assert_eq!(keys(&other), "package = \"hello\"\n\n[workspace.metadata.bpfship.bpf]\nfolder = []\n");

    let program = "#include <bpf/bpf_helpers.h>\n";
    let script = "fn main() { SkeletonBuilder::new().build_and_generate(std::env::var(\"OUT_DIR\")); }\n";
    let by_script = application().write("src/bpf/hello.bpf.c", program).write("build.rs", script);
    by_script.xtask(&init).succeeds().says("that no build script compiles").says("next: cargo xtask dist");
    by_script.xtask("init").succeeds().says("nothing is missing").says_nothing_of("no build script");
    assert_eq!(keys(&by_script), "package = \"hello\"\n");
    assert!(!by_script.read("xtask/Cargo.toml").contains("libbpf-sys"));
    let before = application().write("bpf/hello.bpf.c", program).write("build.rs", script);
    before.xtask(&init).succeeds();
    assert!(keys(&before).ends_with("\nfolder = []\n"));
    let without = Workspace::new("without", "package = \"tool\"\nbpf.folder = []\n").write("bpf/hello.bpf.c", program);
    without.xtask("bpf").ends_with(2).says("there are no BPF sources for this command").in_one_line();
    without.xtask("dist --plan --arch amd64").succeeds().says_nothing_of("hello.bpf.c");
}

#[test]
fn init_has_libbpf_s_headers_where_sources_include_them() {
    let init = format!("init --tool '{}'", own_root().display());
    let program = "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n";
    let workspace = application().write("bpf/hello.bpf.c", program);
    workspace.xtask(&init).succeeds().says("next: cargo xtask bpf");
    let manifest = workspace.read("xtask/Cargo.toml");
    assert!(manifest.contains("\n[target.'cfg(any())'.dependencies]\nlibbpf-sys = "), "{manifest}");
    workspace.xtask("init").succeeds().says("nothing is missing");
    // A package that is there is not written to.
    let (kept, _) = manifest.split_once("\n# Only for").unwrap();
    let workspace = workspace.write("xtask/Cargo.toml", kept);
    workspace.xtask("init").succeeds().says("next: add `libbpf-sys = ").says("of xtask: your BPF sources include");

    let own = application().write("bpf/hello.bpf.c", program).write("bpf/include/bpf/bpf_helpers.h", "");
    own.xtask(&init).succeeds();
    assert!(!own.read("xtask/Cargo.toml").contains("libbpf-sys"));
}
