//! `bpf`: sources of all kinds, for all architectures.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::support::Workspace;
use bpfship::testing::ObjectName;
use bpfship_object::check;
use bpfship_object::report::Report;

/// The sources that have an object for each architecture, and why; all others have one for each byte order.
const BY_ARCHITECTURE: [&str; 5] = ["kprobe_core", "kprobe_headers", "numbers", "uprobe", "usdt"];

#[test]
#[ignore = "long: --include-ignored runs it"]
fn every_kind_of_program_compiles_for_every_architecture() {
    let workspace = Workspace::copy_of_our_own("sources");
    let manifest = workspace.read("Cargo.toml").replace(
        "[workspace.metadata.bpfship.bpf]\ncflags = [\"-Wextra\", \"-Werror\"]\nbindings = \"bpf/src\"\n\
         types = [\"exit_event\", \"limits\"]\n",
        "[[workspace.metadata.bpfship.bpf.variant]]\nname = \"twice\"\nsources = [\"variants.bpf.c\"]\n\
         defines = [\"STEP=2\"]\n[workspace.metadata.bpfship.bpf]\nfolder = \"xtask/tests/bpf\"\ncflags = [\"-Werror\"]\n\
         bindings = \"xtask/tests/bindings\"\n",
    );
    let workspace = workspace.write("Cargo.toml", &manifest);
    workspace.xtask("bpf").succeeds();
    let mut targets: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for file in workspace.list("xtask/tests/bpf/objects") {
        let name: ObjectName = file.parse().unwrap();
        targets.entry(name.stem).or_default().insert(name.target.name);
        let bytes = fs::read(workspace.path(&format!("xtask/tests/bpf/objects/{file}"))).unwrap();
        let (endian, _) = Report::read(&bytes).unwrap_or_else(|error| panic!("{file}: {error:#}"));
        check(&bytes, endian).unwrap_or_else(|error| panic!("{file}: {error:#}"));
    }
    let is_source = |name: &String| name.ends_with(".bpf.c");
    let folders = ["xtask/tests/bpf", "xtask/tests/bpf/net"].map(|folder| workspace.list(folder));
    // And the variant of one.
    assert_eq!(targets.len(), folders.iter().flatten().filter(|name| is_source(name)).count() + 1, "{targets:?}");
    assert_eq!(workspace.list("xtask/tests/bindings").len(), targets.len());
    for (stem, targets) in &targets {
        let expected = if BY_ARCHITECTURE.contains(&stem.as_str()) { 6 } else { 2 };
        assert_eq!(targets.len(), expected, "{stem}: {targets:?}");
    }
    workspace.xtask("bpf --check").succeeds();
}

#[test]
fn what_a_source_embeds_is_one_of_its_inputs() {
    const EMBEDDING: &str = "#define SEC(name) __attribute__((section(name), used))\nstatic const char bytes[] = {\n#embed \
        \"data.bin\"\n};\nSEC(\"raw_tp/sys_enter\") int tick(void *context) { return bytes[0]; }\n\
        SEC(\"license\") char LICENSE[] = \"GPL\";\n";
    let workspace = Workspace::usual("embedding").write("kernel/tick.bpf.c", EMBEDDING).write("kernel/data.bin", "a");
    workspace.xtask("bpf").succeeds();
    workspace.xtask("bpf --check").succeeds();
    let workspace = workspace.write("kernel/data.bin", "b");
    workspace.xtask("bpf --check").ends_with(1).says("kernel/bpf.lock is out of date: kernel/data.bin changed");
    workspace
        .write("kernel/tick.bpf.c", &EMBEDDING.replace("data.bin", "/etc/hostname"))
        .xtask("bpf")
        .ends_with(1)
        .says("includes /etc/hostname, which bpf.lock cannot know");
}

/// Each of these has clang look for a file that no folder of sources has.
#[test]
fn whatever_has_clang_look_for_a_file_makes_it_an_input() {
    let program = "SEC(\"raw_tp/sys_enter\") int tick(void *context) { return STEP; }\nSEC(\"license\") char LICENSE[] = \"GPL\";\n";
    for (directive, file) in [
        ("#define HEADER \"../shared/step.inc\"\n#include HEADER\n", "shared/step.inc"),
        ("#include FLAG\n", "kernel/flag.inc"),
        ("#/**/include /* it is\nelsewhere */ \\\n\"../shared/step.inc\"\n", "shared/step.inc"),
        ("#import \"../shared/step.inc\"\n", "shared/step.inc"),
        ("#if __has_include(\"../shared/step.inc\")\n#define STEP 1\n#endif\n", "shared/step.inc"),
        ("#include <step.h>\n", "shared/step.h"),
    ] {
        let source = format!("#define SEC(name) __attribute__((section(name), used))\n{directive}{program}");
        let config = "package = \"tool\"\n[workspace.metadata.bpfship.bpf]\nfolder = \"kernel\"\n\
                      cflags = [\"-DFLAG=\\\"flag.inc\\\"\", \"-Ishared\"]\n";
        let workspace = Workspace::new("looked-for", config)
            .write("kernel/tick.bpf.c", &source)
            .write("kernel/include/step.h", "#include_next <step.h>\n")
            .write(file, "#define STEP 1\n");
        workspace.xtask("bpf").succeeds();
        workspace.write(file, "#define STEP 2\n").xtask("bpf --check").ends_with(1).says(&format!("{file} changed"));
    }
}

