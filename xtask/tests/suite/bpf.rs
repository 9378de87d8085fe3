//! `bpf`: objects from sources.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::engines::{IMAGES, engines};
use super::support::{Workspace, has, own_root};
use bpfship::testing::Endian;
use bpfship::testing::compare;
use bpfship_object::Object;

#[test]
fn objects_of_both_byte_orders_come_with_a_lock_file() {
    let workspace = Workspace::usual("objects");
    workspace.xtask("bpf").succeeds().says("kernel/tick.bpf.c: tick_bpfel.o, tick_bpfeb.o ").says("1 program: changed");
    assert_eq!(workspace.list("kernel/objects"), ["tick_bpfeb.o", "tick_bpfel.o"]);
    let lock = workspace.read("kernel/bpf.lock");
    for word in ["compiler ziglang==", "flags -target bpfeb", " include/answer.h", " tick.bpf.c", " tick_bpfel.o"] {
        assert!(lock.contains(word), "{word} is not in\n{lock}");
    }
    assert!(!lock.contains(workspace.root.to_str().unwrap()), "the lock file contains a path:\n{lock}");
}

#[test]
fn an_object_holds_no_debug_information_but_btf() {
    let workspace = Workspace::usual("sections");
    workspace.xtask("bpf").succeeds();
    let object = fs::read(workspace.path("kernel/objects/tick_bpfeb.o")).unwrap();
    let file = object::build::elf::Builder::read(&*object).unwrap();
    let names: Vec<String> = file.sections.iter().map(|section| section.name.to_string()).collect();
    assert!(names.iter().any(|name| name == ".BTF"), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("debug")), "{names:?}");
    assert_eq!(bpfship_object::check(&object, Endian::Big).unwrap(), ["tick"]);
}

#[test]
fn neither_the_folder_nor_the_environment_affects_the_bytes() {
    let here = Workspace::usual("a");
    // clang would take more flags, and more folders of headers, from these.
    let there = Workspace::usual("another folder, with a longer name")
        .env("CCC_OVERRIDE_OPTIONS", "# +-O0")
        .env("C_INCLUDE_PATH", "/usr/include");
    here.xtask("bpf").succeeds();
    there.xtask("bpf").succeeds();
    for object in here.list("kernel/objects") {
        let name = format!("kernel/objects/{object}");
        assert!(fs::read(here.path(&name)).unwrap() == fs::read(there.path(&name)).unwrap(), "{object} differs");
    }
}

#[test]
fn a_compile_error_names_the_source_and_leaves_the_old_objects_alone() {
    let workspace = Workspace::usual("error");
    workspace.xtask("bpf").succeeds();
    let before = fs::read(workspace.path("kernel/objects/tick_bpfel.o")).unwrap();
    let workspace = workspace.write("kernel/tick.bpf.c", "int x = nonsense;\n");
    workspace
        .xtask("bpf")
        .ends_with(1)
        .says("kernel/tick.bpf.c:1:9: error: use of undeclared identifier 'nonsense'")
        .says("the previous ones are untouched");
    assert!(fs::read(workspace.path("kernel/objects/tick_bpfel.o")).unwrap() == before);
    assert_eq!(workspace.list("kernel/objects"), ["tick_bpfeb.o", "tick_bpfel.o"]);
}

#[test]
fn what_no_kernel_would_take_is_refused() {
    for (name, program, complaint) in [
        ("no-program", "int x;\n", "it contains no program"),
        ("functions", "int f(int x) { return x * 3; }\n", "objects are not linked with each other"),
        (
            "elsewhere",
            "int f(int);\n__attribute__((section(\"xdp\"))) int g(int *x) { return f(*x); }\n",
            "it uses `f` (kernel/tick.bpf.c:3), which nothing in it defines, and objects are not linked with each other",
        ),
        (
            "elsewhere",
            "extern int x;\n__attribute__((section(\"xdp\"))) int g(void *c) { return x; }\n",
            "it uses `x` (kernel/tick.bpf.c:3), which nothing in it defines",
        ),
    ] {
        let license = "__attribute__((section(\"license\"))) char LICENSE[] = \"GPL\";\n";
        let workspace = Workspace::usual(name).write("kernel/tick.bpf.c", &format!("{license}{program}"));
        workspace.xtask("bpf").ends_with(1).says("0 of 1 compiled").says(complaint);
        assert!(!workspace.path("kernel/objects").exists());
    }
}

#[test]
fn the_object_of_a_source_that_is_gone_goes_too() {
    let workspace = Workspace::usual("gone").write("kernel/other.bpf.c", "#include \"tick.bpf.c\"\n");
    workspace.xtask("bpf").succeeds();
    assert_eq!(workspace.list("kernel/objects").len(), 4);
    fs::remove_file(workspace.path("kernel/other.bpf.c")).unwrap();
    workspace.xtask("bpf").succeeds();
    assert_eq!(workspace.list("kernel/objects"), ["tick_bpfeb.o", "tick_bpfel.o"]);
}

#[test]
fn the_checked_in_objects_are_what_their_sources_give() {
    let copy = Workspace::copy_of_our_own("objects");
    copy.xtask("bpf").succeeds();
    for name in copy.list("bpf/objects") {
        let path = format!("bpf/objects/{name}");
        let ours = fs::read(own_root().join(&path)).unwrap();
        assert!(fs::read(copy.path(&path)).unwrap() == ours, "{name} differs");
    }
    assert_eq!(copy.read("bpf/bpf.lock"), fs::read_to_string(own_root().join("bpf/bpf.lock")).unwrap());
}

