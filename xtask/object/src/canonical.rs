//! The canonical form of BPF object files: without what only a debugger reads, and with canonical BTF. No tool of the
//! host takes part, so the bytes depend on the compiler alone.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use object::build::elf::{self as elf_file, Builder, SectionData};
use object::{Endianness, File, Object as _, ObjectSection as _, ObjectSymbol as _, SymbolFlags, SymbolKind, elf};

use crate::Endian;
use crate::btf::canonical::canonicalize_btf;
use crate::btf::rust::{Origin, for_kernel};
use crate::elf::{Elf, Section};
use crate::faults::unresolved;

/// The version of the canonical form. It changes whenever the same compiler output gives other bytes.
pub const OBJECT_FORMAT_VERSION: u32 = 2;

/// A canonical, checked object.
#[derive(Debug, PartialEq, Eq)]
pub struct Object {
    pub bytes: Vec<u8>,
    /// The names of its programs.
    pub programs: Vec<String>,
    /// Whether it says under which license it is. Without, helpers for GPL programs are refused to it, and nothing else.
    pub has_license: bool,
}

impl Object {
    /// Brings what clang made into the canonical form, and checks it.
    pub fn new(compiled: &[u8], endian: Endian) -> Result<Object> {
        let bytes = canonical(compiled).context("clang's object file cannot be understood")?;
        let object = Object::checked(bytes, endian)?;
        if let Some((name, place)) = unresolved(&object.bytes, endian)? {
            let place = place.map(|place| format!(" ({})", place.trim_start_matches("./"))).unwrap_or_default();
            bail!(
                "it uses `{name}`{place}, which nothing in it defines, and objects are not linked with each other: include the \
                 source that does"
            );
        }
        Ok(object)
    }

    /// The same for what clang made of Rust's bitcode for an architecture, which is Rust's word for it.
    pub fn of_rust(compiled: &[u8], endian: Endian, arch: Option<&str>) -> Result<Object> {
        let bytes = canonical_rust(compiled, arch).context("clang's object file cannot be understood")?;
        Object::checked(bytes, endian)
    }

    fn checked(bytes: Vec<u8>, endian: Endian) -> Result<Object> {
        let programs = check(&bytes, endian)?;
        let has_license = license(&parse(&bytes)?)?.is_some();
        Ok(Object { bytes, programs, has_license })
    }
}

/// Drops DWARF, and the relocations of BTF: `.BTF.ext` already has the offsets that they would set, and loaders take
/// those of variables from the symbols. Neither libbpf nor aya reads them, and they can be a fifth of an object.
pub fn canonical(compiled: &[u8]) -> Result<Vec<u8>> {
    rewritten(compiled, None)
}

/// The same, with BTF that the kernel takes although it is of Rust.
pub fn canonical_rust(compiled: &[u8], arch: Option<&str>) -> Result<Vec<u8>> {
    let mut global = BTreeSet::new();
    let file = File::parse(compiled)?;
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_global()) {
        let SymbolFlags::Elf { st_other, .. } = symbol.flags() else { continue };
        if let (Some(index), elf::STV_DEFAULT) = (symbol.section_index(), st_other & 3) {
            global.insert((file.section_by_index(index)?.name_bytes()?.to_vec(), symbol.address() as u32));
        }
    }
    rewritten(compiled, Some(&Origin { global, arch }))
}

