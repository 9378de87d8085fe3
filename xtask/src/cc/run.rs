//! Putting in place what build scripts call for C code.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use crate::sys::command::{Command, quote};
use crate::sys::files;
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

/// Removes what was compiled with another C compiler or by other flags, for cargo does not see that it has to be built again.
#[derive(Debug)]
pub struct DropOthers {
    /// The folders of what was built.
    pub folders: Vec<PathBuf>,
    /// Where it stands what that was compiled with.
    pub file: PathBuf,
    pub key: String,
}

impl Step for DropOthers {
    fn line(&self) -> String {
        let folders: String = self.folders.iter().map(|folder| format!(" {}", quote(folder))).collect();
        format!("# if {} is not {}: rm -rf{folders}", quote(&self.file), self.key)
    }

    fn json(&self) -> Value {
        json!({ "drop-others": { "folders": self.folders, "file": self.file, "key": self.key } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        if files::read_if_there(&self.file)?.is_some_and(|key| key == self.key) {
            return Ok(());
        }
        self.folders.iter().try_for_each(|folder| files::remove_folder(folder))?;
        files::write(&self.file, &self.key)
    }
}
