//! `release.json` and the checksum files: what is said about the artifacts. A pure function of commit and toolchain.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::arch::{ARCHES, Arch, Endian};
use crate::sys::hash;

/// What [`Manifest::schema`] is now.
pub const SCHEMA: u32 = 1;

/// The manifest. In the file, keys are sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`]. Whoever reads the manifest must refuse a number it does not know.
    pub schema: u32,
    #[serde(flatten)]
    pub origin: Origin,
    /// The BPF objects in the binaries, by name.
    pub bpf_objects: Vec<BpfObject>,
    /// By file name.
    pub artifacts: Vec<Artifact>,
}

/// What all artifacts of a manifest have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub name: String,
    pub version: String,
    /// None outside git.
    pub commit: Option<String>,
    /// Whether the work tree differed from the commit.
    pub dirty: bool,
    /// The date of the files in the archives: seconds since 1970.
    pub source_date_epoch: u64,
    /// SHA-256 of Cargo.lock.
    pub cargo_lock: String,
    /// SHA-256 of the workspace's Cargo.toml, which has the profile.
    pub cargo_toml: String,
    /// SHA-256 of bpf.lock.
    pub bpf_lock: String,
    pub rustc: Rustc,
    /// What the BPF objects, and C runtimes of standard libraries from source, are compiled with.
    pub c_compiler: String,
    /// What cargo and rustc are told besides.
    pub flags: Vec<String>,
    /// How the archives are compressed.
    pub compressor: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rustc {
    pub version: String,
    pub commit: String,
    pub llvm: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BpfObject {
    pub file: String,
    pub size: usize,
    pub sha256: String,
}

/// One archive and the binary in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub file: String,
    /// Bytes.
    pub size: usize,
    pub sha256: String,
    /// Of what the archive is before it is compressed.
    pub tar_sha256: String,
    pub arch: String,
    pub triple: String,
    /// `little` or `big`.
    pub endianness: String,
    /// `prebuilt` (rustup's) or `source`.
    pub std: String,
    /// If from source, the name in the cache: target, and a hash of all that goes into it.
    pub sysroot: Option<String>,
    /// The oldest kernel it runs on, as `MAJOR.MINOR`.
    pub minimum_kernel: String,
    pub binary: Binary,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binary {
    pub file: String,
    /// Bytes.
    pub size: usize,
    pub sha256: String,
}

impl Origin {
    /// What the archive for an architecture is called.
    pub fn archive(&self, arch: &Arch) -> String {
        format!("{}-{}-{}.tar.gz", self.name, self.version, arch.triple)
    }
}

impl Manifest {
    pub fn parse(text: &str) -> Result<Manifest> {
        serde_json::from_str(text).context("not a manifest that this version understands")
    }

    pub fn to_json(&self) -> Result<String> {
        // By way of a value, whose keys are sorted.
        let value = serde_json::to_value(self).context("cannot write the manifest")?;
        Ok(format!("{value:#}\n"))
    }

    /// The archives that it names.
    pub fn files(&self) -> impl Iterator<Item = String> {
        self.artifacts.iter().map(|artifact| artifact.file.clone())
    }

    /// What is in a manifest that no run of this tool would have written there.
    pub fn faults(&self) -> Vec<String> {
        let Manifest { schema, origin, bpf_objects, artifacts } = self;
        if *schema != SCHEMA {
            return vec![format!("its schema is {schema}, and this tool knows {SCHEMA}: use the tool that wrote it")];
        }
        let mut faults = Vec::new();
        let mut hashes = vec![
            ("cargo_lock", &origin.cargo_lock),
            ("cargo_toml", &origin.cargo_toml),
            ("bpf_lock", &origin.bpf_lock),
        ];
        for object in bpf_objects {
            let endian =
                Endian::ALL.into_iter().find(|endian| object.file.ends_with(&format!("_{}.o", endian.bpf_target())));
            if endian.is_none() {
                faults.push(format!("it names {}, which is no BPF object of either byte order", object.file));
            }
            hashes.push((&object.file, &object.sha256));
        }
        for artifact in artifacts {
            let is_of = |arch: &Arch| {
                let words = [arch.triple, arch.name, arch.endian.name()];
                words == [&artifact.triple, &artifact.arch, &artifact.endianness]
                    && origin.archive(arch) == artifact.file
            };
            if !ARCHES.iter().any(is_of) {
                faults.push(format!(
                    "it names {}, which is not {} {} for {} ({}, {}-endian)",
                    artifact.file, origin.name, origin.version, artifact.arch, artifact.triple, artifact.endianness
                ));
            }
            hashes.push((&artifact.file, &artifact.sha256));
            hashes.push((&artifact.file, &artifact.tar_sha256));
            hashes.push((&artifact.file, &artifact.binary.sha256));
        }
        for (of, hash) in hashes {
            if !hash::is_one(hash) {
                faults.push(format!("`{hash}`, which it says of {of}, is no SHA-256"));
            }
        }
        if !artifacts.is_sorted_by(|a, b| a.file < b.file) || !bpf_objects.is_sorted_by(|a, b| a.file < b.file) {
            faults.push("its files are not sorted, or one is named twice".into());
        }
        faults
    }

    /// Takes over the artifacts of an earlier run that this one did not make again, where they are from the same commit
    /// and toolchain and `is_there` says that they still are what that run made.
    pub fn adopt(&mut self, earlier: Manifest, is_there: impl Fn(&Artifact) -> bool) {
        if earlier.schema != self.schema || earlier.origin != self.origin || earlier.bpf_objects != self.bpf_objects {
            return;
        }
        for artifact in earlier.artifacts {
            let anew = self.artifacts.iter().any(|present| present.file == artifact.file);
            if !anew && is_there(&artifact) {
                self.artifacts.push(artifact);
            }
        }
        self.artifacts.sort_by(|a, b| a.file.cmp(&b.file));
    }
}

/// Keys that explain why others differ, and so are looked at first.
const TELLING: [&str; 5] = ["schema", "name", "version", "commit", "sha256"];

/// The first key in which two descriptions differ, and both values, as JSON.
pub fn difference<T: Serialize>(one: &T, other: &T) -> Result<Option<(String, String, String)>> {
    let value = |described| serde_json::to_value(described).context("cannot write the manifest");
    let (one, other) = (value(one)?, value(other)?);
    let found = first_difference(String::new(), &one, &other);
    Ok(found.map(|(key, one, other)| (key, one.to_string(), other.to_string())))
}

/// `path` is the key of the two values: `rustc.version`, `bpf_objects[0].sha256`.
fn first_difference<'a>(path: String, one: &'a Value, other: &'a Value) -> Option<(String, &'a Value, &'a Value)> {
    let within = match (one, other) {
        _ if one == other => return None,
        (Value::Object(one), Value::Object(other)) => {
            let dot = if path.is_empty() { "" } else { "." };
            let mut keys: Vec<_> = one.keys().chain(other.keys()).collect();
            keys.sort_by_key(|key| (TELLING.iter().position(|telling| telling == key).unwrap_or(TELLING.len()), *key));
            let value = |object: &'a serde_json::Map<String, Value>, key: &str| object.get(key).unwrap_or(&Value::Null);
            keys.into_iter()
                .find_map(|key| first_difference(format!("{path}{dot}{key}"), value(one, key), value(other, key)))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.into_iter().find_map(|(index, (one, other))| first_difference(format!("{path}[{index}]"), one, other))
        }
        _ => None,
    };
    within.or(Some((path, one, other)))
}

