//! `cargo xtask dist`: from sources to checked, checksummed archives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Error, Result, bail};
use cargo_metadata::{PackageId, TargetKind};

use crate::arch::{ARCHES, Arch, Endian, Std};
use crate::binary;
use crate::bpf;
use crate::bpf::lock::Lock;
use crate::cargo_build::{self, Lines};
use crate::config;
use crate::engine::Place;
use crate::error::{self, Damaged, Failed};
use crate::facts::{Facts, Source};
use crate::files;
use crate::flags;
use crate::hash;
use crate::licenses;
use crate::manifest::{self, Artifact, Binary, BpfObject, Manifest, Origin, Rustc};
use crate::messages::Messages;
use crate::pack::{self, Entry};
use crate::plan::{self, Plan, Product};
use crate::remedies;
use crate::run::Runner;
use crate::screen::Row;
use crate::sysroot::{self, Sysroot};
use crate::toolchain;
use crate::unpack;
use crate::zig;

pub(crate) const MANIFEST: &str = "dist-manifest.json";
pub(crate) const CHECKSUMS: &str = "SHA256SUMS";

/// Runs the verb.
pub fn run(runner: Runner, facts: &Facts, request: &flags::Dist) -> Result<()> {
    let source = Source::read(runner, &facts.root)?;
    let place = match facts.bpf.stale(&facts.config.bpf) {
        Some(_) if !request.locked => Place::find(runner, facts, request.clang.engine)?,
        _ => Place::Host,
    };
    let plan = plan::dist(facts, source, &place, request)?;

    if request.show.plan {
        return plan::show(&plan, request.show.json);
    }
    let _lock = facts.lock(runner)?;
    let staging = Staging::new(&plan.dist)?;

    let lines: Lines =
        plan.products.iter().map(|product| (product.arch.triple, runner.line(product.arch.name))).collect();
    let _held = toolchain::get(runner, facts, &plan.get, &lines)?;
    if let Some((reason, objects)) = &plan.stale {
        runner.say(format!("compiling the BPF objects again: {reason}"));
        bpf::compile::run(runner, &facts.cache, objects)?;
    }
    let built = build(runner, facts, &plan, &lines)?;
    check_sysroots(runner, facts, &plan, &built)?;
    if let Some(failed) = built.failed {
        return Err(Error::new(failed).context("cannot build"));
    }
    let objects = Objects::read(facts)?;

    let earlier = earlier(&plan.dist);
    let mut packer = Packer {
        runner,
        facts,
        plan: &plan,
        built: &built,
        objects: &objects,
        staging: &staging,
        earlier: earlier.as_ref(),
        documents: documents(facts, &plan.source)?,
        licenses: BTreeMap::new(),
    };
    let mut failures = Vec::new();
    let mut artifacts = Vec::new();
    for product in &plan.products {
        runner.check_interrupted()?;
        lines[product.arch.triple].set("checking and packing");
        match packer.finish(product) {
            Ok(artifact) => artifacts.push(artifact),
            Err(error) if error.is::<Damaged>() => return Err(error),
            Err(error) => failures.push((product.arch.name, error::describe(&error))),
        }
    }
    drop(lines);
    if !failures.is_empty() {
        bail!("nothing was written to dist/, because this failed:{}", listed(&failures));
    }

    let manifest = describe(facts, &plan, &objects, artifacts, earlier)?;
    runner.check_interrupted()?;
    staging.publish(&manifest)?;
    let made: Vec<_> = plan.products.iter().map(|product| product.arch).collect();
    report(runner, &plan.dist, &made, Some(&built.seconds), &manifest);
    Ok(())
}

/// One line for each reason, with the architectures that it holds for.
fn listed(failures: &[(&str, String)]) -> String {
    let mut reasons: Vec<&str> = Vec::new();
    for (_, reason) in failures {
        if !reasons.contains(&reason.as_str()) {
            reasons.push(reason);
        }
    }
    let line = |reason: &str| {
        let arches: Vec<&str> = failures.iter().filter(|(_, failed)| failed == reason).map(|(arch, _)| *arch).collect();
        format!("\n  {}: {reason}", arches.join(", "))
    };
    reasons.into_iter().map(line).collect()
}

