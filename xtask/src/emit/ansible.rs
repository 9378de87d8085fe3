//! A playbook for ansible, with the programs and units that it installs, laid out on targets as `deploy` does it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::arch::{ARCHES, Arch, Endian};
use crate::deploy::unit::Kernel;
use crate::emit::plan::{Content, File};
use crate::emit::{Program, units};
use crate::release::install;
use crate::release::manifest::{Archive, Artifact, Binary};

const PLAYBOOK: &str = include_str!("playbook.yml");

/// The playbook, what it knows of the release, the programs and the units.
pub fn files(program: Program, archive: &Archive, artifacts: &[(&Artifact, &Binary)]) -> Vec<File> {
    let units = units::all(program);
    let mut binaries = Map::new();
    for (artifact, binary) in artifacts {
        let arch = artifact.arch;
        let version = format!("{}-{:.12}", archive.version, binary.sha256);
        binaries.insert(arch.triple.into(), json!({ "version": version, "sha256": binary.sha256 }));
    }
    let released: Vec<&'static Arch> = artifacts.iter().map(|(artifact, _)| artifact.arch).collect();
    let described = |(kernel, file): &(Kernel, File)| {
        let Kernel { version: (major, minor), btf, is_paranoid } = kernel;
        json!({ "since": format!("{major}.{minor}"), "btf": btf, "paranoid": is_paranoid, "file": file.path })
    };
    let listed: Vec<Value> = units.iter().map(described).collect();
    let release = json!({
        "program": program.name,
        "folder": program.folder.trim_end_matches('/'),
        "version": archive.version,
        "machines": machines(&released),
        "binaries": binaries,
        "preflight": program.config.preflight,
        "self_test": program.config.self_test,
        "units": listed,
    });
    let mut files = vec![
        File::text("deploy.yml", PLAYBOOK),
        File::text("release.json", format!("{:#}\n", json!({ "release": release }))),
    ];
    files.extend(units.into_iter().map(|(_, file)| file));
    files.extend(artifacts.iter().map(|(artifact, binary)| File {
        path: format!("binaries/{}/{}", artifact.triple, binary.file),
        content: Content::Binary {
            artifact: Box::new((*artifact).clone()),
            name: binary.file.clone(),
            sha256: binary.sha256,
        },
    }));
    files
}

/// The target for each word that a kernel has for its machine, by byte order: for `mips`, there are two.
fn machines(released: &[&'static Arch]) -> BTreeMap<&'static str, BTreeMap<&'static str, &'static str>> {
    let mut machines: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (arch, word) in ARCHES.iter().flat_map(|arch| install::machines(arch).map(move |word| (arch, word))) {
        for endian in [Endian::Little, Endian::Big] {
            let runs = arch.of_byte_order(endian).map(|arch| arch.or_older(released));
            if let Some(arch) = runs.filter(|arch| released.contains(arch)) {
                machines.entry(word).or_default().insert(endian.name(), arch.triple);
            }
        }
    }
    machines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_gets_the_binary_of_its_byte_order() {
        let find = |released: &[&'static str], machine: &str, order: &str| {
            let released: Vec<&'static Arch> = released.iter().map(|name| Arch::named(name)).collect();
            machines(&released).get(machine).and_then(|orders| orders.get(order)).copied()
        };
        let both = ["mips", "mipsle"];
        assert_eq!(find(&both, "mips", "little"), Some("mipsel-unknown-linux-musl"));
        assert_eq!(find(&both, "mips", "big"), Some("mips-unknown-linux-musl"));
        assert_eq!(find(&["mips"], "mips", "little"), None);
        assert_eq!(find(&["mipsle"], "mips", "little"), Some("mipsel-unknown-linux-musl"));
        assert_eq!(find(&["ppc64le"], "ppc64", "big"), None);
        assert_eq!(find(&["arm64"], "aarch64", "little"), Some("aarch64-unknown-linux-musl"));
        assert_eq!(find(&["arm64"], "aarch64", "big"), None);
        // ARMv6 runs on all that came later, and not the other way round.
        assert_eq!(find(&["arm"], "armv7l", "little"), Some("arm-unknown-linux-musleabihf"));
        assert_eq!(find(&["arm", "armv7"], "armv8l", "little"), Some("armv7-unknown-linux-musleabihf"));
        assert_eq!(find(&["armv7"], "armv6l", "little"), None);
    }
}
