//! Being a C compiler, or what else a build script calls, by its name.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::arch::Arch;
use crate::cc::cxx;
use crate::cc::recipe::{self, Recipe, Tool};
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::process::{self, Runner};
use crate::toolchain::sysroot::RUNTIME;
use crate::ui::screen::Level;

/// If this program was called by the name of a tool: what that did.
pub fn as_tool() -> Option<ExitCode> {
    let called = PathBuf::from(env::args_os().next()?);
    let name = called.file_name()?.to_str()?;
    let result = match recipe::called_by(name) {
        Some((tool, arch)) => compile(tool, arch),
        None if name == recipe::CLANG => clang(),
        None if name == recipe::STRIP => strip(),
        None if name == recipe::MAKE => others(name),
        None if name == recipe::FORMATTER => leave_as_it_is(),
        None => return None,
    };
    Some(result.unwrap_or_else(|error| {
        eprintln!("error: {name}: {error:#}");
        ExitCode::FAILURE
    }))
}

/// What lies beside the name, and where.
fn recipe() -> Result<(Recipe, PathBuf)> {
    let program = env::current_exe().context("cannot find this program")?;
    let folder = program.parent().context("a program in no folder")?;
    let text = files::read(&folder.join(recipe::FILE))?;
    let recipe = serde_json::from_slice(&text).with_context(|| format!("cannot understand {}", recipe::FILE))?;
    Ok((recipe, folder.into()))
}

fn zig(recipe: &Recipe) -> Result<Command> {
    let zig = recipe.compiler.join("zig");
    if !zig.exists() {
        bail!("{} is not there any more: build again", zig.display());
    }
    // What is compiled is that of a crate, and not of the commit that happens to be built.
    Ok(Command::new(zig, Path::new(".")).env("SOURCE_DATE_EPOCH", "0"))
}

fn compile(tool: Tool, arch: &Arch) -> Result<ExitCode> {
    let (recipe, folder) = recipe()?;
    let mut runtime = recipe.runtimes.get(arch.triple).map_or_else(|| Ok(Vec::new()), |folder| runtime(folder))?;
    if tool == Tool::Cxx {
        cxx::make(&recipe, arch)?;
        runtime.extend(recipe.cxx.get(arch.triple).map(|folder| folder.join(cxx::NAMES[0])));
    }
    let args = recipe.arguments(tool, arch, process::own_arguments()?, &folder, &runtime);
    Err(process::replace_us(&zig(&recipe)?.args(args)))
}

/// The libraries of a C runtime. Beside one of rustup's, functions of the compiler are in Rust's own library of them, whose name
/// has a hash: musl's `printf` needs some on arm64.
fn runtime(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = RUNTIME.map(|name| folder.join(name)).into_iter().filter(|it| it.exists()).collect();
    if !folder.join("libcompiler_rt.a").exists() {
        let beside = folder.parent().context("a C runtime in no folder")?;
        let is_it = |name: &String| name.starts_with("libcompiler_builtins-") && name.ends_with(".rlib");
        files.extend(files::list(beside)?.into_iter().filter(is_it).map(|name| beside.join(name)));
    }
    Ok(files)
}

/// clang, which compiles BPF programs for the machine that is built for. What is not BPF is for this machine: its own clang.
fn clang() -> Result<ExitCode> {
    let given = process::own_arguments()?;
    let (recipe, folder) = recipe()?;
    if given == ["--version"] {
        return Err(process::replace_us(&zig(&recipe)?.args(["clang", "--version"])));
    }
    let target = env::var("TARGET").unwrap_or_default();
    let Ok(arch) = <&Arch>::from_str(&target) else {
        return others(recipe::CLANG);
    };
    if !recipe::is_for_bpf(&given) {
        // What a build script is told of the target goes into flags for BPF.
        return match recipe::is_question(&given) {
            true => Err(process::replace_us(&zig(&recipe)?.args(recipe.arguments(Tool::C, arch, given, &folder, &[])))),
            false => others(recipe::CLANG),
        };
    }
    let object = recipe::object(&given).cloned();
    let command = zig(&recipe)?.args(recipe.bpf_arguments(arch, given));
    let output = Runner::new(Level::Quiet).output(&command)?;
    io::stdout().write_all(&output.stdout)?;
    io::stderr().write_all(&output.stderr)?;
    if !output.status.success() {
        return Ok(ExitCode::FAILURE);
    }
    if let Some(object) = object {
        let canonical = bpfship_object::canonical(&files::read(Path::new(&object))?)?;
        fs::write(&object, canonical).with_context(|| format!("cannot write {object}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// llvm-strip, which has nothing to remove from a BPF object: what our clang makes has no debug information but BTF. The
/// machine's, of whatever version, would write the object in its own way.
fn strip() -> Result<ExitCode> {
    let given = process::own_arguments()?;
    let (flags, files): (Vec<&String>, Vec<&String>) = given.iter().partition(|arg| arg.starts_with('-'));
    let is_debug = |flag: &&String| ["-g", "-d", "-S", "--strip-debug"].contains(&flag.as_str());
    let is_bpf = |file: &&String| fs::read(file).is_ok_and(|object| bpfship_object::canonical(&object).is_ok());
    if !files.is_empty() && flags.iter().all(is_debug) && files.iter().all(is_bpf) {
        return Ok(ExitCode::SUCCESS);
    }
    others(recipe::STRIP)
}

/// The program of this name that comes next on PATH, with a date that is the same for each commit.
fn others(name: &str) -> Result<ExitCode> {
    let (_, folder) = recipe()?;
    let Some(program) = process::next_on_path(name, &folder) else {
        bail!("a build script wants it on this machine, and it is not there: install it");
    };
    let command = Command::new(program, Path::new(".")).args(process::own_arguments()?).env("SOURCE_DATE_EPOCH", "0");
    Err(process::replace_us(&command))
}

/// rustfmt, which changes nothing: whether a machine has one, and of which version, would change the lines that panics name.
fn leave_as_it_is() -> Result<ExitCode> {
    if process::own_arguments()? == ["--version"] {
        println!("rustfmt that leaves everything as it is");
    } else {
        // All of it first, for whoever writes it may read only then.
        let mut code = Vec::new();
        let read = io::stdin().read_to_end(&mut code);
        read.and_then(|_| io::stdout().write_all(&code)).context("cannot hand the code on")?;
    }
    Ok(ExitCode::SUCCESS)
}
