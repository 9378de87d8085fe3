//! `[workspace.metadata.bpfship]` in Cargo.toml, parsed strictly: what can be wrong with it is found before anything is built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};
use cargo_metadata::Metadata;
use cargo_metadata::camino::Utf8Path;
use serde::Deserialize;

use crate::arch::Arch;
use crate::build::kind::Kind;
use crate::container::recipe::Wanted;
use crate::sys::hash::Sha256;
use crate::ui::error::bad_request;
use crate::ui::suggest;
use crate::workspace::keys::{self, OneOrMore, Root, check_path, key, plain_path};
use crate::workspace::packaging::{Install, Packaging, WrittenImage, WrittenPackages};
use crate::workspace::products::{self, Archive, Product, WrittenBoot, WrittenDeploy, WrittenInclude, WrittenProduct};

/// What is shipped, checked against the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// At least one, in the order of the products in them.
    pub archives: Vec<Archive>,
    /// What `dist` builds when no `--arch` is given.
    pub arches: Vec<&'static Arch>,
    /// The oldest kernel the application itself runs on, as `MAJOR.MINOR`.
    pub minimum_kernel: Option<String>,
    pub bpf: Bpf,
    /// What compiles binaries, unless an architecture has another one, by its name.
    pub builder: Kind,
    pub builders: BTreeMap<&'static str, Kind>,
    /// The images that binaries for single architectures are built in, with a compiler for C of their own.
    pub images: BTreeMap<&'static str, String>,
    pub container: Container,
    pub packaging: Packaging,
    /// Patterns of the paths, from the workspace, of what build scripts write among the sources.
    pub generated: Vec<String>,
}

/// `[workspace.metadata.bpfship.container]`: the container that binaries are built in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Container {
    /// More of Debian's packages in our image, for build scripts.
    pub packages: Vec<String>,
    /// An image to build in instead of ours, as `NAME@sha256:DIGEST`.
    pub image: Option<String>,
}

/// `[workspace.metadata.bpfship.arch.NAME]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct WrittenArch {
    /// What compiles its binaries.
    builder: Option<Kind>,
    /// An image whose compiler compiles its C code, as `NAME@sha256:DIGEST`.
    image: Option<String>,
}

/// `[workspace.metadata.bpfship.bpf]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bpf {
    /// The folder of sources that has the objects and bpf.lock, relative to the workspace; empty if the workspace has no
    /// sources of BPF, or leaves them to build scripts.
    pub folder: String,
    /// More folders of sources.
    pub more: Vec<String>,
    /// What the paths of sources in those folders are like; each gives objects. What begins with `!` gives none.
    pub sources: Vec<String>,
    /// What else is compiled of a source, or how.
    pub variants: Vec<Variant>,
    /// The folder below which there is a vmlinux.h for each architecture, if not below those of sources.
    pub vmlinux: Option<String>,
    /// The BPF instruction set: `v1` runs on every kernel, later ones give smaller programs.
    pub cpu: String,
    /// More flags for clang.
    pub cflags: Vec<String>,
    /// A container image to compile in instead of ours, as `NAME@sha256:DIGEST`.
    pub image: Option<String>,
    /// The folder that gets bindings, one file for each source.
    pub bindings: Option<String>,
    /// Types that bindings have besides those of maps and variables.
    pub types: Vec<String>,
    /// The folder of BTF of kernels that the binary carries.
    pub btf: Option<String>,
    /// The packages whose binaries are BPF objects.
    pub rust: Vec<RustPackage>,
    /// The folder in which the sources of an application expect the objects of those packages, as cargo would have left them.
    pub copies: Option<String>,
    /// The folders of all packages of the workspace by their names, relative to it, where there are such.
    pub members: BTreeMap<String, String>,
}

/// A package that is BPF written in Rust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RustPackage {
    pub name: String,
    /// The folder of the workspace that it belongs to, from this one: empty if it is this one.
    pub workspace: String,
    /// Names of its binaries, and the paths of their sources from the workspace.
    pub bins: BTreeMap<String, String>,
    /// Of binaries that want features, which ones.
    pub wanting: BTreeMap<String, Vec<String>>,
    /// Its features, and what each enables.
    pub features: BTreeMap<String, Vec<String>>,
}

