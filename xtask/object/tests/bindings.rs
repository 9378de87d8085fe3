//! Bindings for a source that has all that generators of bindings have been wrong with: `bindings/layouts.bpf.c`. Its objects are
//! what `cargo xtask bpf` gives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use bpfship_object::bindings::{self, Bindings, Object, Options};
use bpfship_object::btf::{Btf, Kind, find};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

const OBJECTS: [&str; 2] = ["layouts_bpfeb.o", "layouts_bpfel.o"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bindings")
}

/// `BPFSHIP_BLESS=1` writes them.
fn compare(name: &str, text: &str) {
    let path = folder().join(name);
    if env::var_os("BPFSHIP_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == text, "{} is not what is written: see BPFSHIP_BLESS", path.display());
}

fn render_as(files: &[&str], options: &Options) -> Bindings {
    let bytes: Vec<Vec<u8>> = files.iter().map(|file| fs::read(folder().join(file)).unwrap()).collect();
    let objects = files.iter().zip(&bytes);
    let objects: Vec<Object> =
        objects.map(|(file, bytes)| Object { file, sha256: "12ab", bytes, arches: &[] }).collect();
    bindings::render(&objects, options).unwrap()
}

fn render(files: &[&str]) -> String {
    let types = ["flexible".to_owned(), "wide".into(), "nowhere".into()];
    let bindings = render_as(files, &Options { name: "layouts", types: &types });
    assert_eq!(bindings.types.into_iter().collect::<Vec<_>>(), ["flexible", "wide"]);
    bindings.text
}

#[test]
fn bindings_are_those_that_are_checked_in() {
    let text = render(&OBJECTS);
    let mut reversed = OBJECTS;
    reversed.reverse();
    assert_eq!(render(&reversed), text);
    compare("layouts.rs", &text);
}

/// Types and names are there, and sentences say what is not: of an arena, of variables in it, of the kernel's configuration and
/// symbols, and of maps that are not empty.
#[test]
fn what_aya_cannot_do_is_said() {
    let files = ["not_aya_bpfeb.o", "not_aya_bpfel.o"];
    let text = render_as(&files, &Options { name: "not_aya", types: &[] }).text;
    compare("not_aya.rs", &text);
    for sentence in [
        "aya 0.14 does not set `__kconfig` variables",
        "aya 0.14 knows no variables in an arena",
        "aya 0.14 looks up nothing of the kernel's by its name (`__ksym`), and refuses",
        "aya 0.14 leaves the map `outer` empty",
        "aya 0.14 refuses an object with a map of programs that has `values`, as `jumps` does.",
        "    // `large` is too large to be set at once.\n",
        "\n    // `.bss` has 131",
        "/// The map `arena`: arena\n    ///\n    /// aya 0.14 creates it, and has no type for it.",
    ] {
        assert!(text.contains(sentence), "{text}");
    }
    assert!(text.contains("pub struct Node: size 16") && !text.contains("in_arena"), "{text}");
}

/// aya has neither variables nor maps of them.
#[test]
fn floats_are_bound_without_a_struct_around_them() {
    let files = ["floats_bpfeb.o", "floats_bpfel.o"];
    let text = render_as(&files, &Options { name: "floats", types: &[] }).text;
    compare("floats.rs", &text);
}

/// Size, alignment and the offsets of members, by the name of a struct in C: what the text says.
#[derive(Debug, Default)]
struct Layout {
    size: u32,
    align: u32,
    offsets: BTreeMap<String, u32>,
}

fn layouts(text: &str) -> BTreeMap<String, Layout> {
    let mut layouts: BTreeMap<String, Layout> = BTreeMap::new();
    let mut in_c: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut of, mut words_before) = ("", "");
    for line in text.lines().map(str::trim) {
        let words: Vec<&str> =
            line.split([' ', ',', ':', '.', '(', ')', ';']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            ["pub", "struct", name, "size", size, "align", align, "{"] => {
                of = words_before.trim_start_matches("/// ").trim_matches('`');
                in_c.insert(name, of);
                let (size, align) = (size.parse().unwrap(), align.parse().unwrap());
                layouts.insert(of.into(), Layout { size, align, ..Default::default() });
            }
            ["pub", "enum", ..] => of = "",
            [field, .., "=", offset] if layouts.contains_key(of) && line.ends_with(',') => {
                let field = field.trim_start_matches("r#").to_owned();
                layouts.get_mut(of).unwrap().offsets.insert(field, offset.parse().unwrap());
            }
            ["bpfship_embed", "member!", name, field, "at", at, .., get, _set] => {
                let offsets = &mut layouts.get_mut(in_c[name]).unwrap().offsets;
                let offset = offsets[*field] + at.parse::<u32>().unwrap();
                offsets.insert(get.trim_start_matches("r#").into(), offset);
            }
            _ => {}
        }
        if !line.starts_with("#[") {
            words_before = line;
        }
    }
    layouts
}

