//! What `dist` will do, as data: decided before anything is done, and from the facts alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};

use crate::arch::Target;
use crate::bpf::container::Place;
use crate::bpf::{self, plan::End};
use crate::build::builder::Builders;
use crate::build::plan::{self as build, Build};
use crate::build::run::Built;
use crate::build::site::Site;
use crate::build::unported;
use crate::flags;
use crate::release::documents::Documents;
use crate::release::layout::{LICENSES, STD_LICENSES, Tarball};
use crate::release::manifest::{Artifact, Manifest};
use crate::release::run::{CheckAndPack, OpenStaging, Publish, PublishManifest, ReadInputs, Release, StageArchive};
use crate::release::staging::Staging;
use crate::route::Route;
use crate::sys::plan::{Slot, Task};
use crate::toolchain;
use crate::ui::error::bad_request;
use crate::workspace::facts::Facts;
use crate::workspace::features;
use crate::workspace::packaging::Install;
use crate::workspace::products::Product;
use crate::workspace::snapshot::Touch;
use crate::workspace::source::Source;

/// Everything that one run of `dist` does, and where its results will be.
#[derive(Debug)]
pub struct Plan {
    pub tasks: Vec<Task>,
    pub tarballs: Vec<Tarball>,
    /// What the builds of each tarball give.
    pub built: Vec<Vec<Slot<Built>>>,
    pub manifest: Slot<Manifest>,
}

/// Decides what `dist` does, and writes to that folder. `documents` are those of each archive, by its name. BPF objects that
/// are not up to date are compiled in `place`, and binaries by `builders`.
pub fn dist(
    facts: &Arc<Facts>,
    mut source: Source,
    documents: BTreeMap<String, Documents>,
    place: Option<&Place>,
    builders: &Builders,
    dist: &Path,
    request: &flags::Dist,
) -> Result<Plan> {
    let config = &facts.config;
    if request.locked && !request.allow_dirty {
        facts.sources.check_clean()?;
    }
    for archive in &config.archives {
        for name in archive.bins().chain([LICENSES, STD_LICENSES]) {
            if documents.get(&archive.name).is_some_and(|documents| documents.contains_key(name)) {
                bad_request!("{name} would be packed, but the archive has a file of that name already: rename it");
            }
        }
    }
    let targets = targets(facts, request)?;
    let mut needs = build::needs(facts, &targets);

    let mut compile = Vec::new();
    if let Some(reason) = facts.bpf.stale(config) {
        let place = match place {
            Some(place) if request.compiles() => place,
            _ => bail!(
                "{}, but the BPF objects are not up to date: {reason}; run `cargo xtask bpf` and commit its result",
                if request.locked { "--locked" } else { "--commit" }
            ),
        };
        let pending = bpf::plan::pending(facts)?;
        let compiler = bpf::plan::needs(facts, place, &pending);
        (needs.zig, needs.image, needs.cores) = (needs.zig || compiler.zig, compiler.image, compiler.cores);
        source.dirty = source.commit.is_some();
        compile = bpf::plan::compile(facts, place, End::WriteAndBuild, pending, Some(&reason))?.tasks;
    }
    if let Some(fault) = facts.bpf.btf_fault(&config.bpf) {
        bail!("{fault}");
    }
    let groups = builders.groups(&targets);
    let sites = || groups.iter().map(|(builder, own)| (Site::new(facts, builder), own));
    let mut builds: Vec<(&Product, Build)> = Vec::new();
    for product in config.products() {
        for (site, own) in sites() {
            for build in self::builds(site, product, own, &source) {
                build.check()?;
                builds.push((product, build));
            }
        }
    }

    let touch =
        Touch { folder: facts.sources.folder.clone(), stamp: facts.sources.stamp(&source), paths: facts.crate_roots() };
    let release = Arc::new(Release::new(Arc::clone(facts), source, documents, dist.into()));
    let mut tasks = vec![open(&release.dist, &facts.config.packaging.install, &release.staging)];
    tasks.extend(toolchain::plan::tasks(&needs, facts)?);
    for (site, own) in sites() {
        tasks.extend(build::prepare(site, own)?);
    }
    tasks.extend(compile);
    tasks.push(Task::new("having what depends on the commit built for this one", vec![Box::new(touch)]));
    let mut built = Vec::new();
    let mut pack = Vec::new();
    let (mut tarballs, mut artifacts): (Vec<Tarball>, Vec<Slot<Artifact>>) = (Vec::new(), Vec::new());
    for (archive, (arch, route)) in
        config.archives.iter().flat_map(|archive| targets.iter().map(move |it| (archive, *it)))
    {
        let tarball = Tarball { name: archive.name.clone(), version: archive.version.clone(), arch, route };
        let is_in = |(product, build): &&(&Product, Build)| {
            archive.products.contains(product) && build.targets.iter().any(|(other, _)| *other == arch)
        };
        let builds = builds.iter().filter(is_in).map(|(product, build)| (product.bins.clone(), build.built.clone()));
        let artifact = Slot::default();
        artifacts.push(artifact.clone());
        // Alone, the architecture says what it is.
        let name = if config.archives.len() == 1 { arch.name.into() } else { format!("{} {arch}", archive.name) };
        let title = format!("packing {}", tarball.file());
        let builds: Vec<_> = builds.collect();
        built.push(builds.iter().map(|(_, built): &(Vec<String>, Slot<Built>)| built.clone()).collect());
        let own = groups.iter().find(|(_, own)| own.iter().any(|(other, _)| *other == arch));
        let image = own.and_then(|(builder, _)| builder.compiler_image()).map(String::from);
        let step = CheckAndPack {
            release: Arc::clone(&release),
            archive: archive.clone(),
            tarball: tarball.clone(),
            image,
            builds,
            artifact,
        };
        pack.push(
            Task::new(title, vec![Box::new(step)])
                .live(name)
                .beside("archives")
                .failure("nothing was written to dist/, because this failed"),
        );
        tarballs.push(tarball);
    }
    tasks.extend(builds.into_iter().flat_map(|(_, build)| build.tasks(facts)));
    tasks.push(Task::new("reading what goes into the archives", vec![Box::new(ReadInputs(Arc::clone(&release)))]));
    tasks.extend(pack);
    let manifest = Slot::default();
    let publish = Publish { release, artifacts, manifest: manifest.clone() };
    tasks.push(Task::new(PUBLISHING, vec![Box::new(publish)]));
    Ok(Plan { tasks, tarballs, built, manifest })
}

