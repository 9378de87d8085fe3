//! Which cross there is, and what is said to it.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use toml::{Table, Value};

use crate::container::facts::Container;
use crate::cross::program;
use crate::cross::settings::{self, Settings};
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::process::{self, Runner};
use crate::workspace::rust::Rust;

/// How long a program may take to say which version it is.
const DEADLINE: Duration = Duration::from_secs(10);

/// Variables that lead an engine to its daemon and its files. cross sees nothing else of the environment.
const FOR_ENGINES: [&str; 13] = [
    "HOME",
    "USER",
    "PATH",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "DBUS_SESSION_BUS_ADDRESS",
    "CONTAINER_HOST",
    "CONTAINER_CONNECTION",
    "CONTAINER_SSHKEY",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
];

/// Those of which there are many, by how they begin; and those of them that would change what is run.
const BEGINNINGS: [&str; 2] = ["DOCKER_", "CONTAINERS_"];
const NOT_FOR_ENGINES: [&str; 3] = ["DOCKER_OPTS", "DOCKER_CONTENT_TRUST", "DOCKER_DEFAULT_PLATFORM"];

/// cross, and the container that it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cross {
    pub container: Container,
    pub program: Program,
    /// What the engine needs of the environment.
    pub environment: BTreeMap<String, String>,
}

/// Where the program is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// The user's own, of the pinned version.
    Own(PathBuf),
    /// In the cache.
    Cached,
    /// Nowhere yet.
    Missing,
}

impl Program {
    /// What has to come over the network first, in words.
    pub fn missing(&self) -> Option<String> {
        (*self == Program::Missing).then(|| format!("{} (from crates.io, by cargo)", program::line()))
    }

    pub fn find(runner: Runner, rust: &Rust, cache: &Cache) -> Result<Program> {
        if let Some(own) = own(runner, rust)? {
            return Ok(Program::Own(own));
        }
        let is_there = cache.path(&program::name(&rust.host)).is_dir();
        Ok(if is_there { Program::Cached } else { Program::Missing })
    }
}

impl Cross {
    pub fn find(runner: Runner, rust: &Rust, cache: &Cache, container: Container) -> Result<Cross> {
        let program = Program::find(runner, rust, cache)?;
        Ok(Cross { container, program, environment: for_engines() })
    }
}

/// The user's own cross, if it is exactly the pinned one.
fn own(runner: Runner, rust: &Rust) -> Result<Option<PathBuf>> {
    let Some(own) = process::on_path("cross").next() else { return Ok(None) };
    // Asked for its version, it may have rustup install a toolchain. Here it finds neither cargo nor rustup.
    let question = Command::new(&own, Path::new("/"))
        .only(BTreeMap::new())
        .env("PATH", "/dev/null")
        .env("RUSTC", rust.rustc().to_string_lossy())
        .arg("--version");
    let answer = runner.output_within(&question, DEADLINE)?.map(|output| output.stdout).unwrap_or_default();
    let answer = String::from_utf8_lossy(&answer);
    let first = answer.lines().next().unwrap_or_default().trim_end();
    if first == program::line() {
        return Ok(Some(own));
    }
    let found = if first.is_empty() { "does not say its version" } else { first };
    runner.status(format!("{} is not taken, for {} is pinned here: {found}", own.display(), program::line()));
    Ok(None)
}

/// What an engine needs of the environment.
fn for_engines() -> BTreeMap<String, String> {
    let is_needed = |name: &str| {
        let begins = BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
        FOR_ENGINES.contains(&name) || begins && !NOT_FOR_ENGINES.contains(&name)
    };
    variables().into_iter().filter(|(name, _)| is_needed(name)).collect()
}

fn variables() -> Vec<(String, String)> {
    let all = env::vars_os();
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// What the workspace in this folder, and the environment, say to cross.
pub fn settings(workspace: &Path) -> Result<Settings> {
    let mut settings = Settings::default();
    if let Some(table) = read(&workspace.join(settings::FILE))? {
        settings.add(&table, settings::FILE);
    }
    // cross reads it there, and the file before it.
    let manifest = read(&workspace.join("Cargo.toml"))?.unwrap_or_default();
    let own = manifest.get("package").and_then(|it| it.get("metadata")).and_then(|it| it.get("cross"));
    if let Some(Value::Table(own)) = own {
        settings.add(own, "[package.metadata.cross] of Cargo.toml");
    }
    let variables = variables();
    settings.ignored.extend(settings::unseen(variables.iter().map(|(name, _)| name.as_str())));
    Ok(settings)
}

fn read(file: &Path) -> Result<Option<Table>> {
    let Some(text) = files::read_if_there(file)? else { return Ok(None) };
    let table = text.parse().with_context(|| format!("cannot understand {}", file.display()))?;
    Ok(Some(table))
}
