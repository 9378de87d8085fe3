//! Where the standard library of a binary comes from. Each way gives other bytes, so it is part of the binary's
//! identity.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the standard library of a binary comes from: its row decides, unless `--std` is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// Rust's own build of it, by rustup, with its own C runtime.
    Prebuilt,
    /// Built from rust-src once, kept in the cache, above a C runtime from zig.
    Source,
}

impl Route {
    /// As `--std` and the manifest have it.
    pub fn name(self) -> &'static str {
        match self {
            Route::Prebuilt => "prebuilt",
            Route::Source => "source",
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
