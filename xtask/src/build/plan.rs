//! How binaries are built, as data: decided from the facts alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::arch::Target;
use crate::build::cargo::{self, CargoBuild};
use crate::build::crate_names;
use crate::build::profile;
use crate::build::run::{BuildBinaries, Built};
use crate::cc::plan::Compiler;
use crate::cc::recipe;
use crate::route::Route;
use crate::sys::command::Command;
use crate::sys::plan::{Slot, Task};
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
use crate::workspace::source::Source;

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
}

impl Build {
    /// Decides how binaries of the workspace that `manifest` leads to are built, where [`prepare`] has done its part.
    /// `selection` are the arguments of cargo that choose their package and its features, and `variables` are what the build of the application itself sees in addition.
    pub fn new(
        facts: &Facts,
        manifest: &Path,
        selection: &[String],
        bins: &[String],
        targets: &[Target],
        variables: BTreeMap<String, String>,
    ) -> Build {
        let target = target(facts);
        let mut environment = facts.build_environment(&home(facts));
        if facts.has_packages_beside() {
            let program = facts.work.join(crate_names::PROGRAM);
            environment.insert("RUSTC_WRAPPER".into(), program.to_string_lossy().into_owned());
        }
        environment.extend(variables);
        environment.extend(Compiler::new(facts, targets).iter().flat_map(Compiler::environment));
        // In `/`, cargo finds no configuration but that of its home.
        let command = Command::new(facts.rust.cargo(), Path::new("/"))
            .only(environment)
            .args(["build", "--release", "--locked", "--offline", "--keep-going"])
            .args(cargo::FLAGS)
            .args(profile::flags())
            .arg("--manifest-path")
            .arg(manifest.to_string_lossy())
            .arg("--target-dir")
            .arg(target.to_string_lossy())
            .args(selection)
            .args(bins.iter().flat_map(|bin| ["--bin", bin]))
            .args(targets.iter().flat_map(|(arch, _)| ["--target", arch.triple]));
        Build {
            cargo: CargoBuild { command, target },
            bins: bins.to_vec(),
            targets: targets.to_vec(),
            built: Slot::default(),
        }
    }

    /// The task that does it.
    pub fn task(self, facts: &Facts) -> Task {
        let arches: Vec<&str> = self.targets.iter().map(|(arch, _)| arch.name).collect();
        let title = format!("building {} for {}", self.bins.join(", "), arches.join(", "));
        let sysroots = self.targets.iter().filter(|(_, route)| *route == Route::Source);
        let sysroots = sysroots.map(|(arch, _)| (arch.triple.into(), Sysroot::new(arch, &facts.rust).name)).collect();
        let compiled = Slot::default();
        let build = BuildBinaries {
            build: self.cargo,
            bins: self.bins,
            targets: self.targets,
            sysroots,
            cache: facts.cache.clone(),
            compiler: (!facts.with_c.is_empty()).then(zig::name).and_then(Result::ok),
            snapshot: facts.sources.folder.clone(),
            home: home(facts),
            ignored: facts.sources.ignored.clone(),
            built: self.built,
            compiled: compiled.clone(),
        };
        let verify = Verify { folder: facts.sources.folder.clone(), built: compiled };
        Task::new(title, vec![Box::new(build), Box::new(verify)]).announced().failure("cannot build")
    }
}

/// Plans the build of another package's binary, in the same way as that of what is shipped.
pub fn helper(facts: &Facts, manifest: &Path, package: &str, targets: &[Target]) -> Result<(Vec<Task>, Slot<Built>)> {
    let mut tasks = toolchain::plan::tasks(&needs(facts, targets), facts)?;
    tasks.extend(prepare(facts, targets)?);
    let selection = ["--package".to_owned(), package.to_owned()];
    let build = Build::new(facts, manifest, &selection, &selection[1..], targets, BTreeMap::new());
    let built = build.built.clone();
    tasks.push(build.task(facts));
    Ok((tasks, built))
}

/// Refuses a workspace that cannot be built. What of its profile has no effect is returned, one line for each.
pub fn check(facts: &Facts) -> Result<Vec<String>> {
    let folder = target(facts);
    // cargo passes it in a variable in which a colon separates folders, and the linker puts a letter for each `%`.
    if let Some(odd) = folder.to_string_lossy().chars().find(|char| [':', '%'].contains(char)) {
        bad_request!("{} has a `{odd}` in its path: set CARGO_TARGET_DIR to a folder without one", folder.display());
    }
    let triples: Vec<&str> = facts.config.arches.iter().map(|arch| arch.triple).collect();
    let sources = &facts.sources;
    let ignored = profile::check(source_root(facts), &triples).map_err(|error| sources.in_user_words(error))?;
    Ok(ignored.iter().map(|line| sources.words(line)).collect())
}

