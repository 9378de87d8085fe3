//! What `cargo xtask doctor` reports on machines that lack something: all of it at once, with what gets it.

use std::fs;

use bpfship::testing::ARCHES;
use bpfship::testing::kernels;

use super::support::{Workspace, can_mount};

/// A machine that has everything but what is fetched: a Rust of the pinned version (cargo is the real one), a linker,
/// pip, rustup and QEMU. Of this machine's own programs, it has none but those that these start.
fn machine(name: &str) -> Workspace {
    let workspace = Workspace::new(
        name,
        "package = \"tool\"\narches = [\"amd64\", \"arm64\", \"mips\"]\nbpf.folder = \"kernel\"\n",
    );
    let pin = workspace.read("rust-toolchain.toml");
    let version = pin.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"').to_owned();
    let cache = workspace.path("cache").to_str().unwrap().to_owned();
    let qemu = ["qemu-system-x86_64", "qemu-system-aarch64", "qemu-system-mips"];
    let workspace = qemu.into_iter().fold(workspace.only(&["cargo", "rustc"]), |workspace, program| {
        workspace.program(program, "#!/bin/sh\necho 'QEMU emulator version 10.0.2 (Debian 1:10.0.2)'\n")
    });
    with_rust(workspace, &version)
        .program("cc", "#!/bin/sh\n")
        .program("ssh", "#!/bin/sh\n")
        .program("python3", "#!/bin/sh\n")
        .program("rustup", "#!/bin/sh\necho rustup 1.29.0\n")
        .env("BPFSHIP_CACHE", &cache)
}

fn with_rust(workspace: Workspace, version: &str) -> Workspace {
    let sysroot = workspace.path("programs");
    let few = workspace.path("few").join("cargo");
    workspace
        .program("rustc", &format!("#!/bin/sh\necho '{}'\n", sysroot.display()))
        .program(
            "bin/rustc",
            &format!("#!/bin/sh\necho 'release: {version}\ncommit-hash: c\nLLVM version: 1\nhost: h'\n"),
        )
        .program("bin/cargo", &format!("#!/bin/sh\nunset RUSTC\nexec '{}' \"$@\"\n", few.display()))
}

fn without(workspace: Workspace, program: &str) -> Workspace {
    fs::remove_file(workspace.path("programs").join(program)).unwrap();
    workspace
}

