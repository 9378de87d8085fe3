//! What came of all sources: one object for a byte order, or one for each architecture, and why.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use bpfship_object::Object;

use crate::bpf::failures::Failure;
use crate::bpf::records::Kept;
use crate::bpf::target::{BpfTarget, ObjectName, TARGETS};
use crate::bpf::units::Unit;
use crate::release::compare;
use crate::sys::hash::Sha256;
use crate::sys::plan::Slot;

/// What one source is compiled to for one byte order.
#[derive(Debug, Clone)]
pub struct Part {
    pub unit: Unit,
    /// The path of the source from the workspace, and the variant.
    pub shown: String,
    /// The target whose object is for every architecture of the byte order.
    pub all: &'static BpfTarget,
    /// Whether an object for each of those is compiled, so that it can be seen whether one would do.
    pub whole: bool,
    /// Of those, the targets of architectures that are not shipped.
    pub compared: Vec<&'static BpfTarget>,
    pub pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
pub enum Piece {
    /// An earlier run made it, and it lies there.
    Kept(&'static BpfTarget, Kept, PathBuf),
    Made(Slot<Vec<Compiled>>),
}

/// What came of one call of clang.
#[derive(Debug)]
pub struct Compiled {
    pub target: &'static BpfTarget,
    pub key: Sha256,
    /// None if it depends on the architecture; else the object, or what is wrong.
    pub object: Option<Result<Arc<Object>, String>>,
    /// What clang said although it compiled.
    pub warnings: String,
    /// The files that it read, but those of the compiler, by their paths from where it runs.
    pub reads: Vec<String>,
}

/// An object, and where its bytes are.
#[derive(Debug, Clone)]
pub struct Ready {
    pub kept: Kept,
    pub from: Bytes,
}

#[derive(Debug, Clone)]
pub enum Bytes {
    Made(Arc<Object>),
    File(PathBuf),
}

/// All objects, by file name, and what is to be said of them.
#[derive(Debug, Default)]
pub struct Settled {
    pub objects: BTreeMap<String, Ready>,
    /// The sources that were compiled, with their objects.
    pub compiled: Vec<Line>,
    /// How many were not, because nothing had changed.
    pub unchanged: usize,
    pub failures: Vec<Failure>,
    pub warnings: Vec<String>,
    /// Why a source has an object for each architecture, by the names of its objects.
    pub why: BTreeMap<String, String>,
}

/// What is said of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub shown: String,
    pub objects: Vec<ObjectName>,
    /// Why there is one for each architecture.
    pub why: Option<String>,
    pub note: Option<&'static str>,
}

/// Brings together what was compiled. `why` are the differences that are known from earlier.
pub fn settle(parts: &[Part], why: &BTreeMap<String, String>) -> Result<Settled> {
    let mut settled = Settled::default();
    for parts in parts.chunk_by(|one, next| one.unit == next.unit) {
        let Part { unit, shown, .. } = &parts[0];
        let mut line = Line { shown: shown.clone(), objects: Vec::new(), why: None, note: None };
        let (mut is_new, mut warnings) = (false, Vec::new());
        let mut failed: Vec<Failure> = Vec::new();
        for part in parts {
            let mut ready: Vec<(&'static BpfTarget, Ready)> = Vec::new();
            let mut fails_for = None;
            for piece in &part.pieces {
                match piece {
                    Piece::Kept(target, kept, file) => {
                        ready.push((target, Ready { kept: *kept, from: Bytes::File(file.clone()) }));
                    }
                    Piece::Made(slot) => {
                        for Compiled { target, object, warnings: said, .. } in slot.get()? {
                            let is_shipped = !part.compared.contains(target);
                            is_new |= is_shipped;
                            warnings.extend(is_shipped.then_some(said.as_str()));
                            match object {
                                None => {}
                                Some(Err(_)) if !is_shipped => fails_for = Some(*target),
                                Some(Ok(object)) => {
                                    line.note = line.note.or(note(object));
                                    ready.push((target, Ready::new(object)));
                                }
                                Some(Err(words)) => add(&mut failed, shown, target, words),
                            }
                        }
                    }
                }
            }
            let is_one = |all: &[(&BpfTarget, Ready)]| all.iter().all(|(_, it)| it.kept.sha256 == all[0].1.kept.sha256);
            if part.whole && failed.is_empty() && fails_for.is_none() && is_one(&ready) {
                ready.truncate(1);
                ready.iter_mut().for_each(|(target, _)| *target = part.all);
            }
            if line.why.is_none() {
                let refused = |target: &BpfTarget| format!("it does not compile for {}", target.shown());
                line.why = difference(&ready).or_else(|| fails_for.map(refused));
            }
            ready.retain(|(target, _)| !part.compared.contains(target));
            for (target, ready) in ready {
                let name = ObjectName { stem: unit.stem.clone(), target };
                settled.objects.insert(name.to_string(), ready);
                line.objects.push(name);
            }
        }
        let said = crate::bpf::failures::warnings(warnings.into_iter());
        if failed.is_empty() && !said.is_empty() {
            settled.warnings.push(match unit.rust {
                Some(_) => said,
                None => format!("clang on {shown}:\n{said}"),
            });
        }
        settled.failures.extend(failed);
        let known = why.get(&unit.stem).filter(|_| line.objects.iter().any(|name| name.target.arch_word.is_some()));
        line.why = line.why.or_else(|| known.cloned());
        settled.why.extend(line.why.iter().map(|why| (unit.stem.clone(), why.clone())));
        match is_new {
            true => settled.compiled.push(line),
            false => settled.unchanged += 1,
        }
    }
    Ok(settled)
}

/// Failures with the same words are one.
fn add(failed: &mut Vec<Failure>, source: &str, target: &'static BpfTarget, words: &str) {
    match failed.iter_mut().find(|failure| failure.words == words) {
        Some(failure) => failure.targets.push(target),
        None => failed.push(Failure { source: source.into(), targets: vec![target], words: words.into() }),
    }
}

fn note(object: &Object) -> Option<&'static str> {
    (!object.has_license).then_some("it has no license, so helpers that are GPL-only are refused")
}

/// In what the objects of two architectures differ, if both were made just now.
fn difference(ready: &[(&'static BpfTarget, Ready)]) -> Option<String> {
    let made = |(target, ready): &(&'static BpfTarget, Ready)| match &ready.from {
        Bytes::Made(object) => Some((*target, Arc::clone(object))),
        Bytes::File(_) => None,
    };
    let made: Vec<_> = ready.iter().filter_map(made).collect();
    let (first, object) = made.first()?;
    let (other, differing) = made.iter().find(|(_, it)| it.bytes != object.bytes)?;
    let what = compare::place(&object.bytes, &differing.bytes);
    Some(format!("{what} differs between {} and {}", first.shown(), other.shown()))
}

impl Ready {
    fn new(object: &Arc<Object>) -> Ready {
        Ready { kept: Kept::new(object), from: Bytes::Made(Arc::clone(object)) }
    }
}

/// The names of a source's objects, those of one byte order together: `tick_{x86,arm64}_bpfel.o`.
pub fn short(names: &[ObjectName]) -> String {
    let mut shown = Vec::new();
    for all in &TARGETS[..2] {
        let names: Vec<&ObjectName> = names.iter().filter(|name| name.target.endian == all.endian).collect();
        let words: Vec<&str> = names.iter().filter_map(|name| name.target.arch_word).collect();
        match (names.as_slice(), words.as_slice()) {
            ([], _) => {}
            ([only], _) => shown.push(only.to_string()),
            ([first, ..], words) => shown.push(format!("{}_{{{}}}_{all}.o", first.stem, words.join(","))),
        }
    }
    shown.join(", ")
}
