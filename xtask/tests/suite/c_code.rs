//! An application with C code: who compiles it, for which processor, and to which bytes.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use bpfship::testing::ARCHES;

use super::support::{Run, Workspace, has, list, own_root};

/// One architecture of each kind of standard library; for the second, cc would take the machine's own compiler.
const DIST: &str = "dist --arch arm64,s390x";

/// What every machine makes of [`workspace`], as these sums are from another one than that which runs the test. They change with the
/// toolchain, the compiler, the flags and what is packed, and never with the machine.
const SUMS: [&str; 2] = [
    "1c653fe7d01c4d582fcc64ed97658d8bd0d0034be9e801671d74768cd176838f  tool-0.3.0-aarch64-unknown-linux-musl.tar.gz",
    "a00edd6195a7c7241fda41b0215825339e338cc5409573cc0669c7e05aead6ba  tool-0.3.0-s390x-unknown-linux-musl.tar.gz",
];

/// Names libraries that are part of the C library. Links a program besides, as a `configure` does to try something out. And compiles
/// a BPF program, and strips it: that changes nothing, whatever the machine has by this name.
const BUILD: &str = r#"use std::{env, fs, process::Command};

fn main() {
    cc::Build::new().file("sum.c").file("start.S").compile("sum");
    println!("cargo::rerun-if-changed=sum.c");
    for library in ["atomic", "dl", "m", "pthread", "rt", "util"] {
        println!("cargo::rustc-link-lib={library}");
    }
    let object = env::var("OUT_DIR").unwrap() + "/pass.o";
    let run = |program: &str, args: &[&str]| assert!(Command::new(program).args(args).status().unwrap().success());
    let cc = env::var("TARGET").unwrap() + "-cc";
    run(&cc, &["trial.c", "-o", &(env::var("OUT_DIR").unwrap() + "/trial")]);
    run("clang", &["-target", "bpf", "-O2", "-g", "-c", "pass.c", "-o", &object]);
    let made = fs::read(&object).unwrap();
    assert!(!String::from_utf8_lossy(&made).contains(".debug_info"));
    run("llvm-strip", &["-g", &object]);
    assert_eq!(fs::read(&object).unwrap(), made);
}
"#;

const PASS: &str = r#"struct task { int id; };
struct task___old { int id; };

__attribute__((section("xdp"))) int pass(struct task *task) {
    struct task___old *old = task;
    return old ? 2 : 1;
}
"#;

const SUM: &str = r#"#include <stdint.h>
#include <stdio.h>
#include <linux/version.h>

extern int answer;

int sum(const uint32_t *numbers, int count, char *text, size_t size) {
    int sum = 0;
    for (int i = 0; i < count; i++) sum += numbers[i];
    uint32_t one = 1;
    return snprintf(text, size, "%d %s-endian %s %s %d", sum, *(char *)&one ? "little" : "big", __FILE__, __DATE__, answer);
}
"#;

/// Wide floats are functions of the compiler's on some architectures, also in musl's `printf`.
const TRIAL: &str = r#"#include <stdio.h>

int main(int count, char **words) {
    return printf("%Lf", (long double)count * 3) < 0;
}
"#;

/// The preprocessor and the assembler.
const START: &str = r#"#define ANSWER 42
    .data
    .globl answer
    .balign 4
answer: .long ANSWER
    .section .note.GNU-stack,"",@progbits
"#;

const MAIN: &str = r#"unsafe extern "C" {
    fn sum(numbers: *const u32, count: i32, text: *mut u8, size: usize) -> i32;
}

fn main() {
    let mut text = [0; 200];
    let length = unsafe { sum([40, 2].as_ptr(), 2, text.as_mut_ptr(), text.len()) } as usize;
    println!("{}", str::from_utf8(&text[..length]).unwrap());
}
"#;

/// What Cargo.lock of this workspace has of a package and all that it depends on.
fn locked(name: &str, found: &mut BTreeSet<String>) {
    let lock = fs::read_to_string(own_root().join("Cargo.lock")).unwrap();
    let start = format!("name = \"{name}\"\n");
    let entry = lock.split("\n[[package]]\n").find(|entry| entry.starts_with(&start)).unwrap();
    if found.insert(format!("\n[[package]]\n{entry}")) {
        let names = entry.lines().filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","));
        names.for_each(|name| locked(name, found));
    }
}

