//! Headers of types, written from the BTF of the object that has all that bindings are tested with: `bindings/layouts.bpf.c`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use bpfship_object::Endian;
use bpfship_object::btf::Btf;
use bpfship_object::header::{self, Wanted};
use object::{Object as _, ObjectSection as _};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn text(object: &str, wanted: Wanted) -> String {
    of(&format!("bindings/{object}"), wanted)
}

fn of(object: &str, wanted: Wanted) -> String {
    let bytes = fs::read(folder().join(object)).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let endian = if file.is_little_endian() { Endian::Little } else { Endian::Big };
    let data = file.section_by_name(".BTF").unwrap().data().unwrap();
    header::write(&Btf::parse(data, endian).unwrap(), wanted).unwrap()
}

/// `BPFSHIP_BLESS=1` writes them.
fn compare(name: &str, text: &str) {
    let path = folder().join("header").join(name);
    if env::var_os("BPFSHIP_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == text, "{} is not what is written: see BPFSHIP_BLESS", path.display());
}

#[test]
fn a_header_has_all_types_with_their_layouts() {
    let whole = text("layouts_bpfel.o", Wanted::All);
    assert_eq!(text("layouts_bpfeb.o", Wanted::All), whole);
    compare("whole.h", &whole);
}

/// What is left out leaves its bytes behind.
#[test]
fn a_header_of_what_is_used_keeps_offsets_and_sizes() {
    let names = ["event", "unions", "kind", "b", "numbers", "f64", "bits", "g", "KIND_EXIT"];
    let names: BTreeSet<String> = names.map(String::from).into();
    compare("used.h", &text("layouts_bpfel.o", Wanted::Named(&names)));
}

#[test]
fn functions_that_programs_may_call_are_declared() {
    let declaration = "extern struct task *task_from_pid(pid_t, enum state *) __weak __ksym;\n";
    let whole = of("min_btf/kernel_bpfel.o", Wanted::All);
    assert!(whole.contains("#ifndef BPF_NO_KFUNC_PROTOTYPES\n#ifndef __ksym\n"), "{whole}");
    assert!(whole.contains(&format!("#endif\n{declaration}#endif\n")), "{whole}");
    let names = |name: &str| BTreeSet::from([name.to_owned()]);
    let used = of("min_btf/kernel_bpfeb.o", Wanted::Named(&names("task_from_pid")));
    assert!(used.contains(declaration) && used.contains("enum state {"), "{used}");
    assert!(!of("min_btf/kernel_bpfel.o", Wanted::Named(&names("twice"))).contains("__ksym"));
}
