//! `dist`: what comes out, and that nothing that was there is lost.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::support::{Run, Workspace, can_mount, commit, rustup_home};

const ARCHIVE: &str = "tool-0.3.0-x86_64-unknown-linux-musl.tar.gz";

/// The files of an archive, by name.
fn unpack(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(archive).unwrap()));
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
    };
    tar.entries().unwrap().map(read).collect()
}

fn sha256(workspace: &Workspace, archive: &str) -> String {
    bpfship::testing::hash::file(&workspace.path("dist").join(archive)).unwrap().to_string()
}

#[test]
fn an_archive_has_what_a_user_needs_in_one_folder() {
    let workspace = Workspace::new(
        "archive",
        "package = \"tool\"\nbpf.folder = \"kernel\"\ninclude = [\"docs\", { path = \"doc/extra\", as = \"extra\" }]\n\
         arches = [\"amd64\"]\n",
    )
    .write("docs/man/probe.1", "A page.\n")
    .write("doc/extra/more", "More.\n")
    .write("LICENSE", "Do what you like.\n");
    workspace
        .xtask("dist")
        .succeeds()
        .says("compiling the BPF objects again: there is no kernel/bpf.lock")
        .says(ARCHIVE);
    assert_eq!(
        workspace.list("dist"),
        [
            "SHA256SUMS",
            "install.sh",
            "install.sh.sha256",
            "release.json",
            "tool-0.3.0-x86_64-unknown-linux-musl.cdx.json",
            ARCHIVE,
            &format!("{ARCHIVE}.sha256")
        ]
    );

    let files = unpack(&workspace.path("dist").join(ARCHIVE));
    let top = "tool-0.3.0-x86_64-unknown-linux-musl";
    let names: Vec<&str> = files.keys().map(|name| name.strip_prefix(top).unwrap()).collect();
    assert_eq!(
        names,
        [
            "/",
            "/COPYRIGHT-library.html",
            "/LICENSE",
            "/README.md",
            "/THIRD-PARTY-LICENSES.txt",
            "/docs/",
            "/docs/man/",
            "/docs/man/probe.1",
            "/extra/",
            "/extra/more",
            "/probe"
        ]
    );
    let licenses = String::from_utf8_lossy(&files[&format!("{top}/THIRD-PARTY-LICENSES.txt")]);
    for word in ["Rust standard library", "musl libc: MIT", "Rich Felker", "Apache License"] {
        assert!(licenses.contains(word), "{word} is not in\n{licenses}");
    }

    fs::write(workspace.path("unpacked"), &files[&format!("{top}/probe")]).unwrap();
    workspace.shell("chmod +x unpacked && ./unpacked").succeeds().says("probe of").says("commit None");
    workspace.shell("cd dist && sha256sum -c SHA256SUMS && sha256sum -c *.sha256").succeeds();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_manifest_contains_the_artifacts_and_their_origin() {
    let workspace = Workspace::usual("manifest-json");
    let result = workspace.xtask("dist --arch amd64 --json").succeeds().json();
    let text = workspace.read("dist/release.json");
    let manifest: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest["schema"], 3);
    assert_eq!(manifest["commit"], Value::Null);
    assert_eq!(manifest["source_date_epoch"], 1_700_000_000);
    assert_eq!(manifest["bpf_objects"].as_array().unwrap().len(), 2);
    assert!(manifest["flags"].as_array().unwrap().is_sorted_by_key(Value::as_str));
    let artifact = &manifest["artifacts"][0];
    for field in ["arch", "file", "sha256", "binaries"] {
        assert_eq!(result["artifacts"][0][field], artifact[field]);
    }
    assert!(result["schema"] == 1 && result["artifacts"][0]["seconds"].is_number(), "{result}");
    assert_eq!(artifact["arch"], "amd64");
    assert_eq!(artifact["std"], "prebuilt");
    assert_eq!(artifact["sha256"], sha256(&workspace, ARCHIVE));
    let top = ARCHIVE.strip_suffix(".tar.gz").unwrap();
    let binary = &unpack(&workspace.path("dist").join(ARCHIVE))[&format!("{top}/probe")];
    assert_eq!(artifact["binaries"][0]["sha256"], bpfship::testing::hash::bytes(binary).to_string());
    assert_eq!(artifact["binaries"][0]["size"], binary.len());
    assert!(!text.contains(workspace.root.to_str().unwrap()), "the manifest contains a path:\n{text}");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn two_runs_leave_checksums_and_manifest_of_both() {
    let workspace = Workspace::usual("both");
    workspace.xtask("dist --arch arm64").succeeds();
    fs::write(workspace.path("dist/tool-0.2.9-x86_64-unknown-linux-musl.tar.gz"), "of another version").unwrap();
    workspace.xtask("dist --arch amd64").succeeds();
    // For the estimate of the next ones.
    let durations: Value =
        serde_json::from_str(&workspace.read("target/bpfship/build/bpfship-durations.json")).unwrap();
    for triple in ["aarch64-unknown-linux-musl", "x86_64-unknown-linux-musl"] {
        assert!(durations[triple][triple].as_f64().unwrap() > 0.0, "{durations}");
    }

    let sums = workspace.read("dist/SHA256SUMS");
    let names: Vec<&str> = sums.lines().map(|line| line.split_once("  ").unwrap().1).collect();
    let archives: Vec<&str> = names.iter().copied().filter(|name| name.ends_with(".tar.gz")).collect();
    assert_eq!((archives, names.len()), (vec!["tool-0.3.0-aarch64-unknown-linux-musl.tar.gz", ARCHIVE], 6));
    let manifest: Value = serde_json::from_str(&workspace.read("dist/release.json")).unwrap();
    let arches: Vec<&Value> =
        manifest["artifacts"].as_array().unwrap().iter().map(|artifact| &artifact["arch"]).collect();
    assert_eq!(arches, ["arm64", "amd64"]);
    assert_eq!(workspace.read("dist/tool-0.2.9-x86_64-unknown-linux-musl.tar.gz"), "of another version");

    // One that is not what the manifest says any more is not vouched for.
    fs::write(workspace.path("dist/tool-0.3.0-aarch64-unknown-linux-musl.tar.gz"), "altered").unwrap();
    workspace.xtask("dist --arch amd64").succeeds().says("not in release.json: arm64, altered since it was built");
    let manifest: Value = serde_json::from_str(&workspace.read("dist/release.json")).unwrap();
    assert_eq!(manifest["artifacts"].as_array().unwrap().len(), 1);
    assert_eq!(workspace.read("dist/SHA256SUMS").lines().count(), 4);
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn objects_that_are_not_up_to_date_are_refused_with_locked_and_made_without() {
    let workspace = Workspace::usual("stale");
    workspace.xtask("bpf").succeeds();
    let workspace = workspace.write("kernel/include/answer.h", "#define ANSWER 43\n");
    workspace
        .xtask("dist --arch amd64 --locked")
        .ends_with(1)
        .says("kernel/include/answer.h changed; run `cargo xtask bpf`")
        .in_one_line();
    workspace
        .xtask("dist --arch amd64")
        .succeeds()
        .says("compiling the BPF objects again: kernel/include/answer.h changed");
    workspace.xtask("dist --arch amd64 --locked").succeeds().says_nothing_of("compiling the BPF");

    fs::write(workspace.path("kernel/objects/tick_bpfel.o"), "altered").unwrap();
    workspace.xtask("dist --arch amd64 --locked").ends_with(1).says("kernel/objects/tick_bpfel.o was altered");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_build_is_deaf_to_the_settings_of_the_user() {
    let plain = Workspace::usual("plain");
    plain.shell("chmod 755 README.md && \"$BPFSHIP\" dist --arch amd64").succeeds();

    let home = plain.path("cargo-home");
    fs::create_dir_all(&home).unwrap();
    let hostile = "[build]\nrustflags = ['-Cdebug-assertions']\n
[target.x86_64-unknown-linux-musl]\nrustflags = ['-Ctarget-cpu=native', '-Copt-level=0']\nlinker = '/bin/false'\n
[profile.release]\nopt-level = 0\noverflow-checks = true\nlto = false\n
[profile.release.package.'*']\nopt-level = 1\n
[env]\nBPFSHIP_COMMIT = 'forged'\n";
    fs::write(home.join("config.toml"), hostile).unwrap();
    let deaf = Workspace::usual("deaf/a folder above")
        .write("../.cargo/config.toml", &hostile.replace("opt-level = 0", "opt-level = 2"))
        .env("CARGO_HOME", home.to_str().unwrap())
        .env("RUSTFLAGS", "-Copt-level=1")
        .env("CARGO_ENCODED_RUSTFLAGS", "-Copt-level=1")
        .env("CARGO_BUILD_RUSTFLAGS", "-Copt-level=1")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "7")
        .env("CARGO_INCREMENTAL", "1")
        .env("BPFSHIP_COMMIT", "forged")
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("TZ", "Asia/Kathmandu")
        .env("HOME", "/nonexistent")
        .env("BPFSHIP_CACHE", bpfship::testing::Cache::find().unwrap().folder.to_str().unwrap())
        .env("RUSTUP_HOME", &rustup_home());
    deaf.shell("umask 077 && chmod 700 README.md && \"$BPFSHIP\" dist --arch amd64").succeeds();
    assert_eq!(sha256(&deaf, ARCHIVE), sha256(&plain, ARCHIVE));
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_profile_of_the_workspace_cannot_make_a_binary_of_another_kind() {
    const FAT: &str = "[profile.release]\nlto = 'fat'\npanic = 'abort'\nstrip = true\n";
    let [usual, other] = [FAT, ""].map(|profile| {
        let workspace = Workspace::usual("profile");
        let manifest = workspace.read("Cargo.toml");
        let workspace = workspace.write("Cargo.toml", &format!("{manifest}\n{profile}"));
        workspace.xtask("dist --arch amd64").succeeds();
        sha256(&workspace, ARCHIVE)
    });
    assert_eq!(usual, other);
    let workspace = Workspace::usual("unwinding");
    let manifest = workspace.read("Cargo.toml") + "\n[profile.release]\ndebug = true\n";
    let workspace = workspace.write("Cargo.toml", &manifest);
    workspace.xtask("dist --arch amd64").succeeds().says("is true, but what is shipped is built with debug = false");
    assert_eq!(sha256(&workspace, ARCHIVE), usual);
    let workspace = workspace.write("Cargo.toml", &manifest.replace("debug = true", "panic = 'unwind'"));
    workspace.xtask("dist").ends_with(2).says("built with panic = 'abort': leave it out").in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_target_that_does_not_compile_is_named_and_dist_is_as_it_was() {
    let workspace = Workspace::usual("failing");
    workspace.xtask("dist --arch amd64").succeeds();
    let before = workspace.read("dist/SHA256SUMS");
    let main = workspace.read("tool/main.rs");
    let fails = format!("{main}\n#[cfg(target_arch = \"aarch64\")]\ncompile_error!(\"no arms here\");\n");
    let workspace = workspace.write("tool/main.rs", &fails);
    workspace
        .xtask("dist --arch amd64 --arch arm64")
        .ends_with(1)
        .says("no arms here")
        .says("nothing was written to dist/, because this failed:\n  arm64: cannot build `tool`, for the reason above")
        .says_nothing_of("amd64: cargo could not");
    assert_eq!(workspace.read("dist/SHA256SUMS"), before);
    assert_eq!(workspace.list("dist").len(), 7);
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_binary_without_its_bpf_object_is_not_shipped() {
    let workspace = Workspace::usual("no-object").write("tool/main.rs", "fn main() {}\n");
    workspace
        .xtask("dist --arch amd64")
        .ends_with(1)
        .says("must not be shipped: it has no section .bpf.tick with the BPF object tick");
    assert!(workspace.list("dist").is_empty());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_binary_that_contains_a_path_of_this_machine_is_not_shipped() {
    let workspace = Workspace::usual("path");
    let main = workspace.read("tool/main.rs");
    let leaks = main.replace("fn main() {", "fn main() { println!(\"{}\", env!(\"CARGO_MANIFEST_DIR\"));");
    let workspace = workspace.write("tool/main.rs", &leaks);
    workspace.xtask("dist --arch amd64").ends_with(1).says("it contains a path of this machine");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_full_disk_leaves_dist_as_it_was() {
    if !can_mount() {
        return;
    }
    Workspace::usual("full")
        .shell_with_mounts(
            "mkdir dist && mount -t tmpfs -o size=32k none dist && echo before > dist/SHA256SUMS
            \"$BPFSHIP\" dist --arch amd64; code=$?; ls -A dist; cat dist/SHA256SUMS; exit $code",
        )
        .ends_with(1)
        .says("cannot write")
        .says("No space left on device")
        .says("SHA256SUMS\nbefore\n")
        .says_nothing_of(".tar.gz\n");
}

#[test]
fn a_read_only_dist_is_found_before_anything_is_built() {
    if !can_mount() {
        return;
    }
    let workspace = Workspace::usual("read-only");
    workspace
        .shell_with_mounts("mkdir dist && mount -t tmpfs -o ro none dist && \"$BPFSHIP\" dist --arch amd64")
        .ends_with(1)
        .says("cannot write to")
        .says("Read-only file system")
        .in_one_line();
    assert!(!workspace.path("target/bpfship/build").exists());
}

/// Starts a build that takes minutes, and waits until it is under way.
fn start_slow_build(workspace: &Workspace) -> Child {
    let mut command = workspace.command("dist --arch amd64");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(300);
    while !workspace.path("started").exists() {
        assert!(Instant::now() < deadline, "the build never started");
        thread::sleep(Duration::from_millis(50));
    }
    child
}

/// Processes whose programs are in the workspace.
fn running_in(workspace: &Workspace) -> usize {
    let processes = fs::read_dir("/proc").unwrap();
    let program = |entry: fs::DirEntry| fs::read_link(entry.path().join("exe")).ok();
    processes.filter_map(|entry| program(entry.ok()?)).filter(|program| program.starts_with(&workspace.root)).count()
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_interrupted_run_leaves_nothing_behind() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let workspace = Workspace::usual("interrupted");
        workspace.xtask("bpf").succeeds();
        let started = workspace.path("started");
        let script = format!(
            "fn main() {{ std::fs::write({started:?}, \"\").unwrap(); std::thread::sleep(std::time::Duration::from_secs(600)); }}"
        );
        let workspace = workspace.write("tool/build.rs", &script).write("dist/SHA256SUMS", "before\n");
        let child = start_slow_build(&workspace);
        assert!(running_in(&workspace) > 0);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        Run::from_output(output).ends_with(code).says("interrupted");
        assert_eq!(workspace.list("dist"), ["SHA256SUMS"]);
        let deadline = Instant::now() + Duration::from_secs(20);
        while running_in(&workspace) > 0 {
            assert!(Instant::now() < deadline, "the build goes on");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_second_run_in_the_same_workspace_waits_for_the_first() {
    let workspace = Workspace::usual("twice");
    let mut runs: Vec<Child> = (0..2)
        .map(|_| workspace.command("dist --arch amd64").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    let texts: String =
        runs.drain(..).map(|run| Run::from_output(run.wait_with_output().unwrap()).succeeds().text()).collect();
    assert!(texts.contains("waiting for another run"), "{texts}");
    workspace.shell("cd dist && sha256sum -c SHA256SUMS").succeeds();
}

/// A workspace that needs a crate `dep`.
fn with_dependency(name: &str) -> Workspace {
    let workspace = Workspace::usual(name);
    let manifest = workspace.read("tool/Cargo.toml");
    let main = workspace.read("tool/main.rs");
    workspace
        .write("tool/Cargo.toml", &format!("{manifest}\n[dependencies]\ndep = \">=0.1\"\n"))
        .write("tool/main.rs", &main.replace("fn main() {", "fn main() { dep::f(&OBJECT, std::env::args().count());"))
}

/// Has it find a version of that in a `folder` of vendored crates, beside the workspace.
fn vendored(workspace: Workspace, folder: &str, krate: &str, version: &str) -> Workspace {
    const CHECKSUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";
    let krate = format!("../{folder}/{krate}");
    workspace
        .write(
            &format!("{krate}/Cargo.toml"),
            &format!("[package]\nname = \"dep\"\nversion = \"{version}\"\nlicense = \"MIT\"\n"),
        )
        .write(&format!("{krate}/src/lib.rs"), "pub fn f(x: &[u8], i: usize) -> u8 { x[i] }\n")
        .write(&format!("{krate}/.cargo-checksum.json"), &format!("{{\"files\":{{}},\"package\":\"{CHECKSUM}\"}}"))
        .write(
            ".cargo/config.toml",
            &format!("[source.crates-io]\nreplace-with = 'v'\n[source.v]\ndirectory = '../{folder}'\n"),
        )
        .write(
            "Cargo.lock",
            &format!(
                "version = 4\n\n[[package]]\nname = \"dep\"\nversion = \"{version}\"\n\
                 source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{CHECKSUM}\"\n\n\
                 [[package]]\nname = \"tool\"\nversion = \"0.3.0\"\ndependencies = [\n \"dep\",\n]\n"
            ),
        )
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_vendored_crate_gives_the_same_bytes_wherever_it_lies_and_whatever_was_there_before() {
    let shipped = |workspace: &Workspace| {
        workspace.xtask("dist --arch amd64").succeeds();
        sha256(workspace, ARCHIVE)
    };
    // `cargo vendor` can name folders in both ways.
    let here = vendored(with_dependency("here"), "vendor", "dep-0.1.0", "0.1.0");
    let there = vendored(with_dependency("there"), "a folder/of crates", "dep", "0.1.0");
    let older = shipped(&here);
    assert_eq!(older, shipped(&there));
    // What is known of a workspace's crates is kept, and must not outlive what it depends on.
    let here = vendored(here, "moved", "dep", "0.1.0");
    assert_eq!(older, shipped(&here));
    let here = vendored(here, "moved", "dep", "0.2.0");
    let there = vendored(with_dependency("without a past"), "vendor", "dep", "0.2.0");
    assert_eq!(shipped(&here), shipped(&there));
}

#[test]
fn what_cannot_be_packed_is_refused_before_anything_is_built() {
    let workspace = Workspace::new("unpackable", "package = \"tool\"\nbpf.folder = \"kernel\"\ninclude = [\"docs\"]\n")
        .write(".gitignore", "/docs\n/target\n/dist\n")
        .write("docs/probe.md", "A page.\n");
    commit(&workspace);
    workspace
        .xtask("dist --arch amd64")
        .ends_with(2)
        .says("names `docs`, which is ignored by git (.gitignore:1), so no clone has it")
        .in_one_line();
    assert!(!workspace.path("kernel/bpf.lock").exists() && !workspace.path("dist").exists());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_git_ignores_is_not_shipped_and_what_is_not_committed_is_reported() {
    let workspace = Workspace::new("git", "package = \"tool\"\nbpf.folder = \"kernel\"\ninclude = [\"docs\"]\n")
        .without_env("SOURCE_DATE_EPOCH")
        .env("GIT_COMMITTER_DATE", "1600000000 +0200")
        .write(".gitignore", "*~\n/target\n/dist\n")
        .write("README.md~", "an editor's copy")
        .write("docs/probe.md", "A page.\n")
        .write("docs/probe.md~", "an editor's copy");
    workspace.xtask("bpf").succeeds();
    commit(&workspace);
    // In a hook, git points at the repository that it is called for, which may be another one.
    let workspace = workspace.env("GIT_DIR", "/nonexistent");
    workspace.xtask("dist --arch amd64 --locked").succeeds();
    let files = unpack(&workspace.path("dist").join(ARCHIVE));
    assert!(!files.keys().any(|name| name.ends_with('~')), "{:?}", files.keys());
    let manifest =
        |workspace: &Workspace| -> Value { serde_json::from_str(&workspace.read("dist/release.json")).unwrap() };
    assert_eq!(manifest(&workspace)["dirty"], false);
    assert_eq!(manifest(&workspace)["source_date_epoch"], 1_600_000_000);
    assert_eq!(manifest(&workspace)["commit"].as_str().unwrap().len(), 40);

    let workspace = workspace.write("LICENSE.new", "not committed");
    workspace.xtask("dist --arch amd64 --locked --allow-dirty").succeeds().says("changes that are not committed");
    assert_eq!(manifest(&workspace)["dirty"], true);
}
