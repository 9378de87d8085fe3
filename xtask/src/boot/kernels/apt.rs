//! The machine's apt, with a separate configuration: what it knows of the machine's packages stays as it is, and
//! signatures are checked with Debian's keys.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::sys::command::{Command, quote};
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::sys::plan::{Step, Steps, Work};
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

/// The file that `apt-get download` left in its folder: its name contains a version that only apt knows.
pub fn package_file(folder: &Path) -> Result<String> {
    let file = files::list(folder)?.into_iter().find(|file| file.ends_with(".deb"));
    file.with_context(|| format!("apt-get download left no package in {}", folder.display()))
}

/// Stands for [`package_file`] in a printed plan.
pub const PACKAGE_FILE: &str = "*.deb";

/// A command with words that a shell expands.
pub fn with_words(command: &Command, words: &str) -> String {
    let line = command.to_string();
    format!("{} {words})", line.strip_suffix(')').unwrap_or(&line))
}

/// Extracts the package that was downloaded.
#[derive(Debug)]
pub struct ExtractPackage {
    /// Where apt works.
    pub apt: PathBuf,
    pub into: PathBuf,
}

impl ExtractPackage {
    fn command(&self) -> Command {
        Command::new("dpkg-deb", &self.apt).arg("--extract")
    }
}

impl Step for ExtractPackage {
    fn line(&self) -> String {
        with_words(&self.command(), &format!("{PACKAGE_FILE} {}", quote(&self.into)))
    }

    fn json(&self) -> Value {
        json!({ "extract-package": { "apt": self.apt, "into": self.into, "run": self.command() } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let file = package_file(&self.apt)?;
        work.show(&format!("unpacking {file}"));
        work.runner.run(&self.command().arg(file).arg(self.into.to_string_lossy()))
    }
}

/// Writes down from which package an entry of the cache is made.
#[derive(Debug)]
pub struct WriteRecord {
    /// Where apt works.
    pub apt: PathBuf,
    pub suite: &'static str,
    pub mirror: String,
    pub build: Option<BuildRecord>,
    pub file: PathBuf,
}

impl Step for WriteRecord {
    fn line(&self) -> String {
        format!("# write {}: the package's name, version, origin and SHA-256", quote(&self.file))
    }

    fn json(&self) -> Value {
        json!({ "write-record": { "file": self.file, "suite": self.suite, "mirror": self.mirror, "build": self.build } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let file = package_file(&self.apt)?;
        let mut parts = file.split('_');
        let record = Record {
            package: parts.next().unwrap_or_default().into(),
            version: parts.next().unwrap_or_default().replace("%3a", ":"),
            suite: self.suite.into(),
            mirror: self.mirror.clone(),
            sha256: hash::file(&self.apt.join(&file))?,
            build: self.build.clone(),
        };
        files::write(&self.file, format!("{:#}\n", serde_json::to_value(record)?))
    }
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