/// What builds for these targets need to be there.
pub fn needs(facts: &Facts, targets: &[Target]) -> Needs {
    let mut needs = Needs { zig: Compiler::new(facts, targets).is_some(), ..Needs::default() };
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
pub fn prepare(facts: &Facts, targets: &[Target]) -> Result<Vec<Task>> {
    let compiler = Compiler::new(facts, targets);
    let rustflags = targets.iter().map(|(arch, route)| {
        let mut flags = common_rustflags(facts);
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
    let mut steps = cargo_home::steps(&home(facts), &facts.cargo_home, &config);
    if facts.has_packages_beside() {
        let names = vec![crate_names::PROGRAM.into()];
        steps.push(Box::new(InstallNames { folder: facts.work.clone(), names }));
    }
    let mut tasks = Vec::new();
    if let Some(compiler) = compiler {
        tasks = compiler.libraries()?;
        steps.extend(compiler.steps(names(facts), &target(facts))?);
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

fn home(facts: &Facts) -> PathBuf {
    facts.work.join("cargo-home")
}

fn target(facts: &Facts) -> PathBuf {
    facts.work.join("build")
}

/// The flags of rustc for every target, with no path of this machine in the result.
fn common_rustflags(facts: &Facts) -> Vec<String> {
    let mut flags = RUSTFLAGS.map(String::from).to_vec();
    let remap = |(from, to): (PathBuf, String)| format!("--remap-path-prefix={}={to}", from.display());
    flags.extend(names(facts).into_iter().map(remap));
    flags
}

/// Folders, and what a binary may call them. No new name begins with a slash: it could be an existing folder. The last one
/// that fits wins, so what is inside another comes after it.
fn names(facts: &Facts) -> Vec<(PathBuf, String)> {
    folder_names(facts, &home(facts), &target(facts))
}

/// The same for what is built with this CARGO_HOME in this target folder.
pub fn folder_names(facts: &Facts, home: &Path, target: &Path) -> Vec<(PathBuf, String)> {
    let mut names = Vec::new();
    let mut name = |from: &Path, to: &str| names.push((from.to_path_buf(), to.to_owned()));
    if source_root(facts) != facts.sources.top {
        name(&facts.sources.top, "repository");
    }
    name(source_root(facts), "workspace");
    name(target, "target");
    for (folder, to) in crate_folders(&facts.packages) {
        name(&folder, &to);
        if let Ok(shared) = folder.strip_prefix(&facts.cargo_home) {
            name(&home.join(shared), &to);
        }
    }
    name(&facts.rust.sources(), &format!("/rustc/{}", facts.rust.commit));
    names
}

/// Folders of crates, and what a binary may call them: `cargo/NAME-VERSION`, wherever the crate was found.
fn crate_folders(packages: &[Package]) -> BTreeMap<PathBuf, String> {
    let folder = |package: &Package| {
        let name = format!("{}-{}", package.name, package.version);
        match package.folder.parent() {
            // A registry's: one folder for all, so that another dependency does not change the flags of every crate.
            Some(index) if package.folder.ends_with(&name) => (index.into(), "cargo".into()),
            _ => (package.folder.clone(), format!("cargo/{name}")),
        }
    };
    packages.iter().map(folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_has_one_name_wherever_it_was_found() {
        let packages = [
            Package::example("a", "/home/ann/.cargo/registry/src/index-12ab/a-1.2.0"),
            Package::example("b", "/home/ann/.cargo/registry/src/index-12ab/b-1.2.0"),
            Package::example("c", "/home/ann/vendor/c"),
            Package::example("d", "/home/ann/.cargo/git/checkouts/d-34cd/ef/crates/d"),
        ];
        let folders = crate_folders(&packages);
        let found: Vec<_> = folders.iter().map(|(folder, name)| (folder.to_str().unwrap(), name.as_str())).collect();
        assert_eq!(
            found,
            [
                ("/home/ann/.cargo/git/checkouts/d-34cd/ef/crates/d", "cargo/d-1.2.0"),
                ("/home/ann/.cargo/registry/src/index-12ab", "cargo"),
                ("/home/ann/vendor/c", "cargo/c-1.2.0"),
            ]
        );
    }
}
