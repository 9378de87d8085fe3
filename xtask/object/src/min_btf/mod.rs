//! The part of a kernel's types that objects need, so that a program carries it for kernels that have no BTF.
//!
//! What bpftool's `gen min_core_btf` makes, but in one order, so that kernels which differ elsewhere only have the same bytes.

mod find;
mod write;

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context, Result};

use crate::Endian;
use crate::btf::Btf;
use crate::canonical;
use crate::co_re::Question;

/// What an object asks of the kernel's types: its CO-RE relocations.
#[derive(Debug)]
pub struct Asked<'data> {
    btf: Option<Btf<'data>>,
    questions: Vec<Question<'data>>,
}

/// The part of a kernel's types that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// As a kernel would have it in `/sys/kernel/btf/vmlinux`.
    pub btf: Vec<u8>,
    /// What this kernel does not have, although it is not asked whether it does: `struct task_struct.pid`.
    pub missing: BTreeSet<String>,
}

impl<'data> Asked<'data> {
    pub fn of(object: &'data [u8]) -> Result<Asked<'data>> {
        let elf = canonical::parse(object)?;
        let section = |name: &str| elf.sections.iter().find(|section| section.name == name);
        let (Some(types), Some(records)) = (section(".BTF"), section(".BTF.ext")) else {
            return Ok(Asked { btf: None, questions: Vec::new() });
        };
        let btf = Btf::parse(types.data, elf.endian)?;
        let mut questions = Vec::new();
        let mut known = BTreeSet::new();
        for relocation in btf.relocations(records.data, elf.endian)? {
            if !known.insert((relocation.kind, relocation.type_id, relocation.access)) {
                continue;
            }
            let question = Question::read(&btf, &relocation)
                .with_context(|| format!("the relocation at byte {} of a section", relocation.offset))?;
            // What is asked of the object itself, no kernel need answer.
            if question.kind != "local_type_id" {
                questions.push(question);
            }
        }
        Ok(Asked { btf: Some(btf), questions })
    }

    /// Everything that the answers depend on, a sentence each: objects with the same sentences get the same part of a kernel.
    pub fn sentences(&self) -> Result<BTreeSet<String>> {
        let Some(btf) = &self.btf else { return Ok(BTreeSet::new()) };
        let sentence = |question: &Question| {
            let types = find::types_in_words(btf, question)?;
            Ok(format!("{} {}: {types}", question.kind, question.text(btf)?))
        };
        self.questions.iter().map(sentence).collect()
    }

    /// The questions and what each is about. Of what is asked whether it is there, it is no fault if it is not.
    fn named(&self) -> Result<Vec<(&Question<'data>, String)>> {
        let Some(btf) = &self.btf else { return Ok(Vec::new()) };
        self.questions.iter().map(|question| Ok((question, question.text(btf)?))).collect()
    }
}

/// Finds what objects ask for among a kernel's types. All of them have to be for one architecture.
pub fn part(kernel: &Btf, endian: Endian, asked: &[Asked]) -> Result<Part> {
    let mut names: HashMap<&[u8], Vec<u32>> = HashMap::new();
    for Asked { btf, questions } in asked {
        for root in questions.iter().filter_map(|question| btf.as_ref()?.get(question.root)) {
            names.entry(find::without_flavor(root.name())).or_default();
        }
    }
    for (id, found) in (1..).zip(&kernel.types) {
        if let Some(ids) = names.get_mut(find::without_flavor(found.name())) {
            ids.push(id);
        }
    }
    let mut kept = write::Kept::new();
    let mut roots: BTreeSet<u32> = BTreeSet::new();
    let mut missing = BTreeSet::new();
    for objects in asked {
        let Some(btf) = &objects.btf else { continue };
        let named = objects.named()?;
        let guards: Vec<&String> =
            named.iter().filter(|(question, _)| question.kind.ends_with("_exists")).map(|(_, text)| text).collect();
        let is_part = |text: &str, of: &str| {
            text.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        for (question, text) in &named {
            let root = btf.get(question.root).context("a relocation is about void")?;
            let candidates = names.get(find::without_flavor(root.name())).map(Vec::as_slice).unwrap_or_default();
            let search = find::Search { local: btf, kernel };
            let mut found = false;
            for candidate in candidates.iter().filter(|_| !root.name().is_empty()) {
                if let Some(path) = search.find(question, *candidate)? {
                    found = true;
                    roots.insert(*candidate);
                    for (id, member) in path {
                        kept.entry(id).or_default().extend(member);
                    }
                }
            }
            // One with a flavor is one of several that there may be.
            let is_guarded = question.kind == "type_matches"
                || find::without_flavor(root.name()) != root.name()
                || guards.iter().any(|guard| is_part(text, guard));
            if !found && !is_guarded {
                missing.insert(text.clone());
            }
        }
    }
    Ok(Part { btf: write::write(kernel, endian, &kept, &roots), missing })
}
