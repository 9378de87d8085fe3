//! Which objects there are to be: one for each source, and one for each variant of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::arch::{ARCHES, Arch};
use crate::bpf::paths;
use crate::workspace::config::{Bpf, NO_DEFAULT, RustPackage, Variant, form};

/// A source, and how it is compiled. What comes out is one object for each byte order or architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// The path of the source, from the BPF folder.
    pub source: String,
    /// Whether it lies in a folder of a BPF folder.
    pub nested: Option<String>,
    /// What its objects are named after.
    pub stem: String,
    pub cpu: String,
    /// `NAME`, or `NAME=VALUE`.
    pub defines: Vec<String>,
    /// The names of the architectures that it is for; of all, if there are none.
    pub arches: Vec<&'static str>,
    /// What it is of a package, if it is written in Rust.
    pub rust: Option<Binary>,
}

/// A binary of a package in Rust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binary {
    pub package: String,
    pub name: String,
    /// The features that it is compiled with, as cargo's command line has them, and whether without the default ones.
    pub features: BTreeSet<String>,
}

impl Unit {
    /// What has nothing of a source.
    pub fn plain(bpf: &Bpf) -> Unit {
        let (source, stem) = (String::new(), String::new());
        Unit { source, nested: None, stem, cpu: bpf.cpu.clone(), defines: Vec::new(), arches: Vec::new(), rust: None }
    }

    pub fn is_for(&self, arch: &Arch) -> bool {
        self.arches.is_empty() || self.arches.contains(&arch.name)
    }
}

/// The units of these files, by their paths from the BPF folder.
pub fn of<'a>(files: impl Iterator<Item = &'a String>, bpf: &Bpf) -> Vec<Unit> {
    let places = files.filter_map(|file| Some((file, place(file, bpf)?)));
    let places: Vec<_> = places.filter(|(_, (_, name))| paths::is_among(&bpf.sources, name)).collect();
    // The first folder with a source of that name.
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for (_, (folder, name)) in &places {
        first.entry(stem(name)).and_modify(|it| *it = (*folder).min(*it)).or_insert(*folder);
    }
    let mut units = Vec::new();
    for (file, (number, name)) in &places {
        let folder = bpf.folders().nth(*number).unwrap_or_default();
        let mut own = stem(name);
        if first[&own] != *number {
            own = format!("{}_{own}", folder.replace('/', "_"));
        }
        let is_of = |variant: &&Variant| !variant.is_of_rust() && paths::is_among(&variant.sources, name);
        let nested = name.contains('/').then(|| folder.to_owned());
        let mut unit = Unit { source: (*file).clone(), nested, stem: own, ..Unit::plain(bpf) };
        for variant in bpf.variants.iter().filter(is_of).filter(|variant| variant.name.is_none()) {
            variant.apply(&mut unit.cpu, &mut unit.defines, &mut unit.arches);
        }
        let named = bpf.variants.iter().filter(is_of).filter_map(|variant| Some((variant, variant.name.as_ref()?)));
        let variants = named.map(|(variant, name)| {
            let mut unit = Unit { stem: format!("{}_{name}", unit.stem), ..unit.clone() };
            variant.apply(&mut unit.cpu, &mut unit.defines, &mut unit.arches);
            unit
        });
        let variants: Vec<Unit> = variants.collect();
        units.push(unit);
        units.extend(variants);
    }
    units
}

/// What the objects of a source are named after, by its path in its folder.
fn stem(name: &str) -> String {
    let plain = name.strip_suffix(".bpf.c").or(name.rsplit_once('.').map(|(stem, _)| stem)).unwrap_or(name);
    plain.replace('/', "_")
}

/// Which BPF folder a file is in, and its path from there; none for what is no source, such as a header.
fn place(file: &str, bpf: &Bpf) -> Option<(usize, String)> {
    let path = paths::join(&bpf.folder, file)?;
    let inside = |folder: &&str| path.strip_prefix(*folder).is_some_and(|rest| rest.starts_with('/'));
    let (number, folder) = bpf.folders().enumerate().find(|(_, folder)| inside(folder))?;
    let name = path[folder.len() + 1..].to_owned();
    (name.ends_with(".c") && !name.starts_with("objects/")).then_some((number, name))
}

