//! A folder of archives, what its files state about all of them, and whether each archive is as they say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::report::{self, Report};
use crate::arch::{ARCHES, Arch};
use crate::release::binary::{self, Objects};
use crate::release::boot_report::{self, REPORT, Verdict};
use crate::release::install::INSTALL;
use crate::release::layout::{CHECKSUMS, MANIFEST};
use crate::release::manifest::{self, Artifact, Binary, Manifest};
use crate::release::pack::Entry;
use crate::release::unpack::{self, Unpacked};
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::ui::error::bad_request;
use crate::ui::screen;

pub const ARCHIVE: &str = ".tar.gz";
const CHECKSUM: &str = ".sha256";
const SBOM: &str = ".cdx.json";

/// How many bytes an archive may have: one that could not be compressed at all has little more than what is in it.
const MAX_ARCHIVE: u64 = unpack::LIMIT + (1 << 20);

/// The archives that are checked, and the files beside them.
pub struct Archives {
    pub release: Release,
    pub names: BTreeSet<String>,
    /// All that is in the folder is of the release.
    pub is_folder: bool,
}

/// What an argument names.
pub fn find(path: &Path) -> Result<Archives> {
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => bad_request!("{shown} is not there"),
        Err(error) => bad_request!("{shown} cannot be verified: {error}"),
    };
    if metadata.is_dir() {
        let release = Release::read(path);
        let named = release.manifest.iter().flat_map(Manifest::files);
        let is_other = |file: &String| file.ends_with(SBOM) || [MANIFEST, INSTALL].contains(&file.as_str());
        let listed = release.checksums.iter().flat_map(BTreeMap::keys).filter(|file| !is_other(file)).cloned();
        let present = files::list(path)?.into_iter().filter_map(|file| {
            let archive = file.strip_suffix(CHECKSUM).unwrap_or(&file);
            archive.ends_with(ARCHIVE).then(|| archive.to_owned())
        });
        let names: BTreeSet<String> = named.chain(listed).chain(present).collect();
        if names.is_empty() && release.reports.is_empty() {
            bad_request!("there is nothing to verify in {shown}: no archive (*{ARCHIVE}) is in it");
        }
        return Ok(Archives { release, names, is_folder: true });
    }
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if metadata.is_file() && name.ends_with(ARCHIVE) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            Ok(Archives { release: Release::read(folder), names: BTreeSet::from([name.into()]), is_folder: false })
        }
        _ => bad_request!("{shown} cannot be verified: an archive (*{ARCHIVE}), or a folder of them, is expected"),
    }
}

/// Reads the manifest of a release, if all that is in its folder is as that says. Gives its text, too.
pub fn whole(folder: &Path) -> Result<(Manifest, String)> {
    let release = Release::read(folder);
    let (Some(manifest), Some(text)) = (&release.manifest, &release.manifest_text) else {
        report::refuse(&release.reports)?;
        bad_request!("{} is not there: name the folder of a release", folder.join(MANIFEST).display());
    };
    let mut reports: Vec<Report> = manifest.files().map(|name| release.check(&name, false)).collect();
    reports.push(release.check_script());
    report::refuse(&[release.reports.as_slice(), &reports].concat())?;
    Ok((manifest.clone(), text.clone()))
}

/// Refuses a list of checksums that has files of another release, such as archives that an earlier run of `dist` left.
pub fn check_list(folder: &Path, manifest: &Manifest) -> Result<()> {
    let shown = folder.join(CHECKSUMS);
    let Some(checksums) = Release::read(folder).checksums else { bail!("there is no {}", shown.display()) };
    let mut own = vec![MANIFEST, INSTALL];
    own.extend(manifest.artifacts.iter().flat_map(|artifact| [artifact.file.as_str(), &artifact.sbom.file]));
    match checksums.keys().find(|name| !own.contains(&name.as_str())) {
        Some(other) => bail!(
            "{} names {}, which is not of this release: make all of it in one run, or in another folder (`dist --to`)",
            shown.display(),
            screen::plain(other)
        ),
        None => Ok(()),
    }
}

