//! How binaries become a release: checked, packed, described, and put in their place. The steps of plan.rs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Error, Result, anyhow, bail};
use bpfship_embed::{Lock, bundle_for};
use bpfship_object::report::Report;
use cargo_metadata::PackageId;
use serde_json::{Value, json};

use crate::arch::Arch;
use crate::bpf::{LOCK, OBJECTS};
use crate::build::plan;
use crate::build::run::Built;
use crate::release::artifacts;
use crate::release::binary::{self, Checked};
use crate::release::describe;
use crate::release::documents::Documents;
use crate::release::layout::{CHECKSUMS, LICENSES, MANIFEST, STD_LICENSES, Tarball};
use crate::release::licenses::{self, CLibraries};
use crate::release::manifest::{self, Artifact, Binary, BpfObject, Manifest, Rustc, Sbom};
use crate::release::pack::{self, Entry};
use crate::release::sbom::crates::{self, CargoLock, Crate};
use crate::release::sbom::facts::{self as std_facts, Std, StdCrate};
use crate::release::sbom::{dep_info, document};
use crate::release::staging::{self, Staging};
use crate::release::{section, unpack};
use crate::route::Route;
use crate::sys::command::quote;
use crate::sys::files;
use crate::sys::hash::{self, Sha256};
use crate::sys::plan::{Slot, Step, Work};
use crate::sys::process::Runner;
use crate::toolchain::sysroot::{self, Sysroot};
use crate::toolchain::zig;
use crate::workspace::facts::Facts;
use crate::workspace::packages::Package;
use crate::workspace::packaging::Install;
use crate::workspace::products::Archive;
use crate::workspace::source::Source;

/// What all archives of a release have in common.
#[derive(Debug)]
pub struct Release {
    pub facts: Arc<Facts>,
    pub source: Source,
    /// By the names of archives.
    pub documents: BTreeMap<String, Documents>,
    /// Where the artifacts go.
    pub dist: PathBuf,
    /// These are known once there are binaries.
    pub inputs: Slot<Inputs>,
    pub staging: Slot<Staging>,
    licenses: Mutex<Licenses>,
}

/// Licence texts that were composed already, by the archive, what is linked, and whether the standard library is from
/// source, and C++'s is linked: most architectures have the same.
type Licenses = BTreeMap<(String, BTreeSet<PackageId>, bool, bool), Vec<u8>>;

/// What is read when the binaries are there.
#[derive(Debug)]
pub struct Inputs {
    objects: Objects,
    /// What archives contain besides binaries, by their names.
    documents: BTreeMap<String, BTreeMap<String, Entry>>,
    cargo_lock: CargoLock,
    /// The crates of others that standard libraries consist of. Where nothing was built, nobody asks for them.
    std: Result<BTreeMap<String, StdCrate>>,
    /// The manifest of an earlier run in dist/.
    earlier: Option<Manifest>,
}

impl Release {
    pub fn new(facts: Arc<Facts>, source: Source, documents: BTreeMap<String, Documents>, dist: PathBuf) -> Release {
        let (inputs, staging) = (Slot::default(), Slot::default());
        Release { facts, source, documents, dist, inputs, staging, licenses: Mutex::default() }
    }
}

/// The checked-in BPF objects.
#[derive(Debug, Default)]
struct Objects {
    /// By file name.
    list: Vec<BpfObject>,
    lock: Option<Sha256>,
    /// What is known of each, in the same order.
    reports: Vec<Report>,
    /// The hashes of what they were compiled from, by path.
    sources: BTreeMap<String, String>,
    /// BTF of kernels, by the paths of its files, if the binary carries any.
    btf: Option<Vec<(String, Vec<u8>)>>,
}

