//! What compiles binaries: cargo on this machine, or in a container. Their bytes are the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::arch::{Arch, Target};
use crate::build::kind::Kind;
use crate::container::facts::Container;

/// A builder, with what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Builder {
    Host,
    Container(Box<Container>),
}

impl Builder {
    pub fn kind(&self) -> Kind {
        match self {
            Builder::Host => Kind::Host,
            Builder::Container(_) => Kind::Container,
        }
    }

    /// The folder of all that it makes: none of them takes what another one left. `work` is that of the workspace.
    pub fn folder(&self, work: &Path) -> PathBuf {
        match self {
            Builder::Host => work.into(),
            Builder::Container(_) => work.join(self.kind().name()),
        }
    }

    /// The container that it runs cargo in.
    pub fn container(&self) -> Option<&Container> {
        match self {
            Builder::Host => None,
            Builder::Container(container) => Some(container),
        }
    }
}

/// The builder of each architecture.
#[derive(Debug, Clone, Default)]
pub struct Builders {
    all: Vec<Builder>,
    chosen: BTreeMap<&'static str, Kind>,
}

impl Builders {
    pub fn has(&self, kind: Kind) -> bool {
        self.all.iter().any(|builder| builder.kind() == kind)
    }

    pub fn add(&mut self, builder: Builder) {
        self.all.push(builder);
    }

    pub fn choose(&mut self, arch: &Arch, kind: Kind) {
        self.chosen.insert(arch.name, kind);
    }

    /// The builders, each with the targets that it builds for.
    pub fn groups<'a>(&'a self, targets: &[Target]) -> Vec<(&'a Builder, Vec<Target>)> {
        let of = |arch: &Arch| self.chosen.get(arch.name).copied().unwrap_or_default();
        let group = |builder: &'a Builder| {
            let own = targets.iter().filter(|(arch, _)| of(arch) == builder.kind()).copied();
            (builder, own.collect::<Vec<_>>())
        };
        self.all.iter().map(group).filter(|(_, own)| !own.is_empty()).collect()
    }
}
