//! What a standard library consists of, read from its own files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use memchr::memmem;

use crate::release::layout::STD_LICENSES;
use crate::sys::files;

/// What is linked into every binary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Std {
    /// The crates of others in it, by name.
    pub crates: BTreeMap<String, StdCrate>,
    /// The version of musl, if the library names it.
    pub musl: Option<String>,
}

/// A crate of others in the standard library, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StdCrate {
    pub version: Option<String>,
    pub license: Option<String>,
    /// The texts of its licence, if [`STD_LICENSES`] does not name it: it leaves out what only `backtrace` uses.
    pub texts: Vec<String>,
}

/// What Rust says of the licences of all that it is made of, its compiler included.
const ALL_LICENSES: &str = "COPYRIGHT.html";

/// What a part of that page, or of [`STD_LICENSES`], begins with.
const HEADING: &[u8] = b"<h3>";

/// A crate whose version is in no file of the library, by the commit of Rust, from its `library/Cargo.lock`.
const UNNAMED: [(&str, &str, &str); 1] = [("59807616e1fa2540724bfbac14d7976d7e4a3860", "adler2", "2.0.1")];

/// Crates of Rust's own repository, and what only its `test` uses.
const NOT_OTHERS: [&str; 18] = [
    "alloc",
    "compiler_builtins",
    "core",
    "getopts",
    "panic_abort",
    "panic_unwind",
    "proc_macro",
    "profiler_builtins",
    "rustc_literal_escaper",
    "rustc_std_workspace_alloc",
    "rustc_std_workspace_core",
    "rustc_std_workspace_std",
    "std",
    "std_detect",
    "sysroot",
    "test",
    "unwind",
    "windows_link",
];

/// Crates of others keep the places of their sources.
const DEPENDENCIES: &[u8] = b"/rust/deps/";

/// The crates of others that a standard library may contain, by name, with what Rust says of them. `host` is the folder of the library
/// that rustc itself is with: one that was built from source is of the same commit, but its crates name no versions. `docs` is where Rust
/// says what it is made of.
pub fn known(host: &Path, docs: &Path, commit: &str) -> Result<BTreeMap<String, StdCrate>> {
    let mut versions = BTreeMap::new();
    for name in files::list(host)?.iter().filter(|name| others(name).is_some()) {
        versions.extend(dependencies(&files::read(&host.join(name))?));
    }
    let unnamed = UNNAMED.iter().filter(|(of, _, _)| *of == commit);
    versions.extend(unnamed.map(|(_, name, version)| ((*name).to_owned(), (*version).to_owned())));
    let read = |page: &str| {
        let page = docs.join(page);
        let sections = File::open(&page).and_then(|page| sections(page, versions.keys()));
        sections.with_context(|| format!("cannot read {}", page.display()))
    };
    let (of_library, of_all) = (read(STD_LICENSES)?, read(ALL_LICENSES)?);
    let described = versions.into_iter().map(|(name, version)| {
        let (license, texts) = match section(&of_library, &name, Some(&version)) {
            Some(section) => (license(&section), Vec::new()),
            None => match section(&of_all, &name, Some(&version)).or_else(|| section(&of_all, &name, None)) {
                Some(section) => (license(&section), texts(&section)),
                None => (None, Vec::new()),
            },
        };
        (name, StdCrate { version: Some(version), license, texts })
    });
    Ok(described.collect())
}

/// Reads the standard library in the folder `lib`.
pub fn read(lib: &Path, known: &BTreeMap<String, StdCrate>) -> Result<Std> {
    let names = files::list(lib)?;
    let crates = names.iter().filter_map(|name| others(name)).map(|linked| {
        match known.iter().find(|(name, _)| name.replace('-', "_") == linked) {
            Some((name, found)) => (name.clone(), found.clone()),
            None => (linked.to_owned(), StdCrate::default()),
        }
    });
    let libc = lib.join("self-contained/libc.a");
    let musl = File::open(&libc).and_then(musl_version).with_context(|| format!("cannot read {}", libc.display()))?;
    Ok(Std { crates: crates.collect(), musl })
}

/// The parts of a page that are about these crates, each from its heading on: `x cfg-if-1.0.4</h3>…`. The page of all is
/// large, and nearly all of it is of no use.
fn sections<'n>(mut html: impl Read, names: impl Iterator<Item = &'n String>) -> io::Result<Vec<Vec<u8>>> {
    let names: Vec<String> = names.map(|name| before(name)).collect();
    let is_wanted = |section: &&[u8]| {
        let heading = &section[..memmem::find(section, b"</h3>").unwrap_or(0)];
        names.iter().any(|name| memmem::find(heading, name.as_bytes()).is_some())
    };
    let (mut found, mut chunk) = (Vec::new(), Vec::with_capacity(2 * CHUNK));
    loop {
        let read = html.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        let starts: Vec<usize> = memmem::find_iter(&chunk, HEADING).collect();
        // What the last one heads may go on in the next chunk.
        let ends = starts.iter().skip(1).copied().chain((read == 0).then_some(chunk.len()));
        let whole = starts.iter().zip(ends).map(|(start, end)| &chunk[start + HEADING.len()..end]);
        found.extend(whole.filter(is_wanted).map(<[u8]>::to_vec));
        if read == 0 {
            return Ok(found);
        }
        chunk.drain(..starts.last().copied().unwrap_or(chunk.len().saturating_sub(HEADING.len())));
    }
}

/// What a heading has before the version of a crate.
fn before(name: &str) -> String {
    format!(" {name}-")
}

