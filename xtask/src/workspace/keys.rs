//! How keys of the configuration are read and named in errors, and what may be said with them: paths and lists.

use std::path::{Component, Path};

use anyhow::{Error, Result};
use cargo_metadata::{Metadata, Package};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::NAME;
use crate::ui::error::{BadRequest, bad_request};
use crate::ui::suggest;

/// The tables of `metadata` that there may be in the root's Cargo.toml.
const WORKSPACE: &str = "workspace";
const PACKAGE: &str = "package";

/// The workspace that the configuration is of.
pub struct Root<'a> {
    pub folder: &'a Path,
    /// Why a path is not there, if that is known.
    pub why_missing: &'a dyn Fn(&str) -> Option<String>,
}

/// One of something, or a list.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "one name, or a list of them, is expected")]
pub enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub fn list(self) -> Vec<String> {
        match self {
            OneOrMore::One(only) => vec![only],
            OneOrMore::More(list) => list,
        }
    }
}

/// The package whose Cargo.toml this is, if it has our table, and is not what the workspace itself is about: it has a
/// release of its own.
pub fn own_release<'a>(metadata: &'a Metadata, manifest: &Path) -> Option<&'a str> {
    let manifest = manifest.canonicalize().ok()?;
    let is_it = |package: &&&Package| package.manifest_path.canonicalize().is_ok_and(|other| other == manifest);
    let packages = metadata.workspace_packages();
    let package = packages.iter().find(is_it)?;
    let is_root = metadata.root_package().is_some_and(|root| root.id == package.id);
    (!is_root && package.metadata.get(NAME).is_some()).then_some(package.name.as_str())
}

/// Our table, and the word that its name begins with: that of a `package` with a release of its own, or the workspace's. A
/// repository of one package may have it in `[package.metadata]`.
pub fn find<'a>(metadata: &'a Metadata, package: Option<&str>) -> Result<Option<(&'a Value, &'static str)>> {
    let table = |package: &'a Package| package.metadata.get(NAME).map(|table| (table, PACKAGE));
    if let Some(name) = package {
        let package = metadata.workspace_packages().into_iter().find(|package| *package.name == name);
        return match package.and_then(table) {
            Some(found) => Ok(Some(found)),
            None => bad_request!("package `{name}` has no [{PACKAGE}.metadata.{NAME}] in what is built: commit it"),
        };
    }
    let of_workspace = metadata.workspace_metadata.get(NAME).map(|table| (table, WORKSPACE));
    let root = metadata.root_package().and_then(table);
    if of_workspace.is_some() && root.is_some() {
        bad_request!(
            "[{PACKAGE}.metadata.{NAME}] in {} has no effect: have it all in [{WORKSPACE}.metadata.{NAME}]",
            metadata.workspace_root.join("Cargo.toml")
        );
    }
    Ok(of_workspace.or(root))
}

/// The error for a key of a table whose name begins with that word.
pub fn in_table(error: Error, word: &str) -> Error {
    match error.downcast::<BadRequest>() {
        Ok(BadRequest(sentence)) => {
            let known = format!("[{WORKSPACE}.metadata.{NAME}");
            BadRequest(sentence.replace(&known, &format!("[{word}.metadata.{NAME}"))).into()
        }
        Err(error) => error,
    }
}

/// Reads our table; an error names the key and the table it is in.
pub fn read<T: DeserializeOwned>(table: &Value) -> Result<T> {
    serde_path_to_error::deserialize(table).map_err(|error| {
        let keys = error.path().iter().filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.as_str()),
            _ => None,
        });
        let path: Vec<&str> = keys.collect();
        let message = error.inner().to_string();
        BadRequest(match message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
            // Those that are known stand behind it, in backquotes, too.
            Some((unknown, known)) => {
                let tables: Vec<&str> = path.into_iter().filter(|key| *key != unknown).collect();
                let hint = suggest::hint(unknown, known.split('`').skip(1).step_by(2));
                format!("unknown key `{}` in [{}] of Cargo.toml{hint}", suggest::cut(unknown), table_name(&tables))
            }
            None => match path.is_empty() {
                true => format!("[{}] of Cargo.toml: {message}", table_name(&[])),
                false => format!("{}: {message}", key(&path.join("."))),
            },
        })
        .into()
    })
}

fn table_name(tables: &[&str]) -> String {
    [&[WORKSPACE, "metadata", NAME], tables].concat().join(".")
}

/// A key, such as `bpf.cpu`, as errors name it.
pub fn key(path: &str) -> String {
    let keys: Vec<&str> = path.split('.').collect();
    match keys.as_slice() {
        [tables @ .., key] => format!("`{key}` in [{}] of Cargo.toml", table_name(tables)),
        [] => unreachable!("a text that is split has a part"),
    }
}

/// A path of the configuration must be of this workspace, and be a file or folder there. Gives its plainest form.
pub fn check_path(root: &Root, path: &str, key: &str) -> Result<String> {
    let Some(plain) = plain_path(path) else {
        bad_request!("{key} names `{path}`; a relative path inside the workspace is expected");
    };
    let full = root.folder.join(path);
    if !full.is_file() && !full.is_dir() {
        let why = (root.why_missing)(&plain).unwrap_or_else(|| "is not there".into());
        bad_request!("{key} names `{path}`, which {why}");
    }
    Ok(plain)
}

/// A relative path that stays inside, in its plainest form.
pub fn plain_path(path: &str) -> Option<String> {
    let parts = Path::new(path).components().map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let parts: Option<Vec<&str>> = parts.collect();
    parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join("/"))
}