/// The BPF objects of one byte order, by their names without it.
pub fn objects_of(objects: &[BpfObject], endian: Endian) -> BTreeMap<String, &BpfObject> {
    let suffix = format!("_{}.o", endian.bpf_target());
    objects.iter().filter_map(|object| Some((object.file.strip_suffix(&suffix)?.to_owned(), object))).collect()
}

/// One line of a checksum file, as `sha256sum -c` takes it.
pub fn checksum_line(sha256: &str, file: &str) -> String {
    format!("{sha256}  {file}\n")
}

/// The hashes in a checksum file, by file name.
pub fn checksums(text: &str) -> Result<BTreeMap<String, String>> {
    let mut checksums = BTreeMap::new();
    for (index, line) in text.split_terminator('\n').enumerate() {
        match line.split_once("  ") {
            Some((sha256, file)) if hash::is_one(sha256) && is_file_name(file) => {
                if checksums.insert(file.to_owned(), sha256.to_owned()).is_some() {
                    bail!("it names {file} twice");
                }
            }
            _ => bail!("its line {} is not a SHA-256, two spaces and the name of a file", index + 1),
        }
    }
    if checksums.is_empty() {
        bail!("there is no checksum in it");
    }
    Ok(checksums)
}

/// Whether it is the name of a file in this very folder.
pub fn is_file_name(name: &str) -> bool {
    let is_special = matches!(name, "" | "." | "..");
    !is_special && name.len() <= 255 && !name.contains(|char: char| char == '/' || char.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(arch: &str, sha256: &str) -> Artifact {
        Artifact {
            file: format!("tool-1.0.0-{arch}.tar.gz"),
            size: 1000,
            sha256: sha256.into(),
            tar_sha256: "2".into(),
            arch: arch.into(),
            triple: arch.into(),
            endianness: "little".into(),
            std: "prebuilt".into(),
            sysroot: None,
            minimum_kernel: "5.10".into(),
            binary: Binary { file: "tool".into(), size: 900, sha256: "3".into() },
        }
    }

    fn manifest(commit: &str, artifacts: Vec<Artifact>) -> Manifest {
        let rustc = Rustc { version: "1.0.0".into(), commit: "c".into(), llvm: "1".into() };
        Manifest {
            schema: 1,
            origin: Origin {
                name: "tool".into(),
                version: "1.0.0".into(),
                commit: Some(commit.into()),
                dirty: false,
                source_date_epoch: 1,
                cargo_lock: "4".into(),
                bpf_lock: "5".into(),
                rustc,
                c_compiler: "zig".into(),
                compressor: "deflate".into(),
                cargo_toml: "2b".into(),
                flags: vec!["-Cx".into()],
            },
            bpf_objects: Vec::new(),
            artifacts,
        }
    }

    fn arches(manifest: &Manifest) -> Vec<&str> {
        manifest.artifacts.iter().map(|artifact| artifact.arch.as_str()).collect()
    }

    #[test]
    fn artifacts_of_the_same_commit_are_taken_over() {
        let mut new = manifest("c", vec![artifact("b", "new")]);
        new.adopt(
            manifest("c", vec![artifact("a", "old"), artifact("b", "old"), artifact("gone", "old")]),
            |artifact| artifact.arch != "gone",
        );
        assert_eq!(arches(&new), ["a", "b"]);
        assert_eq!(new.artifacts[1].sha256, "new");
    }

    #[test]
    fn artifacts_of_another_commit_are_not() {
        let mut new = manifest("c", vec![artifact("b", "new")]);
        new.adopt(manifest("d", vec![artifact("a", "old")]), |_| true);
        assert_eq!(arches(&new), ["b"]);
    }

    #[test]
    fn the_keys_of_the_file_are_sorted_and_it_can_be_read_again() {
        let manifest = manifest("c", vec![artifact("a", "1")]);
        let json = manifest.to_json().unwrap();
        let keys: Vec<&str> = json.lines().filter_map(|line| line.strip_prefix("  \"")?.split('"').next()).collect();
        assert!(keys.is_sorted() && keys.len() == 15, "{keys:?}");
        assert_eq!(Manifest::parse(&json).unwrap(), manifest);
        assert!(Manifest::parse("{}").is_err());
    }

    #[test]
    fn of_what_differs_that_is_told_which_explains_the_rest() {
        let one = manifest("c", Vec::new());
        assert_eq!(difference(&one, &one).unwrap(), None);
        let told = |change: fn(&mut Manifest)| {
            let mut other = one.clone();
            change(&mut other);
            let (key, one, other) = difference(&one, &other).unwrap().unwrap();
            format!("{key}: {one}, {other}")
        };
        let commit = told(|other| {
            other.origin.bpf_lock = "6".into();
            other.origin.commit = None;
        });
        assert_eq!(commit, r#"commit: "c", null"#);
        assert_eq!(told(|other| other.origin.rustc.llvm = "2".into()), r#"rustc.llvm: "1", "2""#);
        let object = BpfObject { file: "o".into(), size: 1, sha256: "7".into() };
        let objects = [object.clone(), BpfObject { size: 2, ..object }].map(|object| vec![object]);
        let inside = difference(&objects[0], &objects[1]).unwrap().unwrap();
        assert_eq!(inside, ("[0].size".into(), "1".into(), "2".into()));
    }

    #[test]
    fn what_no_run_would_have_written_is_seen() {
        let hash = "0".repeat(64);
        let mut good = manifest("c", Vec::new());
        (good.origin.cargo_lock, good.origin.cargo_toml) = (hash.clone(), hash.clone());
        good.origin.bpf_lock = hash.clone();
        good.bpf_objects = vec![BpfObject { file: "tick_bpfeb.o".into(), size: 1, sha256: hash.clone() }];
        for arch in [&ARCHES[1], &ARCHES[0]] {
            good.artifacts.push(Artifact {
                file: good.origin.archive(arch),
                triple: arch.triple.into(),
                endianness: arch.endian.name().into(),
                tar_sha256: hash.clone(),
                binary: Binary { file: "tool".into(), size: 1, sha256: hash.clone() },
                ..artifact(arch.name, &hash)
            });
        }
        assert!(good.faults().is_empty(), "{:?}", good.faults());

        type Spoil = fn(&mut Manifest);
        let cases: [(&str, Spoil); 6] = [
            ("its schema is 2", |manifest| manifest.schema = 2),
            ("which is not tool 1.0.0 for amd64 (aarch64", |manifest| manifest.artifacts[0].arch = "amd64".into()),
            ("which is not tool 1.0.1 for amd64", |manifest| manifest.origin.version = "1.0.1".into()),
            ("`3`, which it says of bpf_lock", |manifest| manifest.origin.bpf_lock = "3".into()),
            ("no BPF object of either byte order", |manifest| manifest.bpf_objects[0].file = "tick.o".into()),
            ("not sorted", |manifest| manifest.artifacts.reverse()),
        ];
        for (fault, spoil) in cases {
            let mut bad = good.clone();
            spoil(&mut bad);
            assert!(bad.faults().iter().any(|found| found.contains(fault)), "{fault}: {:?}", bad.faults());
        }
    }

    #[test]
    fn objects_are_told_apart_by_their_byte_order() {
        let object = |file: &str| BpfObject { file: file.into(), size: 1, sha256: "1".into() };
        let objects = [object("tick_bpfeb.o"), object("tick_bpfel.o"), object("tock_bpfel.o")];
        let names = |endian| objects_of(&objects, endian).into_keys().collect::<Vec<_>>();
        assert_eq!(
            (names(Endian::Big), names(Endian::Little)),
            (vec!["tick".into()], vec!["tick".into(), "tock".into()])
        );
    }

    #[test]
    fn a_checksum_line_is_what_sha256sum_writes() {
        assert_eq!(checksum_line("12ab", "tool.tar.gz"), "12ab  tool.tar.gz\n");
    }
}
