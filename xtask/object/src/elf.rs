//! The headers of an ELF file, whatever its class and byte order.

use anyhow::{Context, Result, bail};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, FileKind, elf};

use crate::Endian;

/// The facts of an ELF file that decide whether it may be shipped.
#[derive(Debug, PartialEq, Eq)]
pub struct Elf<'data> {
    /// 32 or 64: its class.
    pub bits: u8,
    pub endian: Endian,
    /// `e_type`.
    pub kind: u16,
    /// `e_machine`.
    pub machine: u16,
    pub segments: Vec<Segment>,
    pub sections: Vec<Section<'data>>,
}

/// A section.
#[derive(Debug, PartialEq, Eq)]
pub struct Section<'data> {
    pub name: String,
    /// Whether it contains instructions.
    pub executable: bool,
    /// Empty where the file has none, as with `.bss`.
    pub data: &'data [u8],
}

/// A segment.
#[derive(Debug, PartialEq, Eq)]
pub struct Segment {
    /// `p_type`.
    pub kind: u32,
    /// `p_flags`.
    pub flags: u32,
    /// Bytes.
    pub align: u64,
}

/// The most entries that a table may have, and bytes that a name may have: in what is shipped, it is dozens. Without a
/// bound, a small file could ask for a lot of work.
const MAX_ENTRIES: usize = 40_000;
const MAX_NAME: usize = 1000;

impl<'data> Elf<'data> {
    /// Reads an ELF file of at most 40,000 sections and as many segments, none of which overlap.
    pub fn parse(bytes: &'data [u8]) -> Result<Elf<'data>> {
        match FileKind::parse(bytes).context("not an ELF file")? {
            FileKind::Elf32 => parse::<elf::FileHeader32<Endianness>>(bytes, 32),
            FileKind::Elf64 => parse::<elf::FileHeader64<Endianness>>(bytes, 64),
            kind => bail!("not an ELF file, but {kind:?}"),
        }
    }
}

fn parse<Header: FileHeader<Endian = Endianness>>(bytes: &[u8], bits: u8) -> Result<Elf<'_>> {
    let header = Header::parse(bytes)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, bytes)?;
    let table = header.sections(endian, bytes)?;
    if segments.len().max(table.len()) > MAX_ENTRIES {
        bail!("it has {} segments and {} sections, and {MAX_ENTRIES} are enough", segments.len(), table.len());
    }
    let segments = segments
        .iter()
        .map(|segment| Segment {
            kind: segment.p_type(endian),
            flags: segment.p_flags(endian),
            align: segment.p_align(endian).into(),
        })
        .collect();
    let mut sections = Vec::new();
    let mut size = 0;
    for section in table.iter() {
        let name = table.section_name(endian, section)?;
        if name.len() > MAX_NAME {
            bail!("it has a section whose name has {} bytes, and {MAX_NAME} are enough", name.len());
        }
        let name = String::from_utf8_lossy(name).into_owned();
        let executable = section.sh_flags(endian).into() & u64::from(elf::SHF_EXECINSTR) != 0;
        let data = section.data(endian, bytes)?;
        size += data.len();
        sections.push(Section { name, executable, data });
    }
    // Else what reads every section might read one part of the file thousands of times.
    if size > bytes.len() {
        bail!("its sections overlap");
    }
    Ok(Elf {
        bits,
        endian: match endian {
            Endianness::Little => Endian::Little,
            Endianness::Big => Endian::Big,
        },
        kind: header.e_type(endian),
        machine: header.e_machine(endian),
        segments,
        sections,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small file can ask for more work than it is worth.
    #[test]
    fn tables_and_names_have_bounds() {
        let with_sections = |count: u16, name: &[u8]| {
            let mut bytes = include_bytes!("../tests/tick_bpfel.o").to_vec();
            let table = bytes.len().next_multiple_of(8);
            bytes.resize(table + 64 * usize::from(count), 0);
            let names = bytes.len();
            bytes.extend([&[0], name, &[0]].concat());
            // The last section holds the names, and its own is the only one.
            let last = table + 64 * (usize::from(count) - 1);
            bytes[last] = 1;
            bytes[last + 4] = 3;
            bytes[last + 24..last + 32].copy_from_slice(&(names as u64).to_le_bytes());
            bytes[last + 32..last + 40].copy_from_slice(&(name.len() as u64 + 2).to_le_bytes());
            bytes[40..48].copy_from_slice(&(table as u64).to_le_bytes());
            bytes[60..62].copy_from_slice(&count.to_le_bytes());
            bytes[62..64].copy_from_slice(&(count - 1).to_le_bytes());
            Elf::parse(&bytes).map(|elf| elf.sections.len()).map_err(|error| error.to_string())
        };
        assert_eq!(with_sections(3, b".names"), Ok(3));
        assert_eq!(with_sections(40_000, b".names"), Ok(40_000));
        assert!(with_sections(40_001, b".names").unwrap_err().contains("40001 sections, and 40000 are enough"));
        assert!(with_sections(3, &[b'x'; 1001]).unwrap_err().contains("a section whose name has 1001 bytes"));
    }
}
