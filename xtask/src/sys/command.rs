//! A command as data: what would be run, where, with which environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

/// A command that process.rs can start. It carries its own folder and environment; nothing ambient is changed for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Command {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub folder: PathBuf,
    pub environment: Environment,
    /// Whom it waits for, if it may wait for ever.
    #[serde(skip)]
    pub heartbeat: Option<Heartbeat>,
    /// Whether it is killed when a signal ends this program, for it heeds no other. What it leaves is for a step to remove.
    #[serde(skip)]
    pub deaf: bool,
}

/// What must be answered while a command runs: it waits for a program that may hang.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The program, and the arguments that make it answer.
    pub program: PathBuf,
    pub question: Vec<String>,
    /// How long that may take.
    pub limit: Duration,
    /// The error if it takes longer.
    pub lost: String,
}

/// What a command sees of the user's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Environment {
    /// All of it but [`UNSET`], and these: for whatever talks to the network (proxies, mirrors,
    /// certificates are the user's).
    Users(BTreeMap<String, String>),
    /// Nothing but these: for whatever makes bytes.
    Only(BTreeMap<String, String>),
}

/// What would point a tool at another toolchain or repository than the workspace's own: rustup's proxy sets the first
/// when it starts `cargo xtask`, and git the others when it runs a hook.
pub const UNSET: [&str; 4] = ["RUSTUP_TOOLCHAIN", "GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"];

impl Command {
    /// A command in the user's environment.
    pub fn new(program: impl Into<PathBuf>, folder: &Path) -> Command {
        Command {
            program: program.into(),
            args: Vec::new(),
            folder: folder.into(),
            environment: Environment::Users(BTreeMap::new()),
            heartbeat: None,
            deaf: false,
        }
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Command {
        self.args.push(arg.into());
        self
    }

    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Command {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, key: &str, value: impl Into<String>) -> Command {
        match &mut self.environment {
            Environment::Users(map) | Environment::Only(map) => {
                map.insert(key.into(), value.into());
            }
        }
        self
    }

    /// Gives the command this environment and no other.
    pub fn only(mut self, environment: BTreeMap<String, String>) -> Command {
        self.environment = Environment::Only(environment);
        self
    }
}

/// The command in a form that a shell takes.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(cd {} && env", quote(&self.folder))?;
        let variables = match &self.environment {
            Environment::Users(map) => {
                for name in UNSET {
                    write!(f, " -u {name}")?;
                }
                map
            }
            Environment::Only(map) => {
                f.write_str(" -i")?;
                map
            }
        };
        for (name, value) in variables {
            write!(f, " {name}={}", word(value))?;
        }
        write!(f, " {}", quote(&self.program))?;
        for arg in &self.args {
            write!(f, " {}", word(arg))?;
        }
        f.write_str(")")
    }
}

/// A path as a shell takes it.
pub fn quote(path: &Path) -> String {
    word(&path.to_string_lossy())
}

/// A word as a shell takes it.
pub fn word(text: &str) -> String {
    match shlex::try_quote(text) {
        Ok(quoted) => quoted.into_owned(),
        // A shell cannot write it, and no program can be given it.
        Err(_) => format!("{text:?}"),
    }
}
