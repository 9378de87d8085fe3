//! Paths with slashes, relative to the workspace, in their plainest form. One that leads out of it begins with `../`.

use crate::workspace::config::{form, takes_out};

/// The path from the workspace of what has this path from a folder; `None` if it is absolute.
pub fn join(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match (part, parts.last()) {
            ("" | ".", _) => {}
            ("..", Some(&last)) if last != ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The path from a folder of what has this path from the workspace.
pub fn from_folder(folder: &str, path: &str) -> String {
    let (from, to): (Vec<&str>, Vec<&str>) = (folder.split('/').collect(), path.split('/').collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[shared..].iter().map(|_| "..");
    up.chain(to[shared..].iter().copied()).collect::<Vec<_>>().join("/")
}

/// The folder of a file, empty for the workspace itself.
pub fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// How many folders above the workspace a path leads.
pub fn above(path: &str) -> usize {
    path.split('/').take_while(|part| *part == "..").count()
}

/// Whether a path is one of those that patterns stand for. A pattern behind `!` takes paths out, of all if there is no other.
pub fn is_among(patterns: &[String], path: &str) -> bool {
    let (out, of): (Vec<&String>, Vec<&String>) = patterns.iter().partition(|pattern| takes_out(pattern));
    let has = |pattern: &&String| matches(form(pattern), path);
    (of.is_empty() || of.iter().any(has)) && !out.iter().any(has)
}

/// Whether a path has the form of a pattern, in which `*` stands for letters of a name, `?` for one of them, and `**` for
/// any number of folders.
pub fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    parts_match(&pattern, &path)
}

fn parts_match(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => {
            parts_match(rest, path) || matches!(path, [_, below @ ..] if parts_match(pattern, below))
        }
        ([first, rest @ ..], [name, below @ ..]) => {
            name_matches(first.as_bytes(), name.as_bytes()) && parts_match(rest, below)
        }
        _ => false,
    }
}

fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            name_matches(rest, name) || matches!(name, [_, rest @ ..] if name_matches(pattern, rest))
        }
        ([b'?', rest @ ..], [_, letters @ ..]) => name_matches(rest, letters),
        ([a, rest @ ..], [b, letters @ ..]) => a == b && name_matches(rest, letters),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_from_the_workspace_and_from_a_folder() {
        for (folder, path, joined) in [
            ("kernel", "tick.bpf.c", "kernel/tick.bpf.c"),
            ("kernel", "../shared/site.h", "shared/site.h"),
            ("a/b", "../../../lib/x.h", "../lib/x.h"),
            ("", "x.h", "x.h"),
        ] {
            assert_eq!(join(folder, path).as_deref(), Some(joined));
        }
        assert_eq!(join("a", "./../a//b/../c.h").as_deref(), Some("a/c.h"));
        assert_eq!(join("a", "/usr/include/x.h"), None);
        assert_eq!(from_folder("a/b", "a/c/x.h"), "../c/x.h");
        assert_eq!(from_folder("a", "../lib/x.h"), "../../lib/x.h");
        assert_eq!(from_folder("a", "a/x.h"), "x.h");
        assert_eq!((above("../../x"), above("x/../y")), (2, 0));
    }

    #[test]
    fn a_pattern_stands_for_paths() {
        for (pattern, path, is_one) in [
            ("**/*.bpf.c", "tick.bpf.c", true),
            ("**/*.bpf.c", "net/tcp/tick.bpf.c", true),
            ("src/**/*.bpf.c", "src/a.bpf.c", true),
            ("src/**/*.bpf.c", "other/src/a.bpf.c", false),
            ("*/*.c", "kprobe/kprobe.c", true),
            ("*.c", "kprobe/kprobe.c", false),
            ("tick?.c", "tick1.c", true),
            ("tick?.c", "tick.c", false),
            ("*a*b", "xaxxb", true),
        ] {
            assert_eq!(matches(pattern, path), is_one, "{pattern} {path}");
        }
    }

    #[test]
    fn patterns_may_take_paths_out() {
        for (patterns, path, is_one) in [
            (&["*.c", "!a*"][..], "b.c", true),
            (&["*.c", "!a*"], "a.c", false),
            (&["!a*", "*.c"], "a.c", false),
            (&["!a*"], "b.c", true),
            (&["!a*"], "a.c", false),
            (&[], "a.c", true),
        ] {
            let patterns: Vec<String> = patterns.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(is_among(&patterns, path), is_one, "{patterns:?} {path}");
        }
    }
}
