//! Putting in place what build scripts call for C code.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use crate::sys::command::Command;
use crate::sys::parallel;
use crate::sys::plan::{Step, Work};
use crate::sys::process::Runner;

/// Compiles C files, and makes an archive of what comes out.
#[derive(Debug)]
pub struct CompileArchive {
    /// To which `-o OBJECT SOURCE` is added; in a folder for objects.
    pub compile: Command,
    pub sources: Vec<PathBuf>,
    /// To which the objects are added.
    pub archive: Command,
}

impl CompileArchive {
    /// A name of its own for each, for two folders may have files of one name.
    fn object(index: usize) -> String {
        format!("{index}.o")
    }

    fn commands(&self) -> Vec<Command> {
        let one = |(index, source): (usize, &PathBuf)| {
            self.compile.clone().args(["-o", &CompileArchive::object(index)]).arg(source.to_string_lossy())
        };
        self.sources.iter().enumerate().map(one).collect()
    }

    fn archive(&self) -> Command {
        self.archive.clone().args((0..self.sources.len()).map(CompileArchive::object))
    }

    /// Does it.
    pub fn make(&self, runner: Runner) -> Result<()> {
        for compiled in parallel::map(&self.commands(), |command| runner.run(command)) {
            compiled?;
        }
        runner.run(&self.archive())
    }
}

impl Step for CompileArchive {
    fn line(&self) -> String {
        let lines: Vec<String> = self.commands().iter().chain([&self.archive()]).map(Command::to_string).collect();
        lines.join("\n")
    }

    fn json(&self) -> Value {
        json!({ "compile-archive": { "compile": self.compile, "sources": self.sources, "archive": self.archive } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        self.make(work.runner)
    }
}
