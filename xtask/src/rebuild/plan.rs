//! What `rebuild` will do, as data.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};

use crate::rebuild::run::{BuildAgain, CompareArchive, MakePrivateFolder};
use crate::release::manifest::{Artifact, Manifest};
use crate::route::Route;
use crate::sys::command::Command;
use crate::sys::plan::{Steps, Task};
use crate::sys::steps::{Remove, Run};

/// What a rebuild needs to know.
#[derive(Debug)]
pub struct Request<'a> {
    /// The repository, which is only read.
    pub root: &'a Path,
    /// The folder with the archives.
    pub release: &'a Path,
    pub manifest: &'a Manifest,
    /// Where everything is done: a folder that is not there yet, and goes away afterwards.
    pub folder: &'a Path,
    /// This tool itself.
    pub tool: &'a Path,
    pub offline: bool,
}

/// Decides what a rebuild does.
pub fn plan(request: &Request) -> Result<Vec<Task>> {
    let Request { root, release, manifest, folder, tool, offline } = request;
    let Some(commit) = &manifest.commit else {
        bail!("the manifest names no commit to build again: it was made outside git");
    };
    if manifest.dirty {
        bail!("the manifest says that the work tree had changes: what was built then is in no commit");
    }
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let checkout = folder.join("checkout");

    let clone = ["clone", "--quiet", "--no-hardlinks", "--no-checkout"];
    let clone = Command::new("git", folder).args(clone).arg(text(root)).arg(text(&checkout));
    let steps: Steps = vec![Box::new(MakePrivateFolder { folder: folder.to_path_buf() }), Box::new(Run(clone))];
    let mut tasks =
        vec![Task::new("cloning the repository", steps).failure(format!("cannot clone {}", root.display()))];
    let switch = ["-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", commit];
    tasks.push(
        Task::new(format!("checking out {commit}"), vec![Box::new(Run(Command::new("git", &checkout).args(switch)))])
            .live("rebuild")
            .failure(format!("cannot check out {commit}, which the manifest names: fetch it into this repository")),
    );
    for (route, arches) in routes(&manifest.artifacts) {
        let mut build = Command::new(*tool, &checkout)
            .env("CARGO_TARGET_DIR", text(&folder.join("target")))
            .env("BPFSHIP_CACHE", text(&folder.join("cache")))
            .env("SOURCE_DATE_EPOCH", manifest.source_date_epoch.to_string())
            .args(["dist", "--locked", "--arch", &arches.join(","), "--std", route.name()])
            .args(["--manifest-path", &text(&checkout.join("Cargo.toml"))]);
        build.args.extend(offline.then(|| "--offline".to_owned()));
        tasks.push(
            Task::new(format!("building {} again", arches.join(", ")), vec![Box::new(BuildAgain { build })])
                .announced()
                .live("rebuild")
                .failure(format!("cannot build {commit} again")),
        );
    }
    for artifact in &manifest.artifacts {
        let again = checkout.join("dist").join(&artifact.file);
        let compare = CompareArchive { folder: release.to_path_buf(), artifact: artifact.clone(), again };
        tasks.push(
            Task::new(format!("comparing {}", artifact.file), vec![Box::new(compare)])
                .named(&artifact.file)
                .beside("archives")
                .failure("built again, the release is another one"),
        );
    }
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
