//! What every binary must satisfy, read from the ELF file itself.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use bpfship_object::elf::Elf;
use memchr::memmem;
use object::elf;

use crate::arch::Arch;
use crate::release::manifest::BpfObject;
use crate::sys::hash::{self, Sha256};

/// The section of a binary that holds the BPF object `NAME` is called `.bpf.NAME`.
const BPF_SECTION: &str = ".bpf.";
/// The section that holds BTF of kernels.
const BTF_SECTION: &str = ".btf.bundle";

/// The section in which skeletons of libbpf-cargo have their objects, one after the other. It is no object of that name.
const SKELETONS: &str = ".bpf.objs";

/// How every ELF file begins.
const ELF_MAGIC: &[u8] = b"\x7fELF";

/// How much the linker may fill such a section up, in bytes: less than the alignment that objects are given.
const PADDING: usize = 16;

/// The BPF objects that a binary must hold.
#[derive(Debug)]
pub struct Objects<'a> {
    /// The file with that checksum.
    pub of: &'static str,
    /// Those for its architecture, by name (`tick`).
    pub by_name: BTreeMap<String, &'a BpfObject>,
    /// Whether others may have the rest: a binary then holds those that it needs.
    pub some: bool,
    /// The BTF of kernels that it must carry, where that is known.
    pub btf: Option<Vec<u8>>,
}

/// What was found in a binary.
#[derive(Debug)]
pub struct Checked {
    /// Everything that is wrong with it; nothing, if it may be shipped.
    pub faults: Vec<String>,
    /// The names of those BPF objects that it holds, in sections of their own or among other data.
    pub held: BTreeSet<String>,
}

/// Reads a binary. Where it is not known which BPF `objects` it must hold, any will do. `private` are paths that must not be
/// named in it.
pub fn check(bytes: &[u8], arch: &Arch, objects: Option<&Objects>, private: &[String]) -> Result<Checked> {
    let file = Elf::parse(bytes)?;
    let mut faults = identity(&file, arch);
    faults.extend(segments(&file, arch));
    faults.extend(well_formed(&file, arch));
    let loose = loose(bytes, &file);
    faults.extend(elsewhere(&loose, arch));
    let mut held: BTreeSet<String> = sections(&file).map(|(name, _)| name.to_owned()).collect();
    match objects {
        Some(objects) => {
            let hashes = loose.iter().map(|(_, object)| hash::bytes(object)).collect();
            faults.extend(embedded(&file, objects, &hashes));
            let by_bytes = objects.by_name.iter().filter(|(_, object)| hashes.contains(&object.sha256));
            held.extend(by_bytes.map(|(name, _)| name.clone()));
        }
        None if held.is_empty() && loose.is_empty() => {
            faults.push(format!("it has no section {BPF_SECTION}NAME with a BPF object, nor one elsewhere"));
        }
        None => {}
    }
    for path in private {
        if memmem::find(bytes, path.as_bytes()).is_some() {
            faults.push(format!("it contains a path of this machine: {path}"));
        }
    }
    Ok(Checked { faults, held })
}

fn identity(file: &Elf, arch: &Arch) -> Vec<String> {
    let mut faults = Vec::new();
    if file.machine != arch.elf_machine {
        faults.push(format!("it is for machine {}, and {arch} is {}", file.machine, arch.elf_machine));
    }
    if file.bits != arch.bits {
        faults.push(format!("it is a {}-bit binary, and {arch} has {} bits", file.bits, arch.bits));
    }
    if file.endian != arch.endian {
        faults.push(format!("it is {}-endian, and {arch} is {}-endian", file.endian.name(), arch.endian.name()));
    }
    if file.kind != elf::ET_EXEC {
        faults.push(format!("its type is {}, and a static binary at a fixed address has {}", file.kind, elf::ET_EXEC));
    }
    faults
}

