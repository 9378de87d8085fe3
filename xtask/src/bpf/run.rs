//! How BPF objects are compiled and checked: steps of plan.rs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bpfship_object::Object;
use serde_json::{Value, json};

use crate::bpf::container::Container;
use crate::bpf::dependencies::Said;
use crate::bpf::facts::{COMPILED, RECORDS};
use crate::bpf::failures::{self, Scope};
use crate::bpf::flags::LIBBPF;
use crate::bpf::layouts::Layouts;
use crate::bpf::records::{self, Kept, Record, Records};
use crate::bpf::settle::{self, Compiled, Part, Piece, Settled};
use crate::bpf::source_text;
use crate::bpf::target::BpfTarget;
use crate::bpf::units::Unit;
use crate::container::engine::Image;
use crate::sys::command::{Command, quote};
use crate::sys::hash::Sha256;
use crate::sys::plan::{Slot, Step, Work};
use crate::sys::{files, process};
use crate::ui::error;
use crate::workspace::ignored::IgnoredFiles;

/// Makes sure that the engine can run the image that it just got. One that was built is remembered: anybody can give
/// another one its name.
#[derive(Debug)]
pub struct CheckImage {
    pub container: Container,
    pub folder: PathBuf,
    /// Where its id is kept.
    pub record: Option<PathBuf>,
}

impl Step for CheckImage {
    fn line(&self) -> String {
        let Container { image, engine, .. } = &self.container;
        let record = self.record.as_ref().map(|record| format!(", and keep its id in {}", record.display()));
        format!("# check that {image} is for {}{}", engine.platform, record.unwrap_or_default())
    }

