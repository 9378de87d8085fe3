//! BPF written in Rust: what it becomes, what is refused, and that this machine's kernel takes it.

use std::fs;

use super::engines::{IMAGES, engines};
use super::support::{Workspace, copy_changed, has, list, own_root};

/// The workspace in `xtask/tests/rust`.
fn fixture(name: &str) -> Workspace {
    let workspace = Workspace::empty(name);
    let source = own_root().join("xtask/tests/rust");
    for name in list(&source) {
        copy_changed(&source.join(&name), &workspace.path(&name));
    }
    let manifest = fs::read_to_string(workspace.path("loader/Cargo.toml")).unwrap();
    let embed = own_root().join("xtask/embed");
    let pin = fs::read_to_string(own_root().join("rust-toolchain.toml")).unwrap();
    workspace
        .write("loader/Cargo.toml", &manifest.replace("../../../embed", &embed.to_string_lossy()))
        .write("rust-toolchain.toml", &pin)
        .write("README.md", "Programs.\n")
        .write("LICENSE", "MIT\n")
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("BPFSHIP_ENGINE", "host")
}

/// Holds the objects that cargo would have left in its own folder, as aya's template was before it had aya-build.
const TAKES: &str = r#"static OBJECTS: [&[u8]; 5] = [
    include_bytes!("../../target/bpfel-unknown-none/release/events"),
    include_bytes!("../../target/bpfel-unknown-none/release/forked"),
    include_bytes!("../../target/bpfel-unknown-none/release/opened"),
    include_bytes!("../../target/bpfel-unknown-none/release/packets"),
    include_bytes!("../../target/bpfel-unknown-none/release/sent"),
];

fn main() {
    let bytes = OBJECTS.iter().flat_map(|object| object.iter());
    println!("{}", bytes.fold(0, |sum: u64, byte| sum.rotate_left(5) ^ u64::from(std::hint::black_box(*byte))));
}
"#;

