//! `--builder cross`: what the program cross does besides starting a container cannot happen here. Each test is of one thing that
//! it does, and fails without what keeps it from that. Engines are stand-ins, which write down what they are told.

use std::fs;
use std::sync::OnceLock;

use super::support::{Workspace, list, rustup_home};

/// An image that the stand-in has.
const IMAGE: &str = "team/build@sha256:1111111111111111111111111111111111111111111111111111111111111111";

const DIST: &str = "dist --arch amd64 --builder cross --engine docker";

/// Writes down what it is told, and starts nothing.
const DOCKER: &str = r#"#!/bin/sh
case $1 in
version) echo 27.0 linux/amd64 2 ;;
image) echo sha256:1 linux/amd64 ;;
--help) echo docker ;;
run) printf '%s\n' "$@" >"$0.run"; echo 'the stand-in starts nothing' >&2; exit 125 ;;
*) echo "$*" >>"$0.others" ;;
esac
"#;

/// Says that it was called.
const CALLED: &str = "#!/bin/sh\necho \"$*\" >>\"$0.called\"\nexit 1\n";

fn with_docker(name: &str) -> Workspace {
    let config = format!("package = \"tool\"\nbpf.folder = \"kernel\"\ncontainer.image = \"{IMAGE}\"\n");
    let workspace = Workspace::new(name, &config);
    workspace.xtask("bpf").succeeds();
    workspace.program("docker", DOCKER).program("podman", "#!/bin/sh\nexit 1\n")
}

/// A cross that says that it is the pinned one, and does this.
fn with_cross(name: &str, script: &str) -> Workspace {
    let version = "if [ \"$1\" = --version ]; then echo cross 0.2.5; exit; fi";
    with_docker(name).program("cross", &format!("#!/bin/sh\n{version}\n{script}\n"))
}

/// What the real cross does in a workspace and an environment that would lead it astray.
struct Tried {
    workspace: Workspace,
    printed: String,
    /// What it told the engine to run.
    run: Vec<String>,
}

impl Tried {
    /// The values of a flag.
    fn values(&self, flag: &str) -> Vec<&str> {
        self.run.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1].as_str()).collect()
    }

    fn others(&self) -> String {
        fs::read_to_string(self.workspace.path("programs/docker.others")).unwrap_or_default()
    }
}

fn tried() -> &'static Tried {
    static TRIED: OnceLock<Tried> = OnceLock::new();
    TRIED.get_or_init(|| {
        // Where its own configuration is, it would have a toolchain installed, run a script with a network, and take
        // another image.
        let workspace = with_docker("real cross");
        let (manifest, lock) = (workspace.read("Cargo.toml"), workspace.read("Cargo.lock"));
        let root = "\n[package]\nname = \"root\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[package.metadata.cross.build]\n\
                    pre-build = [\"curl example.org\"]\n";
        let workspace = workspace
            .write("Cargo.toml", &format!("{manifest}{root}"))
            .write("src/lib.rs", "")
            .write("Cargo.lock", &lock.replacen("\n[[package]]", "\n[[package]]\nname = \"root\"\nversion = \"0.1.0\"\n\n[[package]]", 1))
            .write("Cross.toml", "[build]\nxargo = true\n[target.aarch64-unknown-linux-musl]\npre-build = 'true'\n")
            .env("CROSS_CONTAINER_OPTS", "--privileged")
            .env("CROSS_CONFIG", "/nowhere")
            .env("CROSS_REMOTE", "1")
            .env("CROSS_TARGET_X86_64_UNKNOWN_LINUX_MUSL_IMAGE", "other")
            .env("CROSS_BUILD_DOCKERFILE", "Dockerfile")
            .env("DOCKER_OPTS", "--privileged");
        // Has cross be in the cache before HOME is another.
        workspace.xtask(DIST).ends_with(1);
        let home = workspace.path("home").display().to_string();
        fs::create_dir_all(&home).unwrap();
        let cargo_home = workspace.path("cargo-home").display().to_string();
        let cache = bpfship::testing::Cache::find().unwrap().folder;
        let workspace = workspace
            .env("RUSTUP_HOME", &rustup_home())
            .env("HOME", &home)
            .env("CARGO_HOME", &cargo_home)
            .env("BPFSHIP_CACHE", cache.to_str().unwrap())
            .program("rustup", CALLED);
        let printed = workspace.xtask(DIST).ends_with(1).text();
        let run = workspace.read("programs/docker.run").lines().map(String::from).collect();
        Tried { workspace, printed, run }
    })
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn cross_installs_no_toolchain_and_no_component() {
    let tried = tried();
    let called = fs::read_to_string(tried.workspace.path("programs/rustup.called")).unwrap_or_default();
    assert_eq!(called, "");
    assert!(!tried.printed.contains("rustup "), "{}", tried.printed);
}

