//! `doctor --adopt`: what stands in the way of shipping a workspace that knows nothing of the tool.

use std::os::unix::ffi::OsStrExt;

use serde_json::Value;

use super::support::{Workspace, commit};

/// A foreign workspace: an application that links the system's libpcap by default, an own xtask, BPF in C that a build script
/// compiles, and an optional dependency that is off.
fn foreign() -> Workspace {
    Workspace::empty("foreign")
        .write("Cargo.toml", "[workspace]\nmembers = [\"agent\", \"xtask\"]\nresolver = \"2\"\n")
        .write(
            "agent/Cargo.toml",
            "[package]\nname = \"agent\"\nversion = \"1.0.0\"\nedition = \"2021\"\nlicense = \"MIT\"\nbuild = \"build.rs\"\n
[features]\ndefault = [\"capture\"]\ncapture = [\"dep:pcap\"]\n
[dependencies]\nring = \"0.17\"\npcap = { version = \"2\", optional = true }\nlibseccomp = { version = \"0.4\", optional = true }\n
[target.'cfg(windows)'.dependencies]\nodd-sys = \"1\"\n",
        )
        .write("agent/src/main.rs", "fn main() {}\n")
        .write("agent/build.rs", "fn main() { SkeletonBuilder::new(); std::env::var(\"OUT_DIR\"); }\n")
        .write("agent/src/bpf/agent.bpf.c", "#include \"vmlinux.h\"\nSEC(\"kprobe/x\") int BPF_KPROBE(x) { return 0; }\n")
        .write("xtask/Cargo.toml", "[package]\nname = \"xtask\"\nversion = \"0.1.0\"\nedition = \"2021\"\n")
        .write("xtask/src/main.rs", "fn main() {}\n")
        .write(
            "Cargo.lock",
            &["pcap", "ring", "libseccomp", "odd-sys"].into_iter().fold(
                "version = 4\n\n[[package]]\nname = \"agent\"\nversion = \"1.0.0\"\n\
                 dependencies = [\"libseccomp\", \"odd-sys\", \"pcap\", \"ring\"]\n"
                    .to_owned(),
                |lock, name| {
                    let source = "registry+https://github.com/rust-lang/crates.io-index";
                    lock + &format!("\n[[package]]\nname = \"{name}\"\nversion = \"2.0.0\"\nsource = \"{source}\"\n")
                },
            ),
        )
}

/// States of findings, by name.
fn states(report: &Value) -> Vec<(String, String)> {
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    report["findings"].as_array().unwrap().iter().map(|it| (word(it, "name"), word(it, "state"))).collect()
}

#[test]
fn what_stands_in_the_way_is_reported_without_a_build_and_nothing_is_written() {
    let workspace = foreign();
    commit(&workspace);
    let everything = "find . -path ./.git -prune -o -type f -print | sort | xargs sha256sum";
    let before = workspace.shell(everything).text();
    let run = workspace.xtask("doctor --adopt . --json").ends_with(1).says("cannot be shipped as it is: pcap 2.0.0");
    let report = serde_json::from_str(run.text().split("\nerror: ").next().unwrap()).unwrap();
    let states = states(&report);
    for (name, state) in
        [("pcap 2.0.0", "blocks"), ("ring 2.0.0", "ok"), ("xtask", "ok"), ("application", "ok"), ("BPF in C", "ok")]
    {
        assert!(states.contains(&(name.into(), state.into())), "{name}: {states:?}");
    }
    // Neither what is off by default nor what is for another system.
    assert!(!states.iter().any(|(name, _)| name.contains("seccomp") || name == "-sys crates"), "{states:?}");
    assert_eq!(report["verdict"]["ready"], false);
    assert_eq!(workspace.shell(everything).text(), before);

    let manifest = workspace.read("agent/Cargo.toml").replace("default = [\"capture\"]", "default = []");
    let workspace = workspace.write("agent/Cargo.toml", &manifest);
    workspace.xtask("doctor --adopt").succeeds().says("nothing known stands in the way for amd64, arm64");
    std::fs::remove_file(workspace.path("Cargo.lock")).unwrap();
    workspace.xtask("doctor --adopt -q").succeeds().says("to do    Cargo.lock").says_nothing_of("  ok ");
}

#[test]
fn a_repository_is_read_by_its_address_and_a_wrong_place_is_a_wrong_request() {
    let workspace = foreign();
    commit(&workspace);
    let url = format!("file://{}", workspace.root.display());
    let elsewhere = Workspace::empty("elsewhere");
    elsewhere.xtask(&format!("doctor --adopt '{url}'")).ends_with(1).says("blocks   pcap 2.0.0");
    assert!(elsewhere.list(".").is_empty());
    elsewhere.xtask("doctor --adopt nowhere").ends_with(2).says("neither a folder nor the address of").in_one_line();
    workspace.xtask("doctor --adopt . --package agend").ends_with(2).says("agent have").in_one_line();
    // What else is known is not hidden by a manifest that cannot be read.
    let broken = workspace.write("agent/Cargo.toml", "[package\n");
    broken.xtask("doctor --adopt").ends_with(1).says("blocks   workspace").says_nothing_of("there is no commit");
    elsewhere.xtask("doctor --adopt .").ends_with(2).says("there is no Cargo.toml in").in_one_line();
}

#[test]
fn types_of_the_kernel_are_found_beside_a_workspace_that_is_in_a_folder_and_programs_of_others_do_not_count() {
    let package = |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nlicense = \"MIT\"\n");
    let program = "#include \"vmlinux.h\"\nSEC(\"kprobe/x\") int BPF_KPROBE(x) { return 0; }\n";
    let workspace = Workspace::empty("in a folder")
        .write("rust/Cargo.toml", "[workspace]\nmembers = [\"reads\", \"passes\"]\nresolver = \"2\"\n")
        .write("rust/reads/Cargo.toml", &package("reads"))
        .write("rust/reads/src/main.rs", "fn main() {}\n")
        .write("rust/reads/reads.bpf.c", program)
        .write("rust/passes/Cargo.toml", &package("passes"))
        .write("rust/passes/src/main.rs", "fn main() {}\n")
        .write("rust/passes/passes.bpf.c", "#include \"vmlinux.h\"\nSEC(\"xdp\") int x(void *y) { return 2; }\n");
    commit(&workspace);
    let lacking = "to do    vmlinux.h";
    workspace.xtask("doctor --adopt rust").succeeds().says(lacking).says("2 sources of BPF include it");

    let workspace = workspace.write("vmlinux.h", "struct pt_regs {\n\tlong unsigned int orig_ax;\n};\n");
    let limit = "limits   vmlinux.h";
    workspace.xtask("doctor --adopt rust").succeeds().says(limit).says_nothing_of(lacking);
    workspace.xtask("doctor --adopt rust --package passes").succeeds().says_nothing_of(limit);

    let workspace = workspace.write("types/s390x/vmlinux.h", "\n").write("types/x86_64/vmlinux.h", "\n");
    let run = workspace.xtask("doctor --adopt rust --package passes").succeeds().says(limit);
    run.says("nothing known stands in the way for amd64, s390x");
}

