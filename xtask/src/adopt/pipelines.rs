//! The pipelines of a workspace, by the service that runs them. Those in templates/ are what they are where the command is called xtask.

use anyhow::Result;

use crate::adopt::facts::Facts;
use crate::flags::Service;
use crate::ui::error::bad_request;

/// A file of a service, relative to the top of the repository.
#[derive(Debug, PartialEq, Eq)]
pub struct Pipeline {
    pub path: &'static str,
    pub text: String,
}

/// How a file of a service begins that this tool wrote, whatever the command is called.
pub const MARK: &str = "# Written by `cargo ";

/// Where the files of a service lie, and how they are in a workspace whose command is `cargo xtask`.
fn texts(service: Service) -> &'static [(&'static str, &'static str)] {
    match service {
        Service::Github => &[
            (".github/workflows/ci.yml", include_str!("../../templates/github-ci.yml")),
            (".github/workflows/release.yml", include_str!("../../templates/github-release.yml")),
        ],
        Service::Gitlab => &[(".gitlab-ci.yml", include_str!("../../templates/gitlab-ci.yml"))],
    }
}

/// The files of a service for a workspace.
pub fn pipelines(service: Service, facts: &Facts) -> Result<Vec<Pipeline>> {
    let command = match (&facts.tool, facts.packages.iter().any(|(name, _)| name == crate::NAME)) {
        (Some((package, _)), _) => package,
        (None, true) => "xtask",
        (None, false) => {
            bad_request!("no package in {} depends on {}: `init` adds one", facts.root.display(), crate::NAME)
        }
    };
    let image = image(&facts.rust);
    let program = facts.program.as_deref().unwrap_or("xtask");
    let fill = |text: &str| {
        text.replace("cargo xtask", &format!("cargo {command}"))
            .replace("target/debug/xtask", &format!("target/debug/{program}"))
            .replace("tool/xtask", &format!("tool/{program}"))
            .replace("rust:1.95", &image)
    };
    Ok(texts(service).iter().map(|(path, text)| Pipeline { path, text: fill(text) }).collect())
}

/// The name of the image that has a version of Rust: `rust:1.95` for 1.95.0.
fn image(version: &str) -> String {
    let parts: Vec<&str> = version.split('.').take(2).collect();
    format!("rust:{}", parts.join("."))
}

/// The first line, from 1, in which two texts differ.
pub fn first_difference(one: &str, other: &str) -> usize {
    1 + one.lines().zip(other.lines()).take_while(|(one, other)| one == other).count()
}
