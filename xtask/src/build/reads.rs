//! The files that a binary was made of, as cargo lists them beside it: of packages that it knows by their folders.

use std::path::{Component, Path, PathBuf};

/// The files in cargo's list, which is in the form that make reads.
pub fn listed(text: &str) -> Vec<PathBuf> {
    let lines = text.lines().filter_map(|line| Some(line.split_once(": ")?.1));
    lines.flat_map(words).map(PathBuf::from).collect()
}

/// Those of these files that are there and in none of these folders.
pub fn foreign(files: Vec<PathBuf>, folders: &[PathBuf]) -> Vec<PathBuf> {
    let is_in = |file: &Path| {
        !file.components().any(|part| part == Component::ParentDir)
            && folders.iter().any(|folder| file.starts_with(folder))
    };
    let others = files.into_iter().filter(|file| !is_in(file));
    // Most are where they seem to be, and need no look.
    let mut foreign: Vec<PathBuf> = others.filter_map(|file| file.canonicalize().ok()).collect();
    let folders: Vec<PathBuf> = match foreign.is_empty() {
        true => Vec::new(),
        false => folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect(),
    };
    foreign.retain(|file| file.is_file() && !folders.iter().any(|folder| file.starts_with(folder)));
    foreign.sort();
    foreign.dedup();
    foreign
}

/// Words between spaces. A space in a word stands behind a backslash.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let last = words.len() - 1;
        match (letter, letters.peek()) {
            ('\\', Some(' ')) => words[last].extend(letters.next()),
            (' ', _) => words.push(String::new()),
            _ => words[last].push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::files;

    #[test]
    fn what_lies_elsewhere_is_found_however_it_is_called() {
        let folder = std::env::temp_dir().join(format!("xtask-reads-{}", std::process::id()));
        let at = |path: &str| folder.join(path);
        for file in ["a b/source/lib.rs", "a b/out/generated.rs", "elsewhere", "source-not"] {
            files::write(&at(file), "").unwrap();
        }
        std::os::unix::fs::symlink("a b", at("link")).unwrap();
        let inside = ["a b/source/lib.rs", "a b/source/../out/generated.rs", "link/source/lib.rs", "a b/source/none"];
        let outside = ["elsewhere", "a b/source/../../source-not", "a b/none", "a b"];
        let line = |names: &[&str]| {
            let names = names.iter().map(|name| at(name).display().to_string().replace(' ', "\\ "));
            format!("/t/probe: {}\n", names.collect::<Vec<_>>().join(" "))
        };
        let folders = ["a b/source", "a b/out"].map(at);
        let found = foreign(listed(&line(&[inside, outside].concat())), &folders);
        assert_eq!(found, ["elsewhere", "source-not"].map(|name| at(name).canonicalize().unwrap()));
        assert!(listed("\n\n").is_empty());
        files::remove_folder(&folder).unwrap();
    }
}
