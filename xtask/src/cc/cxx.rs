//! C++'s standard library for a target: zig's sources of libc++, compiled once, when a build first asks for C++.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::arch::Arch;
use crate::cc::recipe::{Recipe, Tool};
use crate::cc::run::CompileArchive;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::hash;
use crate::sys::process::Runner;
use crate::toolchain::zig;
use crate::ui::screen::Level;

/// What the names of its entries in the cache begin with.
pub const PREFIX: &str = "libcxx-";

/// What it is called by those who link it, and by those who take a target of Linux to have GNU's.
pub const NAMES: [&str; 2] = ["libc++.a", "libstdc++.a"];

/// The folders of sources, and those in there that are for other systems.
const SOURCES: [&str; 2] = ["lib/libcxx/src", "lib/libcxxabi/src"];
const OTHERS: [&str; 3] = ["support/win32/", "pstl/libdispatch.cpp", "cxa_noexception.cpp"];

const FLAGS: [&str; 15] = [
    "-c",
    "-Os",
    "-fPIC",
    "-std=c++23",
    "-fvisibility=hidden",
    "-fvisibility-inlines-hidden",
    "-funwind-tables",
    "-ffunction-sections",
    "-fdata-sections",
    "-w",
    "-DNDEBUG",
    "-DLIBC_NAMESPACE=__llvm_libc_common_utils",
    "-D_LIBCPP_BUILDING_LIBRARY",
    "-D_LIBCXXABI_BUILDING_LIBRARY",
    "-DLIBCXX_BUILDING_LIBCXXABI",
];

/// The name of the library in the cache.
pub fn name(arch: &Arch, flags: &[String]) -> String {
    let recipe = format!("1 {} {FLAGS:?} {flags:?} {}", zig::identity(), arch.triple);
    format!("{PREFIX}{}-{:.16}", arch.triple, hash::bytes(recipe.as_bytes()))
}

/// Makes it, unless it is there.
pub fn make(recipe: &Recipe, arch: &Arch) -> Result<()> {
    let Some(entry) = recipe.cxx.get(arch.triple) else { return Ok(()) };
    if entry.exists() {
        return Ok(());
    }
    let cache = Cache { folder: entry.parent().context("an entry in no cache")?.into() };
    let name = entry.file_name().and_then(|name| name.to_str()).context("an entry without a name")?;
    let runner = Runner::new(Level::Quiet);
    cache.get(runner, name, |folder| fill(runner, recipe, arch, folder).context("cannot build libc++"))?;
    Ok(())
}

fn fill(runner: Runner, recipe: &Recipe, arch: &Arch, folder: &Path) -> Result<()> {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let work = folder.join("work");
    files::create_folder(&work)?;
    let compiler = &recipe.compiler;
    let mut sources = Vec::new();
    for below in SOURCES {
        let mut names = Vec::new();
        files::walk(&compiler.join(below), "", &mut names)?;
        names.retain(|name| name.ends_with(".cpp") && !OTHERS.iter().any(|other| name.starts_with(other)));
        sources.extend(names.iter().map(|name| compiler.join(below).join(name)));
    }
    let mut args: Vec<String> = FLAGS.map(String::from).into();
    let includes = ["lib/libcxx/src", "lib/libcxx/libc", "lib/libcxxabi/src"];
    args.extend(includes.map(|below| format!("-I{}", text(compiler.join(below)))));
    let zig = || Command::new(compiler.join("zig"), &work).only(Default::default());
    let archive = folder.join(NAMES[0]);
    CompileArchive {
        compile: zig().args(recipe.arguments(Tool::Cxx, arch, args, &work, &[])),
        sources,
        archive: zig().args(["ar", "qcD"]).arg(text(archive.clone())),
    }
    .make(runner)?;
    files::copy(&archive, &folder.join(NAMES[1]))?;
    files::remove_folder(&work)
}