/// The archives in a folder, or in its list of checksums, that its manifest does not name: in a sentence, if there are any.
pub fn left_out(folder: &Path, manifest: &Manifest) -> Result<Option<String>> {
    let present = files::names(folder)?.into_iter().filter_map(|name| name.into_string().ok());
    let listed = Release::read(folder).checksums.into_iter().flat_map(BTreeMap::into_keys);
    let is_archive = |name: &String| {
        let stem = name.strip_suffix(ARCHIVE);
        stem.is_some_and(|stem| ARCHES.iter().any(|arch| stem.ends_with(&format!("-{}", arch.triple))))
    };
    let is_named = |name: &String| manifest.artifacts.iter().any(|artifact| artifact.file == *name);
    let others: BTreeSet<String> = present
        .chain(listed)
        .filter(is_archive)
        .filter(|name| !is_named(name))
        .map(|name| screen::plain(&name))
        .collect();
    let others: Vec<String> = others.into_iter().collect();
    Ok((!others.is_empty()).then(|| format!("left out, for {MANIFEST} does not name it: {}", others.join(", "))))
}

/// A folder of archives, and what its files state about all of them.
pub struct Release {
    pub folder: PathBuf,
    pub manifest: Option<Manifest>,
    /// Its text, whether it can be understood or not.
    pub manifest_text: Option<String>,
    pub checksums: Option<BTreeMap<String, Sha256>>,
    /// What is wrong with these two.
    pub reports: Vec<Report>,
}

impl Release {
    pub fn read(folder: &Path) -> Release {
        let mut release = Release {
            folder: folder.into(),
            manifest: None,
            manifest_text: None,
            checksums: None,
            reports: Vec::new(),
        };
        let mut report = Report::new(&folder.join(MANIFEST));
        let parsed = text(&folder.join(MANIFEST)).and_then(|text| {
            release.manifest_text = text;
            release.manifest_text.as_deref().map(Manifest::parse).transpose()
        });
        match parsed {
            Ok(manifest) => release.manifest = manifest,
            Err(error) => report.fault(format!("{error:#}: get it again, or use the tool that wrote it")),
        }
        release.reports.push(report);

        let mut report = Report::new(&folder.join(CHECKSUMS));
        match text(&folder.join(CHECKSUMS)).and_then(|text| text.as_deref().map(manifest::checksums).transpose()) {
            Ok(checksums) => release.checksums = checksums,
            Err(error) => report.fault(format!("{error:#}")),
        }
        if let (Some(manifest), Some(checksums)) = (&release.manifest, &release.checksums) {
            for artifact in &manifest.artifacts {
                let Artifact { file, sha256, sbom, .. } = artifact;
                for (file, sha256) in [(file, sha256), (&sbom.file, &sbom.sha256)] {
                    if checksums.get(file) != Some(sha256) {
                        report.fault(format!("it disagrees with {MANIFEST} about {file}"));
                    }
                }
            }
            let found = release.manifest_text.as_ref().map(|text| hash::bytes(text.as_bytes()));
            if checksums.get(MANIFEST) != found.as_ref() {
                report.fault(format!("it has another SHA-256 for {MANIFEST} than that has, or none"));
            }
        }
        release.reports.push(report);
        release.reports.retain(|report| !report.faults.is_empty());
        release
    }

    /// Everything about one archive.
    pub fn check(&self, name: &str, without_checksum: bool) -> Report {
        let mut report = Report::new(&self.folder.join(name));
        if let Err(error) = self.check_archive(name, without_checksum, &mut report) {
            report.fault(format!("{error:#}"));
        }
        report
    }