#[test]
#[ignore = "long: --include-ignored runs it"]
fn programs_in_rust_become_objects_that_this_kernel_takes() {
    let workspace = fixture("rust-bpf");
    workspace
        .xtask("bpf --plan")
        .succeeds()
        .says("--config=target.bpfeb-unknown-none.linker=")
        .says("--cfg=bpf_target_arch=\\\"s390x\\\"")
        .says("--bpf-disable-trap-unreachable");
    workspace
        .xtask("bpf")
        .succeeds()
        .says("probes/src/bin/events.rs: events_bpfel.o, events_bpfeb.o")
        .says("opened_{x86,arm64,riscv,loongarch}_bpfel.o, opened_{s390,mips}_bpfeb.o")
        .says("packets_bpfel.o, packets_bpfeb.o");
    workspace.xtask("bpf --check").succeeds();
    workspace.xtask("report").succeeds().says("raw_enter: raw_tp/sys_enter");

    // Nothing is compiled again, and what changes is noticed.
    workspace.xtask("bpf").succeeds().says("5 sources, whose objects are up to date");
    let source = fs::read_to_string(workspace.path("probes/src/bin/sent.rs")).unwrap();
    let workspace = workspace.write("probes/src/bin/sent.rs", &source.replace("    1\n", "    1 + 0 * 2\n"));
    workspace.xtask("report").ends_with(1).says("probes/src/bin/sent.rs changed");
    workspace.xtask("bpf").succeeds().says("as before");

    // The same bytes in another folder.
    let other = fixture("another-name").write("probes/src/bin/sent.rs", &source.replace("    1\n", "    1 + 0 * 2\n"));
    other.xtask("bpf").succeeds();
    for name in list(&workspace.path("bpf/objects")) {
        let read = |of: &Workspace| fs::read(of.path(&format!("bpf/objects/{name}"))).unwrap();
        assert!(read(&workspace) == read(&other), "{name}");
    }
    are_the_same_from_each_engine(other);

    // One of its programs embeds objects, and the other one has its build script ask for them, as aya-build does.
    workspace.xtask("dist --arch amd64").succeeds();
    let manifest = fs::read_to_string(workspace.path("dist/release.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let binaries = manifest.pointer("/artifacts/0/binaries").and_then(serde_json::Value::as_array).unwrap();
    let held = |name: &str| binaries.iter().find(|binary| binary["file"] == name).unwrap()["bpf_objects"].clone();
    assert_eq!(held("asks"), serde_json::json!(["events_bpfel.o", "opened_x86_bpfel.o"]));
    assert_eq!(held("loader").as_array().unwrap().len(), 5);
    workspace.xtask("verify").succeeds();
    let root = rustix::process::geteuid().is_root();
    if has("bpf()", "run it as root", root && cfg!(target_arch = "x86_64")) {
        let run = workspace.shell("tar xzf dist/loader-0.1.0-x86_64-unknown-linux-musl.tar.gz && ./loader-*/loader");
        let run = run.succeeds();
        for name in ["events", "opened", "packets", "sent", "forked"] {
            assert!(run.text().contains(&format!("{name}: ")), "{name}");
        }
    }
    takes_objects_from_the_target_folder(workspace);
}

/// C beside.
const C: &str = "__attribute__((section(\"raw_tp/sys_enter\"), used)) int beside(void *context) { return 0; }\n\
                 char _license[] __attribute__((section(\"license\"), used)) = \"GPL\";\n";

/// Whatever engine compiles C, in the same run or not, objects of Rust are made on this machine.
fn are_the_same_from_each_engine(workspace: Workspace) {
    let _images = IMAGES.read().unwrap();
    let workspace = workspace.write("bpf/beside.bpf.c", C);
    let mut objects = Vec::new();
    for engine in [&["host"], engines().as_slice()].concat() {
        let _ = fs::remove_file(workspace.path("target/bpfship/bpf-records.json"));
        workspace.xtask(&format!("bpf --engine {engine}")).succeeds();
        let names = list(&workspace.path("bpf/objects"));
        let read =
            names.into_iter().map(|name| (fs::read(workspace.path(&format!("bpf/objects/{name}"))).unwrap(), name));
        objects.push((engine, read.collect::<Vec<_>>()));
    }
    assert!(objects[0].1.len() >= 16, "{}", objects[0].1.len());
    for (engine, made) in &objects {
        assert!(*made == objects[0].1, "{engine}");
    }
}

/// The application finds the objects for each target where cargo would have left those for this machine.
fn takes_objects_from_the_target_folder(workspace: Workspace) {
    fs::remove_file(workspace.path("asks/build.rs")).unwrap();
    let manifest = workspace.read("Cargo.toml");
    let (members, _) = manifest.split_once("[workspace.metadata.bpfship]").unwrap();
    let config = |bpf: &str| format!("{members}[workspace.metadata.bpfship]\npackage = \"asks\"\n{bpf}");
    let copies = "bpf.copies = \"target/bpfel-unknown-none/release\"\n";
    let workspace = workspace.write("asks/src/main.rs", TAKES).write("Cargo.toml", &config(copies));
    workspace
        .xtask("dist")
        .ends_with(2)
        .says("`copies` in [workspace.metadata.bpfship.bpf] of Cargo.toml is for BPF in Rust");
    let workspace = workspace.write("Cargo.toml", &config(&format!("bpf.rust = [\"probes\"]\n{copies}")));
    let mut sums = Vec::new();
    for _ in 0..2 {
        workspace.xtask("dist --arch amd64,s390x").succeeds();
        let manifest: serde_json::Value = serde_json::from_str(&workspace.read("dist/release.json")).unwrap();
        let artifacts = manifest["artifacts"].as_array().unwrap();
        for (arch, names) in
            [("amd64", ["events_bpfel.o", "opened_x86_bpfel.o"]), ("s390x", ["events_bpfeb.o", "opened_s390_bpfeb.o"])]
        {
            let artifact = artifacts.iter().find(|artifact| artifact["arch"] == arch).unwrap();
            let held = artifact["binaries"][0]["bpf_objects"].as_array().unwrap();
            assert!(held.len() == 5 && names.iter().all(|name| held.iter().any(|it| it == name)), "{held:?}");
        }
        sums.push(workspace.read("dist/SHA256SUMS"));
    }
    assert_eq!(sums[0], sums[1]);
    workspace.xtask("verify").succeeds();
}

/// A program, in which `body` is what its function does.
fn program(before: &str, body: &str) -> String {
    format!(
        "#![no_std]\n#![no_main]\n{before}\n#[unsafe(no_mangle)]\n#[unsafe(link_section = \"raw_tp/sys_enter\")]\n\
         pub extern \"C\" fn tick(context: *const u64) -> u64 {{\n    {body}\n}}\n\
         #[panic_handler]\nfn panic(_: &core::panic::PanicInfo) -> ! {{\n    loop {{}}\n}}\n"
    )
}

/// A build script that has C linked to its program, and does something `more` with what was compiled.
fn shim(more: &str) -> String {
    format!(
        "fn main() {{\n    let object = std::env::var(\"OUT_DIR\").unwrap() + \"/shim.o\";\n    \
         let words = [\"-target\", \"bpf\", \"-O2\", \"-emit-llvm\", \"-c\", \"src/shim.c\", \"-o\", &object];\n    \
         if !std::process::Command::new(\"clang\").args(words).status().unwrap().success() {{\n        std::process::exit(1);\n    }}\n    \
         {more}\n    println!(\"cargo:rerun-if-changed=src/shim.c\\ncargo:rustc-link-arg-bins={{object}}\");\n}}\n"
    )
}

/// What is included by C that a build script compiles is an input, and what was compiled elsewhere is not linked.
fn links_c(workspace: Workspace) -> Workspace {
    let calls = program("unsafe extern \"C\" { fn twice(n: u64) -> u64; }", "unsafe { twice(*context) }");
    let c = |start: &str| format!("{start}unsigned long twice(unsigned long n) {{ return 2 * n; }}\n");
    let workspace = workspace
        .write("probe/src/main.rs", &calls)
        .write("probe/build.rs", &shim(""))
        .write("probe/src/shim.c", &c("int seven =\n#include \"../../number\"\n;\n"));
    workspace.xtask("bpf").ends_with(1).says("compiles C that includes").says("/number, which bpf.lock does not know");
    let workspace = workspace
        .write("probe/src/shim.c", &c(""))
        .write("probe/build.rs", &shim("std::fs::write(&object, \"other\").unwrap();"));
    workspace.xtask("bpf").ends_with(1).says("a build script links shim.o to a BPF program, which is no bitcode");
    let workspace = workspace.write("probe/build.rs", &shim(""));
    workspace.xtask("bpf").succeeds();
    workspace.xtask("report").succeeds();
    let as_library = shim("").replace("rustc-link-arg-bins=", "rustc-link-lib=link-arg=");
    let workspace = workspace.write("probe/build.rs", &as_library);
    workspace.xtask("bpf").succeeds();
    let workspace = workspace.write("probe/src/shim.c", &c("// Doubles.\n"));
    workspace.xtask("report").ends_with(1).says("probe/src/shim.c changed");
    workspace
}

const MANIFEST: &str = "[package]\nname = \"probe\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
const LOCKED: &str = "version = 4\n\n[[package]]\nname = \"probe\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"tool\"\nversion = \"0.3.0\"\n";

/// A workspace with a package `probe`, which depends on nothing.
fn probe(name: &str) -> Workspace {
    let config = "package = \"tool\"\nbpf.rust = [\"probe\"]\nbpf.folder = \"kernel\"\narches = [\"amd64\"]\n";
    let workspace = Workspace::new(name, config).write("probe/Cargo.toml", MANIFEST).write("Cargo.lock", LOCKED);
    let root = workspace.read("Cargo.toml");
    fs::remove_file(workspace.path("kernel/tick.bpf.c")).unwrap();
    workspace.write("Cargo.toml", &root.replace("[\"tool\"]", "[\"tool\", \"probe\"]"))
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn features_choose_what_of_a_package_is_compiled() {
    let features = "[features]\nseven = []\n[[bin]]\nname = \"probe\"\npath = \"src/main.rs\"\n\
                    [[bin]]\nname = \"more\"\npath = \"src/more.rs\"\nrequired-features = [\"seven\"]\n";
    let source = program("", "if cfg!(feature = \"seven\") { 7 } else { context as u64 }");
    let workspace = probe("rust-features")
        .write("probe/Cargo.toml", &format!("{MANIFEST}{features}"))
        .write("probe/src/main.rs", &source)
        .write("probe/src/more.rs", &source);
    workspace.xtask("bpf").succeeds();
    assert_eq!(list(&workspace.path("kernel/objects")), ["probe_x86_bpfel.o"]);

    let config = workspace.read("Cargo.toml");
    let variant = |text: &str| format!("{config}\n[[workspace.metadata.bpfship.bpf.variant]]\n{text}");
    let workspace = workspace.write("Cargo.toml", &variant("name = \"few\"\nfeatures = [\"seven\"]\n"));
    workspace.xtask("bpf").succeeds().says("probe/src/main.rs (few): probe_few_x86_bpfel.o");
    let object = |name: &str| fs::read(workspace.path(&format!("kernel/objects/{name}_x86_bpfel.o"))).unwrap();
    assert_eq!(list(&workspace.path("kernel/objects")).len(), 3);
    assert!(object("probe") != object("probe_few") && object("more_few").len() == object("probe_few").len());
    workspace.xtask("bpf --check").succeeds();

    let seven = object("probe_few");
    let workspace = workspace.write("Cargo.toml", &variant("sources = [\"probe\"]\nfeatures = [\"seven\"]\n"));
    workspace.xtask("report").ends_with(1);
    workspace.xtask("bpf").succeeds();
    assert_eq!(list(&workspace.path("kernel/objects")), ["probe_x86_bpfel.o"]);
    assert!(fs::read(workspace.path("kernel/objects/probe_x86_bpfel.o")).unwrap() == seven);

    let workspace = workspace.write("Cargo.toml", &variant("name = \"few\"\nfeatures = [\"eight\"]\n"));
    workspace.xtask("bpf").ends_with(2).says("no package of").says("known are seven").in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_fault_of_a_program_in_rust_is_said_in_a_sentence() {
    let mut workspace = probe("rust-faults");

    let forever = "#[inline(never)]\nfn forever(n: u64, p: *const u64) -> u64 {\n    \
                   if n == 0 { 0 } else { unsafe { core::ptr::read_volatile(p) + forever(n - 1, p) * 3 } }\n}";
    for (before, body, words) in [
        (
            "unsafe extern \"C\" { fn missing() -> u64; }",
            "let _ = context; unsafe { missing() }",
            "probe/src/main.rs:7: `missing` is used",
        ),
        (
            "",
            "let mut large = [0u64; 100];\n    for at in 0..100 { unsafe { core::ptr::write_volatile(&mut large[at], context as u64) } }\n    \
             unsafe { core::ptr::read_volatile(&large[9]) }",
            ": `tick` has variables of more than the 512 bytes",
        ),
        (forever, "unsafe { forever(*context, context) }", "ends up calling itself, which no kernel takes"),
        (
            "",
            "let wide = unsafe { *context } as u128 | 1 << 70;\n    (core::hint::black_box(wide) / wide) as u64",
            "`tick` multiplies, divides or shifts numbers of 128 bits",
        ),
        (
            "fn twice(n: u64) -> u64 { 2 * n }\nstatic TWICE: fn(u64) -> u64 = twice;",
            "unsafe { core::ptr::read_volatile(&TWICE)(*context) }",
            "`tick` calls a function by a pointer",
        ),
        (
            "#[unsafe(link_section = \"license\")]\n#[unsafe(no_mangle)]\nstatic LICENSE: &str = \"GPL\";",
            "context as u64",
            "its license is no text that ends with a zero byte: have a `static LICENSE",
        ),
        (
            "static FOLDER: &str = env!(\"CARGO_MANIFEST_DIR\");",
            "unsafe { FOLDER.as_ptr().add(*context as usize & 7).read_volatile().into() }",
            "it contains a path of this machine (",
        ),
    ] {
        workspace = workspace.write("probe/src/main.rs", &program(before, body));
        workspace.xtask("bpf").ends_with(1).says(words);
    }

    // The kernel decides whether a panic can be reached.
    let index = program("static TABLE: [u64; 4] = [1, 2, 3, 4];", "unsafe { TABLE[*context as usize] }");
    let workspace = workspace.write("probe/src/main.rs", &index);
    workspace.xtask("bpf").succeeds().says("probe/src/main.rs:").says("warning: a panic stays in `tick`");

    // A copy of an unknown length is a call.
    let copy = "unsafe {\n        let mut bytes = [0u8; 64];\n        let length = (*context & 63) as usize;\n        \
                core::ptr::copy_nonoverlapping(context.cast(), bytes.as_mut_ptr(), length);\n        \
                core::ptr::read_volatile(&bytes[9]).into()\n    }";
    let workspace = workspace.write("probe/src/main.rs", &program("", copy));
    workspace.xtask("bpf").ends_with(1).says("`memcpy` is called").says("aya-ebpf has the usual ones");
    let workspace = workspace.write("probe/src/main.rs", &program("", "context as u64"));
    workspace.xtask("bpf").succeeds().says("probe_x86_bpfel.o").says("it has no license");

    // A file that is no input, once in the repository and once outside.
    let reads = |file: &str| format!("context as u64 + include_bytes!({file:?})[0] as u64");
    let outside = workspace.path("../number");
    let mut workspace = workspace.write("number", "7").write("../number", "7").write("probe/src/number", "7");
    for file in ["../../number", outside.to_str().unwrap()] {
        workspace = workspace.write("probe/src/main.rs", &program("", &reads(file)));
        workspace
            .xtask("bpf")
            .ends_with(1)
            .says("/number, which bpf.lock does not know: have it in the folder of its package");
    }
    // Its script depends on the linker that it finds, as that of aya's template does.
    let script = "fn main() {\n    let path = std::env::var_os(\"PATH\").unwrap();\n    \
                  let mut found = std::env::split_paths(&path).map(|folder| folder.join(\"bpf-linker\"));\n    \
                  println!(\"cargo:rerun-if-changed={}\", found.find(|file| file.is_file()).unwrap().display());\n}\n";
    let workspace =
        workspace.write("probe/src/main.rs", &program("", &reads("number"))).write("probe/build.rs", script);
    workspace.xtask("bpf").succeeds();

    let workspace = links_c(workspace);

    // As a workspace of its own, with a Rust of its own, it is named by its folder.
    let own = "version = 4\n\n[[package]]\nname = \"probe\"\nversion = \"0.1.0\"\n";
    let root = fs::read_to_string(workspace.path("Cargo.toml")).unwrap();
    let workspace = workspace
        .write(
            "Cargo.toml",
            &root
                .replace("[\"tool\", \"probe\"]", "[\"tool\"]\nexclude = [\"own\"]")
                .replace("rust = [\"probe\"]", "rust = [\"own/probe\"]"),
        )
        .write("Cargo.lock", &LOCKED.replace("[[package]]\nname = \"probe\"\nversion = \"0.1.0\"\n\n", ""))
        .write("own/probe/Cargo.toml", &format!("{MANIFEST}[workspace]\n"))
        .write("own/probe/Cargo.lock", own)
        .write("own/probe/rust-toolchain.toml", "[toolchain]\nchannel = \"nightly\"\n")
        .write("own/probe/src/main.rs", &program("", "context as u64"));
    workspace
        .xtask("bpf")
        .succeeds()
        .says("own/probe/rust-toolchain.toml has no effect here")
        .says("probe_x86_bpfel.o");
    workspace.xtask("report").succeeds();

    let other = fs::read_to_string(workspace.path("Cargo.toml")).unwrap();
    let workspace = workspace.write("Cargo.toml", &other.replace("[\"own/probe\"]\nbpf", "[\"prob\"]\nbpf"));
    workspace
        .xtask("bpf")
        .ends_with(2)
        .says("names `prob`, which is no package of the workspace: it has")
        .in_one_line();
}