impl RustPackage {
    pub fn has(&self, features: &[String]) -> bool {
        features.iter().all(|feature| self.features.contains_key(feature))
    }

    /// Whether cargo builds a binary with these features, as its command line has them.
    pub fn builds(&self, bin: &str, features: &BTreeSet<String>) -> bool {
        let mut enabled: BTreeSet<&str> = BTreeSet::new();
        let mut next: Vec<&str> = features.iter().map(String::as_str).collect();
        next.extend((!features.contains(NO_DEFAULT)).then_some("default"));
        while let Some(feature) = next.pop() {
            if enabled.insert(feature) {
                next.extend(self.features.get(feature).into_iter().flatten().map(String::as_str));
            }
        }
        self.wanting.get(bin).is_none_or(|wanted| wanted.iter().all(|feature| enabled.contains(feature.as_str())))
    }
}

/// How cargo is told to leave default features out.
pub const NO_DEFAULT: &str = "--no-default-features";

/// Where BPF programs are looked for.
const DEFAULT_FOLDER: &str = "bpf";

/// `[[workspace.metadata.bpfship.bpf.variant]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Variant {
    /// What is added to the name of the object. Without one, it says how the object without a variant is compiled.
    pub name: Option<String>,
    /// The sources that have it, as in [`Bpf::sources`]; all, if there are none.
    pub sources: Vec<String>,
    /// NAME or NAME=VALUE each.
    pub defines: Vec<String>,
    /// Features of packages in Rust, for those that have them. `sources` are names of binaries then.
    pub features: Vec<String>,
    /// Whether the default features are left out.
    #[serde(rename = "no-default-features")]
    pub no_default_features: bool,
    /// The BPF instruction set.
    #[cfg_attr(test, schemars(extend("enum" = BPF_CPUS)))]
    pub cpu: Option<String>,
    /// The architectures that it is compiled for; all that are configured, if there are none.
    #[cfg_attr(test, schemars(extend("items" = crate::arch::schema_of_word())))]
    pub arches: Vec<String>,
}

impl Variant {
    /// Whether it is of programs in Rust, and not of those in C.
    pub fn is_of_rust(&self) -> bool {
        !self.features.is_empty() || self.no_default_features
    }

    pub fn apply(&self, cpu: &mut String, defines: &mut Vec<String>, arches: &mut Vec<&'static str>) {
        if let Some(own) = &self.cpu {
            cpu.clone_from(own);
        }
        defines.extend(self.defines.iter().cloned());
        let own = self.arches.iter().filter_map(|word| <&Arch>::from_str(word).ok()).map(|arch| arch.name);
        if !self.arches.is_empty() {
            *arches = own.collect();
        }
    }
}

impl Default for Bpf {
    fn default() -> Bpf {
        Bpf {
            folder: "bpf".into(),
            more: Vec::new(),
            sources: vec!["**/*.bpf.c".into()],
            variants: Vec::new(),
            vmlinux: None,
            cpu: "v1".into(),
            cflags: Vec::new(),
            image: None,
            bindings: None,
            types: Vec::new(),
            btf: None,
            rust: Vec::new(),
            copies: None,
            members: BTreeMap::new(),
        }
    }
}

pub const BPF_CPUS: [&str; 4] = ["v1", "v2", "v3", "v4"];

/// The tables as they are written.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Written {
    /// The package to ship, which gives archives their name and version.
    package: Option<String>,
    /// Its binaries, where it has more than one.
    bin: Option<OneOrMore>,
    /// The features that it is built with.
    features: Vec<String>,
    /// Whether its default features are left out.
    no_default_features: bool,
    /// Several packages, in one archive or one each.
    product: Vec<WrittenProduct>,
    /// The architectures that are shipped unless `--arch` names others.
    #[cfg_attr(test, schemars(extend("items" = crate::arch::schema_of_word())))]
    arches: Option<Vec<String>>,
    /// More files and folders for the archives.
    include: Vec<WrittenInclude>,
    /// What build scripts write among the sources.
    generated: Vec<String>,
    /// The oldest kernel that the application runs on, such as "5.10".
    #[cfg_attr(test, schemars(regex(pattern = r"^[0-9]+\.[0-9]+$")))]
    minimum_kernel: Option<String>,
    /// The BPF objects.
    bpf: WrittenBpf,
    /// What compiles the binaries.
    builder: Kind,
    /// What is different for one architecture.
    arch: BTreeMap<String, WrittenArch>,
    /// The container that binaries are built in.
    container: Container,
    /// What `boot` runs on a kernel.
    boot: WrittenBoot,
    /// What `deploy` does on a machine.
    deploy: WrittenDeploy,
    /// What `package` says in packages.
    packages: WrittenPackages,
    /// What `image` says in images.
    image: WrittenImage,
    /// What install.sh demands of a release.
    install: Install,
}

