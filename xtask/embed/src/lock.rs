//! `bpf.lock`: what the BPF objects were made from, and what came out. Lines of words, so that reading it needs no crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Whether a file in the BPF folder is a source, by its name. Names that begin with a dot are those of editors' locks
/// and of other systems' notes.
pub fn is_source(name: &str) -> bool {
    !name.starts_with('.') && (name.ends_with(".c") || name.ends_with(".h"))
}

/// Whether a folder in the BPF folder may contain sources, by its name. One with white space in it could not be named in the
/// lock file.
pub fn is_source_folder(name: &str) -> bool {
    !name.starts_with('.') && name != "target" && !name.contains(char::is_whitespace)
}

/// The contents of a lock file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// Whole lines: `compiler …`, `flags …`, `form NUMBER`, `libc HASH`, `libbpf HASH NAME`, `source HASH NAME`, and more of what
    /// the configuration says.
    pub inputs: BTreeSet<String>,
    /// The hash of each object, by its file name.
    pub objects: BTreeMap<String, String>,
    /// The hash of each file of bindings, by its path from the BPF folder.
    pub bindings: BTreeMap<String, String>,
    /// The hash of each file of a kernel's BTF, by its path from the BPF folder.
    pub btf: BTreeMap<String, String>,
    /// A hash of what the objects ask of kernels' types, and of what those files were made for.
    pub relocations: Option<String>,
    pub btf_relocations: Option<String>,
}

impl Lock {
    /// Reads a lock file. A line it does not know becomes an input that matches nothing, so the objects are stale.
    pub fn parse(text: &str) -> Lock {
        let mut lock = Lock::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["object", hash, name] => {
                    lock.objects.insert((*name).into(), (*hash).into());
                }
                ["binding", hash, name] => {
                    lock.bindings.insert((*name).into(), (*hash).into());
                }
                ["btf", hash, name] => {
                    lock.btf.insert((*name).into(), (*hash).into());
                }
                ["relocations", hash] => lock.relocations = Some((*hash).into()),
                ["btf-relocations", hash] => lock.btf_relocations = Some((*hash).into()),
                _ => {
                    lock.inputs.insert(line.into());
                }
            }
        }
        lock
    }

    /// Whether the files of BTF may lack what the objects ask for now.
    pub fn btf_is_stale(&self) -> bool {
        !self.btf.is_empty() && self.relocations != self.btf_relocations
    }

    /// The hash of each source, by its path from the BPF folder: what sources there include may lie beside it.
    pub fn sources(&self) -> BTreeMap<String, String> {
        let source = |line: &String| match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["source", hash, name] => Some(((*name).into(), (*hash).into())),
            _ => None,
        };
        self.inputs.iter().filter_map(source).collect()
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("# What the objects were made from, and what came out. Written by `cargo xtask bpf`.\n")?;
        for line in &self.inputs {
            writeln!(f, "{line}")?;
        }
        for (name, hash) in &self.objects {
            writeln!(f, "object {hash} {name}")?;
        }
        for (name, hash) in &self.bindings {
            writeln!(f, "binding {hash} {name}")?;
        }
        for (name, hash) in &self.btf {
            writeln!(f, "btf {hash} {name}")?;
        }
        for (word, hash) in [("relocations", &self.relocations), ("btf-relocations", &self.btf_relocations)] {
            if let Some(hash) = hash {
                writeln!(f, "{word} {hash}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let lock = Lock {
            inputs: ["compiler c".into(), "source 12 a.bpf.c".into()].into(),
            objects: [("a_bpfel.o".into(), "34".into())].into(),
            bindings: [("../src/a.rs".into(), "56".into())].into(),
            btf: [("btf/debian/12/x86_64/6.1.btf".into(), "78".into())].into(),
            relocations: Some("9".into()),
            btf_relocations: Some("10".into()),
        };
        assert_eq!(Lock::parse(&lock.to_string()), lock);
        assert!(lock.btf_is_stale() && !Lock { btf: BTreeMap::new(), ..lock.clone() }.btf_is_stale());
        assert!(!Lock { relocations: Some("10".into()), ..lock.clone() }.btf_is_stale());
        assert_eq!(lock.sources(), BTreeMap::from([("a.bpf.c".into(), "12".into())]));
    }
}