/// Decides how a product is built: by one command for all targets of which its crates have the same features, or by one for
/// each, if something among the sources is of one target.
fn builds(site: Site, product: &Product, targets: &[Target], source: &Source) -> Vec<Build> {
    let facts = site.facts;
    let selection = product.selection();
    let features = facts.features.get(&selection.join(" "));
    let of = |(arch, _): Target| features.and_then(|of| of.get(arch.triple)).cloned().unwrap_or_default();
    let manifest = build::source_root(facts).join("Cargo.toml");
    let build = |targets: Vec<Target>| {
        Build::new(site, &manifest, &selection, &product.bins, &targets, build::variables(source))
    };
    match facts.config.is_built_one_by_one() {
        true => targets.iter().map(|target| build(vec![*target])).collect(),
        false => features::together(targets, of).into_iter().map(build).collect(),
    }
}

/// Decides how archives in other folders become one release.
pub fn merge(dist: &Path, install: &Install, archives: Vec<(PathBuf, Artifact)>, manifest: Manifest) -> Vec<Task> {
    let staging = Slot::default();
    let mut tasks = vec![open(dist, install, &staging)];
    for (folder, artifact) in archives {
        let title = format!("taking over {}", artifact.file);
        tasks.push(Task::new(title, vec![Box::new(StageArchive { folder, artifact, staging: staging.clone() })]));
    }
    let publish = PublishManifest { dist: dist.into(), staging, manifest };
    tasks.push(Task::new(PUBLISHING, vec![Box::new(publish)]));
    tasks
}

const PUBLISHING: &str = "publishing to dist/";

fn open(dist: &Path, install: &Install, staging: &Slot<Staging>) -> Task {
    let step = OpenStaging { dist: dist.into(), install: install.clone(), staging: staging.clone() };
    Task::new("making a folder to write to first", vec![Box::new(step)])
}

