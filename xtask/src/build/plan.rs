//! What `dist` will do, as data: decided before anything is done, and from the facts alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::arch::{Arch, Std};
use crate::bad_request;
use crate::bpf;
use crate::bpf::engine::Place;
use crate::build::run as cargo_build;
use crate::flags;
use crate::sys::command::Command;
use crate::sys::step::Step;
use crate::toolchain;
use crate::toolchain::Needs;
use crate::toolchain::sysroot::Sysroot;
use crate::ui::screen;
use crate::workspace::cargo_home;
use crate::workspace::facts::Facts;
use crate::workspace::git::Source;
use crate::workspace::packages::Package;

/// What cargo is told of the profile, whose rest is the workspace's own. A standard library from source consists of bitcode
/// alone and aborts on panic, hence the first two.
const PROFILE: [&str; 5] = [
    "--config=profile.release.lto='fat'",
    "--config=profile.release.panic='abort'",
    "--config=profile.release.strip=true",
    "--config=profile.release.debug=false",
    "--config=profile.release.incremental=false",
];

/// What rustc is told for every target: static, and at a fixed address (mips crashes as static-pie, and one form is enough).
const RUSTFLAGS: [&str; 2] = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"];

/// The flags that have a say in the bytes, for the manifest.
pub fn flags() -> Vec<String> {
    let mut flags: Vec<String> = PROFILE.iter().chain(&RUSTFLAGS).map(ToString::to_string).collect();
    flags.sort();
    flags
}

/// Everything that one run of `dist` does, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What is missing and will be got.
    pub get: toolchain::Plan,
    /// The BPF objects to compile again, and why; none if they are up to date.
    pub stale: Option<(String, bpf::plan::Plan)>,
    pub build: Build,
    pub products: Vec<Product>,
    /// The commit, which is dirty if the objects in it are not up to date.
    pub source: Source,
    /// Where the artifacts go.
    pub dist: PathBuf,
}

/// One cargo build for all targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Build {
    /// What makes its CARGO_HOME.
    pub home: Vec<Step>,
    /// cargo's target folder.
    pub target: PathBuf,
    pub command: Command,
}

/// One architecture's binary and the archive it goes into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Product {
    pub arch: &'static Arch,
    pub std: Std,
    /// `NAME-VERSION-TRIPLE`: the folder in the archive, and the archive's own name before `.tar.gz`.
    pub stem: String,
}

/// Everything that one run of `bpf` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BpfPlan {
    pub get: toolchain::Plan,
    pub objects: bpf::plan::Plan,
}

/// Decides what `bpf` does.
pub fn bpf(facts: &Facts, place: &Place, request: &flags::Bpf) -> Result<BpfPlan> {
    let needs = Needs { zig: place.needs_compiler(), image: place.pulls(), ..Needs::default() };
    let mut objects = bpf::plan::plan(facts, place)?;
    if request.check {
        objects.end = bpf::plan::End::Compare;
    }
    Ok(BpfPlan { get: toolchain::plan(&needs, facts)?, objects })
}

