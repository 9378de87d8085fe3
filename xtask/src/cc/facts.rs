//! What is here of C code that is built once for all that use it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::workspace::packages::Crates;

/// The sources of libbpf, and of what it is linked with, in the package `libbpf-sys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Libbpf {
    /// The folder of the package.
    pub folder: PathBuf,
    /// What it is called, such as `libbpf-sys-1.7.0`.
    pub name: String,
    /// Of each library the files, by their names in its folder: C and headers.
    pub files: Vec<Vec<String>>,
    /// Of the contents of all of them.
    pub sha256: Sha256,
}

/// The libraries, and the folder of each in the package.
pub const LIBRARIES: [(&str, &str); 3] =
    [("libz.a", "zlib"), ("libelf.a", "elfutils/libelf"), ("libbpf.a", "libbpf/src")];

impl Libbpf {
    /// The one that the workspace is built with, if that brings the sources of all three along.
    pub fn find(crates: &Crates) -> Result<Option<Libbpf>> {
        let package = crates.packages.iter().find(|package| package.name == "libbpf-sys");
        let Some(package) = package.filter(|package| crates.with_c.contains(&package.name)) else { return Ok(None) };
        let mut all = Vec::new();
        let mut hashes = String::new();
        for (_, below) in LIBRARIES {
            let folder = package.folder.join(below);
            let is_source = |name: &String| [".c", ".h"].iter().any(|end| name.ends_with(end));
            let names: Vec<String> = files::list(&folder)?.into_iter().filter(is_source).collect();
            if names.is_empty() {
                return Ok(None);
            }
            for name in &names {
                hashes += &format!("{} {below}/{name}\n", hash::file(&folder.join(name))?);
            }
            all.push(names);
        }
        Ok(Some(Libbpf {
            folder: package.folder.clone(),
            name: format!("{}-{}", package.name, package.version),
            files: all,
            sha256: hash::bytes(hashes.as_bytes()),
        }))
    }

    /// The C files of a library, by its place among [`LIBRARIES`].
    pub fn sources(&self, library: usize) -> impl Iterator<Item = PathBuf> {
        let folder = self.folder.join(LIBRARIES[library].1);
        self.files[library].iter().filter(|name| name.ends_with(".c")).map(move |name| folder.join(name))
    }

    /// Headers that others may include, and where they lie among those that are kept.
    pub fn headers(&self) -> impl Iterator<Item = (PathBuf, PathBuf)> {
        let all = LIBRARIES.iter().zip(&self.files).zip(["", "", "bpf"]);
        all.flat_map(move |(((_, below), names), to)| {
            let headers = names.iter().filter(|name| name.ends_with(".h"));
            headers.map(move |name| (self.folder.join(below).join(name), Path::new(to).join(name)))
        })
    }
}
