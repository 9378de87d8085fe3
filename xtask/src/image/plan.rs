//! Which images are made of a release, and how.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::arch::ARCHES;
use crate::image::layout::{self, Image, Layout};
use crate::image::run::WriteImage;
use crate::package::contents;
use crate::package::format::package_name;
use crate::package::spec;
use crate::release::artifacts::Opened;
use crate::release::beside::{Open, Publish, Shelf};
use crate::release::manifest::Manifest;
use crate::release::pack::Entry;
use crate::sys::plan::Task;
use crate::workspace::config::Config;
use crate::workspace::products::Archive;

/// What becomes of an image.
#[derive(Debug)]
pub struct Made {
    pub file: String,
    pub image: Image,
    pub layout: Layout,
}

/// Decides which images there are: one for each archive, with all architectures.
pub fn images(config: &Config, manifest: &Manifest, archives: &[Opened]) -> Result<Vec<Made>> {
    let mut made = Vec::new();
    for archive in &config.archives {
        let mut platforms: Vec<_> = archives
            .iter()
            .filter(|(artifact, _)| artifact.archive == archive.name)
            .map(|(artifact, files)| (artifact.arch, rootfs(archive, files)))
            .collect();
        platforms.sort_by_key(|(arch, _)| ARCHES.iter().position(|row| row == *arch));
        let Some(bin) = archive.bins().next().filter(|_| !platforms.is_empty()) else { continue };
        let date = manifest.source_date_epoch;
        let created = spec::date(date);
        let image = Image {
            name: package_name(&archive.name),
            version: archive.version.clone(),
            entrypoint: format!("/usr/bin/{bin}"),
            user: config.packaging.user,
            labels: labels(archive, manifest, &created),
            date,
            created,
            platforms,
        };
        let file = format!("{}-{}.oci.tar", archive.name, archive.version);
        made.push(Made { file, layout: layout::layout(&image)?, image });
    }
    Ok(made)
}

/// What is in an image: the binaries, and the licences of all that is in them.
fn rootfs(archive: &Archive, files: &BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    let place = |path: &str| match () {
        () if archive.bins().any(|bin| bin == path) => Some(format!("usr/bin/{path}")),
        () if contents::is_license(path) => Some(format!("usr/share/licenses/{}/{path}", archive.name)),
        () => None,
    };
    files.iter().filter_map(|(path, entry)| Some((place(path)?, entry.clone()))).collect()
}

fn labels(archive: &Archive, manifest: &Manifest, created: &str) -> BTreeMap<&'static str, String> {
    let about = &archive.about;
    // What is not committed is of no revision.
    let revision = if manifest.dirty { None } else { manifest.commit.clone() };
    let description = Some(about.description.clone()).filter(|text| !text.is_empty());
    [
        ("org.opencontainers.image.title", Some(archive.name.clone())),
        ("org.opencontainers.image.version", Some(archive.version.clone())),
        ("org.opencontainers.image.created", Some(created.to_owned())),
        ("org.opencontainers.image.description", description),
        ("org.opencontainers.image.licenses", about.license.clone()),
        ("org.opencontainers.image.source", about.repository.clone()),
        ("org.opencontainers.image.url", about.homepage.clone()),
        ("org.opencontainers.image.revision", revision),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

/// How images are written.
pub fn tasks(shelf: &Shelf, made: &[Made]) -> Vec<Task> {
    let mut tasks = vec![Task::new("making a folder to write to first", vec![Box::new(Open(shelf.clone()))])];
    for Made { file, image, layout, .. } in made {
        let step = WriteImage {
            file: shelf.partial().join(file),
            digest: layout.digest,
            platforms: image.platforms.iter().map(|(arch, _)| arch.name).collect(),
            date: image.date,
            files: layout.files.clone(),
        };
        tasks.push(Task::new(format!("writing {file}"), vec![Box::new(step)]));
    }
    let files = made.iter().map(|made| made.file.clone()).collect();
    tasks.push(Task::new("publishing to dist/images/", vec![Box::new(Publish { shelf: shelf.clone(), files })]));
    tasks.push(shelf.clean());
    tasks
}