    fn check_archive(&self, name: &str, without_checksum: bool, report: &mut Report) -> Result<()> {
        let target =
            |arch: &&Arch| name.strip_suffix(ARCHIVE).is_some_and(|stem| stem.ends_with(&format!("-{}", arch.triple)));
        let (Some(arch), true) = (ARCHES.iter().find(target), manifest::is_file_name(name)) else {
            bail!("it is not called NAME-VERSION-TARGET{ARCHIVE}, for a target of this tool: rename it, if it was");
        };
        let artifact =
            self.manifest.iter().flat_map(|manifest| &manifest.artifacts).find(|artifact| artifact.file == name);

        let path = self.folder.join(name);
        let (size, found, unpacked) = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("it is not there, although it is named: download it, or verify only archives that are there")
            }
            metadata => read(&path, metadata?)?,
        };
        report.sha256 = Some(found);
        self.check_checksum(name, found, artifact, without_checksum, report);
        self.check_sbom(name, artifact, report);
        unpacked.faults.iter().for_each(|fault| report.fault(fault));
        if let (Some(manifest), Some(artifact)) = (&self.manifest, artifact) {
            if artifact.size != size {
                report.fault(format!("it has {size} bytes, and {MANIFEST} has {}", artifact.size));
            }
            if unpacked.tar_sha256.is_some_and(|sha256| sha256 != artifact.tar_sha256) {
                report.fault(format!("its uncompressed content does not match {MANIFEST}"));
            }
            if unpacked.date.is_some_and(|date| date != manifest.source_date_epoch) {
                report.fault(format!("its date is not the source_date_epoch of {MANIFEST}"));
            }
            for binary in &artifact.binaries {
                let mut by_name = manifest::objects_of(&manifest.bpf_objects, arch);
                by_name.retain(|_, object| binary.bpf_objects.contains(&object.file));
                let objects = Objects { of: MANIFEST, by_name, some: false, btf: None };
                check_named_binary(&unpacked, arch, binary, &objects, report);
            }
        } else {
            let is_there = self.folder.join(MANIFEST).exists();
            let why = match &self.manifest {
                Some(_) => {
                    report.is_unnamed = true;
                    format!("{MANIFEST} does not name it")
                }
                None if is_there => format!("{MANIFEST} cannot be used"),
                None => format!("no {MANIFEST}"),
            };
            report.notes.push(format!("{why}: the BPF objects were checked for form and byte order only"));
            check_any_binary(&unpacked, arch, report);
        }
        Ok(())
    }

    /// What lists all that is in an archive must be the one that was made with it, where it is there.
    fn check_sbom(&self, name: &str, artifact: Option<&Artifact>, report: &mut Report) {
        let file = sbom(name);
        let listed = self.checksums.as_ref().and_then(|checksums| checksums.get(&file));
        let path = self.folder.join(&file);
        if path.symlink_metadata().is_err() {
            return;
        }
        let Some(wanted) = artifact.map(|artifact| &artifact.sbom.sha256).or(listed) else {
            report
                .notes
                .push(format!("no {MANIFEST} or {CHECKSUMS} names {file} beside it: nothing in that was checked"));
            return;
        };
        if !path.is_file() || !hash::file(&path).is_ok_and(|found| found == *wanted) {
            report.fault(format!("{file} beside it is not the one that was made with it: get it again"));
        }
    }

    /// It must have been booted, and have passed wherever it was.
    pub fn check_boots(&self, report: &mut Report) {
        let known = match text(&self.folder.join(REPORT)).map(|text| text.as_deref().map(boot_report::Report::parse)) {
            Ok(Some(Some(known))) => known,
            Ok(Some(None)) => return report.fault(format!("{REPORT} is none that this version understands")),
            Ok(None) => return report.fault(format!("there is no {REPORT} with its boots")),
            Err(error) => return report.fault(format!("{error:#}")),
        };
        let boots: Vec<_> = known.boots.iter().filter(|boot| report.sha256 == Some(boot.sha256)).collect();
        for boot in &boots {
            if let Verdict::Fail(why) = &boot.verdict {
                report.fault(format!("{REPORT} has a failure on {}: {why}", boot.kernel.label));
            }
        }
        match boots.iter().any(|boot| boot.verdict.is_pass()) {
            true => report.against.push(REPORT.into()),
            false => report.fault(format!("{REPORT} contains no kernel on which it passed: run `cargo xtask boot`")),
        }
    }

    /// The script beside the archives must be the one that was made with them, if it is there.
    pub fn check_script(&self) -> Report {
        let path = self.folder.join(INSTALL);
        let mut report = Report::new(&path);
        if path.symlink_metadata().is_err() {
            return report;
        }
        let found = match text(&path) {
            Ok(text) => hash::bytes(text.unwrap_or_default().as_bytes()),
            Err(error) => {
                report.fault(format!("{error:#}"));
                return report;
            }
        };
        self.check_checksum(INSTALL, found, None, true, &mut report);
        report
    }

    /// Every checksum that there is must be right.
    fn check_checksum(
        &self,
        name: &str,
        found: Sha256,
        artifact: Option<&Artifact>,
        without_checksum: bool,
        report: &mut Report,
    ) {
        let mut hold = |source: &str, wanted: &Sha256| {
            report.against.push(source.into());
            if *wanted != found {
                report.fault(format!("its SHA-256 is {found:.12}…, and {source} has {wanted:.12}…: get it again"));
            }
        };
        let beside = checksum_beside(&self.folder, name);
        if let Ok(Some(wanted)) = &beside {
            hold(CHECKSUM, wanted);
        }
        if let Some(wanted) = self.checksums.as_ref().and_then(|checksums| checksums.get(name)) {
            hold(CHECKSUMS, wanted);
        }
        if let Some(artifact) = artifact {
            hold(MANIFEST, &artifact.sha256);
        }
        match beside {
            Err(error) => report.fault(format!("its {CHECKSUM} cannot be used: {error:#}")),
            Ok(_) if report.against.is_empty() && !without_checksum => {
                report.fault(format!("its checksum is not known: get {name}{CHECKSUM}, or pass --no-checksum"));
            }
            Ok(_) => {}
        }
    }
}