/// Whether a pattern of [`Bpf::sources`] takes paths out.
pub fn takes_out(pattern: &str) -> bool {
    pattern.starts_with('!')
}

/// What the paths of a pattern are like, whether it takes them out or not.
pub fn form(pattern: &str) -> &str {
    pattern.strip_prefix('!').unwrap_or(pattern)
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct WrittenBpf {
    /// Where sources are; the first gets objects/ and bpf.lock. Default: bpf. An empty list: build scripts compile what there is.
    folder: Option<OneOrMore>,
    /// What the paths of sources in those folders are like, and those of files that are none, behind `!`. Default: `**/*.bpf.c`.
    sources: Option<Vec<String>>,
    /// What else is compiled of a source, or how.
    variant: Vec<Variant>,
    /// The folder below which there is a vmlinux.h for each architecture.
    vmlinux: Option<String>,
    /// The BPF instruction set. Default: v1, which every kernel takes.
    #[cfg_attr(test, schemars(extend("enum" = BPF_CPUS)))]
    cpu: Option<String>,
    /// More flags for clang.
    cflags: Vec<String>,
    /// A container image to compile in, as `NAME@sha256:DIGEST`.
    image: Option<String>,
    /// The folder that gets Rust for the types, maps and programs of each source.
    bindings: Option<String>,
    /// Types that bindings have besides those of maps and variables.
    types: Vec<String>,
    /// The folder of BTF of kernels that the binary carries.
    btf: Option<String>,
    /// Packages whose binaries are BPF, written in Rust, or their folders.
    rust: Vec<String>,
    /// The folder that the application takes objects in Rust from.
    copies: Option<String>,
}

impl Config {
    /// The folders that `bpf.rust` names, which are packages of workspaces of their own. `package` is one with a release of its own.
    pub fn bpf_beside(metadata: &Metadata, package: Option<&str>) -> Result<Vec<String>> {
        let Some((table, _)) = keys::find(metadata, package)? else { return Ok(Vec::new()) };
        let names = table.pointer("/bpf/rust").and_then(serde_json::Value::as_array);
        let names = names.into_iter().flatten().filter_map(|name| plain_path(name.as_str()?));
        let is_member = |name: &String| metadata.workspace_packages().iter().any(|package| *package.name == *name);
        let is_there = |name: &String| metadata.workspace_root.join(name).join("Cargo.toml").is_file();
        Ok(names.filter(|name| !is_member(name) && is_there(name)).collect())
    }

    /// Reads the configuration out of cargo's metadata, or that of a `package` with a release of its own. `beside` are the
    /// workspaces of BPF that are not this one. `why_missing` may know why a path is not in the workspace.
    pub fn parse(
        (metadata, beside): (&Metadata, &[Metadata]),
        package: Option<&str>,
        why_missing: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config> {
        let Some((table, word)) = keys::find(metadata, package)? else {
            if metadata.workspace_metadata.get("dist").is_some() {
                bad_request!(
                    "there is no [workspace.metadata.bpfship] in Cargo.toml; if [workspace.metadata.dist] was written \
                     for this tool, rename it, for that name is cargo-dist's"
                );
            }
            bad_request!("no package to ship is configured: set {}", key("package"));
        };
        let check = |written| Config::check((metadata, beside), package, why_missing, written);
        let config = keys::read(table).and_then(check);
        config.map_err(|error| keys::in_table(error, word))
    }

    fn check(
        (metadata, beside): (&Metadata, &[Metadata]),
        release_of: Option<&str>,
        why_missing: &dyn Fn(&str) -> Option<String>,
        written: Written,
    ) -> Result<Config> {
        let root = Root { folder: metadata.workspace_root.as_std_path(), why_missing };
        let Written { package, bin, features, no_default_features, product, .. } = written;
        let package = package.or_else(|| release_of.filter(|_| product.is_empty()).map(String::from));
        let only = WrittenProduct { package, bin, features, no_default_features, ..WrittenProduct::default() };
        let is_written =
            only.package.is_some() || only.bin.is_some() || !only.features.is_empty() || only.no_default_features;
        let (tables, products) = match product.is_empty() {
            true => ("", vec![only]),
            false if is_written => bad_request!(
                "{}, `bin` and features are there, and so is {}: have them in the latter",
                key("package"),
                key("product")
            ),
            false => ("product.", product),
        };
        let all = (&written.boot, &written.deploy);
        let archives = products::archives(metadata, &root, tables, products, written.include, all)?;

        let mut arches = Vec::new();
        for word in written.arches.iter().flatten() {
            match <&Arch>::from_str(word) {
                Ok(arch) if !arches.contains(&arch) => arches.push(arch),
                Ok(arch) => bad_request!("{} names {arch} twice", key("arches")),
                Err(error) => bad_request!("{}: {error}", key("arches")),
            }
        }
        match written.arches {
            None => arches = Arch::defaults().collect(),
            Some(list) if list.is_empty() => {
                bad_request!("{} is empty: leave it out to ship for the usual ones", key("arches"))
            }
            Some(_) => {}
        }

        if let Some(version) = &written.minimum_kernel
            && kernel_version(version).is_none()
        {
            bad_request!("{} is `{version}`; a kernel version like \"5.10\" is expected", key("minimum-kernel"));
        }
        if let Some(pattern) = written.generated.iter().find(|pattern| plain_path(pattern).as_ref() != Some(pattern)) {
            bad_request!(
                "{} has `{pattern}`; the path of a file inside the workspace is expected, such as src/bpf/*.skel.rs",
                key("generated")
            );
        }
        let (mut builders, mut images) = (BTreeMap::new(), BTreeMap::new());
        for (word, own) in written.arch {
            let arch = match <&Arch>::from_str(&word) {
                Ok(arch) => arch,
                Err(error) => bad_request!("{}: {error}", key("arch")),
            };
            builders.extend(own.builder.map(|kind| (arch.name, kind)));
            if let Some(image) = own.image {
                check_image(&image, &key(&format!("arch.{word}.image")))?;
                images.insert(arch.name, image);
            }
        }
        written.container.check()?;
        let packaging = Packaging::parse(written.packages, written.image, written.install)?;
        let rust = rust_packages(metadata, beside, &written.bpf.rust)?;
        let mut bpf = Bpf::parse(&root, written.bpf, release_of.is_none())?;
        if !rust.is_empty() {
            bpf.members =
                beside.iter().chain([metadata]).flat_map(|it| members(it, &metadata.workspace_root)).collect();
        }
        bpf.rust = rust;
        bpf.check_features()?;
        Ok(Config {
            archives,
            arches,
            minimum_kernel: written.minimum_kernel,
            bpf,
            builder: written.builder,
            builders,
            images,
            container: written.container,
            packaging,
            generated: written.generated,
        })
    }

    /// Whether something lies among the sources, while they are built, that is of one target.
    pub fn is_built_one_by_one(&self) -> bool {
        !self.generated.is_empty() || self.bpf.copies.is_some()
    }

    /// Patterns of the paths, from the workspace, of what lies among the sources only while they are built.
    pub fn only_built(&self) -> Vec<String> {
        let bins = self.bpf.rust.iter().flat_map(|package| package.bins.keys());
        let copies = self.bpf.copies.iter().flat_map(|folder| bins.clone().map(move |bin| format!("{folder}/{bin}")));
        self.generated.iter().cloned().chain(copies).collect()
    }

    /// The builders of the architectures that are shipped.
    pub fn all_builders(&self) -> BTreeSet<Kind> {
        self.arches.iter().map(|arch| self.builder(arch)).collect()
    }

    /// What compiles the binaries for an architecture.
    pub fn builder(&self, arch: &Arch) -> Kind {
        self.builders.get(arch.name).copied().unwrap_or(self.builder)
    }

    /// Of each archive, name and version.
    pub fn describe(&self) -> String {
        let words = self.archives.iter().map(|archive| format!("{} {}", archive.name, archive.version));
        words.collect::<Vec<_>>().join(", ")
    }

    /// All that is shipped, in whatever archive.
    pub fn products(&self) -> impl Iterator<Item = &Product> {
        self.archives.iter().flat_map(|archive| &archive.products)
    }

    /// The binary that the user names with `--bin`, or the first one, and its product.
    pub fn product_of<'a>(&'a self, named: Option<&str>) -> Result<(&'a Product, &'a str)> {
        let bins = || self.products().flat_map(|product| product.bins.iter().map(move |bin| (product, bin.as_str())));
        match named {
            None => bins().next().context("nothing is shipped"),
            Some(name) => match bins().find(|(_, bin)| *bin == name) {
                Some(found) => Ok(found),
                None => bad_request!(
                    "--bin: no binary `{}` is shipped{}",
                    suggest::cut(name),
                    suggest::hint(name, bins().map(|(_, bin)| bin))
                ),
            },
        }
    }
}

impl Bpf {
    /// Whether the tool compiles objects.
    pub fn has_sources(&self) -> bool {
        !self.folder.is_empty()
    }

    /// All folders of sources.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.folder.as_str()).chain(self.more.iter().map(String::as_str))
    }

    /// Refuses a variant that no package in Rust has the features of.
    fn check_features(&self) -> Result<()> {
        for variant in self.variants.iter().filter(|variant| variant.is_of_rust()) {
            if !self.rust.iter().any(|package| package.has(&variant.features)) {
                let known = self.rust.iter().flat_map(|package| package.features.keys().map(String::as_str));
                bad_request!(
                    "{} are {}, and no package of {} has them: known are {}",
                    key("bpf.variant.features"),
                    variant.features.join(", "),
                    key("bpf.rust"),
                    known.filter(|name| *name != "default").collect::<Vec<_>>().join(", ")
                );
            }
        }
        Ok(())
    }

    fn parse(root: &Root, written: WrittenBpf, has_default: bool) -> Result<Bpf> {
        let folders = match written.folder {
            // There need not be anything in it but what is written there.
            None if !written.rust.is_empty() => vec![DEFAULT_FOLDER.into()],
            None if !has_default => Vec::new(),
            None if !root.folder.join(DEFAULT_FOLDER).is_dir() && (root.why_missing)(DEFAULT_FOLDER).is_none() => {
                Vec::new()
            }
            None => vec![DEFAULT_FOLDER.into()],
            Some(folder) => match folder.list() {
                folders if folders.is_empty() && !written.rust.is_empty() => {
                    bad_request!(
                        "{} is empty, and objects of {} go there: leave it out for `bpf`",
                        key("bpf.folder"),
                        key("bpf.rust")
                    )
                }
                folders => folders,
            },
        };
        let check = |folder: &String| match own_folder(Some(folder), "bpf.folder")? {
            Some(plain) if !written.rust.is_empty() => Ok(plain),
            _ => check_path(root, folder, &key("bpf.folder")),
        };
        let checked = folders.iter().map(check);
        let mut more = checked.collect::<Result<Vec<_>>>()?;
        let folder = if more.is_empty() { String::new() } else { more.remove(0) };
        let vmlinux = written.vmlinux.map(|folder| check_path(root, &folder, &key("bpf.vmlinux"))).transpose()?;
        let defaults = Bpf::default();
        let cpu = written.cpu.unwrap_or(defaults.cpu);
        check_cpu(&cpu, "bpf.cpu")?;
        let mut sources = written.sources.unwrap_or_default();
        // What is taken out is taken out of something.
        if sources.iter().all(|pattern| takes_out(pattern)) {
            sources.splice(0..0, defaults.sources);
        }
        for pattern in sources.iter().chain(written.variant.iter().flat_map(|variant| &variant.sources)) {
            if form(pattern).starts_with('/') || pattern.split('/').any(|part| part == "..") {
                bad_request!("{} has `{pattern}`; a path inside the BPF folder is expected", key("bpf.sources"));
            }
        }
        written.variant.iter().try_for_each(Variant::check)?;
        let bindings = own_folder(written.bindings.as_deref(), "bpf.bindings")?;
        let btf = own_folder(written.btf.as_deref(), "bpf.btf")?;
        let copies = own_folder(written.copies.as_deref(), "bpf.copies")?;
        if copies.is_some() && written.rust.is_empty() {
            bad_request!("{} is for BPF in Rust: set {}, too", key("bpf.copies"), key("bpf.rust"));
        }
        if written.rust.is_empty() && written.variant.iter().any(Variant::is_of_rust) {
            bad_request!("{} are for BPF in Rust: set {}, too", key("bpf.variant.features"), key("bpf.rust"));
        }
        if bindings.is_none() && !written.types.is_empty() {
            bad_request!("{} are for bindings: set {}, too", key("bpf.types"), key("bpf.bindings"));
        }
        let is_name = |name: &&String| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if let Some(name) = written.types.iter().find(|name| name.is_empty() || !is_name(name)) {
            bad_request!("{} has `{name}`; the name of a type is expected, such as event", key("bpf.types"));
        }
        written.image.iter().try_for_each(|image| check_image(image, &key("bpf.image")))?;
        let (variants, cflags, image) = (written.variant, written.cflags, written.image);
        let types = written.types;
        let (rust, members) = (Vec::new(), BTreeMap::new());
        Ok(Bpf {
            folder,
            more,
            sources,
            variants,
            vmlinux,
            cpu,
            cflags,
            image,
            bindings,
            types,
            btf,
            rust,
            copies,
            members,
        })
    }
}

