//! Bytes of others as words that neither a shell nor a terminal acts on.

use std::fmt::{self, Write as _};

/// Bytes as a POSIX shell's word, quoted if need be. What a terminal would act on, or is not UTF-8, is written as an
/// escape within `$'…'`.
pub(crate) fn quoted(bytes: &[u8]) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        if bytes.utf8_chunks().any(|chunk| !chunk.invalid().is_empty() || chunk.valid().chars().any(needs_escape)) {
            write_escaped(f, bytes)
        } else if !bytes.is_empty() && bytes.iter().copied().all(is_plain) {
            bytes.iter().try_for_each(|&byte| f.write_char(byte.into()))
        } else {
            // All of it is UTF-8: there was no invalid chunk.
            let text = String::from_utf8_lossy(bytes);
            write!(f, "'{}'", text.replace('\'', r"'\''"))
        }
    })
}

fn write_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("$'")?;
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\n' => f.write_str(r"\n")?,
                '\t' => f.write_str(r"\t")?,
                '\r' => f.write_str(r"\r")?,
                '\'' => f.write_str(r"\'")?,
                '\\' => f.write_str(r"\\")?,
                char if needs_escape(char) => {
                    let mut utf8 = [0; 4];
                    write_octal(f, char.encode_utf8(&mut utf8).as_bytes())?;
                }
                char => f.write_char(char)?,
            }
        }
        write_octal(f, chunk.invalid())?;
    }
    f.write_char('\'')
}

/// Three octal digits and no more: where a hexadecimal escape ends, shells disagree.
fn write_octal(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, r"\{byte:03o}"))
}

/// Control characters, and those that reorder or hide text: all that Unicode calls default ignorable (in
/// DerivedCoreProperties.txt), separators of lines, and marks of annotations.
pub(crate) fn needs_escape(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// What no POSIX shell treats specially in an argument.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_./:,+@%=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_quoted(bytes: &[u8], expected: &str) {
        assert_eq!(quoted(bytes).to_string(), expected);
    }

    #[test]
    fn plain_words_stay_as_they_are() {
        assert_quoted(b"/usr/bin/ls", "/usr/bin/ls");
        assert_quoted(b"--color=auto", "--color=auto");
    }

    #[test]
    fn words_are_quoted_as_a_shell_needs_it() {
        assert_quoted(b"", "''");
        assert_quoted(b"two words", "'two words'");
        assert_quoted(b"it's", r"'it'\''s'");
        assert_quoted(b"$HOME", "'$HOME'");
        assert_quoted(b"~", "'~'");
        assert_quoted("Größe".as_bytes(), "'Größe'");
    }

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_act_on() {
        assert_quoted(b"\x1b[2J", r"$'\033[2J'");
        assert_quoted(b"a\nb\tc\r", r"$'a\nb\tc\r'");
        assert_quoted(b"it's\n\\", r"$'it\'s\n\\'");
        // C1 controls, and a right-to-left override.
        assert_quoted("\u{9b}2J".as_bytes(), r"$'\302\2332J'");
        assert_quoted("\u{202e}txt".as_bytes(), r"$'\342\200\256txt'");
        // Variation selectors, in which whole texts are hidden.
        assert_quoted("a\u{e0100}".as_bytes(), r"$'a\363\240\204\200'");
        assert_quoted("a\u{fe00}".as_bytes(), r"$'a\357\270\200'");
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_escaped_one_by_one() {
        assert_quoted(b"caf\xe9", r"$'caf\351'");
        assert_quoted(b"\xff\xfe7", r"$'\377\3767'");
    }
}
