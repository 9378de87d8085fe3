//! The Rust toolchain that makes the bytes: the one that the workspace pins.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use toml::Table;

use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::process::Runner;

/// Where a workspace pins its Rust.
pub const PIN: &str = "rust-toolchain.toml";

/// The names that rustup knows for such a file.
pub const PINS: [&str; 2] = [PIN, "rust-toolchain"];

/// The Rust toolchain that the workspace pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rust {
    pub sysroot: PathBuf,
    /// As `rustc -vV` prints it.
    pub version: String,
    pub commit: String,
    pub llvm: String,
    /// The target that it runs on itself.
    pub host: String,
}

impl Rust {
    /// The Rust that is in use in a folder.
    pub fn read(runner: Runner, folder: &Path, offline: bool) -> Result<Rust> {
        let mut which = Command::new("rustc", folder).args(["--print", "sysroot"]);
        if offline {
            // Else rustup's proxy may fetch the toolchain.
            which = which.env("RUSTUP_AUTO_INSTALL", "0");
        }
        let sysroot = runner.read(&which).context("cannot ask rustc where it is")?;
        let sysroot = PathBuf::from(sysroot.trim_end());
        // From here on past rustup's proxy, which would look for a toolchain anew each time.
        let verbose = runner.read(&Command::new(sysroot.join("bin/rustc"), folder).arg("-vV"))?;
        let field = |name: &str| {
            verbose
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(String::from)
                .with_context(|| format!("`rustc -vV` does not print its {name}"))
        };
        Ok(Rust {
            version: field("release")?,
            commit: field("commit-hash")?,
            llvm: field("LLVM version")?,
            host: field("host")?,
            sysroot,
        })
    }

    /// The Rust in a workspace that cargo was not asked about, if it is the one that is pinned. Nothing is fetched.
    pub fn pinned(runner: Runner, root: &Path) -> Result<Rust> {
        let rust = Rust::read(runner, root, true)?;
        rust.check_pin(root)?;
        Ok(rust)
    }

    /// The bytes depend on the compiler, so it must be the one that the workspace pins.
    pub fn check_pin(&self, root: &Path) -> Result<()> {
        match pin(root)? {
            Some((pinned, file)) if pinned != self.version => bail!(
                "this is Rust {} in {}, but {} pins {pinned}: install it (rustup toolchain install {pinned})",
                self.version,
                self.sysroot.display(),
                root.join(file).display()
            ),
            _ => Ok(()),
        }
    }

    /// Where the sources of the standard library are, once rustup has got them, as `/rustc/COMMIT` in a prebuilt one.
    pub fn sources(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust")
    }

    /// What decides what it makes, and which sources of the standard library are its own.
    pub fn identity(&self) -> String {
        format!("{} {}", self.version, self.commit)
    }

    pub fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    pub fn cargo(&self) -> PathBuf {
        self.sysroot.join("bin/cargo")
    }
}

/// The version of Rust that a workspace pins, if it does, and the file that has it.
pub fn pin(root: &Path) -> Result<Option<(String, &'static str)>> {
    for file in PINS {
        // Only a full version is a pin: `stable` is whatever is installed.
        if let Some(channel) = channel(&root.join(file))?.filter(|channel| channel.split('.').count() == 3) {
            return Ok(Some((channel, file)));
        }
    }
    Ok(None)
}

/// What a toolchain file names, if it names anything: a version, `stable`, or the like.
pub fn channel(file: &Path) -> Result<Option<String>> {
    let text = files::read_if_there(file)?.unwrap_or_default();
    // The old form is the word alone.
    let word = text.trim();
    if !word.contains(['=', '[', '\n']) {
        return Ok((!word.is_empty()).then(|| word.to_owned()));
    }
    let pin: Table = text.parse().with_context(|| format!("cannot understand {}", file.display()))?;
    let channel = pin.get("toolchain").and_then(|table| table.get("channel")).and_then(toml::Value::as_str);
    Ok(channel.map(String::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_found_in_either_file_and_in_either_form() {
        for (file, text, pinned) in [
            ("rust-toolchain.toml", "[toolchain]\nchannel = \"1.95.0\"\n", Some("1.95.0")),
            ("rust-toolchain", "[toolchain]\r\nchannel = \"1.95.0\"\r\n", Some("1.95.0")),
            ("rust-toolchain", "1.90.0\n", Some("1.90.0")),
            ("rust-toolchain", "stable", None),
            ("rust-toolchain", "", None),
            ("rust-toolchain.toml", "[toolchain]\ncomponents = [\"clippy\"]\n", None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            files::write(&folder.path().join(file), text).unwrap();
            assert_eq!(pin(folder.path()).unwrap(), pinned.map(|version| (version.into(), file)), "{file}: {text}");
        }
    }
}
