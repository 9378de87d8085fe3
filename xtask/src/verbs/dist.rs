//! `cargo xtask dist`: from sources to checked, checksummed archives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Error, Result, bail};
use cargo_metadata::{PackageId, TargetKind};

use crate::arch::{Arch, Endian, Std};
use crate::bpf;
use crate::bpf::engine::Place;
use crate::build::messages::Messages;
use crate::build::plan;
use crate::build::plan::{Plan, Product};
use crate::build::run as cargo_build;
use crate::build::run::Lines;
use crate::flags;
use crate::release::binary;
use crate::release::documents;
use crate::release::licenses;
use crate::release::manifest;
use crate::release::manifest::{Artifact, Binary, BpfObject, Manifest, Origin, Rustc};
use crate::release::pack;
use crate::release::pack::Entry;
use crate::release::staging::{Staging, adopt, earlier, report};
use crate::release::unpack;
use crate::sys::files;
use crate::sys::hash;
use crate::sys::process::Runner;
use crate::toolchain;
use crate::toolchain::sysroot;
use crate::toolchain::sysroot::Sysroot;
use crate::toolchain::zig;
use crate::ui::error;
use crate::ui::error::{Damaged, Failed};
use crate::ui::remedies;
use crate::ui::status::{State, Status};
use crate::workspace::config;
use crate::workspace::facts::Facts;
use crate::workspace::git::Source;
use crate::workspace::machine::Machine;
use crate::workspace::needs::Need;
use bpfship_embed::Lock;

/// Runs the verb.
pub fn run(runner: Runner, facts: &Facts, request: &flags::Dist) -> Result<()> {
    let source = Source::read(runner, &facts.root)?;
    let documents = documents::read(&facts.root, &facts.config.include, source.files.as_ref())?;
    let place = match facts.bpf.stale(&facts.config.bpf) {
        Some(_) if !request.locked => Some(Place::choose(runner, facts, request.clang.engine)?),
        _ => None,
    };
    let plan = plan::dist(facts, source, place.as_ref(), request)?;

    if request.show.plan {
        return plan::show(&plan, request.show.json);
    }
    let _lock = facts.lock(runner)?;
    let staging = Staging::new(&plan.dist)?;

    let lines: Lines =
        plan.products.iter().map(|product| (product.arch.triple, runner.line(product.arch.name))).collect();
    let _held = toolchain::get(runner, facts, &plan.get, &lines)?;
    if let Some((reason, objects)) = &plan.stale {
        runner.status(format!("compiling the BPF objects again: {reason}"));
        bpf::run::run(runner, &facts.cache, objects)?;
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
        documents: documents.iter().map(|(name, file)| Ok((name.clone(), file.entry()?))).collect::<Result<_>>()?,
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

/// What `dist` needs.
pub fn needs(machine: &Machine) -> Vec<Need> {
    let mut needs = machine.workspace();
    let mut compiler = toolchain::Needs::default();
    match &machine.stale {
        Ok(Some(reason)) => {
            needs.push(Need::new("BPF objects", Err(Status::new(State::ToBuild, reason))));
            needs.extend(machine.engine());
            compiler = machine.clang();
        }
        stale => needs.push(Need::new("BPF objects", stale.clone().map(|_| "up to date".into()))),
    }
    needs.push(Need::new("git", machine.commit.clone()));
    needs.extend(machine.builds(&machine.arches(), compiler));
    needs
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
    runner.status(format!("building {} for {}", facts.config.bin, arches.join(", ")));
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
