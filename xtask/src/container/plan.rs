//! What getting an image takes, and how a sealed container is started, as data.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::container::engine::Engine;
use crate::container::facts::{Container, Ours};
use crate::container::lock::SUITE;
use crate::container::run::{CheckLoaded, DownloadPackages, MakeImage, PullImage};
use crate::debian::apt;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::plan::{Steps, Task};
use crate::sys::steps::{CacheEntry, HoldEntries, Remove, Run};

/// The image in its entry of the cache.
const IMAGE: &str = "image.tar";

/// What makes a container that nothing of this machine's reaches, and that can write nowhere. One that has to be ended is not
/// waited for.
pub fn sealing(name: &str) -> [&str; 13] {
    [
        "--name",
        name,
        "--pull",
        "never",
        "--network",
        "none",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
        "--stop-timeout",
        "0",
    ]
}

/// How it is started, with a program in it that heeds no signal, as the first process of a container does. A client of docker's
/// waits for that.
pub fn sealed(engine: &Engine, folder: &Path, name: &str) -> Command {
    let command = engine.kind.command(folder).args(["run", "--rm"]).args(sealing(name));
    Command { deaf: true, ..command }
}

/// Has the engine have the image.
pub fn get(container: &Container, cache: &Cache, work: &Path) -> Result<Vec<Task>> {
    let engine = || container.engine.kind.command(work);
    let check = |id| CheckLoaded { container: container.clone(), folder: work.into(), entry: id };
    let Some(ours) = &container.ours else {
        let pull =
            PullImage { pull: engine().args(["pull", "--quiet", &container.image]), container: container.clone() };
        let task = Task::new(format!("fetching the image {}", container.image), vec![Box::new(pull)]);
        return Ok(if container.present { Vec::new() } else { vec![task.announced().failure("cannot get the image")] });
    };
    let entry = ours.recipe.entry();
    let mut tasks = Vec::new();
    match ours.made {
        Some(_) => {
            let hold = HoldEntries::new(cache.clone(), vec![entry.clone()]);
            tasks.push(Task::new("keeping other runs from removing the image that is used", vec![Box::new(hold)]));
        }
        None => tasks.push(make(ours, cache)?),
    }
    if !container.present {
        let archive = cache.path(&entry).join(IMAGE);
        let load = engine().args(["load", "--quiet", "--input"]).arg(archive.to_string_lossy());
        let steps: Steps = vec![Box::new(Run(load)), Box::new(check(cache.path(&entry)))];
        let title = format!("giving {} the image that binaries are built in", container.engine.kind.program());
        tasks.push(Task::new(title, steps).announced().failure("cannot give the engine the image"));
    }
    Ok(tasks)
}

/// Makes our image, once, of Debian's packages.
fn make(ours: &Ours, cache: &Cache) -> Result<Task> {
    let Ours { recipe, mirror, .. } = ours;
    let mirror = mirror.as_ref().ok_or_else(|| anyhow::anyhow!("an image to be made of no packages"))?;
    let name = recipe.entry();
    let partial = cache.partial(&name);
    let folder: PathBuf = partial.join("apt");
    let mut steps = apt::update(&folder, mirror, SUITE, recipe.debian);
    let install = apt::command("apt-get", &folder)
        .args(["--quiet", "--yes", "--no-install-recommends", "--download-only", "install"])
        .args(recipe.asked_for());
    steps.push(Box::new(DownloadPackages { install, lock: recipe.lock.clone() }));
    steps.push(Box::new(MakeImage {
        packages: folder.join("cache/archives"),
        list: Command::new("dpkg-deb", &folder).arg("--fsys-tarfile"),
        recipe: recipe.clone(),
        archive: partial.join(IMAGE),
    }));
    steps.push(Box::new(Remove { folder }));
    let packages: Vec<&str> = recipe.packages.iter().map(String::as_str).collect();
    let title = format!(
        "making the image that binaries are built in, once, of Debian's {} and what they need, into {}",
        packages.join(", "),
        cache.path(&name).display()
    );
    let entry = CacheEntry::new(cache.clone(), name, steps);
    Ok(Task::new(title, vec![Box::new(entry)])
        .live("image")
        .failure("cannot make the image that binaries are built in"))
}