/// What stands below the name of a crate and its version, or below its last version that is there.
fn section<'a>(sections: &'a [Vec<u8>], name: &str, version: Option<&str>) -> Option<Cow<'a, str>> {
    let before = before(name);
    sections.iter().rev().find_map(|section| {
        let heading = &section[..memmem::find(section, b"</h3>")?];
        let found = &heading[memmem::find(heading, before.as_bytes())? + before.len()..];
        let is_it = version.map_or(found.first().is_some_and(u8::is_ascii_digit), |it| found == it.as_bytes());
        is_it.then(|| String::from_utf8_lossy(section))
    })
}

fn license(section: &str) -> Option<String> {
    let (_, license) = section.split_once("License:</b> ")?;
    license.split_once("</p>").map(|(license, _)| license.to_owned())
}

fn texts(section: &str) -> Vec<String> {
    let texts = section.split("<pre>").skip(1).filter_map(|rest| rest.split_once("</pre>"));
    let plain = |text: &str| {
        [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")]
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    texts.map(|(text, _)| plain(text)).collect()
}

/// `cfg_if` of `libcfg_if-473c0a48.rlib`: the name of a crate that is not Rust's own.
fn others(file: &str) -> Option<&str> {
    let (name, _) = file.strip_suffix(".rlib")?.strip_prefix("lib")?.rsplit_once('-')?;
    (!NOT_OTHERS.contains(&name)).then_some(name)
}

/// Names and versions in the places of sources: `/rust/deps/NAME-VERSION/`.
fn dependencies(bytes: &[u8]) -> BTreeMap<String, String> {
    let found = memmem::find_iter(bytes, DEPENDENCIES).filter_map(|at| {
        let rest = &bytes[at + DEPENDENCIES.len()..];
        let folder = std::str::from_utf8(&rest[..rest.iter().take(100).position(|byte| *byte == b'/')?]).ok()?;
        let (name, version) = folder.rsplit_once('-')?;
        // A place that is cut off has something else behind it.
        let is_version =
            version.split('.').count() == 3 && version.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
        let is_short = version.len() < 12;
        (is_version && is_short).then(|| (name.to_owned(), version.to_owned()))
    });
    found.collect()
}

/// How much of a file is read at a time, in bytes, and how much of a library's is looked at again with what follows.
const CHUNK: usize = 0x10000;
const OVERLAP: usize = 16;

/// musl's `version` is a text of its own: before it are no letters.
fn musl_version(mut libc: impl Read) -> io::Result<Option<String>> {
    let mut chunk = Vec::with_capacity(CHUNK + OVERLAP);
    loop {
        let read = libc.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        if let Some(version) = version_in(&chunk) {
            return Ok(Some(version));
        }
        if read == 0 {
            return Ok(None);
        }
        chunk.drain(..chunk.len().saturating_sub(OVERLAP));
    }
}

fn version_in(bytes: &[u8]) -> Option<String> {
    memmem::find_iter(bytes, b"1.2.").find_map(|at| {
        let end = at + bytes[at..].iter().take(10).position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(&bytes[at..end]).ok()?;
        let is_version =
            text.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()) && at > 0 && bytes[at - 1] < b' ';
        is_version.then(|| text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_places_of_sources() {
        let bytes = b"x/rust/deps/rustc-demangle-0.1.27/src/lib.rs/rust/deps/libc-0.2.17872a9a8f5360/src/rust/deps/cfg-if-1.0.4/";
        let found: Vec<(String, String)> = dependencies(bytes).into_iter().collect();
        let expected = [("cfg-if", "1.0.4"), ("rustc-demangle", "0.1.27")];
        assert_eq!(found, expected.map(|(name, version)| (name.to_owned(), version.to_owned())));
        assert_eq!(others("librustc_demangle-c44378b4d13c513a.rlib"), Some("rustc_demangle"));
        assert_eq!(others("libstd-c44378b4d13c513a.rlib"), None);
        assert_eq!(others("librustc_demangle-c44378b4d13c513a.so"), None);
    }

    #[test]
    fn a_licence_stands_below_its_crate() {
        let html = "<h3>x a-1.0.0</h3><p>none</p><h3>x b-1.0.0</h3><p><b>License:</b> MIT OR Apache-2.0</p>\
            <pre>(c) Ann &#60;a@b&#62;</pre><pre>No &#34;warranty&#34;</pre><h3>x b-c-2.0.0</h3><h3>x b-0.9.0</h3>";
        let names = ["a", "b"].map(String::from);
        let whole = sections(html.as_bytes(), names.iter()).unwrap();
        assert_eq!(whole.len(), 4);
        for before in CHUNK - html.len()..=CHUNK {
            let late = format!("{}{html}", "<h3>x y-1.0.0</h3>".repeat(9) + &" ".repeat(before));
            assert_eq!(sections(late.as_bytes(), names.iter()).unwrap(), whole, "{before}");
        }
        let sections = whole;
        let of = |name, version| section(&sections, name, version);
        let found = of("b", Some("1.0.0")).unwrap();
        assert_eq!(license(&found).as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(texts(&found), ["(c) Ann <a@b>", "No \"warranty\""]);
        assert_eq!(of("a", Some("1.0.0")).map(|found| license(&found)), Some(None));
        assert_eq!(of("b", Some("1.0")), None);
        assert_eq!(of("b", None).as_deref(), Some("x b-0.9.0</h3>"));
        assert_eq!(of("c", None), None);
    }

    #[test]
    fn the_version_of_musl_is_a_text_of_its_own() {
        let version = |bytes: &[u8]| musl_version(bytes).unwrap();
        assert_eq!(version(b"\x001.2.5\0"), Some("1.2.5".into()));
        assert_eq!(version(b"x1.2.5\0\x001.2.x\0"), None);
        for before in CHUNK - 9..=CHUNK + 1 {
            assert_eq!(version(&[&vec![0; before][..], b"1.2.5\0"].concat()), Some("1.2.5".into()), "{before}");
        }
    }
}