/// A pattern of the configuration that stands for none of these files: its table, and itself.
pub fn unmatched<'a>(files: impl Iterator<Item = &'a String>, bpf: &Bpf) -> Option<(&'static str, &str)> {
    let names: Vec<String> = files.filter_map(|file| Some(place(file, bpf)?.1)).collect();
    let own = bpf.sources.iter().filter(|_| bpf.sources != Bpf::default().sources).map(|it| ("bpf", it));
    let of_variants = bpf
        .variants
        .iter()
        .filter(|variant| !variant.is_of_rust())
        .flat_map(|variant| &variant.sources)
        .map(|it| ("bpf.variant", it));
    let mut patterns = own.chain(of_variants);
    let has = |pattern: &str| names.iter().any(|name| paths::matches(form(pattern), name));
    let (table, pattern) = patterns.find(|(_, pattern)| !has(pattern))?;
    Some((table, pattern))
}

/// The units of packages in Rust. A binary that wants other features has none, as cargo leaves it out.
pub fn of_rust(bpf: &Bpf) -> Vec<Unit> {
    let bins = bpf.rust.iter().flat_map(|package| package.bins.iter().map(move |(bin, path)| (package, bin, path)));
    let all = bins.flat_map(|(package, bin, path)| {
        let units = of_binary(package, bin, path, bpf).into_iter();
        units.filter(|unit| unit.rust.as_ref().is_some_and(|binary| package.builds(bin, &binary.features)))
    });
    all.collect()
}

fn of_binary(package: &RustPackage, bin: &str, path: &str, bpf: &Bpf) -> Vec<Unit> {
    let is_of = |variant: &&Variant| {
        variant.is_of_rust() && package.has(&variant.features) && paths::is_among(&variant.sources, bin)
    };
    let apply = |unit: &mut Unit, variant: &Variant| {
        variant.apply(&mut unit.cpu, &mut unit.defines, &mut unit.arches);
        let no_default = variant.no_default_features.then(|| NO_DEFAULT.to_owned());
        unit.rust
            .iter_mut()
            .for_each(|it| it.features.extend(variant.features.iter().cloned().chain(no_default.clone())));
    };
    let binary = Binary { package: package.name.clone(), name: bin.into(), features: BTreeSet::new() };
    let source = paths::from_folder(&bpf.folder, path);
    let mut plain = Unit { source, stem: bin.into(), rust: Some(binary), ..Unit::plain(bpf) };
    let of_it = || bpf.variants.iter().filter(is_of);
    of_it().filter(|variant| variant.name.is_none()).for_each(|variant| apply(&mut plain, variant));
    let mut units = vec![plain.clone()];
    for (variant, name) in of_it().filter_map(|variant| Some((variant, variant.name.as_ref()?))) {
        let mut unit = Unit { stem: format!("{bin}_{name}"), ..plain.clone() };
        apply(&mut unit, variant);
        units.push(unit);
    }
    units
}

