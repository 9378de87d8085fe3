//! Writes an image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use crate::release::pack::{self, Entry};
use crate::sys::files;
use crate::sys::hash::Sha256;
use crate::sys::plan::{Step, Work};

/// Writes an image layout into one file.
#[derive(Debug)]
pub struct WriteImage {
    pub file: PathBuf,
    pub digest: Sha256,
    pub platforms: Vec<&'static str>,
    pub date: u64,
    pub files: BTreeMap<String, Entry>,
}

impl Step for WriteImage {
    fn line(&self) -> String {
        let (file, platforms) = (self.file.display(), self.platforms.join(", "));
        format!("# write the image sha256:{} for {platforms} to {file}, as a tar archive of an OCI layout", self.digest)
    }

    fn json(&self) -> Value {
        let blobs: Vec<&String> = self.files.keys().collect();
        json!({ "write-image": {
            "file": self.file, "digest": format!("sha256:{}", self.digest), "platforms": self.platforms, "files": blobs,
        } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        files::write(&self.file, pack::tar_of_root(&self.files, self.date)?)
    }
}
