//! Reads the types of kernels, whatever they come in.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bpfship_embed::Kernel as Name;
use bpfship_object::Endian;
use bpfship_object::btf::find;

use crate::arch::Arch;
use crate::boot::kernel_image;
use crate::btf::image::{self, Packed};
use crate::btf::select::{self, Origin};
use crate::sys::command::Command;
use crate::sys::files;
use crate::sys::process::Runner;
use crate::ui::error::{Failed, bad_request};

/// Where this machine's kernel has its types.
pub const OWN: &str = "/sys/kernel/btf/vmlinux";

/// What a word of the command line names: a file, the files in a folder, or a kernel of `boot`'s, by its architecture.
pub fn named(word: &str, label: Option<&str>) -> Result<Vec<Origin>> {
    let path = PathBuf::from(word);
    if path.is_file() {
        return Ok(vec![Origin::File(path)]);
    }
    if path.is_dir() {
        let mut found = Vec::new();
        files::walk(&path, "", &mut found)?;
        let files: Vec<Origin> =
            found.iter().filter(|name| select::is_btf(name)).map(|name| Origin::File(path.join(name))).collect();
        if files.is_empty() {
            bad_request!("there is no *.btf in {word}");
        }
        return Ok(files);
    }
    match word.parse::<&'static Arch>() {
        Ok(arch) => Ok(vec![Origin::Boot(select::of_boot(arch, label)?)]),
        Err(_) if word.contains(['/', '.']) => bad_request!("there is no file {word}"),
        Err(error) => bad_request!("there is no file {word}, and {error}"),
    }
}

/// The types of a kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Types {
    pub endian: Endian,
    /// BTF.
    pub data: Vec<u8>,
    /// What the kernel calls itself, where that is known of its bytes.
    pub release: Option<String>,
}

impl Types {
    /// Those in a file of BTF, in an ELF file, in an image of a kernel, or in an archive as BTFHub has them.
    pub fn read(runner: Runner, file: &Path) -> Result<Types> {
        let cannot = || format!("cannot read the types of {}", file.display());
        let bytes = files::read(file)?;
        let is_archive = file.to_string_lossy().ends_with(".tar.xz");
        let bytes = if is_archive { only_file(runner, &bytes).with_context(cannot)? } else { bytes };
        Types::of(runner, &bytes).with_context(cannot)
    }

    fn of(runner: Runner, bytes: &[u8]) -> Result<Types> {
        let error = match Types::plain(bytes) {
            Ok(types) => return Ok(types),
            Err(error) => error,
        };
        // The kernel is the largest of what is packed in its image.
        let mut found: Option<Types> = None;
        for (packed, data) in image::packed(bytes) {
            runner.check_interrupted()?;
            let unpacked = match packed {
                Packed::Xz => xz(runner, data)?,
                other => other.unpack(data).ok(),
            };
            if let Some(types) = unpacked.and_then(|bytes| Types::plain(&bytes).ok())
                && found.as_ref().is_none_or(|found| found.data.len() < types.data.len())
            {
                found = Some(types);
            }
        }
        found.ok_or(error)
    }

    fn plain(bytes: &[u8]) -> Result<Types> {
        let (endian, data) = find::find(bytes)?;
        Ok(Types { endian, data: data.to_vec(), release: image::release(bytes) })
    }
}

/// The file in an archive.
fn only_file(runner: Runner, archive: &[u8]) -> Result<Vec<u8>> {
    let tar = xz(runner, archive)?.context("it is no archive that xz has packed, or damaged")?;
    let mut archive = tar::Archive::new(tar.as_slice());
    let mut file = archive.entries()?.next().context("there is no file in it")??;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What xz makes of data that something may follow; nothing, if it is damaged.
fn xz(runner: Runner, data: &[u8]) -> Result<Option<Vec<u8>>> {
    let command = Command::new("xz", Path::new("/")).args(["--decompress", "--stdout", "--single-stream"]);
    let mut bytes = Vec::new();
    let unpacked = runner.pipe(&command, data, |output| {
        bytes = kernel_image::read(output)?;
        Ok(())
    });
    match unpacked {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.is::<Failed>() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What this machine's kernel is called, and its architecture.
pub fn own_name() -> Result<(Name, &'static Arch)> {
    let name = Name::running().context("cannot read which kernel this is")?;
    match Arch::of_this_machine() {
        Some(arch) => Ok((name, arch)),
        None => bail!("this machine's architecture, {}, is none that is shipped", std::env::consts::ARCH),
    }
}
