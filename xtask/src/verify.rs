//! What every binary must satisfy, read from the ELF file itself.

use std::collections::BTreeMap;

use anyhow::Result;
use memchr::memmem;
use object::elf;

use crate::arch::Arch;
use crate::elf::{Elf, Section};

/// The section of a binary that holds the BPF object `NAME` is called `.bpf.NAME`.
const BPF_SECTION: &str = ".bpf.";

/// How much the linker may fill such a section up, in bytes: less than the alignment that objects are given.
const PADDING: usize = 16;

/// Everything that is wrong with a binary; nothing, if it may be shipped.
///
/// `objects` are the BPF objects of its byte order by name (`tick`), and `private` folders that must not be named
/// in it.
pub fn binary(
    bytes: &[u8],
    arch: &Arch,
    objects: &BTreeMap<String, Vec<u8>>,
    private: &[String],
) -> Result<Vec<String>> {
    let file = Elf::parse(bytes)?;
    let mut faults = identity(&file, arch);
    faults.extend(segments(&file, arch));
    faults.extend(embedded(&file, arch, objects));
    for folder in private {
        // With the slash, for the name of a folder may be part of another word.
        if memmem::find(bytes, format!("{folder}/").as_bytes()).is_some() {
            faults.push(format!("it tells a path of this machine: {folder}"));
        }
    }
    Ok(faults)
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

fn embedded<'a>(file: &Elf<'a>, arch: &Arch, objects: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let mut faults = Vec::new();
    let named = |section: &Section<'a>| Some((section.name.strip_prefix(BPF_SECTION)?.to_owned(), section.data));
    let mut found: BTreeMap<String, &[u8]> = file.sections.iter().filter_map(named).collect();
    for (name, object) in objects {
        let Some(data) = found.remove(name) else {
            faults.push(format!("it has no section {BPF_SECTION}{name} with the BPF object {name}"));
            continue;
        };
        let rest = data.strip_prefix(object.as_slice());
        if !rest.is_some_and(|rest| rest.len() < PADDING && rest.iter().all(|byte| *byte == 0)) {
            let suffix = arch.endian.bpf_target();
            faults
                .push(format!("the BPF object in its section {BPF_SECTION}{name} is not the locked {name}_{suffix}.o"));
        }
    }
    for name in found.keys() {
        faults.push(format!("its section {BPF_SECTION}{name} belongs to no BPF object of the lock file"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;
    use crate::arch::Endian;
    use crate::elf::Segment;

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
            sections: vec![section(".bpf.tick", b"object\0\0")],
        }
    }

    fn objects() -> BTreeMap<String, Vec<u8>> {
        [("tick".to_owned(), b"object".to_vec())].into()
    }

    /// All faults of a file that was good before `spoil`.
    fn faults(spoil: impl FnOnce(&mut Elf)) -> Vec<String> {
        let mut file = good();
        spoil(&mut file);
        let mut faults = identity(&file, arm64());
        faults.extend(segments(&file, arm64()));
        faults.extend(embedded(&file, arm64(), &objects()));
        faults
    }

    #[test]
    fn a_good_binary_has_no_fault() {
        assert!(faults(|_| ()).is_empty());
    }

    #[test]
    fn every_fault_is_seen() {
        type Spoil = fn(&mut Elf);
        let cases: [(&str, Spoil); 12] = [
            ("it is for machine 62", |file| file.machine = elf::EM_X86_64),
            ("it is a 32-bit binary", |file| file.bits = 32),
            ("it is big-endian, and arm64 is little-endian", |file| file.endian = Endian::Big),
            ("its type is 3", |file| file.kind = elf::ET_DYN),
            ("asks for a loader", |file| file.segments[0].kind = elf::PT_INTERP),
            ("dynamic section", |file| file.segments[0].kind = elf::PT_DYNAMIC),
            ("aligned to 4096 bytes", |file| file.segments[0].align = 4096),
            ("stack is executable", |file| file.segments[1].flags = elf::PF_X),
            ("stack is executable", |file| file.segments.truncate(1)),
            ("no section .bpf.tick", |file| file.sections.clear()),
            ("is not the locked tick_bpfel.o", |file| file.sections[0].data = b"object\0x"),
            (".bpf.tock belongs to no BPF object", |file| file.sections.push(section(".bpf.tock", b""))),
        ];
        for (fault, spoil) in cases {
            let faults = faults(spoil);
            assert!(matches!(&faults[..], [only] if only.contains(fault)), "{fault}: {faults:?}");
        }
    }

    #[test]
    fn a_path_of_this_machine_is_seen() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let private = [env!("CARGO_MANIFEST_DIR").rsplit_once('/').unwrap().0.to_owned()];
        let faults = binary(&bytes, arm64(), &objects(), &private).unwrap();
        assert!(faults.iter().any(|fault| fault.contains("tells a path")), "{faults:?}");
    }
}
