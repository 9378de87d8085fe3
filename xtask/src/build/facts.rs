//! Which builder each architecture has, and what those need of this machine.

use anyhow::Result;

use crate::arch::Arch;
use crate::build::builder::{Builder, Builders};
use crate::build::kind::Kind;
use crate::container::facts::Container;
use crate::flags::Choice;
use crate::sys::process::Runner;
use crate::workspace::facts::Facts;

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
        let mut builders = Builders::default();
        for arch in arches {
            let kind = asked.unwrap_or_else(|| facts.config.builder(arch));
            if !builders.has(kind) {
                let builder = Builders::one(runner, facts, kind, engine)?;
                if let Some(container) = builder.container() {
                    let engine = &container.engine;
                    runner.status(format!("binaries are built in {} {}", engine.kind.program(), engine.version));
                }
                builders.add(builder);
            }
            builders.choose(arch, kind);
        }
        Ok(builders)
    }

    fn one(runner: Runner, facts: &Facts, kind: Kind, engine: Choice) -> Result<Builder> {
        let wanted = facts.config.container.wanted(&facts.sources.workspace);
        match kind {
            Kind::Host => Ok(Builder::Host),
            Kind::Container => Container::find(runner, &facts.root, &facts.cache, engine.kinds_for_builds(), &wanted)
                .map(Box::new)
                .map(Builder::Container),
        }
    }
}
