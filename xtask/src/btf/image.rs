//! Kernel images that unpack themselves: what is packed in them, and how.

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use memchr::memmem;
use ruzstd::decoding::StreamingDecoder;

use crate::boot::kernel_image::{self, LIMIT};

/// How something is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    Gzip,
    Zstd,
    Lz4,
    /// By a program of this machine.
    Xz,
}

/// What packed data begins with.
const BEGINS: [(Packed, &[u8]); 4] = [
    (Packed::Xz, b"\xfd7zXZ\0"),
    (Packed::Zstd, b"\x28\xb5\x2f\xfd"),
    (Packed::Lz4, LZ4),
    (Packed::Gzip, b"\x1f\x8b\x08"),
];

/// The frame that Linux uses: blocks with their lengths before them.
const LZ4: &[u8] = b"\x02\x21\x4c\x18";
/// What a block of it gives at most, in bytes.
const LZ4_BLOCK: usize = 8 << 20;

/// Where in an image something may be packed, and how.
pub fn packed(image: &[u8]) -> impl Iterator<Item = (Packed, &[u8])> {
    let places = move |(packed, begin)| memmem::find_iter(image, begin).map(move |at| (packed, &image[at..]));
    BEGINS.into_iter().flat_map(places)
}

impl Packed {
    /// Unpacks what begins here, whatever follows.
    pub fn unpack(self, data: &[u8]) -> Result<Vec<u8>> {
        match self {
            Packed::Gzip => kernel_image::read(GzDecoder::new(data)),
            Packed::Zstd => kernel_image::read(StreamingDecoder::new(data)?),
            Packed::Lz4 => lz4(data),
            Packed::Xz => bail!("xz is not unpacked here"),
        }
    }
}

/// Unpacks blocks until something else follows.
fn lz4(data: &[u8]) -> Result<Vec<u8>> {
    let mut rest = data.strip_prefix(LZ4).context("it is no lz4")?;
    let mut bytes = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let Some((block, after)) = after.split_at_checked(u32::from_le_bytes(*length) as usize) else { break };
        let begin = bytes.len();
        // The length of all that was packed may follow as if it were a block's.
        if lz4_block(block, &mut bytes).is_none() || bytes.len() - begin > LZ4_BLOCK || bytes.len() as u64 > LIMIT {
            bytes.truncate(begin);
            break;
        }
        rest = after;
    }
    if bytes.is_empty() {
        bail!("it is no lz4");
    }
    Ok(bytes)
}

/// A block is made of bytes to take as they are, and of places in what came before to repeat from. The format:
/// <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>.
fn lz4_block(mut block: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
    let begin = bytes.len();
    // A length of 15 goes on in bytes, as long as those are 255.
    let long = |short: u8, block: &mut &[u8]| {
        let mut length = usize::from(short);
        let mut last = if short == 15 { 255 } else { 0 };
        while last == 255 {
            let (byte, rest) = block.split_first()?;
            *block = rest;
            (last, length) = (*byte, length + usize::from(*byte));
        }
        Some(length)
    };
    loop {
        let (token, rest) = block.split_first()?;
        block = rest;
        let literals = long(token >> 4, &mut block)?;
        let (plain, rest) = block.split_at_checked(literals)?;
        bytes.extend_from_slice(plain);
        if rest.is_empty() {
            return Some(());
        }
        let (offset, rest) = rest.split_first_chunk()?;
        block = rest;
        let length = long(token & 15, &mut block)? + 4;
        let from = bytes.len().checked_sub(u16::from_le_bytes(*offset).into()).filter(|from| *from >= begin)?;
        if from == bytes.len() || bytes.len() - begin + length > LZ4_BLOCK {
            return None;
        }
        // It may repeat what it has just written.
        for at in from..from + length {
            bytes.push(bytes[at]);
        }
    }
}

/// What a kernel calls itself, from its bytes: `6.12.107+deb13-amd64`.
pub fn release(kernel: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    memmem::find_iter(kernel, BANNER).find_map(|at| {
        let text = &kernel[at + BANNER.len()..];
        let word = text.split(|byte| !byte.is_ascii_graphic()).next()?;
        // Its format has the word in other places.
        let is_release = word.first().is_some_and(u8::is_ascii_digit) && word.len() < 65 && word.contains(&b'.');
        is_release.then(|| String::from_utf8_lossy(word).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::pack;

    #[test]
    fn what_is_packed_is_found_in_an_image_and_unpacked() {
        let kernel = b"Linux version %s (%s)\0 Linux version 6.1.0-50-amd64 (debian) #1\0".repeat(50);
        let gzip = pack::gzip(&kernel).unwrap();
        let image = [&b"code, and \x1f\x8b\x08 by chance "[..], &gzip, b" what follows"].concat();
        let unpacked: Vec<Vec<u8>> = packed(&image).filter_map(|(how, data)| how.unpack(data).ok()).collect();
        assert_eq!(unpacked, [kernel]);
        assert_eq!(release(&unpacked[0]).as_deref(), Some("6.1.0-50-amd64"));
        assert_eq!(release(b"Linux version %s"), None);
    }

    /// What `lz4 -l` makes of ten times `abcd` and `end`, with its length behind it as Linux appends it.
    #[test]
    fn lz4_repeats_what_it_has_written() {
        let block = b"\x4fabcd\x04\x00\x0f\x50cdend";
        let frame = [LZ4, &(block.len() as u32).to_le_bytes(), block, &43_u32.to_le_bytes()].concat();
        assert_eq!(Packed::Lz4.unpack(&frame).unwrap(), [&b"abcd".repeat(10)[..], b"end"].concat());
        for end in 0..frame.len() - 4 {
            assert!(Packed::Lz4.unpack(&frame[..end]).is_err(), "{end}");
        }
        // From before the beginning, and from nowhere.
        for offset in [5, 0] {
            let mut frame = frame.clone();
            frame[LZ4.len() + 9] = offset;
            assert!(Packed::Lz4.unpack(&frame).is_err(), "{offset}");
        }
    }
}
