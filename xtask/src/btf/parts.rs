//! What the workspace's objects need of a kernel's types.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use bpfship_object::btf::Btf;
use bpfship_object::min_btf::{self, Asked, Part};

use crate::arch::Arch;
use crate::bpf::target::ObjectName;
use crate::btf::facts::Types;
use crate::sys::hash::{self, Sha256};

/// Objects, and their names.
#[derive(Debug, Default)]
pub struct Objects(pub Vec<(ObjectName, Vec<u8>)>);

impl Objects {
    /// A hash of all that they ask of kernels: while it stays, what was made of a kernel does for them.
    pub fn relocations(&self) -> Result<Sha256> {
        let mut lines = BTreeSet::new();
        for (name, bytes) in &self.0 {
            let asked = Asked::of(bytes).with_context(|| format!("cannot read the relocations of {name}"))?;
            lines.extend(asked.sentences()?.into_iter().map(|sentence| format!("{} {sentence}\n", name.target)));
        }
        Ok(hash::bytes(String::from_iter(lines).as_bytes()))
    }

    /// What those for an architecture need of a kernel's types.
    pub fn part(&self, types: &Types, arch: &Arch) -> Result<Part> {
        if types.endian != arch.endian {
            bail!("it is {}-endian, and {arch} is {}-endian", types.endian.name(), arch.endian.name());
        }
        let own = self.0.iter().filter(|(name, _)| name.target.is_for(arch));
        let asked = own.map(|(_, bytes)| Asked::of(bytes)).collect::<Result<Vec<_>>>()?;
        min_btf::part(&Btf::parse(&types.data, types.endian)?, types.endian, &asked)
    }
}

/// What was made of a kernel.
#[derive(Debug)]
pub struct Made {
    /// Its path in the folder of all of them.
    pub path: String,
    pub part: Part,
}

/// The files that are written, and what there is to say of them.
#[derive(Debug, Default)]
pub struct Outcome {
    pub files: BTreeMap<String, Vec<u8>>,
    /// What kernels lack, and which ones.
    pub missing: BTreeMap<String, Vec<String>>,
}

/// How many kernels are named where several lack something, and have a line each.
const NAMED: usize = 3;
const LINES: usize = 20;

impl Outcome {
    /// Refuses two kernels of one name, unless they are the same.
    pub fn of(made: Vec<Made>) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        for Made { path, part, .. } in made {
            for missing in part.missing {
                outcome.missing.entry(missing).or_default().push(path.trim_end_matches(".btf").into());
            }
            match outcome.files.get(&path) {
                Some(other) if *other != part.btf => bail!("two kernels are {path}, and their types differ"),
                _ => drop(outcome.files.insert(path, part.btf)),
            }
        }
        Ok(outcome)
    }

    pub fn lines(&self) -> Vec<String> {
        let kernels = |count| if count == 1 { "1 kernel".into() } else { format!("{count} kernels") };
        let parts: BTreeSet<&Vec<u8>> = self.files.values().collect();
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let mut lines = Vec::new();
        if self.files.len() <= LINES {
            lines.extend(self.files.iter().map(|(path, part)| format!("{path}  {} bytes", part.len())));
        }
        lines.push(match parts.len() {
            1 => format!("{}, {bytes} bytes", kernels(self.files.len())),
            _ => format!("{}, of which {} differ: {bytes} bytes in all", kernels(self.files.len()), parts.len()),
        });
        lines.extend(self.missing.iter().map(|(what, of)| {
            let named = of.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let others = if of.len() > NAMED { ", …" } else { "" };
            format!("{} has no {what}: {named}{others}", kernels(of.len())).replace("kernels has", "kernels have")
        }));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bpfship_object::btf::find;

    fn object(name: &str) -> (ObjectName, Vec<u8>) {
        let bytes: &[u8] = match name {
            "program_bpfel.o" => include_bytes!("../../object/tests/min_btf/program_bpfel.o"),
            "not_aya_x86_bpfel.o" => include_bytes!("../../object/tests/min_btf/not_aya_bpfel.o"),
            _ => include_bytes!("../../object/tests/min_btf/program_bpfeb.o"),
        };
        (name.parse().unwrap(), bytes.to_vec())
    }

    fn kernel() -> Types {
        let bytes = include_bytes!("../../object/tests/min_btf/kernel_bpfel.o");
        let (endian, data) = find::find(bytes).unwrap();
        Types { endian, data: data.to_vec(), release: None }
    }

    #[test]
    fn a_kernel_has_what_the_objects_for_its_architecture_ask() {
        let objects = Objects(["program_bpfel.o", "program_bpfeb.o", "not_aya_x86_bpfel.o"].map(object).into());
        let part = |arch| objects.part(&kernel(), Arch::named(arch));
        let (amd64, arm64) = (part("amd64").unwrap().btf, part("arm64").unwrap().btf);
        assert!(amd64.len() > arm64.len());
        let error = part("s390x").unwrap_err().to_string();
        assert_eq!(error, "it is little-endian, and s390x is big-endian");
        let fewer = Objects(objects.0[..2].to_vec());
        assert_eq!(fewer.part(&kernel(), Arch::named("amd64")).unwrap().btf, arm64);
        assert!(fewer.relocations().unwrap() != objects.relocations().unwrap());
    }

    #[test]
    fn what_kernels_lack_is_said_once_with_some_that_lack_it() {
        let made = |release: u32, btf: &[u8], missing: &[&str]| {
            let missing = missing.iter().map(|text| (*text).to_owned()).collect();
            let part = Part { btf: btf.into(), missing };
            Made { path: format!("debian/12/x86_64/{release}.btf"), part }
        };
        let kernels = [made(1, b"one", &["struct a.b"]), made(2, b"one", &[]), made(3, b"other", &["struct a.b"])];
        let outcome = Outcome::of(kernels.into()).unwrap();
        assert_eq!(
            outcome.lines(),
            [
                "debian/12/x86_64/1.btf  3 bytes",
                "debian/12/x86_64/2.btf  3 bytes",
                "debian/12/x86_64/3.btf  5 bytes",
                "3 kernels, of which 2 differ: 8 bytes in all",
                "2 kernels have no struct a.b: debian/12/x86_64/1, debian/12/x86_64/3",
            ]
        );
        let many = Outcome::of((0..30).map(|release| made(release, b"one", &["struct a.b"])).collect()).unwrap();
        assert_eq!(
            many.lines(),
            [
                "30 kernels, 3 bytes",
                "30 kernels have no struct a.b: debian/12/x86_64/0, debian/12/x86_64/1, debian/12/x86_64/2, …"
            ]
        );
        let error = Outcome::of(vec![made(1, b"one", &[]), made(1, b"other", &[])]).unwrap_err();
        assert_eq!(error.to_string(), "two kernels are debian/12/x86_64/1.btf, and their types differ");
    }
}
