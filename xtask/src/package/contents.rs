//! What a package installs, and where: decided from the files of an archive.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::deploy::unit::{self, Kernel, Runs};
use crate::package::format::{Format, Row};
use crate::release::layout::{LICENSES, STD_LICENSES};
use crate::release::licenses;
use crate::release::pack::{self, Entry};
use crate::ui::error::bad_request;
use crate::workspace::config::kernel_version;
use crate::workspace::products::{Archive, Product};

/// What a file is to a package manager that tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Document,
    License,
}

/// A file that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub kind: Kind,
    pub entry: Entry,
}

/// What is installed, by absolute paths.
pub type Contents = BTreeMap<String, File>;

/// The kernel that a unit in a package is for, unless the application needs a later one: the oldest of a distribution that is
/// still supported and has BTF.
const KERNEL: (u32, u32) = (5, 10);

/// The programs of an archive that get a unit, each with its product: the first of each that is a service, as with `deploy`.
fn services(archive: &Archive) -> impl Iterator<Item = (&Product, &str)> {
    let products = archive.products.iter().filter(|product| !product.deploy.is_command);
    products.filter_map(|product| Some((product, product.bins.first()?.as_str())))
}

/// The names of their units.
pub fn units(archive: &Archive) -> Vec<String> {
    services(archive).map(|(_, bin)| format!("{bin}.service")).collect()
}

/// Their units, by name, in the package `name` of an application that needs this kernel.
pub fn unit_texts(name: &str, archive: &Archive, minimum_kernel: Option<&str>) -> Vec<(String, String)> {
    let kernel = minimum_kernel.and_then(kernel_version).map_or(KERNEL, |needed| needed.max(KERNEL));
    let text = |(product, bin): (&Product, &str)| {
        let kernel = Kernel { version: kernel, btf: true, is_paranoid: false };
        let runs = Runs { name: bin, folder: "/usr/bin", kernel };
        let head = format!("# Of the package {name}: put changes into /etc/systemd/system/{bin}.service.d/.\n");
        (format!("{bin}.service"), head + &unit::body(&product.deploy, &runs))
    };
    services(archive).map(text).collect()
}

/// Decides where everything of an archive goes. `name` is that of the package, and `minimum_kernel` what the application needs.
pub fn contents(
    row: &Row,
    name: &str,
    archive: &Archive,
    files: &BTreeMap<String, Entry>,
    minimum_kernel: Option<&str>,
) -> Result<Contents> {
    let bins: BTreeSet<&str> = archive.bins().collect();
    let units = units(archive);
    let mut contents = Contents::new();
    let mut add = |place: String, kind: Kind, entry: Entry| -> Result<()> {
        match contents.insert(place.clone(), File { kind, entry }) {
            None => Ok(()),
            Some(_) => bad_request!("two files of {} would be installed as {place}: rename one", archive.name),
        }
    };
    let mut texts = Vec::new();
    for (path, entry) in files {
        let base = path.rsplit('/').next().unwrap_or(path);
        let plainly = || Entry { executable: false, ..entry.clone() };
        match role(path, &bins) {
            Role::Program => add(format!("/usr/bin/{path}"), Kind::File, entry.clone())?,
            Role::License => {
                add(format!("{}/{name}/{path}", row.licenses), Kind::License, entry.clone())?;
                texts.extend((!path.contains('/') && is_text(path)).then_some(&entry.bytes));
            }
            // It would lead to the program where somebody put it by hand. The package has its own where there is systemd.
            _ if units.contains(path) || !row.manuals => {}
            Role::Manual(section) => {
                let bytes = pack::gzip_best(&entry.bytes)?;
                let place = format!("/usr/share/man/man{section}/{base}.gz");
                add(place, Kind::Document, Entry { bytes, executable: false })?;
            }
            Role::Bash(bin) => add(format!("/usr/share/bash-completion/completions/{bin}"), Kind::File, plainly())?,
            Role::Fish => add(format!("/usr/share/fish/vendor_completions.d/{base}"), Kind::File, plainly())?,
            Role::Zsh => add(format!("{}/{base}", row.zsh), Kind::File, plainly())?,
            Role::Other => add(format!("/usr/share/doc/{name}/{path}"), Kind::Document, entry.clone())?,
        }
    }
    if row.format == Format::Deb {
        add(format!("/usr/share/doc/{name}/copyright"), Kind::License, plain(copyright(archive, &texts)))?;
    }
    if row.systemd {
        for (unit, text) in unit_texts(name, archive, minimum_kernel) {
            add(format!("/usr/lib/systemd/system/{unit}"), Kind::File, plain(text.into_bytes()))?;
        }
    }
    Ok(contents)
}