    fn json(&self) -> Value {
        json!({ "check-image": { "container": self.container, "record": self.record } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let Container { image: name, engine, .. } = &self.container;
        let image = Image::find(work.runner, engine.kind, &self.folder, name)?;
        let image = image.with_context(|| format!("{} does not have the image {name}", engine.kind.program()))?;
        image.check(name, engine)?;
        match &self.record {
            Some(record) => files::replace(&[(record.clone(), image.id.as_bytes())]),
            None => Ok(()),
        }
    }
}

/// One way to compile a source.
#[derive(Debug)]
pub struct Attempt {
    pub target: &'static BpfTarget,
    pub command: Command,
    /// What the object depends on besides the files that clang reads.
    pub key: Sha256,
}

/// Compiles a source, first for all architectures of a byte order, and if it depends on those, for each of them.
#[derive(Debug)]
pub struct Compile {
    /// The first one, and those that are needed only if it does not do.
    pub attempts: Vec<Attempt>,
    /// As the user knows it: relative to the workspace.
    pub source: String,
    /// How many folders above the one where clang runs are of the repository.
    pub above: usize,
    /// Where that is on this machine.
    pub stage: PathBuf,
    /// Its name where clang runs.
    pub folder: String,
    /// The folder of the compiler's headers, where clang runs.
    pub headers: String,
    /// Whether those are of an image of the user's, which has them for one architecture only.
    pub image: bool,
    /// Whether the headers of the first attempt are those of an architecture that nobody asked for.
    pub may_differ: bool,
    /// The files that ask for the architecture.
    pub asking: BTreeSet<String>,
    /// Whether there is a vmlinux.h for each architecture.
    pub layouts: bool,
    /// Where a printed plan puts what clang gives. A run keeps it in memory.
    pub output: PathBuf,
    pub made: Slot<Vec<Compiled>>,
}

impl Step for Compile {
    fn line(&self) -> String {
        let (first, others) = (&self.attempts[0], &self.attempts[1..]);
        let names: Vec<&str> = others.iter().map(|other| other.target.shown()).collect();
        let others = match names.as_slice() {
            [] => String::new(),
            names => format!("\n# if it depends on the architecture, compile it for each: {}", names.join(", ")),
        };
        format!(
            "{} >{}\n# refuse it if clang read a file of elsewhere{others}\n\
             # drop debug information from it, bring its types into one form, and check it",
            first.command,
            quote(&self.output)
        )
    }

    fn json(&self) -> Value {
        let (first, others) = (&self.attempts[0], &self.attempts[1..]);
        let other = |other: &Attempt| json!({ "target": other.target, "command": other.command });
        json!({ "compile-object": {
            "source": self.source, "target": first.target, "command": first.command,
            "if-it-depends-on-the-architecture": others.iter().map(other).collect::<Vec<_>>(),
        } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let (first, others) = (&self.attempts[0], &self.attempts[1..]);
        let mut compiled = vec![self.compile(work, first)?];
        if compiled[0].object.is_none() {
            for other in others {
                work.runner.check_interrupted()?;
                compiled.push(self.compile(work, other)?);
            }
        }
        self.made.put(compiled)
    }
}

impl Compile {
    fn compile(&self, work: &Work, attempt: &Attempt) -> Result<Compiled> {
        let Attempt { target, command, key } = attempt;
        let output = work.runner.output(command)?;
        let text = String::from_utf8_lossy(&output.stderr);
        let said = Said::parse(&text).relative(&self.folder, self.above);
        let is_first = target.arch_word.is_none();
        let object = match output.status.code() {
            Some(0) if said.reads.is_empty() => bail!("clang does not say which files it read for {}", self.source),
            Some(0) => match self.finish(work, &output.stdout, attempt, &said) {
                _ if is_first && self.depends(work, &said) => None,
                finished => Some(finished),
            },
            // An engine's own codes: clang was never started.
            Some(125..=127) => {
                let failed = process::failed(command, output.status, text.into());
                return Err(failed.context("the container did not start"));
            }
            // It was killed, here or in a container.
            code if code.is_none() || said.messages.is_empty() => bail!("clang {}", error::ended(output.status)),
            _ if is_first && self.may_depend(&said.messages) => None,
            // All that it says, for what comes first is the cause of the rest.
            _ => Some(Err(said.messages.clone())),
        };
        let warnings = if matches!(object, Some(Ok(_))) { said.messages.clone() } else { String::new() };
        Ok(Compiled { target, key: *key, object, warnings, reads: said.own().into_iter().collect() })
    }

    fn finish(&self, work: &Work, compiled: &[u8], attempt: &Attempt, said: &Said) -> Result<Arc<Object>, String> {
        if let [file, ..] = said.foreign(&self.headers, self.above).as_slice() {
            return Err(format!(
                "it includes {file}, which bpf.lock cannot know, because it is not in the repository: copy it there"
            ));
        }
        let mut sources = Vec::new();
        for path in said.own() {
            let source = files::read(&self.stage.join(&path)).map_err(|error| format!("{error:#}"))?;
            if let Some((line, why)) = source_text::refusal(&source) {
                return Err(format!("{path}:{line} {why}"));
            }
            if !path.starts_with(LIBBPF) {
                sources.push(source);
            }
        }
        if source_text::may_hide(&sources) {
            let command = attempt.command.clone().args(["-E"]);
            let expanded = work.runner.output(&command).map_err(|error| format!("{error:#}"))?;
            if let Some((_, why)) = source_text::refusal(&expanded.stdout) {
                return Err(format!("with its macros expanded, it {why}"));
            }
        }
        Object::new(compiled, attempt.target.endian).map(Arc::new).map_err(|error| format!("{error:#}"))
    }

    /// Whether what compiled for all architectures may be another object for one of them.
    fn depends(&self, work: &Work, said: &Said) -> bool {
        let headers: Vec<String> = said.asm_headers().iter().map(|name| format!("<asm/{name}>")).collect();
        if self.image && !headers.is_empty() {
            work.runner.status(format!(
                "{} includes {} of the image, and whether other architectures have the same is not known",
                self.source,
                headers.join(", ")
            ));
        }
        let own = said.own();
        (!self.image && !headers.is_empty()) || own.iter().any(|path| self.asking.contains(path))
    }

    /// Whether what did not compile for all architectures may compile for each.
    fn may_depend(&self, messages: &str) -> bool {
        let is_asked = messages.contains("__TARGET_ARCH") || messages.contains("bpf_target_");
        is_asked || self.may_differ || (self.layouts && messages.contains("vmlinux.h' file not found"))
    }
}

/// Decides which objects there are, keeps what was compiled for later runs, and says what failed.
#[derive(Debug)]
pub struct Settle {
    pub parts: Vec<Part>,
    pub units: Vec<Unit>,
    /// The hashes of all files that clang may see.
    pub staged: BTreeMap<String, Sha256>,
    pub records: Records,
    /// Where everything between sources and artifacts lies.
    pub work: PathBuf,
    pub layouts: Layouts,
    /// How many targets there are for the configured architectures.
    pub targets: usize,
    /// The BPF folder.
    pub folder: String,
    /// What clang may miss.
    pub ignored: IgnoredFiles,
    pub settled: Slot<Settled>,
}

impl Step for Settle {
    fn line(&self) -> String {
        "# objects that are the same for all architectures of a byte order become one".into()
    }

    fn json(&self) -> Value {
        let sources: Vec<&str> = self.parts.iter().map(|part| part.shown.as_str()).collect();
        json!({ "settle": { "sources": sources } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let settled = settle::settle(&self.parts, &self.records.why)?;
        self.remember(&settled)?;
        settled.warnings.iter().for_each(|warning| work.runner.status(warning));
        if !settled.failures.is_empty() {
            let words: String = settled.failures.iter().map(|failure| failure.words.as_str()).collect();
            let ignored = self.ignored.named_in(&words);
            let all: BTreeSet<&str> = self.parts.iter().map(|part| part.shown.as_str()).collect();
            let (sources, layouts, folder) = (all.len(), &self.layouts, &self.folder);
            let files: Vec<&str> = self.staged.keys().map(String::as_str).collect();
            let scope = Scope { sources, targets: self.targets, layouts, folder, files: &files };
            let text = failures::text(&settled.failures, &scope, &ignored);
            bail!("cannot compile the BPF objects; the previous ones are untouched: {text}");
        }
        self.settled.put(settled)
    }
}

impl Settle {
    /// Keeps the objects that were compiled, even if others failed.
    fn remember(&self, settled: &Settled) -> Result<()> {
        let mut records = self.records.clone();
        let folder = self.work.join(COMPILED);
        for Part { unit, pieces, .. } in &self.parts {
            let made = pieces.iter().filter_map(|piece| match piece {
                Piece::Made(slot) => Some(slot),
                Piece::Kept(..) => None,
            });
            for slot in made {
                for Compiled { target, key, object, reads, .. } in slot.get()? {
                    let object = match object {
                        Some(Err(_)) => continue,
                        None => None,
                        Some(Ok(object)) => {
                            let kept = Kept::new(object);
                            files::create_folder(&folder)?;
                            files::replace(&[(folder.join(kept.sha256.to_string()), &object.bytes)])?;
                            Some(kept)
                        }
                    };
                    // What did not compile says not all that it read. What Rust reads is part of the key.
                    if let Some(contents) = records::contents(reads, &self.staged)
                        && (unit.rust.is_some() || !reads.is_empty())
                    {
                        let record = Record { key: *key, reads: reads.clone(), contents, object };
                        records.insert(unit, target, record);
                    }
                }
            }
        }
        records.why.extend(settled.why.clone());
        records.keep(&self.units);
        if records == self.records {
            return Ok(());
        }
        let known: BTreeSet<String> = records.objects().map(Sha256::to_string).collect();
        for name in files::list(&folder)?.iter().filter(|name| !known.contains(*name)) {
            fs::remove_file(folder.join(name)).with_context(|| format!("cannot remove {name}"))?;
        }
        let text = serde_json::to_vec(&records).context("cannot write records")?;
        files::replace(&[(self.work.join(RECORDS), &text)])
    }
}