/// What an earlier run says of `dist/`. A manifest of another version of this tool, or none at all, is replaced.
pub(crate) fn earlier(dist: &Path) -> Option<Manifest> {
    fs::read_to_string(dist.join(MANIFEST)).ok().and_then(|text| Manifest::parse(&text).ok())
}

/// What came out of cargo.
#[derive(Debug, Default)]
struct Built {
    /// The binary for each target.
    binaries: BTreeMap<String, PathBuf>,
    /// When it was there, in seconds since the build began.
    seconds: BTreeMap<String, f32>,
    /// The packages linked into it.
    linked: BTreeMap<String, BTreeSet<PackageId>>,
    /// Why there is none.
    reasons: BTreeMap<String, String>,
    /// The targets for which something was compiled, and not just found to be there.
    compiled: BTreeSet<String>,
    /// How cargo failed, if not for single targets.
    failed: Option<Failed>,
}

/// Builds all binaries at once. A target whose binary cannot be built has none in the result.
fn build(runner: Runner, facts: &Facts, plan: &Plan, lines: &Lines) -> Result<Built> {
    let begin = Instant::now();
    let build = &plan.build;
    runner.perform(&build.home)?;
    let arches: Vec<&str> = plan.products.iter().map(|product| product.arch.name).collect();
    runner.say(format!("building {} for {}", facts.config.bin, arches.join(", ")));
    let mut built = Built::default();
    let (status, messages) = cargo_build::run(runner, &build.command, &build.target, lines, |triple, artifact| {
        let is_ours = artifact.target.name == facts.config.bin && artifact.target.kind.contains(&TargetKind::Bin);
        if let (true, Some(binary)) = (is_ours, artifact.executable) {
            built.binaries.insert(triple.into(), binary.into());
            built.seconds.insert(triple.into(), begin.elapsed().as_secs_f32());
        }
        built.linked.entry(triple.into()).or_default().insert(artifact.package_id);
    })?;
    if !status.success() && (!messages.finished || built.binaries.len() == plan.products.len()) {
        built.failed = Some(Failed::shown(remedies::BUILD, status, messages.errors()));
    }
    built.reasons = reasons(&messages);
    built.compiled = messages.begun;
    Ok(built)
}

/// Makes sure that what was compiled was compiled with the standard library that the cache was given. What a damaged one
/// left is removed, for cargo does not see that it has to be built again.
fn check_sysroots(runner: Runner, facts: &Facts, plan: &Plan, built: &Built) -> Result<()> {
    for product in plan.products.iter().filter(|product| built.compiled.contains(product.arch.triple)) {
        if product.std == Std::Source {
            let sysroot = Sysroot::new(product.arch, &facts.rust);
            let checked = facts.cache.check(runner, &sysroot.name, |_| true);
            if checked.is_err() {
                files::remove_folder(&plan.build.target.join(product.arch.triple))?;
            }
            checked?;
        }
    }
    Ok(())
}

/// Why nothing came out for a target, for the empty one for every target: what cargo said of it stands above.
fn reasons(messages: &Messages) -> BTreeMap<String, String> {
    let reason = |triple: &str, packages: &BTreeSet<String>| {
        let names = packages.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match messages.problems(triple, packages).find_map(|said| remedies::verdict(remedies::BUILD, said)) {
            Some(remedy) => format!("cannot build {names}: {remedy}"),
            None => format!("cannot build {names}, for the reason above"),
        }
    };
    messages.failed.iter().map(|(triple, packages)| (triple.clone(), reason(triple, packages))).collect()
}

/// The checked-in BPF objects.
struct Objects {
    /// By file name.
    list: Vec<BpfObject>,
    lock: String,
}

impl Objects {
    fn read(facts: &Facts) -> Result<Objects> {
        let folder = facts.root.join(&facts.config.bpf.folder);
        let lock = files::read(&folder.join("bpf.lock"))?;
        let mut list = Vec::new();
        for (file, sha256) in Lock::parse(&String::from_utf8_lossy(&lock)).objects {
            let bytes = files::read(&folder.join("objects").join(&file))?;
            if hash::bytes(&bytes) != sha256 {
                bail!("the BPF object {file} was altered while this ran: run it again");
            }
            list.push(BpfObject { file, size: bytes.len(), sha256 });
        }
        Ok(Objects { list, lock: hash::bytes(&lock) })
    }

