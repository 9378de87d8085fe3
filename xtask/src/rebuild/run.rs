//! The steps of a rebuild.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::release::layout::MANIFEST;
use crate::release::manifest::{self, Artifact, Manifest};
use crate::release::pack::Entry;
use crate::release::{compare, unpack};
use crate::sys::command::{Command, quote};
use crate::sys::plan::{Step, Work};
use crate::sys::{files, hash, process};
use crate::ui::screen::plain;

/// Makes a folder that no other user may enter, and that is not there yet.
#[derive(Debug)]
pub struct MakePrivateFolder {
    pub folder: PathBuf,
}

impl Step for MakePrivateFolder {
    fn line(&self) -> String {
        format!("mkdir -m 700 {}", quote(&self.folder))
    }

    fn json(&self) -> Value {
        json!({ "make-private-folder": { "folder": self.folder } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let made = DirBuilder::new().mode(0o700).create(&self.folder);
        made.with_context(|| format!("cannot create {}", self.folder.display()))
    }
}

/// Runs this tool on the commit.
#[derive(Debug)]
pub struct BuildAgain {
    pub build: Command,
}

impl Step for BuildAgain {
    fn line(&self) -> String {
        self.build.to_string()
    }

    fn json(&self) -> Value {
        json!({ "build-again": { "command": self.build } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let mut printed = String::new();
        let status = work.runner.lines(&self.build, |line| {
            // It begins with the time.
            work.show(line.split_once(" bpfship: ").map_or(line, |(_, words)| words));
            printed.push_str(line);
            printed.push('\n');
        })?;
        match status.success() {
            true => Ok(()),
            false => Err(process::failed(&self.build, status, printed)),
        }
    }
}

/// Compares an archive with the one that was built again.
#[derive(Debug)]
pub struct CompareArchive {
    /// Where the archive is.
    pub folder: PathBuf,
    pub artifact: Artifact,
    pub again: PathBuf,
    /// Whether it prints a line if they are the same.
    pub prints: bool,
}

impl Step for CompareArchive {
    fn line(&self) -> String {
        format!("cmp {} {}", quote(&self.folder.join(&self.artifact.file)), quote(&self.again))
    }

    fn json(&self) -> Value {
        json!({ "compare-archive": { "archive": self.folder.join(&self.artifact.file), "again": self.again } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let Artifact { file, sha256, .. } = &self.artifact;
        let found = files::read_unchanged(&self.folder.join(file), sha256)?;
        if hash::file(&self.again)? == *sha256 {
            let sbom = &self.artifact.sbom;
            if hash::file(&self.again.with_file_name(&sbom.file))? != sbom.sha256 {
                bail!("{}: it lists other things, or is written otherwise", sbom.file);
            }
            if self.prints {
                work.runner.println(format!("{file}  {sha256:.12}  ok  built again"));
            }
            return Ok(());
        }
        let stem = file.strip_suffix(".tar.gz").unwrap_or(file);
        let unpack = |bytes: &[u8]| unpack::archive(bytes, stem).files;
        let differences = differences(&unpack(&found), &unpack(&files::read(&self.again)?));
        bail!("{}", differences.join("; "))
    }
}

/// Compares what is said of a release with what is said of the one that was built again.
#[derive(Debug)]
pub struct CompareManifest {
    /// Where the release is.
    pub folder: PathBuf,
    pub manifest: Manifest,
    pub again: PathBuf,
}

impl Step for CompareManifest {
    fn line(&self) -> String {
        format!("cmp {} {}", quote(&self.folder.join(MANIFEST)), quote(&self.again))
    }

    fn json(&self) -> Value {
        json!({ "compare-manifest": { "manifest": self.folder.join(MANIFEST), "again": self.again } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let again = Manifest::parse(&String::from_utf8_lossy(&files::read(&self.again)?))?;
        match manifest::difference(&self.manifest, &again)? {
            Some((key, found, again)) => {
                bail!("{MANIFEST} has {key} {}, and {} is expected", plain(&found), plain(&again))
            }
            None => Ok(()),
        }
    }
}

/// What differs in the files of an archive, `found`, from those that were built again.
fn differences(found: &BTreeMap<String, Entry>, again: &BTreeMap<String, Entry>) -> Vec<String> {
    let mut sentences = Vec::new();
    for (name, wanted) in again {
        match found.get(name) {
            None => sentences.push(format!("`{name}` is missing")),
            Some(found) if found == wanted => {}
            Some(found) => {
                let parts = compare::differences(&found.bytes, &wanted.bytes);
                sentences.extend(parts.into_iter().map(|parts| format!("`{name}`: {parts}")));
                sentences.push(format!(
                    "`{name}`: around the first difference, it has `{}` where `{}` is expected",
                    around(&found.bytes, &wanted.bytes),
                    around(&wanted.bytes, &found.bytes)
                ));
            }
        }
    }
    let extra = found.keys().filter(|name| !again.contains_key(*name));
    sentences.extend(extra.map(|name| format!("`{name}` is unexpected")));
    if sentences.is_empty() {
        sentences.push("its files are the same, their date, order or compression is not".into());
    }
    sentences
}

/// The text around the first byte in which `bytes` differs from `others`.
fn around(bytes: &[u8], others: &[u8]) -> String {
    const SHOWN: usize = 40;
    let at = bytes.iter().zip(others).take_while(|(a, b)| a == b).count();
    let is_text = |byte: &&u8| matches!(byte, b' '..=b'~');
    let before = bytes[..at].iter().rev().take(SHOWN).take_while(is_text).count();
    let after = bytes[at..].iter().take(SHOWN).take_while(is_text).count();
    String::from_utf8_lossy(&bytes[at - before..at + after]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, Entry> {
        let entry = |text: &str| Entry { bytes: text.into(), executable: false };
        files.iter().map(|(name, text)| ((*name).into(), entry(text))).collect()
    }

    #[test]
    fn what_differs_is_reported_with_the_text_around_it() {
        let again = files(&[("a", "\0built in /home/ann\0"), ("b", "same")]);
        assert_eq!(differences(&again, &again), ["its files are the same, their date, order or compression is not"]);
        let parts = differences(&files(&[("a", "\0built in /home/bob\0"), ("c", "")]), &again);
        assert!(parts[1].ends_with("it has `built in /home/bob` where `built in /home/ann` is expected"), "{parts:?}");
        assert_eq!(parts[2..], ["`b` is missing", "`c` is unexpected"]);
    }
}
