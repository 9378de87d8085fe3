//! `bpf`: bindings, which are written, compared and removed as objects are; and `vmlinux`: headers of a kernel's types.

use super::support::Workspace;

const PROGRAM: &str = r#"#define SEC(name) __attribute__((section(name), used))
struct event { unsigned long long time; unsigned char type; };
struct sample { int number; };
struct { int (*type)[27]; int (*max_entries)[4096]; struct event *value; } events SEC(".maps");
const struct sample *unused_sample __attribute__((unused));
SEC("raw_tp/sys_enter") int tick(void *context) { return 0; }
SEC("license") char LICENSE[] = "GPL";
"#;

fn workspace(bpf: &str) -> Workspace {
    let config = format!("package = \"tool\"\n[workspace.metadata.bpfship.bpf]\nfolder = \"kernel\"\n{bpf}");
    Workspace::new("bindings", &config).write("kernel/tick.bpf.c", PROGRAM)
}

#[test]
fn bindings_are_written_compared_and_removed_with_their_objects() {
    let workspace = workspace("bindings = \"tool/bpf\"\ntypes = [\"sample\"]\n")
        .write("kernel/tock.bpf.c", PROGRAM)
        .write("kernel/include/answer.h", "");
    workspace.xtask("bpf").succeeds().says("tool/bpf/tick.rs: changed").says("tool/bpf/tock.rs: changed");
    let text = workspace.read("tool/bpf/tick.rs");
    assert!(text.contains("pub struct Event: size 16, align 8 {"), "{text}");
    assert!(text.contains("r#type: u8 = 8,") && text.contains("pub struct Sample: size 4, align 4 {"), "{text}");
    assert!(workspace.read("kernel/bpf.lock").contains(" ../tool/bpf/tick.rs\n"));

    workspace.xtask("bpf --check").succeeds().says("tool/bpf/tick.rs: as its objects give it");
    workspace.xtask("bpf").succeeds().says_nothing_of("changed");
    assert_eq!(workspace.read("tool/bpf/tick.rs"), text);

    let workspace = workspace.write("tool/bpf/tick.rs", &text.replace("u8 = 8", "i8 = 8"));
    workspace.xtask("bpf --check").ends_with(1).says("tool/bpf/tick.rs is not what its objects give");
    workspace.xtask("report").ends_with(1).says("tool/bpf/tick.rs is not what was written for the objects");
    std::fs::remove_file(workspace.path("kernel/tock.bpf.c")).unwrap();
    workspace.xtask("bpf").succeeds();
    assert_eq!(workspace.read("tool/bpf/tick.rs"), text);
    assert_eq!(workspace.list("tool/bpf"), ["tick.rs"]);
}

#[test]
fn a_file_that_is_no_bindings_is_never_overwritten() {
    for (source, file) in [("tick", "tool/tick.rs"), ("main", "tool/main_.rs")] {
        let workspace = workspace("bindings = \"tool\"\n").write(file, "// Mine.\n");
        let workspace = workspace.write(&format!("kernel/{source}.bpf.c"), PROGRAM);
        let refused = workspace.xtask("bpf").ends_with(2);
        refused.says(&format!("{file} was not written by `cargo xtask bpf`, and `bindings` in ")).in_one_line();
        assert_eq!(workspace.read(file), "// Mine.\n");
        assert!(!workspace.path("kernel/objects").exists());
    }
}

#[test]
fn bindings_that_cannot_be_are_refused_and_nothing_is_written() {
    let missing = workspace("bindings = \"tool/bpf\"\ntypes = [\"nowhere\"]\n");
    missing.xtask("bpf").ends_with(1).says("no object has a type `nowhere`").says("unused_nowhere");
    assert!(!missing.path("kernel/bpf.lock").exists() && !missing.path("tool/bpf").exists());
    let refused = |bpf: &str, words: &str| drop(workspace(bpf).xtask("bpf").ends_with(2).says(words));
    refused("bindings = \"/bpf\"\n", "names `/bpf`; a relative path inside the workspace is expected");
    refused("types = [\"sample\"]\n", "are for bindings: set `bindings`");
    refused("bindings = \"x\"\ntypes = [\"struct x\"]\n", "the name of a type is expected");
}

/// The types of an object stand in for those of a kernel.
#[test]
fn a_source_compiles_against_the_types_that_are_written_and_reads_them_by_relocations() {
    let program = "#define SEC(name) __attribute__((section(name), used))\n#include \"vmlinux.h\"\n\
                   SEC(\"raw_tp/sys_enter\") int tick(struct event *event) { return event->unions.kind; }\n\
                   SEC(\"license\") char LICENSE[] = \"GPL\";\n";
    let workspace = workspace("").write("kernel/tick.bpf.c", program);
    let types = concat!(env!("CARGO_MANIFEST_DIR"), "/object/tests/bindings/layouts_bpfel.o");
    let used = format!("vmlinux '{types}' --used -o kernel/include/vmlinux.h");
    let plan = format!("# write those types that the sources use of {types} to kernel/include/vmlinux.h\n");
    workspace.xtask(&format!("{used} --plan")).succeeds().says(&plan);
    assert!(!workspace.path("kernel/include/vmlinux.h").exists());
    workspace.xtask(&used).succeeds();
    let header = workspace.read("kernel/include/vmlinux.h");
    assert!(header.contains("__u32 kind;") && !header.contains("f64"), "{header}");
    workspace.xtask("bpf").succeeds();
    workspace.xtask("report").succeeds().says("struct event: unions.kind");
    workspace.xtask(&format!("vmlinux '{types}'")).succeeds().says("double f64;");

    workspace.xtask("vmlinux nowhere").ends_with(2).says("there is no file nowhere, and unknown architecture");
    workspace.xtask(&format!("vmlinux '{types}' --json")).ends_with(2).says("name a file with --output");
    workspace.xtask("vmlinux README.md").ends_with(1).says("README.md: it has no BTF, or is compressed");
}
