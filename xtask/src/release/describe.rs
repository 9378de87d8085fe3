//! What the manifest says of archives, worked out from what is shipped and what was made.

use std::path::Path;

use anyhow::{Result, bail};

use crate::arch::Arch;
use crate::bpf::target::ObjectName;
use crate::release::manifest::{self, Artifact, BpfObject, Manifest};
use crate::ui::error::bad_request;
use crate::workspace::config::{self, Config};
use crate::workspace::products::{Archive, Product};

/// What goes into an archive, for the manifest.
pub fn archive(archive: &Archive) -> manifest::Archive {
    let product = |product: &Product| manifest::Product {
        package: product.package.clone(),
        bins: product.bins.clone(),
        features: product.features.flags(),
    };
    let Archive { name, version, products, .. } = archive;
    manifest::Archive { name: name.clone(), version: version.clone(), products: products.iter().map(product).collect() }
}

/// Refuses a release of something else than this workspace ships. The commit may be another.
pub fn check_release(folder: &Path, manifest: &Manifest, config: &Config) -> Result<()> {
    let described = manifest.archives.iter().map(|archive| (&archive.name, &archive.version));
    if !described.eq(config.archives.iter().map(|archive| (&archive.name, &archive.version))) {
        bad_request!(
            "{} contains {}, but this workspace ships {}: check out what it was built from",
            folder.display(),
            manifest.describe(),
            config.describe()
        );
    }
    Ok(())
}

/// Refuses an object that no binary for its architecture holds: it would be shipped to nobody.
pub fn check_objects(objects: &[BpfObject], artifacts: &[Artifact]) -> Result<()> {
    for arch in artifacts.iter().map(|artifact| artifact.arch) {
        let binaries =
            artifacts.iter().filter(|artifact| artifact.arch == arch).flat_map(|artifact| &artifact.binaries);
        let held: Vec<&ObjectName> = binaries.flat_map(|binary| &binary.bpf_objects).collect();
        let unheld = manifest::objects_of(objects, arch).into_values().find(|object| !held.contains(&&object.file));
        if let Some(object) = unheld {
            bail!("no binary for {arch} has a section with the BPF object {}", object.file);
        }
    }
    Ok(())
}

/// The later of what the architecture and the application need.
pub fn minimum_kernel(arch: &Arch, of_application: Option<&str>) -> String {
    [Some(arch.min_kernel), of_application]
        .into_iter()
        .flatten()
        .max_by_key(|version| config::kernel_version(version))
        .unwrap_or(arch.min_kernel)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::manifest::Binary;
    use crate::sys::hash;

    #[test]
    fn an_object_must_be_in_some_binary_of_each_architecture_that_it_is_for() {
        let object = |file: &str| BpfObject { file: file.parse().unwrap(), size: 1, sha256: hash::bytes(b"1") };
        let objects = ["tick_bpfel.o", "tock_bpfel.o", "tick_bpfeb.o"].map(object);
        let artifact = |arch: &str, held: &[&str]| {
            let example = Artifact::example("1.0.0", Arch::named(arch), b"archive");
            let bpf_objects = held.iter().map(|file| file.parse().unwrap()).collect();
            let holder = Binary { bpf_objects, ..example.binaries[0].clone() };
            Artifact { binaries: vec![example.binaries[0].clone(), holder], ..example }
        };
        let arm64 = artifact("arm64", &["tick_bpfel.o"]);
        let error = check_objects(&objects, std::slice::from_ref(&arm64)).unwrap_err().to_string();
        assert_eq!(error, "no binary for arm64 has a section with the BPF object tock_bpfel.o");
        check_objects(&objects, &[arm64, artifact("arm64", &["tock_bpfel.o"])]).unwrap();
        check_objects(&objects, &[artifact("mips", &["tick_bpfeb.o"])]).unwrap();
    }

    #[test]
    fn the_later_kernel_is_needed() {
        let arch = Arch::named("loong64");
        assert_eq!(minimum_kernel(arch, None), arch.min_kernel);
        assert_eq!(minimum_kernel(arch, Some("6.100")), "6.100");
    }
}
