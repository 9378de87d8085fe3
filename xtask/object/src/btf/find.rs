//! BTF within other files: a kernel's, most of all.

use anyhow::{Result, bail};

use crate::Endian;
use crate::elf::Elf;

/// The beginning of BTF as every kernel writes it: magic number, version 1, no flags, and a header of 24 bytes.
const BEGINS: [(Endian, [u8; 8]); 2] =
    [(Endian::Little, [0x9f, 0xeb, 1, 0, 24, 0, 0, 0]), (Endian::Big, [0xeb, 0x9f, 1, 0, 0, 0, 0, 24])];

/// The BTF in a file that is BTF, an ELF file with a section `.BTF`, or a kernel image that is not compressed.
pub fn find(file: &[u8]) -> Result<(Endian, &[u8])> {
    if let Some((endian, _)) = BEGINS.iter().find(|(_, begin)| file.starts_with(begin)) {
        return Ok((*endian, file));
    }
    if let Ok(elf) = Elf::parse(file)
        && let Some(section) = elf.sections.iter().find(|section| section.name == ".BTF")
    {
        return Ok((elf.endian, section.data));
    }
    let mut found: Option<(Endian, &[u8])> = None;
    for (endian, begin) in BEGINS {
        for at in memchr::memmem::find_iter(file, &begin) {
            // An image may have that of modules, too: the kernel's is the largest.
            if let Some(btf) = whole(&file[at..], endian)
                && found.is_none_or(|(_, other)| other.len() < btf.len())
            {
                found = Some((endian, btf));
            }
        }
    }
    match found {
        Some(found) => Ok(found),
        None => bail!("it has no BTF, or is compressed"),
    }
}

/// All of it, if it is within the file.
fn whole(file: &[u8], endian: Endian) -> Option<&[u8]> {
    let number = |at: usize| {
        let bytes = file.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(match endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        })
        .ok()
    };
    let [types_at, types, strings_at, strings] = [8, 12, 16, 20].map(number);
    if types_at? != 0 || strings_at? != types? {
        return None;
    }
    file.get(..24_usize.checked_add(types?)?.checked_add(strings?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn btf_is_found_in_whatever_a_kernel_comes_as() {
        let object = include_bytes!("../../tests/tick_bpfel.o");
        let (endian, btf) = find(object).unwrap();
        assert_eq!(endian, Endian::Little);
        assert_eq!(find(btf).unwrap().1, btf);
        let image = [&[8, 0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 7], &[1; 100][..], btf, &[2; 50]].concat();
        assert_eq!(find(&image).unwrap(), (Endian::Little, btf));
        assert_eq!(find(&[3; 100]).unwrap_err().to_string(), "it has no BTF, or is compressed");
    }
}
