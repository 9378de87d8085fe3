//! A kprobe reads arguments out of the registers of each architecture, by bindings, on real kernels.

use std::collections::BTreeSet;

use super::boot::{can_boot, verdicts, with_tool};
use super::support::{Workspace, own_root};
use bpfship::testing::{ARCHES, Arch};

const PROGRAM: &str = include_str!("../registers/registers.bpf.c");
const MAIN: &str = include_str!("../registers/program.rs");

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_kprobe_finds_the_arguments_of_a_call_in_the_registers() {
    let wanted = ["amd64", "arm64", "riscv64", "s390x"];
    let arches: Vec<&Arch> = ARCHES.iter().filter(|arch| wanted.contains(&arch.name) && can_boot(arch)).collect();
    if arches.is_empty() {
        return;
    }
    let embed = own_root().join("xtask/embed");
    let embed = embed.display();
    let manifest = format!(
        "[package]\nname = \"tool\"\nversion = \"0.3.0\"\nedition = \"2024\"\nlicense = \"MIT\"\n
[dependencies]\naya = {{ version = \"0.14\", default-features = false }}
bpfship-embed = {{ path = '{embed}', default-features = false }}\n
[build-dependencies]\nbpfship-embed = {{ path = '{embed}' }}\n
[target.'cfg(any())'.dependencies]\nlibbpf-sys = {{ version = \"=1.7.0\", default-features = false }}\n"
    );
    let config = "package = \"tool\"\n[workspace.metadata.bpfship.bpf]\nfolder = \"kernel\"\nbindings = \"tool/src\"\n";
    let workspace = Workspace::new("registers", config)
        .write("tool/Cargo.toml", &manifest)
        .write("tool/build.rs", "fn main() {\n    bpfship_embed::check(\"../kernel\");\n}\n")
        .write("tool/src/main.rs", MAIN)
        .write("kernel/registers.bpf.c", PROGRAM);
    for path in ["tool/main.rs", "kernel/tick.bpf.c"] {
        std::fs::remove_file(workspace.path(path)).unwrap();
    }
    let workspace = with_tool(workspace);
    workspace
        .xtask("bpf")
        .succeeds()
        .says("registers_{x86,arm64,riscv,loongarch}_bpfel.o, registers_{s390,mips}_bpfeb.o");
    let flags: String = arches.iter().map(|arch| format!(" --arch {arch}")).collect();
    workspace.xtask(&format!("dist{flags}")).succeeds();
    workspace.xtask("boot").succeeds();
    let passed: BTreeSet<(String, String)> =
        verdicts(&workspace).into_iter().map(|((arch, _), verdict)| (arch, verdict.to_string())).collect();
    assert_eq!(passed, arches.iter().map(|arch| (arch.name.to_owned(), "\"pass\"".to_owned())).collect());
}
