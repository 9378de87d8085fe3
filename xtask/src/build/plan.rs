//! How binaries are built, as data: decided from the facts alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::arch::Target;
use crate::bpf::paths;
use crate::bpf::rust::scripts;
use crate::build::cargo::{self, CargoBuild};
use crate::build::contained::{self, Contained, Folders};
use crate::build::crate_names;
use crate::build::profile;
use crate::build::run::{BuildBinaries, Built};
use crate::build::site::Site;
use crate::cc::plan::Compiler;
use crate::cc::recipe;
use crate::route::Route;
use crate::sys::command::Command;
use crate::sys::plan::{Slot, Step, Steps, Task};
use crate::sys::steps::InstallNames;
use crate::toolchain;
use crate::toolchain::plan::Needs;
use crate::toolchain::sysroot::Sysroot;
use crate::toolchain::zig;
use crate::ui::error::bad_request;
use crate::workspace::cargo_home;
use crate::workspace::facts::Facts;
use crate::workspace::packages::Package;
use crate::workspace::snapshot::Verify;
use crate::workspace::source::{Source, Sources};

/// The flags of rustc for every target: static, and at a fixed address (mips crashes as static-pie, and one form is
/// enough).
const RUSTFLAGS: [&str; 2] = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"];

/// The flags that affect the bytes, for the manifest.
pub fn flags(facts: &Facts) -> Vec<String> {
    let mut flags = profile::flags();
    flags.extend(RUSTFLAGS.map(String::from));
    if !facts.with_c.is_empty() {
        flags.extend(recipe::flags());
    }
    flags.sort();
    flags
}

/// Binaries that are built for several targets by one command.
#[derive(Debug)]
pub struct Build {
    pub cargo: CargoBuild,
    pub bins: Vec<String>,
    pub targets: Vec<Target>,
    pub built: Slot<Built>,
    /// The CARGO_HOME.
    home: PathBuf,
    /// The folders that it may be made of.
    sources: Vec<PathBuf>,
    /// What a container around it takes.
    contained: Option<Contained>,
    /// Whether C code is compiled by what is in the image.
    theirs: bool,
    /// The packages whose build scripts may write among the sources: these are built anew, each time.
    anew: Vec<String>,
}

impl Build {
    /// Decides how binaries of the workspace that `manifest` leads to are built, where [`prepare`] has done its part.
    /// `selection` are the arguments of cargo that choose their package and its features, and `variables` are what the build of the application itself sees in addition.
    pub fn new(
        site: Site,
        manifest: &Path,
        selection: &[String],
        bins: &[String],
        targets: &[Target],
        variables: BTreeMap<String, String>,
    ) -> Build {
        let facts = site.facts;
        let target = site.target();
        let compiler = Compiler::new(site, targets);
        let mut environment = site.environment();
        environment.extend(variables);
        environment.extend(compiler.iter().flat_map(Compiler::environment));
        if scripts::are_wanted(facts) {
            scripts::put_on_path(&site.base(), &mut environment);
        }
        let sources = sources(site, manifest);
        let manifest = manifest.to_string_lossy();
        let triples = || targets.iter().flat_map(|(arch, _)| ["--target", arch.triple]);
        // In `/`, cargo finds no configuration but that of its home.
        let cargo = Command::new(facts.rust.cargo(), Path::new("/")).only(environment);
        let command = cargo
            .clone()
            .args(["build", "--release", "--locked", "--offline", "--keep-going"])
            .args(cargo::FLAGS)
            .args(profile::flags())
            .args(["--manifest-path", &manifest])
            .arg("--target-dir")
            .arg(target.to_string_lossy())
            .args(selection)
            .args(bins.iter().flat_map(|bin| ["--bin", bin]))
            .args(triples());
        let unpack = cargo
            .args(["tree", "--quiet", "--locked", "--offline", "--edges", "normal,build"])
            .args(["--manifest-path", &manifest])
            .args(selection)
            .args(triples());
        let folders = folders(site, compiler.as_ref(), targets);
        let contained = Contained::new(site, folders, &command, unpack, &triples_of(targets));
        Build {
            cargo: CargoBuild { command, target, within: contained.as_ref().map(|it| it.within.clone()) },
            contained,
            theirs: site.builder.compiler_image().is_some(),
            anew: if facts.config.is_built_one_by_one() { names(&facts.members) } else { Vec::new() },
            home: site.home(),
            sources,
            bins: bins.to_vec(),
            targets: targets.to_vec(),
            built: Slot::default(),
        }
    }