/// A workspace whose build script compiles C.
pub fn workspace(name: &str) -> Workspace {
    let workspace = Workspace::usual(name);
    let [manifest, main, lock] = ["tool/Cargo.toml", "tool/main.rs", "Cargo.lock"].map(|path| workspace.read(path));
    let (object, _) = main.split_once("fn main()").unwrap();
    let (head, tool) = lock.split_once("\n[[package]]\n").unwrap();
    let mut entries = BTreeSet::new();
    locked("cc", &mut entries);
    entries.insert(format!("\n[[package]]\n{tool}dependencies = [\n \"cc\",\n]\n"));
    workspace
        .write("tool/Cargo.toml", &format!("{manifest}\n[build-dependencies]\ncc = \"1\"\n"))
        .write("tool/main.rs", &format!("{object}{MAIN}"))
        .write("tool/build.rs", BUILD)
        .write("tool/sum.c", SUM)
        .write("tool/pass.c", PASS)
        .write("tool/trial.c", TRIAL)
        .write("tool/start.S", START)
        .write("Cargo.lock", &format!("{head}{}", entries.into_iter().collect::<String>()))
}

/// Calls the machine's own compiler by name.
const BY_NAME: &str = r#"use std::{env, process::Command};

fn main() {
    let out = env::var("OUT_DIR").unwrap();
    let run = |program: &str, args: &[&str]| assert!(Command::new(program).args(args).status().unwrap().success());
    let (object, library) = (format!("{out}/sum.o"), format!("{out}/libsum.a"));
    run("gcc", &["-c", "sum.c", "-o", &object]);
    run("ar", &["crs", &library, &object]);
    println!("cargo::rustc-link-search=native={out}\ncargo::rustc-link-lib=static=sum");
}
"#;

/// clang's assembler gives the address of `late` as half of it only.
const HALF: &str = r#"    .option pic2
    .data
    .globl answer
answer: .long half
    .text
half: la $2, late
    .data
    .space 8
late: .long 42
"#;

fn sums(workspace: &Workspace) -> String {
    workspace.read("dist/SHA256SUMS")
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn c_code_runs_on_the_oldest_processor_and_is_the_same_bytes_in_another_folder() {
    let here = workspace("c");
    here.xtask(DIST).succeeds();
    // What build scripts write among the sources of a crate is not written to the user's.
    let registry = here.path("target/bpfship/cargo-home/registry");
    assert!(!registry.is_symlink() && !registry.join("src").is_symlink() && !list(&registry.join("src")).is_empty());
    let manifest: serde_json::Value = serde_json::from_str(&here.read("dist/release.json")).unwrap();
    assert!(manifest["flags"].to_string().contains("-march=z10"), "{manifest}");
    here.shell("cd dist && for archive in *.tar.gz; do tar xzf $archive; done").succeeds();
    for arch in ARCHES.iter().filter(|arch| DIST.split([' ', ',']).any(|word| word == arch.name)) {
        let emulator = format!("qemu-{}", arch.qemu);
        let found = Command::new(&emulator).arg("--version").output().is_ok();
        if !has(&emulator, "Debian: apt install qemu-user, version 10 from backports", found) {
            continue;
        }
        let binary = here.path(&format!("dist/tool-0.3.0-{}/probe", arch.triple));
        let order = arch.endian.name();
        Run::of(Command::new(&emulator).args(["-cpu", arch.oldest_cpu]).arg(binary))
            .ends_with(0)
            .says(&format!("42 {order}-endian sum.c Jan  1 1970 42\n"));
    }

    let elsewhere = workspace("c in another folder").env("SOURCE_DATE_EPOCH", "1700000000");
    elsewhere.xtask(DIST).succeeds();
    let made = sums(&here);
    assert_eq!(made, sums(&elsewhere));
    let archives: Vec<&str> = made.lines().filter(|line| line.ends_with(".tar.gz")).collect();
    assert_eq!(archives, SUMS);
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_the_machines_own_compiler_made_is_not_linked_in_silence() {
    let workspace = workspace("c by name").write("tool/build.rs", BY_NAME);
    // Also the second time, when nothing is compiled anew.
    for _ in 0..2 {
        let run = workspace.xtask("dist --arch amd64").ends_with(1);
        run.says("the build script of `tool` links").says("which another compiler made (GCC: ").says("the crate `cc`");
    }
    assert!(!workspace.path("dist/release.json").exists());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_the_linker_only_warns_of_is_refused_for_mips() {
    let workspace = workspace("half an address").write("tool/start.S", HALF);
    let run = workspace.xtask("dist --arch mips").ends_with(1);
    run.says("mips: cannot build `tool`: linking failed, because assembler of a crate holds half an address");
    assert!(!workspace.path("dist/release.json").exists());
}
