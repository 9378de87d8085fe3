//! libbpf, libelf and zlib for each target, built once from the sources that the package `libbpf-sys` brings along. Its own
//! build script would have autotools write among its sources, and takes the machine's libelf if it is not told otherwise.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::arch::Arch;
use crate::cc::facts::{LIBRARIES, Libbpf};
use crate::cc::recipe::{Recipe, Tool, flags};
use crate::cc::run::CompileArchive;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::hash;
use crate::sys::plan::{Steps, Task};
use crate::sys::steps::{CacheEntry, CopyMade, Remove, Write};

/// What the names of its entries in the cache begin with.
pub const PREFIX: &str = "libbpf-";

/// What the package calls itself (`links` in its Cargo.toml), up to 1.5 and after that.
const LINKS: [&str; 2] = ["libbpf", "bpf"];

/// How each of [`LIBRARIES`] is compiled.
const FLAGS: [&[&str]; 3] = [
    &["-D_LARGEFILE64_SOURCE=1", "-DHAVE_UNISTD_H", "-DHAVE_STDARG_H"],
    &["-std=gnu11", "-DHAVE_CONFIG_H", "-D_GNU_SOURCE"],
    &["-std=gnu11", "-D_LARGEFILE64_SOURCE", "-D_FILE_OFFSET_BITS=64"],
];

/// The folders in the package in which each finds its headers.
const INCLUDES: [&[&str]; 3] = [
    &["zlib"],
    &["elfutils/libelf", "elfutils/lib", "zlib"],
    &["libbpf/src", "libbpf/include", "libbpf/include/uapi", "elfutils/libelf", "zlib"],
];

/// What elfutils' `configure` would find out.
const ELF_CONFIG: &str = "\
#include <features.h>
#define HAVE_DECL_MEMPCPY 1
#define HAVE_DECL_MEMRCHR 1
#ifdef __GLIBC__
#define HAVE_DECL_RAWMEMCHR 1
#endif
#define HAVE_DECL_POWEROF2 1
#define HAVE_DECL_REALLOCARRAY 1
#define HAVE_ERR_H 1
#define HAVE_FALLTHROUGH 1
#define HAVE_MREMAP 1
#define HAVE_VISIBILITY 1
#include <eu-config.h>
";

/// For whom the libraries are.
#[derive(Debug, Clone, Copy)]
pub enum For<'a> {
    Target(&'a Arch),
    /// The machine itself, by its Rust target: for build scripts.
    Host(&'a str),
}

impl<'a> For<'a> {
    pub fn triple(&self) -> &'a str {
        match self {
            For::Target(arch) => arch.triple,
            For::Host(triple) => triple,
        }
    }
}

/// The name of the libraries in the cache.
pub fn name(libbpf: &Libbpf, whose: For) -> String {
    let recipe = format!("1 {} {:?} {FLAGS:?} {INCLUDES:?} {ELF_CONFIG} {}", libbpf.sha256, flags(), whose.triple());
    format!("{PREFIX}{}-{:.16}", whose.triple(), hash::bytes(recipe.as_bytes()))
}

/// Plans to make them.
pub fn task(libbpf: &Libbpf, whose: For, cache: &Cache, compiler: &Path) -> Task {
    let name = name(libbpf, whose);
    let partial = cache.partial(&name);
    let work = partial.join("work");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let zig = || Command::new(compiler.join("zig"), &work).only(Default::default());
    let mut steps: Steps = vec![Box::new(Write { file: work.join("config.h"), text: ELF_CONFIG.into() })];
    for (index, (archive, _)) in LIBRARIES.iter().enumerate() {
        let mut args: Vec<String> = ["-O2", "-fPIC", "-c"].map(String::from).into();
        args.extend(FLAGS[index].iter().map(ToString::to_string));
        args.push(format!("-I{}", text(&work)));
        args.extend(INCLUDES[index].iter().map(|folder| format!("-I{}", text(&libbpf.folder.join(folder)))));
        let compile = match whose {
            For::Host(_) => Command::new("cc", &work).args(args),
            For::Target(arch) => {
                let names = vec![(libbpf.folder.clone(), format!("cargo/{}", libbpf.name))];
                let recipe =
                    Recipe { compiler: compiler.into(), names, runtimes: Default::default(), cxx: Default::default() };
                zig().args(recipe.arguments(Tool::C, arch, args, &work, &[]))
            }
        };
        steps.push(Box::new(CompileArchive {
            compile,
            sources: libbpf.sources(index).collect(),
            archive: zig().args(["ar", "qcD"]).arg(text(&partial.join(archive))),
        }));
    }
    for (from, to) in libbpf.headers() {
        steps.push(Box::new(CopyMade { from, to: partial.join("include").join(to) }));
    }
    steps.push(Box::new(Remove { folder: work }));
    let title = format!("building libbpf for {}, once, into {}", whose.triple(), cache.path(&name).display());
    let label = match whose {
        For::Target(arch) => arch.name,
        For::Host(_) => "host",
    };
    let entry = CacheEntry::new(cache.clone(), name, steps);
    Task::new(title, vec![Box::new(entry)]).live(label).beside("libbpf").failure("cannot build libbpf")
}

/// What cargo is told instead of having the build script of `libbpf-sys` run.
pub fn instead_of_build_script(folder: &Path) -> Table {
    let text = |path: PathBuf| Value::from(path.to_string_lossy().into_owned());
    let libraries = ["static=bpf", "static=elf", "static=z"].map(Value::from);
    let search = format!("native={}", folder.display());
    let mut links = Table::new();
    links.insert("rustc-link-search".into(), Value::Array(vec![search.into()]));
    links.insert("rustc-link-lib".into(), Value::Array(libraries.into()));
    links.insert("include".into(), text(folder.join("include")));
    LINKS.iter().map(|name| ((*name).to_owned(), Value::Table(links.clone()))).collect()
}