/// With everything that would be fetched.
fn with_everything(name: &str) -> Workspace {
    let mut workspace = machine(name);
    for target in ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"] {
        workspace = workspace.write(&format!("programs/lib/rustlib/{target}/lib/libstd-1.rlib"), "");
    }
    workspace = workspace.write("programs/lib/rustlib/src/rust/library/std/Cargo.toml", "");
    let rust = bpfship::testing::Rust {
        sysroot: workspace.path("programs"),
        version: workspace.xtask("doctor --json").json()["rows"][0]["detail"].as_str().unwrap()[..6].into(),
        commit: "c".into(),
        llvm: "1".into(),
        host: "h".into(),
    };
    let kernels = ARCHES.iter().map(|arch| kernels::default_of(arch).entry(None));
    for name in bpfship::testing::names(Some(&rust)).into_iter().chain(kernels) {
        workspace = workspace.write(&format!("cache/{name}/file"), "");
    }
    workspace
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn where_everything_is_there_it_is_ready() {
    let workspace = with_everything("doctor all");
    workspace
        .xtask("doctor")
        .succeeds()
        .says("  ok         std mips     in the cache\n")
        .says("  to build   BPF objects  there is no kernel/bpf.lock\n")
        .says("dist:    ready, will build BPF objects\nbpf:     ready\n")
        .says("rebuild: ready, will fetch compiler (100 MB)")
        .says_nothing_of("not here");
    workspace.xtask("doctor --offline").succeeds().says("bpf:     ready");
    workspace.xtask("doctor -q").succeeds().says_nothing_of(" ");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn without_an_emulator_it_is_boot_that_cannot_work() {
    let workspace = without(with_everything("doctor qemu"), "qemu-system-mips");
    workspace
        .xtask("doctor")
        .succeeds()
        .says("  ok         QEMU amd64   10.0.2 ")
        .says("  needs you  QEMU mips    there is no qemu-system-mips on this machine\n                          apt install")
        .says("boot:    cannot work: QEMU mips\n")
        .says("dist:    ready");
}

#[test]
fn what_is_fetched_without_the_user_is_reported_with_its_size_and_what_fetches_it() {
    machine("doctor empty")
        .xtask("doctor")
        .succeeds()
        .says("  to fetch   compiler     ziglang==0.17.1; pip fetches it (100 MB)\n")
        .says("  to fetch   std amd64    not here; rustup fetches it (39 MB)\n")
        .says("  to fetch   rust-src     not here; rustup fetches it (4 MB)\n")
        .says("  to build   std mips     from its sources, once\n")
        .says("dist:    ready, will fetch compiler, std amd64, std arm64, rust-src (182 MB),\n")
        .says("bpf:     ready, will fetch compiler (100 MB)\n");
}

#[test]
fn offline_what_is_missing_needs_the_user() {
    let workspace = without(without(machine("doctor offline"), "rustup"), "python3");
    workspace
        .xtask("doctor --offline")
        .ends_with(1)
        .says("  needs you  compiler     ziglang==0.17.1\n                          run once without --offline\n")
        .says("  optional   rustup       there is no rustup on this machine\n")
        .says("dist:    cannot work: compiler, std amd64, std arm64, rust-src\nbpf:     cannot work: compiler\n")
        .says("error: dist cannot work on this machine:\n  compiler: ziglang==0.17.1: run once without --offline\n");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_fetches_is_needed_while_something_must_be_fetched() {
    let workspace = without(machine("doctor no rustup"), "rustup");
    workspace
        .xtask("doctor")
        .ends_with(1)
        .says("  needs you  rustup       there is no rustup on this machine\n")
        .says("bpf:     ready, will fetch compiler (100 MB)\n")
        .says("error: dist cannot work on this machine: rustup: there is no rustup on this machine: see https://rustup.rs");
    let workspace = without(with_everything("doctor no rustup needed"), "rustup");
    workspace.xtask("doctor").succeeds().says("  optional   rustup       there is no rustup on this machine\n");
}

#[test]
fn a_python_without_pip_and_a_pip_that_checks_no_hashes_are_distinguished() {
    for (output, reason) in [
        (
            "/usr/bin/python3: No module named pip",
            "python3 has no pip\n                          install it: apt install",
        ),
        ("no such option: --require-hashes", "this pip is too old\n"),
    ] {
        let workspace = machine("doctor pip").program("python3", &format!("#!/bin/sh\necho '{output}' >&2\nexit 1\n"));
        workspace.xtask("doctor").ends_with(1).says(&format!("  needs you  pip          {reason}"));
    }
    let workspace = without(machine("doctor no python"), "python3");
    workspace.xtask("doctor").ends_with(1).says("there is no python3 on this machine").says("apt install python3");
}

#[test]
fn the_wrong_rust_hides_nothing_else() {
    let workspace = with_rust(without(machine("doctor rust"), "cc"), "1.2.3");
    workspace
        .xtask("doctor")
        .ends_with(1)
        .says("  needs you  Rust         this is Rust 1.2.3 in")
        .says("  unknown    std mips     not known before `Rust` is right\n")
        .says("  needs you  cc           there is no cc on this machine\n                          apt install gcc libc6-dev")
        .says("  to fetch   compiler     ziglang==0.17.1; pip fetches it (100 MB)\n")
        .says("dist:    cannot work: Rust, cc\nbpf:     cannot work: Rust\n");
}

#[test]
fn a_machine_without_any_program_gets_a_full_report() {
    let run = machine("doctor bare").only(&[]).env("PATH", "/nowhere").xtask("doctor").ends_with(1);
    for program in ["rustc", "rustup", "cc", "python3", "docker", "podman"] {
        assert!(run.text().contains(&format!("there is no {program} on this machine")), "{program}: {}", run.text());
    }
    assert!(run.text().lines().take_while(|line| !line.starts_with("dist:")).all(|line| line.len() <= 80));
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn git_is_needed_in_a_repository_only() {
    let workspace = with_everything("doctor git");
    workspace.xtask("doctor").succeeds().says("not in git; the date is from SOURCE_DATE_EPOCH");
    let workspace = workspace.write(".git/HEAD", "");
    workspace
        .xtask("doctor")
        .ends_with(1)
        .says("error: dist cannot work on this machine: git: there is no git on this machine: apt install git")
        .says("bpf:     ready\n");
    let refuses = "#!/bin/sh\necho \"fatal: detected dubious ownership in repository at '/x'\" >&2\nexit 128\n";
    let workspace = workspace.program("git", refuses);
    workspace.xtask("doctor").ends_with(1).says("trust it: git config --global --add safe.directory FOLDER");
}

#[test]
fn a_linker_without_a_c_library_is_found() {
    let fails = "#!/bin/sh\necho 'ld: cannot find crti.o: No such file or directory' >&2\nexit 1\n";
    machine("doctor cc").program("cc", fails).xtask("doctor").ends_with(1).says("cannot find crti.o").says("libc6-dev");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_engine_is_needed_only_where_it_is_asked_for() {
    let workspace = with_everything("doctor engine");
    workspace.xtask("doctor").succeeds().says("  optional   docker       there is no docker on this machine\n");
    workspace
        .xtask("doctor --engine docker")
        .ends_with(1)
        .says("  needs you  engine       ")
        .says("bpf:     cannot work");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_cache_that_cannot_be_written_matters_while_something_is_missing() {
    machine("doctor cache")
        .env("BPFSHIP_CACHE", "/proc/nowhere")
        .xtask("doctor")
        .ends_with(1)
        .says("  needs you  cache        /proc/nowhere: ")
        .says("set BPFSHIP_CACHE to a folder that can be written");
    if can_mount() {
        let workspace = with_everything("doctor read-only");
        let path = format!("{}:{}", workspace.path("programs").display(), workspace.path("few").display());
        let doctor = format!(
            "mount --bind cache cache && mount -o remount,bind,ro cache && PATH='{path}' exec \"$BPFSHIP\" doctor"
        );
        let workspace = workspace.env("PATH", &std::env::var("PATH").unwrap());
        workspace.shell_with_mounts(&doctor).succeeds().says("read-only, and nothing is missing");
        fs::remove_dir_all(workspace.path("cache").join(bpfship::testing::zig::name().unwrap())).unwrap();
        workspace.shell_with_mounts(&doctor).ends_with(1).says("Read-only file system");
    }
}

#[test]
fn a_wrong_configuration_is_reported_with_the_rest() {
    let workspace = machine("doctor config");
    let manifest = workspace.read("Cargo.toml").replace("arches", "archs");
    workspace
        .write("Cargo.toml", &manifest)
        .xtask("doctor")
        .ends_with(1)
        .says("  needs you  workspace    unknown key `archs` in [workspace.metadata.bpfship] of")
        .says("  ok         cc           it links\n");
}

#[test]
fn outside_of_a_workspace_there_is_nothing_to_report_on() {
    let workspace = Workspace::usual("doctor nowhere");
    fs::remove_file(workspace.path("Cargo.toml")).unwrap();
    workspace.xtask("doctor").ends_with(2).says("there is no Cargo.toml in").in_one_line();
}

/// The fields that docs/doctor.md documents.
#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_report_is_shown_as_json() {
    let workspace = without(machine("doctor json"), "rustup");
    let run = workspace.xtask("doctor --json").ends_with(1).says("error: dist cannot work on this machine: rustup");
    let json = run.json();
    let row = |name: &str| {
        let rows = json["rows"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row {name}: {json:#}")).clone()
    };
    let compiler = serde_json::json!({
        "name": "compiler",
        "needed_by": ["dist", "bpf", "boot", "rebuild"],
        "state": "to-fetch",
        "detail": "ziglang==0.17.1; pip fetches it",
        "remedy": null,
        "megabytes": 100,
    });
    assert_eq!(row("compiler"), compiler);
    assert_eq!(row("rustup")["state"], "needs-you");
    assert_eq!(row("docker")["state"], "optional");
    assert_eq!(row("std mips")["state"], "to-build");
    assert_eq!(row("cc")["state"], "ok");
    let dist = serde_json::json!({
        "verb": "dist",
        "ready": false,
        "lacks": ["rustup"],
        "fetches": ["compiler", "std amd64", "std arm64", "rust-src"],
        "builds": ["BPF objects", "std mips"],
        "megabytes": 182,
    });
    assert_eq!(json["verdicts"][0], dist);
    assert_eq!(json["verdicts"][1]["ready"], true);
}
