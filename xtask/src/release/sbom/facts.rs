//! What a standard library consists of, read from its own files.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use memchr::memmem;

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
}

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

/// Rust's own crates keep the places of their dependencies' sources.
const DEPENDENCIES: &[u8] = b"/rust/deps/";

/// Reads the standard library in the folder `lib`. `host` is the folder of the one that rustc itself is with: one that was built from
/// source is of the same commit, but its crates name no versions. `licenses` is what Rust says of the licences of its dependencies.
pub fn read(lib: &Path, host: &Path, licenses: &Path) -> Result<Std> {
    let is_crate = |name: &&String| name.starts_with("lib") && name.ends_with(".rlib");
    let mut versions = BTreeMap::new();
    for name in files::list(host)?.iter().filter(is_crate) {
        versions.extend(dependencies(&files::read(&host.join(name))?));
    }
    let licenses = String::from_utf8_lossy(&files::read(licenses)?).into_owned();
    let names = files::list(lib)?;
    let linked = names.iter().filter(is_crate).filter_map(|name| crate_name(name));
    let crates = linked.filter(|name| !NOT_OTHERS.contains(name)).map(|linked| {
        match versions.iter().find(|(name, _)| name.replace('-', "_") == linked) {
            Some((name, version)) => {
                let license = license(&licenses, &format!("{name}-{version}"));
                (name.clone(), StdCrate { version: Some(version.clone()), license })
            }
            None => (linked.to_owned(), StdCrate::default()),
        }
    });
    let libc = files::read(&lib.join("self-contained/libc.a"))?;
    Ok(Std { crates: crates.collect(), musl: musl_version(&libc) })
}

/// The licence that stands below the name of a crate and its version.
fn license(html: &str, name: &str) -> Option<String> {
    let (_, below) = html.split_once(&format!(" {name}</h3>"))?;
    let (_, license) = below.split("<h3>").next()?.split_once("License:</b> ")?;
    license.split_once("</p>").map(|(license, _)| license.to_owned())
}

/// `cfg_if` of `libcfg_if-473c0a48.rlib`.
fn crate_name(file: &str) -> Option<&str> {
    file.strip_prefix("lib")?.rsplit_once('-').map(|(name, _)| name)
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

/// musl's `version` is a text of its own: before it are no letters.
fn musl_version(libc: &[u8]) -> Option<String> {
    memmem::find_iter(libc, b"1.2.").find_map(|at| {
        let end = at + libc[at..].iter().take(10).position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(&libc[at..end]).ok()?;
        let is_version =
            text.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()) && at > 0 && libc[at - 1] < b' ';
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
        assert_eq!(crate_name("librustc_demangle-c44378b4d13c513a.rlib"), Some("rustc_demangle"));
    }

    #[test]
    fn a_licence_stands_below_its_crate() {
        let html = "<h3>x a-1.0.0</h3><p>none</p><h3>x b-1.0.0</h3><p><b>License:</b> MIT OR Apache-2.0</p>";
        assert_eq!(license(html, "b-1.0.0").as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(license(html, "a-1.0.0"), None);
    }

    #[test]
    fn the_version_of_musl_is_a_text_of_its_own() {
        assert_eq!(musl_version(b"\x001.2.5\0"), Some("1.2.5".into()));
        assert_eq!(musl_version(b"x1.2.5\0\x001.2.x\0"), None);
    }
}
