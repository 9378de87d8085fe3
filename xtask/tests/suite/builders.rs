//! What compiles binaries: their bytes are the same, and a container is as tight as it says.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::c_code;
use super::engines::engines;
use super::support::{Run, Workspace, commit, has};

/// The builders that have a container.
const CONTAINED: [&str; 2] = ["container", "cross"];

/// Fails unless it runs where it can write nothing, reach nothing and see nothing of the machine.
const PROBE: &str = r#"use std::{env, fs, path::Path, process};

fn check(holds: bool, otherwise: &str) {
    if !holds {
        eprintln!("not tight: {otherwise}");
        process::exit(1);
    }
}

fn main() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let devices = fs::read_to_string("/proc/net/dev").unwrap();
    let names = devices.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    check(!Path::new("SECRET").exists(), "a file of the machine is seen");
    check(field("CapEff:").trim_start_matches('0').is_empty(), "capabilities");
    check(field("NoNewPrivs:") == "1", "privileges");
    check(names.clone().all(|name| name == "lo"), "a network");
    // What cross tells a build would have it find libraries of this machine.
    check(env::var("PKG_CONFIG_ALLOW_CROSS").is_err(), "a variable of cross's");
    for folder in [".", "/usr", &env::var("CARGO_HOME").unwrap(), "/"] {
        check(fs::write(Path::new(folder).join("written"), "").is_err(), folder);
    }
}
"#;

/// Whether packages of Debian's can be had, of which the image is made.
fn has_apt() -> bool {
    has(
        "apt",
        "it is part of Debian and its relatives",
        Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists(),
    )
}

/// The engines in which binaries can be built.
fn builders() -> Vec<&'static str> {
    if has_apt() { engines() } else { Vec::new() }
}