    /// Those that a binary of this byte order must hold.
    fn of(&self, endian: Endian) -> binary::Objects<'_> {
        binary::Objects { of: "bpf.lock", by_name: manifest::objects_of(&self.list, endian) }
    }
}

/// Checks binaries and packs them.
struct Packer<'a> {
    runner: Runner,
    facts: &'a Facts,
    plan: &'a Plan,
    built: &'a Built,
    objects: &'a Objects,
    staging: &'a Staging,
    earlier: Option<&'a Manifest>,
    /// What every archive holds.
    documents: BTreeMap<String, Entry>,
    /// Licence texts that were composed already: most architectures have the same.
    licenses: BTreeMap<(&'a BTreeSet<PackageId>, bool), Vec<u8>>,
}

impl Packer<'_> {
    fn finish(&mut self, product: &Product) -> Result<Artifact> {
        let arch = product.arch;
        let Some(path) = self.built.binaries.get(arch.triple) else {
            let reason = self.built.reasons.get(arch.triple).or_else(|| self.built.reasons.get(""));
            bail!("{}", reason.map_or("cannot build it, for the reason above", String::as_str));
        };
        let binary = files::read(path)?;
        let faults = binary::check(&binary, arch, Some(&self.objects.of(arch.endian)), &self.facts.private)?;
        if !faults.is_empty() {
            bail!("{} must not be shipped: {}", path.display(), faults.join("; "));
        }
        let config = &self.facts.config;
        let described = Binary { file: config.bin.clone(), size: binary.len(), sha256: hash::bytes(&binary) };

        let mut packed = self.documents.clone();
        let mut add = |name: &str, bytes, executable| packed.insert(name.into(), Entry { bytes, executable });
        add(licenses::FILE, self.licenses(product)?, false);
        add(licenses::STD_FILE, files::read(&licenses::std_docs(&self.facts.rust).join(licenses::STD_FILE))?, false);
        add(&config.bin, binary, true);

        let tar = pack::tar(&product.stem, &packed, self.plan.source.date)?;
        let file = format!("{}.tar.gz", product.stem);
        let tar_sha256 = hash::bytes(&tar);
        let archive = match self.present(&file, &tar_sha256) {
            Some(archive) => archive,
            None => {
                let archive = pack::gzip(&tar)?;
                // As everybody else will read it.
                let unpacked = unpack::archive(archive.as_slice(), &product.stem);
                if !unpacked.faults.is_empty() {
                    bail!("{file} must not be shipped: {}", unpacked.faults.join("; "));
                }
                if unpacked.files != packed {
                    bail!("{file} must not be shipped: it does not hold what was packed");
                }
                archive
            }
        };
        let sha256 = hash::bytes(&archive);
        self.staging.write_archive(&file, &archive, &sha256)?;
        Ok(Artifact {
            file,
            size: archive.len(),
            sha256,
            tar_sha256,
            arch: arch.name.into(),
            triple: arch.triple.into(),
            endianness: arch.endian.name().into(),
            std: product.std.name().into(),
            sysroot: (product.std == Std::Source).then(|| Sysroot::new(arch, &self.facts.rust).name),
            minimum_kernel: minimum_kernel(arch, config.minimum_kernel.as_deref()),
            binary: described,
        })
    }

    /// The archive that an earlier run made of the same files, if it still is what that run said: compressing is most of
    /// the work of a run that changes nothing.
    fn present(&self, file: &str, tar_sha256: &str) -> Option<Vec<u8>> {
        let earlier = self.earlier.filter(|earlier| earlier.origin.compressor == pack::COMPRESSOR)?;
        let artifact = earlier.artifacts.iter().find(|artifact| artifact.file == file)?;
        let archive = fs::read(self.plan.dist.join(file)).ok()?;
        (artifact.tar_sha256 == tar_sha256 && artifact.sha256 == hash::bytes(&archive)).then_some(archive)
    }

    fn licenses(&mut self, product: &Product) -> Result<Vec<u8>> {
        let linked = self.built.linked.get(product.arch.triple).context("cargo did not say what it linked")?;
        let key = (linked, product.std == Std::Source);
        if let Some(text) = self.licenses.get(&key) {
            return Ok(text.clone());
        }
        let sysroot = Sysroot::new(product.arch, &self.facts.rust).name;
        if product.std == Std::Source {
            let licenses = [sysroot::RUNTIME_LICENSE, sysroot::UNWINDER_LICENSE];
            self.facts.cache.check(self.runner, &sysroot, |file| licenses.contains(&file))?;
        }
        let sysroot = self.facts.cache.path(&sysroot);
        let sysroot = (product.std == Std::Source).then_some(sysroot.as_path());
        let libbpf = self.facts.bpf.libbpf_folder.as_deref();
        let text = licenses::compose(&self.facts.packages, linked, &self.facts.rust, sysroot, libbpf)?.into_bytes();
        self.licenses.insert(key, text.clone());
        Ok(text)
    }
}