impl Container {
    /// The container that is wanted for a workspace, whose folder may have a lock.
    pub fn wanted<'a>(&'a self, workspace: &'a Path) -> Wanted<'a> {
        Wanted { image: self.image.as_deref(), packages: &self.packages, arch: None, workspace }
    }

    fn check(&self) -> Result<()> {
        let is_name = |name: &&String| {
            let letter = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
            name.starts_with(letter) && name.chars().all(|it| letter(it) || "+-.".contains(it))
        };
        if let Some(name) = self.packages.iter().find(|name| !is_name(name)) {
            bad_request!("{} has `{name}`; the name of a package of Debian's is expected", key("container.packages"));
        }
        match &self.image {
            Some(_) if !self.packages.is_empty() => bad_request!(
                "{} are for our image, and {} names another one: leave one of them out",
                key("container.packages"),
                key("container.image")
            ),
            Some(image) => check_image(image, &key("container.image")),
            None => Ok(()),
        }
    }
}

/// The packages of BPF written in Rust.
fn rust_packages(metadata: &Metadata, beside: &[Metadata], names: &[String]) -> Result<Vec<RustPackage>> {
    let root = &metadata.workspace_root;
    let mut found: Vec<RustPackage> = Vec::new();
    for name in names {
        let key = key("bpf.rust");
        let all = metadata.workspace_packages();
        let own = all.iter().find(|package| *package.name == *name).map(|package| (*package, metadata));
        let folder = plain_path(name).map(|name| root.join(name).join("Cargo.toml"));
        let mut others =
            beside.iter().flat_map(|it| it.workspace_packages().into_iter().map(move |package| (package, it)));
        let Some((package, of)) =
            own.or_else(|| others.find(|(package, _)| Some(&package.manifest_path) == folder.as_ref()))
        else {
            let known: Vec<&str> = all.iter().map(|package| package.name.as_str()).collect();
            bad_request!(
                "{key} names `{name}`, which is no package of the workspace: it has {}; one that is a workspace of its own is named \
                 by its folder",
                known.join(", ")
            );
        };
        if found.iter().any(|other| other.name == *package.name) {
            bad_request!("{key} names `{name}` twice");
        }
        let targets = package.targets.iter().filter(|target| target.is_bin());
        let path = |path: &Utf8Path| path.strip_prefix(root).unwrap_or(path).to_string();
        let bins: BTreeMap<String, String> =
            targets.clone().map(|bin| (bin.name.clone(), path(&bin.src_path))).collect();
        let wanting = targets.filter(|bin| !bin.required_features.is_empty());
        let wanting = wanting.map(|bin| (bin.name.clone(), bin.required_features.clone())).collect();
        if bins.is_empty() {
            bad_request!(
                "{key} names `{name}`, which has no binary, and each binary becomes a BPF object: add src/main.rs"
            );
        }
        let workspace = of.workspace_root.strip_prefix(root).map(ToString::to_string).unwrap_or_default();
        let features = package.features.clone();
        found.push(RustPackage { name: package.name.to_string(), workspace, bins, wanting, features });
    }
    Ok(found)
}