fn segments(file: &Elf, arch: &Arch) -> Vec<String> {
    let mut faults = Vec::new();
    for segment in &file.segments {
        match segment.kind {
            elf::PT_INTERP => faults.push("it asks for a loader (PT_INTERP), so it is not static".into()),
            elf::PT_DYNAMIC => faults.push("it has a dynamic section (PT_DYNAMIC), so it is not static".into()),
            elf::PT_LOAD if segment.align < arch.max_page_size => faults.push(format!(
                "a segment is aligned to {} bytes, and kernels for {arch} have pages of up to {}",
                segment.align, arch.max_page_size
            )),
            _ => {}
        }
    }
    // Without the segment, a kernel takes the stack to be executable.
    let stack = file.segments.iter().find(|segment| segment.kind == elf::PT_GNU_STACK);
    if stack.is_none_or(|stack| stack.flags & elf::PF_X != 0) {
        faults.push("its stack is executable (PT_GNU_STACK)".into());
    }
    faults
}

/// The sections that hold BPF objects, with the names of those.
fn sections<'a>(file: &'a Elf) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let ours = file.sections.iter().filter(|section| section.name != SKELETONS);
    ours.filter_map(|section| Some((section.name.strip_prefix(BPF_SECTION)?, section.data)))
}

/// What no kernel would load, or not on this architecture.
fn well_formed(file: &Elf, arch: &Arch) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, data) in sections(file) {
        // Of a copy, for where it is, it may not be aligned as the reader needs it.
        let object = data.to_vec();
        if let Err(error) = bpfship_object::check(&object, arch.endian) {
            faults.push(format!("what is in its section {BPF_SECTION}{name} is no BPF object for {arch}: {error}"));
        }
    }
    faults
}

/// The objects that lie among other data, as libbpf's skeletons and aya's `include_bytes_aligned!` have them, and where.
fn loose<'a>(bytes: &'a [u8], file: &Elf) -> Vec<(usize, &'a [u8])> {
    let found = memmem::find_iter(bytes, ELF_MAGIC).filter_map(|at| Some((at, bpf_object(&bytes[at..])?)));
    found.filter(|(_, object)| !sections(file).any(|(_, data)| data.starts_with(object))).collect()
}

/// What no kernel would load of those.
fn elsewhere(loose: &[(usize, &[u8])], arch: &Arch) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, object) in loose {
        // Of a copy, for where it is, it may not be aligned as the reader needs it.
        let object = object.to_vec();
        if let Err(error) = bpfship_object::check(&object, arch.endian) {
            faults.push(format!("the BPF object at its byte {at} is none for {arch}: {error}"));
        }
    }
    faults
}

/// The BPF object that these bytes begin with. It ends with its table of sections.
fn bpf_object(bytes: &[u8]) -> Option<&[u8]> {
    let is_big = match bytes.get(4..6)? {
        [2, 1] => false,
        [2, 2] => true,
        _ => return None,
    };
    let number = |at: usize, size: usize| {
        let bytes = bytes.get(at..at + size)?;
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if is_big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
    };
    if number(0x10, 2)? != u64::from(elf::ET_REL) || number(0x12, 2)? != u64::from(elf::EM_BPF) {
        return None;
    }
    let end = number(0x28, 8)?.checked_add(number(0x3a, 2)? * number(0x3c, 2)?)?;
    bytes.get(..usize::try_from(end).ok()?)
}

