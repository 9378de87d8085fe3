//! What is shipped: the packages with their binaries and features, and the archives that they go into.

use std::collections::BTreeMap;

use anyhow::Result;
use cargo_metadata::{DependencyKind, Metadata, Package, Target};
use serde::Deserialize;

use crate::release::layout::{LICENSES, STD_LICENSES};
use crate::ui::error::bad_request;
use crate::ui::suggest;
use crate::workspace::features::enabled;
use crate::workspace::keys::{OneOrMore, Root, check_path, key, plain_path};

/// What goes into one archive for each architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    pub name: String,
    /// That of its first product.
    pub version: String,
    /// What the Cargo.toml of its first product says of it.
    pub about: About,
    /// At least one.
    pub products: Vec<Product>,
    /// What goes into it in addition to binaries, README, CHANGELOG and licences.
    pub include: Vec<Include>,
}

/// What a package says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// What it is, in a sentence; empty if nothing says so.
    pub description: String,
    /// An SPDX expression.
    pub license: Option<String>,
    pub homepage: Option<String>,
    pub repository: Option<String>,
    pub authors: Vec<String>,
    /// Packages of the workspace that are linked into it and have a licence of their own, and that.
    pub parts: BTreeMap<String, String>,
}

impl About {
    /// Where to read about it.
    pub fn website(&self) -> Option<&str> {
        self.homepage.as_deref().or(self.repository.as_deref())
    }
}

/// A package of which binaries are shipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    pub package: String,
    /// Its binaries that are shipped, at least one: the first is what `boot` starts.
    pub bins: Vec<String>,
    pub features: Features,
    pub boot: Boot,
    pub deploy: Deploy,
}

/// The features of a package that is shipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    pub names: Vec<String>,
    /// Whether the package's default features are left out.
    pub no_default: bool,
}

/// A file or folder that goes into an archive: `"docs"`, or `{ path = "app/completions", as = "completions" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// Relative to the workspace.
    pub path: String,
    /// Its path in the archive.
    pub to: String,
}

/// What is run on a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boot {
    /// One after the other: the words that the binary is given.
    pub commands: Vec<Vec<String>>,
    /// What is also run where the kernel's BTF is hidden: [`BTF`] stands for the file that has it.
    pub btf_commands: Vec<Vec<String>>,
    /// What a line holds with which the program says that it goes on until it is interrupted. It then is.
    pub interrupt_after: Option<String>,
    /// Variables that commands have.
    pub env: BTreeMap<String, String>,
    /// Seconds after which a boot is given up.
    pub timeout: u64,
}

/// What is done with it on a target of `deploy`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deploy {
    /// What the binary is given there, one after the other, before it is switched to and afterwards.
    pub preflight: Vec<Vec<String>>,
    pub self_test: Vec<Vec<String>>,
    /// Whether it is a command, which nobody runs as a service.
    pub is_command: bool,
    /// What it is given as a service.
    pub args: Vec<String>,
    /// The capabilities that it needs as a service; and those that it needs besides where the kernel has no BTF.
    pub capabilities: Vec<String>,
    pub capabilities_without_btf: Vec<String>,
    /// When it opens perf events.
    pub perf_events: PerfEvents,
}

/// When a program calls `perf_event_open()`, which probes and tracepoints are attached by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PerfEvents {
    #[default]
    Never,
    WithoutBtf,
    Always,
}

impl PerfEvents {
    /// Whether it does on a kernel with BTF, or without.
    pub fn are_used(self, btf: bool) -> bool {
        match self {
            Self::Never => false,
            Self::WithoutBtf => !btf,
            Self::Always => true,
        }
    }
}

/// Stands for a file of BTF in a guest.
pub const BTF: &str = "{btf}";

/// In seconds. A boot that has not ended by then never will.
const DAY: u64 = 86_400;