/// What is built for, in the order of the request.
fn targets(facts: &Facts, request: &flags::Dist) -> Result<Vec<Target>> {
    let config = &facts.config;
    let arches = if request.arches.is_empty() { &config.arches } else { &request.arches };
    let mut seen = BTreeSet::new();
    let mut targets = Vec::new();
    for arch in arches.iter().filter(|arch| seen.insert(arch.name)) {
        let route = request.std.unwrap_or(arch.route);
        if route == Route::Prebuilt && !arch.in_rustup {
            bad_request!("--std prebuilt: Rust provides no standard library for {arch}; leave --std out");
        }
        if let Some(why) = config.products().find_map(|product| unported::refusal(facts, product, arch)) {
            bad_request!("{why}");
        }
        if !config.arches.contains(arch)
            && let Some(source) = facts.bpf.missing_for(&config.bpf, arch)
        {
            bad_request!(
                "{source} has no BPF object for {arch}: add it to `arches` in [workspace.metadata.bpfship] of Cargo.toml"
            );
        }
        targets.push((*arch, route));
    }
    Ok(targets)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::str::FromStr;

    use bpfship_embed::Lock;
    use serde_json::Value;

    use super::*;
    use crate::arch::{ARCHES, Arch};
    use crate::bpf::facts::Inputs;
    use crate::build::builder::Builder;
    use crate::build::kind::Kind;
    use crate::sys::cache::Cache;
    use crate::sys::hash;
    use crate::sys::plan::to_json;
    use crate::sys::process::Runner;
    use crate::toolchain::facts::Installed;
    use crate::toolchain::sysroot::Sysroot;
    use crate::ui::screen::Level;
    use crate::workspace::config::{self, Bpf, Config};
    use crate::workspace::ignored::IgnoredFiles;
    use crate::workspace::packages::Package;
    use crate::workspace::packaging::Packaging;
    use crate::workspace::products::{About, Archive, Boot, Deploy, Features};
    use crate::workspace::rust::Rust;
    use crate::workspace::snapshot::{Change, Difference};
    use crate::workspace::source::Sources;

    pub(crate) fn product(package: &str, bins: &[&str]) -> Product {
        let bins = bins.iter().map(|bin| (*bin).into()).collect();
        let boot = Boot { commands: vec![vec!["--version".into()]], timeout: 180, ..Boot::default() };
        Product { package: package.into(), bins, features: Features::default(), boot, deploy: Deploy::default() }
    }

    pub(crate) fn archive(name: &str, products: Vec<Product>) -> Archive {
        Archive { name: name.into(), version: "0.3.0".into(), about: About::default(), products, include: Vec::new() }
    }

    /// A workspace in which everything is there and up to date.
    pub(crate) fn facts() -> Facts {
        let bpf = Bpf { folder: "kernel".into(), ..Bpf::default() };
        let mut inputs = Inputs {
            sources: [("tick.bpf.c".to_owned(), hash::bytes(b"1"))].into(),
            objects: ["tick_bpfel.o", "tick_bpfeb.o"].map(|name| (name.to_owned(), hash::bytes(b"2"))).into(),
            ..Inputs::default()
        };
        let objects = inputs.objects.iter().map(|(name, hash)| (name.clone(), hash.to_string())).collect();
        inputs.lock = Some(Lock { inputs: inputs.lines(&bpf), objects, ..Lock::default() });
        let rust = Rust {
            sysroot: "/rust".into(),
            version: "1.95.0".into(),
            commit: "c0ffee".into(),
            llvm: "22".into(),
            host: "h".into(),
        };
        let prebuilt = ARCHES.iter().filter(|arch| arch.route == Route::Prebuilt);
        let std = prebuilt.map(|arch| arch.triple.to_owned()).collect();
        let cached = ARCHES.iter().map(|arch| Sysroot::new(arch, &rust).name).collect();
        Facts {
            config: Config {
                archives: vec![archive("tool", vec![product("tool", &["probe"])])],
                arches: ARCHES.iter().collect(),
                minimum_kernel: None,
                bpf,
                builder: Kind::Host,
                builders: BTreeMap::new(),
                images: BTreeMap::new(),
                container: config::Container::default(),
                generated: Vec::new(),
                packaging: Packaging::default(),
            },
            packages: vec![Package::example("a", "/home/ann/.cargo/registry/src/index-12ab/a-1.2.0")],
            with_c: BTreeSet::new(),
            features: BTreeMap::new(),
            dependencies: BTreeMap::new(),
            libbpf: None,
            members: Vec::new(),
            dist: "/home/ann/tool/dist".into(),
            root: "/home/ann/tool".into(),
            sources: sources(),
            work: "/home/ann/tool/target/bpfship".into(),
            rust,
            cache: Cache { folder: "/home/ann/.cache/bpfship".into() },
            installed: Installed { std, rust_src: false, cached },
            bpf: inputs,
            cargo_home: "/home/ann/.cargo".into(),
            downloaded: vec!["/home/ann/.cargo/registry/index".into()],
            network_config: toml::Table::new(),
            private: Vec::new(),
            passed_on: [("PATH".to_owned(), "/usr/bin".to_owned())].into(),
            offline: false,
        }
    }

    pub(crate) fn sources() -> Sources {
        let root = Path::new("/home/ann/tool");
        Sources {
            folder: "/home/ann/tool/target/bpfship/snapshot".into(),
            top: "/home/ann/tool/target/bpfship/snapshot/source".into(),
            workspace: "/home/ann/tool/target/bpfship/snapshot/source".into(),
            path: String::new(),
            from: root.into(),
            commit: None,
            changes: Vec::new(),
            identity: String::new(),
            outside: Vec::new(),
            ignored: IgnoredFiles::new(Runner::new(Level::Quiet), root, root, &[], &[]),
        }
    }

    fn source() -> Source {
        Source { commit: Some("1a2b".into()), dirty: false, date: 7 }
    }

    fn request(arches: &[&str]) -> flags::Dist {
        let arches = arches.iter().map(|name| <&Arch>::from_str(name).unwrap()).collect();
        flags::Dist {
            arches,
            locked: false,
            allow_dirty: false,
            commit: None,
            to: None,
            std: None,
            builder: None,
            merge: Vec::new(),
            clang: flags::Clang::default(),
            show: flags::Show::default(),
        }
    }

    fn dist(facts: &Facts, source: Source, request: &flags::Dist) -> Result<Plan> {
        let dist = facts.dist.clone();
        let mut builders = Builders::default();
        builders.add(&ARCHES[0], Builder::Host);
        assert!(ARCHES.iter().all(|arch| builders.choose(arch, Kind::Host, None)));
        super::dist(&Arc::new(facts.clone()), source, BTreeMap::new(), Some(&Place::Host), &builders, &dist, request)
    }

    /// All steps of a kind, wherever they are in the plan.
    fn steps(plan: &Plan, kind: &str) -> Vec<Value> {
        fn collect(value: &Value, kind: &str, found: &mut Vec<Value>) {
            match value {
                Value::Object(map) => map.iter().for_each(|(key, value)| match key == kind {
                    true => found.push(value.clone()),
                    false => collect(value, kind, found),
                }),
                Value::Array(list) => list.iter().for_each(|value| collect(value, kind, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        collect(&to_json(&plan.tasks), kind, &mut found);
        found
    }

    /// All that a command sees, if it is not what the user has set.
    fn whole_environment(command: &Value) -> BTreeMap<String, String> {
        serde_json::from_value(command["environment"]["only"].clone()).unwrap()
    }

    fn has(command: &Value, word: &str) -> bool {
        command["args"].as_array().unwrap().iter().any(|arg| arg == word)
    }

    #[test]
    fn one_build_makes_all_configured_architectures() {
        let plan = dist(&facts(), source(), &request(&[])).unwrap();
        let kinds = ["rustup-add", "cache-entry", "compile-object"];
        assert!(kinds.iter().all(|kind| steps(&plan, kind).is_empty()));
        let stems: Vec<String> = plan.tarballs.iter().map(Tarball::stem).collect();
        assert_eq!(stems[..2], ["tool-0.3.0-x86_64-unknown-linux-musl", "tool-0.3.0-aarch64-unknown-linux-musl"]);
        let builds = steps(&plan, "build-binaries");
        let args = builds[0]["build"]["command"]["args"].as_array().unwrap();
        let targets = args.iter().filter(|arg| arg.as_str().unwrap().contains("-linux-musl"));
        assert_eq!((builds.len(), targets.count()), (1, ARCHES.len()));
    }

    #[test]
    fn the_build_is_offline_in_a_folder_without_configuration_and_sees_only_what_is_listed() {
        let plan = dist(&facts(), source(), &request(&["mips"])).unwrap();
        let command = &steps(&plan, "build-binaries")[0]["build"]["command"];
        assert!(command["folder"] == "/" && has(command, "--offline") && has(command, "--locked"), "{command}");
        let environment = whole_environment(command);
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
        let names = |command: &Value| whole_environment(command).into_keys().collect::<Vec<_>>();
        let build = &steps(&plan, "build-crates")[0]["command"];
        assert!(build["folder"] == "/" && has(build, "--offline"), "{build}");
        assert_eq!(names(build), ["CARGO_HOME", "LC_ALL", "PATH", "RUSTC", "RUSTC_BOOTSTRAP"]);
        let home = &whole_environment(build)["CARGO_HOME"];
        let sysroot = Sysroot::new(<&Arch>::from_str("s390x").unwrap(), &facts.rust);
        assert!(Path::new(home).starts_with(facts.cache.partial(&sysroot.name)), "{home}");
        let link = &steps(&plan, "keep-runtime")[0]["link"];
        assert_eq!(names(link), ["ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"]);
        let compile = &steps(&plan, "compile-object")[0]["command"];
        assert_eq!(names(compile), ["SOURCE_DATE_EPOCH", "ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"]);
    }

    #[test]
    fn where_a_crate_compiles_c_the_compiler_is_there_and_nothing_of_the_machine_is_found() {
        let mut facts = facts();
        facts.with_c.insert("ring".into());
        let plan = dist(&facts, source(), &request(&["s390x"])).unwrap();
        assert_eq!((steps(&plan, "unpack-wheel").len(), steps(&plan, "install-names").len()), (1, 1));
        let environment = whole_environment(&steps(&plan, "build-binaries")[0]["build"]["command"]);
        for (name, value) in [
            ("CC_s390x_unknown_linux_musl", "s390x-unknown-linux-musl-cc"),
            ("PATH", "/home/ann/tool/target/bpfship/cc:/usr/bin"),
            ("PKG_CONFIG_LIBDIR_s390x_unknown_linux_musl", "/home/ann/tool/target/bpfship/cc/none"),
            ("S390X_UNKNOWN_LINUX_MUSL_JEMALLOC_SYS_WITH_LG_PAGE", "12"),
        ] {
            assert_eq!(environment[name], value, "{name}");
        }
        // A build script may have bindgen read headers for another target than its own.
        let bindgen = &environment["BINDGEN_EXTRA_CLANG_ARGS_s390x_unknown_linux_musl"];
        assert!(bindgen.contains("s390x-linux-musl") && !bindgen.contains("-target"), "{bindgen}");
        // Of the machine that it is built on, nothing is said.
        assert!(!environment.keys().any(|name| ["CC", "CFLAGS"].contains(&name.as_str()) || name.contains("gnu")));
    }

    #[test]
    fn an_architecture_that_no_object_is_compiled_for_is_refused() {
        let mut facts = facts();
        facts.config.arches.retain(|arch| arch.name == "amd64");
        assert!(dist(&facts, source(), &request(&["arm64"])).is_ok(), "one object is for both");
        let lock = facts.bpf.lock.as_mut().unwrap();
        lock.objects.remove("tick_bpfeb.o");
        let error = dist(&facts, source(), &request(&["s390x"])).unwrap_err().to_string();
        assert!(error.starts_with("tick.bpf.c has no BPF object for s390x: add it to `arches`"), "{error}");
    }

    #[test]
    fn each_product_has_builds_of_its_own_and_each_archive_what_its_products_give() {
        let mut facts = facts();
        let loud = Features { names: vec!["loud".into()], no_default: true };
        let loud = Product { features: loud, ..product("tool", &["probe", "probed"]) };
        facts.config.archives = vec![
            archive("tool", vec![loud, product("extra", &["extra"])]),
            archive("other", vec![product("other", &["other"])]),
        ];
        let plan = dist(&facts, source(), &request(&["arm64", "mips"])).unwrap();
        let builds = steps(&plan, "build-binaries");
        let bins: Vec<String> = builds.iter().map(|build| build["bins"].to_string()).collect();
        assert_eq!(bins, [r#"["probe","probed"]"#, r#"["extra"]"#, r#"["other"]"#]);
        let has_features = |build: &Value| has(&build["build"]["command"], "--features=loud");
        assert_eq!(builds.iter().map(has_features).collect::<Vec<_>>(), [true, false, false]);
        let packed: Vec<String> = steps(&plan, "check-and-pack").iter().map(|pack| pack["bins"].to_string()).collect();
        assert_eq!(packed[..2], vec![r#"["probe","probed","extra"]"#; 2]);
        assert_eq!(packed[2..], vec![r#"["other"]"#; 2]);
        let files: Vec<String> = plan.tarballs.iter().map(Tarball::file).collect();
        assert_eq!(
            files[1..3],
            ["tool-0.3.0-mips-unknown-linux-musl.tar.gz", "other-0.3.0-aarch64-unknown-linux-musl.tar.gz"]
        );
    }

    #[test]
    fn an_architecture_asked_for_twice_is_built_once() {
        let plan = dist(&facts(), source(), &request(&["arm64", "aarch64"])).unwrap();
        assert_eq!(plan.tarballs.len(), 1);
    }

    #[test]
    fn the_standard_library_comes_from_where_the_row_says() {
        let plan = dist(&facts(), source(), &request(&["arm64", "s390x"])).unwrap();
        let config: toml::Table = steps(&plan, "write")[0]["text"].as_str().unwrap().parse().unwrap();
        let flags = |triple: &str| config["target"][triple]["rustflags"].to_string();
        assert!(!flags("aarch64-unknown-linux-musl").contains("--sysroot"));
        assert!(flags("s390x-unknown-linux-musl").contains("--sysroot=/home/ann/.cache/bpfship/sysroot-s390x"));
        assert!(
            flags("s390x-unknown-linux-musl")
                .contains("--remap-path-prefix=/home/ann/tool/target/bpfship/snapshot/source=workspace")
        );

        // Whatever happens to be there.
        let mut facts = facts();
        facts.installed.std = ["riscv64gc-unknown-linux-musl".to_owned()].into();
        let plan = dist(&facts, source(), &request(&["arm64", "riscv64"])).unwrap();
        let routes: Vec<Route> = plan.tarballs.iter().map(|tarball| tarball.route).collect();
        assert_eq!(routes, [Route::Prebuilt, Route::Source]);
    }

    #[test]
    fn changes_are_refused_with_locked_unless_they_are_meant() {
        let mut facts = facts();
        let change = |path: &str| Change { path: path.into(), what: Difference::Changed, hidden: None };
        facts.sources.changes = ["Cargo.lock", "b", "c", "d", "e", "f", "g"].map(change).into();
        let dirty = Source { dirty: true, ..source() };
        assert!(dist(&facts, dirty.clone(), &request(&["arm64"])).is_ok());
        let locked = flags::Dist { locked: true, ..request(&["arm64"]) };
        let error = dist(&facts, dirty.clone(), &locked).unwrap_err().to_string();
        assert_eq!(
            error,
            "--locked, but there are changes that are not committed: Cargo.lock is changed, b is changed, c is changed, \
             d is changed, e is changed, and 2 more; commit them, or add --allow-dirty"
        );
        assert!(dist(&facts, dirty, &flags::Dist { allow_dirty: true, ..locked }).is_ok());
    }

    #[test]
    fn stale_objects_are_compiled_again_and_the_commit_is_then_dirty() {
        let mut facts = facts();
        facts.bpf.sources.insert("tick.bpf.c".into(), hash::bytes(b"changed"));
        let plan = dist(&facts, source(), &request(&["arm64"])).unwrap();
        let title = "compiling the BPF objects again: kernel/tick.bpf.c changed";
        assert!(plan.tasks.iter().any(|task| task.title == title));
        assert_eq!((steps(&plan, "compile-object").len(), steps(&plan, "unpack-wheel").len()), (2, 1));
        assert_eq!(steps(&plan, "publish")[0]["dirty"], true);
        let command = &steps(&plan, "build-binaries")[0]["build"]["command"];
        assert_eq!(whole_environment(command)["BPFSHIP_COMMIT"], "1a2b-dirty");

        let locked = flags::Dist { locked: true, ..request(&["arm64"]) };
        let error = dist(&facts, source(), &locked).unwrap_err().to_string();
        assert!(
            error.starts_with("--locked, but the BPF objects are not up to date: kernel/tick.bpf.c changed"),
            "{error}"
        );
    }
}
