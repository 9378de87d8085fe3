//! The guide, docs/portable-ebpf.md: its C compiles, asks what it says, and is loaded into this machine's kernel; its Rust loads that on
//! others; its table is the tool's.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::boot::can_boot;
use super::support::{Workspace, can_mount, has, own_root};
use bpfship::testing::Arch;

fn guide() -> String {
    fs::read_to_string(own_root().join("docs/portable-ebpf.md")).unwrap()
}

/// The blocks of code in a language.
fn blocks(guide: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    guide.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The sources that the blocks of C are: one that begins with an `#include` begins another source. The first is for aya, too.
fn sources(guide: &str) -> [Vec<String>; 2] {
    let mut sources: Vec<Vec<String>> = Vec::new();
    for block in blocks(guide, "c") {
        if block.starts_with("#include") {
            sources.push(Vec::new());
        }
        sources.last_mut().unwrap().push(block);
    }
    sources.try_into().unwrap()
}

/// A copy of this workspace whose BPF sources may leave arguments unused.
fn workspace(name: &str) -> Workspace {
    let workspace = Workspace::copy_of_our_own(name);
    let manifest =
        workspace.read("Cargo.toml").replace(r#"cflags = ["-Wextra", "-Werror"]"#, r#"cflags = ["-Werror"]"#);
    workspace.write("Cargo.toml", &manifest)
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn each_technique_of_the_guide_compiles_and_is_loaded() {
    let [usual, symbols] = sources(&guide());
    // bpftool loads every program, and this kernel may have neither rung of the ladder.
    let loadable: String = usual.iter().filter(|block| !block.contains("fentry/")).map(String::as_str).collect();
    let workspace = workspace("guide")
        .write("bpf/techniques.bpf.c", &usual.concat())
        .write("bpf/loaded.bpf.c", &loadable)
        .write("bpf/symbols.bpf.c", &symbols.concat());
    workspace.xtask("bpf").succeeds();
    let object = |stem: &str, order: &str| format!("bpf/objects/{stem}_{order}.o");
    let both = format!("{} {}", object("techniques", "bpfel"), object("techniques", "bpfeb"));
    let report = workspace.xtask(&format!("report --json {both}")).succeeds().json();
    let objects = report["objects"].as_array().unwrap();
    assert!(!objects.is_empty());
    for object in objects {
        let relocations = object["relocations"].as_array().unwrap();
        for kind in [
            "byte_off",
            "byte_sz",
            "field_exists",
            "type_exists",
            "type_size",
            "enumval_exists",
            "enumval_value",
            "lshift_u64",
            "signed",
        ] {
            assert!(relocations.iter().any(|relocation| relocation["kind"] == kind), "{kind}: {object:#}");
        }
        let programs = object["programs"].as_array().unwrap();
        for section in ["raw_tp/sched_switch", "fentry/do_unlinkat", "kprobe/do_unlinkat"] {
            assert!(programs.iter().any(|program| program["section"] == section), "{programs:?}");
        }
    }

    let found = Command::new("bpftool").arg("version").output().is_ok();
    let has_btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    if can_mount()
        && has("bpftool", "Debian: apt install bpftool", found)
        && has("BTF", "boot a kernel with it", has_btf)
    {
        let order = if cfg!(target_endian = "big") { "bpfeb" } else { "bpfel" };
        let load = |stem: &str| format!("bpftool prog loadall {} /sys/fs/bpf/{stem}", object(stem, order));
        let script =
            format!("mount -t bpf none /sys/fs/bpf && {} && {} && ls /sys/fs/bpf/*", load("loaded"), load("symbols"));
        let listed = workspace.shell_with_mounts(&script).succeeds();
        let all = loadable + &symbols.concat();
        let programs: Vec<&str> = all.split("\nint ").skip(1).map(|rest| rest.split('(').next().unwrap()).collect();
        assert!(programs.len() > 9, "{programs:?}");
        for program in programs {
            listed.text().lines().find(|line| *line == program).unwrap_or_else(|| panic!("{program} is not loaded"));
        }
    }
}

const MAIN: &str = r#"
static OBJECT: &[u8] = aya::include_bytes_aligned!("../kernel/objects/techniques_bpfel.o");

fn main() {
    match load(OBJECT) {
        Ok("fentry") => {}
        Ok(rung) => println!("gap: it was {rung}"),
        Err(error) => panic!("{error}"),
    }
}
"#;

/// An application of nothing but the guide's C for aya and its Rust. What was compiled for it is kept.
fn application() -> Workspace {
    let guide = guide();
    let [usual, _] = sources(&guide);
    let program = blocks(&guide, "rust").concat();
    let config = "package = \"tool\"\nbpf.folder = \"kernel\"\nboot.commands = [\"\"]\n\n\
                  [profile.release]\nlto = \"thin\"\npanic = \"abort\"\n";
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide-rust");
    let workspace = Workspace::new("guide", config).env("CARGO_TARGET_DIR", target.to_str().unwrap());
    fs::remove_file(workspace.path("kernel/tick.bpf.c")).unwrap();
    let manifest = workspace.read("tool/Cargo.toml");
    let dependencies = "[dependencies]\naya = { version = \"0.14.0\", default-features = false }\n\n\
                        [target.'cfg(any())'.dependencies]\n\
                        libbpf-sys = { version = \"=1.7.0\", default-features = false }\n";
    let workspace = workspace
        .write("kernel/techniques.bpf.c", &usual.concat())
        .write("tool/main.rs", &format!("//! What the guide shows.\n\n{program}{MAIN}"))
        .write("tool/Cargo.toml", &format!("{manifest}\n{dependencies}"))
        // The same versions as here, which are on this machine.
        .write("Cargo.lock", &fs::read_to_string(own_root().join("Cargo.lock")).unwrap());
    workspace.shell("cargo update --workspace --offline --quiet").succeeds();
    workspace
}

/// With the first rung of its ladder where there is one, and with the second elsewhere: arm64 got fentry with Linux 6.4.
#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_rust_of_the_guide_loads_every_technique_on_real_kernels() {
    if !["amd64", "arm64"].map(Arch::named).iter().all(|arch| can_boot(arch)) {
        return;
    }
    let workspace = application();
    workspace.xtask("dist --arch amd64,arm64").succeeds();
    for (arch, kernel, verdict) in [("amd64", "debian-13-6.12", "pass"), ("arm64", "debian-11-5.10", "gaps")] {
        let result = workspace.xtask(&format!("boot --arch {arch} --kernel {kernel} --json")).succeeds().json();
        let boot = &result["boots"][0];
        assert_eq!(boot["verdict"]["is"], verdict, "{boot:#}");
        if verdict == "gaps" {
            assert_eq!(boot["verdict"]["why"][0], "it was kprobe", "{boot:#}");
        }
    }
}

#[test]
fn the_guide_says_since_when_as_the_tables_do() {
    let table = bpfship::testing::features_table();
    assert!(table.lines().count() > 30);
    assert!(guide().contains(&table), "docs/portable-ebpf.md wants this table:\n{table}");
}
