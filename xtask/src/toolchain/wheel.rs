//! Reads a wheel: a zip archive. Its bytes are known by their hash, so this reads what they are and refuses the rest of
//! the format: comments, encryption, and archives of more than 4 GiB or 65,534 files.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use anyhow::{Context, Result, bail};
use flate2::read::DeflateDecoder;

/// Bytes of the records of the format before their texts.
const END: usize = 22;
const ENTRY: usize = 46;
const HEADER: usize = 30;

/// A file in a wheel.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    method: u16,
    /// Bytes in the wheel, and when unpacked.
    packed: u64,
    size: u64,
    /// Where its header is.
    at: u64,
}

/// The files of a wheel, from the directory at its end.
pub fn members(wheel: &mut File) -> Result<Vec<Member>> {
    wheel.seek(SeekFrom::End(-(END as i64))).context("it is too short")?;
    let end = record::<END>(wheel, b"PK\x05\x06")?;
    let count = number(&end[10..12]);
    wheel.seek(SeekFrom::Start(number(&end[16..20])))?;
    let mut directory = BufReader::new(wheel).take(number(&end[12..16]));
    let mut members = Vec::new();
    for _ in 0..count {
        let entry = record::<ENTRY>(&mut directory, b"PK\x01\x02")?;
        let mut name = vec![0; number(&entry[28..30]) as usize];
        directory.read_exact(&mut name)?;
        let rest = number(&entry[30..32]) + number(&entry[32..34]);
        io::copy(&mut directory.by_ref().take(rest), &mut io::sink())?;
        let name = String::from_utf8(name).context("a name in it is not UTF-8")?;
        if name.starts_with('/') || name.split('/').any(|part| part == "..") {
            bail!("it holds a file that would land outside: {name}");
        }
        members.push(Member {
            name,
            method: number(&entry[10..12]) as u16,
            packed: number(&entry[20..24]),
            size: number(&entry[24..28]),
            at: number(&entry[42..46]),
        });
    }
    Ok(members)
}

/// Unpacks a file of a wheel.
pub fn unpack(wheel: &mut File, member: &Member, to: &mut File) -> Result<()> {
    wheel.seek(SeekFrom::Start(member.at))?;
    let header = record::<HEADER>(wheel, b"PK\x03\x04")?;
    let texts = number(&header[26..28]) + number(&header[28..30]);
    wheel.seek(SeekFrom::Start(member.at + HEADER as u64 + texts))?;
    let packed = wheel.take(member.packed);
    let written = match member.method {
        0 => io::copy(&mut BufReader::new(packed), to)?,
        8 => io::copy(&mut DeflateDecoder::new(packed), to)?,
        other => bail!("{} is compressed by method {other}, which is not known", member.name),
    };
    if written != member.size {
        bail!("{} has {written} bytes, expected {}", member.name, member.size);
    }
    Ok(())
}

fn record<const SIZE: usize>(from: &mut impl Read, signature: &[u8; 4]) -> Result<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    from.read_exact(&mut bytes).context("it is cut off")?;
    if !bytes.starts_with(signature) {
        bail!("it is no zip archive as wheels are");
    }
    Ok(bytes)
}

/// A little-endian number of at most 4 bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// An archive of files: name, method and contents.
    fn archive(files: &[(&str, u16, &[u8])]) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (name, method, contents) in files {
            let packed = match method {
                8 => {
                    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
                    encoder.write_all(contents).unwrap();
                    encoder.finish().unwrap()
                }
                _ => contents.to_vec(),
            };
            let at = bytes.len() as u32;
            let [lengths, name_length] = [[packed.len() as u32, contents.len() as u32], [name.len() as u32, 0]];
            let method = method.to_le_bytes();
            let lengths: Vec<u8> = lengths.iter().flat_map(|length| length.to_le_bytes()).collect();
            let name_length = &name_length[0].to_le_bytes()[..2];
            // An extra field of three bytes, which is not of interest.
            bytes.extend([b"PK\x03\x04".as_slice(), &[20, 0, 0, 0], &method, &[0; 8], &lengths, name_length].concat());
            bytes.extend([&[3, 0], name.as_bytes(), b"xyz", &packed].concat());
            directory.extend([b"PK\x01\x02".as_slice(), &[20, 0, 20, 0, 0, 0], &method, &[0; 8], &lengths].concat());
            directory.extend([name_length, &[3, 0], &[0; 10], &at.to_le_bytes(), name.as_bytes(), b"xyz"].concat());
        }
        let count = (files.len() as u16).to_le_bytes();
        let start = bytes.len() as u32;
        bytes.extend(&directory);
        bytes.extend([b"PK\x05\x06".as_slice(), &[0; 4], &count, &count].concat());
        bytes.extend([&(directory.len() as u32).to_le_bytes()[..], &start.to_le_bytes(), &[0; 2]].concat());
        bytes
    }

    fn unpacked(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut wheel = file(bytes);
        let mut all = Vec::new();
        for member in members(&mut wheel)? {
            let mut to = file(b"");
            unpack(&mut wheel, &member, &mut to)?;
            let mut contents = Vec::new();
            to.rewind()?;
            to.read_to_end(&mut contents)?;
            all.push((member.name, contents));
        }
        Ok(all)
    }

    #[test]
    fn stored_and_deflated_files_are_read() {
        let long = vec![b'z'; 100_000];
        let found = unpacked(&archive(&[("a/b", 8, &long), ("c", 0, b"text"), ("empty", 0, b"")])).unwrap();
        assert_eq!(found, [("a/b".into(), long), ("c".into(), b"text".to_vec()), ("empty".into(), Vec::new())]);
    }

    #[test]
    fn what_is_not_as_wheels_are_is_refused() {
        let good = archive(&[("c", 8, b"text")]);
        for cut in 0..good.len() {
            assert!(unpacked(&good[..cut]).is_err(), "{cut}");
        }
        let error = |bytes: &[u8]| format!("{:#}", unpacked(bytes).unwrap_err());
        assert_eq!(error(&archive(&[("a/../../x", 0, b"")])), "it holds a file that would land outside: a/../../x");
        assert_eq!(error(&archive(&[("/x", 0, b"")])), "it holds a file that would land outside: /x");
        assert_eq!(error(&archive(&[("x", 12, b"")])), "x is compressed by method 12, which is not known");
    }
}