/// `[[workspace.metadata.bpfship.product]]`. Where there is one product, its keys may stand in the table above.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WrittenProduct {
    /// The package.
    pub package: Option<String>,
    /// Its binaries, where it has more than one.
    pub bin: Option<OneOrMore>,
    /// The features that it is built with.
    pub features: Vec<String>,
    /// Whether its default features are left out.
    pub no_default_features: bool,
    /// The name of the archive that it goes into. Default: the package's.
    pub archive: Option<String>,
    /// More files and folders for that archive.
    pub include: Vec<WrittenInclude>,
    /// What `boot` runs on a kernel.
    pub boot: WrittenBoot,
    /// What `deploy` does on a machine.
    pub deploy: WrittenDeploy,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "a path or { path = \"…\", as = \"…\" } is expected")]
pub enum WrittenInclude {
    Path(String),
    Elsewhere(Elsewhere),
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    /// The file or folder, from the workspace.
    path: String,
    /// Its path in the archive.
    #[serde(rename = "as")]
    to: String,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WrittenBoot {
    /// What the binary is given, one after the other. Default: --version, then --self-test.
    commands: Option<Vec<String>>,
    /// What it is given besides where the kernel's BTF is hidden: {btf} stands for the file that has it.
    btf_commands: Option<Vec<String>>,
    /// Words that a program which ends by Ctrl-C prints when it is at work.
    interrupt_after: Option<String>,
    /// Variables that commands are run with.
    env: Option<BTreeMap<String, String>>,
    /// Seconds for one boot.
    timeout: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WrittenDeploy {
    /// What the binary is given on a machine before it is switched to.
    preflight: Option<Vec<String>>,
    /// What it is given afterwards.
    self_test: Option<Vec<String>>,
    /// False for a command, which nobody runs as a service.
    service: Option<bool>,
    /// What it is given as a service.
    args: Option<String>,
    /// The capabilities that it needs as a service.
    capabilities: Option<Vec<String>>,
    /// Those that it needs besides where the kernel has no BTF.
    capabilities_without_btf: Option<Vec<String>>,
    /// When it opens perf events, by which probes and tracepoints are attached: `never`, `without-btf` or `always`. Kernels of Debian
    /// and Ubuntu want CAP_SYS_ADMIN for them.
    perf_events: Option<PerfEvents>,
}

/// Reads products, and puts together what goes into one archive. `include` goes into all of them, and the other two hold for
/// each that says nothing else. `tables` is the path of the table that products are in: `product.`, or nothing.
pub fn archives(
    metadata: &Metadata,
    root: &Root,
    tables: &str,
    products: Vec<WrittenProduct>,
    include: Vec<WrittenInclude>,
    (boot, deploy): (&WrittenBoot, &WrittenDeploy),
) -> Result<Vec<Archive>> {
    let include: Vec<Include> =
        include.into_iter().map(|written| Include::parse(root, written, "include")).collect::<Result<_>>()?;
    let mut archives: Vec<Archive> = Vec::new();
    for written in products {
        let key = |name: &str| format!("{tables}{name}");
        let package = package(metadata, written.package, &key("package"))?;
        let name = written.archive.unwrap_or_else(|| package.name.to_string());
        let is_word = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.+".contains(letter));
        if !is_word || !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            let key = self::key(&key("archive"));
            bad_request!("{key} is `{name}`; letters, digits, -, _, . and + are expected");
        }
        let product = Product::parse(package, written.bin, written.features, written.no_default_features, tables)?;
        let boot = Boot::parse(&written.boot, boot, &key("boot"))?;
        let product = Product { boot, deploy: Deploy::parse(&written.deploy, deploy, &key("deploy"))?, ..product };
        let others = archives.iter().flat_map(|archive| &archive.products).flat_map(|product| &product.bins);
        if let Some(twice) = product.bins.iter().find(|bin| others.clone().any(|other| other == *bin)) {
            bad_request!("{} has two binaries `{twice}`: of each name, one can be shipped", self::key("product"));
        }
        let own = written.include.into_iter().map(|written| Include::parse(root, written, &key("include")));
        let own = own.collect::<Result<Vec<_>>>()?;
        let archive = match archives.iter_mut().position(|archive| archive.name == name) {
            Some(known) => &mut archives[known],
            None => {
                let version = package.version.to_string();
                let about = About::of(package, metadata);
                archives.push(Archive { name, version, about, products: Vec::new(), include: include.clone() });
                archives.last_mut().expect("it was just added")
            }
        };
        archive.products.push(product);
        archive.include.extend(own);
    }
    archives.iter().try_for_each(Archive::check)?;
    Ok(archives)
}

impl About {
    fn of(package: &Package, metadata: &Metadata) -> About {
        let mut linked = vec![package];
        let mut next = 0;
        while let Some(of) = linked.get(next) {
            let own = of.dependencies.iter().filter(|it| it.path.is_some() && it.kind == DependencyKind::Normal);
            let packages = metadata.workspace_packages();
            let more: Vec<&Package> =
                own.filter_map(|it| packages.iter().find(|package| *package.name == it.name).copied()).collect();
            linked.extend(
                more.into_iter().filter(|it| !linked.iter().any(|known| known.id == it.id)).collect::<Vec<_>>(),
            );
            next += 1;
        }
        let other =
            |it: &&Package| Some((it.name.to_string(), it.license.clone().filter(|_| it.license != package.license)?));
        About {
            // Cargo takes one of several lines.
            description: package
                .description
                .iter()
                .flat_map(|text| text.split_whitespace())
                .collect::<Vec<_>>()
                .join(" "),
            license: package.license.clone(),
            homepage: package.homepage.clone(),
            repository: package.repository.clone(),
            authors: package.authors.clone(),
            parts: linked.iter().filter_map(other).collect(),
        }
    }
}

impl Archive {
    /// All binaries in it.
    pub fn bins(&self) -> impl Iterator<Item = &str> {
        self.products.iter().flat_map(|product| &product.bins).map(String::as_str)
    }

