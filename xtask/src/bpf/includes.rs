//! What the text of a source shows before clang reads it: the files that it includes, and whether it asks for the architecture.

use memchr::memmem;

/// What stands in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// What it includes by name, and whether in quotes: from the file's own folder first.
    pub includes: Vec<(String, bool)>,
    /// Whether it asks which architecture it is compiled for. Nothing else that is given to clang says so.
    pub asks: bool,
    /// Whether it most likely does something that depends on the architecture. If not, one compile more finds that out.
    pub hints: bool,
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

impl Scan {
    pub fn new(text: &[u8]) -> Scan {
        let has = |words: &[&str]| words.iter().any(|word| memmem::find(text, word.as_bytes()).is_some());
        let asks = has(&ASKING);
        Scan { includes: includes(text), asks, hints: asks || (text.len() < LARGE && has(&HINTS)) }
    }
}

fn includes(text: &[u8]) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let places = ["include", "embed"].map(|word| memmem::find_iter(text, word).map(move |at| (at, word)));
    for (at, word) in places.into_iter().flatten() {
        let line = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let before = text[line..at].trim_ascii();
        let after = text[at + word.len()..].trim_ascii_start();
        let (Some(b'#'), true) = (before.first(), before[1.min(before.len())..].trim_ascii().is_empty()) else {
            continue;
        };
        let end = match after.first() {
            Some(b'"') => b'"',
            Some(b'<') => b'>',
            _ => continue,
        };
        let name = &after[1..];
        let length = name.iter().position(|byte| [end, b'\n'].contains(byte)).unwrap_or(name.len());
        if name.get(length) == Some(&end) {
            found.push((String::from_utf8_lossy(&name[..length]).into_owned(), end == b'"'));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_found_and_other_words_are_not() {
        let scan = Scan::new(
            b"#include \"a.h\"\n  #  include <sys/b.h> // include\n// #include \"no.h\n#include NAME\nint include;\n#embed \"c.bin\"\n#include",
        );
        let expected = [("a.h", true), ("sys/b.h", false), ("c.bin", true)];
        assert_eq!(scan.includes, expected.map(|(name, quoted)| (name.to_owned(), quoted)));
        assert!(!scan.asks && !scan.hints);
        assert!(Scan::new(b"#if defined(__TARGET_ARCH_x86)").asks);
        let probe = Scan::new(b"int BPF_KPROBE(enter, int fd)");
        assert!(probe.hints && !probe.asks);
    }
}
