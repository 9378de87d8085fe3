//! A playbook for ansible, with the programs and units that it installs, laid out on targets as `deploy` does it.

use serde_json::{Map, Value, json};

use crate::deploy::unit::Kernel;
use crate::emit::plan::{Content, File};
use crate::emit::{Program, units};
use crate::release::install;
use crate::release::manifest::{Archive, Artifact, Binary};

const PLAYBOOK: &str = include_str!("playbook.yml");

/// The playbook, what it knows of the release, the programs and the units.
pub fn files(program: Program, archive: &Archive, artifacts: &[(&Artifact, &Binary)]) -> Vec<File> {
    let units = units::all(program);
    let mut machines = Map::new();
    let mut binaries = Map::new();
    for (artifact, binary) in artifacts {
        let arch = artifact.arch;
        let version = format!("{}-{:.12}", archive.version, binary.sha256);
        binaries.insert(arch.triple.into(), json!({ "version": version, "sha256": binary.sha256 }));
        machines.extend(install::machines(arch).map(|word| (word.to_owned(), json!(arch.triple))));
    }
    // ARMv6 runs on all that came later.
    if let (Some(older), None) = (machines.get("armv6l").cloned(), machines.get("armv7l")) {
        machines.extend(["armv7l", "armv8l"].map(|word| (word.to_owned(), older.clone())));
    }
    let described = |(kernel, file): &(Kernel, File)| {
        let Kernel { version: (major, minor), btf, is_paranoid } = kernel;
        json!({ "since": format!("{major}.{minor}"), "btf": btf, "paranoid": is_paranoid, "file": file.path })
    };
    let listed: Vec<Value> = units.iter().map(described).collect();
    let release = json!({
        "program": program.name,
        "folder": program.folder.trim_end_matches('/'),
        "version": archive.version,
        "machines": machines,
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