fn built(workspace: &Workspace, folder: &str) -> [String; 2] {
    ["SHA256SUMS", "release.json"].map(|name| workspace.read(&format!("{folder}/{name}")))
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn host_and_containers_give_the_same_bytes_with_c_code_too() {
    let workspace = c_code::workspace("builders");
    let dist = |builder: &str| {
        let to = builder.replace(' ', "");
        let run = workspace.xtask(&format!("dist --arch amd64,arm64 --builder {builder} --to {to}")).succeeds();
        run.says_nothing_of("warning");
        built(&workspace, &to)
    };
    let host = dist("host");
    for engine in builders() {
        for builder in CONTAINED {
            assert_eq!(dist(&format!("{builder} --engine {engine}")), host, "{builder} {engine}");
            // There is nothing to do now, and what is there is what was built in there.
            assert_eq!(dist(&format!("{builder} --engine {engine}")), host, "{builder} {engine}");
        }
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_build_in_a_container_can_write_nothing_and_reach_nothing_and_sees_nothing_else() {
    for (engine, builder) in builders().into_iter().flat_map(|engine| CONTAINED.map(|builder| (engine, builder))) {
        let workspace = Workspace::usual("tight");
        let secret = workspace.path("secret").display().to_string();
        let workspace = workspace.write("secret", "").write("tool/build.rs", &PROBE.replace("SECRET", &secret));
        let host = "not tight: a file of the machine is seen";
        workspace.xtask("dist --arch amd64 --builder host").ends_with(1).says(host);
        let dist = format!("dist --arch amd64 --builder {builder} --engine {engine}");
        workspace.xtask(&dist).succeeds();
        if builder == "cross" {
            continue;
        }

        let plan = workspace.xtask(&format!("{dist} --plan")).succeeds().text();
        let run = plan.lines().find(|line| line.contains(&format!("{engine} run "))).unwrap();
        let user = fs::metadata("/proc/self").map(|us| std::os::unix::fs::MetadataExt::uid(&us)).unwrap();
        for words in [
            "--network none --read-only --cap-drop ALL --security-opt no-new-privileges",
            "--pull never",
            &format!("--user {user}:"),
            " sha256:",
            "/bin/cargo build --release --locked --offline",
        ] {
            assert!(run.contains(words), "{words:?} is not in\n{run}");
        }
        let mounts = run.split_whitespace().filter(|word| word.contains("type=bind"));
        let written: Vec<&str> = mounts.filter(|mount| !mount.contains(",readonly")).collect();
        assert!(written.len() == 1 && written[0].contains("/target/bpfship/container/build"), "{written:?}");
        // Nothing is left of it.
        let name = run.split_whitespace().find(|word| word.starts_with("bpfship-build-")).unwrap();
        let left = format!("{engine} ps --all --format '{{{{.Names}}}}'");
        workspace.shell(&left).succeeds().says_nothing_of(name);
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_rebuild_may_use_another_builder() {
    let Some(engine) = builders().pop() else { return };
    let workspace = Workspace::usual("rebuilt elsewhere").write(".gitignore", "target\ndist\n");
    workspace.xtask("bpf").succeeds();
    commit(&workspace);
    workspace.xtask("dist --arch amd64").succeeds();
    workspace.xtask("rebuild --builder container --plan").succeeds().says(" --builder container");
    workspace.xtask("rebuild --builder cross --plan").succeeds().says(" --builder cross");
    let workspace = workspace.env("BPFSHIP_ENGINE", engine);
    workspace.xtask("rebuild --builder container").succeeds().says("  ok  built again");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_lock_pins_the_image_to_its_id_and_each_package_to_its_hash() {
    let Some(engine) = builders().first().copied() else { return };
    let workspace = Workspace::usual("locked");
    let dist = format!("dist --arch amd64 --builder container --engine {engine}");
    workspace.xtask(&dist).succeeds();
    let image = |workspace: &Workspace| {
        let plan = workspace.xtask(&format!("{dist} --plan")).succeeds().text();
        plan.split(['\'', ' ']).find(|word| word.starts_with("sha256:")).unwrap().to_owned()
    };
    let usual = image(&workspace);
    let cache = bpfship::testing::Cache::find().unwrap();
    let entry = bpfship::testing::recipe::usual().unwrap().entry();
    let lock = fs::read_to_string(cache.path(&entry).join("builder.lock")).unwrap();
    assert!(lock.contains(&format!("image {usual}\n")), "{lock}");

    // Made once more, of the same packages, it is the same.
    let workspace = workspace.write("builder.lock", &lock);
    workspace.xtask(&dist).succeeds();
    assert_eq!(image(&workspace), usual);

    let dash = lock.lines().find(|line| line.starts_with("package dash ")).unwrap();
    let (before, sha256) = dash.rsplit_once(' ').unwrap();
    let workspace = workspace.write("builder.lock", &lock.replace(sha256, &"0".repeat(64)));
    workspace.xtask(&dist).ends_with(1).says("dash ").says(" has sha256 ").says(" in builder.lock");
    let old = format!("package dash 0.1 {sha256}");
    let workspace = workspace.write("builder.lock", &lock.replace(dash, &old));
    workspace.xtask(&dist).ends_with(1).says("the mirror does not have what builder.lock names any more");
    assert!(before.starts_with("package dash "));
    let workspace = workspace.write("builder.lock", "suite bookworm\n");
    workspace.xtask(&dist).ends_with(1).says("builder.lock: it is of Debian bookworm");
}

#[test]
fn what_is_wrong_with_the_configuration_of_a_builder_is_said() {
    let usual = "package = \"tool\"\nbpf.folder = \"kernel\"\n";
    for (config, words) in [
        ("builder = \"docker\"\n", "unknown variant `docker`, expected one of `host`, `container`, `cross`"),
        ("arch.arm65.builder = \"host\"\n", "`arch`"),
        ("container.packages = [\"perl=5\"]\n", "has `perl=5`; the name of a package of Debian's is expected"),
        ("container.image = \"team/build:1\"\n", "NAME@sha256:DIGEST is expected"),
        (
            "arch.arm64.image = \"team/build:1\"\n",
            "`image` in [workspace.metadata.bpfship.arch.arm64] of Cargo.toml is",
        ),
    ] {
        let workspace = Workspace::new("wrong", &format!("{usual}{config}"));
        workspace.xtask("dist --plan").ends_with(2).says(words).in_one_line();
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn each_architecture_may_have_a_builder_of_its_own() {
    let Some(engine) = builders().first().copied() else { return };
    let config = "package = \"tool\"\nbpf.folder = \"kernel\"\narch.arm64.builder = \"container\"\n";
    let workspace = Workspace::new("each", config);
    let plan = workspace.xtask(&format!("dist --arch amd64,arm64 --engine {engine} --plan")).succeeds().text();
    let builds: Vec<&str> =
        plan.lines().filter(|line| line.contains(" build --release ") && !line.contains("unit-graph")).collect();
    assert_eq!(builds.len(), 2, "{plan}");
    assert!(builds[0].contains("--target x86_64-") && !builds[0].contains(" run "), "{plan}");
    assert!(builds[1].contains("--target aarch64-") && builds[1].contains(&format!("{engine} run ")), "{plan}");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_folder_that_no_container_can_be_given_is_refused() {
    let Some(engine) = builders().first().copied() else { return };
    Workspace::usual("a,b")
        .xtask(&format!("dist --arch amd64 --builder container --engine {engine}"))
        .ends_with(2)
        .says("has a comma or a quotation mark in its path");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_build_in_a_container_that_is_interrupted_is_over() {
    for (engine, builder) in builders().into_iter().flat_map(|engine| CONTAINED.map(|builder| (engine, builder))) {
        let sleeps = "fn main() { std::thread::sleep(std::time::Duration::from_secs(600)); }";
        let workspace = Workspace::usual("interrupted").write("tool/build.rs", sleeps);
        workspace.xtask("bpf").succeeds();
        let dist = format!("dist --arch amd64 --builder {builder} --engine {engine}");
        let plan = workspace.xtask(&format!("{dist} --plan")).succeeds().text();
        let name = plan.split([' ', '\n', ')', '"']).find(|word| word.starts_with("bpfship-build-")).unwrap();
        let list = format!("{engine} ps --all --no-trunc --filter name={name} --format '{{{{.ID}}}}'");
        let containers = || workspace.shell(&list).succeeds().text();

        let begin = Instant::now();
        let child = workspace.command(&dist).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !is_sleeping(&workspace) {
            assert!(begin.elapsed() < Duration::from_secs(300), "the build never started");
            thread::sleep(Duration::from_millis(100));
        }
        assert!(!containers().is_empty());
        let signalled = Instant::now();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        Run::from_output(child.wait_with_output().unwrap()).ends_with(130).says("interrupted");
        // An engine that has to kill it waits for ten seconds before.
        assert!(signalled.elapsed() < Duration::from_secs(9), "{builder} {engine}: {:?}", signalled.elapsed());
        assert_eq!(containers(), "", "{builder} {engine}");
        assert!(!is_sleeping(&workspace), "{builder} {engine}");
        assert!(!workspace.path("dist/release.json").exists());
    }
}

/// Whether the build script of a workspace runs, in whatever container: it has the path that it has here.
fn is_sleeping(workspace: &Workspace) -> bool {
    let script = workspace.path("target/bpfship").display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut commands = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    commands.any(|command| command.starts_with(script.as_bytes()) && command.ends_with(b"/build-script-build\0"))
}

/// Calls the compiler that the machine calls so.
const BY_ANOTHER: &str = r#"fn main() {
    cc::Build::new().file("sum.c").flag("-DTHEIRS").compile("sum");
}
"#;

const SUM: &str = r#"#include <stdint.h>
#include <stdio.h>

int sum(const uint32_t *numbers, int count, char *text, size_t size) {
    int sum = 0;
    for (int i = 0; i < count; i++) sum += numbers[i];
    return snprintf(text, size, "%d by %s", sum, __VERSION__);
}
"#;

/// An image with a compiler for one architecture: Debian's gcc, in ours.
fn with_compiler(workspace: &Workspace, engine: &str) -> String {
    let dist = format!("dist --arch arm64 --builder container --engine {engine}");
    workspace.xtask(&dist).succeeds();
    let plan = workspace.xtask(&format!("{dist} --plan")).succeeds().text();
    let base = plan.split([' ', '\'']).find(|word| word.starts_with("sha256:")).unwrap().to_owned();
    let build = format!(
        "mkdir -p image && printf 'FROM {base}\\nENV CC_x86_64_unknown_linux_musl=gcc AR_x86_64_unknown_linux_musl=ar\\n' \
         >image/Containerfile && {engine} build -q --network none -t bpfship-test-cc -f image/Containerfile image >/dev/null && \
         {engine} image inspect --format '{{{{.Id}}}}' bpfship-test-cc"
    );
    let id = workspace.shell(&build).succeeds().without_lines("").text();
    format!("team/cc@sha256:{}", id.trim().rsplit(':').next().unwrap())
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_architecture_may_have_an_image_whose_compiler_compiles_its_c_code() {
    for engine in builders() {
        let workspace = c_code::workspace("own compiler").write("tool/build.rs", BY_ANOTHER).write("tool/sum.c", SUM);
        let image = with_compiler(&workspace, engine);
        let manifest = workspace.read("Cargo.toml");
        let key = format!("arch.amd64.image = \"{image}\"\n");
        let workspace = workspace.write("Cargo.toml", &format!("{manifest}{key}"));
        let complaint = "`image` in [workspace.metadata.bpfship.arch.amd64] of Cargo.toml is for builds in a container";
        workspace.xtask("dist --arch amd64").ends_with(2).says(complaint);

        let dist = |workspace: &Workspace, builder: &str| {
            let dist = format!("dist --arch amd64,arm64 --builder {builder} --engine {engine} --to {builder}");
            workspace
                .xtask(&dist)
                .succeeds()
                .says(&format!("in the image {image}, whose compiler compiles their C code"));
            built(workspace, builder)
        };
        let first = dist(&workspace, "container");
        assert_eq!(dist(&workspace, "cross"), first, "{engine}");
        let there: serde_json::Value = serde_json::from_str(&first[1]).unwrap();
        let of = |name: &str| there["artifacts"].as_array().unwrap().iter().find(|it| it["arch"] == name).unwrap();
        assert_eq!((of("amd64")["image"].as_str(), of("arm64").get("image")), (Some(image.as_str()), None));
        workspace.xtask("verify container").succeeds();
        // It runs, and says who compiled it.
        workspace.shell("cd container && tar xzf *x86_64*.gz && ./*x86_64*musl/probe").succeeds().says("42 by 1");

        let elsewhere = c_code::workspace("own compiler in another folder");
        let elsewhere = elsewhere.write("tool/build.rs", BY_ANOTHER).write("tool/sum.c", SUM);
        let elsewhere = elsewhere.write("Cargo.toml", &format!("{manifest}{key}"));
        assert_eq!(dist(&elsewhere, "container"), first, "{engine}");
    }
}
