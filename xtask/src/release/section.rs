//! One more section for a binary that is linked already.

use anyhow::{Context, Result};

/// How the headers of a file are written.
struct Form {
    is_64: bool,
    is_big: bool,
}

/// Where a header has a field, and how wide it is: in a file of 64 bits, and of 32.
type Field = ((usize, usize), (usize, usize));

const E_PHOFF: Field = ((0x20, 8), (0x1c, 4));
const E_SHOFF: Field = ((0x28, 8), (0x20, 4));
const E_PHENTSIZE: Field = ((0x36, 2), (0x2a, 2));
const E_PHNUM: Field = ((0x38, 2), (0x2c, 2));
const E_SHENTSIZE: Field = ((0x3a, 2), (0x2e, 2));
const E_SHNUM: Field = ((0x3c, 2), (0x30, 2));
const E_SHSTRNDX: Field = ((0x3e, 2), (0x32, 2));
const P_OFFSET: Field = ((8, 8), (4, 4));
const P_FILESZ: Field = ((32, 8), (16, 4));
const SH_NAME: Field = ((0, 4), (0, 4));
const SH_TYPE: Field = ((4, 4), (4, 4));
const SH_OFFSET: Field = ((24, 8), (16, 4));
const SH_SIZE: Field = ((32, 8), (20, 4));
const SH_ADDRALIGN: Field = ((48, 8), (32, 4));

const PROGBITS: usize = 1;
const NOBITS: usize = 8;

impl Form {
    fn place(&self, field: Field) -> (usize, usize) {
        if self.is_64 { field.0 } else { field.1 }
    }

    fn get(&self, header: &[u8], field: Field) -> Result<usize> {
        let (at, width) = self.place(field);
        let bytes = header.get(at..at + width).context("a header is cut off")?;
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let number = if self.is_big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) };
        Ok(usize::try_from(number)?)
    }

    fn set(&self, header: &mut [u8], field: Field, number: usize) -> Result<()> {
        let (at, width) = self.place(field);
        let bytes = (number as u64).to_be_bytes();
        let (above, bytes) = bytes.split_at(8 - width);
        anyhow::ensure!(above.iter().all(|byte| *byte == 0), "a number is too large for its header");
        let field = header.get_mut(at..at + width).context("a header is cut off")?;
        field.copy_from_slice(bytes);
        if !self.is_big {
            field.reverse();
        }
        Ok(())
    }
}

/// An ELF file with one more section. No segment has it, so nothing of it is loaded, and all that is loaded stays where it is.
pub fn add(elf: &[u8], name: &str, data: &[u8]) -> Result<Vec<u8>> {
    let form = Form { is_64: elf.get(4) == Some(&2), is_big: elf.get(5) == Some(&2) };
    let table = |at: Field, size: Field, count: Field| -> Result<Vec<Vec<u8>>> {
        let (at, size, count) = (form.get(elf, at)?, form.get(elf, size)?, form.get(elf, count)?);
        let bytes = elf.get(at..at + size * count).context("a table is cut off")?;
        Ok(bytes.chunks_exact(size.max(1)).map(Vec::from).collect())
    };
    let mut headers = table(E_SHOFF, E_SHENTSIZE, E_SHNUM)?;
    let segments = table(E_PHOFF, E_PHENTSIZE, E_PHNUM)?;
    let names_index = form.get(elf, E_SHSTRNDX)?;
    let end =
        |header: &[u8], offset, size| -> Result<usize> { Ok(form.get(header, offset)? + form.get(header, size)?) };

    // A linker writes the names and the table last, and we write both anew.
    let mut kept = 0;
    for (index, header) in headers.iter().enumerate() {
        if index != names_index && form.get(header, SH_TYPE)? != NOBITS {
            kept = kept.max(end(header, SH_OFFSET, SH_SIZE)?);
        }
    }
    for segment in &segments {
        kept = kept.max(end(segment, P_OFFSET, P_FILESZ)?);
    }
    let names = headers.get(names_index).context("its sections have no names")?;
    let (names_at, names_end) = (form.get(names, SH_OFFSET)?, end(names, SH_OFFSET, SH_SIZE)?);
    let mut names = elf.get(names_at..names_end).context("the names of its sections are cut off")?.to_vec();
    if kept > names_at.min(form.get(elf, E_SHOFF)?) {
        kept = elf.len();
    }

    let mut header = vec![0; headers[names_index].len()];
    form.set(&mut header, SH_NAME, names.len())?;
    form.set(&mut header, SH_TYPE, PROGBITS)?;
    form.set(&mut header, SH_OFFSET, kept)?;
    form.set(&mut header, SH_SIZE, data.len())?;
    form.set(&mut header, SH_ADDRALIGN, 1)?;
    headers.push(header);
    names.extend(name.as_bytes());
    names.push(0);

    let mut out = elf.get(..kept).context("a section is cut off")?.to_vec();
    out.extend(data);
    form.set(&mut headers[names_index], SH_OFFSET, out.len())?;
    form.set(&mut headers[names_index], SH_SIZE, names.len())?;
    out.extend(names);
    out.resize(out.len().next_multiple_of(8), 0);
    let at = out.len();
    form.set(&mut out, E_SHOFF, at)?;
    form.set(&mut out, E_SHNUM, headers.len())?;
    out.extend(headers.concat());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use bpfship_object::elf::Elf;

    use super::*;

    #[test]
    fn a_section_is_added_and_all_others_stay_as_they_are() {
        for file in [
            &include_bytes!("../../tests/corpus/good-arm64.elf")[..],
            include_bytes!("../../tests/corpus/good-mips.elf"),
        ] {
            let more = add(file, ".dep-v0", b"four").unwrap();
            let (before, after) = (Elf::parse(file).unwrap(), Elf::parse(&more).unwrap());
            assert_eq!(after.segments, before.segments);
            let (added, others) = after.sections.split_last().unwrap();
            assert_eq!((added.name.as_str(), added.data, added.executable), (".dep-v0", &b"four"[..], false));
            let is_not_names = |section: &&bpfship_object::elf::Section| section.name != ".shstrtab";
            assert!(others.iter().filter(is_not_names).eq(before.sections.iter().filter(is_not_names)));
        }
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        let arm64 = include_bytes!("../../tests/corpus/good-arm64.elf");
        for cut in [0, 4, 60, arm64.len() - 1] {
            assert!(add(&arm64[..cut], ".dep-v0", b"").is_err(), "{cut}");
        }
    }
}