/// The later of what the architecture and the application need.
fn minimum_kernel(arch: &Arch, of_application: Option<&str>) -> String {
    [Some(arch.min_kernel), of_application]
        .into_iter()
        .flatten()
        .max_by_key(|version| config::kernel_version(version))
        .unwrap_or(arch.min_kernel)
        .into()
}

/// README, CHANGELOG and licences of the workspace, and whatever the configuration includes. What git ignores is not part
/// of the commit, and not of what is shipped.
fn documents(facts: &Facts, source: &Source) -> Result<BTreeMap<String, Entry>> {
    let names = match &source.files {
        Some(files) => files.iter().filter(|file| !file.contains('/')).cloned().collect(),
        None => files::list(&facts.root)?,
    };
    let mut found = Vec::new();
    for name in names {
        let upper = name.to_uppercase();
        let is_document = upper.starts_with("README") || upper.starts_with("CHANGELOG") || licenses::is_license(&upper);
        if is_document && facts.root.join(&name).is_file() {
            found.push(name);
        }
    }
    for path in &facts.config.include {
        let included = walk(&facts.root, path)?;
        let before = found.len();
        found
            .extend(included.into_iter().filter(|file| source.files.as_ref().is_none_or(|files| files.contains(file))));
        if found.len() == before {
            bail!(
                "`include` in [workspace.metadata.dist] of Cargo.toml names `{path}`, and git ignores all of it: commit it"
            );
        }
    }
    found.into_iter().map(|name| Ok((name.clone(), entry(&facts.root.join(name))?))).collect()
}

/// A file, or all files in a folder, by their paths in the workspace.
fn walk(root: &Path, path: &str) -> Result<Vec<String>> {
    let full = root.join(path);
    if full.is_dir() {
        let names = files::list(&full)?;
        let walked: Result<Vec<_>> = names.iter().map(|name| walk(root, &format!("{path}/{name}"))).collect();
        return Ok(walked?.concat());
    }
    if !full.is_file() {
        bail!("{} can't be packed: it is not a file, and not a folder", full.display());
    }
    Ok(vec![path.into()])
}

fn entry(file: &Path) -> Result<Entry> {
    use std::os::unix::fs::PermissionsExt;
    let executable = file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o100 != 0);
    Ok(Entry { bytes: files::read(file)?, executable })
}

fn describe(
    facts: &Facts,
    plan: &Plan,
    objects: &Objects,
    artifacts: Vec<Artifact>,
    earlier: Option<Manifest>,
) -> Result<Manifest> {
    let mut manifest = Manifest {
        schema: manifest::SCHEMA,
        origin: Origin {
            name: facts.config.package.clone(),
            version: facts.config.version.clone(),
            commit: plan.source.commit.clone(),
            dirty: plan.source.dirty,
            source_date_epoch: plan.source.date,
            cargo_lock: hash::file(&facts.root.join("Cargo.lock"))?,
            bpf_lock: objects.lock.clone(),
            rustc: Rustc {
                version: facts.rust.version.clone(),
                commit: facts.rust.commit.clone(),
                llvm: facts.rust.llvm.clone(),
            },
            c_compiler: zig::identity(),
            cargo_toml: hash::file(&facts.root.join("Cargo.toml"))?,
            flags: plan::flags(),
            compressor: pack::COMPRESSOR.into(),
        },
        bpf_objects: objects.list.clone(),
        artifacts,
    };
    manifest.artifacts.sort_by(|a, b| a.file.cmp(&b.file));
    adopt(&mut manifest, earlier, &plan.dist);
    Ok(manifest)
}

