//! The machine's own apt, with a configuration of its own: what it knows of the machine's packages stays as it is, and
//! signatures are checked by Debian's keys.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::boot::facts::Mirror;
use crate::sys::command::Command;
use crate::sys::step::Step;
use crate::sys::{files, hash};

/// Where something that is kept of a package is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    pub package: String,
    pub version: String,
    pub suite: String,
    pub mirror: String,
    /// SHA-256 of the package.
    pub sha256: String,
}

/// A command of apt's that works in `folder` and knows nothing but what is there.
pub fn command(program: &str, folder: &Path) -> Command {
    Command::new(program, folder).env("APT_CONFIG", folder.join("apt.conf").to_string_lossy())
}

/// What makes apt know which packages a suite of Debian's has for an architecture (by its name in our table, which is
/// Debian's, too).
pub fn update(folder: &Path, mirror: &Mirror, suite: &str, arch: &str) -> Vec<Step> {
    let write = |name: &str, text: String| Step::Write { file: folder.join(name), text };
    vec![
        write("sources.list", format!("deb [signed-by={}] {} {suite} main\n", mirror.keyring.display(), mirror.url)),
        write("state/status", String::new()),
        write("cache/empty", String::new()),
        write("apt.conf", configuration(folder, arch, &mirror.acquire)),
        Step::Run(command("apt-get", folder).args(["--quiet", "update"])),
    ]
}

/// The file that `apt-get download` left of a package in `folder`, and where it is from.
pub fn downloaded(folder: &Path, package: &str, suite: &str, mirror: &str) -> Result<(String, Record)> {
    let file = files::list(folder)?.into_iter().find(|file| file.ends_with(".deb"));
    let file = file.with_context(|| format!("apt-get got {package}, but left no file of it"))?;
    let record = Record {
        package: package.into(),
        version: file.split('_').nth(1).unwrap_or_default().replace("%3a", ":"),
        suite: suite.into(),
        mirror: mirror.into(),
        sha256: hash::file(&folder.join(&file))?,
    };
    Ok((file, record))
}

/// apt's configuration in place of the machine's, of which it has what concerns the network (`acquire`).
fn configuration(folder: &Path, arch: &str, acquire: &str) -> String {
    let folder = folder.display();
    format!(
        "{acquire}
APT::Architecture \"{arch}\";
APT::Architectures {{ \"{arch}\"; }};
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
