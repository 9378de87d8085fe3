//! What our image for builds is made of, as data.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use crate::arch::Arch;
use crate::container::lock::{Lock, SUITE};
use crate::sys::hash;

/// What the names of images in the cache begin with.
pub const PREFIX: &str = "builder-image-";

/// The name of the image in an engine, before the colon.
const REPOSITORY: &str = "bpfship-builder";

/// What every build needs: a shell, and what links build scripts and procedural macros.
const PACKAGES: [&str; 3] = ["dash", "gcc", "libc6-dev"];

/// Stands for how files of packages become an image. Another number makes every image anew.
const VERSION: u32 = 1;

/// What is asked for: by the configuration, and by the files that are built.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The user's own image, by digest.
    pub image: Option<&'a str>,
    /// More packages of Debian's in ours.
    pub packages: &'a [String],
    /// The architecture whose image that is, if it is not for all.
    pub arch: Option<&'static str>,
    /// The folder that may have a lock.
    pub workspace: &'a Path,
}

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// Debian's word for the architecture of this machine.
    pub debian: &'static str,
    /// The engines' word for it.
    pub platform: &'static str,
    /// The packages that it is for; others are in it because those need them.
    pub packages: BTreeSet<String>,
    /// Exactly what is in it. Without one, what Debian has on the day that it is made.
    pub lock: Option<Lock>,
}

impl Recipe {
    pub fn new(debian: &'static str, platform: &'static str, more: &[String], lock: Option<Lock>) -> Recipe {
        let packages = PACKAGES.iter().map(ToString::to_string).chain(more.iter().cloned()).collect();
        Recipe { debian, platform, packages, lock }
    }

    /// What apt is asked for.
    pub fn asked_for(&self) -> Vec<String> {
        match &self.lock {
            Some(lock) => lock.packages.iter().map(|it| format!("{}={}", it.name, it.version)).collect(),
            None => self.packages.iter().cloned().collect(),
        }
    }

    fn hash(&self) -> String {
        let lock = self.lock.as_ref().map(Lock::to_string).unwrap_or_default();
        let text = format!("{VERSION} {SUITE} {} {:?} {lock}", self.debian, self.packages);
        format!("{:.16}", hash::bytes(text.as_bytes()))
    }

    /// The name of the image in the cache.
    pub fn entry(&self) -> String {
        format!("{PREFIX}{}", self.hash())
    }

    /// Its name in an engine.
    pub fn tag(&self) -> String {
        format!("{REPOSITORY}:{}", self.hash())
    }
}

/// That of an image with what every build needs, on this machine.
pub fn usual() -> Option<Recipe> {
    let host = Arch::of_this_machine()?;
    Some(Recipe::new(host.debian?, host.name, &[], None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_package_or_another_lock_is_another_image() {
        let recipe = |more: &[&str], lock: Option<&str>| {
            let more: Vec<String> = more.iter().map(ToString::to_string).collect();
            Recipe::new("amd64", "amd64", &more, lock.map(|text| text.parse().unwrap()))
        };
        let hash = "0".repeat(64);
        let lock = format!("suite trixie\narchitecture amd64\nimage sha256:{hash}\npackage dash 0.5.12-12 {hash}\n");
        let plain = recipe(&[], None);
        assert_eq!(plain.asked_for(), ["dash", "gcc", "libc6-dev"]);
        let locked = recipe(&[], Some(&lock));
        assert_eq!(locked.asked_for(), ["dash=0.5.12-12"]);
        let entries = BTreeSet::from([plain.entry(), recipe(&["perl"], None).entry(), locked.entry()]);
        assert_eq!(entries.len(), 3);
    }
}
