//! `dist-manifest.json` and the checksum files: what is said about the artifacts. A pure function of commit and toolchain.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The manifest. In the file, keys are sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1. Whoever reads the manifest must refuse a number it does not know.
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
    /// SHA-256 of bpf.lock.
    pub bpf_lock: String,
    pub rustc: Rustc,
    /// What the BPF objects, and C runtimes of standard libraries from source, are compiled with.
    pub c_compiler: String,
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

impl Manifest {
    pub fn parse(text: &str) -> Result<Manifest> {
        serde_json::from_str(text).context("not a manifest that this version understands")
    }

    pub fn to_json(&self) -> Result<String> {
        // By way of a value, whose keys are sorted.
        let value = serde_json::to_value(self).context("cannot write the manifest")?;
        Ok(format!("{value:#}\n"))
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

/// One line of a checksum file, as `sha256sum -c` takes it.
pub fn checksum_line(sha256: &str, file: &str) -> String {
    format!("{sha256}  {file}\n")
}