#[test]
fn cross_that_wants_a_toolchain_is_refused_one() {
    let script = "rustup toolchain add stable --profile minimal; echo \"it ended with $?\"; exit 1";
    with_cross("toolchain", script)
        .xtask(DIST)
        .ends_with(1)
        .says("rustup toolchain add stable --profile minimal: cross may change no toolchain")
        .says("it ended with 97");
}

#[test]
fn cross_that_falls_back_to_the_host_builds_nothing_there() {
    with_cross("fallback", "exec cargo \"$@\"")
        .xtask(DIST)
        .ends_with(1)
        .says("cargo build --release ")
        .says(": cross may build nothing on this machine")
        .says("cross made no container");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_cross_leaves_without_a_container_is_not_taken() {
    // It takes the machine's own cargo by its path, succeeds, and says nothing.
    let cargo = "unset RUSTC; PATH=${PATH#*:} exec cargo \"$@\" --target-dir \"$CARGO_HOME/../../../build\"";
    let workspace = with_cross("silent", cargo);
    workspace.xtask(DIST).ends_with(1).says("cross made no container, so nothing that it left is taken");
    assert!(workspace.path("target/bpfship/cross/build/x86_64-unknown-linux-musl/release/probe").exists());
    assert!(!workspace.path("dist/release.json").exists());
    with_cross("nothing", "exit 0").xtask(DIST).ends_with(1).says("cross made no container");
    // A file of an earlier container proves nothing.
    let workspace = with_cross("earlier", "exit 0").write("target/bpfship/cross/stage/container-id", "0123");
    workspace.xtask(DIST).ends_with(1).says("cross made no container");
}

#[test]
fn a_container_that_is_not_started_is_said_to_be_so() {
    let run = with_docker("not started").xtask(&DIST.replace("cross", "container")).ends_with(1);
    run.says("the stand-in starts nothing")
        .says("the container was not started, for the reason above; a daemon on another");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn cross_pulls_no_image_and_takes_no_other_and_makes_none() {
    let tried = tried();
    assert_eq!(tried.values("--pull"), ["never"]);
    assert!(tried.run.contains(&IMAGE.to_owned()) && !tried.run.contains(&"other".to_owned()), "{:?}", tried.run);
    assert!(tried.others().lines().all(|line| line.starts_with("rm ")), "{}", tried.others());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn cross_mounts_to_be_written_nothing_but_empty_folders_of_ours() {
    let tried = tried();
    let stage = tried.workspace.path("target/bpfship/cross/stage").display().to_string();
    let mounts = tried.values("-v");
    assert!(mounts.len() >= 5, "{mounts:?}");
    for mount in mounts {
        // Also SELinux would give them another label. What has no source of this machine's is a volume.
        assert!(mount.starts_with(&format!("{stage}/")) || mount == "/cargo/bin", "{mount}");
    }
    let files = |folder: &str| list(&tried.workspace.path(&format!("target/bpfship/cross/stage/{folder}")));
    assert_eq!(
        (files("project"), files("empty/target"), files("empty/xargo")),
        (vec!["Cargo.toml".into()], vec![], vec![])
    );
    let written: Vec<&str> =
        tried.values("--mount").into_iter().filter(|mount| !mount.ends_with(",readonly")).collect();
    assert!(written.len() == 1 && written[0].contains("/target/bpfship/cross/build,"), "{written:?}");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn cross_is_sealed_as_every_container_is() {
    let tried = tried();
    for (flag, value) in [("--network", "none"), ("--cap-drop", "ALL"), ("--entrypoint", "/rust/bin/first")] {
        assert_eq!(tried.values(flag), [value], "{flag}");
    }
    assert_eq!(tried.values("--security-opt"), ["no-new-privileges", "label=disable"]);
    for flag in ["--read-only", "--cidfile"] {
        assert!(tried.run.iter().any(|word| word == flag), "{flag}");
    }
    for word in ["--privileged", "host"] {
        assert!(!tried.run.iter().any(|it| it == word), "{word}");
    }
    // What it runs in there is what the tool runs.
    let command = tried.run.last().unwrap();
    assert!(command.starts_with("PATH=$PATH:/rust/bin cargo build --release --locked --offline"), "{command}");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn cross_makes_nothing_in_the_user_s_folders() {
    let tried = tried();
    assert!(!list(&tried.workspace.path("home")).contains(&".xargo".to_owned()));
    assert!(!tried.workspace.path("cargo-home/bin").exists());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_the_user_says_to_cross_is_named_with_what_becomes_of_it() {
    let printed = &tried().printed;
    for words in [
        "CROSS_CONTAINER_OPTS in the environment has no effect: ",
        "CROSS_CONFIG in the environment has no effect: ",
        "CROSS_REMOTE in the environment has no effect: ",
        "CROSS_TARGET_X86_64_UNKNOWN_LINUX_MUSL_IMAGE in the environment has no effect: name the image by ",
        "CROSS_BUILD_DOCKERFILE in the environment has no effect: ",
        "DOCKER_OPTS in the environment has no effect: ",
        "`build.xargo` in Cross.toml has no effect: where the standard library comes from",
        "`target.aarch64-unknown-linux-musl.pre-build` in Cross.toml has no effect: nothing is run in the image",
        "`build.pre-build` in [package.metadata.cross] of Cargo.toml has no effect: nothing is run in the image",
    ] {
        assert!(printed.contains(words), "it does not say {words:?}, but\n{printed}");
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn cross_says_nothing_misleading_of_a_standard_library() {
    let printed = &tried().printed;
    assert!(printed.contains("the stand-in starts nothing"), "{printed}");
    assert!(!printed.contains("rust-std") && !printed.contains("build-std="), "{printed}");
}

#[test]
fn a_cross_of_another_version_is_not_taken() {
    for (version, found) in
        [("0.2.4", "cross 0.2.4"), ("0.2.5 (0123abc 2024-01-01)", "cross 0.2.5 (0123abc 2024-01-01)")]
    {
        let workspace = with_docker("other version").program("cross", &format!("#!/bin/sh\necho 'cross {version}'\n"));
        workspace
            .xtask(&format!("{DIST} --plan"))
            .succeeds()
            .says(&format!("/programs/cross is not taken, for cross 0.2.5 is pinned here: {found}"));
    }
    let workspace = with_cross("own", "exit 1");
    let own = workspace.path("programs/cross").display().to_string();
    workspace.xtask(&format!("{DIST} --plan")).succeeds().says(&format!("{own} build --release --locked"));
}

#[test]
fn without_a_network_cross_has_to_be_there() {
    let workspace = with_docker("offline");
    let cache = workspace.path("cache").display().to_string();
    workspace
        .env("BPFSHIP_CACHE", &cache)
        .xtask(&format!("{DIST} --offline"))
        .ends_with(1)
        .says("--offline, but this is missing: cross 0.2.5 (from crates.io, by cargo)");
}

#[test]
fn an_image_in_cross_toml_is_taken_by_its_digest_only() {
    let target = "[target.x86_64-unknown-linux-musl]\nimage = ";
    let workspace = with_cross("tag", "exit 1").write("Cross.toml", &format!("{target}\"team/cross:1\"\n"));
    workspace.xtask(DIST).ends_with(2).says(
        "`target.x86_64-unknown-linux-musl.image` in Cross.toml is `team/cross:1`; NAME@sha256:DIGEST is expected",
    );
    let image = IMAGE.replace("team/build", "team/cross");
    let workspace = workspace.write("Cross.toml", &format!("{target}\"{image}\"\n"));
    let plan = workspace.xtask(&format!("{DIST} --plan")).succeeds();
    let plan = plan.says(&format!("in the image {image}, whose compiler compiles their C code")).text();
    assert!(plan.contains(&format!("image = \"{image}\"")) && !plan.contains(IMAGE), "{plan}");
}
