//! `bpf`: objects from sources.

use std::fs;

use super::support::{Workspace, own_root};

#[test]
fn objects_of_both_byte_orders_come_with_a_lock_file() {
    let workspace = Workspace::usual("objects");
    workspace.xtask("bpf").succeeds().says("kernel/objects/tick_bpfel.o").says("raw_tp/sys_enter");
    assert_eq!(workspace.list("kernel/objects"), ["tick_bpfeb.o", "tick_bpfel.o"]);
    let lock = workspace.read("kernel/bpf.lock");
    for word in ["compiler ziglang==", "flags -target bpfeb", " include/answer.h", " tick.bpf.c", " tick_bpfel.o"] {
        assert!(lock.contains(word), "{word} is not in\n{lock}");
    }
    assert!(!lock.contains(workspace.root.to_str().unwrap()), "the lock file tells a path:\n{lock}");
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
    assert_eq!(xtask::bpf::object::check(&object, xtask::arch::Endian::Big).unwrap(), ["raw_tp/sys_enter"]);
}

#[test]
fn the_folder_has_no_say_in_the_bytes() {
    let here = Workspace::usual("a");
    let there = Workspace::usual("another folder, with a longer name");
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
        ("no-program", "__attribute__((section(\"license\"))) char LICENSE[] = \"GPL\";\n", "it holds no program"),
        ("no-license", "__attribute__((section(\"xdp\"))) int f(void) { return 0; }\n", "it states no licence"),
    ] {
        let workspace = Workspace::usual(name).write("kernel/tick.bpf.c", program);
        workspace.xtask("bpf").ends_with(1).says(complaint);
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
