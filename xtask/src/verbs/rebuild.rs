//! `verify --rebuild`: builds the commit that a manifest names once more, apart from all that is here, and compares.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::arch::ARCHES;
use crate::release::compare;
use crate::release::manifest::{Artifact, Manifest};
use crate::release::pack::Entry;
use crate::release::unpack;
use crate::sys::command::Command;
use crate::sys::process;
use crate::sys::process::Runner;
use crate::sys::{files, hash};
use crate::toolchain;
use crate::workspace::machine::Machine;
use crate::workspace::needs::Need;

/// What a rebuild needs. Its cache is empty at first.
pub fn needs(machine: &Machine) -> Vec<Need> {
    let mut machine = machine.clone();
    machine.installed.cached.clear();
    let mut needs = machine.workspace();
    needs.push(Need::new("git", machine.commit.clone()));
    let builds = machine.builds(&machine.arches(), toolchain::Needs::default());
    needs.extend(builds.into_iter().filter(|need| need.name != "cache"));
    needs
}

/// A folder for one rebuild: checkout, target folder and cache. Goes away with this value.
pub struct Rebuild {
    folder: PathBuf,
}

impl Rebuild {
    /// Builds all that the manifest names, from the repository at `root`, which is only read.
    pub fn run(runner: Runner, root: &Path, offline: bool, manifest: &Manifest) -> Result<Rebuild> {
        let origin = &manifest.origin;
        let Some(commit) = &origin.commit else {
            bail!("the manifest names no commit to build again: it was made outside git");
        };
        if origin.dirty {
            bail!("the manifest says that the work tree had changes: what was built then is in no commit");
        }
        let folder = env::temp_dir().join(format!("bpfship-rebuild-{}", std::process::id()));
        files::remove_folder(&folder)?;
        files::create_folder(&folder)?;
        let rebuild = Rebuild { folder };
        let checkout = rebuild.checkout();
        let line = runner.line("rebuild");

        line.set("checking out");
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let clone = ["clone", "--quiet", "--no-hardlinks", "--no-checkout"];
        let clone = Command::new("git", &rebuild.folder).args(clone).arg(text(root)).arg(text(&checkout));
        runner.run(&clone).with_context(|| format!("cannot clone {}", root.display()))?;
        let switch = ["-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", commit];
        runner.run(&Command::new("git", &checkout).args(switch)).with_context(|| {
            format!("cannot check out {commit}, which the manifest names: fetch it into this repository")
        })?;

        let tool = env::current_exe().context("cannot find this program itself")?;
        for (std, arches) in routes(&manifest.artifacts)? {
            let mut build = Command::new(&tool, &checkout)
                .env("CARGO_TARGET_DIR", text(&rebuild.folder.join("target")))
                .env("BPFSHIP_CACHE", text(&rebuild.folder.join("cache")))
                .env("SOURCE_DATE_EPOCH", origin.source_date_epoch.to_string())
                .args(["dist", "--locked", "--arch", &arches.join(","), "--std", std])
                .args(["--manifest-path", &text(&checkout.join("Cargo.toml"))]);
            build.args.extend(offline.then(|| "--offline".to_owned()));
            let mut said = String::new();
            let status = runner.lines(&build, |words| {
                // It begins with the time.
                line.set(words.split_once(" bpfship: ").map_or(words, |(_, words)| words));
                said.push_str(words);
                said.push('\n');
            })?;
            if !status.success() {
                return Err(process::failed(&build, status, said))
                    .with_context(|| format!("cannot build {commit} again"));
            }
        }
        Ok(rebuild)
    }

    fn checkout(&self) -> PathBuf {
        self.folder.join("checkout")
    }

    /// How an archive in `folder` differs from the one that was built again, in sentences; not at all, if there are none.
    pub fn differences(&self, folder: &Path, artifact: &Artifact) -> Result<Vec<String>> {
        let again = self.checkout().join("dist").join(&artifact.file);
        if hash::file(&again)? == artifact.sha256 {
            return Ok(Vec::new());
        }
        let stem = artifact.file.strip_suffix(".tar.gz").unwrap_or(&artifact.file);
        let unpack = |path: &Path| anyhow::Ok(unpack::archive(&*files::read(path)?, stem).files);
        Ok(differences(&unpack(&folder.join(&artifact.file))?, &unpack(&again)?))
    }
}

impl Drop for Rebuild {
    fn drop(&mut self) {
        let _ = files::remove_folder(&self.folder);
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
                let told = compare::differences(&found.bytes, &wanted.bytes);
                sentences.extend(told.into_iter().map(|told| format!("`{name}`: {told}")));
                sentences.push(format!(
                    "`{name}`: around the first difference, it says `{}` where `{}` is wanted",
                    around(&found.bytes, &wanted.bytes),
                    around(&wanted.bytes, &found.bytes)
                ));
            }
        }
    }
    let extra = found.keys().filter(|name| !again.contains_key(*name));
    sentences.extend(extra.map(|name| format!("`{name}` is there, where there shall be none")));
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

/// The architectures to build on each kind of standard library.
fn routes(artifacts: &[Artifact]) -> Result<BTreeMap<&str, Vec<&'static str>>> {
    let mut routes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for artifact in artifacts {
        let arch = ARCHES.iter().find(|arch| arch.triple == artifact.triple);
        let arch =
            arch.with_context(|| format!("the manifest names {}, which this tool does not know", artifact.triple))?;
        routes.entry(&artifact.std).or_default().push(arch.name);
    }
    Ok(routes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, Entry> {
        let entry = |text: &str| Entry { bytes: text.into(), executable: false };
        files.iter().map(|(name, text)| ((*name).into(), entry(text))).collect()
    }

    #[test]
    fn what_differs_is_told_with_the_text_around_it() {
        let again = files(&[("a", "\0built in /home/ann\0"), ("b", "same")]);
        assert_eq!(differences(&again, &again), ["its files are the same, their date, order or compression is not"]);
        let told = differences(&files(&[("a", "\0built in /home/bob\0"), ("c", "")]), &again);
        assert!(told[1].ends_with("it says `built in /home/bob` where `built in /home/ann` is wanted"), "{told:?}");
        assert_eq!(told[2..], ["`b` is missing", "`c` is there, where there shall be none"]);
    }
}
