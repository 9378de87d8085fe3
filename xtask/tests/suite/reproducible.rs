//! The same sources give the same bytes, whoever builds them, and where.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use bpfship::testing::pack::{self, Entry};

use super::exectrace::built;
use super::support::{Workspace, commit, list, rustup_home};

/// One architecture of each kind of standard library. That of all six differs in nothing but their rows.
const ARCHIVES: [&str; 2] = ["aarch64", "s390x"];

#[test]
#[ignore = "long: --include-ignored runs it"]
fn another_folder_home_cache_locale_and_number_of_jobs_give_the_same_archives() {
    let here = built();
    let elsewhere = Workspace::copy_of_our_own("another folder, whose name is longer, with spaces");

    // Homes under other names. What was downloaded and what was built once is shared: it is large.
    let homes = elsewhere.root.with_file_name("homes of another user");
    let _ = fs::remove_dir_all(&homes);
    fs::create_dir_all(homes.join("cargo")).unwrap();
    let cargo_home = std::env::var("CARGO_HOME")
        .map_or_else(|_| std::env::home_dir().unwrap().join(".cargo"), |home| Path::new(&home).into());
    symlink(cargo_home.join("registry"), homes.join("cargo/registry")).unwrap();
    let cache = bpfship::testing::Cache::find().unwrap().folder;
    fs::create_dir_all(homes.join("a cache")).unwrap();
    for name in list(&cache).iter().filter(|name| name.starts_with("sysroot-s390x") || name.starts_with("ziglang-")) {
        symlink(cache.join(name), homes.join("a cache").join(name)).unwrap();
    }

    let home = |name: &str| homes.join(name).to_str().unwrap().to_owned();
    let elsewhere = elsewhere
        .env("RUSTUP_HOME", &rustup_home())
        .env("HOME", &home("nobody"))
        .env("USER", "nobody")
        .env("CARGO_HOME", &home("cargo"))
        .env("BPFSHIP_CACHE", &home("a cache"))
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("TZ", "Asia/Kathmandu")
        .env("CARGO_BUILD_JOBS", "1");
    elsewhere.shell("umask 077 && \"$BPFSHIP\" dist --arch s390x && \"$BPFSHIP\" dist --arch arm64").succeeds();
    for arch in ARCHIVES {
        let name = format!("exectrace-{}-{arch}-unknown-linux-musl.tar.gz", env!("CARGO_PKG_VERSION"));
        let hash = |folder: &Path| bpfship::testing::hash::file(&folder.join(&name)).unwrap();
        assert_eq!(hash(&here.dist), hash(&elsewhere.path("dist")), "{name}");
    }
}