/// The source asks the compiler for each of them, with `PROBE()`.
#[test]
fn sizes_and_offsets_are_those_of_the_compiler() {
    let source = fs::read_to_string(folder().join("layouts.bpf.c")).unwrap();
    let probes: Vec<&str> = source.split("\nPROBE(").skip(1).map(|text| text.split(");\n").next().unwrap()).collect();
    assert!(probes.len() > 14, "{probes:?}");
    for file in OBJECTS {
        let layouts = layouts(&render(&[file]));
        let bytes = fs::read(folder().join(file)).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        for probe in &probes {
            let name = probe.split(',').next().unwrap();
            let members: Vec<&str> = probe.split("OFFSET(").skip(1).map(|text| between(text, ", ", ")")).collect();
            let what = probe.split(", ").nth(1).unwrap().trim();
            let found = &layouts[what];
            let numbers = numbers(&file, &format!("probe_{name}"));
            let [size, align, offsets @ ..] = numbers.as_slice() else { panic!("{probe}") };
            assert_eq!(found.size, *size, "{what}");
            // What BTF does not say, bindings cannot know: that something is aligned to more or to less than what it consists of.
            let natural = !["numbers", "wide", "with_wide", "event", "looks_aligned", "packed_bits"].contains(&name);
            assert!(found.align == *align || !natural, "{what}: {} is aligned to {align}", found.align);
            assert!(found.align <= 8);
            assert_eq!(offsets.len(), members.len(), "{what}");
            for (member, offset) in members.iter().zip(offsets) {
                let escaped = format!("{member}_");
                let own = found.offsets.get(*member).or_else(|| found.offsets.get(&escaped));
                assert_eq!(own, Some(offset), "{what}: {member}");
            }
        }
    }
}

fn between<'text>(text: &'text str, begin: &str, end: &str) -> &'text str {
    text.split(begin).nth(1).unwrap().split(end).next().unwrap()
}

fn numbers(file: &object::File, symbol: &str) -> Vec<u32> {
    let symbol = file.symbols().find(|found| found.name() == Ok(symbol)).unwrap();
    let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
    let bytes = &section.data().unwrap()[symbol.address() as usize..][..symbol.size() as usize];
    let number = |bytes: &[u8; 4]| match file.is_little_endian() {
        true => u32::from_le_bytes(*bytes),
        false => u32::from_be_bytes(*bytes),
    };
    bytes.as_chunks().0.iter().map(number).collect()
}

