//! `release.json` and the checksum files: what describes the artifacts. A pure function of commit and toolchain.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::arch::{ARCHES, Arch, Endian};
use crate::bpf::target::ObjectName;
use crate::release::layout;
use crate::route::Route;
use crate::sys::hash::{self, Sha256};
use crate::ui::screen;

/// What [`Manifest::schema`] is now.
pub const SCHEMA: u32 = 3;

/// How many bytes it may have, and a list of checksums.
pub const MAX_TEXT: u64 = 1 << 20;

/// The manifest. In the file, keys are sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`]. Every reader of the manifest must refuse a number that it does not know.
    pub schema: u32,
    /// What is shipped, in the order of the configuration: each has an archive for each architecture.
    pub archives: Vec<Archive>,
    /// None outside git.
    pub commit: Option<String>,
    /// Whether the work tree differed from the commit.
    pub dirty: bool,
    /// The date of the files in the archives: seconds since 1970.
    pub source_date_epoch: u64,
    /// SHA-256 of Cargo.lock.
    pub cargo_lock: Sha256,
    /// SHA-256 of the workspace's Cargo.toml, which has the profile.
    pub cargo_toml: Sha256,
    /// SHA-256 of bpf.lock; none where build scripts compile the BPF objects, or there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bpf_lock: Option<Sha256>,
    pub rustc: Rustc,
    /// What the BPF objects, and C runtimes of standard libraries from source, are compiled with.
    pub c_compiler: String,
    /// Further arguments and variables of cargo and rustc.
    pub flags: Vec<String>,
    /// How the archives are compressed.
    pub compressor: String,
    /// The BPF objects in the binaries, by name.
    pub bpf_objects: Vec<BpfObject>,
    /// By file name.
    pub artifacts: Vec<Artifact>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Archive {
    pub name: String,
    pub version: String,
    pub products: Vec<Product>,
}

/// A package, and what of it is shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Product {
    pub package: String,
    /// The first is what is booted.
    pub bins: Vec<String>,
    /// Those arguments of cargo that choose its features.
    pub features: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rustc {
    pub version: String,
    pub commit: String,
    pub llvm: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BpfObject {
    pub file: ObjectName,
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256,
}

/// One archive and the binaries in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    pub file: String,
    /// [`Archive::name`].
    pub archive: String,
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256,
    /// Of what the archive is before it is compressed.
    pub tar_sha256: Sha256,
    pub arch: &'static Arch,
    pub triple: String,
    pub endianness: Endian,
    /// Where its standard library comes from.
    #[serde(rename = "std")]
    pub route: Route,
    /// If from source, the name in the cache: target, and a hash of all that goes into it.
    pub sysroot: Option<String>,
    /// The container image whose compiler compiled its C code; none if that was the pinned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The oldest kernel it runs on, as `MAJOR.MINOR`.
    pub minimum_kernel: String,
    /// At least one, in the order of the configuration.
    pub binaries: Vec<Binary>,
    /// What lists all that is in it.
    pub sbom: Sbom,
}

/// A CycloneDX document beside an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sbom {
    pub file: String,
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Binary {
    pub file: String,
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256,
    /// Those of [`Manifest::bpf_objects`] that it holds.
    pub bpf_objects: Vec<ObjectName>,
}

impl Archive {
    /// For tests: of the package `tool`, whose binary is `probe`.
    #[doc(hidden)]
    pub fn example(version: &str) -> Archive {
        let product = Product { package: "tool".into(), bins: vec!["probe".into()], features: Vec::new() };
        Archive { name: "tool".into(), version: version.into(), products: vec![product] }
    }
}

impl Artifact {
    /// For tests: the archive `tool` for an architecture.
    #[doc(hidden)]
    pub fn example(version: &str, arch: &'static Arch, archive: &[u8]) -> Artifact {
        Artifact {
            file: layout::file("tool", version, arch),
            archive: "tool".into(),
            size: archive.len() as u64,
            sha256: hash::bytes(archive),
            tar_sha256: hash::bytes(b"tar"),
            arch,
            triple: arch.triple.into(),
            endianness: arch.endian,
            route: arch.route,
            sysroot: None,
            image: None,
            minimum_kernel: "5.10".into(),
            binaries: vec![Binary {
                file: "probe".into(),
                size: 5,
                sha256: hash::bytes(b"probe"),
                bpf_objects: Vec::new(),
            }],
            sbom: Sbom { file: layout::sbom("tool", version, arch), size: 4, sha256: hash::bytes(b"sbom") },
        }
    }

    /// The bytes of all binaries.
    pub fn unpacked_size(&self) -> u64 {
        self.binaries.iter().map(|binary| binary.size).sum()
    }
}

