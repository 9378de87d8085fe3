//! The machine's apt, with a separate configuration: what it knows of the machine's packages stays as it is, and
//! signatures are checked with Debian's keys.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::sys::command::Command;
use crate::sys::hash::Sha256;
use crate::sys::plan::{Step, Steps};
use crate::sys::steps::{Run, Write};

/// A server that has Debian's packages, and how this machine talks to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    pub url: String,
    /// The keys that Debian signs with.
    pub keyring: PathBuf,
    /// apt's settings for the network, as its configuration has them.
    pub acquire: String,
}

/// Where something in the cache comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    pub package: String,
    pub version: String,
    pub suite: String,
    pub mirror: String,
    /// SHA-256 of the package.
    pub sha256: Sha256,
    /// What it was built with, if it is not the package's own file.
    #[serde(flatten)]
    pub build: Option<BuildRecord>,
}

/// What a kernel was built with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildRecord {
    /// SHA-256 of the list of options.
    pub options: Sha256,
    pub compiler: String,
    pub pahole: String,
}

/// A command of apt's that works in `folder` and knows nothing but what is there.
pub fn command(program: &str, folder: &Path) -> Command {
    Command::new(program, folder).env("APT_CONFIG", folder.join("apt.conf").to_string_lossy())
}

/// Has apt know which packages a suite of Debian's has for an architecture, by Debian's word for it.
pub fn update(folder: &Path, mirror: &Mirror, suite: &str, debian: &str) -> Steps {
    let write = |name: &str, text: String| -> Box<dyn Step> { Box::new(Write { file: folder.join(name), text }) };
    vec![
        write("sources.list", format!("deb [signed-by={}] {} {suite} main\n", mirror.keyring.display(), mirror.url)),
        write("state/status", String::new()),
        write("cache/empty", String::new()),
        write("apt.conf", configuration(folder, debian, &mirror.acquire)),
        Box::new(Run(command("apt-get", folder).args(["--quiet", "update"]))),
    ]
}

/// apt's configuration in place of the machine's, of which it has what concerns the network (`acquire`).
fn configuration(folder: &Path, debian: &str, acquire: &str) -> String {
    let folder = folder.display();
    format!(
        "{acquire}
APT::Architecture \"{debian}\";
APT::Architectures {{ \"{debian}\"; }};
APT::Update::Error-Mode \"any\";
Acquire::Languages \"none\";
Dir::State \"{folder}/state\";
Dir::State::status \"{folder}/state/status\";
Dir::Cache \"{folder}/cache\";
Dir::Etc::sourcelist \"{folder}/sources.list\";
Dir::Etc::sourceparts \"/dev/null\";
Dir::Etc::preferences \"/dev/null\";
Dir::Etc::preferencesparts \"/dev/null\";
Dir::Etc::parts \"/dev/null\";
Dir::Etc::main \"/dev/null\";
"
    )
}
