//! Compiling C that a build script has linked to BPF in Rust: as `clang`, it makes bitcode; as rustc's linker, it is linked in.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::arch::{ARCHES, Arch};
use crate::bpf::dependencies::{self, Said};
use crate::bpf::flags::CLOCK;
use crate::bpf::target::{BpfTarget, TARGETS};
use crate::build::reads;
use crate::cc::recipe;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::hash;
use crate::sys::process::{self, Runner};
use crate::ui::screen::Level;

/// Stands for whatever is not said by the rest of a recipe. Part of what decides whether C is compiled again.
pub const VERSION: u32 = 1;

/// The file beside the names that says what is behind them.
pub const FILE: &str = "shim.json";

/// Beside a file that was made here: its hash.
const MADE: &str = "made-by-the-pinned-clang";

/// How C is compiled for one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The folder of the unpacked compiler.
    pub compiler: PathBuf,
    /// The instruction set.
    pub cpu: String,
    pub target: String,
    /// The folder in which `bpf` is that of libbpf's headers, if the workspace has them.
    pub libbpf: Option<PathBuf>,
    /// Folders, and what code may call them. The last one that fits holds.
    pub names: Vec<(PathBuf, String)>,
    /// The files and folders that may be read.
    pub sources: Vec<PathBuf>,
}

/// If this program was called as the clang of a build of BPF in Rust: what it did.
pub fn as_clang() -> Option<ExitCode> {
    let called = PathBuf::from(env::args_os().next()?);
    if called.file_name()? != recipe::CLANG {
        return None;
    }
    let recipe = Recipe::beside_us().transpose()?;
    let result = recipe.and_then(|recipe| recipe.clang(process::own_arguments()?));
    Some(result.unwrap_or_else(|error| {
        eprintln!("error: {}: {error:#}", recipe::CLANG);
        ExitCode::FAILURE
    }))
}

