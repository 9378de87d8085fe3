//! The words for what compiles binaries.

use serde::{Deserialize, Serialize};

/// The word for a builder, on the command line and in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// cargo on this machine
    #[default]
    Host,
    /// The same cargo, in a container that can write nowhere else and has no network
    Container,
    /// The same, in a container that the program cross 0.2.5 starts
    Cross,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Host => "host",
            Kind::Container => "container",
            Kind::Cross => "cross",
        }
    }
}