    fn check(&self) -> Result<()> {
        for Include { path, to } in &self.include {
            let top = to.split('/').next().unwrap_or_default();
            if self.bins().chain([LICENSES, STD_LICENSES]).any(|name| name == top) {
                bad_request!("{} names `{path}`, but the archive already contains a file `{top}`", key("include"));
            }
        }
        // They are run in one guest.
        if self.products.iter().any(|product| product.boot.env != self.products[0].boot.env) {
            bad_request!(
                "the products of archive `{}` differ in `boot.env`: set {} for all",
                self.name,
                key("boot.env")
            );
        }
        Ok(())
    }
}

impl Product {
    fn parse(
        package: &Package,
        bin: Option<OneOrMore>,
        names: Vec<String>,
        no_default: bool,
        tables: &str,
    ) -> Result<Product> {
        let features = Features { names, no_default };
        let bins = bins(package, bin, &format!("{tables}bin"))?;
        features.check(package, &bins, &format!("{tables}features"))?;
        let boot = Boot::default();
        let bins = bins.into_iter().map(|bin| bin.name.clone()).collect();
        Ok(Product { package: package.name.to_string(), bins, features, boot, deploy: Deploy::default() })
    }

    /// What decides what cargo builds for it: products that agree in it are built of the same crates.
    pub fn selection(&self) -> Vec<String> {
        let mut selection = vec!["--package".to_owned(), self.package.clone()];
        selection.extend(self.features.flags());
        selection
    }
}

impl Features {
    /// As cargo's arguments.
    pub fn flags(&self) -> Vec<String> {
        let names = (!self.names.is_empty()).then(|| format!("--features={}", self.names.join(",")));
        self.no_default.then(|| "--no-default-features".into()).into_iter().chain(names).collect()
    }