    /// Refuses what no container can be given.
    pub fn check(&self) -> Result<()> {
        self.contained.as_ref().map_or(Ok(()), Contained::check)
    }

    /// The tasks that do it.
    pub fn tasks(self, facts: &Facts) -> Vec<Task> {
        let arches: Vec<&str> = self.targets.iter().map(|(arch, _)| arch.name).collect();
        let (bins, arches) = (self.bins.join(", "), arches.join(", "));
        let title = match &self.contained {
            None => format!("building {bins} for {arches}"),
            Some(contained) => format!("building {bins} for {arches} in a container of {}", contained.engine),
        };
        let sysroots = self.targets.iter().filter(|(_, route)| *route == Route::Source);
        let sysroots = sysroots.map(|(arch, _)| (arch.triple.into(), Sysroot::new(arch, &facts.rust).name)).collect();
        let compiled = Slot::default();
        let mut steps: Steps = Vec::new();
        if scripts::are_wanted(facts) {
            steps.push(scripts::again(facts, &self.cargo.target, self.targets.iter().map(|(arch, _)| arch.triple)));
        }
        if let (Some(copies), [(arch, _)]) = (&facts.config.bpf.copies, self.targets.as_slice()) {
            steps.push(scripts::copy(facts, copies, arch));
        }
        let build = BuildBinaries {
            build: self.cargo,
            bins: self.bins,
            targets: self.targets,
            sysroots,
            cache: facts.cache.clone(),
            compiler: (!facts.with_c.is_empty() && !self.theirs).then(zig::name).and_then(Result::ok),
            theirs: self.theirs,
            anew: self.anew,
            snapshot: facts.sources.folder.clone(),
            home: self.home,
            sources: self.sources,
            ignored: facts.sources.ignored.clone(),
            built: self.built,
            compiled: compiled.clone(),
        };
        let Sources { folder, path, .. } = &facts.sources;
        let generated = facts.config.only_built().iter().filter_map(|pattern| paths::join(path, pattern)).collect();
        let verify = Verify { folder: folder.clone(), generated, built: compiled };
        steps.extend([Box::new(build) as Box<dyn Step>, Box::new(verify)]);
        let task = Task::new(title, steps).announced().failure("cannot build");
        match self.contained {
            None => vec![task],
            Some(contained) => contained.around(task),
        }
    }
}

fn names(packages: &[Package]) -> Vec<String> {
    packages.iter().map(|package| package.name.clone()).collect()
}

fn triples_of(targets: &[Target]) -> Vec<&'static str> {
    targets.iter().map(|(arch, _)| arch.triple).collect()
}

/// The folders that what is built may be made of: those that have another name in it, what cargo and we make and keep, and the
/// package.
fn sources(site: Site, manifest: &Path) -> Vec<PathBuf> {
    let named = site.names().into_iter().map(|(folder, _)| folder);
    let package = manifest.parent().map(PathBuf::from);
    named.chain(package).chain([site.facts.work.clone(), site.home(), site.facts.cache.folder.clone()]).collect()
}

/// What a container for a build is given of this machine.
fn folders(site: Site, compiler: Option<&Compiler>, targets: &[Target]) -> Folders {
    let facts = site.facts;
    let mut folders = Folders::new(facts, &site.base(), &site.home());
    let sysroots = targets.iter().filter(|(_, route)| *route == Route::Source);
    folders.read.extend(sysroots.map(|(arch, _)| facts.cache.path(&Sysroot::new(arch, &facts.rust).name)));
    if scripts::are_wanted(facts) {
        folders.read.insert(scripts::folder(&site.base()));
    }
    if facts.config.is_built_one_by_one() {
        folders.read.remove(&facts.sources.folder);
        folders.written.insert(facts.sources.folder.clone());
    }
    if let Some(compiler) = compiler {
        folders.read.extend(compiler.read());
        folders.written.insert(compiler.cxx_folder());
    }
    folders
}

