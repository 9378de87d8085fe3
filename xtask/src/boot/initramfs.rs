//! The file system that a guest boots with: the first process, its configuration, the binary under test, and nothing
//! else.

use std::collections::BTreeMap;

use bpfship_guest::config::{self, GuestConfig};

/// Where a binary is in the guest.
pub fn program(bin: &str) -> String {
    format!("/bin/{bin}")
}

/// The archive, not yet compressed. The same inputs give the same bytes.
pub fn compose(init: &[u8], binaries: &BTreeMap<String, Vec<u8>>, config: &GuestConfig) -> Vec<u8> {
    let mut cpio = Cpio::default();
    for folder in ["bin", "dev", "proc", "sys", "tmp"] {
        cpio.add(folder, FOLDER | 0o755, &[]);
    }
    cpio.add("init", FILE | 0o755, init);
    for (name, bytes) in binaries {
        cpio.add(program(name).trim_start_matches('/'), FILE | 0o755, bytes);
    }
    cpio.add(config::PATH.trim_start_matches('/'), FILE | 0o600, config.to_text().as_bytes());
    cpio.finish()
}

/// File types of `st_mode`.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// Writes a cpio archive in the form that kernels read ("newc").
#[derive(Default)]
struct Cpio {
    bytes: Vec<u8>,
    /// Inodes so far.
    count: u32,
}

impl Cpio {
    fn add(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.count += 1;
        let size = u32::try_from(contents.len()).expect("a file below 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("a short name");
        // Inode, mode, user, group, links, date, size, device, device of a special file, length of the name, checksum.
        let fields = [self.count, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        fields.iter().for_each(|field| self.bytes.extend(format!("{field:08x}").bytes()));
        self.bytes.extend(name.bytes().chain([0]));
        self.pad();
        self.bytes.extend(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> GuestConfig {
        GuestConfig {
            nonce: "12ab".into(),
            hide_btf: None,
            interrupt_after: Vec::new(),
            environment: Vec::new(),
            commands: vec![vec![program("probe"), "--version".into()]],
        }
    }

    fn binaries() -> BTreeMap<String, Vec<u8>> {
        [("probe".to_owned(), b"second!".to_vec()), ("other".to_owned(), b"third".to_vec())].into()
    }

    /// Names, modes and contents, as a reader of the format sees them.
    fn entries(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let mut at = 0;
        loop {
            let field = |index: usize| {
                let start = at + 6 + index * 8;
                u32::from_str_radix(std::str::from_utf8(&archive[start..start + 8]).unwrap(), 16).unwrap()
            };
            assert_eq!(&archive[at..at + 6], b"070701");
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(archive[at + 110..at + 110 + name_size - 1].to_vec()).unwrap();
            let start = (at + 110 + name_size).next_multiple_of(4);
            at = (start + size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(at, archive.len());
                return entries;
            }
            entries.push((name, mode, archive[start..start + size].to_vec()));
        }
    }

    #[test]
    fn it_holds_init_the_binaries_and_the_configuration_alone() {
        let archive = compose(b"first", &binaries(), &config());
        let files: Vec<_> = entries(&archive).into_iter().filter(|(_, mode, _)| mode & FILE != 0).collect();
        assert_eq!(
            files,
            [
                ("init".to_owned(), 0o100_755, b"first".to_vec()),
                ("bin/other".to_owned(), 0o100_755, b"third".to_vec()),
                ("bin/probe".to_owned(), 0o100_755, b"second!".to_vec()),
                ("guest-config".to_owned(), 0o100_600, b"12ab\n\n\n\n/bin/probe\0--version\n".to_vec()),
            ]
        );
    }

    #[test]
    fn the_same_inputs_give_the_same_bytes() {
        let make = || compose(b"first", &binaries(), &config());
        assert_eq!(make(), make());
    }
}
