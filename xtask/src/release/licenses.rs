//! The licences of everything that is linked into a binary, in one text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use cargo_metadata::PackageId;

use crate::sys::files;
use crate::toolchain::sysroot::{RUNTIME_LICENSE, UNWINDER_LICENSE};
use crate::workspace::packages::Package;
use crate::workspace::rust::Rust;

/// The name of the text in the archive.
pub const FILE: &str = "THIRD-PARTY-LICENSES.txt";

/// The licences of the standard library's own dependencies: as Rust ships them, in the toolchain and in the archive.
pub const STD_FILE: &str = "COPYRIGHT-library.html";

const MUSL: &str = include_str!("LICENSE-musl.txt");

/// A licence text and whose it is.
type Texts = BTreeMap<String, BTreeSet<String>>;

/// Writes the text: first who is in there under which licence, then each licence once.
///
/// `linked` are the packages cargo compiled for the target, as it told itself, and `sysroot` is the one of our own that was
/// linked. `libbpf` is the folder of the headers that BPF objects are compiled with.
pub fn compose(
    packages: &[Package],
    linked: &BTreeSet<PackageId>,
    rust: &Rust,
    sysroot: Option<&Path>,
    libbpf: Option<&Path>,
) -> Result<String> {
    let mut names = BTreeSet::new();
    let mut texts = Texts::new();
    for package in packages.iter().filter(|package| linked.contains(&package.id)) {
        let name = format!("{} {}", package.name, package.version);
        let license = package.license.as_deref().unwrap_or("see its text below");
        let from = package.repository.as_deref().map(|url| format!(" ({url})")).unwrap_or_default();
        names.insert(format!("{name}: {license}{from}"));
        for file in files::list(&package.folder)? {
            let path = package.folder.join(&file);
            if is_license(&file.to_uppercase()) && path.is_file() {
                add(&mut texts, &path, &name)?;
            }
        }
    }

    let std = format!("Rust standard library {}", rust.version);
    names.insert(format!("{std}: MIT OR Apache-2.0, and what it is made of: see {STD_FILE}"));
    for license in ["MIT.txt", "Apache-2.0.txt"] {
        add(&mut texts, &std_docs(rust).join("licenses").join(license), &std)?;
    }
    names.insert("musl libc: MIT (https://musl.libc.org)".into());
    texts.entry(normalise(MUSL)).or_default().insert("musl libc".into());
    if let Some(sysroot) = sysroot {
        names.insert("compiler-rt and parts of libc from zig: MIT (https://ziglang.org)".into());
        add(&mut texts, &sysroot.join(RUNTIME_LICENSE), "compiler-rt and parts of libc from zig")?;
        names.insert("libunwind: Apache-2.0 WITH LLVM-exception (https://llvm.org)".into());
        add(&mut texts, &sysroot.join(UNWINDER_LICENSE), "libunwind")?;
    }

    if let Some(headers) = libbpf {
        // Offered under LGPL-2.1 or BSD-2-Clause; what is taken of it is inlined in the objects.
        names.insert("libbpf, its headers for BPF programs: BSD-2-Clause (https://github.com/libbpf/libbpf)".into());
        add(&mut texts, &headers.with_file_name("LICENSE.BSD-2-Clause"), "libbpf, its headers for BPF programs")?;
    }

    let mut out = String::from("This program contains the following works of others.\n\n");
    for name in names {
        out += &format!("* {name}\n");
    }
    for (text, owners) in texts {
        let owners: Vec<_> = owners.into_iter().collect();
        out += &format!("\n{}\n{}:\n\n{text}\n", "=".repeat(80), owners.join(", "));
    }
    Ok(out)
}

/// Where Rust keeps what it says about itself.
pub fn std_docs(rust: &Rust) -> PathBuf {
    rust.sysroot.join("share/doc/rust")
}

fn add(texts: &mut Texts, file: &Path, owner: &str) -> Result<()> {
    let text = files::read(file)?;
    texts.entry(normalise(&String::from_utf8_lossy(&text))).or_default().insert(owner.into());
    Ok(())
}

fn normalise(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

/// Whether a file of this name, in capitals, holds a licence.
pub fn is_license(name: &str) -> bool {
    ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"].iter().any(|start| name.starts_with(start))
}
