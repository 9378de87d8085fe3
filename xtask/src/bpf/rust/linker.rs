//! Being rustc's linker for BPF: it is given one module of bitcode and hands it on, with what build scripts made of C linked in.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::bpf::rust::shim::{FILE, Recipe};
use crate::sys::process;

/// By which name the tool is called in place of a linker.
pub const PROGRAM: &str = "bpfship-bpf-linker";

/// If this program was called by that name: what it did.
pub fn as_linker() -> Option<ExitCode> {
    let called = PathBuf::from(env::args_os().next()?);
    if called.file_name()? != PROGRAM {
        return None;
    }
    Some(match process::own_arguments().and_then(|words| hand_on(&words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    })
}

fn hand_on(words: &[String]) -> Result<()> {
    let Call { modules, to } = Call::parse(words)?;
    match modules.as_slice() {
        [module] => fs::copy(module, to).map(drop).with_context(|| format!("cannot write {to}")),
        [] => bail!("rustc gave no bitcode to link"),
        [module, shims @ ..] => {
            let recipe = Recipe::beside_us()?.with_context(|| format!("there is no {FILE} beside {PROGRAM}"))?;
            recipe.link(module, shims, to)
        }
    }
}

/// What rustc asks of a linker for BPF.
#[derive(Debug, PartialEq, Eq)]
struct Call<'a> {
    modules: Vec<&'a str>,
    to: &'a str,
}

/// Flags of rustc's with a word after them.
const WITH_A_WORD: [&str; 5] = ["--export-symbols", "-L", "--cpu", "--cpu-features", "--target"];

impl Call<'_> {
    fn parse(words: &[String]) -> Result<Call<'_>> {
        let (mut modules, mut to) = (Vec::new(), None);
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "-o" => to = words.next(),
                word if WITH_A_WORD.contains(&word) => drop(words.next()),
                word if word.starts_with('-') => {}
                module => modules.push(module),
            }
        }
        Ok(Call { modules, to: to.context("rustc does not say where its program goes")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_among_rustcs_flags() {
        let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let usual = words("--export-symbols /t/symbols /d/e.o -L /t/raw --cpu v1 -o /d/e -O3 --debug");
        assert_eq!(Call::parse(&usual).unwrap(), Call { modules: vec!["/d/e.o"], to: "/d/e" });
        let more = words("/d/e.o /o/shim.o -o /d/e");
        assert_eq!(Call::parse(&more).unwrap().modules, ["/d/e.o", "/o/shim.o"]);
        assert!(Call::parse(&words("/d/e.o")).is_err());
    }
}
