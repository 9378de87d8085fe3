//! What the text of a source shows before clang reads it: the files that it includes, and whether it asks for the architecture.

use memchr::memmem;

/// What stands in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// What it includes by name.
    pub includes: Vec<Include>,
    /// What it gives a name with `#define`, as it could be included.
    pub defines: Vec<Include>,
    /// Whether it includes what a macro stands for.
    pub by_macro: bool,
    /// Whether it asks which architecture it is compiled for. Nothing else that is given to clang says so.
    pub asks: bool,
    /// Whether it most likely does something that depends on the architecture. If not, one compile more finds that out.
    pub hints: bool,
}

/// The name of a file between quotes or angle brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Include {
    pub name: String,
    /// Looked for in the file's own folder first.
    pub quoted: bool,
    /// It may be any of several files of that name, as with `#include_next`.
    pub any: bool,
}

/// By these, a source asks for the architecture: libbpf's words.
const ASKING: [&str; 2] = ["__TARGET_ARCH", "bpf_target_"];

/// What libbpf's headers define by architecture.
const HINTS: [&str; 9] = [
    "PT_REGS_",
    "BPF_KPROBE",
    "BPF_KRETPROBE",
    "BPF_UPROBE",
    "BPF_URETPROBE",
    "BPF_KSYSCALL",
    "BPF_KRETSYSCALL",
    "BPF_USDT",
    "SYSCALL_WRAPPER",
];

/// Bytes of a file that is no program: a vmlinux.h has millions.
const LARGE: usize = 1 << 18;

/// The directives that have clang read a file, or look whether there is one.
const READING: [&str; 4] = ["include", "include_next", "import", "embed"];
const PROBING: [&str; 3] = ["__has_include", "__has_include_next", "__has_embed"];

impl Scan {
    pub fn new(text: &[u8]) -> Scan {
        let has = |words: &[&str]| words.iter().any(|word| memmem::find(text, word.as_bytes()).is_some());
        let asks = has(&ASKING);
        let mut scan = Scan { asks, hints: asks || (text.len() < LARGE && has(&HINTS)), ..Scan::default() };
        for line in std::iter::once(0).chain(memchr::memchr_iter(b'\n', text).map(|end| end + 1)) {
            if let Some(directive) = skip(&text[line..]).strip_prefix(b"#") {
                scan.directive(skip(directive));
            }
        }
        for at in memmem::find_iter(text, "__has_") {
            let (word, rest) = word(&text[at..]);
            if let (true, Some(rest)) = (PROBING.contains(&word), skip(rest).strip_prefix(b"(")) {
                scan.includes.extend(Include::read(skip(rest), word.ends_with("_next")));
            }
        }
        scan
    }

    fn directive(&mut self, text: &[u8]) {
        let (directive, rest) = word(text);
        let rest = skip(rest);
        if directive == "define" {
            let (_, value) = word(rest);
            self.defines.extend(Include::read(skip(value), false));
        } else if READING.contains(&directive) {
            let include = Include::read(rest, directive.ends_with("_next"));
            self.by_macro |= include.is_none();
            self.includes.extend(include);
        }
    }
}

impl Include {
    /// What `-DNAME="file.h"` or the like gives a name.
    pub fn of_define(define: &str) -> Option<Include> {
        Include::read(define.split_once('=')?.1.as_bytes(), false)
    }

    fn read(text: &[u8], any: bool) -> Option<Include> {
        let end = match text.first()? {
            b'"' => b'"',
            b'<' => b'>',
            _ => return None,
        };
        let length = text[1..].iter().position(|byte| [end, b'\n'].contains(byte))?;
        let name = &text[1..][..length];
        (text[1 + length] == end && !name.is_empty()).then(|| Include {
            name: String::from_utf8_lossy(name).into_owned(),
            quoted: end == b'"',
            any,
        })
    }
}

/// The word that a text begins with, and the rest.
fn word(text: &[u8]) -> (&str, &[u8]) {
    let is_letter = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    let (word, rest) = text.split_at(text.iter().take_while(is_letter).count());
    (std::str::from_utf8(word).unwrap_or_default(), rest)
}

/// A text without white space, comments and continued lines at its beginning.
fn skip(text: &[u8]) -> &[u8] {
    let mut text = text;
    loop {
        text = match text {
            [b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c', rest @ ..] => rest,
            [b'\\', b'\n', rest @ ..] | [b'\\', b'\r', b'\n', rest @ ..] => rest,
            [b'/', b'*', rest @ ..] => memmem::find(rest, b"*/").map_or(&[], |end| &rest[end + 2..]),
            _ => return text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(includes: &[Include]) -> Vec<(&str, bool, bool)> {
        includes.iter().map(|include| (include.name.as_str(), include.quoted, include.any)).collect()
    }

    #[test]
    fn includes_are_found_and_other_words_are_not() {
        let scan = Scan::new(
            b"#include \"a.h\"\n  #  include <sys/b.h> // include\n// #include \"no.h\nint include;\n#embed \"c.bin\"\n#include",
        );
        assert_eq!(names(&scan.includes), [("a.h", true, false), ("sys/b.h", false, false), ("c.bin", true, false)]);
        assert!(!scan.asks && !scan.hints);
        assert!(Scan::new(b"#if defined(__TARGET_ARCH_x86)").asks);
        let probe = Scan::new(b"int BPF_KPROBE(enter, int fd)");
        assert!(probe.hints && !probe.asks);
    }

    #[test]
    fn whatever_has_clang_look_for_a_file_is_found() {
        for (text, found) in [
            (&b"/* a\n */ # /* b */ include /* c */ \"x.h\"\r\n"[..], ("x.h", true, false)),
            (b"#include \\\n\t<x.h>", ("x.h", false, false)),
            (b"#include_next <x.h>", ("x.h", false, true)),
            (b"#import \"x.h\"", ("x.h", true, false)),
            (b"#if FOO && __has_include ( \"x.h\" )", ("x.h", true, false)),
            (b"#elif __has_include_next(<x.h>)", ("x.h", false, true)),
            (b"#if __has_embed(\"x.h\")", ("x.h", true, false)),
        ] {
            assert_eq!(names(&Scan::new(text).includes), [found], "{}", text.escape_ascii());
        }
        assert!(
            Scan::new(b"#x include \"a\"\nincludes(\"b\");\nx #include \"c\"\n#include \"d\n\"").includes.is_empty()
        );
    }

    #[test]
    fn a_macro_may_stand_for_a_file() {
        let scan =
            Scan::new(b"#define HEADER \"x.h\"\n#define OTHER(a) <y.h>\n#define SYSTEM <z.h>\n#include HEADER\n");
        assert_eq!(names(&scan.defines), [("x.h", true, false), ("z.h", false, false)]);
        assert!(scan.by_macro && scan.includes.is_empty());
        let define = |define| Include::of_define(define).map(|include| include.name);
        assert_eq!(
            [define("H=\"x.h\""), define("H=<y.h>"), define("H=1"), define("H")],
            [Some("x.h".into()), Some("y.h".into()), None, None]
        );
    }
}