    /// Refuses features that the package does not have, or without which there is no such binary.
    fn check(&self, package: &Package, bins: &[&Target], path: &str) -> Result<()> {
        let Package { name, features, .. } = package;
        let unknown = self.names.iter().find(|it| !it.contains('/') && !features.contains_key(*it));
        if let Some(unknown) = unknown {
            let hint = suggest::hint(unknown, features.keys().map(String::as_str));
            bad_request!("{}: package `{name}` has no feature `{}`{hint}", key(path), suggest::cut(unknown));
        }
        let named = self.names.iter().map(String::as_str).chain((!self.no_default).then_some("default"));
        let enabled = enabled(package, named);
        for bin in bins {
            if let Some(missing) = bin.required_features.iter().find(|feature| !enabled.contains(feature.as_str())) {
                bad_request!(
                    "binary `{}` needs feature `{missing}` (`required-features` in the Cargo.toml of package `{name}`): \
                     add it to {}",
                    bin.name,
                    key(path)
                );
            }
        }
        Ok(())
    }
}

impl Include {
    fn parse(root: &Root, written: WrittenInclude, path: &str) -> Result<Include> {
        let key = key(path);
        Ok(match written {
            WrittenInclude::Path(path) => {
                let path = check_path(root, &path, &key)?;
                Include { to: path.clone(), path }
            }
            WrittenInclude::Elsewhere(Elsewhere { path, to }) => match plain_path(&to) {
                Some(to) => Include { path: check_path(root, &path, &key)?, to },
                None => bad_request!("{key} has `as = \"{to}\"`; a relative path inside the archive is expected"),
            },
        })
    }
}

impl Boot {
    /// `NAME=VALUE` of each variable.
    pub fn environment(&self) -> impl Iterator<Item = String> {
        self.env.iter().map(|(name, value)| format!("{name}={value}"))
    }

    /// What is written for a product, and where that says nothing, what is written for all.
    fn parse(own: &WrittenBoot, all: &WrittenBoot, path: &str) -> Result<Boot> {
        let path = |is_own: bool, name: &str| if is_own { format!("{path}.{name}") } else { format!("boot.{name}") };
        let [commands_key, btf_key] =
            [path(own.commands.is_some(), "commands"), path(own.btf_commands.is_some(), "btf-commands")];
        let interrupt_after = own.interrupt_after.clone().or_else(|| all.interrupt_after.clone());
        if interrupt_after.as_ref().is_some_and(|text| text.trim().is_empty() || text.contains(['\n', '\0'])) {
            let key = key(&path(own.interrupt_after.is_some(), "interrupt-after"));
            bad_request!("{key} is {interrupt_after:?}; words of a line that the program prints are expected");
        }
        let env = own.env.clone().or_else(|| all.env.clone()).unwrap_or_default();
        let is_odd = |(name, value): &(&String, &String)| {
            name.is_empty() || name.contains(['=', '\n', '\0']) || value.contains(['\n', '\0'])
        };
        if let Some((name, value)) = env.iter().find(is_odd) {
            let key = key(&path(own.env.is_some(), "env"));
            bad_request!("{key} has {name:?} = {value:?}; a name without `=` and one line are expected");
        }
        // Without an argument, what waits for an interrupt begins its work.
        let defaults = || match interrupt_after {
            Some(_) => vec![String::new()],
            None => vec!["--version".into(), "--self-test".into()],
        };
        let commands = own.commands.clone().or_else(|| all.commands.clone()).unwrap_or_else(defaults);
        let commands = split(commands, &commands_key)?;
        if commands.is_empty() {
            bad_request!("{} is empty; at least one command is expected", key(&commands_key));
        }
        let btf_commands = own.btf_commands.clone().or_else(|| all.btf_commands.clone()).unwrap_or_default();
        let btf_commands = split(btf_commands, &btf_key)?;
        if btf_commands.iter().any(|words| !words.iter().any(|word| word.contains(BTF))) {
            bad_request!("{} has a command without {BTF}, the file to read BTF from", key(&btf_key));
        }
        match own.timeout.or(all.timeout).unwrap_or(180) {
            timeout @ 1..=DAY => Ok(Boot { commands, btf_commands, interrupt_after, env, timeout }),
            timeout => {
                let key = key(&path(own.timeout.is_some(), "timeout"));
                bad_request!("{key} is {timeout}; a number of seconds from 1 to {DAY} is expected")
            }
        }
    }
}

impl Deploy {
    /// Refuses to run a command as a service.
    pub fn check_service(&self, bin: &str) -> Result<()> {
        match self.is_command {
            true => {
                bad_request!("{} says that {bin} is a command: nothing runs it as a service", key("deploy.service"))
            }
            false => Ok(()),
        }
    }