/// Why these units cannot all have objects.
pub fn refusal(units: &[Unit]) -> Option<String> {
    for (index, unit) in units.iter().enumerate() {
        let Unit { source, stem, .. } = unit;
        if let Some(other) = units[..index].iter().find(|other| other.stem == *stem) {
            let both = if other.source == *source { source.clone() } else { format!("{} and {source}", other.source) };
            return Some(format!("the objects of {both} would both be called `{stem}`: give one another name"));
        }
        if let Some(arch) = ARCHES.iter().find(|arch| stem.ends_with(&format!("_{}", arch.linux))) {
            return Some(format!(
                "the object of {source} would be called as one for {arch} only (`{stem}`): give it another name"
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bpf() -> Bpf {
        let variant = |name: Option<&str>, sources: &[&str], defines: &[&str], cpu: Option<&str>| Variant {
            name: name.map(String::from),
            sources: sources.iter().map(|it| (*it).to_owned()).collect(),
            defines: defines.iter().map(|it| (*it).to_owned()).collect(),
            cpu: cpu.map(String::from),
            arches: cpu.map(|_| "x86_64".to_owned()).into_iter().collect(),
            ..Variant::default()
        };
        Bpf {
            folder: "kernel".into(),
            more: vec!["other".into()],
            variants: vec![
                variant(None, &["scx.bpf.c"], &[], Some("v3")),
                variant(Some("small"), &["**/tcp.bpf.c"], &["SMALL", "SIZE=2"], None),
            ],
            ..Bpf::default()
        }
    }

    #[test]
    fn sources_give_objects_named_after_their_paths_and_variants() {
        let files =
            ["scx.bpf.c", "net/tcp.bpf.c", "net/tcp.h", "../other/x.bpf.c", "../shared/y.bpf.c"].map(String::from);
        let units = of(files.iter(), &bpf());
        let found: Vec<_> =
            units.iter().map(|unit| (unit.stem.as_str(), unit.cpu.as_str(), unit.defines.join(" "))).collect();
        let expected =
            [("scx", "v3", ""), ("net_tcp", "v1", ""), ("net_tcp_small", "v1", "SMALL SIZE=2"), ("x", "v1", "")];
        assert_eq!(found, expected.map(|(stem, cpu, defines)| (stem, cpu, defines.to_owned())));
        let is_for = |arch| units.iter().map(|unit| unit.is_for(Arch::named(arch))).collect::<Vec<_>>();
        assert_eq!((is_for("amd64"), is_for("mips")), (vec![true; 4], vec![false, true, true, true]));
        assert_eq!(refusal(&units), None);
    }

    #[test]
    fn of_two_of_one_name_the_later_folders_has_its_folders_name_too() {
        let files = ["../more/net/x.bpf.c", "../more/y.bpf.c", "../other/net/x.bpf.c", "x.bpf.c", "y.bpf.c"];
        let bpf = Bpf { more: vec!["other".into(), "more".into()], variants: Vec::new(), ..bpf() };
        let units = of(files.map(String::from).iter(), &bpf);
        let stems: Vec<&str> = units.iter().map(|unit| unit.stem.as_str()).collect();
        assert_eq!(stems, ["more_net_x", "more_y", "net_x", "x", "y"]);
    }

    #[test]
    fn a_pattern_that_stands_for_nothing_is_known() {
        let files = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = files(&["scx.bpf.c", "../other/net/tcp.bpf.c", "objects/x.c"]);
        assert_eq!(unmatched(all.iter(), &bpf()), None);
        assert_eq!(unmatched(all[..1].iter(), &bpf()), Some(("bpf.variant", "**/tcp.bpf.c")));
        let with = |pattern: &str| Bpf { sources: vec!["**/*.bpf.c".into(), pattern.into()], ..bpf() };
        assert_eq!(unmatched(all.iter(), &with("objects/*.c")), Some(("bpf", "objects/*.c")));
        assert_eq!(unmatched(all.iter(), &with("!scx.*")), None);
        assert_eq!(unmatched(all.iter(), &with("!scy.*")), Some(("bpf", "!scy.*")));
        let headers = files(&["a.bpf.c", "a.h", "a.inc"]);
        assert_eq!(of(headers.iter(), &Bpf { sources: vec!["*".into()], ..Bpf::default() }).len(), 1);
    }

    #[test]
    fn two_of_one_name_are_refused_and_so_is_the_name_of_an_architecture() {
        let refused = |files: &[&str]| {
            let files: Vec<String> = files.iter().map(|it| (*it).to_owned()).collect();
            refusal(&of(files.iter(), &bpf())).unwrap_or_default()
        };
        assert!(refused(&["x.bpf.c", "../other/x.bpf.c", "other_x.bpf.c"]).contains("would both be called `other_x`"));
        assert!(refused(&["a_b.bpf.c", "a/b.bpf.c"]).contains("a_b.bpf.c and a/b.bpf.c"));
        assert!(refused(&["probe_x86.bpf.c"]).contains("as one for amd64 only"));
    }
}
