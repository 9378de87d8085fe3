//! What bytes are called: the id that git gives a file, or their SHA-256.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::sys::hash::unhex;

/// The name of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    /// Of a blob in a repository whose object format is SHA-1.
    Sha1([u8; 20]),
    /// Of a blob in a repository whose object format is SHA-256.
    Sha256([u8; 32]),
    /// The SHA-256 of the bytes alone: outside git, and of what an LFS pointer points to.
    Plain([u8; 32]),
}

/// How the name is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Sha1,
    Sha256,
    Plain,
}

/// Computes the name of bytes that come in pieces.
pub enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
    Plain(Sha256),
}

impl Id {
    /// An object id as git prints it.
    pub fn parse(text: &str) -> Option<Id> {
        match text.len() {
            40 => unhex(text).map(Id::Sha1),
            64 => unhex(text).map(Id::Sha256),
            _ => None,
        }
    }

    pub fn format(&self) -> Format {
        match self {
            Id::Sha1(_) => Format::Sha1,
            Id::Sha256(_) => Format::Sha256,
            Id::Plain(_) => Format::Plain,
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Id::Sha1(bytes) => bytes,
            Id::Sha256(bytes) | Id::Plain(bytes) => bytes,
        }
    }

    pub fn hex(&self) -> String {
        self.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Format {
    /// The hasher for this many bytes.
    pub fn hasher(self, size: u64) -> Hasher {
        let header = format!("blob {size}\0");
        match self {
            Format::Sha1 => Hasher::Sha1(Sha1::new().chain_update(header)),
            Format::Sha256 => Hasher::Sha256(Sha256::new().chain_update(header)),
            Format::Plain => Hasher::Plain(Sha256::new()),
        }
    }

    pub fn of_bytes(self, bytes: &[u8]) -> Id {
        let mut hasher = self.hasher(bytes.len() as u64);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The id of a file of this size, which is streamed. Of one that changes meanwhile it is the id of nothing.
    pub fn of_file(self, path: &Path, size: u64) -> io::Result<Id> {
        let mut file = File::open(path)?;
        let mut hasher = self.hasher(size);
        let mut buffer = vec![0; usize::try_from(size).unwrap_or(usize::MAX).clamp(1, 256 * 1024)];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hasher.finish()),
                count => hasher.update(&buffer[..count]),
            }
        }
    }
}

impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha1(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) | Hasher::Plain(hasher) => hasher.update(bytes),
        }
    }

    pub fn finish(self) -> Id {
        match self {
            Hasher::Sha1(hasher) => Id::Sha1(hasher.finalize().into()),
            Hasher::Sha256(hasher) => Id::Sha256(hasher.finalize().into()),
            Hasher::Plain(hasher) => Id::Plain(hasher.finalize().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_git_gives() {
        // As `printf hello | git hash-object --stdin` prints them, in a repository of each format.
        assert_eq!(Format::Sha1.of_bytes(b"hello").hex(), "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0");
        assert_eq!(
            Format::Sha256.of_bytes(b"hello").hex(),
            "8aec4e4876f854f688d0ebfc8f37598f38e5fd6903cccc850ca36591175aeb60"
        );
        assert_eq!(Id::parse(&Format::Sha1.of_bytes(b"hello").hex()), Some(Format::Sha1.of_bytes(b"hello")));
        assert_eq!(Id::parse("b6fc"), None);
    }
}
