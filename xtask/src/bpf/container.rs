//! Where clang runs: on this machine, or in a container, and then in which image.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::container::engine::{self, Engine, Image, Kind};
use crate::flags::Choice;
use crate::sys::cache::Cache;
use crate::sys::process::Runner;
use crate::sys::{files, hash};
use crate::toolchain::zig;
use crate::ui::error::bad_request;
use crate::workspace::facts::Facts;

/// What our image consists of.
pub const CONTAINERFILE: &str = include_str!("Containerfile");

/// Where clang will run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// On this machine, from the cache.
    Host,
    Container(Container),
}

/// A container that has a compiler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    pub engine: Engine,
    /// The image, as the engine knows it.
    pub image: String,
    /// Whether the engine has it.
    pub present: bool,
    /// Whether it is the user's own, and not the one around our compiler.
    pub theirs: bool,
}

impl Place {
    /// Whether our compiler must be in the cache: it runs on this machine, or an image is built around it.
    pub fn needs_compiler(&self) -> bool {
        match self {
            Place::Host => true,
            Place::Container(container) => !container.present && !container.theirs,
        }
    }

    /// The image that must come over the network.
    pub fn pulls(&self) -> Option<String> {
        match self {
            Place::Container(container) if container.theirs && !container.present => Some(container.image.clone()),
            _ => None,
        }
    }

    /// Decides where clang will run for a workspace, and reports it.
    pub fn choose(runner: Runner, facts: &Facts, choice: Choice) -> Result<Place> {
        let image = facts.config.bpf.image.as_deref();
        let place = Place::find(runner, &facts.root, &facts.cache, choice, image)?;
        place.summary(choice).into_iter().for_each(|summary| runner.status(summary));
        Ok(place)
    }

    /// Where clang runs, for the user; none where the user has chosen this machine, or there is no choice.
    fn summary(&self, choice: Choice) -> Option<String> {
        match self {
            Place::Container(Container { engine, .. }) => {
                Some(format!("clang runs in {} {}", engine.kind.program(), engine.version))
            }
            Place::Host if choice == Choice::Auto && cfg!(target_os = "linux") => {
                Some("clang runs on this machine itself: neither docker nor podman answers".into())
            }
            Place::Host => None,
        }
    }

    /// Decides where clang will run. `theirs` is the image that the configuration names.
    pub fn find(runner: Runner, folder: &Path, cache: &Cache, choice: Choice, theirs: Option<&str>) -> Result<Place> {
        let kinds: &[Kind] = choice.kinds();
        if choice == Choice::Host && theirs.is_some() {
            bad_request!(
                "--engine host, but `image` in [workspace.metadata.bpfship.bpf] of Cargo.toml names a compiler that is in a \
                 container image: leave one of them out"
            );
        }
        if theirs.is_none() && !cfg!(target_os = "linux") {
            if !kinds.is_empty() && choice != Choice::Auto {
                bad_request!(
                    "the image is built around this machine's own compiler, which is none for Linux: use --engine host"
                );
            }
            return Ok(Place::Host);
        }
        let refusal = match engine::first(runner, folder, kinds, theirs.is_some())? {
            Ok(engine) => return Container::find(runner, folder, cache, engine, theirs).map(Place::Container),
            Err(mut refusals) => refusals.pop(),
        };
        match refusal {
            Some(refusal) if choice != Choice::Auto => Err(refusal.context(format!("--engine {}", kinds[0].program()))),
            Some(refusal) if theirs.is_some() => Err(refusal.context(
                "`image` in [workspace.metadata.bpfship.bpf] of Cargo.toml wants docker or podman, and neither answers",
            )),
            _ => Ok(Place::Host),
        }
    }
}

impl Container {
    fn find(runner: Runner, folder: &Path, cache: &Cache, engine: Engine, theirs: Option<&str>) -> Result<Container> {
        let ours = tag()?;
        let Some(theirs) = theirs else {
            // Anybody can give an image our name: it must be the one that was built here.
            let built = files::read_if_there(&record(cache, engine.kind, &ours))?;
            let image = Image::find(runner, engine.kind, folder, &ours)?;
            let present = image.is_some_and(|image| image.platform == engine.platform && built == Some(image.id));
            return Ok(Container { engine, image: ours, present, theirs: false });
        };
        if let Some(name) = Image::of_user(runner, &engine, folder, theirs)? {
            return Ok(Container { engine, image: name, present: true, theirs: true });
        }
        Ok(Container { engine, image: theirs.into(), present: false, theirs: true })
    }
}

/// The name of our image: all that goes into it.
pub fn tag() -> Result<String> {
    let content = format!("{} {CONTAINERFILE}", zig::name()?);
    Ok(format!("bpfship-bpf-clang:{:.16}", hash::bytes(content.as_bytes())))
}

/// Where the id of an image that was built here is kept.
pub fn record(cache: &Cache, kind: Kind, image: &str) -> PathBuf {
    cache.path(&format!("image-{}-{}", kind.program(), image.rsplit(':').next().unwrap_or_default()))
}