impl Recipe {
    /// The one that lies beside this program, if there is one.
    pub fn beside_us() -> Result<Option<Recipe>> {
        let program = env::current_exe().context("cannot find this program")?;
        let Some(text) = files::read_if_there(&program.with_file_name(FILE))? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).with_context(|| format!("cannot understand {FILE}"))
    }

    fn target(&self) -> Result<&'static BpfTarget> {
        let found = TARGETS.iter().find(|target| target.name == self.target);
        found.with_context(|| format!("there is no target `{}` for BPF", self.target))
    }

    fn zig(&self) -> Command {
        Command::new(self.compiler.join("zig"), Path::new(".")).env(CLOCK.0, CLOCK.1)
    }

    fn clang(&self, given: Vec<String>) -> Result<ExitCode> {
        if given == ["--version"] {
            return Err(process::replace_us(&self.zig().args(["clang", "--version"])));
        }
        if !recipe::is_for_bpf(&given) {
            let program = env::current_exe().context("cannot find this program")?;
            let folder = program.parent().context("a program in no folder")?;
            let Some(other) = process::next_on_path(recipe::CLANG, folder) else {
                bail!("a build script wants it for this machine, and it is not there: install it");
            };
            return Err(process::replace_us(&Command::new(other, Path::new(".")).args(given)));
        }
        self.check_reads(&given)?;
        let output = Runner::new(Level::Quiet).output(&self.zig().args(self.arguments(given.clone())?))?;
        io::stdout().write_all(&output.stdout)?;
        io::stderr().write_all(&output.stderr)?;
        if !output.status.success() {
            return Ok(ExitCode::FAILURE);
        }
        if let Some(made) = recipe::object(&given) {
            let sha256 = hash::file(Path::new(made))?;
            fs::write(beside(made), sha256.to_string()).with_context(|| format!("cannot write beside {made}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What zig is called with for these arguments of a caller.
    fn arguments(&self, given: Vec<String>) -> Result<Vec<String>> {
        let target = self.target()?;
        let arch: &Arch = ARCHES.iter().find(|arch| target.is_for(arch)).context("a target of no architecture")?;
        let mut args = recipe::for_bpf(&self.compiler, &self.names, &self.cpu, arch, target.arch_word, given);
        let libbpf = self.libbpf.iter().map(|folder| folder.to_string_lossy().into_owned());
        args.extend(libbpf.flat_map(|folder| ["-idirafter".into(), folder]));
        Ok(args)
    }

    /// Refuses C that includes what bpf.lock does not know.
    fn check_reads(&self, given: &[String]) -> Result<()> {
        let words = dependencies::FLAGS.iter().chain(&["-fsyntax-only"]).map(ToString::to_string);
        let command = self.zig().args(self.arguments(given.iter().cloned().chain(words).collect())?);
        // What is wrong with a source is said when it is compiled.
        let said = Said::parse(&String::from_utf8_lossy(&Runner::new(Level::Quiet).output(&command)?.stderr));
        let here = env::current_dir().context("cannot find the current folder")?;
        let read = said.reads.into_iter().map(|file| here.join(file));
        match reads::foreign(read.collect(), &self.sources).first() {
            None => Ok(()),
            Some(file) => bail!(
                "a build script compiles C that includes {}, which bpf.lock does not know: have it in the folder of its package",
                file.display()
            ),
        }
    }

    /// Links bitcode to that of rustc: of each what is called.
    pub fn link(&self, module: &str, shims: &[&str], to: &str) -> Result<()> {
        if let Some(foreign) = shims.iter().find(|shim| !is_ours(shim)) {
            bail!(
                "a build script links {} to a BPF program, which is no bitcode that this build made of C: have it call \
                 `clang -target bpf -g -O2 -emit-llvm -c`, or have the C in a BPF source of its own",
                name(foreign)
            );
        }
        let linked = shims.iter().flat_map(|shim| ["-Xclang", "-mlink-builtin-bitcode", "-Xclang", shim]);
        let command = self
            .zig()
            .args(["clang", "-target", self.target()?.endian.bpf_target(), &format!("-mcpu={}", self.cpu)])
            .args(["-x", "ir", "-Wno-override-module", "-emit-llvm", "-Xclang", "-disable-llvm-passes"])
            .args(linked)
            .args(["-c", module, "-o", to]);
        Runner::new(Level::Quiet).run(&command)
    }
}

/// Whether a file is as it was made here.
fn is_ours(file: &str) -> bool {
    let made = fs::read_to_string(beside(file)).ok();
    hash::file(Path::new(file)).is_ok_and(|sha256| made == Some(sha256.to_string()))
}

fn beside(file: &str) -> String {
    format!("{file}.{MADE}")
}

fn name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(target: &str) -> Recipe {
        let names = vec![("/home/ann/tool".into(), "workspace".into())];
        let libbpf = Some("/l".into());
        let compiler = "/zig".into();
        Recipe { compiler, cpu: "v2".into(), target: target.into(), libbpf, names, sources: Vec::new() }
    }

    #[test]
    fn c_is_compiled_for_the_target_of_the_program_whatever_the_build_script_says() {
        let given: Vec<String> =
            "-O2 -D__TARGET_ARCH_x86 -emit-llvm -target bpf -c a.c -o a.o".split(' ').map(String::from).collect();
        let called = |target: &str| recipe(target).arguments(given.clone()).unwrap().join(" ");
        let s390 = called("s390_bpfeb");
        assert!(s390.contains("--target=bpfeb") && s390.contains(" -mcpu=v2 "), "{s390}");
        assert!(s390.rfind("-U__TARGET_ARCH_x86") > s390.find("-D__TARGET_ARCH_x86"), "{s390}");
        assert!(s390.contains("-D__TARGET_ARCH_s390") && s390.ends_with("-idirafter /l"), "{s390}");
        // An object for all architectures of a byte order depends on none.
        assert_eq!(called("bpfel").matches("-D__TARGET_ARCH_").count(), 1);
    }

    #[test]
    fn what_was_made_elsewhere_is_not_linked() {
        let folder = tempfile::tempdir().unwrap();
        let shim = folder.path().join("shim.o").to_string_lossy().into_owned();
        fs::write(&shim, "bitcode").unwrap();
        let error = recipe("bpfel").link("/d/e.o", &[&shim], "/d/e").unwrap_err().to_string();
        assert!(error.starts_with("a build script links shim.o to a BPF program, which is no bitcode"), "{error}");
        fs::write(beside(&shim), hash::bytes(b"bitcode").to_string()).unwrap();
        assert!(is_ours(&shim));
        fs::write(&shim, "other").unwrap();
        assert!(!is_ours(&shim));
    }
}