impl Manifest {
    /// Reads a manifest. Refuses everything that no run of this tool would have written there.
    pub fn parse(text: &str) -> Result<Manifest> {
        // It may be anybody's, and its words are in the error.
        Manifest::read(text).map_err(|error| anyhow!("{}", screen::plain(&error.to_string())))
    }

    fn read(text: &str) -> Result<Manifest> {
        /// What another schema means by its words is not known, so its number is read first.
        #[derive(Deserialize)]
        struct Numbered {
            schema: u32,
        }
        let strange = |error: &dyn fmt::Display| anyhow!("not a manifest that this version understands: {error}");
        let Numbered { schema } = serde_json::from_str(text).map_err(|error| strange(&error))?;
        if schema != SCHEMA {
            bail!("its schema is {schema}, and this tool knows {SCHEMA}");
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let manifest: Manifest = serde_path_to_error::deserialize(&mut json).map_err(|error| strange(&error))?;
        match manifest.faults().as_slice() {
            [] => Ok(manifest),
            faults => bail!("{}", faults.join("; ")),
        }
    }

    pub fn to_json(&self) -> Result<String> {
        // By way of a value, whose keys are sorted.
        let value = serde_json::to_value(self).context("cannot write the manifest")?;
        Ok(format!("{value:#}\n"))
    }

    /// The archive that has a binary, and what there is of it for each architecture.
    pub fn with_binary<'a>(&'a self, name: &'a str) -> Option<(&'a Archive, Vec<(&'a Artifact, &'a Binary)>)> {
        let archive = self
            .archives
            .iter()
            .find(|it| it.products.iter().any(|product| product.bins.iter().any(|bin| bin == name)))?;
        let of =
            |artifact: &'a Artifact| Some((artifact, artifact.binaries.iter().find(|binary| binary.file == name)?));
        Some((archive, self.artifacts.iter().filter(|it| it.archive == archive.name).filter_map(of).collect()))
    }

    /// The archives that it names.
    pub fn files(&self) -> impl Iterator<Item = String> {
        self.artifacts.iter().map(|artifact| artifact.file.clone())
    }

    /// All archives that this release may have, whether it has them or not, by their names.
    pub fn possible(&self) -> impl Iterator<Item = (String, &Archive, &'static Arch)> {
        let of = |archive| ARCHES.iter().map(move |arch| (Manifest::file(archive, arch), archive, arch));
        self.archives.iter().flat_map(of)
    }

    fn file(archive: &Archive, arch: &Arch) -> String {
        layout::file(&archive.name, &archive.version, arch)
    }

    /// Of each archive, name and version.
    pub fn describe(&self) -> String {
        let words = self.archives.iter().map(|archive| format!("{} {}", archive.name, archive.version));
        words.collect::<Vec<_>>().join(", ")
    }

    /// What its types do not ensure: that it agrees with itself.
    fn faults(&self) -> Vec<String> {
        let Manifest { archives, bpf_objects, artifacts, .. } = self;
        let mut faults = Vec::new();
        for Artifact { file, archive: name, arch, triple, endianness, binaries, sbom, .. } in artifacts {
            let archive = archives.iter().find(|archive| archive.name == *name);
            let expected = archive.map(|archive| Manifest::file(archive, arch));
            if (triple.as_str(), *endianness, Some(file)) != (arch.triple, arch.endian, expected.as_ref()) {
                let endian = endianness.name();
                let version = archive.map_or("", |archive| &archive.version);
                faults.push(format!(
                    "it names {file}, which is not {name} {version} for {arch} ({triple}, {endian}-endian)"
                ));
            }
            let names = [file, &sbom.file].into_iter().chain(binaries.iter().map(|binary| &binary.file));
            if let Some(name) = names.into_iter().find(|name| !is_file_name(name)) {
                faults.push(format!("it names {name}, which is no name of a file"));
            }
            let sbom_expected = archive.map(|archive| layout::sbom(&archive.name, &archive.version, arch));
            if sbom_expected.is_some_and(|expected| expected != sbom.file) {
                faults.push(format!("it names {}, which is not that of {file}", sbom.file));
            }
            let bins = archive.iter().flat_map(|archive| &archive.products).flat_map(|product| &product.bins);
            if !bins.eq(binaries.iter().map(|binary| &binary.file)) || binaries.is_empty() {
                faults.push(format!("the binaries of {file} are not those of its products"));
            }
            for binary in binaries {
                let is_described = |held: &&ObjectName| bpf_objects.iter().any(|object| object.file == **held);
                if let Some(held) = binary.bpf_objects.iter().find(|held| !is_described(held)) {
                    faults.push(format!("it has {} hold {held}, which it does not describe", binary.file));
                }
            }
        }
        let objects: Vec<String> = bpf_objects.iter().map(|object| object.file.to_string()).collect();
        if !artifacts.is_sorted_by(|a, b| a.file < b.file) || !objects.is_sorted_by(|a, b| a < b) {
            faults.push("its files are not sorted, or one is named twice".into());
        }
        faults
    }