fn plain(bytes: Vec<u8>) -> Entry {
    Entry { bytes, executable: false }
}

/// What a file of an archive is to whoever installs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role<'a> {
    Program,
    License,
    /// A manual, with its section.
    Manual(&'a str),
    /// Completions for bash, with the name of the program.
    Bash(&'a str),
    Fish,
    Zsh,
    Other,
}

/// Decides by the name: `probe.1` and `probe-trace.8` are manuals of `probe`, and `probe.bash`, `probe.fish` and `_probe` its completions.
pub fn role<'a>(path: &'a str, bins: &BTreeSet<&str>) -> Role<'a> {
    let base = path.rsplit('/').next().unwrap_or(path);
    let of_bin = |bin: Option<&'a str>| bin.filter(|bin| bins.contains(bin));
    match () {
        () if bins.contains(path) => Role::Program,
        () if is_license(path) => Role::License,
        () => match (manual(base, bins), of_bin(base.strip_suffix(".bash"))) {
            (Some(section), _) => Role::Manual(section),
            (_, Some(bin)) => Role::Bash(bin),
            _ if of_bin(base.strip_suffix(".fish")).is_some() => Role::Fish,
            _ if of_bin(base.strip_prefix('_')).is_some() => Role::Zsh,
            _ => Role::Other,
        },
    }
}

/// Whether a file of an archive is there for the licences.
pub fn is_license(path: &str) -> bool {
    let top = path.split('/').next().unwrap_or(path);
    let base = path.rsplit('/').next().unwrap_or(path);
    top == licenses::FOLDER
        || is_text(path) && licenses::is_license(&base.to_uppercase())
        || [LICENSES, STD_LICENSES].contains(&path)
}

/// Whether it is the text of a licence, and not one of the collections of those of others.
fn is_text(path: &str) -> bool {
    ![LICENSES, STD_LICENSES].contains(&path)
}

/// The section of a manual of one of the programs.
fn manual<'a>(base: &'a str, bins: &BTreeSet<&str>) -> Option<&'a str> {
    let (stem, section) = base.rsplit_once('.')?;
    let is_section = section.len() == 1 && ('1'..='9').contains(&section.chars().next()?);
    let is_of = |bin: &&str| stem.strip_prefix(*bin).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    (is_section && bins.iter().any(is_of)).then_some(section)
}

/// What Debian wants to be in the file `copyright`: whence it is, and under which licence, in full.
fn copyright(archive: &Archive, texts: &[&Vec<u8>]) -> Vec<u8> {
    let about = &archive.about;
    let source = about.repository.as_ref().or(about.homepage.as_ref());
    let source = source.map_or_else(String::new, |source| format!("It is from {source}.\n"));
    let license = about.license.as_deref().unwrap_or("the licence below");
    let authors = if about.authors.is_empty() { String::new() } else { format!(" by {}", about.authors.join(", ")) };
    let part = |(name, license): (&String, &String)| format!("Licence of {name}, which is a part of it: {license}.\n");
    let parts: String = about.parts.iter().map(part).collect();
    let mut text = format!(
        "{}{authors}.\n{source}Licence: {license}.\n{parts}Those of all that is linked into it are in {LICENSES} and {STD_LICENSES}.\n",
        archive.name
    )
    .into_bytes();
    for license in texts {
        text.extend(b"\n----\n\n");
        text.extend(*license);
    }
    text
}