impl Objects {
    fn read(facts: &Facts) -> Result<Objects> {
        if !facts.config.bpf.has_sources() {
            return Ok(Objects::default());
        }
        let folder = plan::source_root(facts).join(&facts.config.bpf.folder);
        let lock = files::read(&folder.join(LOCK))?;
        let (mut list, mut reports) = (Vec::new(), Vec::new());
        let Lock { inputs, objects, btf: kernels, .. } = Lock::parse(&String::from_utf8_lossy(&lock));
        for (name, locked) in objects {
            let bytes = files::read(&folder.join(OBJECTS).join(&name))?;
            let sha256 = hash::bytes(&bytes);
            if sha256.to_string() != locked {
                bail!("the BPF object {name} was altered while this ran: run it again");
            }
            let file = name.parse().map_err(Error::msg)?;
            let (_, report) = Report::read(&bytes).with_context(|| format!("cannot read the BPF object {name}"))?;
            reports.push(report);
            list.push(BpfObject { file, size: bytes.len() as u64, sha256 });
        }
        let read = |name: String| Ok((name.clone(), files::read(&folder.join(&name))?));
        let btf = facts.config.bpf.btf.as_ref().map(|_| kernels.into_keys().map(read).collect::<Result<_>>());
        let source = |line: &String| match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["source", sha256, name] => Some(((*name).to_owned(), (*sha256).to_owned())),
            _ => None,
        };
        let sources = inputs.iter().filter_map(source).collect();
        Ok(Objects { list, lock: Some(hash::bytes(&lock)), reports, sources, btf: btf.transpose()? })
    }

    /// Those that a binary for this architecture must hold, or `some` of which it may.
    fn of(&self, arch: &Arch, some: bool) -> binary::Objects<'_> {
        let btf = self.btf.as_ref().map(|kernels| bundle_for(kernels, arch.rust(), arch.endian.name()));
        binary::Objects { of: LOCK, by_name: manifest::objects_of(&self.list, arch), some, btf }
    }
}

/// Makes the folder in which everything is written before it is moved to its place.
#[derive(Debug)]
pub struct OpenStaging {
    pub dist: PathBuf,
    pub install: Install,
    pub staging: Slot<Staging>,
}

impl Step for OpenStaging {
    fn line(&self) -> String {
        let folder = quote(&Staging::folder_in(&self.dist));
        format!("rm -rf {folder} && mkdir -p {folder}")
    }

