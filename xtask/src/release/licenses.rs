//! The licences of everything that is linked into a binary, in one text.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use cargo_metadata::PackageId;

use crate::release::layout::STD_LICENSES;
use crate::release::sbom::facts::{Std, StdCrate};
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::toolchain::sysroot::{RUNTIME_LICENSE, UNWINDER_LICENSE};
use crate::workspace::packages::Package;
use crate::workspace::rust::Rust;

/// The folder that REUSE keeps licences in.
pub const FOLDER: &str = "LICENSES";

/// Licences without conditions: whoever passes the work on need not bring the text along.
const WITHOUT_CONDITIONS: [&str; 4] = ["0BSD", "CC0-1.0", "MIT-0", "Unlicense"];

const MUSL: &str = include_str!("LICENSE-musl.txt");

/// What may be linked, and what the archive states about licences in any case.
#[derive(Debug)]
pub struct Packages<'a> {
    pub members: &'a [Package],
    pub others: &'a [Package],
    /// Those of `members` that are shipped.
    pub shipped: Vec<&'a Package>,
    /// Hashes of the files in the archive.
    pub packed: BTreeSet<Sha256>,
}

impl Packages<'_> {
    fn all(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().chain(self.others)
    }

    /// Whether a package is the authors' own: it is beside those that are shipped, and has no other licence.
    fn is_our_own(&self, package: &Package) -> Result<bool> {
        if self.shipped.iter().any(|shipped| shipped.id == package.id) {
            return Ok(true);
        }
        let same = package.license.is_none() || self.shipped.iter().any(|shipped| shipped.license == package.license);
        if !package.is_by_path() || !same {
            return Ok(false);
        }
        for text in carried(package)? {
            if !self.packed.contains(&hash::file(&text)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A licence text and whose it is.
type Texts = BTreeMap<String, BTreeSet<String>>;

/// The libraries that build scripts link, which come from the tool.
#[derive(Debug)]
pub struct CLibraries<'a> {
    /// libbpf, libelf and zlib: the folder of the package that brings them along.
    pub libbpf: Option<&'a Path>,
    /// C++'s standard library: the folder of the compiler that brings it along.
    pub cxx: Option<&'a Path>,
}

/// What libbpf-sys links: name, licence, and where it is from.
pub const LIBBPF: [(&str, &str, &str); 3] = [
    ("libbpf", "BSD-2-Clause", "https://github.com/libbpf/libbpf"),
    ("libelf", "LGPL-3.0-or-later OR GPL-2.0-or-later", "https://sourceware.org/elfutils"),
    ("zlib", "Zlib", "https://zlib.net"),
];

/// C++'s standard library.
pub const CXX: (&str, &str, &str) = ("libc++", "Apache-2.0 WITH LLVM-exception", "https://llvm.org");

/// The texts of [`LIBBPF`], in the folder of the package.
const LIBBPF_TEXTS: [&[&str]; 3] =
    [&["libbpf/LICENSE.BSD-2-Clause"], &["elfutils/COPYING-LGPLV3", "elfutils/COPYING-GPLV2"], &["zlib/LICENSE"]];

impl CLibraries<'_> {
    /// What is linked, with its licence, and the files of that.
    fn works(&self) -> Vec<(&'static str, String, Vec<PathBuf>)> {
        let mut works = Vec::new();
        let mut add = |(name, license, from): (&'static str, &str, &str), folder: &Path, texts: &[&str]| {
            let texts = texts.iter().map(|text| folder.join(text)).collect();
            works.push((name, format!("{license} ({from})"), texts));
        };
        if let Some(folder) = self.libbpf {
            LIBBPF.into_iter().zip(LIBBPF_TEXTS).for_each(|(library, texts)| add(library, folder, texts));
        }
        if let Some(folder) = self.cxx {
            add(CXX, folder, &["lib/libcxx/LICENSE.TXT", "lib/libcxxabi/LICENSE.TXT"]);
        }
        works
    }
}

/// Writes the text: first who is in there under which licence, then each licence once.
///
/// `linked` are the packages cargo compiled for the target, as it reported itself, and `sysroot` is the one of our own that was
/// linked. `libbpf` is the folder of the headers that BPF objects are compiled with.
pub fn compose(
    packages: &Packages,
    linked: &BTreeSet<PackageId>,
    rust: &Rust,
    std_facts: &Std,
    sysroot: Option<&Path>,
    libbpf: Option<&Path>,
    c: &CLibraries,
) -> Result<String> {
    let mut names = BTreeSet::new();
    let mut texts = Texts::new();
    for package in packages.all().filter(|package| linked.contains(&package.id)) {
        if packages.is_our_own(package)? {
            continue;
        }
        let name = format!("{} {}", package.name, package.version);
        let license = package.license.as_deref().unwrap_or("see its text below");
        let from = package.repository.as_deref().map(|url| format!(" ({url})")).unwrap_or_default();
        names.insert(format!("{name}: {license}{from}"));
        for path in texts_of(package, &std_docs(rust).join("licenses"))? {
            add(&mut texts, &path, &name)?;
        }
    }

    let std = format!("Rust standard library {}", rust.version);
    names.insert(format!("{std}: MIT OR Apache-2.0, and what it is made of: see {STD_LICENSES}"));
    for license in ["MIT.txt", "Apache-2.0.txt"] {
        add(&mut texts, &std_docs(rust).join("licenses").join(license), &std)?;
    }
    for (name, StdCrate { version, license, texts: own }) in &std_facts.crates {
        if let (Some(version), Some(license), false) = (version, license, own.is_empty()) {
            let name = format!("{name} {version} of Rust's standard library");
            names.insert(format!("{name}: {license}"));
            own.iter().for_each(|text| _ = texts.entry(normalise(text)).or_default().insert(name.clone()));
        }
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

    for (name, license, files) in c.works() {
        names.insert(format!("{name}: {license}"));
        for file in files {
            add(&mut texts, &file, name)?;
        }
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

/// The texts that a crate carries, those in the folder that REUSE keeps them in included.
fn carried(package: &Package) -> Result<Vec<PathBuf>> {
    let is_one = |name: &OsString| is_license(&name.to_string_lossy().to_uppercase());
    let names = files::names(&package.folder)?.into_iter().filter(is_one);
    let texts = names.map(|name| package.folder.join(name));
    let folder = package.folder.join(FOLDER);
    let more = files::names(&folder)?.into_iter().map(|name| folder.join(name));
    Ok(texts.chain(more).chain(package.license_file.clone()).filter(|path| path.is_file()).collect())
}

/// The texts that a crate carries; or else those of the licences that it names, as Rust ships them in `known`. A licence without
/// conditions needs none.
fn texts_of(package: &Package, known: &Path) -> Result<Vec<PathBuf>> {
    let carried = carried(package)?;
    if !carried.is_empty() {
        return Ok(carried);
    }
    let license = package.license.as_deref().unwrap_or_default();
    // Of alternatives, one is enough; of conjunctions, and of exceptions, each is required.
    let alternatives: Vec<&str> = match license.contains(" AND ") {
        true => vec![license],
        false => license.split(" OR ").flat_map(|part| part.split('/')).collect(),
    };
    for alternative in alternatives {
        let words = alternative.split([' ', '(', ')']);
        let ids: Vec<&str> = words.filter(|word| !["", "AND", "OR", "WITH"].contains(word)).collect();
        let with_conditions = ids.iter().filter(|id| !WITHOUT_CONDITIONS.contains(id));
        let texts: Vec<PathBuf> = with_conditions.map(|id| known.join(format!("{id}.txt"))).collect();
        if !ids.is_empty() && texts.iter().all(|text| text.is_file()) {
            return Ok(texts);
        }
    }
    bail!(
        "crate {} {} carries no text of its licence ({}), so nothing that it is linked into can be shipped: take a version \
         that does, or do without it",
        package.name,
        package.version,
        if license.is_empty() { "it names none" } else { license }
    )
}

/// Where Rust keeps its own documents.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_the_workspace_is_named_if_its_licence_is_not_in_the_archive_anyway() {
        let folder = tempfile::tempdir().unwrap();
        let package = |name: &str, license: Option<&str>, text: Option<&str>| {
            let package = Package {
                id: PackageId { repr: format!("path+file:///w/{name}#1.0.0") },
                license: license.map(String::from),
                ..Package::example(name, folder.path().join(name))
            };
            files::write(&package.folder.join("Cargo.toml"), "").unwrap();
            if let Some(text) = text {
                files::write(&package.folder.join("LICENSES/X.txt"), text).unwrap();
            }
            package
        };
        let ours = hash::bytes(b"ours");
        let members = [
            package("tool", Some("MIT"), Some("anything")),
            package("util", Some("MIT"), None),
            package("private", None, None),
            package("copied", Some("MIT"), Some("ours")),
            package("fork", Some("MIT"), Some("theirs")),
            package("other", Some("GPL-2.0-only"), None),
        ];
        let others = [Package { id: PackageId { repr: "registry+https://r#a@1.0.0".into() }, ..members[1].clone() }];
        let packages =
            Packages { members: &members, others: &others, shipped: vec![&members[0]], packed: [ours].into() };
        let named: Vec<&str> =
            packages.all().filter(|it| !packages.is_our_own(it).unwrap()).map(|it| it.id.repr.as_str()).collect();
        assert_eq!(named, ["path+file:///w/fork#1.0.0", "path+file:///w/other#1.0.0", "registry+https://r#a@1.0.0"]);
    }

    #[test]
    fn a_crate_without_a_text_has_one_that_rust_ships_or_needs_none_or_stops_the_release() {
        let folder = tempfile::tempdir().unwrap();
        let known = folder.path().join("known");
        let package = |license: &str| Package {
            license: Some(license.into()).filter(|license: &String| !license.is_empty()),
            ..Package::example("p", folder.path().join("p"))
        };
        files::write(&known.join("MIT.txt"), "").unwrap();
        files::write(&folder.path().join("p/Cargo.toml"), "").unwrap();
        for license in ["MIT", "Zlib OR MIT", "Apache-2.0/MIT", "(MIT)", "0BSD AND MIT"] {
            assert_eq!(texts_of(&package(license), &known).unwrap(), [known.join("MIT.txt")], "{license}");
        }
        assert_eq!(texts_of(&package("0BSD"), &known).unwrap(), [] as [PathBuf; 0]);
        for license in ["", "Zlib", "0BSD AND Zlib", "MIT AND Zlib", "(MIT OR Zlib) AND MIT", "MIT WITH X-exception"] {
            let error = texts_of(&package(license), &known).unwrap_err().to_string();
            assert!(error.starts_with("crate p 1.2.0 carries no text of its licence ("), "{error}");
        }
        files::write(&folder.path().join("p/LICENSE-ZLIB"), "").unwrap();
        assert_eq!(texts_of(&package("Zlib"), &known).unwrap(), [folder.path().join("p/LICENSE-ZLIB")]);
    }
}