/// Takes over what an earlier run left in `dist/`, as far as it is of the same origin and unaltered.
pub(crate) fn adopt(manifest: &mut Manifest, earlier: Option<Manifest>, dist: &Path) {
    if let Some(earlier) = earlier {
        manifest.adopt(earlier, |artifact| {
            hash::file(&dist.join(&artifact.file)).is_ok_and(|sha256| sha256 == artifact.sha256)
        });
    }
}

/// A folder in dist/ where everything is written before any of it is moved to its place. Goes away with this value.
pub(crate) struct Staging {
    folder: PathBuf,
    dist: PathBuf,
}

impl Staging {
    pub(crate) fn new(dist: &Path) -> Result<Staging> {
        let folder = dist.join(".partial");
        files::remove_folder(&folder)?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot write to {}", dist.display()))?;
        Ok(Staging { folder, dist: dist.into() })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        files::write(&self.folder.join(name), bytes)
    }

    /// An archive and its checksum.
    pub(crate) fn write_archive(&self, file: &str, bytes: &[u8], sha256: &str) -> Result<()> {
        self.write(file, bytes)?;
        self.write(&format!("{file}.sha256"), manifest::checksum_line(sha256, file).as_bytes())
    }

    /// Moves everything to its place, with checksums of all archives of this version that will then be there.
    pub(crate) fn publish(&self, manifest: &Manifest) -> Result<()> {
        let mut names = files::list(&self.folder)?;
        let mut checksums: BTreeMap<String, String> =
            manifest.artifacts.iter().map(|artifact| (artifact.file.clone(), artifact.sha256.clone())).collect();
        // Of an earlier run, and of another commit perhaps: as long as they are what that run made.
        for arch in &ARCHES {
            let file = manifest.origin.archive(arch);
            if let Ok(sha256) = hash::file(&self.dist.join(&file)) {
                let line = fs::read_to_string(self.dist.join(format!("{file}.sha256"))).unwrap_or_default();
                if !checksums.contains_key(&file) && line == manifest::checksum_line(&sha256, &file) {
                    checksums.insert(file, sha256);
                }
            }
        }
        let lines: String = checksums.iter().map(|(name, sha256)| manifest::checksum_line(sha256, name)).collect();
        self.write(CHECKSUMS, lines.as_bytes())?;
        self.write(MANIFEST, manifest.to_json()?.as_bytes())?;

        names.extend([CHECKSUMS.into(), MANIFEST.into()]);
        for name in names {
            fs::rename(self.folder.join(&name), self.dist.join(&name))
                .with_context(|| format!("cannot write {}", self.dist.join(&name).display()))?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = files::remove_folder(&self.folder);
    }
}

/// A folder as the user would type it.
pub(crate) fn shown(dist: &Path) -> &Path {
    let here = std::env::current_dir().unwrap_or_default();
    dist.strip_prefix(here).unwrap_or(dist)
}

/// Says what was made, when after the build's begin (in seconds, by target), and what of `dist/` the manifest leaves out.
pub(crate) fn report(
    runner: Runner,
    dist: &Path,
    made: &[&Arch],
    seconds: Option<&BTreeMap<String, f32>>,
    manifest: &Manifest,
) {
    let shown = shown(dist).display();
    let row = |artifact: &Artifact| Row {
        arch: artifact.arch.clone(),
        file: format!("{shown}/{}", artifact.file),
        binary: artifact.binary.size,
        archive: artifact.size,
        sha256: artifact.sha256.clone(),
        seconds: seconds.and_then(|seconds| seconds.get(&artifact.triple).copied()),
    };
    let of = |arch: &&Arch| manifest.artifacts.iter().find(|artifact| artifact.triple == arch.triple).map(row);
    runner.table(&made.iter().filter_map(of).collect::<Vec<_>>());
    let is_left_out = |arch: &&Arch| {
        let file = manifest.origin.archive(arch);
        dist.join(&file).exists() && !manifest.artifacts.iter().any(|artifact| artifact.file == file)
    };
    let left_out: Vec<&str> = ARCHES.iter().filter(is_left_out).map(|arch| arch.name).collect();
    if !left_out.is_empty() {
        runner.say(format!("not in {MANIFEST}, for of another commit or toolchain: {}", left_out.join(", ")));
    }
    let dirty = if manifest.origin.dirty { ", from a work tree with changes that are not committed" } else { "" };
    runner.say(format!("archives, {CHECKSUMS} and {MANIFEST} are in {shown}{dirty}"));
}