/// `loose` are the hashes of objects that lie among other data.
fn embedded(file: &Elf, Objects { of, by_name, some, btf }: &Objects, loose: &BTreeSet<Sha256>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut found: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for (name, data) in sections(file) {
        if found.insert(name, data).is_some() {
            faults.push(format!("it has two sections {BPF_SECTION}{name}"));
        }
    }
    for (name, object) in by_name {
        let Some(data) = found.remove(name.as_str()) else {
            if !*some && !loose.contains(&object.sha256) {
                faults.push(format!(
                    "it has no section {BPF_SECTION}{name} with the BPF object {name}, nor that object elsewhere"
                ));
            }
            continue;
        };
        let size = usize::try_from(object.size).unwrap_or(usize::MAX);
        let is_it = data.get(..size).is_some_and(|own| hash::bytes(own) == object.sha256 && is_padded(data, own));
        if !is_it {
            faults
                .push(format!("the BPF object in its section {BPF_SECTION}{name} is not the {} of {of}", object.file));
        }
    }
    for name in found.keys() {
        faults.push(format!("its section {BPF_SECTION}{name} belongs to no BPF object of {of}"));
    }
    let carried = file.sections.iter().find(|section| section.name == BTF_SECTION).map_or(&b""[..], |it| it.data);
    match btf {
        Some(btf) if is_padded(carried, btf) => {}
        // Another one may carry it.
        Some(_) if carried.is_empty() && *some => {}
        Some(_) if carried.is_empty() => faults.push(format!(
            "it has no section {BTF_SECTION} with the BTF of kernels that {of} names: embed it with bpfship_embed::btf!()"
        )),
        Some(_) => faults.push(format!("the BTF of kernels in its section {BTF_SECTION} is not that of {of}")),
        None => {}
    }
    faults
}