fn rustc(folder: &Path, arguments: &[&str]) {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = Command::new(rustc)
        .args(["-Dwarnings", "-L", ".", "--out-dir", "."])
        .args(arguments)
        .env("BPFSHIP_OBJECTS", folder)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The assertions of all layouts are the compiler's, and the values in the object are what they are in its source.
#[test]
fn bindings_are_compiled_and_read_what_c_has_written() {
    let base = env::temp_dir().join(format!("bpfship-bindings-{}", std::process::id()));
    fs::create_dir_all(&base).unwrap();
    let name = OBJECTS[usize::from(cfg!(target_endian = "little"))];
    let bytes = fs::read(folder().join(name)).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    fs::write(base.join("data"), file.section_by_name(".data").unwrap().data().unwrap()).unwrap();
    fs::write(base.join("layouts.o"), &bytes).unwrap();
    for name in ["not_aya.o", "floats.o"] {
        fs::write(base.join(name), b"").unwrap();
    }
    for name in ["aya.rs", "values.rs", "layouts.rs", "not_aya.rs", "floats.rs"] {
        fs::copy(folder().join(name), base.join(name)).unwrap();
    }
    let embed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../embed/src/lib.rs");
    rustc(&base, &["--edition=2024", "--crate-type=rlib", "--crate-name=bpfship_embed", embed.to_str().unwrap()]);
    rustc(&base, &["--edition=2021", "--crate-type=rlib", "-Adead_code", "aya.rs"]);
    // Whoever uses them has no need of unsafe code.
    let bindings = ["--extern=bpfship_embed", "--extern=aya", "-Funsafe_code", "values.rs"];
    for edition in ["--edition=2021", "--edition=2024"] {
        rustc(&base, &[&[edition], &bindings[..]].concat());
    }
    let status = Command::new(base.join("values")).arg(base.join("data")).status().unwrap();
    assert!(status.success());
    fs::remove_dir_all(&base).unwrap();
}

/// Whatever is wrong with an object, it is refused or bound, in a moment.
#[test]
fn a_damaged_object_is_no_reason_to_panic() {
    let whole = fs::read(folder().join(OBJECTS[1])).unwrap();
    // A xorshift: the same bytes on every run.
    let mut state = 0x2545_f491_u32;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as usize
    };
    let mut refused = 0;
    for _ in 0..2000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random() % 4 {
            let at = random() % bytes.len();
            bytes[at] = [0, 1, 0x7f, 0xff, random() as u8][random() % 5];
        }
        let object = Object { file: "layouts_bpfel.o", sha256: "", bytes: &bytes, arches: &[] };
        refused += usize::from(bindings::render(&[object], &Options { name: "layouts", types: &[] }).is_err());
    }
    assert!((100..1900).contains(&refused), "{refused}");
}

/// The offset of a member has 24 bits there, and clang says nothing when it does not fit.
#[test]
fn bit_fields_in_a_struct_that_is_too_large_for_btf_are_refused() {
    let mut bytes = fs::read(folder().join(OBJECTS[1])).unwrap();
    let (endian, btf) = find::find(&bytes).unwrap();
    let (header, types) = (24, Btf::parse(btf, endian).unwrap().types);
    let index = types.iter().position(|found| found.kind == Kind::Struct && found.name() == b"bits").unwrap();
    let before: usize = types[..index].iter().map(|found| 4 * found.fields.len()).sum();
    let begin = bytes.windows(btf.len()).position(|part| part == btf).unwrap();
    // Its size follows its name and its kind.
    let at = begin + header + before + 8;
    for (size, is_refused) in [(1_u32 << 21, false), ((1 << 21) + 4, true)] {
        bytes[at..at + 4].copy_from_slice(&size.to_le_bytes());
        let object = Object { file: "layouts_bpfel.o", sha256: "", bytes: &bytes, arches: &[] };
        let error = bindings::render(&[object], &Options { name: "layouts", types: &[] }).map(|_| ()).unwrap_err();
        let sentence = "struct bits has bit fields and more than 2 MiB, and BTF cannot say where its members are";
        assert_eq!(format!("{error:#}").contains(sentence), is_refused, "{error:#}");
    }
}

#[test]
fn objects_that_differ_have_modules_for_their_targets() {
    let read = |file| fs::read(folder().join(file)).unwrap();
    let (big, little) = (read(OBJECTS[0]), read(OBJECTS[1]));
    let other = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tick_bpfel.o")).unwrap();
    let object = |file, bytes, arches| Object { file, sha256: "12ab", bytes, arches };
    let text = |objects: &[Object]| bindings::render(objects, &Options { name: "layouts", types: &[] }).unwrap().text;
    let predicates = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| Some(line.strip_prefix("#[cfg(")?.strip_suffix(")]")?.to_owned())).collect()
    };
    let same = [
        object("a_arm64_bpfel.o", &little, &["aarch64"]),
        object("a_x86_bpfel.o", &little, &["x86_64"]),
        object("a_bpfeb.o", &big, &[]),
    ];
    assert!(predicates(&text(&same)).is_empty());
    let differing = [
        object("a_bpfeb.o", &big, &[]),
        object("a_bpfel.o", &little, &[]),
        object("a_arm64_bpfel.o", &other, &["aarch64"]),
    ];
    let first = "all(target_endian = \"little\", target_arch = \"aarch64\")";
    let second = "any(all(target_endian = \"little\", not(target_arch = \"aarch64\")), target_endian = \"big\")";
    assert_eq!(predicates(&text(&differing)), [first, first, second, second]);
    let error = bindings::render(&[], &Options { name: "layouts", types: &[] }).unwrap_err();
    assert_eq!(error.to_string(), "layouts has no objects");
}