/// Has a program hold code of the standard library, and of one of its dependencies, that contains the path where it was
/// compiled.
const USES_MAPS: &str = "fn main() {
    let mut map: std::collections::BTreeMap<String, usize> = std::env::args().zip(0..).collect();
    map.retain(|_, number| *number > 1);
    println!(\"{}\", map.into_iter().collect::<std::collections::HashMap<_, _>>().len());
";

/// The files of a crate that contains the path where it was compiled: in its own file, in one that it includes by its
/// whole path, and in one that its build script makes.
fn crate_with_paths(name: &str) -> [(&'static str, String); 4] {
    const BUILD: &str = r#"fn main() {
    std::fs::copy("stored.rs", std::env::var("OUT_DIR").unwrap() + "/made.rs").unwrap();
}
"#;
    const CRATE: &str = r#"mod stored { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/stored.rs")); }
mod made { include!(concat!(env!("OUT_DIR"), "/made.rs")); }
pub fn places() -> [&'static str; 3] { [file!(), stored::place(), made::place()] }
"#;
    [
        (
            "Cargo.toml",
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\nlicense = \"MIT\"\n"),
        ),
        ("build.rs", BUILD.into()),
        ("src/lib.rs", CRATE.into()),
        ("stored.rs", "pub fn place() -> &'static str { file!() }\n".into()),
    ]
}

fn with_crate(workspace: Workspace, folder: &str, name: &str) -> Workspace {
    crate_with_paths(name)
        .iter()
        .fold(workspace, |workspace, (file, text)| workspace.write(&format!("{folder}{file}"), text))
}

/// A workspace whose binary contains the paths where its parts were compiled: a member, a crate from a registry and one
/// from git.
fn with_paths(name: &str, git: &Workspace) -> Workspace {
    let files = crate_with_paths("registered").map(|(file, text)| (file.to_owned(), text.into_bytes()));
    let files = files.map(|(file, bytes)| (file, Entry { bytes, executable: false }));
    let packed = pack::gzip(&pack::tar("registered-0.1.0", &BTreeMap::from(files), 0).unwrap()).unwrap();
    let sha256 = bpfship::testing::hash::bytes(&packed);

    let workspace = with_crate(Workspace::usual(name), "part/", "part")
        .write(
            "../registry/index/re/gi/registered",
            &format!(
                r#"{{"name":"registered","vers":"0.1.0","deps":[],"cksum":"{sha256}","features":{{}},"yanked":false}}"#
            ),
        )
        .write(
            ".cargo/config.toml",
            "[source.crates-io]\nreplace-with = 'here'\n[source.here]\nlocal-registry = '../registry'\n",
        );
    fs::write(workspace.path("../registry/registered-0.1.0.crate"), packed).unwrap();

    let url = format!("file://{}", git.root.display());
    let revision = git.shell("git rev-parse HEAD").succeeds().text();
    let lock = format!(
        "version = 4\n\n[[package]]\nname = \"fetched\"\nversion = \"0.1.0\"\nsource = \"git+{url}#{}\"\n\n\
         [[package]]\nname = \"part\"\nversion = \"0.1.0\"\n\n\
         [[package]]\nname = \"registered\"\nversion = \"0.1.0\"\n\
         source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{sha256}\"\n\n\
         [[package]]\nname = \"tool\"\nversion = \"0.3.0\"\n\
         dependencies = [\n \"fetched\",\n \"part\",\n \"registered\",\n]\n",
        revision.trim_end()
    );
    let manifest = workspace.read("tool/Cargo.toml");
    let dependencies = format!("fetched.git = \"{url}\"\npart.path = \"../part\"\nregistered = \"0.1.0\"\n");
    let paths = "
    println!(\"{}\", file!());
    for place in [part::places(), registered::places(), fetched::places()].concat() {
        println!(\"{place}\");
    }
";
    let main = workspace.read("tool/main.rs").replace("fn main() {", &format!("{USES_MAPS}{paths}"));
    let home = workspace.path("../home of cargo").to_str().unwrap().to_owned();
    workspace
        .write("tool/Cargo.toml", &format!("{manifest}\n[dependencies]\n{dependencies}"))
        .write("tool/main.rs", &main)
        .write("Cargo.lock", &lock)
        .env("CARGO_HOME", &home)
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_paths_that_code_contains_are_the_same_everywhere() {
    let git = with_crate(Workspace::empty("git"), "", "fetched");
    commit(&git);
    let here = with_paths("here", &git);
    let there = with_paths("another folder, whose name is longer", &git);
    let target = there.path("../a target folder").to_str().unwrap().to_owned();
    let there = there.env("CARGO_TARGET_DIR", &target).env("CARGO_BUILD_JOBS", "1");
    let archive = "dist/tool-0.3.0-x86_64-unknown-linux-musl.tar.gz";
    let hashes = [&here, &there].map(|workspace| {
        workspace.xtask("dist --arch amd64").succeeds();
        bpfship::testing::hash::file(&workspace.path(archive)).unwrap()
    });
    assert_eq!(hashes[0], hashes[1]);
    // Nor does another home after the first make a difference.
    let home = here.path("../another home").to_str().unwrap().to_owned();
    let here = here.env("CARGO_HOME", &home);
    here.xtask("dist --arch amd64").succeeds();
    assert_eq!(hashes[0], bpfship::testing::hash::file(&here.path(archive)).unwrap());

    let printed =
        here.shell(&format!("tar xzf {archive} && tool-0.3.0-x86_64-unknown-linux-musl/probe")).succeeds().text();
    // The name of a folder for what a build script makes holds a hash.
    let is_hash = |word: &str| word.len() == 16 && word.chars().all(|letter| letter.is_ascii_hexdigit());
    let without_hash = |line: &str| -> String {
        line.split('/').filter(|part| !part.rsplit('-').next().is_some_and(is_hash)).collect::<Vec<_>>().join("/")
    };
    let places: Vec<String> = printed.lines().filter(|line| line.ends_with(".rs")).map(without_hash).collect();
    assert_eq!(
        places,
        [
            "tool/main.rs",
            "part/src/lib.rs",
            "workspace/part/stored.rs",
            "target/x86_64-unknown-linux-musl/release/build/out/made.rs",
            "cargo/registered-0.1.0/src/lib.rs",
            "cargo/registered-0.1.0/stored.rs",
            "target/x86_64-unknown-linux-musl/release/build/out/made.rs",
            "cargo/fetched-0.1.0/src/lib.rs",
            "cargo/fetched-0.1.0/stored.rs",
            "target/x86_64-unknown-linux-musl/release/build/out/made.rs",
        ]
    );
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_standard_library_that_is_made_elsewhere_gives_the_same_archive() {
    let [here, there] = ["here", "there"].map(|name| {
        let workspace = Workspace::usual(name);
        let main = workspace.read("tool/main.rs").replace("fn main() {", USES_MAPS);
        workspace.write("tool/main.rs", &main)
    });
    here.xtask("dist --arch s390x").succeeds();
    // The compiler is shared, for it is large.
    let (compiler, cache) = (bpfship::testing::zig::name().unwrap(), there.path("a cache"));
    fs::create_dir_all(&cache).unwrap();
    symlink(bpfship::testing::Cache::find().unwrap().path(&compiler), cache.join(&compiler)).unwrap();
    let there = there.env("BPFSHIP_CACHE", cache.to_str().unwrap()).env("CARGO_BUILD_JOBS", "1");
    there
        .shell("umask 077 && \"$BPFSHIP\" dist --arch s390x")
        .succeeds()
        .says("building the standard library for s390x");
    let archive = "dist/tool-0.3.0-s390x-unknown-linux-musl.tar.gz";
    let hash = |workspace: &Workspace| bpfship::testing::hash::file(&workspace.path(archive)).unwrap();
    assert_eq!(hash(&here), hash(&there));

    // The C runtime below it is the same too, whether or not this binary has something from there.
    let manifest: serde_json::Value = serde_json::from_str(&here.read("dist/release.json")).unwrap();
    let sysroot = manifest["artifacts"][0]["sysroot"].as_str().unwrap();
    let runtime = |cache: &Path| -> Vec<String> {
        let contents = fs::read_to_string(cache.join(sysroot).join("CONTENTS")).unwrap();
        contents.lines().filter(|line| line.contains("/self-contained/")).map(String::from).collect()
    };
    assert_eq!(runtime(&cache), runtime(&bpfship::testing::Cache::find().unwrap().folder));
    assert_eq!(runtime(&cache).len(), 5);
}
