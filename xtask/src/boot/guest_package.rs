//! The package of the first process of each guest. This program carries its sources, so that it boots whatever workspace
//! there is.

use anyhow::{Context, Result};
use toml::Table;

/// Its name, and that of its binary.
pub const GUEST: &str = "guest";

/// The crate whose sources it has.
pub const GUEST_CRATE: &str = "bpfship-guest";

/// The sources, by their paths in the package.
pub const SOURCES: [(&str, &str); 6] = [
    ("src/main.rs", "fn main() {\n    bpfship_guest::main()\n}\n"),
    ("src/lib.rs", include_str!("../../guest/src/lib.rs")),
    ("src/config.rs", include_str!("../../guest/src/config.rs")),
    ("src/frame.rs", include_str!("../../guest/src/frame.rs")),
    ("src/init.rs", include_str!("../../guest/src/init.rs")),
    ("src/message.rs", include_str!("../../guest/src/message.rs")),
];

/// The versions of its dependencies, where the workspace names none: those of this tool.
pub const LOCK: &str = include_str!("../../../Cargo.lock");

const PACKAGE: &str = r#"
    package = { name = "guest", version = "0.0.0", edition = "2024" }
    lib = { name = "bpfship_guest" }
    workspace = {}
"#;

/// Its Cargo.toml, with the dependencies of the crate.
pub fn manifest() -> Result<String> {
    let mut of_crate: Table = include_str!("../../guest/Cargo.toml").parse()?;
    let mut manifest: Table = PACKAGE.parse()?;
    manifest.insert("dependencies".into(), of_crate.remove("dependencies").context("the guest has no dependencies")?);
    Ok(manifest.to_string())
}
