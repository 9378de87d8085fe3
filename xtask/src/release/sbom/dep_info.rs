//! The list of crates in a binary, as cargo-auditable has it: JSON, compressed by zlib, in a section `.dep-v0`
//! (<https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md>).

use std::io::Write;

use anyhow::Result;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};

use crate::release::sbom::crates::{Crate, Origin};

/// The section.
pub const SECTION: &str = ".dep-v0";

/// What is in the section of a binary of the package `root`.
pub fn data(crates: &[Crate], root: &str) -> Result<Vec<u8>> {
    let package = |it: &Crate| {
        let source = match it.origin() {
            Origin::CratesIo => "crates.io",
            Origin::Registry(_) => "registry",
            Origin::Git(_) => "git",
            Origin::Local => "local",
        };
        let mut package = json!({ "name": it.package.name, "version": it.package.version, "source": source });
        if !it.dependencies.is_empty() {
            package["dependencies"] = json!(it.dependencies);
        }
        if it.package.name == root && it.origin() == Origin::Local {
            package["root"] = Value::Bool(true);
        }
        package
    };
    let list: Vec<Value> = crates.iter().map(package).collect();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(6));
    zlib.write_all(json!({ "packages": list }).to_string().as_bytes())?;
    Ok(zlib.finish()?)
}