    /// What is written for a product, and where that says nothing, what is written for all.
    fn parse(own: &WrittenDeploy, all: &WrittenDeploy, path: &str) -> Result<Deploy> {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let either = |of: fn(&WrittenDeploy) -> &Option<Vec<String>>| of(own).clone().or_else(|| of(all).clone());
        let capabilities = either(|it| &it.capabilities).unwrap_or_else(|| list(&["CAP_BPF", "CAP_PERFMON"]));
        let capabilities_without_btf = either(|it| &it.capabilities_without_btf).unwrap_or_default();
        let is_other = |name: &&String| {
            !name.strip_prefix("CAP_").is_some_and(|rest| rest.chars().all(|it| it.is_ascii_uppercase() || it == '_'))
        };
        if let Some(name) = capabilities.iter().chain(&capabilities_without_btf).find(is_other) {
            bad_request!("{} has `{name}`; names such as CAP_BPF are expected", key(&format!("{path}.capabilities")));
        }
        let preflight = either(|it| &it.preflight).unwrap_or_else(|| list(&["--version"]));
        let self_test = either(|it| &it.self_test).unwrap_or_else(|| list(&["--self-test"]));
        let args = own.args.clone().or_else(|| all.args.clone()).unwrap_or_default();
        Ok(Deploy {
            preflight: split(preflight, &format!("{path}.preflight"))?,
            self_test: split(self_test, &format!("{path}.self-test"))?,
            is_command: !own.service.or(all.service).unwrap_or(true),
            args: split(vec![args], &format!("{path}.args"))?.concat(),
            capabilities,
            capabilities_without_btf,
            perf_events: own.perf_events.or(all.perf_events).unwrap_or_default(),
        })
    }
}

/// Splits command lines into words.
fn split(lines: Vec<String>, path: &str) -> Result<Vec<Vec<String>>> {
    let words = |line: String| match shlex::split(&line) {
        Some(words) if !line.contains(['\n', '\0']) => Ok(words),
        _ => bad_request!("{} has `{line}`, which no shell would take as one line", key(path)),
    };
    lines.into_iter().map(words).collect()
}

/// Finds a package. It need not be named where the workspace is one.
fn package<'a>(metadata: &'a Metadata, name: Option<String>, path: &str) -> Result<&'a Package> {
    let members = metadata.workspace_packages();
    let Some(name) = name else {
        return match metadata.root_package() {
            Some(package) => Ok(package),
            None => bad_request!("no package to ship is configured: set {}", key(path)),
        };
    };
    match members.iter().find(|member| *member.name == name) {
        Some(member) => Ok(member),
        None => bad_request!(
            "{}: no package `{}` in this workspace{}",
            key(path),
            suggest::cut(&name),
            suggest::hint(&name, members.iter().map(|member| member.name.as_str()))
        ),
    }
}

/// Finds binaries of a package. They need not be named where there is one.
fn bins<'a>(package: &'a Package, named: Option<OneOrMore>, path: &str) -> Result<Vec<&'a Target>> {
    let bins: Vec<&Target> = package.targets.iter().filter(|target| target.is_bin()).collect();
    let names = || bins.iter().map(|bin| bin.name.as_str());
    let Some(named) = named else {
        return match bins.as_slice() {
            [_] => Ok(bins),
            [] => bad_request!("package `{}` has no binary to ship", package.name),
            _ => bad_request!(
                "package `{}` has several binaries ({}): set {}",
                package.name,
                names().collect::<Vec<_>>().join(", "),
                key(path)
            ),
        };
    };
    let mut found: Vec<&Target> = Vec::new();
    for name in named.list() {
        match bins.iter().find(|target| target.name == name) {
            Some(bin) if found.contains(bin) => bad_request!("{} names `{name}` twice", key(path)),
            Some(bin) => found.push(bin),
            None => bad_request!(
                "{}: package `{}` has no binary `{}`{}",
                key(path),
                package.name,
                suggest::cut(&name),
                suggest::hint(&name, names())
            ),
        }
    }
    match found.is_empty() {
        true => bad_request!("{} is empty: name a binary", key(path)),
        false => Ok(found),
    }
}
