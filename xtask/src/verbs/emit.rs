//! `cargo xtask emit`: writes what other engines install a release by.

use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::arch::Arch;
use crate::deploy::unit::Kernel;
use crate::emit::k8s::Cluster;
use crate::emit::plan::File;
use crate::emit::{Packaged, Program, ansible, aur, facts, homebrew, k8s, plan, sysupdate, units};
use crate::flags::{self, Common, EmitTo, Emitted, Fetched};
use crate::package::format::package_name;
use crate::package::{self, contents};
use crate::release::artifacts;
use crate::release::manifest::{Archive, Artifact, Binary, Manifest};
use crate::sys;
use crate::sys::process::Runner;
use crate::ui::error::bad_request;
use crate::ui::screen;
use crate::workspace::config::{Config, kernel_version};
use crate::workspace::facts::Workspace;
use crate::workspace::products;

/// The kernel that is thought of where neither the user nor the configuration names one: the first with CAP_BPF.
const KERNEL: (u32, u32) = (5, 8);

/// What belongs to it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Files {
    pub folder: PathBuf,
    /// All that belong there.
    pub files: Vec<String>,
    /// Those that were not there already.
    pub written: Vec<String>,
}

/// Runs the verb.
pub fn run(runner: Runner, common: &Common, request: &flags::Emit) -> Result<()> {
    let (name, to) = match &request.what {
        Emitted::Ansible { to, .. } => ("ansible", to),
        Emitted::Systemd { to, .. } => ("systemd", to),
        Emitted::Sysupdate { to, .. } => ("sysupdate", to),
        Emitted::K8s { to, .. } => ("k8s", to),
        Emitted::Homebrew(fetched) => ("homebrew", &fetched.to),
        Emitted::Aur(fetched) => ("aur", &fetched.to),
    };
    let (workspace, _) = Workspace::find(runner, common)?;
    let (product, bin) = workspace.config.product_of(to.bin.as_deref())?;
    if matches!(request.what, Emitted::Systemd { .. } | Emitted::K8s { .. }) {
        product.deploy.check_service(bin)?;
    }
    let program = |folder| Program { name: bin, folder, config: &product.deploy };
    let mut release = workspace.dist.clone();
    let mut read = |from: &flags::Released| {
        if let Some(folder) = &from.from {
            release = absolute(folder).with_context(|| format!("cannot find {}", folder.display()))?;
        }
        artifacts::read(&release)
    };
    let files = match &request.what {
        Emitted::Systemd { kernels, dir, .. } => {
            vec![units::unit(program(&dir.dir), kernel(&workspace.config, kernels))]
        }
        Emitted::Ansible { release, dir, .. } => {
            let manifest = read(release)?;
            let (archive, artifacts) = with(&manifest, bin)?;
            ansible::files(program(&dir.dir), archive, &artifacts)
        }
        Emitted::Sysupdate { url, release, dir, .. } => {
            let manifest = read(release)?;
            let (archive, artifacts) = with(&manifest, bin)?;
            sysupdate::files(program(&dir.dir), archive, &arches(&artifacts), url)
        }
        Emitted::Homebrew(Fetched { url, release: from, .. }) => {
            let manifest = read(from)?;
            let (it, _) = packaged(&workspace.config, with(&manifest, bin)?, &release, url)?;
            vec![homebrew::file(&it)?]
        }
        Emitted::Aur(Fetched { url, release: from, .. }) => {
            let manifest = read(from)?;
            let (it, archive) = packaged(&workspace.config, with(&manifest, bin)?, &release, url)?;
            let name = format!("{}-bin", it.name);
            let units = contents::unit_texts(&name, archive, workspace.config.minimum_kernel.as_deref());
            aur::files(&it, &package::plan::maintainer(&workspace.config, archive)?, units)?
        }
        Emitted::K8s { image, host_pid, kernels, release, .. } => {
            let manifest = read(release)?;
            let (archive, artifacts) = with(&manifest, bin)?;
            let cluster = Cluster {
                image,
                version: &archive.version,
                arches: &arches(&artifacts),
                kernel: kernel(&workspace.config, kernels),
                host_pid: *host_pid,
            };
            vec![k8s::file(program("/"), &cluster)]
        }
    };
    write(runner, to, Path::new(name), &release, files)
}

/// The archive with a program, as package managers fetch it, and what the configuration says of it.
fn packaged<'a>(
    config: &'a Config,
    (archive, artifacts): (&'a Archive, Vec<(&'a Artifact, &'a Binary)>),
    folder: &Path,
    address: &'a str,
) -> Result<(Packaged<'a>, &'a products::Archive)> {
    let Some(configured) = config.archives.iter().find(|other| other.name == archive.name) else {
        bad_request!("the configuration has no archive {}: run `cargo xtask dist`", archive.name);
    };
    if configured.about.description.is_empty() {
        bad_request!(
            "a package says what it is: set `description` in the Cargo.toml of what is shipped as {}",
            archive.name
        );
    }
    let artifacts: Vec<&Artifact> = artifacts.into_iter().map(|(artifact, _)| artifact).collect();
    let files = artifacts::contents(folder, artifacts[0])?.into_keys().collect();
    let packaged = Packaged {
        name: package_name(&archive.name),
        archive: &archive.name,
        version: &archive.version,
        about: &configured.about,
        bins: configured.bins().collect(),
        artifacts,
        files,
        address,
    };
    Ok((packaged, configured))
}

/// Writes the files that are not there yet.
fn write(runner: Runner, to: &EmitTo, usual: &Path, release: &Path, files: Vec<File>) -> Result<()> {
    let output = to.output.as_deref().unwrap_or(usual);
    let folder: PathBuf = absolute(output).with_context(|| format!("cannot find {}", output.display()))?;
    let all: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
    let missing = facts::missing(&folder, files, to.force)?;
    let written: Vec<String> = missing.iter().map(|file| file.path.clone()).collect();
    let tasks = plan::tasks(&folder, release, missing);
    if to.show.plan {
        return sys::plan::print(&tasks, to.show.json);
    }
    sys::plan::run(runner, &tasks)?;
    if to.show.json {
        return screen::print_result(Files { folder, files: all, written });
    }
    written.iter().for_each(|path| runner.status(output.join(path).display().to_string()));
    if written.is_empty() {
        runner.status(format!("nothing to do: all is in {} already", output.display()));
    }
    Ok(())
}

fn with<'a>(manifest: &'a Manifest, bin: &'a str) -> Result<(&'a Archive, Vec<(&'a Artifact, &'a Binary)>)> {
    match manifest.with_binary(bin) {
        Some((archive, artifacts)) if !artifacts.is_empty() => Ok((archive, artifacts)),
        _ => bad_request!("the release has no archive with {bin}: run `cargo xtask dist`"),
    }
}

fn arches(artifacts: &[(&Artifact, &Binary)]) -> Vec<&'static Arch> {
    artifacts.iter().map(|(artifact, _)| artifact.arch).collect()
}

fn kernel(config: &Config, named: &flags::Kernel) -> Kernel {
    let configured = || config.minimum_kernel.as_deref().and_then(kernel_version);
    let version = named.kernel.or_else(configured).unwrap_or(KERNEL);
    Kernel { version, btf: !named.no_btf, is_paranoid: named.paranoid }
}
