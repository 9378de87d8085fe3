//! The same sources give the same bytes, whoever builds them, and where.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::exectrace::built;
use super::support::{Workspace, list, rustup_home};

/// One architecture of each kind of standard library. That of all six differs in nothing but their rows.
const ARCHIVES: [&str; 2] = ["aarch64", "s390x"];

#[test]
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
    let cache = xtask::cache::Cache::find().unwrap().folder;
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
        .env("XTASK_CACHE", &home("a cache"))
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("TZ", "Asia/Kathmandu")
        .env("CARGO_BUILD_JOBS", "1");
    elsewhere.shell("umask 077 && \"$XTASK\" dist --arch s390x && \"$XTASK\" dist --arch arm64").succeeds();
    for arch in ARCHIVES {
        let name = format!("exectrace-{}-{arch}-unknown-linux-musl.tar.gz", env!("CARGO_PKG_VERSION"));
        let hash = |folder: &Path| xtask::hash::file(&folder.join(&name)).unwrap();
        assert_eq!(hash(&here.dist), hash(&elsewhere.path("dist")), "{name}");
    }
}