/// Decides what `dist` does. BPF objects that are not up to date are compiled in `place`, if they may be.
pub fn dist(facts: &Facts, mut source: Source, place: Option<&Place>, request: &flags::Dist) -> Result<Plan> {
    let config = &facts.config;
    let mut arches = request.arches.clone();
    if arches.is_empty() {
        arches.clone_from(&config.arches);
    }
    let mut seen = BTreeSet::new();
    arches.retain(|arch| seen.insert(arch.name));

    if request.locked && source.lock_changed {
        bail!("--locked, but Cargo.lock is not as it was committed: commit it");
    }
    let mut products = Vec::new();
    for arch in arches {
        let std = request.std.unwrap_or(arch.std);
        if std == Std::Prebuilt && !arch.in_rustup {
            bad_request!("--std prebuilt: Rust provides no standard library for {arch}; leave --std out");
        }
        let stem = format!("{}-{}-{}", config.package, config.version, arch.triple);
        products.push(Product { arch, std, stem });
    }
    let targets: Vec<Target> = products.iter().map(|product| (product.arch, product.std)).collect();
    let mut needs = needs(facts, &targets);

    let mut stale = None;
    if let Some(reason) = facts.bpf.stale(&config.bpf) {
        let Some(place) = place else {
            bail!(
                "--locked, but the BPF objects are not up to date: {reason}; run `cargo xtask bpf` and commit its result"
            );
        };
        needs.zig = place.needs_compiler();
        needs.image = place.pulls();
        source.dirty = source.commit.is_some();
        stale = Some((reason, bpf::plan::plan(facts, place)?));
    }

    Ok(Plan {
        get: toolchain::plan(&needs, facts)?,
        stale,
        build: build(
            facts,
            &facts.root.join("Cargo.toml"),
            (&config.package, &config.bin),
            &targets,
            variables(&source),
        ),
        products,
        source,
        dist: facts.root.join("dist"),
    })
}

/// An architecture to build for, and where its standard library comes from.
pub type Target = (&'static Arch, Std);

/// Plans the build of another package's binary, in the same way as that of what is shipped.
pub fn helper(facts: &Facts, manifest: &Path, package: &str, targets: &[Target]) -> Result<(toolchain::Plan, Build)> {
    let get = toolchain::plan(&needs(facts, targets), facts)?;
    Ok((get, build(facts, manifest, (package, package), targets, BTreeMap::new())))
}

/// What builds for these targets need to be there.
fn needs(facts: &Facts, targets: &[Target]) -> Needs {
    let mut needs = Needs::default();
    for (arch, std) in targets {
        match std {
            Std::Prebuilt => needs.std.push(arch.triple),
            Std::Source => needs.sysroots.push(Sysroot::new(arch, &facts.rust)),
        }
    }
    needs
}

/// What the build of the application itself is told.
fn variables(source: &Source) -> BTreeMap<String, String> {
    let commit = source.describe().map(|commit| ("BPFSHIP_COMMIT".into(), commit));
    [("SOURCE_DATE_EPOCH".into(), source.date.to_string())].into_iter().chain(commit).collect()
}

fn build(
    facts: &Facts,
    manifest: &Path,
    (package, bin): (&str, &str),
    targets: &[Target],
    variables: BTreeMap<String, String>,
) -> Build {
    let home = home(facts);
    let target = target(facts);
    let mut environment = facts.build_environment(&home);
    environment.extend(variables);
    let rustflags = targets.iter().map(|(arch, std)| {
        let mut flags = common_rustflags(facts);
        if *std == Std::Source {
            flags.extend(Sysroot::new(arch, &facts.rust).rustflags(&facts.cache));
        }
        (arch.triple, flags)
    });
    let config = cargo_home::with_rustflags(&facts.network_config, rustflags);
    // In `/`, cargo finds no configuration but that of its home.
    let command = Command::new(facts.rust.cargo(), Path::new("/"))
        .only(environment)
        .args(["build", "--release", "--locked", "--offline", "--keep-going"])
        .args(cargo_build::FLAGS)
        .args(PROFILE)
        .arg("--manifest-path")
        .arg(manifest.to_string_lossy())
        .arg("--target-dir")
        .arg(target.to_string_lossy())
        .args(["--package", package, "--bin", bin])
        .args(targets.iter().flat_map(|(arch, _)| ["--target", arch.triple]));
    Build { home: cargo_home::steps(&home, &facts.cargo_home, config), target, command }
}

fn home(facts: &Facts) -> PathBuf {
    facts.work.join("cargo-home")
}

fn target(facts: &Facts) -> PathBuf {
    facts.work.join("build")
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get.fmt(f)?;
        if let Some((reason, objects)) = &self.stale {
            writeln!(f, "# compile the BPF objects again: {reason}")?;
            objects.fmt(f)?;
        }
        writeln!(f, "# build the binaries")?;
        for step in &self.build.home {
            writeln!(f, "{step}")?;
        }
        writeln!(f, "{}", self.build.command)?;
        writeln!(f, "# check them, pack them, and write when all of it is right:")?;
        for product in &self.products {
            writeln!(f, "#   {}/{}.tar.gz and its .sha256", self.dist.display(), product.stem)?;
        }
        writeln!(f, "#   {}/SHA256SUMS and release.json", self.dist.display())
    }
}