/// Plans the build of another package's binary, in the same way as that of what is shipped.
pub fn helper(facts: &Facts, manifest: &Path, package: &str, targets: &[Target]) -> Result<(Vec<Task>, Slot<Built>)> {
    let mut tasks = toolchain::plan::tasks(&needs(facts, targets), facts)?;
    let site = Site::host(facts);
    tasks.extend(prepare(site, targets)?);
    let selection = ["--package".to_owned(), package.to_owned()];
    let build = Build::new(site, manifest, &selection, &selection[1..], targets, BTreeMap::new());
    let built = build.built.clone();
    tasks.extend(build.tasks(facts));
    Ok((tasks, built))
}

/// Refuses a workspace that cannot be built. What of its profile has no effect is returned, one line for each.
pub fn check(facts: &Facts) -> Result<Vec<String>> {
    let folder = &facts.work;
    // cargo passes it in a variable in which a colon separates folders, and the linker puts a letter for each `%`.
    if let Some(odd) = folder.to_string_lossy().chars().find(|char| [':', '%'].contains(char)) {
        bad_request!("{} has a `{odd}` in its path: set CARGO_TARGET_DIR to a folder without one", folder.display());
    }
    let triples: Vec<&str> = facts.config.arches.iter().map(|arch| arch.triple).collect();
    let bpf: Vec<&str> = facts.config.bpf.rust.iter().map(|package| package.name.as_str()).collect();
    let sources = &facts.sources;
    let ignored = profile::check(source_root(facts), &triples, &bpf).map_err(|error| sources.in_user_words(error))?;
    Ok(ignored.iter().map(|line| sources.words(line)).collect())
}

/// What builds for these targets need to be there.
pub fn needs(facts: &Facts, targets: &[Target]) -> Needs {
    let mut needs = Needs { zig: !facts.with_c.is_empty(), ..Needs::default() };
    for (arch, route) in targets {
        match route {
            Route::Prebuilt => needs.std.push(arch.triple),
            Route::Source => needs.sysroots.push(Sysroot::new(arch, &facts.rust)),
        }
    }
    needs
}

/// Puts in place what all builds for these targets use: libraries of C code, a CARGO_HOME, a C compiler, and what is called
/// in place of rustc.
pub fn prepare(site: Site, targets: &[Target]) -> Result<Vec<Task>> {
    let facts = site.facts;
    let compiler = Compiler::new(site, targets);
    let rustflags = targets.iter().map(|(arch, route)| {
        let mut flags = common_rustflags(site);
        flags.extend(arch.link_args.iter().map(|arg| format!("-Clink-arg={arg}")));
        if *route == Route::Source {
            flags.extend(Sysroot::new(arch, &facts.rust).rustflags(&facts.cache));
        }
        flags.extend(compiler.iter().flat_map(|compiler| compiler.rustflags(arch)));
        (arch.triple, flags)
    });
    let mut config = cargo_home::with_rustflags(&facts.network_config, rustflags);
    for (triple, table) in compiler.iter().flat_map(Compiler::overrides) {
        cargo_home::add_target(&mut config, triple, table);
    }
    let mut steps = cargo_home::steps(&site.home(), &facts.cargo_home, &config);
    if facts.has_packages_beside() {
        let names = vec![crate_names::PROGRAM.into()];
        steps.push(Box::new(InstallNames { folder: facts.work.clone(), names }));
    }
    let mut tasks = Vec::new();
    tasks.extend(contained::prepare(site)?);
    if scripts::are_wanted(facts) {
        steps.extend(scripts::steps(facts, &site.base()));
    }
    if let Some(compiler) = compiler {
        tasks.extend(compiler.libraries()?);
        steps.extend(compiler.steps(site.names(), &site.target())?);
    }
    tasks.push(Task::new("preparing the build", steps).failure("cannot build"));
    Ok(tasks)
}

/// The variables of the application's own build.
pub fn variables(source: &Source) -> BTreeMap<String, String> {
    let commit = source.describe().map(|commit| ("BPFSHIP_COMMIT".into(), commit));
    [("SOURCE_DATE_EPOCH".into(), source.date.to_string())].into_iter().chain(commit).collect()
}

/// What is built: the folder of the workspace's sources. Nothing else decides it.
pub fn source_root(facts: &Facts) -> &Path {
    &facts.sources.workspace
}

/// The flags of rustc for every target, with no path of this machine in the result.
fn common_rustflags(site: Site) -> Vec<String> {
    let mut flags = RUSTFLAGS.map(String::from).to_vec();
    let remap = |(from, to): (PathBuf, String)| format!("--remap-path-prefix={}={to}", from.display());
    flags.extend(site.names().into_iter().map(remap));
    flags
}
