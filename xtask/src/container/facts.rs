//! Which engine binaries are built with, and in which image.

use std::path::Path;

use anyhow::{Context, Error, Result};
use rustix::process::{getgid, getuid};
use serde::Serialize;

use crate::arch::Arch;
use crate::container::engine::{self, Engine, Image, Kind};
use crate::container::lock::{self, Lock};
use crate::container::recipe::{Recipe, Wanted};
use crate::debian::apt::Mirror;
use crate::sys::cache::Cache;
use crate::sys::files;
use crate::sys::hash::Sha256;
use crate::sys::process::Runner;
use crate::ui::error::bad_request;

/// A container that binaries are built in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    pub engine: Engine,
    /// The image as the engine is asked for it: by its id, if that is known already.
    pub image: String,
    /// Whether the engine has it.
    pub present: bool,
    /// The user that runs us, as `UID:GID`.
    pub user: String,
    /// What ours is made of; none if it is the user's own.
    pub ours: Option<Ours>,
    /// Whose image it is, if it is for one architecture alone.
    pub own: Option<Own>,
}

/// An image for one architecture: C code is compiled by what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Own {
    pub arch: &'static str,
    /// The image as it is configured, which is the same for every engine.
    pub image: String,
}

/// Our image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ours {
    pub recipe: Recipe,
    /// Its id, if it lies in the cache.
    pub made: Option<Sha256>,
    /// Where its packages come from, if it does not.
    #[serde(skip)]
    pub mirror: Option<Mirror>,
}

impl Container {
    /// What has to come over the network first, in words.
    pub fn missing(&self) -> Option<String> {
        match &self.ours {
            Some(ours) if ours.made.is_none() => {
                Some("the image that binaries are built in (from Debian, by apt)".into())
            }
            None if !self.present => Some(format!("the container image {}", self.image)),
            _ => None,
        }
    }

    /// The namespace of users in which whoever runs us is the same user inside; none if that is so anyway.
    pub fn user_namespace(&self) -> Option<&'static str> {
        (self.engine.kind == Kind::Podman && !self.user.starts_with("0:")).then_some("keep-id")
    }

    /// Finds an engine of these, and the image.
    pub fn find(runner: Runner, folder: &Path, cache: &Cache, kinds: &[Kind], wanted: &Wanted) -> Result<Container> {
        let found = engine::first(runner, folder, kinds, wanted.image.is_some())?;
        let engine = found.map_err(|refusals| engine::refused(refusals, kinds))?;
        let user = format!("{}:{}", getuid().as_raw(), getgid().as_raw());
        match wanted.image {
            Some(image) => {
                let found = Image::of_user(runner, &engine, folder, image)?;
                let present = found.is_some();
                let own = wanted.arch.map(|arch| Own { arch, image: image.into() });
                Ok(Container { image: found.unwrap_or_else(|| image.into()), present, user, engine, ours: None, own })
            }
            None => Container::ours(runner, folder, cache, (engine, user), wanted),
        }
    }

    fn ours(
        runner: Runner,
        folder: &Path,
        cache: &Cache,
        (engine, user): (Engine, String),
        wanted: &Wanted,
    ) -> Result<Container> {
        let host =
            Arch::of_this_machine().context("no image can be made on this kind of machine: name one by `image`")?;
        let debian = host.debian.context("Debian has no packages for this machine: name an image by `image`")?;
        let lock = read_lock(wanted.workspace, debian)?;
        let recipe = Recipe::new(debian, host.name, wanted.packages, lock);
        let made = read_lock(&cache.path(&recipe.entry()), debian)?.map(|lock| lock.image);
        let found = match made {
            Some(id) => Image::find(runner, engine.kind, folder, &id.to_string())?,
            None => None,
        };
        let image = made.map_or_else(|| recipe.tag(), |id| format!("sha256:{id}"));
        let mirror = match made {
            Some(_) => None,
            None => Some(Mirror::find(runner).map_err(|status| Error::msg(status.sentence())).context(
                "the image that binaries are built in is made of Debian's packages (or name one by `image`)",
            )?),
        };
        let ours = Some(Ours { recipe, made, mirror });
        Ok(Container { engine, image, present: found.is_some(), user, ours, own: None })
    }
}

/// The lock in a folder, if there is one.
fn read_lock(folder: &Path, debian: &str) -> Result<Option<Lock>> {
    let file = folder.join(lock::FILE);
    let Some(text) = files::read_if_there(&file)? else { return Ok(None) };
    let lock: Lock = text.parse().with_context(|| format!("cannot use {}", file.display()))?;
    if lock.architecture != debian {
        bad_request!("{} is for {}, and this machine is {debian}", file.display(), lock.architecture);
    }
    Ok(Some(lock))
}
