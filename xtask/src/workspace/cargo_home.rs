//! A CARGO_HOME of our own, which makes builds deaf to the user's settings (docs/why-a-private-cargo-home.md): it shares
//! the downloaded crates with the user's, unpacks them itself, and holds of the user's configuration only where crates
//! come from.

use std::env;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use crate::sys::plan::Steps;
use crate::sys::steps::{Link, MakeFolder, Write};
use crate::ui::error::bad_request;
use crate::workspace::source::Sources;

/// The tables of cargo's configuration that define where crates come from.
const KEPT: [&str; 2] = ["source", "registries"];

/// What a CARGO_HOME of ours shares with the user's.
const SHARED: [(&str, &[&str]); 2] = [("registry", &["index", "cache"]), ("git", &["db"])];

/// The keys that replace crates of Cargo.toml and Cargo.lock.
const REPLACING: [&str; 2] = ["patch", "paths"];

/// The user's CARGO_HOME.
pub fn find() -> Result<PathBuf> {
    Ok(match env::var_os("CARGO_HOME").filter(|home| !home.is_empty()) {
        Some(home) => std::path::absolute(home)?,
        None => env::home_dir().context("there is no home folder: set CARGO_HOME to a folder")?.join(".cargo"),
    })
}

/// Where crates come from by the configuration that cargo would read in `root`: that of the snapshot first, if
/// there is one. Crates in the repository are taken from the snapshot, too.
pub fn network_config(root: &Path, cargo_home: &Path, sources: Option<&Sources>) -> Result<Table> {
    // With the folder that paths in the file are relative to: the one that holds `.cargo`.
    let mut files: Vec<(PathBuf, PathBuf)> = Vec::new();
    if let Some(Sources { top, workspace, from, .. }) = sources {
        for folder in workspace.ancestors().take_while(|folder| folder.starts_with(top)) {
            let base = from.join(folder.strip_prefix(top)?);
            files.extend(config_file(&folder.join(".cargo")).map(|file| (file, base)));
        }
    }
    let folders = root.ancestors().map(|folder| (folder.join(".cargo"), folder));
    let home = (cargo_home.to_path_buf(), cargo_home.parent().unwrap_or(cargo_home));
    for (folder, base) in folders.chain([home]) {
        let file = config_file(&folder).filter(|file| files.iter().all(|(known, _)| known != file));
        files.extend(file.map(|file| (file, base.to_path_buf())));
    }
    let mut merged = Table::new();
    for (file, base) in files {
        let mut config = read(&file, &base, &mut Vec::new())?;
        if let Some(key) = REPLACING.iter().find(|key| config.contains_key(**key)) {
            let shown = sources.map_or_else(|| file.clone(), |sources| sources.as_user_knows(&file));
            bad_request!(
                "`{key}` in {} replaces crates, which only Cargo.toml may: move it to [patch] in Cargo.toml",
                shown.display()
            );
        }
        config.retain(|key, _| KEPT.contains(&key));
        // Whoever keeps cargo's target folder for later must not keep a token with it.
        for (_, registry) in config.get_mut("registries").and_then(Value::as_table_mut).into_iter().flatten() {
            if let Some(registry) = registry.as_table_mut() {
                registry.retain(|key, _| ["index", "protocol"].contains(&key));
            }
        }
        absolute_sources(&mut config, &base, sources);
        merge(&mut merged, config);
    }
    Ok(merged)
}

/// The configuration that a workspace itself has, and where.
pub fn own_config(root: &Path) -> Result<Option<(PathBuf, Table)>> {
    let file = config_file(&root.join(".cargo"));
    file.map(|file| read(&file, root, &mut Vec::new()).map(|config| (file, config))).transpose()
}

/// A configuration with all that it includes, and with absolute paths, which are relative to `base`: the folder that
/// holds `.cargo`. `above` are the files that include it.
fn read(file: &Path, base: &Path, above: &mut Vec<PathBuf>) -> Result<Table> {
    let shown = file.display();
    if above.iter().any(|other| other == file) {
        bail!("{shown} includes itself");
    }
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let mut config: Table = text.parse().with_context(|| format!("cannot understand {shown}"))?;
    // A path to include is relative to the file.
    let folder = file.parent().unwrap_or(Path::new("/"));
    absolute_sources(&mut config, base, None);
    above.push(file.into());
    let included = config.remove("include");
    // The later wins, and the file itself over all that it includes.
    for item in included.as_ref().and_then(Value::as_array).into_iter().flatten().rev() {
        let path = item.as_str().or_else(|| item.get("path")?.as_str());
        let path = folder.join(path.with_context(|| format!("`include` in {shown} is not a list of paths"))?);
        let is_optional = item.get("optional").and_then(Value::as_bool).unwrap_or_default();
        if !is_optional || path.exists() {
            let folder = path.parent().unwrap_or(folder);
            merge(&mut config, read(&path, folder.parent().unwrap_or(folder), above)?);
        }
    }
    above.pop();
    Ok(config)
}

