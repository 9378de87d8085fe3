//! `--plan`: what is printed is what would run.

use serde_json::Value;

use super::support::Workspace;

/// What the last segment of a file of 64 bits for little-endian machines ends with: behind it, `dist` adds the list of crates.
fn loaded(elf: &[u8]) -> &[u8] {
    let number = |at: usize| u64::from_le_bytes(elf[at..at + 8].try_into().unwrap()) as usize;
    let (table, count) = (number(0x20), usize::from(u16::from_le_bytes([elf[0x38], elf[0x39]])));
    let end = (0..count).map(|index| table + 56 * index).map(|at| number(at + 8) + number(at + 32)).max().unwrap();
    // The header of the file says where sections are.
    &elf[64..end]
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_printed_commands_give_the_same_binary() {
    let workspace = Workspace::usual("plan");
    workspace.xtask("dist --arch amd64").succeeds();
    std::fs::remove_dir_all(workspace.path("target/bpfship/build")).unwrap();

    workspace.shell("\"$BPFSHIP\" dist --arch amd64 --plan >plan.sh && chmod +x plan.sh && ./plan.sh").succeeds();
    let linked = workspace.path("target/bpfship/build/x86_64-unknown-linux-musl/release/probe");
    workspace.shell("tar xzf dist/*.tar.gz --strip-components 1 --one-top-level=shipped").succeeds();
    let [linked, shipped] = [linked, workspace.path("shipped/probe")].map(|file| std::fs::read(file).unwrap());
    assert!(loaded(&linked) == loaded(&shipped));
}

#[test]
fn the_printed_commands_compile_the_same_object() {
    let workspace = Workspace::usual("plan-bpf");
    workspace.shell("\"$BPFSHIP\" bpf --plan >plan.sh && sh -e plan.sh").succeeds();
    let compiled = std::fs::read(workspace.path("target/bpfship/bpf/tick_bpfel.o")).unwrap();
    let object = bpfship_object::Object::new(&compiled, bpfship_object::Endian::Little).unwrap();
    workspace.xtask("bpf").succeeds();
    assert!(std::fs::read(workspace.path("kernel/objects/tick_bpfel.o")).unwrap() == object.bytes);
}

#[test]
fn a_plan_does_nothing_and_contains_everything() {
    let workspace = Workspace::usual("plan-only");
    let cache = workspace.path("cache").to_str().unwrap().to_owned();
    let workspace = workspace.env("BPFSHIP_CACHE", &cache);
    workspace
        .xtask("dist --arch mips --plan")
        .succeeds()
        .says("-m pip download --require-hashes")
        .says("# building the standard library for mips, once, into ")
        .says("# compiling the BPF objects again: there is no kernel/bpf.lock")
        .says("dist/tool-0.3.0-mips-unknown-linux-musl.tar.gz");
    for untouched in ["cache", "dist", "kernel/objects"] {
        assert!(!workspace.path(untouched).exists(), "{untouched}");
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_plan_in_json_has_the_commands_too() {
    let workspace = Workspace::usual("plan-json");
    let text = workspace.xtask("dist --arch amd64 --arch s390x --plan --json").succeeds().text();
    let plan: Value = serde_json::from_str(&text).unwrap();
    let steps: Vec<&Value> =
        plan["tasks"].as_array().unwrap().iter().flat_map(|task| task["steps"].as_array().unwrap()).collect();
    let packed: Vec<&Value> = steps.iter().filter_map(|step| step.get("check-and-pack")).collect();
    assert_eq!(packed[1]["tarball"]["arch"], "s390x");
    let build = steps.iter().find_map(|step| step.get("build-binaries")).unwrap();
    for command in [&build["build"]["command"], &build["build"]["count"]] {
        assert!(command["args"].as_array().unwrap().contains(&Value::from("s390x-unknown-linux-musl")), "{command}");
        assert!(command["environment"]["only"]["CARGO_HOME"].is_string(), "{command}");
    }
}
