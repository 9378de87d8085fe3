//! `kernels.lock`: the packages that kernels are from, by version and SHA-256. Checked in, it pins them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Error, Result, bail};

use crate::boot::kernels::Kernel;
use crate::debian::deb::Deb;
use crate::sys::files;
use crate::ui::error::bad_request;

/// The name of the file, in the root of a workspace.
pub const FILE: &str = "kernels.lock";

/// The packages of kernels, by the names of their architectures and their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    pins: BTreeMap<(String, String), Deb>,
}

impl Lock {
    /// Reads that of a workspace. One that is not there pins nothing.
    pub fn read(root: &Path) -> Result<Lock> {
        match files::read_if_there(&root.join(FILE))? {
            None => Ok(Lock::default()),
            Some(text) => match text.parse() {
                Ok(lock) => Ok(lock),
                Err(error) => bad_request!("{FILE} cannot be read: {error}"),
            },
        }
    }

    /// The package that a kernel must be from.
    pub fn pin(&self, kernel: &Kernel) -> Option<&Deb> {
        self.pins.get(&key(kernel))
    }

    /// How many pins are not as `before`.
    pub fn moved(&self, before: &Lock) -> usize {
        self.pins.iter().filter(|(key, deb)| before.pins.get(key) != Some(deb)).count()
    }

    pub fn set(&mut self, kernel: &Kernel, deb: Deb) {
        self.pins.insert(key(kernel), deb);
    }
}

fn key(kernel: &Kernel) -> (String, String) {
    (kernel.arch.to_string(), kernel.kept_as.to_owned())
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# The packages that kernels are from. `cargo xtask kernels --update` writes it anew.")?;
        self.pins.iter().try_for_each(|((arch, label), Deb { name, version, sha256 })| {
            writeln!(f, "kernel {arch} {label} {name} {version} {sha256}")
        })
    }
}

impl FromStr for Lock {
    type Err = Error;

    fn from_str(text: &str) -> Result<Lock> {
        let mut lock = Lock::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let ["kernel", arch, label, name, version, sha256] = line.split(' ').collect::<Vec<_>>()[..] else {
                bail!("`{line}` is not understood");
            };
            let deb = Deb { name: name.into(), version: version.into(), sha256: sha256.parse()? };
            lock.pins.insert((arch.into(), label.into()), deb);
        }
        Ok(lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::kernels::KERNELS;
    use crate::sys::hash;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is() {
        let deb = Deb { name: "linux-image-6.1".into(), version: "6.1.1-1".into(), sha256: hash::bytes(b"deb") };
        let mut lock = Lock::default();
        lock.set(&KERNELS[0], deb.clone());
        let read: Lock = lock.to_string().parse().unwrap();
        assert_eq!(read, lock);
        // The one whose BTF is hidden is the same kernel.
        assert_eq!(
            (read.pin(&KERNELS[0]), read.pin(&KERNELS[1]), read.pin(&KERNELS[2])),
            (Some(&deb), Some(&deb), None)
        );
        for (text, why) in [("kernel amd64 x y\n", "is not understood"), ("kernel a b c d e\n", "`e`")] {
            let error = text.parse::<Lock>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