#[test]
fn bpf_in_rust_beside_the_workspace_is_seen_and_a_member_stands_for_its_workspace() {
    let package = |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nlicense = \"MIT\"\n");
    let workspace = Workspace::empty("beside")
        .write("Cargo.toml", "[workspace]\nmembers = [\"app\"]\nexclude = [\"app-ebpf\"]\nresolver = \"2\"\n")
        .write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"1.0.0\"\n")
        .write("app/Cargo.toml", &package("app"))
        .write("app/src/main.rs", "fn main() {}\n")
        .write("app-ebpf/Cargo.toml", &format!("{}[dependencies]\naya-ebpf = \"0.1\"\n", package("app-ebpf")))
        // Neither the features nor the atomics of BPF are the application's.
        .write("app-ebpf/src/main.rs", "#![feature(core_intrinsics)]\nuse core::sync::atomic::AtomicU64;\n")
        .write(
            "app-ebpf/Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"aya-ebpf\"\nversion = \"0.1.1\"\nsource = \"registry+x\"\n",
        )
        .write("docs/example/Cargo.toml", &package("example"))
        .write("docs/example/src/lib.rs", "");
    commit(&workspace);
    for folder in [".", "app"] {
        let run = workspace.xtask(&format!("doctor --adopt {folder} --json")).succeeds();
        let states = states(&serde_json::from_str(&run.text()).unwrap());
        let amiss: Vec<_> = states.iter().filter(|(_, state)| state != "ok").cloned().collect();
        let expected = [("BPF in Rust", "to-do"), ("aya-ebpf 0.1.1", "limits")];
        assert_eq!(amiss, expected.map(|(name, state)| (name.to_owned(), state.to_owned())), "{folder}");
    }
    let named = "[workspace.metadata.bpfship]\nbpf.rust = [\"app-ebpf\"]\n";
    let manifest = workspace.read("Cargo.toml") + named;
    workspace.write("Cargo.toml", &manifest).xtask("doctor --adopt").succeeds().says_nothing_of("to do    BPF in Rust");
}

#[test]
fn of_several_workspaces_each_has_its_own_sources_and_binaries_behind_features_are_an_application() {
    let package = |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nlicense = \"MIT\"\n");
    let lock = |name: &str| format!("version = 4\n\n[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n");
    let bin = "[[bin]]\nname = \"a\"\npath = \"a.rs\"\nrequired-features = [\"cli\"]\n[features]\ncli = []\n";
    let workspace = Workspace::empty("several")
        .write("a/Cargo.toml", &(package("a") + bin))
        .write("a/Cargo.lock", &lock("a"))
        .write("a/a.rs", "fn main() {}\n")
        .write("b/Cargo.toml", &package("b"))
        .write("b/Cargo.lock", &lock("b"))
        .write("b/src/main.rs", "fn main() {}\n")
        .write("b/b.bpf.c", "SEC(\"xdp\")\n");
    commit(&workspace);
    let run = workspace.xtask("doctor --adopt").succeeds();
    run.says("a, the first of 2").says("others are in b").says("to do    features").says_nothing_of("BPF in C");
    workspace.xtask("doctor --adopt b").succeeds().says("to do    BPF in C");
}

#[test]
fn what_cannot_be_read_hides_nothing_else() {
    let manifest = "[package]\nname = \"app\"\nversion = \"1.0.0\"\nlicense = \"MIT\"\n";
    let workspace = Workspace::empty("damaged")
        .write("Cargo.toml", manifest)
        .write("src/main.rs", "fn main() {}\n")
        .write("rust-toolchain.toml", "[toolchain\n");
    std::fs::create_dir(workspace.path("Cargo.lock")).unwrap();
    std::fs::write(workspace.root.join(std::ffi::OsStr::from_bytes(b"\xff.rs")), "").unwrap();
    let run = workspace.xtask("doctor --adopt").ends_with(1);
    run.says("to do    git").says("blocks   Cargo.lock").says("blocks   Rust");
}