/// A configuration that sets the linker and the flags of each target, and nothing else.
pub fn with_rustflags<'a>(network: &Table, flags: impl IntoIterator<Item = (&'a str, Vec<String>)>) -> Table {
    let mut config = network.clone();
    let mut targets = Table::new();
    for (triple, flags) in flags {
        let mut target = Table::new();
        target.insert("linker".into(), "rust-lld".into());
        target.insert("rustflags".into(), flags.into());
        targets.insert(triple.into(), target.into());
    }
    config.insert("target".into(), targets.into());
    config
}

/// Says more of a target.
pub fn add_target(config: &mut Table, triple: &str, more: Table) {
    let mut target = Table::new();
    target.insert(triple.into(), more.into());
    let mut targets = Table::new();
    targets.insert("target".into(), target.into());
    merge(config, targets);
}

/// Makes the folder: a configuration, and by symbolic link what the user has downloaded. Crates are unpacked in there anew:
/// what build scripts write beside their sources is not written to the user's.
pub fn steps(folder: &Path, cargo_home: &Path, config: &Table) -> Steps {
    let mut steps: Steps = vec![Box::new(Write { file: folder.join("config.toml"), text: config.to_string() })];
    for (own, shared) in SHARED {
        steps.push(Box::new(MakeFolder { folder: folder.join(own) }));
        for name in shared {
            let (file, to) = (folder.join(own).join(name), cargo_home.join(own).join(name));
            steps.push(Box::new(Link { file, to }));
        }
    }
    steps
}

/// The folders of a CARGO_HOME that a private one has links to, as far as they are there.
pub fn downloaded(cargo_home: &Path) -> Vec<PathBuf> {
    let of =
        |(own, names): &(&str, &[&str])| names.iter().map(|name| cargo_home.join(own).join(name)).collect::<Vec<_>>();
    let folders = SHARED.iter().flat_map(of);
    folders.filter(|folder| folder.is_dir()).collect()
}

/// Refuses what would affect the build all the same: it runs in `/`.
pub fn check_root(cargo_home: &Path) -> Result<()> {
    match config_file(Path::new("/.cargo")) {
        Some(file) if !cargo_home.starts_with("/.cargo") => bail!(
            "{} would affect the build, and cargo cannot be kept from reading it: move it to {}",
            file.display(),
            cargo_home.display()
        ),
        Some(file) => bail!(
            "{} would affect the build, and cargo cannot be kept from reading it: set CARGO_HOME to another folder",
            file.display()
        ),
        None => Ok(()),
    }
}

fn config_file(folder: &Path) -> Option<PathBuf> {
    // cargo prefers the name without an extension, too.
    ["config", "config.toml"].iter().map(|name| folder.join(name)).find(|file| file.is_file())
}

/// Adds what is not there yet: the file nearest to the workspace wins, as with cargo.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (None, value) => {
                into.insert(key, value);
            }
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (Some(_), _) => {}
        }
    }
}

fn absolute_sources(config: &mut Table, base: &Path, sources: Option<&Sources>) {
    let Some(Value::Table(tables)) = config.get_mut("source") else {
        return;
    };
    for (_, source) in tables.iter_mut() {
        for key in ["directory", "local-registry"] {
            if let Some(Value::String(path)) = source.get_mut(key) {
                let folder = plain(&base.join(&*path));
                let in_snapshot = sources.and_then(|sources| {
                    let folder = sources.top.join(folder.strip_prefix(&sources.from).ok()?);
                    folder.exists().then_some(folder)
                });
                *path = in_snapshot.unwrap_or(folder).to_string_lossy().into_owned();
            }
        }
    }
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sources_of_crates_are_kept_and_the_nearest_file_wins() {
        let folder = env::temp_dir().join(format!("bpfship-cargo-home-{}", std::process::id()));
        let (root, home) = (folder.join("a/b"), folder.join("home"));
        fs::create_dir_all(root.join(".cargo")).unwrap();
        fs::create_dir_all(folder.join("a/.cargo")).unwrap();
        fs::create_dir_all(&home).unwrap();
        fs::write(root.join(".cargo/config.toml"), "[source.v]\ndirectory = 'vendor'\n[build]\nrustflags = ['-x']")
            .unwrap();
        fs::write(
            folder.join("a/.cargo/config"),
            "[registries.r]\nindex = \"i\"\n\n[source.crates-io]\nreplace-with = 'v'\n[profile.release]\nlto = false",
        )
        .unwrap();
        fs::write(
            home.join("config.toml"),
            "[source.crates-io]\nreplace-with = 'w'\n[registries.r]\nindex = 'i'\ntoken = 's'\n[env]\nA = 'b'",
        )
        .unwrap();

        let config =
            with_rustflags(&network_config(&root, &home, None).unwrap(), [("t", vec!["-f".into()])]).to_string();
        fs::remove_dir_all(&folder).unwrap();

        let expected = format!(
            "[registries.r]\nindex = \"i\"\n\n[source.crates-io]\nreplace-with = \"v\"\n\n[source.v]\ndirectory = \"{}\"\n\n[target.t]\nlinker = \"rust-lld\"\nrustflags = [\"-f\"]\n",
            root.join("vendor").display()
        );
        assert_eq!(config, expected);
    }
}