/// A header as a kernel's is: hundreds of structs that point to each other, most of which the program does not look
/// into.
fn header_as_of_a_kernel() -> String {
    const PARTS: usize = 300;
    let part = |number: usize| match number % PARTS {
        number if number % 7 == 3 => format!("union part_{number}"),
        number => format!("struct part_{number}"),
    };
    let mut text: String = (0..PARTS).map(|number| part(number) + ";\n").collect();
    text += "#define user __attribute__((btf_type_tag(\"user\")))\n";
    for number in 0..PARTS {
        let [one, two, three] = [number * 31 + 7, number * 17 + 3, number * 11 + 5].map(part);
        text += &format!("{} {{ int number; {one} *one; const {two} *two; {three} user **three; }};\n", part(number));
    }
    text += "struct whole {\n";
    for number in 0..PARTS / 2 {
        text += &format!("\t{} *pointer_{number};\n", part(number * 26));
    }
    for number in 0..PARTS / 10 {
        text += &format!("\t{} member_{number};\n", part(number * 130 + 1));
    }
    text + "};\n"
}

/// Two structs of one name, both of which are only pointed to, are part of it.
const PROGRAM_AS_FOR_A_KERNEL: &str = r#"#define SEC(name) __attribute__((section(name), used))
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#include "kernel.h"
SEC("license") char LICENSE[] = "GPL";
static long (*read)(void *to, unsigned size, const void *from) = (void *)113;
SEC("raw_tp/sys_enter") int enter(struct whole **context)
{
	struct far { int number; };
	struct near { struct far *pointer; } *near = (void *)context;
	int number = 0;
	read(&number, sizeof(number), &near->pointer);
	read(&number, sizeof(number), &context[0]->pointer_0);
	return number;
}
SEC("raw_tp/sys_exit") int leave(void *context)
{
	struct far { long number; };
	struct next { struct far *pointer; } *near = context;
	int number = 0;
	read(&number, sizeof(number), &near->pointer);
	return number;
}
#pragma clang attribute pop
"#;

fn as_for_a_kernel(name: &str) -> Workspace {
    Workspace::usual(name)
        .write("kernel/include/kernel.h", &header_as_of_a_kernel())
        .write("kernel/tick.bpf.c", PROGRAM_AS_FOR_A_KERNEL)
}

