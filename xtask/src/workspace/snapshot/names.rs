//! Names of files as text. One that is not UTF-8 is text as well, which says by letters of its own which bytes it has.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The letters U+10FF00 to U+10FFFF, which are for private use, stand for the bytes 00 to FF. A name that has one of these
/// letters itself has each of its bytes written so.
const FIRST: u32 = 0x10_FF00;
/// With this, each of these letters begins.
const START: [u8; 2] = [0xF4, 0x8F];

/// What is printed of such bytes and names, which may be several that are separated by NUL.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    if let (Ok(text), None) = (str::from_utf8(bytes), memchr::memmem::find(bytes, &START)) {
        return text.into();
    }
    let mut text = String::with_capacity(bytes.len());
    let push_byte = |text: &mut String, byte: u8| text.extend(char::from_u32(FIRST + u32::from(byte)));
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match u32::from(letter) >= FIRST {
                true => letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| push_byte(&mut text, byte)),
                false => text.push(letter),
            }
        }
        chunk.invalid().iter().for_each(|byte| push_byte(&mut text, *byte));
    }
    text.into()
}

/// The bytes of a name.
pub fn bytes(text: &str) -> Cow<'_, [u8]> {
    if memchr::memchr(START[0], text.as_bytes()).is_none() {
        return text.as_bytes().into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    for letter in text.chars() {
        match u32::from(letter).checked_sub(FIRST).and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes.into()
}

/// The path of what has this name in a folder.
pub fn path(folder: &Path, text: &str) -> PathBuf {
    folder.join(OsStr::from_bytes(&bytes(text)))
}

/// A name as users read it.
pub fn shown(text: &str) -> Cow<'_, str> {
    match bytes(text) {
        Cow::Owned(bytes) if str::from_utf8(&bytes).is_err() => bytes.escape_ascii().to_string().into(),
        Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
        Cow::Borrowed(_) => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_bytes_is_text_and_back() {
        for (name, expected) in [
            (&b"a/b c"[..], "a/b c"),
            ("größe".as_bytes(), "größe"),
            (b"gr\xf6\xdfe", "gr\\xf6\\xdfe"),
            (b"\xff\xfe/\x80", "\\xff\\xfe/\\x80"),
            ("\u{10FF41}".as_bytes(), "\u{10FF41}"),
            ("\u{10FE41}x".as_bytes(), "\u{10FE41}x"),
        ] {
            let text = text(name);
            assert_eq!(&*bytes(&text), name);
            assert_eq!(shown(&text), expected);
            assert_eq!(path(Path::new("/f"), &text), Path::new("/f").join(OsStr::from_bytes(name)));
        }
        assert_ne!(text(b"A\xff"), text("A\u{10FFFF}".as_bytes()), "two names are two texts");
    }
}
