//! 32-bit PCs: an application on libbpf works on a real kernel there, and one on aya is refused.

use std::process::Command;

use super::boot::{can_boot, verdicts};
use super::support::{Run, Workspace, has, own_root};
use bpfship::testing::{ARCHES, Arch};

const PROGRAM: &str = include_str!("../libbpf/calls.bpf.c");
const MAIN: &str = include_str!("../libbpf/program.rs");

const REGISTERS: &str = r#"#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("kprobe/do_exit") int leave(struct pt_regs *context) {
    return PT_REGS_PARM1(context) & 1;
}

char LICENSE[] SEC("license") = "GPL";
"#;

fn pc() -> &'static Arch {
    ARCHES.iter().find(|arch| arch.name == "386").unwrap()
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_application_on_libbpf_loads_its_program_on_a_32_bit_pc() {
    let embed = own_root().join("xtask/embed");
    let embed = embed.display();
    let manifest = format!(
        "[package]\nname = \"tool\"\nversion = \"0.3.0\"\nedition = \"2024\"\nlicense = \"MIT\"\n
[dependencies]\nlibbpf-rs = \"=0.27.2\"
bpfship-embed = {{ path = '{embed}', default-features = false }}\n
[build-dependencies]\nbpfship-embed = {{ path = '{embed}' }}\n
[target.'cfg(any())'.dependencies]\nlibbpf-sys = {{ version = \"=1.7.0\", default-features = false }}\n"
    );
    let config = "package = \"tool\"\narches = [\"386\"]\nbpf.folder = \"kernel\"\nboot.timeout = 600\nboot.commands = [\"--version\", \"--calls\"]\n";
    let workspace = Workspace::new("libbpf", config)
        .write("tool/Cargo.toml", &manifest)
        .write("tool/build.rs", "fn main() {\n    bpfship_embed::check(\"../kernel\");\n}\n")
        .write("tool/src/main.rs", MAIN)
        .write("kernel/calls.bpf.c", PROGRAM);
    for path in ["tool/main.rs", "kernel/tick.bpf.c"] {
        std::fs::remove_file(workspace.path(path)).unwrap();
    }
    workspace.shell("cargo generate-lockfile --quiet").succeeds();
    workspace.xtask("bpf").succeeds().says("calls_bpfel.o");
    workspace.xtask("dist").succeeds();
    // libbpf's macros have the registers of x86_64 for `x86`, and the arguments of a 32-bit kernel are in others.
    let workspace = workspace.write("kernel/registers.bpf.c", REGISTERS);
    workspace.xtask("bpf").ends_with(1).says("1 of 2 compiled").says("Must specify a BPF target arch");
    workspace.shell("cd dist && tar xzf *.tar.gz").succeeds();

    let emulator = format!("qemu-{}", pc().qemu);
    let found = Command::new(&emulator).arg("--version").output().is_ok();
    if has(&emulator, "Debian: apt install qemu-user, version 10 from backports", found) {
        let binary = workspace.path(&format!("dist/tool-0.3.0-{}/tool", pc().triple));
        let run = |word: &str| Run::of(Command::new(&emulator).args(["-cpu", pc().oldest_cpu]).arg(&binary).arg(word));
        run("--version").succeeds().says("with 32 bits");
        // bpf() is not to be had in user mode.
        run("--calls").ends_with(1).says("Function not implemented");
    }
    if can_boot(pc()) {
        workspace.xtask("boot").succeeds();
        let key = ("386".to_owned(), "debian-12-6.1".to_owned());
        assert_eq!(verdicts(&workspace), [(key, "pass".into())].into());
    }
}

#[test]
fn what_depends_on_aya_is_refused_for_a_32_bit_pc_before_anything_is_built() {
    let copy = Workspace::copy_of_our_own("aya-386");
    let refusal = "exectrace cannot be built for 386, because it depends on aya-obj: aya has no bindings to the kernel for 32-bit x86";
    copy.xtask("dist --arch 386 --plan").ends_with(2).says(refusal).in_one_line();
    copy.xtask("dist --arch amd64 --plan").succeeds();
    // What an earlier run learned of crates is of another place.
    let moved = "mv ../aya-386 ../aya-moved && cd ../aya-moved && { \"$BPFSHIP\" dist --arch 386 --plan; result=$?; \
                 mv ../aya-moved ../aya-386; exit $result; }";
    copy.shell(moved).ends_with(2).says(refusal);
}
