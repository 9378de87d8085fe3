//! Which builder each architecture has, and what those need of this machine.

use anyhow::Result;

use crate::arch::Arch;
use crate::build::builder::{Builder, Builders};
use crate::build::kind::Kind;
use crate::container::facts::{Container, Own};
use crate::container::recipe::Wanted;
use crate::cross;
use crate::cross::facts::Cross;
use crate::cross::settings::{FILE, Settings};
use crate::flags::Choice;
use crate::sys::process::Runner;
use crate::ui::error::bad_request;
use crate::workspace::config::check_image;
use crate::workspace::facts::Facts;
use crate::workspace::keys;

impl Builders {
    /// The builders of these architectures: the one that is asked for, or what the configuration says. Their engine is the one
    /// that `engine` names, or else the first that answers.
    pub fn find(
        runner: Runner,
        facts: &Facts,
        arches: &[&'static Arch],
        asked: Option<Kind>,
        engine: Choice,
    ) -> Result<Builders> {
        let kind = |arch: &Arch| asked.unwrap_or_else(|| facts.config.builder(arch));
        let settings = match arches.iter().any(|arch| kind(arch) == Kind::Cross) {
            true => cross::facts::settings(&facts.sources.workspace)?,
            false => Settings::default(),
        };
        settings.ignored.iter().for_each(|line| runner.status(line));
        let mut builders = Builders::default();
        for arch in arches {
            let image = own_image(facts, &settings, arch, kind(arch))?;
            if builders.choose(arch, kind(arch), image.map(|_| arch.name)) {
                continue;
            }
            let usual = facts.config.container.wanted(&facts.sources.workspace);
            let wanted = match image {
                Some(_) => Wanted { image, arch: Some(arch.name), ..usual },
                None => usual,
            };
            let builder = Builders::one(runner, facts, kind(arch), engine, &wanted)?;
            if let Some(container) = builder.container() {
                runner.status(describe(&builder, container));
            }
            builders.add(arch, builder);
        }
        Ok(builders)
    }

    fn one(runner: Runner, facts: &Facts, kind: Kind, engine: Choice, wanted: &Wanted) -> Result<Builder> {
        let container = || Container::find(runner, &facts.root, &facts.cache, engine.kinds_for_builds(), wanted);
        Ok(match kind {
            Kind::Host => Builder::Host,
            Kind::Container => Builder::Container(Box::new(container()?)),
            Kind::Cross => Builder::Cross(Box::new(Cross::find(runner, &facts.rust, &facts.cache, container()?)?)),
        })
    }
}

/// The image of an architecture, whose compiler compiles its C code.
fn own_image<'a>(facts: &'a Facts, settings: &'a Settings, arch: &Arch, kind: Kind) -> Result<Option<&'a str>> {
    let key = format!("arch.{arch}.image");
    match (facts.config.images.get(arch.name), settings.images.get(arch.triple)) {
        (Some(_), _) if kind == Kind::Host => bad_request!(
            "{} is for builds in a container: use --builder container or --builder cross for {arch}, or set `arch.{arch}.builder`",
            keys::key(&key)
        ),
        (Some(image), _) => Ok(Some(image)),
        (None, Some(image)) if kind == Kind::Cross => {
            check_image(image, &format!("`target.{}.image` in {FILE}", arch.triple))?;
            Ok(Some(image))
        }
        _ => Ok(None),
    }
}

/// Where binaries are built, and what that means for their bytes.
fn describe(builder: &Builder, container: &Container) -> String {
    let engine = format!("{} {}", container.engine.kind.program(), container.engine.version);
    let by = if builder.kind() == Kind::Cross { ", by cross" } else { "" };
    match &container.own {
        Some(Own { arch, image }) => format!(
            "binaries for {arch} are built in {engine}{by}, in the image {image}, whose compiler compiles their C code: the same \
             bytes come out of that image only"
        ),
        None => format!("binaries are built in {engine}{by}"),
    }
}
