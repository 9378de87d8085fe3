//! How build scripts come to the C compiler: what is put in place, and the variables that lead there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use toml::Table;

use crate::arch::{ARCHES, Arch, Target};
use crate::build::site::Site;
use crate::cc::cxx;
use crate::cc::libbpf::{self, For};
use crate::cc::recipe::{self, Recipe, Tool};
use crate::route::Route;
use crate::sys::hash;
use crate::sys::plan::{Step, Steps, Task};
use crate::sys::steps::{DropOthers, HoldEntries, InstallNames, Write};
use crate::toolchain::sysroot::Sysroot;
use crate::toolchain::zig;
use crate::workspace::facts::Facts;

/// The C compiler of a build.
#[derive(Debug)]
pub struct Compiler<'a> {
    facts: &'a Facts,
    site: Site<'a>,
    targets: &'a [Target],
}

impl<'a> Compiler<'a> {
    /// The one for these targets; none if no crate compiles C code, or the builder has one of its own.
    pub fn new(site: Site<'a>, targets: &'a [Target]) -> Option<Compiler<'a>> {
        let facts = site.facts;
        (!facts.with_c.is_empty() && site.builder.compiler_image().is_none()).then_some(Compiler {
            facts,
            site,
            targets,
        })
    }

    fn folder(&self) -> PathBuf {
        self.site.base().join("cc")
    }

    /// Puts it in place. `names` are folders, and what code may call them; `target` is cargo's target folder.
    pub fn steps(&self, names: Vec<(PathBuf, String)>, target: &Path) -> Result<Steps> {
        let folder = self.folder();
        let compiler = self.facts.cache.path(&zig::name()?);
        let runtime = |(arch, route): &Target| {
            let lib = match route {
                Route::Prebuilt => self.facts.rust.sysroot.join("lib/rustlib").join(arch.triple).join("lib"),
                Route::Source => {
                    let sysroot = Sysroot::new(arch, &self.facts.rust);
                    sysroot.lib(&self.facts.cache.path(&sysroot.name))
                }
            };
            (arch.triple.to_owned(), lib.join("self-contained"))
        };
        let recipe = Recipe {
            compiler,
            names,
            runtimes: self.targets.iter().map(runtime).collect(),
            cxx: self.targets.iter().map(|(arch, _)| (arch.triple.to_owned(), self.cxx(arch))).collect(),
        };
        let mut steps: Steps = vec![
            Box::new(Write { file: folder.join(recipe::FILE), text: serde_json::to_string_pretty(&recipe)? }),
            Box::new(InstallNames { folder: folder.clone(), names: recipe::names() }),
            Box::new(Write { file: folder.join("none/README"), text: NONE.into() }),
            Box::new(Write { file: folder.join("openssl/mips.conf"), text: OPENSSL.into() }),
        ];
        steps.extend(LIBRARIES.map(|name| -> Box<dyn Step> {
            Box::new(Write { file: folder.join(format!("lib/lib{name}.a")), text: EMPTY_ARCHIVE.into() })
        }));
        steps.extend(self.targets.iter().map(|(arch, _)| self.toolchain_file(arch)));
        let folders = ARCHES.iter().map(|arch| target.join(arch.triple)).collect();
        steps.push(Box::new(DropOthers { folders, file: folder.join("key"), key: key() }));
        Ok(steps)
    }

    /// What cargo's build scripts see besides.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let folder = self.folder();
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let none = text(folder.join("none"));
        let path = self.site.path().unwrap_or_default();
        let mut variables: BTreeMap<String, String> = [
            // By name and not by path, for some keep what they were compiled with.
            ("PATH".to_owned(), format!("{}:{path}", folder.display())),
            ("ZERO_AR_DATE".into(), "1".into()),
            ("LIBZ_SYS_STATIC".into(), "1".into()),
            ("OPENSSL_LOCAL_CONFIG_DIR".into(), text(folder.join("openssl"))),
        ]
        .into();
        for (arch, _) in self.targets {
            let triple = arch.triple.replace('-', "_");
            let compiler = self.facts.cache.path(&zig::name().unwrap_or_default());
            // It knows the target, and a build script may want another one (`-target bpf`), which comes before these.
            let folders = recipe::headers(&compiler, arch).into_iter().map(|folder| format!("-isystem{folder}"));
            let bindgen: Vec<String> = std::iter::once("-nostdlibinc".to_owned()).chain(folders).collect();
            for (name, value) in [
                ("CC", recipe::name(Tool::C, arch)),
                ("CXX", recipe::name(Tool::Cxx, arch)),
                ("AR", recipe::name(Tool::Archiver, arch)),
                ("RANLIB", recipe::name(Tool::Indexer, arch)),
                ("CXXSTDLIB", "c++".into()),
                ("CMAKE_TOOLCHAIN_FILE", text(self.cmake(arch))),
                // Nothing of this machine's is found.
                ("PKG_CONFIG_LIBDIR", none.clone()),
                ("PKG_CONFIG_PATH", none.clone()),
                ("PKG_CONFIG_SYSROOT_DIR", none.clone()),
                ("BINDGEN_EXTRA_CLANG_ARGS", shlex::try_join(bindgen.iter().map(String::as_str)).unwrap_or_default()),
            ] {
                variables.insert(format!("{name}_{triple}"), value);
            }
            // The crate takes the page size of the machine it is built on, and aborts where pages are larger.
            let page = arch.max_page_size.ilog2().to_string();
            variables.insert(format!("{}_JEMALLOC_SYS_WITH_LG_PAGE", triple.to_uppercase()), page);
        }
        variables
    }

    /// What rustc is told: where the libraries are that C code asks for.
    pub fn rustflags(&self, arch: &Arch) -> Vec<String> {
        [self.folder().join("lib"), self.cxx(arch)].map(|folder| format!("-Lnative={}", folder.display())).into()
    }

    fn cxx(&self, arch: &Arch) -> PathBuf {
        self.cxx_folder().join(cxx::name(arch, &recipe::flags()))
    }

    /// Where C++'s standard library is kept, which is made when a build first asks for it: in the cache, to which no container
    /// can write.
    pub fn cxx_folder(&self) -> PathBuf {
        match self.site.builder.container() {
            None => self.facts.cache.folder.clone(),
            Some(_) => self.site.base().join("cxx"),
        }
    }

    /// What of this machine it reads.
    pub fn read(&self) -> Vec<PathBuf> {
        let mut read = vec![self.folder()];
        read.extend(zig::name().ok().map(|name| self.facts.cache.path(&name)));
        let libbpf = self.facts.libbpf.iter();
        read.extend(libbpf.flat_map(|it| self.users().map(|whose| self.facts.cache.path(&libbpf::name(it, whose)))));
        read
    }

    /// What cargo is told of each target instead of having build scripts run.
    pub fn overrides(&self) -> Vec<(&str, Table)> {
        let Some(libbpf) = &self.facts.libbpf else { return Vec::new() };
        let path = |whose| self.facts.cache.path(&libbpf::name(libbpf, whose));
        let one = |whose: For<'a>| (whose.triple(), libbpf::instead_of_build_script(&path(whose)));
        self.users().map(one).collect()
    }

    fn users(&self) -> impl Iterator<Item = For<'a>> {
        let targets = self.targets.iter().map(|(arch, _)| For::Target(arch));
        [For::Host(&self.facts.rust.host)].into_iter().chain(targets)
    }

    /// Makes the libraries that are not there yet.
    pub fn libraries(&self) -> Result<Vec<Task>> {
        let Facts { cache, installed, libbpf, .. } = self.facts;
        let Some(libbpf) = libbpf else { return Ok(Vec::new()) };
        let compiler = cache.path(&zig::name()?);
        let (there, missing): (Vec<_>, Vec<_>) =
            self.users().partition(|whose| installed.cached.contains(&libbpf::name(libbpf, *whose)));
        let mut tasks = Vec::new();
        if !there.is_empty() {
            let names = there.into_iter().map(|whose| libbpf::name(libbpf, whose)).collect();
            let hold = HoldEntries::new(cache.clone(), names);
            tasks.push(Task::new(
                "keeping other runs from removing the libraries that are used here",
                vec![Box::new(hold)],
            ));
        }
        tasks.extend(missing.into_iter().map(|whose| libbpf::task(libbpf, whose, cache, &compiler)));
        Ok(tasks)
    }

    fn cmake(&self, arch: &Arch) -> PathBuf {
        self.folder().join(format!("{}.cmake", arch.triple))
    }

    fn toolchain_file(&self, arch: &Arch) -> Box<dyn Step> {
        let folder = self.folder();
        let tool = |tool| folder.join(recipe::name(tool, arch)).to_string_lossy().into_owned();
        let (c, cxx, archiver, indexer) = (tool(Tool::C), tool(Tool::Cxx), tool(Tool::Archiver), tool(Tool::Indexer));
        let processor = arch.triple.split('-').next().unwrap_or_default();
        let text = format!(
            "set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR {processor})
set(CMAKE_C_COMPILER \"{c}\")
set(CMAKE_CXX_COMPILER \"{cxx}\")
set(CMAKE_ASM_COMPILER \"{c}\")
set(CMAKE_AR \"{archiver}\")
set(CMAKE_RANLIB \"{indexer}\")
set(CMAKE_FIND_ROOT_PATH \"{none}\")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
",
            none = folder.join("none").display()
        );
        Box::new(Write { file: self.cmake(arch), text })
    }
}

/// Libraries whose functions are in musl's libc, as musl's own build has them, or in the runtimes of the compiler and of unwinding.
const LIBRARIES: [&str; 12] =
    ["atomic", "crypt", "dl", "gcc", "gcc_eh", "gcc_s", "m", "pthread", "resolv", "rt", "util", "xnet"];

/// An archive without members.
const EMPTY_ARCHIVE: &str = "!<arch>\n";

/// OpenSSL's assembler for mips is what rust-lld cannot link (`arch.rs`), so there it is C only. Its `Configure` evaluates this, and
/// where it has no such list, only warns.
const OPENSSL: &str = "unshift @argvcopy, 'no-asm' if grep { $_ eq 'linux-mips32' } @argvcopy;\n();\n";

const NONE: &str = "Build scripts look for libraries of the machine here, and find none.\n";

/// What decides the bytes that are compiled from C.
fn key() -> String {
    hash::bytes(recipe::flags().join("\n").as_bytes()).to_string()
}