/// What clang prints for one byte order when a plan is run, with its commands changed.
fn compiled_by(plan: &str, workspace: &Workspace, endian: Endian, change: impl Fn(&str) -> String) -> Vec<u8> {
    let object = format!("tick_{}.o", endian.bpf_target());
    let is_wanted = |line: &&str| !line.contains(" clang -target ") || line.contains(&object);
    let script: String = plan.lines().filter(is_wanted).map(|line| change(line) + "\n").collect();
    workspace.shell(&format!("set -e\n{script}")).succeeds();
    fs::read(workspace.path("target/bpfship/bpf").join(object)).unwrap()
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn neither_paths_nor_the_environment_nor_an_engine_affect_the_order_of_types() {
    let mut compiled: BTreeMap<Endian, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for length in 1..=10 {
        let workspace = as_for_a_kernel(&"folder ".repeat(length));
        let plan = workspace.xtask("bpf --plan").succeeds().text();
        for (padding, endian) in [0, 700, 7000].into_iter().flat_map(|padding| Endian::ALL.map(|end| (padding, end))) {
            let environment = format!(" env -i PADDING={} ", "x".repeat(padding));
            let bytes = compiled_by(&plan, &workspace, endian, |line| line.replace(" env -i ", &environment));
            compiled.entry(endian).or_default().insert(bytes);
        }
    }
    let mut finished = BTreeMap::new();
    for (endian, compiled) in compiled {
        assert!(compiled.len() > 1, "clang gives the same bytes everywhere, so that this test shows nothing");
        let objects: BTreeSet<_> = compiled.iter().map(|bytes| Object::new(bytes, endian).unwrap().bytes).collect();
        assert_eq!(objects.len(), 1, "of {} that clang gave", compiled.len());
        let object = objects.into_iter().next().unwrap();
        for compiled in &compiled {
            let differences = compare::differences(compiled, &object).join("\n");
            assert!(differences.contains("in section `.BTF`, the types are the same"), "{differences}");
            assert!(!differences.contains("raw_tp"), "{differences}");
        }
        finished.insert(format!("tick_{}.o", endian.bpf_target()), object);
    }
    let _images = IMAGES.read().unwrap();
    for engine in [&["host"], engines().as_slice()].concat() {
        let workspace = as_for_a_kernel(engine);
        workspace.xtask(&format!("bpf --engine {engine}")).succeeds();
        for (name, object) in &finished {
            let path = workspace.path("kernel/objects").join(name);
            assert!(fs::read(path).unwrap() == *object, "{name} from {engine}");
        }
    }
}

/// A program on PATH.
fn found(program: &str) -> Option<PathBuf> {
    let paths = env::var_os("PATH")?;
    env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The pinned compiler's build for aarch64, downloaded once.
fn compiler_for_aarch64() -> Option<PathBuf> {
    const UNPACK: &str = "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract('ziglang/zig')";
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiler-for-aarch64");
    let compiler = folder.join(bpfship::testing::zig::PACKAGE).join("zig");
    if !compiler.exists() {
        fs::create_dir_all(&folder).unwrap();
        let identity = bpfship::testing::zig::identity().replace(" sha256:", " --hash=sha256:");
        fs::write(folder.join("requirements.txt"), identity).unwrap();
        let script = format!(
            "set -e; cd \"$1\"; rm -rf wheel; python3 -m pip download --quiet --require-hashes --no-deps \
             --only-binary=:all: --platform manylinux_2_17_aarch64 --dest wheel --requirement requirements.txt; \
             python3 -c \"{UNPACK}\" wheel/*.whl; rm -r wheel; chmod +x ziglang/zig; mv ziglang {}",
            bpfship::testing::zig::PACKAGE
        );
        let output = Command::new("sh").args(["-c", &script, "sh"]).arg(&folder).output().unwrap();
        let got = has("the compiler for aarch64", "it comes with pip", output.status.success());
        return got.then_some(compiler);
    }
    Some(compiler)
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_compiler_on_another_architecture_gives_the_same_object() {
    let emulator = found("qemu-aarch64");
    if !has("qemu-aarch64", "Debian: apt install qemu-user, version 10 from backports", emulator.is_some()) {
        return;
    }
    let (Some(emulator), Some(compiler)) = (emulator, compiler_for_aarch64()) else {
        return;
    };
    let workspace = as_for_a_kernel("aarch64");
    // Afterwards, nothing is left to be compiled.
    let plan = workspace.xtask("bpf --plan").succeeds().text();
    workspace.xtask("bpf").succeeds();
    for endian in Endian::ALL {
        let compiled = compiled_by(&plan, &workspace, endian, |line| match line.split_once(" clang -target ") {
            Some((before, after)) => {
                let (before, _) = before.rsplit_once(' ').unwrap();
                format!("{before} {} '{}' clang -target {after}", emulator.display(), compiler.display())
            }
            None => line.into(),
        });
        let object = Object::new(&compiled, endian).unwrap();
        let path = workspace.path(&format!("kernel/objects/tick_{}.o", endian.bpf_target()));
        assert!(fs::read(path).unwrap() == object.bytes, "{}", endian.name());
    }
}

/// All files of the BPF folder, with what is in them.
fn bpf_folder(workspace: &Workspace) -> String {
    workspace.shell("cd kernel && find . -type f -exec sha256sum {} + | sort").succeeds().text()
}

#[test]
fn check_compares_and_writes_nothing() {
    let workspace = Workspace::usual("check");
    workspace
        .xtask("bpf --check")
        .ends_with(1)
        .says(
            "the checked-in BPF objects are not what their sources give: run `cargo xtask bpf`, and commit its result",
        )
        .says("kernel/objects/tick_bpfel.o is missing")
        .says("there is no kernel/bpf.lock");
    assert!(!workspace.path("kernel/objects").exists() && !workspace.path("kernel/bpf.lock").exists());

    workspace.xtask("bpf").succeeds();
    let before = bpf_folder(&workspace);
    let checked = workspace.xtask("bpf --check --offline").succeeds();
    checked.says("kernel/objects/tick_bpfel.o").says("bytes: as its source gives it");
    workspace.xtask("bpf --check --quiet").succeeds().says_nothing_of("tick");
    assert_eq!(bpf_folder(&workspace), before);

    let program = workspace.read("kernel/tick.bpf.c");
    let workspace = workspace.write("kernel/tick.bpf.c", &program.replace("context ? ANSWER : 0", "context ? 1 : 2"));
    let before = bpf_folder(&workspace);
    workspace
        .xtask("bpf --check")
        .ends_with(1)
        .says("kernel/objects/tick_bpfeb.o: program `tick` in section `raw_tp/sys_enter`")
        .says("kernel/objects/tick_bpfel.o: program `tick` in section `raw_tp/sys_enter`")
        .says(" differs from instruction ")
        .says_nothing_of("license")
        .says("kernel/bpf.lock is out of date: kernel/tick.bpf.c changed");
    assert_eq!(bpf_folder(&workspace), before);

    // What changes no instruction is a change all the same: the lines of the source are in the object, and the lock
    // file tells the hash.
    let workspace = workspace.write("kernel/tick.bpf.c", &program.replace("? ANSWER :", "?  ANSWER :"));
    workspace
        .xtask("bpf --check")
        .ends_with(1)
        .says("tick_bpfel.o: in section `.BTF`, the types are the same, their order or the strings beside them")
        .says_nothing_of("program")
        .says("kernel/bpf.lock is out of date: kernel/tick.bpf.c changed");
}

#[test]
fn check_reports_where_an_object_was_altered() {
    let workspace = Workspace::usual("check-altered");
    workspace.xtask("bpf").succeeds();
    let path = workspace.path("kernel/objects/tick_bpfel.o");
    let good = fs::read(&path).unwrap();

    let mut altered = good.clone();
    let at = altered.windows(3).position(|bytes| bytes == b"GPL").unwrap();
    altered[at + 1] = b'X';
    fs::write(&path, &altered).unwrap();
    workspace
        .xtask("bpf --check")
        .ends_with(1)
        .says("tick_bpfel.o: in section `license`, byte 1 of 4 is the first that differs")
        .says("kernel/bpf.lock is out of date: kernel/objects/tick_bpfel.o was altered")
        .says("tick_bpfeb.o  ");

    fs::write(&path, "nonsense").unwrap();
    workspace.xtask("bpf --check").ends_with(1).says(&format!(
        "tick_bpfel.o: there are 8 bytes, expected {}; byte 0 is the first that differs; it is no object",
        good.len()
    ));

    let mut altered = good.clone();
    altered[0x30] ^= 1;
    fs::write(&path, &altered).unwrap();
    workspace.xtask("bpf --check").ends_with(1).says("tick_bpfel.o: outside of its sections, byte 48 of ");

    fs::write(&path, &good).unwrap();
    fs::write(workspace.path("kernel/objects/other_bpfel.o"), &good).unwrap();
    workspace.xtask("bpf --check").ends_with(1).says("kernel/objects/other_bpfel.o has no source");
    fs::remove_file(workspace.path("kernel/objects/other_bpfel.o")).unwrap();
    workspace.xtask("bpf --check").succeeds();
}

#[test]
fn check_names_types_and_sections_that_came_or_went() {
    let program = |more: &str| {
        format!(
            "{more}#define SEC(name) __attribute__((section(name), used))\nSEC(\"license\") char LICENSE[] = \"GPL\";\n\
             SEC(\"raw_tp/sys_enter\") int tick(void *context) {{ return 0; }}\n"
        )
    };
    let workspace = Workspace::usual("check-types").write(
        "kernel/tick.bpf.c",
        &program("struct same { int a; }; struct old { int a; } old; struct same same; int gone;\n"),
    );
    workspace.xtask("bpf").succeeds();
    let workspace = workspace.write(
        "kernel/tick.bpf.c",
        &program("struct same { long a; }; struct new { int a; } new; struct same same; const int kept = 3;\n"),
    );
    workspace
        .xtask("bpf --check")
        .ends_with(1)
        .says("tick_bpfel.o: in section `.BTF`, ")
        .says("struct new")
        .says(": missing; struct old, variable gone, variable old: there without need; ")
        .says("struct same")
        .says(": not the same")
        .says("tick_bpfel.o: section `.rodata` (4 bytes) is missing")
        .says("tick_bpfel.o: section `.bss` has 12 bytes, expected 16");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_plan_of_a_check_compares() {
    let workspace = Workspace::usual("check-plan");
    workspace.xtask("bpf --check --plan").succeeds().says("# compare with ").says_nothing_of("write it to");
    workspace.xtask("bpf --plan").succeeds().says("write it to ").says_nothing_of("compare");
    workspace.xtask("bpf --check --plan --json").succeeds().says("\"compare-objects\"");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn objects_of_an_earlier_form_are_out_of_date() {
    let workspace = Workspace::usual("form");
    let result = workspace.xtask("bpf --json").succeeds().json();
    assert!(result["schema"] == 1 && result["compiled"].is_array() && result["up-to-date"].is_number(), "{result}");
    let lock = workspace.read("kernel/bpf.lock");
    assert!(lock.contains("\nform 2\n"), "{lock}");
    let workspace = workspace.write("kernel/bpf.lock", &lock.replace("form 2\n", ""));
    workspace
        .xtask("bpf --check")
        .ends_with(1)
        .says("kernel/bpf.lock is out of date: the tool's form of objects changed")
        .says_nothing_of("tick_bpfel.o:");
    workspace.xtask("dist --arch amd64 --locked").ends_with(1).says("the tool's form of objects changed");
}

const PROGRAM_FOR_ANY: &str = "__attribute__((section(\"xdp\"), used)) int f(void *x) { return 0; }\n";

const SEC: &str =
    "#define SEC(name) __attribute__((section(name), used))\nSEC(\"license\") char LICENSE[] = \"GPL\";\n";

/// The usual workspace with this after the usual beginning of its program.
fn with_program(name: &str, program: &str) -> Workspace {
    Workspace::usual(name).write("kernel/tick.bpf.c", &format!("{SEC}{program}"))
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_header_from_outside_of_the_repository_is_refused() {
    let outside = Workspace::empty("outside, with a space").write("site.h", "#define ANSWER 1\n");
    let absolute = outside.path("site.h").to_str().unwrap().to_owned();
    let body = "SEC(\"raw_tp/sys_enter\") int tick(void *context) { return ANSWER; }\n";
    for (name, include) in [("absolute", absolute.as_str()), ("dots", "../../../../shared/site.h")] {
        let workspace =
            with_program(name, &format!("#include \"{include}\"\n{body}")).write("shared/site.h", "#define ANSWER 1\n");
        workspace
            .xtask("bpf")
            .ends_with(1)
            .says("0 of 1 compiled\n  1 gives no object, for it includes ")
            .says("site.h, which bpf.lock cannot know, because it is not in the repository: copy it there")
            .says(": kernel/tick.bpf.c");
        assert!(!workspace.path("kernel/objects").exists() && !workspace.path("kernel/bpf.lock").exists());
    }
    // A probe that finds a file of this machine is a use of it.
    with_program("probe", &format!("#if __has_include(\"{absolute}\")\n#define ANSWER 2\n#endif\n{body}"))
        .xtask("bpf")
        .ends_with(1)
        .says("which bpf.lock cannot know");
    // Within the repository, any way is as good as another, and what is included is known by its hash.
    let beside = with_program("beside", &format!("#include \"../shared/site.inc\"\n{body}"));
    let beside = beside.write("shared/site.inc", "#define ANSWER 1\n").write("shared/other.h", "");
    beside.xtask("bpf").succeeds();
    let lock = beside.read("kernel/bpf.lock");
    assert!(lock.contains(" ../shared/site.inc\n") && !lock.contains("other.h"), "{lock}");
    let beside = beside.write("shared/site.inc", "#define ANSWER 2\n");
    beside.xtask("report").ends_with(1).says("shared/site.inc changed");
    with_program("inside", &format!("#include \"include/../include/answer.h\"\n{body}")).xtask("bpf").succeeds();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn flags_that_are_the_tool_s_are_refused_before_anything_is_compiled() {
    for (flags, reason) in [
        (
            "\"-D__TARGET_ARCH_x86\"",
            "`-D__TARGET_ARCH_x86` is not possible, because the tool compiles for each architecture",
        ),
        ("\"-I/usr/include\"", "`-I /usr/include` is not possible, because what bpf.lock does not know"),
        ("\"-Wall\", \"-g0\"", "`-g0` is not possible, because BTF is made from debug information"),
    ] {
        Workspace::new("flags", &format!("package = \"tool\"\nbpf = {{ folder = \"kernel\", cflags = [{flags}] }}\n"))
            .xtask("bpf")
            .ends_with(2)
            .says("`cflags` in [workspace.metadata.bpfship.bpf] of Cargo.toml: ")
            .says(reason)
            .in_one_line();
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_a_source_does_behind_clang_s_list_is_refused_with_its_line() {
    for (header, words) in [
        (
            "#pragma once\nasm(\".section names\\n.incbin \\\"/etc/hostname\\\"\\n.text\");\n",
            "kernel/include/behind.h:2 contains the assembler directive `.incbin`",
        ),
        (
            "#define BYTES(how) asm(\".section names\\n.\" #how \"bin \\\"/etc/hostname\\\"\\n.text\")\nBYTES(inc);\n",
            "with its macros expanded, it contains the assembler directive `.incbin`",
        ),
        ("#define __TARGET_ARCH_x86\n", "kernel/include/behind.h:1 sets __TARGET_ARCH_x86 itself"),
        (
            "static const char name[] = {\n#embed \"/etc/hostname\"\n};\n",
            "includes /etc/hostname, which bpf.lock cannot know",
        ),
    ] {
        let body = "#include \"behind.h\"\nSEC(\"xdp\") int f(void *x) { return 0; }\n";
        let workspace = with_program("behind", body).write("kernel/include/behind.h", header);
        workspace.xtask("bpf").ends_with(1).says(words);
        assert!(!workspace.path("kernel/bpf.lock").exists(), "{words}");
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_clock_in_a_source_is_an_error() {
    for clock in ["__TIME__", "__DATE__", "__TIMESTAMP__"] {
        with_program(
            "clock",
            &format!("const char built[] = {clock};\nSEC(\"xdp\") int f(void *x) {{ return built[0]; }}\n"),
        )
        .xtask("bpf")
        .ends_with(1)
        .says("not reproducible [-Werror,-Wdate-time]");
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_depends_on_the_architecture_gives_an_object_for_each() {
    let program = |header: &str, value: &str| {
        format!("#include <{header}>\nSEC(\"raw_tp/sys_enter\") int tick(void *context) {{ return {value}; }}\n")
    };
    let little = "tick_{x86,arm64,riscv,loongarch}_bpfel.o";
    let big = "tick_{s390,mips}_bpfeb.o";
    for (header, value, objects) in [
        ("asm/unistd.h", "__NR_execve", [little, big]),
        // Big-endian architectures have the same.
        ("linux/fcntl.h", "O_DIRECTORY", [little, "tick_bpfeb.o"]),
        // mips has another number than all others, and what is for all of a byte order is for it, too.
        ("linux/errno.h", "EDEADLK", [little, big]),
        ("errno.h", "ENOTSUP", [little, big]),
    ] {
        let workspace = with_program("numbers", &program(header, value));
        let run = workspace.xtask("bpf").succeeds().says(&format!("tick.bpf.c: {}, {} ", objects[0], objects[1]));
        run.says("one for each architecture: `tick` in section `raw_tp/sys_enter` differs between ");
        workspace.xtask("bpf --check").succeeds();
        workspace.xtask("report").succeeds();
    }
    // What is the same everywhere may be used, wherever it is defined.
    for (header, value) in [
        ("linux/errno.h", "-EPERM"),
        ("linux/bpf.h", "BPF_ANY"),
        ("linux/in.h", "IPPROTO_TCP"),
        ("linux/perf_event.h", "PERF_TYPE_HARDWARE"),
        // These include a libc's headers.
        ("linux/icmp.h", "ICMP_ECHO"),
        ("linux/string.h", "context == NULL"),
        ("endian.h", "__BYTE_ORDER == __LITTLE_ENDIAN && htole32(1) == 1 || be16toh(1) == 1"),
        ("linux/vm_sockets.h", "sizeof(struct sockaddr_vm)"),
    ] {
        let workspace = with_program("same", &program(header, value));
        workspace.xtask("bpf").succeeds().says("tick.bpf.c: tick_bpfel.o, tick_bpfeb.o ");
    }
}

#[test]
fn a_header_of_the_repository_may_choose_the_architectures_own() {
    let own = "#ifndef CHOSEN\n#error include <vmlinux.h>\n#endif\nenum { ANSWER = 42 };\n";
    let choice = "#define CHOSEN\n#if defined(__TARGET_ARCH_x86)\n#include <x86/vmlinux.h>\n\
                  #elif defined(__TARGET_ARCH_s390)\n#include <s390/vmlinux.h>\n#else\n#error\n#endif\n";
    let program = "#include <vmlinux.h>\nSEC(\"xdp\") int f(void *x) { return ANSWER; }\n";
    let config = "package = \"tool\"\narches = [\"amd64\", \"s390x\"]\nbpf.folder = \"kernel\"\n\
                  bpf.vmlinux = \"headers\"\nbpf.cflags = [\"-Iheaders\"]\n";
    let workspace = Workspace::new("choice", config)
        .write("kernel/tick.bpf.c", &format!("{SEC}{program}"))
        .write("headers/vmlinux.h", choice)
        .write("headers/x86/vmlinux.h", own)
        .write("headers/s390/vmlinux.h", own);
    workspace.xtask("bpf").succeeds();
    assert_eq!(workspace.list("kernel/objects"), ["tick_s390_bpfeb.o", "tick_x86_bpfel.o"]);
}

#[test]
fn a_file_that_the_flags_include_may_ask_for_the_architecture() {
    let config = "package = \"tool\"\narches = [\"amd64\", \"s390x\"]\nbpf.folder = \"kernel\"\n\
                  bpf.cflags = [\"-include\", \"shared/arch.h\"]\n";
    let program = "#if !defined(__x86_64__) && !defined(__s390x__)\n#error for neither\n#endif\n\
                   SEC(\"xdp\") int f(void *x) { return 0; }\n";
    let words = "#if defined(__TARGET_ARCH_x86)\n#define __x86_64__ 1\n#elif defined(__TARGET_ARCH_s390)\n\
                 #define __s390x__ 1\n#endif\n";
    let workspace = Workspace::new("included", config)
        .write("kernel/tick.bpf.c", &format!("{SEC}{program}"))
        .write("shared/arch.h", words);
    workspace.xtask("bpf").succeeds();
    assert_eq!(workspace.list("kernel/objects"), ["tick_s390_bpfeb.o", "tick_x86_bpfel.o"]);
}

#[test]
fn only_what_changed_is_compiled_again() {
    let workspace = with_program("changed", "SEC(\"xdp\") int f(void *x) { return 0; }\n")
        .write("kernel/tock.bpf.c", "#include \"tock.h\"\n#include \"tick.bpf.c\"\n")
        .write("kernel/tock.h", "");
    workspace.xtask("bpf").succeeds();
    let before = bpf_folder(&workspace);
    workspace.xtask("bpf").succeeds().says("2 sources, whose objects are up to date").says_nothing_of("tock.bpf.c");
    assert_eq!(bpf_folder(&workspace), before);
    let workspace = workspace.write("kernel/tock.h", "enum e { E } e;\n");
    workspace.xtask("bpf").succeeds().says("tock.bpf.c: ").says("1 other source, whose").says_nothing_of("tick.bpf.c");
    // The cause is what was done before: an object that is gone comes back.
    fs::remove_file(workspace.path("kernel/objects/tick_bpfeb.o")).unwrap();
    let again = "2 sources without a change; written as an earlier run compiled them: tick_bpfeb.o\n";
    workspace.xtask("bpf").succeeds().says(again);
    assert_eq!(workspace.list("kernel/objects").len(), 4);
    // A header that is found before another one is a change.
    let workspace = workspace.write("kernel/include/tock.h", "int more;\n");
    workspace.xtask("bpf").succeeds().says("tick.bpf.c: ").says("tock.bpf.c: ");
    workspace.xtask("bpf --check").succeeds();
    workspace.xtask("bpf --plan").succeeds().says_nothing_of("clang -target");
}

#[test]
fn one_source_that_fails_hides_no_other_and_what_compiled_is_kept() {
    let good = "SEC(\"xdp\") int f(void *x) { return 0; }\n";
    let workspace = with_program("several", good)
        .write("kernel/one.bpf.c", "int x = first;\n")
        .write("kernel/two.bpf.c", "#include \"vmlinux.h\"\n")
        .write("kernel/three.bpf.c", "#include \"vmlinux.h\"\n");
    workspace
        .xtask("bpf")
        .ends_with(1)
        .says("1 of 4 compiled\n  2 need vmlinux.h, which is not there: ")
        .says(": kernel/three.bpf.c, kernel/two.bpf.c\n  1 has errors: kernel/one.bpf.c\n")
        .says("use of undeclared identifier 'first'");
    for name in ["one", "two", "three"] {
        fs::remove_file(workspace.path(&format!("kernel/{name}.bpf.c"))).unwrap();
    }
    let kept = "1 source without a change; written as an earlier run compiled them: tick_bpfeb.o, tick_bpfel.o\n";
    workspace.xtask("bpf").succeeds().says(kept);
    assert_eq!(workspace.list("kernel/objects"), ["tick_bpfeb.o", "tick_bpfel.o"]);
}

#[test]
fn static_programs_and_maps_are_refused_and_a_static_function_is_not() {
    with_program("static", "static SEC(\"xdp\") int f(void *x) { return 0; }\n")
        .xtask("bpf")
        .ends_with(1)
        .says("program `f` is static, which libbpf refuses: make it global");
    let map = "static struct { int (*type)[2]; int *key, *value; } m SEC(\".maps\");\n";
    with_program("map", &format!("{map}SEC(\"xdp\") int f(void *x) {{ return x == &m; }}\n"))
        .xtask("bpf")
        .ends_with(1)
        .says("map `m` is static, which libbpf refuses: make it global");
    let function = "static __attribute__((noinline)) int g(int x) { return x * 3; }\n";
    let same_section = "SEC(\"xdp\") int h(int *x) { return *x; }\n";
    with_program("function", &format!("{function}SEC(\"xdp\") int f(int *x) {{ return g(*x); }}\n{same_section}"))
        .xtask("bpf")
        .succeeds()
        .says("2 programs");
}

#[test]
fn files_of_editors_and_of_others_are_left_alone() {
    let workspace = Workspace::usual("editors")
        .write("kernel/._tick.bpf.c", "\0\x05\x16\x07")
        .write("kernel/notes of mine.txt", "")
        .write("kernel/#tick.bpf.c#", "half")
        .write("kernel/a folder/notes.txt", "");
    symlink("me@host.12:34", workspace.path("kernel/.#tick.bpf.c")).unwrap();
    workspace.xtask("bpf").succeeds();
    assert_eq!(workspace.list("kernel/objects"), ["tick_bpfeb.o", "tick_bpfel.o"]);

    let odd = workspace.path("kernel").join(OsStr::from_bytes(b"\xff.txt"));
    fs::write(&odd, "").unwrap();
    workspace.xtask("bpf").succeeds();
    fs::remove_file(&odd).unwrap();

    symlink("nowhere", workspace.path("kernel/include/gone.h")).unwrap();
    workspace
        .xtask("bpf")
        .ends_with(2)
        .says("include/gone.h is named as a source, but is a link to nothing")
        .in_one_line();
    fs::remove_file(workspace.path("kernel/include/gone.h")).unwrap();
    // A folder that could not be named in the lock file has no sources.
    let workspace = workspace.write("kernel/a folder/more.bpf.c", "nonsense");
    workspace.xtask("bpf").succeeds();
    workspace
        .write("kernel/more headers.h", "")
        .xtask("bpf")
        .ends_with(2)
        .says("kernel/more headers.h has white space in its path")
        .in_one_line();
}

#[test]
fn sources_lie_in_folders_below_in_several_and_by_other_names() {
    let config =
        "package = \"tool\"\nbpf.folder = [\"kernel\", \"other\"]\nbpf.sources = [\"**/*.bpf.c\", \"more/*.c\"]\n";
    let program = format!("{SEC}SEC(\"xdp\") int f(void *x) {{ return 0; }}\n");
    let workspace = Workspace::new("folders", config)
        .write("kernel/net/tick.bpf.c", &format!("#include \"top.h\"\n{program}"))
        .write("kernel/top.h", "")
        .write("other/far.bpf.c", &program)
        .write("other/more/plain.c", &program)
        .write("other/not.c", "nonsense");
    workspace.xtask("bpf").succeeds().says("other/far.bpf.c: far_bpfel.o");
    let stems: BTreeSet<String> =
        workspace.list("kernel/objects").iter().map(|name| name.rsplit_once('_').unwrap().0.to_owned()).collect();
    assert_eq!(stems, ["far", "more_plain", "net_tick", "tick"].map(String::from).into());
    workspace.xtask("bpf --check").succeeds();
    let workspace = workspace.write("other/tick.bpf.c", &program);
    workspace.xtask("bpf").succeeds().says("other/tick.bpf.c: other_tick_bpfel.o");
    let manifest = workspace.read("Cargo.toml");
    let workspace = workspace.write("Cargo.toml", &manifest.replace("[\"**", "[\"!tick.*\", \"**"));
    workspace.xtask("bpf").succeeds();
    let objects = ["far", "more_plain", "net_tick"];
    let objects = objects.iter().flat_map(|stem| ["eb", "el"].map(|order| format!("{stem}_bpf{order}.o")));
    assert_eq!(workspace.list("kernel/objects"), objects.collect::<Vec<_>>());
    workspace
        .write("kernel/net/tick.c", &program)
        .write("Cargo.toml", &manifest.replace("more/", "net/"))
        .xtask("bpf")
        .ends_with(2)
        .says("the objects of net/tick.bpf.c and net/tick.c would both be called `net_tick`")
        .in_one_line();
}

#[test]
fn a_link_leads_to_no_source_that_there_would_not_be_without_it() {
    let workspace = Workspace::usual("links").write("kernel/net/tock.bpf.c", PROGRAM_FOR_ANY);
    // Without an end.
    symlink("..", workspace.path("kernel/net/up")).unwrap();
    workspace.xtask("bpf").succeeds();
    assert_eq!(workspace.list("kernel/objects").len(), 4);
    workspace.xtask("bpf --check").succeeds();
    // What is elsewhere is in no snapshot, and is not left out without a word.
    let outside = Workspace::empty("outside").write("more/far.bpf.c", PROGRAM_FOR_ANY);
    for name in ["more/far.bpf.c", "more"] {
        let link = workspace.path("kernel").join(name.rsplit('/').next().unwrap());
        symlink(outside.path(name), &link).unwrap();
        workspace
            .xtask("bpf")
            .ends_with(2)
            .says("is a link that leads to ")
            .says(", outside the repository: copy it to where the link is")
            .in_one_line();
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn a_pattern_that_stands_for_no_source_is_refused() {
    for (key, table) in [
        ("sources = [\"**/*.bpf.c\", \"*.bpf.h\"]", "bpf]"),
        ("[[workspace.metadata.bpfship.bpf.variant]]\nsources = [\"*.bpf.h\"]\ncpu = \"v3\"", "bpf.variant]"),
    ] {
        let config = format!("package = \"tool\"\n[workspace.metadata.bpfship.bpf]\nfolder = \"kernel\"\n{key}\n");
        Workspace::new("unmatched", &config)
            .xtask("bpf")
            .ends_with(2)
            .says(&format!("{table} of Cargo.toml has `*.bpf.h`, and no source in kernel is called so"))
            .in_one_line();
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_source_has_variants() {
    let config = "package = \"tool\"\n[workspace.metadata.bpfship.bpf]\nfolder = \"kernel\"\n\
        [[workspace.metadata.bpfship.bpf.variant]]\nname = \"two\"\nsources = [\"tock.bpf.c\"]\ndefines = [\"STEP=2\"]\n\
        [[workspace.metadata.bpfship.bpf.variant]]\nsources = [\"tick.bpf.c\"]\ncpu = \"v3\"\n";
    let source = format!(
        "{SEC}#ifndef STEP\n#define STEP 1\n#endif\nSEC(\"raw_tp/sys_enter\") int f(void *x) {{ return STEP; }}\n"
    );
    let workspace = Workspace::new("variants", config).write("kernel/tock.bpf.c", &source);
    workspace.xtask("bpf").succeeds().says("kernel/tock.bpf.c (two): tock_two_bpfel.o, tock_two_bpfeb.o");
    assert_eq!(workspace.list("kernel/objects").len(), 6);
    let object = |name: &str| fs::read(workspace.path(&format!("kernel/objects/{name}_bpfel.o"))).unwrap();
    assert!(compare::differences(&object("tock"), &object("tock_two"))[0].contains("`f`"));
    assert!(workspace.read("kernel/bpf.lock").contains("\nvariant two -DSTEP=2 tock.bpf.c\n"));
    assert!(workspace.xtask("bpf --plan --check").succeeds().text().lines().all(|line| !line.contains("-mcpu=v1 ")));

    let bad = |variant: &str| {
        let config =
            format!("package = \"tool\"\n[[workspace.metadata.bpfship.bpf.variant]]\n{variant}\n[workspace.x]\n");
        Workspace::new("bad", &config).write("bpf/x.bpf.c", "").xtask("bpf").ends_with(2).in_one_line().text()
    };
    assert!(bad("name = \"a b\"").contains("letters, digits and _ are expected"));
    assert!(bad("cpu = \"v1\"").contains("has neither `name` nor `sources`"));
    assert!(bad("name = \"a\"\ndefines = [\"-O0\"]").contains("NAME or NAME=VALUE is expected"));
    assert!(bad("name = \"a\"\ncpu = \"v9\"").contains("known are v1"));
    assert!(bad("name = \"a\"\ndefines = [\"__TARGET_ARCH_x86\"]").contains("is not possible"));
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn one_object_is_for_all_only_if_it_is_for_32_bit_arm_too_which_is_shipped_where_it_is_named() {
    let source = |of_arm: &str| {
        format!(
            "#ifdef __TARGET_ARCH_arm\n{of_arm}\n#else\n#define STEP 1\n#endif\n\
             SEC(\"xdp\") int f(void *x) {{ return STEP; }}\n"
        )
    };
    let objects = |of_arm: &str| {
        let workspace = with_program("arm", &source(of_arm));
        let text = workspace.xtask("bpf").succeeds().text();
        let names = super::support::list(&workspace.path("kernel/objects"));
        (workspace, text, names.join(" "))
    };
    let (workspace, _, names) = objects("#define STEP 1");
    assert_eq!(names, "tick_bpfeb.o tick_bpfel.o");
    workspace.xtask("dist --arch arm --plan").succeeds();
    let each = "tick_arm64_bpfel.o tick_bpfeb.o tick_loongarch_bpfel.o tick_riscv_bpfel.o tick_x86_bpfel.o";
    let (_, text, names) = objects("#define STEP 2");
    assert!(names == each && text.contains("differs between x86 and arm"), "{names} {text}");
    let (workspace, text, names) = objects("#error not there");
    assert!(names == each && text.contains("it does not compile for arm"), "{names} {text}");
    workspace.xtask("bpf --check").succeeds();
    workspace
        .xtask("dist --arch armv7 --plan")
        .ends_with(2)
        .says("tick.bpf.c has no BPF object for armv7: add it to `arches`");
}

#[test]
fn flags_may_follow_and_editors_know_them() {
    let workspace = with_program("flags", "SEC(\"xdp\") int f(void *x) { return STEP; }\n");
    workspace.xtask("bpf").ends_with(1).says("undeclared identifier 'STEP'");
    workspace.xtask("bpf -- -DSTEP=3").succeeds();
    assert!(workspace.read("kernel/bpf.lock").contains(" -DSTEP=3 "));
    workspace.xtask("bpf -- -c").ends_with(2).says("`-c` is not possible").in_one_line();
    workspace.xtask("bpf --compdb -- -DSTEP=3").succeeds().says("compile_commands.json");
    let commands: serde_json::Value = serde_json::from_str(&workspace.read("compile_commands.json")).unwrap();
    let words: Vec<&str> = commands[0]["arguments"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(commands[0]["file"], "kernel/tick.bpf.c");
    assert!(words.contains(&"-DSTEP=3") && words.contains(&"-D__TARGET_ARCH_x86"), "{words:?}");
    let folders = words.windows(2).filter(|pair| pair[0] == "-isystem" && !pair[1].ends_with("/libbpf"));
    assert!(folders.clone().count() > 3 && folders.clone().all(|pair| Path::new(pair[1]).is_dir()), "{words:?}");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_object_may_hold_thousands_of_programs() {
    let program = |number| format!("SEC(\"raw_tp/sys_enter\") int tick_{number}(int *x) {{ return *x + {number}; }}\n");
    let workspace = with_program("thousands", &(0..2500).map(program).collect::<String>());
    workspace.xtask("bpf").succeeds();
    workspace.xtask("bpf --check").succeeds();
    let report = workspace.xtask("report --json").succeeds().json();
    assert_eq!(report["objects"][0]["programs"].as_array().unwrap().len(), 2500);
}
