//! The files that a binary was made of, as cargo lists them beside it: of packages that it knows by their folders.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use crate::sys::files;

/// What a binary was made of.
pub fn of(binary: &Path) -> Result<Vec<PathBuf>> {
    let list = files::read_if_there(&binary.with_extension("d"))?;
    let list = list.with_context(|| format!("cargo does not say what {} was made of", binary.display()))?;
    Ok(listed(&list))
}

/// The files in cargo's list, which is in the form that make reads.
fn listed(text: &str) -> Vec<PathBuf> {
    let lines = text.lines().filter_map(|line| Some(line.split_once(": ")?.1));
    lines.flat_map(words).map(PathBuf::from).collect()
}

/// Those of these files that are there and in none of these folders.
pub fn foreign(files: Vec<PathBuf>, folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut foreign = outside(files, folders);
    foreign.retain(|file| file.is_file());
    foreign
}

/// What is there and in none of these folders, by the paths to which no link leads.
pub fn outside(paths: Vec<PathBuf>, folders: &[PathBuf]) -> Vec<PathBuf> {
    let is_in = |path: &Path| {
        !path.components().any(|part| part == Component::ParentDir)
            && folders.iter().any(|folder| path.starts_with(folder))
    };
    let others = paths.into_iter().filter(|path| !is_in(path));
    // Most are where they seem to be, and need no look.
    let mut outside: Vec<PathBuf> = others.filter_map(|path| path.canonicalize().ok()).collect();
    let folders: Vec<PathBuf> = match outside.is_empty() {
        true => Vec::new(),
        false => folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect(),
    };
    outside.retain(|path| !folders.iter().any(|folder| path.starts_with(folder)));
    outside.sort();
    outside.dedup();
    outside
}

/// What build scripts printed for cargo.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The files that they depend on.
    pub named: BTreeSet<PathBuf>,
    /// What they have the linker read, and where they have it look.
    pub linked: Vec<PathBuf>,
}

impl Said {
    /// The same of more scripts, by the folders of their packages and their output folders. cargo keeps what they printed beside
    /// those.
    pub fn read<'a>(scripts: impl Iterator<Item = (&'a Path, &'a Path)>) -> Result<Said> {
        let mut said = Said::default();
        for (package, out_dir) in scripts {
            let printed = files::read_if_there(&out_dir.with_file_name("output"))?.unwrap_or_default();
            let pairs = printed.lines().filter_map(|line| {
                let line = line.strip_prefix("cargo:")?;
                line.strip_prefix(':').unwrap_or(line).split_once('=')
            });
            for (key, value) in pairs {
                if key == "rerun-if-changed" {
                    said.named.extend(package.join(value.trim()).canonicalize());
                } else if key.starts_with("rustc-link-arg") || key == "rustc-link-search" || key == "rustc-flags" {
                    said.linked.extend(paths(value));
                }
            }
        }
        Ok(said)
    }
}

/// The absolute path in each part of a linker's flag: `-Wl,-T,/a/b`, `native=/a/b`, `-L/a/b`.
fn paths(flag: &str) -> impl Iterator<Item = PathBuf> {
    flag.split([',', '=']).filter_map(|part| part.find('/').map(|at| (part, at))).filter_map(|(part, at)| {
        let is_flag = at == 0 || part.starts_with('-');
        is_flag.then(|| PathBuf::from(part[at..].trim()))
    })
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

        let printed = "cargo:rerun-if-changed=../elsewhere\nrerun-if-changed=a b\ncargo::rerun-if-changed=/nowhere\n\
                       cargo:rustc-link-arg-bins=-Wl,-T,/a/x.ld\ncargo:rustc-link-search=native=/usr/lib\n\
                       cargo::rustc-link-arg=/a/z.o\ncargo:rustc-flags=-L/b\ncargo:rustc-link-arg=a/b\ncargo:version=/c\n";
        files::write(&at("build/output"), printed).unwrap();
        let (package, out_dir) = (at("a b"), at("build/out"));
        let said = Said::read([(package.as_path(), out_dir.as_path())].into_iter()).unwrap();
        assert_eq!(said.named, [at("elsewhere").canonicalize().unwrap()].into());
        assert_eq!(said.linked, ["/a/x.ld", "/usr/lib", "/a/z.o", "/b"].map(PathBuf::from));
        files::remove_folder(&folder).unwrap();
    }
}