/// What lists all that is in an archive.
pub fn sbom(archive: &str) -> String {
    format!("{}{SBOM}", archive.strip_suffix(ARCHIVE).unwrap_or(archive))
}

/// The checksum file beside an archive, if it is there.
fn checksum_beside(folder: &Path, name: &str) -> Result<Option<Sha256>> {
    let Some(text) = text(&folder.join(format!("{name}{CHECKSUM}")))? else {
        return Ok(None);
    };
    let mut checksums = manifest::checksums(&text)?;
    match checksums.remove(name) {
        Some(sha256) if checksums.is_empty() => Ok(Some(sha256)),
        _ => bail!("it is about something else"),
    }
}

/// Reads an archive, once and to its end. Gives its size and hash.
fn read(path: &Path, metadata: fs::Metadata) -> Result<(u64, Sha256, Unpacked)> {
    if !metadata.is_file() {
        bail!("it is not a file");
    }
    if metadata.len() > MAX_ARCHIVE {
        bail!("it has {} MB, and an archive may have {}", metadata.len() / 1_000_000, MAX_ARCHIVE / 1_000_000);
    }
    let top = path.file_name().and_then(|name| name.to_str()?.strip_suffix(ARCHIVE)).unwrap_or_default();
    // It may grow while it is read.
    let mut file = hash::Reader::new(File::open(path).context("it cannot be opened")?.take(MAX_ARCHIVE));
    let unpacked = unpack::archive(BufReader::with_capacity(1 << 16, &mut file), top);
    io::copy(&mut file, &mut io::sink()).context("it cannot be read")?;
    Ok((file.size, file.finish(), unpacked))
}

/// A binary that the manifest names.
fn check_named_binary(unpacked: &Unpacked, arch: &Arch, wanted: &Binary, objects: &Objects, report: &mut Report) {
    let Some(entry) = unpacked.files.get(&wanted.file) else {
        // What comes after a damage is not known.
        if unpacked.tar_sha256.is_some() {
            report.fault(format!("there is no {} in it, which {MANIFEST} names", wanted.file));
        }
        return;
    };
    if !entry.executable {
        report.fault(format!("{} is not executable", wanted.file));
    }
    if entry.bytes.len() as u64 != wanted.size || hash::bytes(&entry.bytes) != wanted.sha256 {
        report.fault(format!("{} does not match {MANIFEST}", wanted.file));
    }
    check_binary(&wanted.file, entry, arch, Some(objects), report);
}

/// Whatever program there is.
fn check_any_binary(unpacked: &Unpacked, arch: &Arch, report: &mut Report) {
    let is_program = |(name, entry): &(&String, &Entry)| {
        entry.executable && !name.contains('/') && entry.bytes.starts_with(&object::elf::ELFMAG)
    };
    let mut programs = unpacked.files.iter().filter(is_program).peekable();
    if programs.peek().is_none() && unpacked.tar_sha256.is_some() {
        report.fault("there is no program in its folder");
    }
    for (name, entry) in programs {
        check_binary(name, entry, arch, None, report);
    }
}

fn check_binary(name: &str, entry: &Entry, arch: &Arch, objects: Option<&Objects>, report: &mut Report) {
    match binary::check(&entry.bytes, arch, objects, &[]) {
        Ok(checked) => checked.faults.iter().for_each(|fault| report.fault(format!("{name}: {fault}"))),
        Err(error) => report.fault(format!("{name}: it cannot be understood: {error:#}")),
    }
}

/// The text of a file, if it is there.
pub fn text(path: &Path) -> Result<Option<String>> {
    files::foreign_text(path, manifest::MAX_TEXT)
}
