//! `cargo xtask merge`: joins what runs elsewhere left in their `dist/` into this one, as if one run had built it all.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use anyhow::{Result, bail};

use crate::flags::{self, Common};
use crate::release::layout::MANIFEST;
use crate::release::manifest::{self, Artifact, Manifest};
use crate::release::{describe, plan, staging};
use crate::sys::process::Runner;
use crate::sys::{self, files, hash};
use crate::ui::error::bad_request;
use crate::ui::screen;
use crate::workspace::facts::{self, Workspace};

/// What one run left: a folder with a manifest and the archives that it names.
struct Part<'a> {
    folder: &'a Path,
    manifest: Manifest,
}

/// An archive that matches the manifest of its part.
struct Archive<'a> {
    part: &'a Part<'a>,
    artifact: &'a Artifact,
}

/// Runs the verb. All of the folders are read and checked before anything is written.
pub fn run(runner: Runner, common: &Common, request: &flags::Merge) -> Result<()> {
    let (Workspace { root, dist, manifest, .. }, rust) = Workspace::find(runner, common)?;
    // dist/ may be one of the folders. Neither it nor the configuration may change after it was read.
    let _lock = if request.show.plan { None } else { Some(facts::lock(runner, &root)?) };

    let config = Workspace::read(runner, &manifest, &rust, common.offline)?.config;
    let parts = request.folders.iter().map(|folder| Part::read(folder)).collect::<Result<Vec<_>>>()?;
    for part in &parts {
        describe::check_release(part.folder, &part.manifest, &config)?;
        check_origins(&parts[0], part)?;
    }
    let archives = read_archives(runner, &parts)?;

    let mut manifest = parts[0].manifest.clone();
    // By file name, as a run sorts them.
    manifest.artifacts = archives.values().map(|archive| archive.artifact.clone()).collect();
    let made: Vec<String> =
        manifest.possible().map(|(file, _, _)| file).filter(|file| archives.contains_key(file)).collect();
    let earlier = staging::earlier(&dist);
    staging::adopt(&mut manifest, earlier.clone(), &dist);
    staging::check(&dist, &manifest.files().collect::<Vec<_>>())?;

    let files = archives.values().map(|archive| (archive.part.folder.to_owned(), archive.artifact.clone())).collect();
    let tasks = plan::merge(&dist, &config.packaging.install, files, manifest.clone());
    if request.show.plan {
        return sys::plan::print(&tasks, request.show.json);
    }
    sys::plan::run(runner, &tasks)?;
    if request.show.json {
        return screen::print_result(staging::Made::new(&dist, &made, &BTreeMap::new(), &manifest));
    }
    staging::report(runner, &dist, &made, None, &manifest, earlier.as_ref());
    Ok(())
}

impl Part<'_> {
    fn read(folder: &Path) -> Result<Part<'_>> {
        let shown = folder.display();
        if !folder.exists() {
            bad_request!("{shown} is not there");
        }
        if !folder.is_dir() {
            bad_request!("{shown} is not a folder: a folder with a {MANIFEST} is expected");
        }
        let path = folder.join(MANIFEST);
        let Some(text) = files::read_if_there(&path)? else {
            if files::list(folder)?.iter().any(|name| folder.join(name).join(MANIFEST).is_file()) {
                bad_request!("{shown} contains no {MANIFEST}, but folders in it do: name those");
            }
            bad_request!("{shown} contains no {MANIFEST}: name what `cargo xtask dist` wrote");
        };
        let manifest = match Manifest::parse(&text) {
            Ok(manifest) => manifest,
            Err(error) => bail!("cannot use {}: {error}: build that part again", path.display()),
        };
        Ok(Part { folder, manifest })
    }

    /// Refuses an archive that does not match the manifest.
    fn check_archive(&self, artifact: &Artifact) -> Result<()> {
        let path = self.folder.join(&artifact.file);
        let shown = path.display();
        let bytes = match files::read(&path) {
            Err(error) if error.downcast_ref().map(io::Error::kind) == Some(io::ErrorKind::NotFound) => {
                bail!("{shown} is not there, but the {MANIFEST} beside it names it: copy the whole folder")
            }
            bytes => bytes?,
        };
        let sha256 = hash::bytes(&bytes);
        if sha256 != artifact.sha256 {
            bail!("{shown} has sha256 {sha256}, but the {MANIFEST} beside it has {}: copy it again", artifact.sha256);
        }
        if bytes.len() as u64 != artifact.size {
            bail!(
                "{shown} has {} bytes, but the {MANIFEST} beside it has {}: build that part again",
                bytes.len(),
                artifact.size
            );
        }
        Ok(())
    }
}

/// Refuses parts that one run could not have made.
fn check_origins(one: &Part, other: &Part) -> Result<()> {
    match manifest::difference(&one.manifest.origin(), &other.manifest.origin())? {
        Some((key, value, another)) => bail!(
            "{} and {} are of different origin: `{key}` is {value} in the one and {another} in the other; \
             build both from one commit with one toolchain",
            one.folder.display(),
            other.folder.display()
        ),
        None => Ok(()),
    }
}

/// All archives, by file name. Two parts may hold the same one.
fn read_archives<'a>(runner: Runner, parts: &'a [Part<'a>]) -> Result<BTreeMap<String, Archive<'a>>> {
    let mut archives: BTreeMap<String, Archive> = BTreeMap::new();
    for part in parts {
        for artifact in &part.manifest.artifacts {
            runner.check_interrupted()?;
            part.check_archive(artifact)?;
            let Some(present) = archives.get(&artifact.file) else {
                archives.insert(artifact.file.clone(), Archive { part, artifact });
                continue;
            };
            if let Some((key, value, another)) = manifest::difference(present.artifact, artifact)? {
                bail!(
                    "{} is not the same in {} and {}: `{key}` is {value} in the one and {another} in the other; \
                     leave one of them out",
                    artifact.file,
                    present.part.folder.display(),
                    part.folder.display()
                );
            }
        }
    }
    Ok(archives)
}