impl fmt::Display for BpfPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.get, self.objects)
    }
}

/// How a printed plan begins.
const SCRIPT_HEAD: &str = "\
#!/bin/sh -e
# What this tool does itself, and no command, stands here as a comment: unpacking, checking, packing.
";

/// Prints a plan: as a shell script, or as JSON.
pub fn show<P: fmt::Display + Serialize>(plan: &P, json: bool) -> Result<()> {
    let text = match json {
        true => format!("{:#}\n", serde_json::to_value(plan).context("cannot write the plan")?),
        false => format!("{SCRIPT_HEAD}{plan}"),
    };
    screen::print(&text)
}

/// What rustc is told for every target, with no path of this machine in the result.
fn common_rustflags(facts: &Facts) -> Vec<String> {
    let mut flags = RUSTFLAGS.map(String::from).to_vec();
    // No new name begins with a slash: it could be a folder that somebody has. The last one that fits wins, so what lies
    // inside another comes after it.
    let mut remap = |from: &Path, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    remap(&facts.root, "workspace");
    remap(&target(facts), "target");
    for (folder, name) in crate_folders(&facts.packages) {
        remap(&folder, &name);
        if let Ok(shared) = folder.strip_prefix(&facts.cargo_home) {
            remap(&home(facts).join(shared), &name);
        }
    }
    remap(&facts.rust.sources(), &format!("/rustc/{}", facts.rust.commit));
    flags
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
pub(crate) mod tests {
    use std::str::FromStr;

    use cargo_metadata::PackageId;

    use super::*;
    use crate::arch::ARCHES;
    use crate::bpf::facts::Inputs;
    use crate::sys::cache::Cache;
    use crate::sys::command::Environment;
    use crate::toolchain::Installed;
    use crate::workspace::config::{Boot, Bpf, Config};
    use crate::workspace::rust::Rust;
    use bpfship_embed::Lock;

    /// A workspace in which everything is there and up to date.
    pub(crate) fn facts() -> Facts {
        let bpf = Bpf { folder: "kernel".into(), cpu: "v1".into(), cflags: Vec::new(), image: None };
        let mut inputs = Inputs {
            sources: [("tick.bpf.c".to_owned(), "1".to_owned())].into(),
            objects: ["tick_bpfel.o", "tick_bpfeb.o"].map(|name| (name.to_owned(), "2".to_owned())).into(),
            ..Inputs::default()
        };
        inputs.lock = Some(Lock { inputs: inputs.lines(&bpf), objects: inputs.objects.clone() });
        let rust =
            Rust { sysroot: "/rust".into(), version: "1.95.0".into(), commit: "c0ffee".into(), llvm: "22".into() };
        let std = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"].map(String::from).into();
        let cached = ARCHES.iter().map(|arch| Sysroot::new(arch, &rust).name).collect();
        Facts {
            config: Config {
                package: "tool".into(),
                version: "0.3.0".into(),
                bin: "probe".into(),
                arches: ARCHES.iter().collect(),
                include: Vec::new(),
                minimum_kernel: None,
                bpf,
                boot: Boot { commands: vec![vec!["--version".into()]], btf_commands: Vec::new(), timeout: 180 },
            },
            packages: vec![package("a", "/home/ann/.cargo/registry/src/index-12ab/a-1.2.0")],
            members: Vec::new(),
            root: "/home/ann/tool".into(),
            work: "/home/ann/tool/target/bpfship".into(),
            rust,
            cache: Cache { folder: "/home/ann/.cache/bpfship".into() },
            installed: Installed { std, rust_src: false, cached },
            bpf: inputs,
            cargo_home: "/home/ann/.cargo".into(),
            network_config: toml::Table::new(),
            private: Vec::new(),
            passed_on: [("PATH".to_owned(), "/usr/bin".to_owned())].into(),
            offline: false,
        }
    }

    fn source() -> Source {
        Source { commit: Some("1a2b".into()), dirty: false, lock_changed: false, date: 7, files: None }
    }

    fn request(arches: &[&str]) -> flags::Dist {
        let arches = arches.iter().map(|name| <&Arch>::from_str(name).unwrap()).collect();
        flags::Dist {
            arches,
            locked: false,
            std: None,
            merge: Vec::new(),
            clang: flags::Clang::default(),
            show: flags::Show::default(),
        }
    }

    fn dist(facts: &Facts, source: Source, request: &flags::Dist) -> Result<Plan> {
        super::dist(facts, source, (!request.locked).then_some(&Place::Host), request)
    }

    #[test]
    fn one_build_makes_all_configured_architectures() {
        let plan = dist(&facts(), source(), &request(&[])).unwrap();
        assert_eq!(plan.get, toolchain::Plan::default());
        assert!(plan.stale.is_none());
        let stems: Vec<&str> = plan.products.iter().map(|product| product.stem.as_str()).collect();
        assert_eq!(stems[..2], ["tool-0.3.0-x86_64-unknown-linux-musl", "tool-0.3.0-aarch64-unknown-linux-musl"]);
        let targets: Vec<_> = plan.build.command.args.iter().filter(|arg| arg.ends_with("-linux-musl")).collect();
        assert_eq!(targets.len(), ARCHES.len());
    }

    #[test]
    fn the_build_is_offline_in_a_folder_without_configuration_and_sees_only_what_is_listed() {
        let command = dist(&facts(), source(), &request(&["mips"])).unwrap().build.command;
        assert_eq!(command.folder, Path::new("/"));
        assert!(command.args.contains(&"--offline".to_owned()) && command.args.contains(&"--locked".to_owned()));
        let environment = whole_environment(&command);
        let names: Vec<&str> = environment.keys().map(String::as_str).collect();
        assert_eq!(names, ["BPFSHIP_COMMIT", "CARGO_HOME", "LC_ALL", "PATH", "RUSTC", "SOURCE_DATE_EPOCH"]);
        assert_eq!(environment["BPFSHIP_COMMIT"], "1a2b");
        assert_eq!(environment["CARGO_HOME"], "/home/ann/tool/target/bpfship/cargo-home");
    }

    #[test]
    fn so_is_that_of_a_standard_library_and_what_compiles_c_sees_less() {
        let mut facts = facts();
        facts.installed.cached.clear();
        facts.bpf.lock = None;
        let plan = dist(&facts, source(), &request(&["s390x"])).unwrap();
        let names = |command: &Command| whole_environment(command).into_keys().collect::<Vec<_>>();
        let sysroot = &plan.get.sysroots[0];
        assert_eq!(sysroot.build.folder, Path::new("/"));
        assert!(sysroot.build.args.contains(&"--offline".to_owned()));
        assert_eq!(names(&sysroot.build), ["CARGO_HOME", "LC_ALL", "PATH", "RUSTC", "RUSTC_BOOTSTRAP"]);
        let home = &whole_environment(&sysroot.build)["CARGO_HOME"];
        assert!(Path::new(home).starts_with(facts.cache.partial(&sysroot.sysroot.name)), "{home}");
        let (_, objects) = plan.stale.unwrap();
        for command in [&sysroot.link, &objects.jobs[0].command] {
            assert_eq!(names(command), ["ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"]);
        }
    }

    /// All that a command sees, if it is not what the user has set.
    fn whole_environment(command: &Command) -> BTreeMap<String, String> {
        match &command.environment {
            Environment::Only(environment) => environment.clone(),
            Environment::Users(_) => panic!("{command} sees the environment of the user"),
        }
    }

    #[test]
    fn an_architecture_asked_for_twice_is_built_once() {
        let plan = dist(&facts(), source(), &request(&["arm64", "aarch64"])).unwrap();
        assert_eq!(plan.products.len(), 1);
    }

    #[test]
    fn the_standard_library_comes_from_where_the_row_says() {
        let plan = dist(&facts(), source(), &request(&["arm64", "s390x"])).unwrap();
        let Step::Write { text, .. } = &plan.build.home[1] else { panic!("no configuration") };
        let config: toml::Table = text.parse().unwrap();
        let flags = |triple: &str| config["target"][triple]["rustflags"].to_string();
        assert!(!flags("aarch64-unknown-linux-musl").contains("--sysroot"));
        assert!(flags("s390x-unknown-linux-musl").contains("--sysroot=/home/ann/.cache/bpfship/sysroot-s390x"));
        assert!(flags("s390x-unknown-linux-musl").contains("--remap-path-prefix=/home/ann/tool=workspace"));

        // Whatever happens to be there.
        let mut facts = facts();
        facts.installed.std = ["riscv64gc-unknown-linux-musl".to_owned()].into();
        let plan = dist(&facts, source(), &request(&["arm64", "riscv64"])).unwrap();
        let routes: Vec<Std> = plan.products.iter().map(|product| product.std).collect();
        assert_eq!(routes, [Std::Prebuilt, Std::Source]);
    }

    #[test]
    fn a_lock_file_of_cargo_that_is_not_committed_is_refused_with_locked() {
        let changed = Source { lock_changed: true, dirty: true, ..source() };
        assert!(dist(&facts(), changed.clone(), &request(&["arm64"])).is_ok());
        let locked = flags::Dist { locked: true, ..request(&["arm64"]) };
        let error = dist(&facts(), changed, &locked).unwrap_err().to_string();
        assert_eq!(error, "--locked, but Cargo.lock is not as it was committed: commit it");
    }

    #[test]
    fn stale_objects_are_compiled_again_and_the_commit_is_then_dirty() {
        let mut facts = facts();
        facts.bpf.sources.insert("tick.bpf.c".into(), "changed".into());
        let plan = dist(&facts, source(), &request(&["arm64"])).unwrap();
        let (reason, objects) = plan.stale.unwrap();
        assert_eq!(reason, "kernel/tick.bpf.c changed");
        assert_eq!(objects.jobs.len(), 2);
        assert!(plan.get.compiler.is_some() && plan.source.dirty);
        assert_eq!(whole_environment(&plan.build.command)["BPFSHIP_COMMIT"], "1a2b-dirty");

        let locked = flags::Dist { locked: true, ..request(&["arm64"]) };
        let error = dist(&facts, source(), &locked).unwrap_err().to_string();
        assert!(
            error.starts_with("--locked, but the BPF objects are not up to date: kernel/tick.bpf.c changed"),
            "{error}"
        );
    }

    fn package(name: &str, folder: &str) -> Package {
        Package {
            id: PackageId { repr: name.into() },
            name: name.into(),
            version: "1.2.0".into(),
            license: None,
            repository: None,
            folder: folder.into(),
        }
    }

    #[test]
    fn a_crate_has_one_name_wherever_it_was_found() {
        let packages = [
            package("a", "/home/ann/.cargo/registry/src/index-12ab/a-1.2.0"),
            package("b", "/home/ann/.cargo/registry/src/index-12ab/b-1.2.0"),
            package("c", "/home/ann/vendor/c"),
            package("d", "/home/ann/.cargo/git/checkouts/d-34cd/ef/crates/d"),
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
