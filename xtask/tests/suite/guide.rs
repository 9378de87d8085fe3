//! The guide, docs/portable-ebpf.md: its C compiles, asks what it says, and is loaded into this machine's kernel; its table is the tool's.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::{Workspace, can_mount, has, own_root};

fn guide() -> String {
    fs::read_to_string(own_root().join("docs/portable-ebpf.md")).unwrap()
}

#[test]
fn each_technique_of_the_guide_compiles_and_is_loaded() {
    let guide = guide();
    let source: String = guide.split("```c\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    // bpftool fails if a program is not loaded unless it is asked for.
    let workspace = Workspace::copy_of_our_own("guide")
        .write("bpf/techniques.bpf.c", &source)
        .write("bpf/techniques_loaded.bpf.c", &source.replace("SEC(\"?", "SEC(\""));
    workspace.xtask("bpf -- -Wno-unused-parameter").succeeds();
    let object = |order: &str| format!("bpf/objects/techniques_{order}.o");
    let report = workspace.xtask(&format!("report --json {} {}", object("bpfel"), object("bpfeb"))).succeeds().json();
    let objects = report["objects"].as_array().unwrap();
    assert!(!objects.is_empty());
    for object in objects {
        let relocations = object["relocations"].as_array().unwrap();
        for kind in
            ["byte_off", "field_exists", "type_exists", "enumval_exists", "enumval_value", "lshift_u64", "signed"]
        {
            assert!(relocations.iter().any(|relocation| relocation["kind"] == kind), "{kind}: {object:#}");
        }
        let programs = object["programs"].as_array().unwrap();
        assert!(programs.iter().any(|program| program["section"] == "?raw_tp/sched_switch"), "{programs:?}");
    }

    let found = Command::new("bpftool").arg("version").output().is_ok();
    let has_btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    if can_mount()
        && has("bpftool", "Debian: apt install bpftool", found)
        && has("BTF", "boot a kernel with it", has_btf)
    {
        let order = if cfg!(target_endian = "big") { "bpfeb" } else { "bpfel" };
        let load = format!("bpftool prog loadall bpf/objects/techniques_loaded_{order}.o /sys/fs/bpf/guide");
        let listed =
            workspace.shell_with_mounts(&format!("mount -t bpf none /sys/fs/bpf && {load} && ls /sys/fs/bpf/guide"));
        let listed = listed.succeeds();
        for program in source.split("\nint ").skip(1).map(|rest| rest.split('(').next().unwrap()) {
            listed.text().lines().find(|line| *line == program).unwrap_or_else(|| panic!("{program} is not loaded"));
        }
    }
}

#[test]
fn the_guide_says_since_when_as_the_tables_do() {
    let guide = guide();
    let tables = fs::read_to_string(own_root().join("xtask/object/src/kernel_features.rs")).unwrap();
    let (_, table) = guide.split_once("\n| feature | Linux | commit |\n").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() > 20, "{rows:?}");
    for row in &rows {
        let [feature, kernel, commit] = row.as_slice() else { panic!("{row:?}") };
        let known = format!("{}, \"{commit}\")", kernel.replace('.', ", "));
        assert!(tables.contains(&known), "{feature}: {kernel} {commit} is not in the tables");
    }
    let release = |row: &Vec<&str>| row[1].split('.').map(|part| part.parse::<u32>().unwrap()).collect::<Vec<_>>();
    assert!(rows.is_sorted_by_key(release), "the table of the guide is not sorted");
}
