//! BPF object files: drops what only a debugger reads, and checks what is left. No tool of the host takes part, so the
//! bytes depend on the pinned compiler alone.

use anyhow::{Context, Result, bail};
use object::build::elf::{Builder, SectionData};
use object::elf;

use crate::arch::Endian;

/// A checked object: its bytes, and the names of its programs' sections.
#[derive(Debug, PartialEq, Eq)]
pub struct Object {
    pub bytes: Vec<u8>,
    pub programs: Vec<String>,
}

impl Object {
    /// Strips what clang made, and checks it.
    pub fn new(compiled: &[u8], endian: Endian) -> Result<Object> {
        let bytes = strip(compiled).context("clang's object file cannot be understood")?;
        let programs = check(&bytes, endian)?;
        Ok(Object { bytes, programs })
    }
}

/// Drops DWARF. BTF stays.
fn strip(compiled: &[u8]) -> Result<Vec<u8>> {
    let mut elf = Builder::read(compiled)?;
    for section in elf.sections.iter_mut() {
        let name = section.name.as_slice();
        let debug = [&b".debug_"[..], b".rel.debug_", b".rela.debug_"];
        section.delete = debug.iter().any(|prefix| name.starts_with(prefix));
    }
    elf.delete_orphans();
    if !elf.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        // clang keeps the names of sections and symbols in one table, which the writer does not.
        let names = elf.sections.add();
        names.name = b".shstrtab"[..].into();
        names.sh_type = elf::SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    elf.set_section_sizes();
    let mut bytes = Vec::new();
    elf.write(&mut bytes)?;
    Ok(bytes)
}

/// Refuses what no kernel would load. Gives the names of the sections that hold programs.
pub fn check(bytes: &[u8], endian: Endian) -> Result<Vec<String>> {
    let elf = Builder::read(bytes).context("not an ELF file")?;
    if elf.header.e_machine != elf::EM_BPF {
        bail!("its machine is {} where {} (BPF) is wanted", elf.header.e_machine, elf::EM_BPF);
    }
    if !elf.is_64 {
        bail!("it is a 32-bit ELF file where BPF has 64 bits");
    }
    let little = elf.endian == object::Endianness::Little;
    if little != (endian == Endian::Little) {
        bail!("its byte order is not {}-endian", endian.name());
    }
    let mut programs = Vec::new();
    let (mut btf, mut license) = (false, false);
    for section in elf.sections.iter() {
        let SectionData::Data(data) = &section.data else {
            continue;
        };
        let name = section.name.to_string();
        btf |= name == ".BTF" && !data.is_empty();
        license |= name == "license" && !data.is_empty();
        if section.sh_flags & u64::from(elf::SHF_EXECINSTR) != 0 && !data.is_empty() && name != ".text" {
            programs.push(name);
        }
    }
    if programs.is_empty() {
        bail!("it holds no program: a function with SEC(\"…\") is wanted");
    }
    if !btf {
        bail!("it has no BTF");
    }
    if !license {
        bail!("it states no licence: char LICENSE[] SEC(\"license\") = \"…\"; is wanted");
    }
    Ok(programs)
}
