//! The libraries that build scripts have linked, and which compiler made them: ours signs nothing, others sign each object.

use bpfship_object::elf::Elf;

/// How an archive begins, and each file in it ends its header.
const ARCHIVE: &[u8] = b"!<arch>\n";
const HEADER_END: &[u8] = b"`\n";

/// Bytes of a header, and where in it the size of the file is.
const HEADER: usize = 60;
const SIZE: std::ops::Range<usize> = 48..58;

/// How other compilers for C sign what they make.
const SIGNATURES: [&str; 2] = ["GCC: ", "clang version "];

/// The signature of another compiler in an archive of objects.
pub fn other_compiler(archive: &[u8]) -> Option<String> {
    files(archive).into_iter().find_map(|file| {
        // Of a copy, for where it is, it may not be aligned as the reader needs it.
        let file = file.to_vec();
        signature(&Elf::parse(&file).ok()?)
    })
}

fn signature(object: &Elf) -> Option<String> {
    let comments = object.sections.iter().filter(|section| section.name == ".comment");
    let texts = comments.flat_map(|section| section.data.split(|byte| *byte == 0));
    let mut texts = texts.map(|text| String::from_utf8_lossy(text).into_owned());
    texts.find(|text| SIGNATURES.iter().any(|signature| text.contains(signature)))
}

/// The files in an archive, as far as it can be read.
fn files(archive: &[u8]) -> Vec<&[u8]> {
    let mut files = Vec::new();
    let mut rest = archive.strip_prefix(ARCHIVE).unwrap_or_default();
    while let Some((header, content)) = rest.split_at_checked(HEADER).filter(|(head, _)| head.ends_with(HEADER_END)) {
        let size = str::from_utf8(&header[SIZE]).ok().and_then(|size| size.trim_end().parse::<usize>().ok());
        let Some((file, after)) = size.and_then(|size| content.split_at_checked(size)) else { break };
        files.push(file);
        // Each begins at an even place.
        rest = after.get(file.len() % 2..).unwrap_or_default();
    }
    files
}

#[cfg(test)]
mod tests {
    use bpfship_object::Endian;
    use bpfship_object::elf::Section;

    use super::*;

    #[test]
    fn every_file_of_an_archive_is_found_and_what_is_damaged_ends_it() {
        let file = |size: &str, bytes: &str| format!("{:48}{size:10}`\n{bytes}", "name/");
        let archive = format!("!<arch>\n{}\n{}", file("3", "odd"), file("4", "even"));
        assert_eq!(files(archive.as_bytes()), [&b"odd"[..], b"even"]);
        assert_eq!(files(format!("!<arch>\n{}", file("9", "short")).as_bytes()), [&b""[..]; 0]);
        assert_eq!(files(format!("!<arch>\n{}", file("x", "")).as_bytes()), [&b""[..]; 0]);
        assert_eq!(other_compiler(b"!<arch>\nno header"), None);
        assert_eq!(other_compiler(b""), None);
    }

    #[test]
    fn a_compiler_is_known_by_what_it_signs_with() {
        let signed = |data: &'static [u8]| {
            let section = Section { name: ".comment".into(), executable: false, data };
            let (bits, endian) = (64, Endian::Little);
            signature(&Elf { bits, endian, kind: 1, machine: 62, segments: Vec::new(), sections: vec![section] })
        };
        assert_eq!(signed(b"\0GCC: (Debian 12.2.0-14) 12.2.0\0").unwrap(), "GCC: (Debian 12.2.0-14) 12.2.0");
        assert!(signed(b"\0Ubuntu clang version 14.0.0\0").is_some());
        assert_eq!(signed(b"\0rustc version 1.95.0\0"), None);
        assert_eq!(signed(b""), None);
    }
}
