//! Pointers of Git LFS. The commit says by hash what they point to, so it can be taken from wherever it is.

use std::path::{Path, PathBuf};

use super::id::Id;
use crate::sys::hash::unhex;

/// Larger ones are none.
pub const LARGEST: u64 = 1024;

/// What a commit holds in place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    pub content: Id,
    pub size: u64,
}

impl Pointer {
    /// `None` for bytes that are a file. The form: <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>
    pub fn parse(bytes: &[u8]) -> Option<Pointer> {
        if bytes.len() as u64 >= LARGEST {
            return None;
        }
        let text = str::from_utf8(bytes).ok()?;
        let mut lines = text.lines();
        let version = lines.next()?.strip_prefix("version ")?;
        // The second is of the time before its first release.
        if !version.starts_with("https://git-lfs.github.com/spec/") && version != "https://hawser.github.com/spec/v1" {
            return None;
        }
        let field = |name: &str| lines.clone().find_map(|line| line.strip_prefix(name));
        let content = Id::Plain(unhex(field("oid sha256:")?)?);
        Some(Pointer { content, size: field("size ")?.parse().ok()? })
    }

    /// Where Git LFS keeps the content, in the folder of git that all work trees share.
    pub fn place(&self, shared: &Path) -> PathBuf {
        let name = self.content.hex();
        shared.join("lfs/objects").join(&name[..2]).join(&name[2..4]).join(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_told_from_a_file() {
        let name = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
        let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{name}\nsize 12345\n");
        let pointer = Pointer::parse(text.as_bytes()).unwrap();
        assert_eq!((pointer.content.hex(), pointer.size), (name.to_owned(), 12345));
        assert_eq!(pointer.place(Path::new("/r/.git")), Path::new("/r/.git/lfs/objects/4d/7a").join(name));
        for file in [
            String::new(),
            format!("# {text}"),
            text.replace("sha256", "sha512"),
            text.replace("size", "sizes"),
            format!("{text}{}", " ".repeat(1000)),
        ] {
            assert_eq!(Pointer::parse(file.as_bytes()), None, "{file}");
        }
    }
}
