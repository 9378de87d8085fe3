//! What `rebuild` will do, as data.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};

use crate::build::kind::Kind;
use crate::rebuild::run::{BuildAgain, CompareArchive, CompareManifest, MakePrivateFolder};
use crate::release::layout::MANIFEST;
use crate::release::manifest::{Artifact, Manifest};
use crate::route::Route;
use crate::sys::command::Command;
use crate::sys::plan::{Step, Task};
use crate::sys::steps::Remove;
use crate::ui::screen::plain;

/// What a rebuild needs to know.
#[derive(Debug)]
pub struct Request<'a> {
    /// The repository, which is only read.
    pub root: &'a Path,
    /// The Cargo.toml that names the release.
    pub cargo_toml: &'a Path,
    /// The folder with the archives.
    pub release: &'a Path,
    pub manifest: &'a Manifest,
    /// Where everything is done: a folder that is not there yet, and goes away afterwards.
    pub folder: &'a Path,
    /// This tool itself.
    pub tool: &'a Path,
    pub offline: bool,
    /// What compiles binaries, if that is not what the commit itself says.
    pub builder: Option<Kind>,
    /// Whether a line is printed for each archive that came out the same.
    pub prints: bool,
}

/// Decides what a rebuild does.
pub fn plan(request: &Request) -> Result<Vec<Task>> {
    let Request { root, cargo_toml, release, manifest, folder, tool, offline, builder, prints } = request;
    let Some(commit) = &manifest.commit else {
        bail!("the manifest names no commit to build again: it was made outside git");
    };
    if manifest.dirty {
        bail!("the manifest has `dirty`: the work tree had changes, and what was built then is in no commit");
    }
    // A name would be of whatever commit it is now.
    if ![40, 64].contains(&commit.len()) || !commit.chars().all(|char| char.is_ascii_hexdigit()) {
        bail!("the manifest names the commit `{}`: its number is expected, 40 or 64 hexadecimal digits", plain(commit));
    }
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let again = folder.join("dist");
    let folder_task = vec![Box::new(MakePrivateFolder { folder: folder.to_path_buf() }) as Box<dyn Step>];
    let mut tasks = vec![Task::new("making a private folder", folder_task)];
    for (route, arches) in routes(&manifest.artifacts) {
        let mut build = Command::new(*tool, root)
            .env("CARGO_TARGET_DIR", text(&folder.join("target")))
            .env("BPFSHIP_CACHE", text(&folder.join("cache")))
            .env("SOURCE_DATE_EPOCH", manifest.source_date_epoch.to_string())
            .args(["dist", "--locked", "--commit", commit, "--arch", &arches.join(","), "--std", route.name()])
            .args(["--to", &text(&again), "--manifest-path", &text(cargo_toml)]);
        build.args.extend(builder.iter().flat_map(|kind| ["--builder", kind.name()]).map(String::from));
        build.args.extend(offline.then(|| "--offline".to_owned()));
        tasks.push(
            Task::new(format!("building {} again", arches.join(", ")), vec![Box::new(BuildAgain { build })])
                .announced()
                .live("rebuild")
                .failure(format!("cannot build {commit} again")),
        );
    }
    for artifact in &manifest.artifacts {
        let again = again.join(&artifact.file);
        let compare =
            CompareArchive { folder: release.to_path_buf(), artifact: artifact.clone(), again, prints: *prints };
        tasks.push(
            Task::new(format!("comparing {}", artifact.file), vec![Box::new(compare)])
                .named(&artifact.file)
                .beside("archives")
                .failure("built again, the release is another one"),
        );
    }
    let compare =
        CompareManifest { folder: release.to_path_buf(), manifest: (*manifest).clone(), again: again.join(MANIFEST) };
    tasks.push(
        Task::new(format!("comparing {MANIFEST}"), vec![Box::new(compare)])
            .failure("built again, the release is described otherwise"),
    );
    tasks.push(Task::new("removing what was built", vec![Box::new(Remove { folder: folder.to_path_buf() })]).always());
    Ok(tasks)
}

/// The architectures to build on each kind of standard library.
fn routes(artifacts: &[Artifact]) -> BTreeMap<Route, Vec<&'static str>> {
    let mut routes: BTreeMap<Route, Vec<&str>> = BTreeMap::new();
    for artifact in artifacts {
        routes.entry(artifact.route).or_default().push(artifact.arch.name);
    }
    routes
}
