//! What every binary must satisfy, read from the ELF file itself.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use memchr::memmem;
use object::build::elf::{Builder, SectionData};
use object::{Endianness, elf};

use crate::arch::{Arch, Endian};

/// The section of a binary that holds the BPF object `NAME.o` is called `.bpf.NAME`.
const BPF_SECTION: &str = ".bpf.";

/// Everything that is wrong with a binary; nothing, if it may be shipped.
///
/// `objects` are the BPF objects of its byte order by name (`exectrace`), and `private` folders that must not be named
/// in it.
pub fn binary(
    bytes: &[u8],
    arch: &Arch,
    objects: &BTreeMap<String, Vec<u8>>,
    private: &[String],
) -> Result<Vec<String>> {
    let file = Builder::read(bytes).context("not an ELF file")?;
    let mut faults = Vec::new();
    let mut must = |holds: bool, fault: String| {
        if !holds {
            faults.push(fault);
        }
    };

    let machine = file.header.e_machine;
    must(machine == arch.elf_machine, format!("it is for machine {machine}, and {arch} is {}", arch.elf_machine));
    let bits = if file.is_64 { 64 } else { 32 };
    must(bits == arch.bits, format!("it is a {bits}-bit binary, and {arch} has {} bits", arch.bits));
    let endian = if file.endian == Endianness::Little { Endian::Little } else { Endian::Big };
    must(endian == arch.endian, format!("it is {}-endian, and {arch} is not", endian.name()));
    let kind = file.header.e_type;
    must(kind == elf::ET_EXEC, format!("it is of type {kind}, where a static binary at a fixed address has {}", elf::ET_EXEC));

    let mut stack = None;
    for segment in &file.segments {
        match segment.p_type {
            elf::PT_INTERP => must(false, "it asks for a loader (PT_INTERP), so it is not static".into()),
            elf::PT_DYNAMIC => must(false, "it has a dynamic section (PT_DYNAMIC), so it is not static".into()),
            elf::PT_GNU_STACK => stack = Some(segment.p_flags),
            elf::PT_LOAD => must(
                segment.p_align >= arch.max_page_size,
                format!(
                    "a segment is aligned to {} bytes, and kernels for {arch} have pages of up to {}",
                    segment.p_align, arch.max_page_size
                ),
            ),
            _ => {}
        }
    }
    must(
        stack.is_some_and(|flags| flags & elf::PF_X == 0),
        "its stack is executable (PT_GNU_STACK)".into(),
    );

    let mut embedded = BTreeMap::new();
    for section in &file.sections {
        let name = section.name.to_string();
        if let (Some(name), SectionData::Data(data)) = (name.strip_prefix(BPF_SECTION), &section.data) {
            embedded.insert(name.to_owned(), data.as_slice());
        }
    }
    for (name, object) in objects {
        match embedded.remove(name) {
            // The linker may fill the section up to its alignment.
            Some(data) => must(
                data.strip_prefix(object.as_slice()).is_some_and(|rest| rest.len() < 16 && rest.iter().all(|byte| *byte == 0)),
                format!("the BPF object in its section {BPF_SECTION}{name} is not the locked {name}_{}.o", arch.endian.bpf_target()),
            ),
            None => must(false, format!("it has no section {BPF_SECTION}{name} with the BPF object {name}")),
        }
    }
    for name in embedded.keys() {
        must(false, format!("its section {BPF_SECTION}{name} belongs to no BPF object of the lock file"));
    }

    for folder in private {
        must(memmem::find(bytes, folder.as_bytes()).is_none(), format!("it tells a path of this machine: {folder}"));
    }
    Ok(faults)
}
