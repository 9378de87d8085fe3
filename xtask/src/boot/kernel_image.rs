//! What a kernel image is, by its bytes, and the form of it that QEMU takes.

use std::io::Read;

use anyhow::{Context, Result, bail};
use bpfship_object::elf::Elf;
use flate2::read::GzDecoder;
use ruzstd::decoding::StreamingDecoder;

use crate::arch::{Arch, Magic};

/// The largest image that is unpacked, in bytes: a damaged one must not fill the memory.
pub const LIMIT: u64 = 512 * 1024 * 1024;

/// Makes of an image, however it is packed, what QEMU boots; refuses what is no kernel for this architecture.
pub fn prepare(image: &[u8], arch: &Arch) -> Result<Vec<u8>> {
    let image = unpack(image)?;
    let has = |magic: &Magic| image.get(magic.offset..).is_some_and(|rest| rest.starts_with(magic.bytes));
    let known = arch.kernel_magic.as_ref().is_some_and(has);
    let elf = Elf::parse(&image)
        .ok()
        .filter(|elf| elf.machine == arch.elf_machine && elf.bits == arch.bits && elf.endian == arch.endian);
    if !known && elf.is_none() {
        bail!("it is no kernel for {arch}, nor one in a form that is known");
    }
    Ok(image)
}

fn unpack(image: &[u8]) -> Result<Vec<u8>> {
    if image.starts_with(b"MZ") && image.get(4..8) == Some(b"zimg") {
        return unpack_zboot(image);
    }
    if image.starts_with(b"\x1f\x8b") {
        return read(GzDecoder::new(image)).context("it is gzip, but damaged");
    }
    Ok(image.to_vec())
}

/// An EFI program that holds a compressed kernel: where, and how compressed, stands in its header.
fn unpack_zboot(image: &[u8]) -> Result<Vec<u8>> {
    let number = |at: usize| {
        let bytes = image.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let payload = number(8).zip(number(12)).and_then(|(start, size)| image.get(start..start.checked_add(size)?));
    let payload = payload.context("it is an EFI zboot image, but cut off")?;
    let method = image.get(24..56).and_then(|field| field.split(|byte| *byte == 0).next()).unwrap_or_default();
    match method {
        b"gzip" => read(GzDecoder::new(payload)),
        b"zstd" => read(StreamingDecoder::new(payload).context("it is no zstd")?),
        other => {
            bail!("it is an EFI zboot image compressed by {:?}, not by gzip or zstd", String::from_utf8_lossy(other))
        }
    }
    .context("it is an EFI zboot image, but damaged")
}

/// What is unpacked, up to [`LIMIT`].
pub fn read(from: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::ARCHES;
    use crate::release::pack;

    const LOONG64: &Arch = Arch::named("loong64");

    /// What is taken for a kernel of the architecture.
    fn kernel(arch: &Arch) -> Vec<u8> {
        let magic = arch.kernel_magic.as_ref().unwrap();
        [&vec![0; magic.offset], magic.bytes, &[7; 100]].concat()
    }

    fn zboot(method: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut image = b"MZ\0\0zimg".to_vec();
        image.extend(64_u32.to_le_bytes());
        image.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
        image.resize(24, 0);
        image.extend(method);
        image.resize(64, 0);
        image.extend(payload);
        image.extend(b"something behind it");
        image
    }

    /// A zstd frame that holds the bytes as they are.
    fn zstd(bytes: &[u8]) -> Vec<u8> {
        // The magic number; one segment of a size in two bytes, which count from 256; one last block, raw.
        let size = u16::try_from(bytes.len() - 256).unwrap();
        let block = u32::try_from(bytes.len()).unwrap() << 3 | 1;
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x60];
        frame.extend(size.to_le_bytes());
        frame.extend(&block.to_le_bytes()[..3]);
        frame.extend(bytes);
        frame
    }

    #[test]
    fn a_kernel_is_known_by_its_architecture_and_by_no_other() {
        for arch in ARCHES.iter().filter(|arch| arch.kernel_magic.is_some()) {
            let image = kernel(arch);
            assert_eq!(prepare(&image, arch).unwrap(), image);
            let other = ARCHES.iter().find(|other| other.kernel_magic != arch.kernel_magic).unwrap();
            let error = prepare(&image, other).unwrap_err().to_string();
            assert!(error.starts_with(&format!("it is no kernel for {other}")), "{error}");
        }
        assert!(prepare(b"", Arch::named("mips")).is_err());
        assert!(prepare(b"#!/bin/sh", Arch::named("amd64")).is_err());
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut image = kernel(LOONG64);
        image.resize(1000, 9);
        let gzip = pack::gzip(&image).unwrap();
        assert_eq!(prepare(&gzip, LOONG64).unwrap(), image);
        assert_eq!(prepare(&zboot(b"gzip", &gzip), LOONG64).unwrap(), image);
        assert_eq!(prepare(&zboot(b"zstd", &zstd(&image)), LOONG64).unwrap(), image);
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let error = |image: &[u8]| format!("{:#}", prepare(image, LOONG64).unwrap_err());
        let whole = zboot(b"zstd", &zstd(&[1; 1000]));
        assert_eq!(error(&whole[..500]), "it is an EFI zboot image, but cut off");
        assert!(error(&whole).starts_with("it is no kernel for loong64"));
        assert!(error(&zboot(b"zstd", b"garbage")).contains("zstd"));
        assert!(error(&zboot(b"lzma", b"garbage")).contains("compressed by \"lzma\""));
        assert!(error(b"\x1f\x8bgarbage").starts_with("it is gzip, but damaged"));
    }
}