/// The folders of all packages of a workspace, from `root`.
fn members(metadata: &Metadata, root: &Utf8Path) -> BTreeMap<String, String> {
    let folder = |package: &&cargo_metadata::Package| {
        let folder = package.manifest_path.parent()?.strip_prefix(root).ok()?;
        Some((package.name.to_string(), folder.to_string()))
    };
    metadata.workspace_packages().iter().filter_map(folder).collect()
}

/// A folder that the tool fills. It may have nothing else in it, so it need not be there.
fn own_folder(written: Option<&str>, path: &str) -> Result<Option<String>> {
    let Some(folder) = written else { return Ok(None) };
    match plain_path(folder) {
        Some(plain) => Ok(Some(plain)),
        None => bad_request!("{} names `{folder}`; a relative path inside the workspace is expected", key(path)),
    }
}

fn check_cpu(cpu: &str, path: &str) -> Result<()> {
    match BPF_CPUS.contains(&cpu) {
        true => Ok(()),
        false => bad_request!("{} is `{cpu}`; known are {}", key(path), BPF_CPUS.join(", ")),
    }
}

impl Variant {
    fn check(&self) -> Result<()> {
        let is_name = |text: &str| {
            let letters = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            !text.is_empty() && text.chars().all(letters) && !text.starts_with(|first: char| first.is_ascii_digit())
        };
        if let Some(cpu) = &self.cpu {
            check_cpu(cpu, "bpf.variant.cpu")?;
        }
        for word in &self.arches {
            if let Err(error) = <&Arch>::from_str(word) {
                bad_request!("{}: {error}", key("bpf.variant.arches"));
            }
        }
        if self.is_of_rust() && (self.cpu.is_some() || !self.defines.is_empty()) {
            bad_request!(
                "an entry of {} has features, which are for BPF in Rust, and `cpu` or `defines`, which are for C",
                key("bpf.variant")
            );
        }
        match (&self.name, self.sources.as_slice()) {
            (None, []) => bad_request!("an entry of {} has neither `name` nor `sources`", key("bpf.variant")),
            (Some(name), _) if !is_name(&format!("_{name}")) => {
                bad_request!("{} is `{name}`; letters, digits and _ are expected", key("bpf.variant.name"))
            }
            _ => {}
        }
        let is_define = |define: &&String| {
            let name = define.split('=').next().unwrap_or_default();
            is_name(name) && !define.contains(char::is_whitespace)
        };
        match self.defines.iter().find(|define| !is_define(define)) {
            Some(define) => {
                bad_request!("{} has `{define}`; NAME or NAME=VALUE is expected", key("bpf.variant.defines"))
            }
            None => Ok(()),
        }
    }
}

/// `"5.10"` as numbers, so that 5.10 is later than 5.8.
pub fn kernel_version(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Refuses an image that is not named by its content. `place` is where it is named.
pub fn check_image(image: &str, place: &str) -> Result<()> {
    match is_digest(image) {
        true => Ok(()),
        false => {
            bad_request!("{place} is `{image}`; NAME@sha256:DIGEST is expected: a tag may be another image tomorrow")
        }
    }
}

/// Whether it names an image by its content: `NAME@sha256:DIGEST`.
pub fn is_digest(image: &str) -> bool {
    image.split_once("@sha256:").is_some_and(|(name, digest)| {
        let is_name = !name.is_empty() && !name.starts_with('-') && !name.contains([' ', '@']);
        is_name && digest.parse::<Sha256>().is_ok()
    })
}
