//! What compiles binaries: cargo on this machine, or in a container. Their bytes are the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::arch::{Arch, Target};
use crate::build::kind::Kind;
use crate::container::facts::Container;
use crate::cross::facts::Cross;

/// Where programs are in our image.
const PATH: &str = "/usr/bin";

/// A builder, with what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Builder {
    Host,
    Container(Box<Container>),
    Cross(Box<Cross>),
}

impl Builder {
    pub fn kind(&self) -> Kind {
        match self {
            Builder::Host => Kind::Host,
            Builder::Container(_) => Kind::Container,
            Builder::Cross(_) => Kind::Cross,
        }
    }

    /// The folder of all that it makes: none of them takes what another one left. `work` is that of the workspace.
    pub fn folder(&self, work: &Path) -> PathBuf {
        let kind = self.kind().name();
        match self.container() {
            None => work.into(),
            Some(Container { own: Some(own), .. }) => work.join(format!("{kind}-{}", own.arch)),
            Some(_) => work.join(kind),
        }
    }

    /// The container that it runs cargo in.
    pub fn container(&self) -> Option<&Container> {
        match self {
            Builder::Host => None,
            Builder::Container(container) => Some(container),
            Builder::Cross(cross) => Some(&cross.container),
        }
    }

    /// The image whose own compiler is the one for C code; none if that is the pinned one.
    pub fn compiler_image(&self) -> Option<&str> {
        Some(&self.container()?.own.as_ref()?.image)
    }

    /// The PATH of a build, if it has one: in our image, that of the image; one for an architecture sets its own.
    pub fn path(&self, passed_on: Option<&String>) -> Option<String> {
        match self.container() {
            None => Some(passed_on.cloned().unwrap_or_default()),
            Some(container) if container.own.is_some() => None,
            Some(_) => Some(PATH.into()),
        }
    }

    /// Whether it is this one: of a kind, and in an image for one architecture or for all.
    fn is(&self, kind: Kind, arch: Option<&str>) -> bool {
        let own = self.container().and_then(|container| container.own.as_ref());
        self.kind() == kind && own.map(|own| own.arch) == arch
    }
}

/// The builder of each architecture.
#[derive(Debug, Clone, Default)]
pub struct Builders {
    all: Vec<Builder>,
    /// By the name of the architecture, its place among them.
    chosen: BTreeMap<&'static str, usize>,
}

impl Builders {
    /// Chooses one that is there already: whether there is.
    pub fn choose(&mut self, arch: &Arch, kind: Kind, own_image: Option<&str>) -> bool {
        let found = self.all.iter().position(|builder| builder.is(kind, own_image));
        self.chosen.extend(found.map(|place| (arch.name, place)));
        found.is_some()
    }

    /// Adds one, and chooses it.
    pub fn add(&mut self, arch: &Arch, builder: Builder) {
        self.chosen.insert(arch.name, self.all.len());
        self.all.push(builder);
    }

    /// The builders, each with the targets that it builds for.
    pub fn groups<'a>(&'a self, targets: &[Target]) -> Vec<(&'a Builder, Vec<Target>)> {
        let group = |(place, builder): (usize, &'a Builder)| {
            let is_own = |(arch, _): &&Target| self.chosen.get(arch.name) == Some(&place);
            (builder, targets.iter().filter(is_own).copied().collect::<Vec<_>>())
        };
        self.all.iter().enumerate().map(group).filter(|(_, own)| !own.is_empty()).collect()
    }
}