    /// The same without what one run may have made and another not.
    pub fn origin(&self) -> Manifest {
        Manifest { artifacts: Vec::new(), ..self.clone() }
    }

    /// Takes over the artifacts of an earlier run that this one did not make again, where they are from the same commit
    /// and toolchain and `is_there` confirms that they still are what that run made.
    pub fn adopt(&mut self, earlier: Manifest, is_there: impl Fn(&Artifact) -> bool) {
        if earlier.origin() != self.origin() {
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
const EXPLAINING_KEYS: [&str; 6] = ["schema", "archives", "name", "version", "commit", "sha256"];

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
            keys.sort_by_key(|key| {
                (EXPLAINING_KEYS.iter().position(|explaining| explaining == key).unwrap_or(EXPLAINING_KEYS.len()), *key)
            });
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

/// The BPF objects that are for an architecture, by their names without their targets.
pub fn objects_of<'a>(objects: &'a [BpfObject], arch: &Arch) -> BTreeMap<String, &'a BpfObject> {
    let those = objects.iter().filter(|object| object.file.target.is_for(arch));
    those.map(|object| (object.file.stem.clone(), object)).collect()
}

/// One line of a checksum file, as `sha256sum -c` takes it.
pub fn checksum_line(sha256: &Sha256, file: &str) -> String {
    format!("{sha256}  {file}\n")
}

/// The hashes in a checksum file, by file name.
pub fn checksums(text: &str) -> Result<BTreeMap<String, Sha256>> {
    let mut checksums = BTreeMap::new();
    for (index, line) in text.split_terminator('\n').enumerate() {
        let parts = line.split_once("  ").filter(|(_, file)| is_file_name(file));
        let Some((file, sha256)) = parts.and_then(|(sha256, file)| Some((file, sha256.parse().ok()?))) else {
            bail!("its line {} is not a SHA-256, two spaces and the name of a file", index + 1);
        };
        if checksums.insert(file.to_owned(), sha256).is_some() {
            bail!("it names {file} twice");
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
pub mod tests {
    use super::*;

    /// The description of an archive; `made` stands for its bytes.
    fn artifact(arch: &str, made: &str) -> Artifact {
        Artifact::example("1.0.0", Arch::named(arch), made.as_bytes())
    }

    fn object(file: &str) -> BpfObject {
        BpfObject { file: file.parse().unwrap(), size: 1, sha256: hash::bytes(b"1") }
    }

    pub fn manifest(commit: &str, artifacts: Vec<Artifact>) -> Manifest {
        let rustc = Rustc { version: "1.0.0".into(), commit: "c".into(), llvm: "1".into() };
        Manifest {
            schema: SCHEMA,
            archives: vec![Archive::example("1.0.0")],
            commit: Some(commit.into()),
            dirty: false,
            source_date_epoch: 1,
            cargo_lock: hash::bytes(b"4"),
            bpf_lock: Some(hash::bytes(b"5")),
            rustc,
            c_compiler: "zig".into(),
            compressor: "deflate".into(),
            cargo_toml: hash::bytes(b"2b"),
            flags: vec!["-Cx".into()],
            bpf_objects: Vec::new(),
            artifacts,
        }
    }

    fn arches(manifest: &Manifest) -> Vec<&str> {
        manifest.artifacts.iter().map(|artifact| artifact.arch.name).collect()
    }

    #[test]
    fn artifacts_of_the_same_commit_are_taken_over() {
        let mut new = manifest("c", vec![artifact("mips", "new")]);
        new.adopt(
            manifest("c", vec![artifact("arm64", "old"), artifact("mips", "old"), artifact("amd64", "old")]),
            |artifact| artifact.arch.name != "amd64",
        );
        assert_eq!(arches(&new), ["arm64", "mips"]);
        assert_eq!(new.artifacts[1].sha256, hash::bytes(b"new"));
    }

    #[test]
    fn artifacts_of_another_commit_are_not() {
        let mut new = manifest("c", vec![artifact("mips", "new")]);
        new.adopt(manifest("d", vec![artifact("arm64", "old")]), |_| true);
        assert_eq!(arches(&new), ["mips"]);
    }

    #[test]
    fn the_keys_of_the_file_are_sorted_and_it_can_be_read_again() {
        let manifest = manifest("c", vec![artifact("arm64", "1")]);
        let json = manifest.to_json().unwrap();
        let keys: Vec<&str> = json.lines().filter_map(|line| line.strip_prefix("  \"")?.split('"').next()).collect();
        assert!(keys.is_sorted() && keys.len() == 14, "{keys:?}");
        assert_eq!(Manifest::parse(&json).unwrap(), manifest);
        assert!(Manifest::parse("{}").is_err());
    }

    #[test]
    fn of_all_differences_the_most_explanatory_is_reported() {
        let one = manifest("c", Vec::new());
        assert_eq!(difference(&one, &one).unwrap(), None);
        let difference_after = |change: fn(&mut Manifest)| {
            let mut other = one.clone();
            change(&mut other);
            let (key, one, other) = difference(&one, &other).unwrap().unwrap();
            format!("{key}: {one}, {other}")
        };
        let commit = difference_after(|other| {
            other.bpf_lock = Some(hash::bytes(b"6"));
            other.commit = None;
        });
        assert_eq!(commit, r#"commit: "c", null"#);
        assert_eq!(difference_after(|other| other.rustc.llvm = "2".into()), r#"rustc.llvm: "1", "2""#);
        let object = object("o_bpfel.o");
        let objects = [object.clone(), BpfObject { size: 2, ..object }].map(|object| vec![object]);
        let inside = difference(&objects[0], &objects[1]).unwrap().unwrap();
        assert_eq!(inside, ("[0].size".into(), "1".into(), "2".into()));
    }

    #[test]
    fn what_no_run_would_have_written_is_refused() {
        let mut good = manifest("c", vec![artifact("arm64", "1"), artifact("amd64", "1")]);
        good.bpf_objects = vec![object("tick_bpfeb.o")];
        let good = serde_json::to_value(good).unwrap();
        Manifest::parse(&good.to_string()).unwrap();

        let swapped = Value::Array(good["artifacts"].as_array().unwrap().iter().rev().cloned().collect());
        let cases: [(&str, Value, &str); 15] = [
            ("/schema", 1.into(), "its schema is 1, and this tool knows 3"),
            (
                "/artifacts/0/arch",
                "amd64".into(),
                "which is not tool 1.0.0 for amd64 (aarch64-unknown-linux-musl, little",
            ),
            ("/artifacts/0/arch", "aarch64".into(), "artifacts[0].arch: unknown architecture `aarch64`"),
            ("/artifacts/0/endianness", "big".into(), "for arm64 (aarch64-unknown-linux-musl, big-endian)"),
            ("/artifacts/0/archive", "other".into(), "which is not other  for arm64"),
            ("/artifacts/1/binaries/0/file", "probf".into(), "the binaries of tool-1.0.0-x86_64"),
            ("/artifacts/0/std", "cross".into(), "artifacts[0].std: unknown variant `cross`"),
            ("/artifacts/0/size", (-1).into(), "artifacts[0].size: invalid value"),
            ("/archives/0/version", "1.0.1".into(), "which is not tool 1.0.1 for amd64"),
            ("/bpf_lock", "3".into(), "bpf_lock: `3` is no SHA-256"),
            ("/bpf_objects/0/file", "tick.o".into(), "bpf_objects[0].file: `tick.o` is no name of a BPF object"),
            ("/artifacts", swapped, "not sorted"),
            ("/artifacts/1/binaries/0/file", "../x".into(), "it names ../x, which is no name of a file"),
            ("/rustc", serde_json::json!({ "commit": "c", "more": 1 }), "rustc.more: unknown field `more`"),
            ("/artifacts", serde_json::json!([{ "more": 1 }]), "artifacts[0].more: unknown field `more`"),
        ];
        for (pointer, value, fault) in cases {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            let error = Manifest::parse(&bad.to_string()).unwrap_err().to_string();
            assert!(error.contains(fault) && !error.contains('\n'), "{fault}: {error}");
        }
        let text = good.to_string();
        for (more, fault) in [(r#""more":1,"#, "unknown field `more`"), (r#""dirty":true,"#, "duplicate field `dirty`")]
        {
            let error = Manifest::parse(&text.replacen('{', &format!("{{{more}"), 1)).unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
        }
    }

    #[test]
    fn objects_are_distinguished_by_their_targets() {
        let objects = [object("tick_bpfeb.o"), object("tick_bpfel.o"), object("tock_bpfel.o")];
        let names = |arch| objects_of(&objects, Arch::named(arch)).into_keys().collect::<Vec<_>>();
        assert_eq!((names("mips"), names("arm64")), (vec!["tick".into()], vec!["tick".into(), "tock".into()]));
    }

    #[test]
    fn a_checksum_line_is_what_sha256sum_writes() {
        let hash = hash::bytes(b"hello");
        assert_eq!(checksum_line(&hash, "tool.tar.gz"), format!("{hash}  tool.tar.gz\n"));
    }
}
