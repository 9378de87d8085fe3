//! What clang read for an object, by its own list, and what of it may not take part.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use crate::bpf::paths;

/// The name of the rule in clang's list, by which it is known among messages.
const RULE: &str = "bpfship-reads";

/// Has clang list what it reads. The list goes to standard error, because the object has standard output and a
/// container can write no file. Not by `/dev/stderr`: a clang that fails removes the file that it was to write, and
/// root's is not to be.
pub const FLAGS: [&str; 5] = ["-MD", "-MF", "/dev/fd/2", "-MT", RULE];

/// What container engines print themselves: it is not about a source.
const ENGINE_LINES: [&str; 3] = ["WARNING: ", "time=\"", "Emulate Docker CLI "];

/// Headers below `asm/` that the most basic headers of the kernel include. They differ as files, but define the same
/// byte order, and the same types of fixed size, for every BPF program of a byte order.
const BASIC_ASM_HEADERS: [&str; 8] = [
    "bitsperlong.h",
    "byteorder.h",
    "posix_types.h",
    "posix_types_32.h",
    "posix_types_64.h",
    "posix_types_x32.h",
    "swab.h",
    "types.h",
];

/// What clang printed on standard error.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Warnings and errors.
    pub messages: String,
    /// The files that it read, as it names them; none if it printed no list.
    pub reads: Vec<String>,
}

impl Said {
    pub fn parse(text: &str) -> Said {
        let mut said = Said::default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(mut rule) = line.strip_prefix(RULE).and_then(|rest| rest.strip_prefix(':')) {
                while let Some(part) = rule.strip_suffix('\\') {
                    said.reads.extend(words(part));
                    rule = lines.next().unwrap_or_default();
                }
                said.reads.extend(words(rule));
            } else if !ENGINE_LINES.iter().any(|start| line.starts_with(start)) {
                said.messages += line;
                said.messages.push('\n');
            }
        }
        said.messages.truncate(said.messages.trim_end().len());
        said
    }

    /// The same with relative paths for what lies in the sources: clang names by its absolute path what `#embed` reads. It ran
    /// in this folder, and the sources begin so many folders above.
    pub fn relative(mut self, folder: &str, above: usize) -> Said {
        let Some(top) = Path::new(folder).ancestors().nth(above) else { return self };
        let inside = |path: &str| Some(Path::new(path).strip_prefix(top).ok()?.to_str()?.to_owned());
        let here = inside(folder).unwrap_or_default();
        for path in &mut self.reads {
            if let Some(inside) = inside(path) {
                *path = if here.is_empty() { inside } else { paths::from_folder(&here, &inside) };
            }
        }
        self
    }

    /// The files that lie neither in the repository, which begins so many folders above that in which clang ran, nor in the
    /// folder of the compiler.
    pub fn foreign(&self, compiler: &str, above: usize) -> Vec<&str> {
        let is_foreign = |path: &&str| match path.starts_with('/') {
            true => !is_inside(path, Some(compiler)),
            false => !is_within(path, above),
        };
        self.reads.iter().map(String::as_str).filter(is_foreign).collect()
    }

    /// The files of the repository, by their paths from where clang ran.
    pub fn own(&self) -> BTreeSet<String> {
        self.reads.iter().filter_map(|path| paths::join("", path)).collect()
    }

    /// The compiler's headers below `asm/` that may differ between architectures.
    pub fn asm_headers(&self) -> BTreeSet<&str> {
        let absolute = self.reads.iter().filter(|path| path.starts_with('/'));
        let names = absolute.filter_map(|path| path.rsplit_once("/asm/")).map(|(_, name)| name);
        names.filter(|name| !BASIC_ASM_HEADERS.contains(name)).collect()
    }
}

/// The words of a rule in the form that make reads.
fn words(rule: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut letters = rule.chars().peekable();
    while let Some(letter) = letters.next() {
        let last = words.len() - 1;
        match (letter, letters.peek()) {
            ('\\', Some(' ' | '#')) | ('$', Some('$')) => words[last].extend(letters.next()),
            (' ', _) => words.push(String::new()),
            _ => words[last].push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a relative path never leads further up than this.
fn is_within(path: &str, above: usize) -> bool {
    is_inside(&format!("{}{path}", "folder/".repeat(above)), None)
}

/// Whether a path never leaves the folder it is relative to, or that of the compiler.
pub fn is_inside(path: &str, compiler: Option<&str>) -> bool {
    let path = Path::new(path);
    let rest = match path.is_absolute() {
        true => compiler.and_then(|compiler| path.strip_prefix(compiler).ok()),
        false => Some(path),
    };
    let Some(rest) = rest else { return false };
    let mut depth = 0;
    rest.components().all(|part| {
        match part {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth -= 1,
            _ => {}
        }
        depth >= 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clang_s_list_is_separated_from_messages_and_from_what_an_engine_prints() {
        let said = Said::parse(
            "WARNING: no swap limit\nk/a.bpf.c:1:2: warning: odd\n    1 |  x\nbpfship-reads: k/a.bpf.c \\\n  /c/lib/asm/unistd.h /h\\ \
             me/\\#1$$.h \\\n  /c/lib/asm/types.h\n1 warning generated.\ntime=\"now\" level=warning msg=\"x\"\n",
        );
        assert_eq!(said.messages, "k/a.bpf.c:1:2: warning: odd\n    1 |  x\n1 warning generated.");
        assert_eq!(said.reads, ["k/a.bpf.c", "/c/lib/asm/unistd.h", "/h me/#1$.h", "/c/lib/asm/types.h"]);
        assert_eq!(said.foreign("/c/lib", 0), ["/h me/#1$.h"]);
        assert_eq!(said.asm_headers(), ["unistd.h"].into());
        assert!(said.foreign("/", 0).is_empty());
    }

    #[test]
    fn a_file_of_the_sources_is_one_by_its_absolute_path() {
        let reads = ["/s/a/b/k/c.bin", "/s/d.bin", "/s/a/e", "/x/f", "k/g.h"].map(String::from).into();
        let said = Said { reads, ..Said::default() };
        let relative = Said { reads: said.reads.clone(), ..Said::default() }.relative("/s/a/b", 2);
        assert_eq!(relative.reads, ["k/c.bin", "../../d.bin", "../e", "/x/f", "k/g.h"]);
        assert_eq!(said.relative("/s", 0).reads, ["a/b/k/c.bin", "d.bin", "a/e", "/x/f", "k/g.h"]);
    }

    #[test]
    fn what_is_above_the_workspace_is_of_the_repository_as_far_as_that_goes() {
        let said =
            Said { reads: ["k/a.c", "../lib/b.h", "k/../../../c.h"].map(String::from).into(), ..Said::default() };
        assert_eq!(said.foreign("/c", 0), ["../lib/b.h", "k/../../../c.h"]);
        assert_eq!(said.foreign("/c", 1), ["k/../../../c.h"]);
        assert_eq!(said.own().into_iter().collect::<Vec<_>>(), ["../../c.h", "../lib/b.h", "k/a.c"]);
    }

    #[test]
    fn a_path_that_leaves_its_folder_is_outside_even_if_it_comes_back() {
        for (path, inside) in [
            ("kernel/include/../a.h", true),
            ("./libbpf/bpf/b.h", true),
            ("../kernel/a.h", false),
            ("kernel/../../kernel/a.h", false),
            ("/c/lib/include/stddef.h", true),
            ("/c/lib/../zig", false),
            ("/c/library/a.h", false),
        ] {
            assert_eq!(is_inside(path, Some("/c/lib")), inside, "{path}");
        }
    }
}