fn rewritten(compiled: &[u8], rust: Option<&Origin>) -> Result<Vec<u8>> {
    let mut elf = Builder::read(compiled)?;
    for section in elf.sections.iter_mut() {
        let name = section.name.as_slice();
        let needless = [&b".debug_"[..], b".rel.debug_", b".rela.debug_", b".rel.BTF", b".rela.BTF"];
        section.delete = needless.iter().any(|prefix| name.starts_with(prefix));
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
    canonicalize_types(&mut elf, rust)?;
    elf.set_section_sizes();
    let mut bytes = Vec::new();
    elf.write(&mut bytes)?;
    Ok(bytes)
}

fn canonicalize_types(elf: &mut Builder, rust: Option<&Origin>) -> Result<()> {
    let endian = match elf.endian {
        Endianness::Little => Endian::Little,
        Endianness::Big => Endian::Big,
    };
    let find = |name: &[u8]| elf.sections.iter().find(|section| section.name.as_slice() == name);
    let data = |section: &elf_file::Section| match &section.data {
        SectionData::Data(data) => Some((section.id(), data.to_vec())),
        _ => None,
    };
    let Some((types_id, mut types)) = find(b".BTF").and_then(data) else {
        return Ok(());
    };
    let mut records = find(b".BTF.ext").and_then(data);
    if let Some(origin) = rust {
        let ext = records.as_ref().map(|(_, data)| data.as_slice());
        let (btf, ext) = for_kernel(&types, ext, endian, origin)?;
        types = btf;
        records = records.zip(ext).map(|((id, _), data)| (id, data));
    }
    let records_data = records.as_ref().map(|(_, data)| data.as_slice());
    let (types, records_data) = canonicalize_btf(&types, records_data, endian)?;
    elf.sections.get_mut(types_id).data = SectionData::Data(types.into());
    if let (Some((id, _)), Some(data)) = (records, records_data) {
        elf.sections.get_mut(id).data = SectionData::Data(data.into());
    }
    Ok(())
}

/// Reads an ELF file, and refuses one that is not BPF.
pub fn parse(bytes: &[u8]) -> Result<Elf<'_>> {
    let file = Elf::parse(bytes)?;
    if file.machine != elf::EM_BPF {
        bail!("its machine is {}, expected {} (BPF)", file.machine, elf::EM_BPF);
    }
    if file.bits != 64 {
        bail!("it is a {}-bit ELF file, expected 64 bits", file.bits);
    }
    Ok(file)
}

/// Refuses what no kernel would load. Returns the names of the programs.
pub fn check(bytes: &[u8], endian: Endian) -> Result<Vec<String>> {
    let file = parse(bytes)?;
    if file.endian != endian {
        bail!("it is {}-endian, expected {}-endian", file.endian.name(), endian.name());
    }
    let has = |name: &str| file.sections.iter().any(|section| section.name == name && !section.data.is_empty());
    // Functions that programs call are in `.text`.
    let is_program = |section: &&Section| section.executable && !section.data.is_empty() && section.name != ".text";
    let has_program = file.sections.iter().any(|section| is_program(&section));
    // Maps may be all that an application takes from it, and one of operations may have none that is a program.
    let has_maps = [".maps", ".struct_ops", ".struct_ops.link"].iter().any(|name| has(name));
    if !has_program && !has_maps {
        bail!(match has(".text") {
            true => {
                "it contains functions, but no program, and objects are not linked with each other: include its source \
                 in one that has programs"
            }
            false => "it contains no program: add a function with SEC(\"…\")",
        });
    }
    if !has(".BTF") {
        bail!("it has no BTF");
    }
    license(&file)?;
    programs(bytes)
}

/// Its license. Loaders take text that ends with a zero byte, and some take less without a word: a pointer to it is none.
fn license<'data>(file: &Elf<'data>) -> Result<Option<&'data [u8]>> {
    let section = file.sections.iter().find(|section| section.name == "license");
    let Some(data) = section.map(|section| section.data).filter(|data| !matches!(data, [] | [0])) else {
        return Ok(None);
    };
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (text, zeros) = data.split_at(end);
    if text.is_empty()
        || zeros.is_empty()
        || !text.iter().all(|byte| (b' '..=b'~').contains(byte))
        || zeros.iter().any(|byte| *byte != 0)
    {
        bail!(
            "its license is no text that ends with a zero byte: put the letters themselves into the section `license`"
        );
    }
    Ok(Some(text))
}

/// The functions of each section but `.text`. libbpf loads neither a function nor a map that only its own file can refer to, and
/// aya takes such a map for another one.
fn programs(bytes: &[u8]) -> Result<Vec<String>> {
    let file = File::parse(bytes)?;
    let mut names = Vec::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Data && symbol.is_local()) {
        if let Some(section) = symbol.section_index()
            && file.section_by_index(section)?.name_bytes()? == b".maps"
        {
            bail!("map `{}` is static, which libbpf refuses: make it global", symbol.name()?);
        }
    }
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        if let Some(section) = symbol.section_index()
            && file.section_by_index(section)?.name_bytes()? != b".text"
        {
            let name = symbol.name()?;
            if symbol.is_local() {
                bail!("program `{name}` is static, which libbpf refuses: make it global");
            }
            names.push(name.into());
        }
    }
    Ok(names)
}
