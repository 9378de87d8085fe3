//! Which features crates have for a target. For several targets in one command, cargo gives a crate those that any of them needs.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::Package;

/// Of each crate, its sets of features: a crate for build scripts may have others than the same one for the target.
pub type Features = BTreeMap<String, BTreeSet<String>>;

/// By the arguments of cargo that choose a package and its features, and by target.
pub type Selected = BTreeMap<String, BTreeMap<String, Features>>;

/// Reads lines of `cargo tree --prefix none --format '{p}\t{f}'`.
pub fn parse(tree: &str) -> Features {
    let mut features = Features::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let (name, of_it) = line.split_once('\t').unwrap_or((line, ""));
        // Said of a crate whose dependencies were listed before.
        let of_it = of_it.trim_end_matches("(*)").trim();
        features.entry(name.into()).or_default().insert(of_it.into());
    }
    features
}

/// Splits targets into groups within which each crate has the same features for all: for one command each, so that no target's
/// bytes depend on which others are built.
pub fn together<T: Copy>(targets: &[T], of: impl Fn(T) -> Features) -> Vec<Vec<T>> {
    let mut groups: Vec<(Features, Vec<T>)> = Vec::new();
    for target in targets {
        let features = of(*target);
        let agrees = |all: &Features| all.iter().all(|(name, its)| features.get(name).is_none_or(|other| other == its));
        match groups.iter_mut().find(|(all, _)| agrees(all)) {
            Some((all, group)) => {
                all.extend(features);
                group.push(*target);
            }
            None => groups.push((features, vec![*target])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// All that features of a package turn on, and they: its other features, and `dep:` and the name of optional dependencies.
pub fn enabled<'a>(package: &'a Package, features: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut enabled = BTreeSet::new();
    let mut next: Vec<&str> = features.into_iter().collect();
    while let Some(word) = next.pop() {
        if enabled.insert(word) {
            next.extend(package.features.get(word).into_iter().flatten().map(String::as_str));
            // `a/b` turns on `a`, and `a?/b` does not.
            next.extend(word.split_once('/').map(|(name, _)| name).filter(|name| !name.ends_with('?')));
        }
    }
    enabled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_built_together_if_no_crate_gets_features_of_another_target() {
        let of = |target: &str| match target {
            "amd64" | "arm64" => parse("tool v1.0.0\t\nraw v0.1.0\telf,net\nlibc v0.2.0\tstd\nlibc v0.2.0\tstd (*)\n"),
            "mips" => parse("tool v1.0.0\t\nraw v0.1.0\tnet\nlibc v0.2.0\tstd\n"),
            // Without the crate that the others differ in.
            _ => parse("tool v1.0.0\t\nlibc v0.2.0\tstd\n"),
        };
        assert_eq!(together(&["amd64", "mips", "arm64", "s390x"], of), [vec!["amd64", "arm64", "s390x"], vec!["mips"]]);
        assert_eq!(of("amd64").len(), 3);
    }
}
