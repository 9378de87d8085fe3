//! What earlier runs compiled, and from what: what need not be compiled again.

use std::collections::BTreeMap;

use bpfship_object::Object;
use serde::{Deserialize, Serialize};

use crate::bpf::target::BpfTarget;
use crate::bpf::units::Unit;
use crate::sys::hash::{self, Sha256};

/// The records, and for sources with one object for each architecture the difference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    records: BTreeMap<String, Record>,
    pub why: BTreeMap<String, String>,
}

/// What came of one source for one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of the compiler, its flags and the names of all headers.
    pub key: Sha256,
    /// The files that clang read, but those of the compiler, and a hash of what was in them.
    pub reads: Vec<String>,
    pub contents: Sha256,
    /// None if the object depends on the architecture, so that this one is of no use.
    pub object: Option<Kept>,
}

/// An object that was made and need not be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub sha256: Sha256,
    /// Bytes.
    pub size: usize,
    pub programs: usize,
}

impl Kept {
    pub fn new(object: &Object) -> Kept {
        Kept { sha256: hash::bytes(&object.bytes), size: object.bytes.len(), programs: object.programs.len() }
    }
}

impl Records {
    /// The record of a source for a target, if nothing has changed since. `staged` are all files that clang may see.
    pub fn valid(
        &self,
        unit: &Unit,
        target: &BpfTarget,
        key: &Sha256,
        staged: &BTreeMap<String, Sha256>,
    ) -> Option<&Record> {
        let record = self.records.get(&name(unit, target))?;
        let is_same = record.key == *key && contents(&record.reads, staged)? == record.contents;
        is_same.then_some(record)
    }

    pub fn insert(&mut self, unit: &Unit, target: &BpfTarget, record: Record) {
        self.records.insert(name(unit, target), record);
    }

    /// The objects that they are of.
    pub fn objects(&self) -> impl Iterator<Item = &Sha256> {
        self.records.values().filter_map(|record| Some(&record.object.as_ref()?.sha256))
    }

    /// Forgets the units that are not these.
    pub fn keep(&mut self, units: &[Unit]) {
        let is_one = |stem: &str| units.iter().any(|unit| unit.stem == stem);
        self.records.retain(|name, _| name.split(' ').next().is_some_and(is_one));
        self.why.retain(|stem, _| is_one(stem));
    }
}

fn name(unit: &Unit, target: &BpfTarget) -> String {
    format!("{} {target}", unit.stem)
}

/// A hash of what is in these files; none if one of them is not there.
pub fn contents(reads: &[String], staged: &BTreeMap<String, Sha256>) -> Option<Sha256> {
    let mut text = String::new();
    for read in reads {
        text += &format!("{read} {}\n", staged.get(read)?);
    }
    Some(hash::bytes(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::target::TARGETS;
    use crate::workspace::config::Bpf;

    #[test]
    fn a_record_is_of_use_until_a_file_that_was_read_changes_or_goes() {
        let unit = Unit { source: "a.bpf.c".into(), stem: "a".into(), ..Unit::plain(&Bpf::default()) };
        let (key, other) = (hash::bytes(b"key"), hash::bytes(b"other"));
        let mut staged = BTreeMap::from([("k/a.bpf.c".to_owned(), hash::bytes(b"1")), ("k/b.h".into(), other)]);
        let reads = vec!["k/a.bpf.c".to_owned()];
        let contents = contents(&reads, &staged).unwrap();
        let mut records = Records::default();
        records.insert(&unit, &TARGETS[0], Record { key, reads, contents, object: None });
        assert!(records.valid(&unit, &TARGETS[0], &key, &staged).is_some());
        assert!(records.valid(&unit, &TARGETS[1], &key, &staged).is_none());
        assert!(records.valid(&unit, &TARGETS[0], &other, &staged).is_none());
        staged.insert("k/b.h".into(), hash::bytes(b"2"));
        assert!(records.valid(&unit, &TARGETS[0], &key, &staged).is_some());
        staged.insert("k/a.bpf.c".into(), hash::bytes(b"2"));
        assert!(records.valid(&unit, &TARGETS[0], &key, &staged).is_none());
        staged.remove("k/a.bpf.c");
        assert!(records.valid(&unit, &TARGETS[0], &key, &staged).is_none());
        records.keep(&[]);
        assert_eq!(records, Records::default());
    }
}