#[test]
fn a_source_that_hides_its_clock_from_clang_has_a_fixed_one() {
    let workspace = Workspace::usual("clock").write(
        "kernel/tick.bpf.c",
        "#define SEC(name) __attribute__((section(name), used))\n#pragma clang diagnostic ignored \"-Weverything\"\n\
         const char clock[] SEC(\".rodata\") = __DATE__ \" \" __TIME__ \" \" __TIMESTAMP__;\n\
         SEC(\"raw_tp/sys_enter\") int tick(void *context) { return clock[0]; }\nSEC(\"license\") char LICENSE[] = \"GPL\";\n",
    );
    workspace.xtask("bpf").succeeds();
    let object = fs::read(workspace.path("kernel/objects/tick_bpfel.o")).unwrap();
    let clock = b"Jan  1 1970 00:00:00 Thu Jan  1 00:00:00 1970";
    assert!(object.windows(clock.len()).any(|bytes| bytes == clock));
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_binary_contains_the_object_for_its_architecture() {
    const EXECVE: &str = "#define SEC(name) __attribute__((section(name), used))\n#include <asm/unistd.h>\n\
        SEC(\"raw_tp/sys_enter\") int tick(void *context) { return __NR_execve; }\nSEC(\"license\") char LICENSE[] = \"GPL\";\n";
    let one = Workspace::new("one", "package = \"tool\"\nbpf.folder = \"kernel\"\narches = [\"amd64\"]\n");
    one.write("kernel/tick.bpf.c", EXECVE)
        .xtask("bpf")
        .succeeds()
        .says(": tick_x86_bpfel.o ")
        .says("this architecture only");
    let workspace = Workspace::usual("architectures").write("kernel/tick.bpf.c", EXECVE);
    let of_both = workspace.read("tool/main.rs");
    let main = of_both
        .replace("target_endian = \"little\"", "target_arch = \"x86_64\"")
        .replace("target_endian = \"big\"", "target_arch = \"aarch64\"")
        .replace("tick_bpfel.o", "tick_x86_bpfel.o")
        .replace("tick_bpfeb.o", "tick_arm64_bpfel.o");
    let workspace = workspace.write("tool/main.rs", &main);
    workspace.xtask("dist --arch amd64 --arch arm64").succeeds();
    let manifest: serde_json::Value = serde_json::from_str(&workspace.read("dist/release.json")).unwrap();
    let files = manifest["bpf_objects"].as_array().unwrap().iter().map(|object| object["file"].as_str().unwrap());
    assert!(files.clone().any(|file| file == "tick_arm64_bpfel.o") && files.count() == 6, "{manifest:#}");
    workspace.xtask("verify").succeeds();
    workspace
        .write("tool/main.rs", &main.replace("tick_arm64_bpfel.o", "tick_x86_bpfel.o"))
        .xtask("dist --arch arm64")
        .ends_with(1)
        .says("the BPF object in its section .bpf.tick is not the tick_arm64_bpfel.o of bpf.lock");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_source_may_be_for_some_architectures_only() {
    const ONLY: &str = "#define SEC(name) __attribute__((section(name), used))\n#ifndef __TARGET_ARCH_x86\n#error for x86 only\n#endif\n\
        SEC(\"raw_tp/sys_enter\") int only(void *context) { return 0; }\nSEC(\"license\") char LICENSE[] = \"GPL\";\n";
    let config = |arches: &str| {
        format!(
            "package = \"tool\"\nbpf.folder = \"kernel\"\n[[workspace.metadata.bpfship.bpf.variant]]\n\
             sources = [\"only.bpf.c\"]\narches = {arches}\n"
        )
    };
    let workspace = Workspace::new("some", &config("[\"amd64\"]")).write("kernel/only.bpf.c", ONLY);
    workspace.xtask("bpf").succeeds();
    assert_eq!(workspace.list("kernel/objects"), ["only_x86_bpfel.o", "tick_bpfeb.o", "tick_bpfel.o"]);
    workspace.xtask("bpf --check").succeeds();
    workspace.xtask("report").succeeds().says("only (x86_bpfel)");
    workspace.xtask("dist --plan --locked --allow-dirty").succeeds();

    let manifest = workspace.read("Cargo.toml");
    let workspace = workspace.write("Cargo.toml", &manifest.replace("[\"amd64\"]", "[\"amd64\", \"arm64\"]"));
    workspace.xtask("bpf").ends_with(1).says("for x86 only");
    let workspace = workspace.write("Cargo.toml", &manifest.replace("[\"amd64\"]", "[\"amd65\"]"));
    workspace
        .xtask("bpf")
        .ends_with(2)
        .says("`arches` in [workspace.metadata.bpfship.bpf.variant]")
        .says("did you mean `amd64`?");
}
