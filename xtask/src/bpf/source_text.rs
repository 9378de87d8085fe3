//! What a BPF source may not contain although clang compiles it: neither clang's list of files nor a check of the flags
//! shows it.

/// Assembler directives that read a file, and those that could put together the name of one.
const READING: [&str; 2] = [".incbin", ".include"];
const HIDING: [&str; 2] = [".macro", ".irp"];

/// Names of architectures that clang defines for a machine, and never for BPF: what is inside such a condition is not
/// compiled.
const HOST_ONLY: [&str; 9] =
    ["__x86_64__", "__aarch64__", "__arm__", "__riscv", "__loongarch", "__s390", "__mips", "__powerpc", "__PPC"];

/// One that the kernel's headers ask for, so that it is defined here, too.
const DEFINED: &str = "__i386__";

/// libbpf's words for an architecture begin with this.
const ARCH_WORD: &str = "__TARGET_ARCH_";

#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// What is between the quotes.
    Text(&'a str),
    Other(char),
    EndOfLine,
}

/// Why a source or header is refused, and on which line. Only what is asked of every file is asked of most: whether it
/// contains assembler text or a word for an architecture at all.
pub fn refusal(source: &[u8]) -> Option<(usize, String)> {
    let contains = |word: &str| memchr::memmem::find(source, word.as_bytes()).is_some();
    if !has_assembler_text(source) && !contains("incbin") && !contains(ARCH_WORD) {
        return None;
    }
    let source = String::from_utf8_lossy(source);
    let mut conditions: Vec<bool> = Vec::new();
    // Of the directive in this line, what was read of it.
    let mut directive: Option<Vec<&str>> = None;
    let mut is_line_empty = true;
    let mut text = String::new();
    for (line, token) in tokens(&source) {
        // Texts beside each other are one text.
        match token {
            Token::Text(part) => text += &unescaped(part),
            Token::EndOfLine => {}
            _ => text.clear(),
        }
        let lower = text.to_ascii_lowercase();
        if let Some(found) = READING.iter().find(|word| lower.contains(**word)) {
            return Some((line, reads_a_file(found)));
        }
        if let Some(found) = HIDING.iter().find(|word| lower.contains(**word)) {
            let why = "which may hide one that reads a file that bpf.lock cannot know: write out what it stands for";
            return Some((line, format!("contains the assembler directive `{found}`, {why}")));
        }
        match token {
            Token::Word("incbin") => return Some((line, reads_a_file(READING[0]))),
            Token::Other('#') if is_line_empty => directive = Some(Vec::new()),
            Token::Word(word) => {
                if let Some(words) = &mut directive {
                    words.push(word);
                }
            }
            Token::EndOfLine => {
                let words = directive.take().unwrap_or_default();
                let is_host_only = words.iter().any(|word| HOST_ONLY.iter().any(|host| word.starts_with(host)))
                    && !words.contains(&DEFINED);
                match words.as_slice() {
                    ["if" | "ifdef" | "ifndef", ..] => conditions.push(is_host_only),
                    ["elif" | "elifdef" | "elifndef" | "else", ..] => {
                        if let Some(condition) = conditions.last_mut() {
                            *condition |= is_host_only;
                        }
                    }
                    ["endif", ..] => drop(conditions.pop()),
                    ["define" | "undef", word, ..] if word.starts_with(ARCH_WORD) && !conditions.contains(&true) => {
                        return Some((
                            line,
                            format!("sets {word} itself, and the tool sets that for each object: remove the line"),
                        ));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        is_line_empty = token == Token::EndOfLine;
    }
    None
}

/// Whether what is assembled may be another text than what is written, by macros that make texts of words.
pub fn may_hide(sources: &[Vec<u8>]) -> bool {
    let makes_texts = |source: &Vec<u8>| {
        let source = String::from_utf8_lossy(source);
        let tokens: Vec<Token> = tokens(&source).map(|(_, token)| token).collect();
        let is_hash = |token: Option<&Token>| token == Some(&Token::Other('#'));
        (1..tokens.len()).any(|at| {
            let (before, after) = (&tokens[at - 1], tokens.get(at + 1));
            is_hash(tokens.get(at)) && *before != Token::EndOfLine && !is_hash(Some(before)) && !is_hash(after)
        })
    };
    sources.iter().any(|source| has_assembler_text(source)) && sources.iter().any(makes_texts)
}

/// Whether `asm`, `__asm` or `__asm__` may be in there as a word.
fn has_assembler_text(source: &[u8]) -> bool {
    memchr::memmem::find_iter(source, "asm").any(|at| {
        let after = source[at + 3..].iter().find(|byte| **byte != b'_');
        !after.is_some_and(u8::is_ascii_alphanumeric)
    })
}

fn reads_a_file(directive: &str) -> String {
    format!(
        "contains the assembler directive `{directive}`, which reads a file that bpf.lock cannot know: write its bytes into \
         the source"
    )
}

/// A text with the letters that are written by their numbers.
fn unescaped(text: &str) -> String {
    let mut letters = text.chars().peekable();
    let mut plain = String::new();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        let is_hex = letters.next_if_eq(&'x').is_some();
        let (radix, most) = if is_hex { (16, usize::MAX) } else { (8, 3) };
        let mut digits = String::new();
        while let Some(digit) = letters.next_if(|letter| digits.len() < most && letter.is_digit(radix)) {
            digits.push(digit);
        }
        match u32::from_str_radix(&digits, radix).ok().and_then(char::from_u32) {
            Some(letter) => plain.push(letter),
            None => plain.extend(letters.next()),
        }
    }
    plain
}

/// The tokens of a C source with the numbers of their lines, without comments.
fn tokens(source: &str) -> impl Iterator<Item = (usize, Token<'_>)> {
    let bytes = source.as_bytes();
    let (mut at, mut line) = (0, 1);
    std::iter::from_fn(move || {
        loop {
            let begin = at;
            let rest = &bytes[at..];
            let ends_with = |end: &[u8]| memchr::memmem::find(rest, end).map_or(bytes.len(), |found| begin + found);
            match rest {
                [] => return None,
                [b'\n', ..] => {
                    (at, line) = (at + 1, line + 1);
                    return Some((line - 1, Token::EndOfLine));
                }
                [b'\\', b'\n', ..] => (at, line) = (at + 2, line + 1),
                [b'\\', b'\r', b'\n', ..] => (at, line) = (at + 3, line + 1),
                [b'/', b'/', ..] => at = ends_with(b"\n"),
                [b'/', b'*', ..] => {
                    at = (ends_with(b"*/") + 2).min(bytes.len());
                    line += memchr::memchr_iter(b'\n', &bytes[begin..at]).count();
                }
                [quote @ (b'"' | b'\''), ..] => {
                    at += 1;
                    while at < bytes.len() && bytes[at] != *quote && bytes[at] != b'\n' {
                        at += if bytes[at] == b'\\' { 2 } else { 1 };
                    }
                    let end = at.min(bytes.len());
                    line += memchr::memchr_iter(b'\n', &bytes[begin..end]).count();
                    at = (end + usize::from(bytes.get(end) == Some(quote))).min(bytes.len());
                    return Some((line, Token::Text(source.get(begin + 1..end).unwrap_or_default())));
                }
                [byte, ..] if byte.is_ascii_alphanumeric() || *byte == b'_' => {
                    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                    at += rest.iter().take_while(|byte| is_word(byte)).count();
                    return Some((line, Token::Word(&source[begin..at])));
                }
                [byte, ..] => {
                    at += 1;
                    if !byte.is_ascii_whitespace() {
                        return Some((line, Token::Other(char::from(*byte))));
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_a_file_behind_clang_s_back_is_found_wherever_it_is_written() {
        for source in [
            "asm(\".incbin \\\"/etc/hostname\\\"\");",
            "/* one\ntwo */ int a;\n__asm__(\".section x\\n\"\n  \".INCBIN \\\"x\\\"\");",
            "asm(\".inc\" /* here */ \\\n \"bin 'x'\");",
            "#define TEXT(x) #x\nasm(\".\" TEXT(incbin) \" x\");",
            "asm volatile(\"r0 = 1\\n.include \\\"/x\\\"\");",
            "asm(\".inc\\x62in \\\"x\\\"\");",
            "asm(\".\\151nclude \\\"x\\\"\");",
            "asm(\".macro m a\\n.\\\\a\\\\()bin \\\"x\\\"\\n.endm\\nm inc\");",
        ] {
            let (_, why) = refusal(source.as_bytes()).expect(source);
            assert!(why.contains("reads a file that bpf.lock cannot know"), "{why}");
        }
        assert_eq!(refusal(b"int a;\nasm(\"x\"\n\".incbin y\");").unwrap().0, 3);
        for source in [
            "// asm(\".incbin\")\n/* incbin */ asm(\"r0 = 1\");",
            "asm(\".inc\"); int x; asm(\"bin\");",
            "char incbins[] = \"include\"; asm(\"\");",
            "asm(\"\\\"\"); // .include",
            "char c = '\"'; asm(\"r1\"); char ü;",
        ] {
            assert_eq!(refusal(source.as_bytes()), None, "{source}");
        }
    }

    #[test]
    fn macros_that_make_texts_may_hide_what_is_assembled() {
        let may = |sources: &[&str]| may_hide(&sources.iter().map(|it| it.as_bytes().to_vec()).collect::<Vec<_>>());
        assert!(may(&["#define I(x) asm(\".\" #x \"bin 'x'\")"]));
        assert!(may(&["asm(TEXT(a));", "#define TEXT(x) \\\n  # x\n"]));
        assert!(!may(&["#define JOIN(a, b) a##b\n  # define X\nasm(\"r0 = #1\"); // #x"]));
        assert!(!may(&["#define TEXT(x) #x\n"]));
    }

    #[test]
    fn who_sets_the_architecture_is_found_unless_it_is_never_compiled() {
        for (source, line) in [
            ("#define __TARGET_ARCH_x86\n", 1),
            ("int a;\n  # define \\\n__TARGET_ARCH_arm64 1\n", 3),
            ("#ifndef __TARGET_ARCH_x86\n#define __TARGET_ARCH_x86\n#endif\n", 2),
            ("#if defined(__x86_64__)\n#endif\n#undef __TARGET_ARCH_arm64\n", 3),
            ("#if defined(__x86_64__) || defined(__i386__)\n#define __TARGET_ARCH_x86\n#endif\n", 2),
        ] {
            let (found, why) = refusal(source.as_bytes()).expect(source);
            assert_eq!(found, line, "{source}");
            assert!(why.contains("__TARGET_ARCH_") && why.contains("itself"), "{why}");
        }
        for source in [
            "#if defined(__TARGET_ARCH_x86)\nint a;\n#endif\n",
            "#if defined(__x86_64__)\n#define __TARGET_ARCH_x86\n#elif defined(__aarch64__)\n#define __TARGET_ARCH_arm64\n#elif defined(__powerpc64__)\n#define __TARGET_ARCH_powerpc\n#endif\n",
            "// #define __TARGET_ARCH_x86\n",
        ] {
            assert_eq!(refusal(source.as_bytes()), None, "{source}");
        }
    }
}