/// Whether a section holds these bytes, and nothing else but what fills it up.
fn is_padded(section: &[u8], bytes: &[u8]) -> bool {
    section.strip_prefix(bytes).is_some_and(|rest| rest.len() < PADDING && rest.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use bpfship_object::Endian;
    use bpfship_object::elf::{Section, Segment};

    use super::*;
    use crate::release::manifest;

    fn arm64() -> &'static Arch {
        <&Arch>::from_str("arm64").unwrap()
    }

    fn section(name: &str, data: &'static [u8]) -> Section<'static> {
        Section { name: name.into(), executable: false, data }
    }

    fn good() -> Elf<'static> {
        let segment = |kind, flags, align| Segment { kind, flags, align };
        Elf {
            bits: 64,
            endian: Endian::Little,
            kind: elf::ET_EXEC,
            machine: elf::EM_AARCH64,
            segments: vec![segment(elf::PT_LOAD, elf::PF_X, 65536), segment(elf::PT_GNU_STACK, elf::PF_W, 0)],
            sections: vec![section(".bpf.tick", b"object\0\0"), section(".btf.bundle", b"btf\0\0\0\0\0")],
        }
    }

    fn objects() -> Vec<BpfObject> {
        vec![BpfObject { file: "tick_bpfel.o".parse().unwrap(), size: 6, sha256: hash::bytes(b"object") }]
    }

    /// All faults of a file that was good before `spoil`.
    fn faults(spoil: impl FnOnce(&mut Elf)) -> Vec<String> {
        let mut file = good();
        spoil(&mut file);
        let mut faults = identity(&file, arm64());
        faults.extend(segments(&file, arm64()));
        let objects = objects();
        let by_name = manifest::objects_of(&objects, arm64());
        let btf = Some(b"btf".into());
        faults.extend(embedded(&file, &Objects { of: "bpf.lock", by_name, some: false, btf }, &BTreeSet::new()));
        faults
    }

    #[test]
    fn one_of_several_binaries_need_not_hold_all_but_nothing_else() {
        let objects = objects();
        let faults = |file: &Elf| {
            let by_name = manifest::objects_of(&objects, arm64());
            embedded(file, &Objects { of: "bpf.lock", by_name, some: true, btf: None }, &BTreeSet::new())
        };
        assert!(faults(&good()).is_empty() && faults(&Elf { sections: Vec::new(), ..good() }).is_empty());
        // Among other data, it is held as well.
        let alone =
            Objects { of: "bpf.lock", by_name: manifest::objects_of(&objects, arm64()), some: false, btf: None };
        let bare = Elf { sections: Vec::new(), ..good() };
        assert!(embedded(&bare, &alone, &[hash::bytes(b"object")].into()).is_empty());
        assert!(embedded(&bare, &alone, &[hash::bytes(b"other")].into())[0].contains("nor that object elsewhere"));
        let other = faults(&Elf { sections: vec![section(".bpf.tick", b"other")], ..good() });
        assert!(matches!(&other[..], [only] if only.contains("is not the tick_bpfel.o of bpf.lock")), "{other:?}");
    }

    #[test]
    fn a_good_binary_has_no_fault() {
        assert!(faults(|_| ()).is_empty());
    }

    #[test]
    fn the_section_of_skeletons_is_no_object_of_its_name() {
        assert!(faults(|file| file.sections.push(section(SKELETONS, b"two objects, one after the other"))).is_empty());
    }

    #[test]
    fn every_fault_is_seen() {
        type Spoil = fn(&mut Elf);
        let cases: [(&str, Spoil); 17] = [
            ("it is for machine 62", |file| file.machine = elf::EM_X86_64),
            ("it is a 32-bit binary", |file| file.bits = 32),
            ("it is big-endian, and arm64 is little-endian", |file| file.endian = Endian::Big),
            ("its type is 3", |file| file.kind = elf::ET_DYN),
            ("asks for a loader", |file| file.segments[0].kind = elf::PT_INTERP),
            ("dynamic section", |file| file.segments[0].kind = elf::PT_DYNAMIC),
            ("aligned to 4096 bytes", |file| file.segments[0].align = 4096),
            ("stack is executable", |file| file.segments[1].flags = elf::PF_X),
            ("stack is executable", |file| file.segments.truncate(1)),
            ("no section .bpf.tick", |file| drop(file.sections.remove(0))),
            ("no section .btf.bundle with the BTF of kernels that bpf.lock names", |file| drop(file.sections.pop())),
            ("in its section .btf.bundle is not that of bpf.lock", |file| file.sections[1].data = b"bt\0"),
            ("in its section .btf.bundle is not that of bpf.lock", |file| file.sections[1].data = b"btf\0\x01"),
            ("is not the tick_bpfel.o of bpf.lock", |file| file.sections[0].data = b"object\0x"),
            ("is not the tick_bpfel.o of bpf.lock", |file| file.sections[0].data = b"objec"),
            (".bpf.tock belongs to no BPF object of bpf.lock", |file| file.sections.push(section(".bpf.tock", b""))),
            ("has two sections .bpf.tick", |file| file.sections.push(section(".bpf.tick", b"object"))),
        ];
        for (fault, spoil) in cases {
            let faults = faults(spoil);
            assert!(matches!(&faults[..], [only] if only.contains(fault)), "{fault}: {faults:?}");
        }
    }

    #[test]
    fn an_object_among_other_data_is_found_in_either_byte_order() {
        for (order, kind, machine, end) in [(1, [1, 0], [247, 0], [66, 0]), (2, [0, 1], [0, 247], [0, 66])] {
            let mut object = [0; 80];
            object[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, order]);
            object[0x10..0x12].copy_from_slice(&kind);
            object[0x12..0x14].copy_from_slice(&machine);
            // Where its table of sections is, whose entries have no size.
            let at = if order == 1 { 0x28 } else { 0x2e };
            object[at..at + 2].copy_from_slice(&end);
            assert_eq!(bpf_object(&object).map(<[u8]>::len), Some(66));
            let bytes = [b"data", &object[..]].concat();
            let faults = elsewhere(&loose(&bytes, &good()), arm64());
            assert!(
                matches!(&faults[..], [only] if only.contains("the BPF object at its byte 4 is none")),
                "{faults:?}"
            );
            object[at] = 1;
            object[at + 1] = 1;
            assert_eq!(bpf_object(&object), None);
        }
        assert_eq!(bpf_object(b"\x7fELF\x02\x01"), None);
    }

    #[test]
    fn a_path_of_this_machine_is_seen() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let private = [env!("CARGO_MANIFEST_DIR").rsplit_once('/').unwrap().0.to_owned()];
        let faults = check(&bytes, arm64(), None, &private).unwrap().faults;
        assert!(faults.iter().any(|fault| fault.contains("contains a path")), "{faults:?}");
    }
}