    fn json(&self) -> Value {
        json!({ "open-staging": { "folder": Staging::folder_in(&self.dist) } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        self.staging.put(Staging::new(&self.dist, &self.install)?)
    }
}

/// Reads what goes into archives.
#[derive(Debug)]
pub struct ReadInputs(pub Arc<Release>);

impl Step for ReadInputs {
    fn line(&self) -> String {
        let mut line = "# read bpf.lock and the objects, and what goes into archives:".to_owned();
        for (archive, documents) in &self.0.documents {
            let archive = if self.0.documents.len() == 1 { String::new() } else { format!("{archive}: ") };
            for (name, document) in documents {
                let from = document.from.display();
                line += &format!("\n#   {archive}{name}  sha256 {:.16}  from {from}", document.sha256);
            }
        }
        line
    }

    fn json(&self) -> Value {
        json!({ "read-inputs": { "documents": self.0.documents } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let Release { facts, documents, dist, inputs, .. } = &*self.0;
        let entry = |(name, document): (&String, &super::documents::Document)| Ok((name.clone(), document.entry()?));
        let entries = |(archive, documents): (&String, &Documents)| {
            Ok((archive.clone(), documents.iter().map(entry).collect::<Result<_>>()?))
        };
        let std_docs = licenses::std_docs(&facts.rust);
        let cargo_lock = files::read(&plan::source_root(facts).join("Cargo.lock"))?;
        inputs.put(Inputs {
            objects: Objects::read(facts)?,
            documents: documents.iter().map(entries).collect::<Result<_>>()?,
            cargo_lock: CargoLock::parse(&String::from_utf8_lossy(&cargo_lock))?,
            std: std_facts::known(&std_lib(&facts.rust.sysroot, &facts.rust.host), &std_docs, &facts.rust.commit),
            earlier: staging::earlier(dist),
        })
    }
}

/// Checks the binaries of an archive for one architecture, and packs them.
#[derive(Debug)]
pub struct CheckAndPack {
    pub release: Arc<Release>,
    pub archive: Archive,
    pub tarball: Tarball,
    /// The image whose compiler compiles C code, if that is not the pinned one.
    pub image: Option<String>,
    /// The binaries of each product, and what its build gave.
    pub builds: Vec<(Vec<String>, Slot<Built>)>,
    pub artifact: Slot<Artifact>,
}

impl Step for CheckAndPack {
    fn line(&self) -> String {
        let file = self.release.dist.join(self.tarball.file());
        let what = if self.archive.bins().count() == 1 { "binary, pack it" } else { "binaries, pack them" };
        let sbom = self.tarball.sbom();
        format!("# check the {what}, and check the archive: {}, its .sha256 and {sbom}", file.display())
    }

    fn json(&self) -> Value {
        let bins: Vec<&str> = self.archive.bins().collect();
        let file = self.release.dist.join(self.tarball.file());
        json!({ "check-and-pack": { "tarball": self.tarball, "bins": bins, "archive": file } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        work.show("checking and packing");
        self.artifact.put(self.pack(work.runner)?)
    }
}

impl CheckAndPack {
    fn pack(&self, runner: Runner) -> Result<Artifact> {
        let Tarball { arch, route, .. } = self.tarball;
        let Release { facts, source, .. } = &*self.release;
        let inputs = self.release.inputs.get()?;
        let mut packed = inputs.documents.get(&self.archive.name).cloned().unwrap_or_default();
        let mut add = |name: &str, bytes, executable| packed.insert(name.into(), Entry { bytes, executable });
        let mut binaries = Vec::new();
        for (product, (bins, built)) in self.archive.products.iter().zip(&self.builds) {
            let crates = self.crates(&[built])?;
            let list = dep_info::data(&crates, &product.package)?;
            for name in bins {
                let (described, binary) = self.check(built.get()?.binary(arch.triple, name)?, name, &list, inputs)?;
                binaries.push(described);
                add(name, binary, true);
            }
        }
        let std = self.std(inputs)?;
        add(LICENSES, self.licenses(runner, &std)?, false);
        add(STD_LICENSES, files::read(&licenses::std_docs(&facts.rust).join(STD_LICENSES))?, false);

        let stem = &self.tarball.stem();
        let tar = pack::tar(stem, &packed, source.date)?;
        let file = self.tarball.file();
        let tar_sha256 = hash::bytes(&tar);
        let (archive, sha256) = match self.present(inputs, &file, tar_sha256) {
            Some(present) => present,
            None => {
                let archive = pack::gzip(&tar)?;
                // As everybody else will read it.
                let unpacked = unpack::archive(archive.as_slice(), stem);
                if !unpacked.faults.is_empty() {
                    bail!("{file} must not be shipped: {}", unpacked.faults.join("; "));
                }
                if unpacked.files != packed {
                    bail!("{file} must not be shipped: it does not contain what was packed");
                }
                let sha256 = hash::bytes(&archive);
                (archive, sha256)
            }
        };
        self.release.staging.get()?.write_archive(&file, &archive, &sha256)?;
        let artifact = Artifact {
            file,
            archive: self.archive.name.clone(),
            size: archive.len() as u64,
            sha256,
            tar_sha256,
            arch,
            triple: arch.triple.into(),
            endianness: arch.endian,
            route,
            sysroot: (route == Route::Source).then(|| Sysroot::new(arch, &facts.rust).name),
            image: self.image.clone(),
            minimum_kernel: describe::minimum_kernel(arch, facts.config.minimum_kernel.as_deref()),
            binaries,
            sbom: Sbom { file: self.tarball.sbom(), size: 0, sha256: hash::bytes(b"") },
        };
        self.with_sbom(artifact, inputs, &std)
    }

    /// Writes down what is in an archive.
    fn with_sbom(&self, artifact: Artifact, inputs: &Inputs, std: &Std) -> Result<Artifact> {
        let Release { facts, source, .. } = &*self.release;
        let builds: Vec<&Slot<Built>> = self.builds.iter().map(|(_, built)| built).collect();
        let held: Vec<_> = artifact.binaries.iter().flat_map(|binary| &binary.bpf_objects).collect();
        let objects = inputs.objects.list.iter().zip(&inputs.objects.reports);
        let (package, wheels) = (zig::PACKAGE, zig::wheel_hashes().collect());
        let text = document::write(&document::Contents {
            artifact: &artifact,
            version: &self.tarball.version,
            date: source.date,
            crates: &self.crates(&builds)?,
            roots: self.archive.products.iter().map(|product| product.package.as_str()).collect(),
            rustc: &rustc(facts),
            std,
            libraries: self.libraries()?,
            compiler: (package, wheels),
            objects: objects.filter(|(object, _)| held.contains(&&object.file)).collect(),
            sources: &inputs.objects.sources,
        })?;
        let sbom = Sbom { size: text.len() as u64, sha256: hash::bytes(&text), ..artifact.sbom };
        self.release.staging.get()?.write_sbom(&sbom, &text)?;
        Ok(Artifact { sbom, ..artifact })
    }

    /// What the standard library consists of.
    fn std(&self, inputs: &Inputs) -> Result<Std> {
        let Facts { rust, cache, .. } = &*self.release.facts;
        let Tarball { arch, route, .. } = self.tarball;
        let root = match route {
            Route::Source => cache.path(&Sysroot::new(arch, rust).name),
            Route::Prebuilt => rust.sysroot.clone(),
        };
        let known = inputs.std.as_ref().map_err(|error| anyhow!("{error:#}"))?;
        std_facts::read(&std_lib(&root, arch.triple), known)
    }

    /// The crates that are linked into what these builds gave.
    fn crates(&self, builds: &[&Slot<Built>]) -> Result<Vec<Crate<'_>>> {
        let facts = &self.release.facts;
        let mut linked = BTreeSet::new();
        for built in builds {
            linked.extend(built.get()?.linked(self.tarball.arch.triple)?.clone());
        }
        let packages = facts.members.iter().chain(&facts.packages);
        Ok(crates::linked(packages, &linked, &facts.dependencies, &self.release.inputs.get()?.cargo_lock))
    }

    /// Refuses a binary that must not be shipped. It gets a `list` of the crates in it.
    fn check(&self, path: &Path, name: &str, list: &[u8], inputs: &Inputs) -> Result<(Binary, Vec<u8>)> {
        let (arch, facts) = (self.tarball.arch, &self.release.facts);
        let binary = section::add(&files::read(path)?, dep_info::SECTION, list)
            .with_context(|| format!("{} must not be shipped", path.display()))?;
        let has_others = facts.config.products().flat_map(|product| &product.bins).count() > 1;
        let objects = inputs.objects.of(arch, has_others);
        let Checked { faults, held } = binary::check(&binary, arch, Some(&objects), &facts.private)?;
        if !faults.is_empty() {
            bail!("{} must not be shipped: {}", path.display(), faults.join("; "));
        }
        let bpf_objects = objects.by_name.iter().filter(|(name, _)| held.contains(*name));
        let bpf_objects = bpf_objects.map(|(_, object)| object.file.clone()).collect();
        let size = binary.len() as u64;
        Ok((Binary { file: name.into(), size, sha256: hash::bytes(&binary), bpf_objects }, binary))
    }

    /// The archive that an earlier run made of the same files, and its checksum, if it still is what that run reported:
    /// compressing is most of the work of a run that changes nothing.
    fn present(&self, inputs: &Inputs, file: &str, tar_sha256: Sha256) -> Option<(Vec<u8>, Sha256)> {
        let earlier = inputs.earlier.as_ref().filter(|earlier| earlier.compressor == pack::COMPRESSOR)?;
        let artifact = earlier.artifacts.iter().find(|artifact| artifact.file == file)?;
        let archive = fs::read(self.release.dist.join(file)).ok()?;
        let is_it = artifact.tar_sha256 == tar_sha256 && artifact.sha256 == hash::bytes(&archive);
        is_it.then_some((archive, artifact.sha256))
    }

    fn licenses(&self, runner: Runner, std: &Std) -> Result<Vec<u8>> {
        let Release { facts, documents, licenses: known, .. } = &*self.release;
        let Tarball { arch, route, .. } = self.tarball;
        let mut linked = BTreeSet::new();
        let mut has_cxx = false;
        for (_, built) in &self.builds {
            let built = built.get()?;
            linked.extend(built.linked(arch.triple)?.clone());
            has_cxx |= built.with_cxx.contains(arch.triple);
        }
        let key = (self.archive.name.clone(), linked.clone(), route == Route::Source, has_cxx);
        let mut known = known.lock().unwrap();
        if let Some(text) = known.get(&key) {
            return Ok(text.clone());
        }
        let name = Sysroot::new(arch, &facts.rust).name;
        if route == Route::Source {
            let licenses = [sysroot::RUNTIME_LICENSE, sysroot::UNWINDER_LICENSE];
            facts.cache.check(runner, &name, |file| licenses.contains(&file))?;
        }
        let sysroot = facts.cache.path(&name);
        let sysroot = (route == Route::Source).then_some(sysroot.as_path());
        let packages = licenses::Packages {
            members: &facts.members,
            others: &facts.packages,
            shipped: facts.shipped(&self.archive),
            packed: documents.get(&self.archive.name).into_iter().flatten().map(|(_, file)| file.sha256).collect(),
        };
        let libbpf = facts.bpf.libbpf_folder.as_deref();
        let compiler = if has_cxx { Some(facts.cache.path(&zig::name()?)) } else { None };
        let c = CLibraries { libbpf: self.linked_libbpf(&linked), cxx: compiler.as_deref() };
        let text = licenses::compose(&packages, &linked, &facts.rust, std, sysroot, libbpf, &c)?.into_bytes();
        known.insert(key, text.clone());
        Ok(text)
    }

    /// The folder of libbpf's sources, if it is linked.
    fn linked_libbpf(&self, linked: &BTreeSet<PackageId>) -> Option<&Path> {
        let facts = &self.release.facts;
        let is_libbpf = |package: &&Package| package.name == "libbpf-sys" && linked.contains(&package.id);
        facts.packages.iter().find(is_libbpf).and(facts.libbpf.as_ref()).map(|libbpf| libbpf.folder.as_path())
    }

    /// The libraries in C and C++ that are linked, and what BPF objects are compiled with, with their licences.
    fn libraries(&self) -> Result<Vec<(&'static str, &'static str)>> {
        let triple = self.tarball.arch.triple;
        let mut libraries = Vec::new();
        let builds = self.builds.iter().map(|(_, built)| built.get()).collect::<Result<Vec<_>>>()?;
        for built in &builds {
            if self.linked_libbpf(built.linked(triple)?).is_some() {
                libraries.extend(licenses::LIBBPF.map(|(name, license, _)| (name, license)));
            }
        }
        if builds.iter().any(|built| built.with_cxx.contains(triple)) {
            libraries.push((licenses::CXX.0, licenses::CXX.1));
        }
        if self.release.facts.bpf.libbpf_folder.is_some() {
            libraries.push(("libbpf-headers", "BSD-2-Clause"));
        }
        libraries.sort_unstable();
        libraries.dedup();
        Ok(libraries)
    }
}

/// Moves everything to its place, with a manifest that describes it.
#[derive(Debug)]
pub struct Publish {
    pub release: Arc<Release>,
    pub artifacts: Vec<Slot<Artifact>>,
    pub manifest: Slot<Manifest>,
}

impl Step for Publish {
    fn line(&self) -> String {
        publish_line(&self.release.dist)
    }

    fn json(&self) -> Value {
        json!({ "publish": { "dist": self.release.dist, "commit": self.release.source.commit, "dirty": self.release.source.dirty } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        let manifest = self.describe()?;
        work.runner.check_interrupted()?;
        self.release.staging.get()?.publish(&manifest)?;
        self.manifest.put(manifest)
    }
}

impl Publish {
    fn describe(&self) -> Result<Manifest> {
        let Release { facts, source, dist, inputs, .. } = &*self.release;
        let Inputs { objects, earlier, .. } = inputs.get()?;
        let root = plan::source_root(facts);
        let mut artifacts: Vec<Artifact> =
            self.artifacts.iter().map(|artifact| artifact.get().cloned()).collect::<Result<_>>()?;
        artifacts.sort_by(|a, b| a.file.cmp(&b.file));
        describe::check_objects(&objects.list, &artifacts)?;
        let mut manifest = Manifest {
            schema: manifest::SCHEMA,
            archives: facts.config.archives.iter().map(describe::archive).collect(),
            commit: source.commit.clone(),
            dirty: source.dirty,
            source_date_epoch: source.date,
            cargo_lock: hash::file(&root.join("Cargo.lock"))?,
            bpf_lock: objects.lock,
            rustc: rustc(facts),
            c_compiler: zig::identity(),
            cargo_toml: hash::file(&root.join("Cargo.toml"))?,
            flags: plan::flags(facts),
            compressor: pack::COMPRESSOR.into(),
            bpf_objects: objects.list.clone(),
            artifacts,
        };
        staging::adopt(&mut manifest, earlier.clone(), dist);
        Ok(manifest)
    }
}

/// Where the standard library for `triple` is in a sysroot.
fn std_lib(root: &Path, triple: &str) -> PathBuf {
    root.join("lib/rustlib").join(triple).join("lib")
}

fn rustc(facts: &Facts) -> Rustc {
    let rust = &facts.rust;
    Rustc { version: rust.version.clone(), commit: rust.commit.clone(), llvm: rust.llvm.clone() }
}

/// Takes an archive over from another folder.
#[derive(Debug)]
pub struct StageArchive {
    pub folder: PathBuf,
    pub artifact: Artifact,
    pub staging: Slot<Staging>,
}

impl Step for StageArchive {
    fn line(&self) -> String {
        let from = self.folder.join(&self.artifact.file);
        let (sha256, sbom) = (self.artifact.sha256, &self.artifact.sbom.file);
        format!("# take over {}, its .sha256 and {sbom}, if it still has sha256 {sha256}", from.display())
    }

    fn json(&self) -> Value {
        let from = self.folder.join(&self.artifact.file);
        json!({ "stage-archive": { "from": from, "sha256": self.artifact.sha256 } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        let Artifact { file, sha256, sbom, .. } = &self.artifact;
        let bytes = files::read_unchanged(&self.folder.join(file), sha256)?;
        let list = files::read_unchanged(&self.folder.join(&sbom.file), &sbom.sha256)?;
        let staging = self.staging.get()?;
        staging.write_sbom(sbom, &list)?;
        staging.write_archive(file, &bytes, sha256)
    }
}

/// Moves everything to its place, with a manifest that is known already.
#[derive(Debug)]
pub struct PublishManifest {
    pub dist: PathBuf,
    pub staging: Slot<Staging>,
    pub manifest: Manifest,
}

impl Step for PublishManifest {
    fn line(&self) -> String {
        publish_line(&self.dist)
    }

    fn json(&self) -> Value {
        json!({ "publish": { "dist": self.dist, "manifest": self.manifest } })
    }

    fn run(&self, work: &Work) -> Result<()> {
        work.runner.check_interrupted()?;
        self.staging.get()?.publish(&self.manifest)
    }
}

fn publish_line(dist: &Path) -> String {
    format!("# if all of it is right, move it to {}, {CHECKSUMS} and {MANIFEST} last", dist.display())
}

/// Takes the binaries out of an archive, and checks them and it.
#[derive(Debug)]
pub struct TakeBinaries {
    pub dist: PathBuf,
    pub artifact: Artifact,
    pub binaries: Slot<BTreeMap<String, Vec<u8>>>,
}

impl Step for TakeBinaries {
    fn line(&self) -> String {
        let Artifact { file, binaries, .. } = &self.artifact;
        let names: Vec<&str> = binaries.iter().map(|binary| binary.file.as_str()).collect();
        format!("# take {} out of {}, and check all hashes", names.join(", "), quote(&self.dist.join(file)))
    }

    fn json(&self) -> Value {
        let Artifact { file, sha256, binaries, .. } = &self.artifact;
        json!({ "take-binaries": { "archive": self.dist.join(file), "sha256": sha256, "binaries": binaries } })
    }

    fn run(&self, _: &Work) -> Result<()> {
        self.binaries.put(artifacts::binaries(&self.dist, &self.artifact)?)
    }
}
