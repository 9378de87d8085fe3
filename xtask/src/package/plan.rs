//! Which packages are made of a release, and how.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::arch::ARCHES;
use crate::package::contents;
use crate::package::format::{FORMATS, Format, package_name};
use crate::package::run::WriteFiles;
use crate::package::spec::{self, Package};
use crate::release::artifacts::Opened;
use crate::release::beside::{Open, Publish, Shelf};
use crate::release::manifest::Manifest;
use crate::release::pack::Entry;
use crate::sys::command::Command;
use crate::sys::plan::Task;
use crate::sys::steps::{Remove, Run, Write};
use crate::toolchain::nfpm;
use crate::ui::error::bad_request;
use crate::workspace::config::Config;
use crate::workspace::packaging::is_maintainer;
use crate::workspace::products::Archive;

/// What is asked for: everything, where nothing is named.
#[derive(Debug)]
pub struct Request<'a> {
    pub config: &'a Config,
    pub manifest: &'a Manifest,
    pub formats: &'a [Format],
    /// The artifacts, with what is in them.
    pub archives: &'a [Opened<'a>],
}

/// Decides which packages are made, and says which are not, and why.
pub fn packages(request: &Request) -> Result<(Vec<Package>, Vec<String>)> {
    let Request { config, manifest, formats, archives } = request;
    let mut names: Vec<String> = config.archives.iter().map(|archive| package_name(&archive.name)).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        bad_request!("two archives would both be the package {}: give one of them another name (`archive`)", pair[0]);
    }
    let mut packages: Vec<Package> = Vec::new();
    let mut left_out = Vec::new();
    for row in FORMATS.iter().filter(|row| formats.is_empty() || formats.contains(&row.format)) {
        let mut nameless = Vec::new();
        // In the order of the table: of two that share a name, the first runs wherever the other does.
        let mut archives: Vec<_> = archives.iter().collect();
        archives.sort_by_key(|(artifact, _)| ARCHES.iter().position(|arch| arch == artifact.arch));
        for (artifact, files) in archives {
            let Some(archive) = config.archives.iter().find(|archive| archive.name == artifact.archive) else {
                continue;
            };
            let Some(arch) = row.arch_of(artifact.arch) else {
                nameless.push(artifact.arch.name);
                continue;
            };
            let name = package_name(&archive.name);
            let same = |made: &&Package| made.row.format == row.format && made.name == name && made.arch == arch;
            if let Some(made) = packages.iter().find(same) {
                left_out.push(format!(
                    "no {} of {} for {}: {arch} is its name and that of {}, whose package runs on both",
                    row.name, archive.name, artifact.arch, made.target
                ));
                continue;
            }
            packages.push(Package {
                row,
                archive: archive.name.clone(),
                target: artifact.arch,
                arch,
                version: archive.version.clone(),
                about: archive.about.clone(),
                license: archive.about.license.clone().unwrap_or_else(|| format!("LicenseRef-{name}")),
                maintainer: maintainer(config, archive)?,
                units: contents::units(archive),
                contents: contents::contents(row, &name, archive, files, config.minimum_kernel.as_deref())?,
                date: manifest.source_date_epoch,
                name,
            });
        }
        nameless.dedup();
        if !nameless.is_empty() {
            left_out.push(format!("no {} for {}: no system that uses it runs there", row.name, nameless.join(", ")));
        }
    }
    if let Some(Package { archive, .. }) = packages.iter().find(|package| package.about.description.is_empty()) {
        bad_request!("a package says what it is: set `description` in the Cargo.toml of what is shipped as {archive}");
    }
    Ok((packages, left_out))
}

/// Who maintains the package of an archive.
pub fn maintainer(config: &Config, archive: &Archive) -> Result<String> {
    let author = archive.about.authors.iter().find(|author| is_maintainer(author));
    match config.packaging.maintainer.as_ref().or(author) {
        Some(maintainer) => Ok(maintainer.clone()),
        None => bad_request!(
            "a package says who maintains it: set `maintainer` in [workspace.metadata.bpfship.packages] of Cargo.toml to \
             NAME <ADDRESS>"
        ),
    }
}

/// How packages are made, by the packager in this folder.
pub fn tasks(shelf: &Shelf, packager: &Path, packages: &[Package]) -> Vec<Task> {
    let mut tasks = vec![Task::new("making a folder to write to first", vec![Box::new(Open(shelf.clone()))])];
    let files: Vec<String> = packages.iter().map(Package::file).collect();
    for package in packages {
        let file = package.file();
        // Beside what will be moved to its place.
        let work = shelf.partial().join(format!("{file}.work"));
        let (tree, scripts, settings) = (work.join("tree"), work.join("scripts"), work.join("nfpm.json"));
        let entries =
            package.contents.iter().map(|(place, file)| (place[1..].to_owned(), file.entry.clone())).collect();
        let units = package.units.join(" ");
        let texts = package.row.scripts.iter().map(|(key, text)| {
            let bytes = text.replace("@UNITS@", &units).into_bytes();
            ((*key).to_owned(), Entry { bytes, executable: true })
        });
        let command = Command::new(packager.join(nfpm::PROGRAM), &shelf.partial())
            .only(BTreeMap::new())
            .env(spec::DOLLAR.0, spec::DOLLAR.1)
            .args(["package", "--packager", package.row.packager, "--config"])
            .arg(settings.to_string_lossy())
            .arg("--target")
            .arg(shelf.partial().join(&file).to_string_lossy());
        let spec = spec::spec(package, &tree, &scripts);
        let title = format!("packing {file}");
        tasks.push(
            Task::new(
                title,
                vec![
                    Box::new(WriteFiles { folder: tree, files: entries }),
                    Box::new(WriteFiles { folder: scripts, files: texts.collect() }),
                    Box::new(Write { file: settings, text: format!("{spec:#}\n") }),
                    Box::new(Run(command)),
                    Box::new(Remove { folder: work }),
                ],
            )
            .live(file)
            .beside("packages")
            .failure("nothing was written to dist/packages/, because this failed"),
        );
    }
    tasks.push(Task::new("publishing to dist/packages/", vec![Box::new(Publish { shelf: shelf.clone(), files })]));
    tasks.push(shelf.clean());
    tasks
}
