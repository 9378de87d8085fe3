//! The part of a kernel's types that `min_btf/*.bpf.c` ask for, where `min_btf/kernel.bpf.c` stands for the kernel. The objects are
//! what `cargo xtask bpf` gives of these sources; the files `*.bpftool.btf` are what bpftool 7.1 gives:
//! `bpftool gen min_core_btf kernel_bpfel.o program.bpftool.btf program_bpfel.o`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use aya_obj::Object;
use bpfship_object::Endian;
use bpfship_object::btf::{Btf, find};
use bpfship_object::header::{self, Wanted};
use bpfship_object::min_btf::{Asked, Part, part};
use object::Endianness;

const ASKING: [&str; 2] = ["program", "not_aya"];
const ENDIANS: [(Endian, &str); 2] = [(Endian::Little, "bpfel"), (Endian::Big, "bpfeb")];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/min_btf")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

/// The part of a kernel that objects ask for, by their names.
fn part_of(kernel: &str, objects: &[&str]) -> Part {
    let kernel = read(kernel);
    let (endian, data) = find::find(&kernel).unwrap();
    let objects: Vec<Vec<u8>> = objects.iter().map(|name| read(name)).collect();
    let asked: Vec<Asked> = objects.iter().map(|object| Asked::of(object).unwrap()).collect();
    part(&Btf::parse(data, endian).unwrap(), endian, &asked).unwrap()
}

fn header(btf: &[u8], endian: Endian) -> String {
    header::write(&Btf::parse(btf, endian).unwrap(), Wanted::All).unwrap()
}

/// `BPFSHIP_BLESS=1` writes what is expected.
#[test]
fn what_is_asked_for_is_there_and_nothing_else() {
    for (endian, word) in ENDIANS {
        let objects = ASKING.map(|name| format!("{name}_{word}.o"));
        let part = part_of(&format!("kernel_{word}.o"), &objects.each_ref().map(String::as_str));
        assert_eq!(part.missing, BTreeSet::new());
        let text = header(&part.btf, endian);
        let path = folder().join("part.h");
        if env::var_os("BPFSHIP_BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert!(fs::read_to_string(&path).unwrap() == text, "{} is another: see BPFSHIP_BLESS", path.display());
    }
}

#[test]
fn kernels_that_differ_elsewhere_have_the_same_bytes() {
    for (_, word) in ENDIANS {
        for name in ASKING {
            let asking = format!("{name}_{word}.o");
            let part = |kernel: &str| part_of(&format!("{kernel}_{word}.o"), &[&asking]);
            assert!(read(&format!("kernel_{word}.o")) != read(&format!("kernel_other_{word}.o")));
            assert!(part("kernel") == part("kernel_other"), "{asking}");
            // What was made of a kernel gives itself.
            let first = part("kernel").btf;
            let object = read(&asking);
            let (endian, data) = find::find(&first).unwrap();
            let again = bpfship_object::min_btf::part(
                &Btf::parse(data, endian).unwrap(),
                endian,
                &[Asked::of(&object).unwrap()],
            );
            assert!(again.unwrap().btf == first, "{asking}");
        }
    }
}

/// Another reader of relocations gives every instruction the same number, and does change them.
#[test]
fn aya_relocates_as_with_the_whole_kernel() {
    let object = read("program_bpfel.o");
    let instructions = |btf: Option<&[u8]>| -> BTreeMap<String, Vec<String>> {
        let mut object = Object::parse(&object).unwrap();
        if let Some(btf) = btf {
            object.relocate_btf(&aya_obj::btf::Btf::parse(btf, Endianness::Little).unwrap()).unwrap();
        }
        let of = |function: &aya_obj::Function| function.instructions.iter().map(|it| format!("{it:?}")).collect();
        object.functions.values().map(|function| (function.name.clone(), of(function))).collect()
    };
    let kernel = read("kernel_bpfel.o");
    let whole = instructions(Some(find::find(&kernel).unwrap().1));
    let count = |other: &BTreeMap<String, Vec<String>>| {
        let all = |all: &BTreeMap<String, Vec<String>>| all.values().flatten().cloned().collect::<Vec<_>>();
        all(&whole).iter().zip(all(other)).filter(|(one, other)| *one != other).count()
    };
    assert_eq!(count(&instructions(None)), 28);
    assert_eq!(whole, instructions(Some(&part_of("kernel_bpfel.o", &["program_bpfel.o"]).btf)));
    assert_eq!(whole, instructions(Some(&read("program.bpftool.btf"))));
}

/// But for the values of enums that nobody asks for, which bpftool keeps, and another type of the same name with such a field, which it
/// does not: then it is for loaders to see whether both give the same number.
#[test]
fn bpftool_gives_the_same_types_and_members() {
    let types = |btf: &[u8]| -> BTreeSet<String> {
        let text = header(btf, Endian::Little).replace("struct twice___2", "struct twice");
        text.split("\n\n").filter(|block| block.contains('{')).map(String::from).collect()
    };
    let enums = [
        "enum state {\n\tRUNNING = 1,\n\tPARKED = 2,\n\tSTOPPED = 7,\n};",
        "enum wide {\n\tNARROW = 1ULL,\n\tWIDE = 8589934592ULL,\n} __attribute__((mode(DI)));",
    ];
    let of_ours = [
        "enum state {\n\tSTOPPED = 7,\n};",
        "enum wide {\n\tWIDE = 8589934592ULL,\n} __attribute__((mode(DI)));",
        "struct twice {\n\tint : 32;\n\tint a;\n};",
    ];
    for (name, theirs_only, ours_only) in [("program", &enums[..], &of_ours[..]), ("not_aya", &[], &[])] {
        let theirs = types(&read(&format!("{name}.bpftool.btf")));
        let ours = types(&part_of("kernel_bpfel.o", &[&format!("{name}_bpfel.o")]).btf);
        assert_eq!(theirs.difference(&ours).collect::<Vec<_>>(), theirs_only);
        assert_eq!(ours.difference(&theirs).collect::<Vec<_>>(), ours_only);
        assert!(ours.len() > 2);
    }
}

#[test]
fn what_a_kernel_lacks_is_named_unless_it_is_asked_whether_it_is_there() {
    // A kernel without any of it.
    let part = part_of("program_bpfel.o", &["not_aya_bpfel.o"]);
    assert_eq!(part.missing, BTreeSet::from(["struct task.tail[5]".into()]));
    let none = part_of("kernel_bpfel.o", &["kernel_bpfel.o"]);
    assert_eq!((none.btf.len(), none.missing), (25, BTreeSet::new()));
}

#[test]
fn the_same_questions_have_the_same_sentences() {
    let objects = ["program_bpfel.o", "program_bpfeb.o", "not_aya_bpfel.o"].map(read);
    let [little, big, other] = objects.each_ref().map(|object| Asked::of(object).unwrap().sentences().unwrap());
    assert_eq!(little, big);
    assert!(little.is_disjoint(&other));
    for sentence in [
        "byte_off struct task.inner[1].count.counter: struct task, array of struct and int, struct, int",
        "enumval_value enum state.STOPPED: enum state",
        "type_exists callback: typedef callback, pointer",
        "byte_off struct task.parent: struct task, pointer",
    ] {
        assert!(little.contains(sentence), "{little:#?}");
    }
}
