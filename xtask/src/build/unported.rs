//! Crates that cannot be built for an architecture, or by this Rust: what depends on one is refused before anything is built.

use std::collections::BTreeSet;

use cargo_metadata::semver::{Prerelease, Version};

use crate::arch::Arch;
use crate::workspace::facts::Facts;
use crate::workspace::packages::Package;
use crate::workspace::products::Product;

/// A crate, how its versions begin, the architectures, which are all if none is named, and why.
type Unported = (&'static str, &'static str, &'static [&'static str], &'static str);

const UNPORTED: [Unported; 6] = [
    ("aya-obj", "", &["386"], "aya has no bindings to the kernel for 32-bit x86"),
    ("aya-ebpf-bindings", "", &["386"], "aya-ebpf has no bindings to the kernel for 32-bit x86"),
    ("ring", "0.16.", &["riscv64", "loong64", "s390x", "mips", "mipsle", "ppc64le"], "ring has it since 0.17"),
    ("libbpf-sys", "0.", &[], LIBELF),
    ("libbpf-sys", "1.0.", &[], LIBELF),
    ("libbpf-sys", "1.1.", &[], LIBELF),
];

const LIBELF: &str = "the sources of libelf and zlib are part of it since 1.2 only";

/// Why a version of a crate cannot be built for an architecture.
pub fn reason(name: &str, version: &str, arch: &Arch) -> Option<&'static str> {
    let is_it = |(known, versions, of, _): &&Unported| {
        *known == name && version.starts_with(versions) && (of.is_empty() || of.contains(&arch.name))
    };
    UNPORTED.iter().find(is_it).map(|(.., reason)| *reason)
}

/// Whether BPF programs in Rust can be compiled for an architecture.
pub fn has_rust_bpf(arch: &Arch) -> bool {
    reason("aya-ebpf-bindings", "", arch).is_none()
}

/// Why a product cannot be built for an architecture.
pub fn refusal(facts: &Facts, product: &Product, arch: &Arch) -> Option<String> {
    let features = facts.features.get(&product.selection().join(" "))?.get(arch.triple)?;
    let is_built = |package: &Package| {
        let name = format!("{} v{}", package.name, package.version);
        // Behind the name of a package that is known by its folder, there is that.
        features.keys().any(|key| key.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')))
    };
    let rust = Version { pre: Prerelease::EMPTY, ..Version::parse(&facts.rust.version).ok()? };
    let mut all = facts.members.iter().chain(&facts.packages);
    let is_newer = |package: &&Package| package.rust.as_ref().is_some_and(|wanted| *wanted > rust);
    if let Some(Package { name, version, rust: Some(wanted), .. }) = all.find(|it| is_newer(it) && is_built(it)) {
        return Some(format!(
            "{name} {version} wants Rust {wanted} or newer, and this is {rust}: pin a newer one in rust-toolchain.toml"
        ));
    }
    let mut refused = facts.packages.iter().filter_map(|package| {
        let reason = reason(&package.name, &package.version, arch)?;
        Some((package, reason)).filter(|(package, _)| is_built(package))
    });
    let (package, reason) = refused.find(|(package, _)| is_linked(facts, product, package))?;
    let what = format!("{} cannot be built for {arch}, because it depends on {}", product.package, package.name);
    Some(format!("{what}: {reason}"))
}

/// Whether a product uses a package itself: those of build scripts are for this machine.
fn is_linked(facts: &Facts, product: &Product, package: &Package) -> bool {
    let mut next: Vec<_> = facts.members.iter().filter(|it| it.name == product.package).map(|it| &it.id).collect();
    let mut used: BTreeSet<_> = next.iter().copied().collect();
    while let Some(id) = next.pop() {
        next.extend(facts.dependencies.get(id).into_iter().flatten().filter(|id| used.insert(*id)));
    }
    used.contains(&package.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_refused_by_version_and_architecture() {
        let is_refused = |name: &str, version: &str, arch: &str| reason(name, version, Arch::named(arch)).is_some();
        assert!(is_refused("aya-obj", "0.3.0", "386") && !is_refused("aya-obj", "0.3.0", "mips"));
        assert!(is_refused("ring", "0.16.20", "mips") && !is_refused("ring", "0.16.20", "arm64"));
        assert!(!is_refused("ring", "0.17.14", "mips"));
        for (version, refused) in
            [("0.8.3+v0.8.1", true), ("1.1.1+v1.1.0", true), ("1.2.1+v1.2.0", false), ("1.10.0", false)]
        {
            assert_eq!(is_refused("libbpf-sys", version, "amd64"), refused, "{version}");
        }
        let arches = UNPORTED.iter().flat_map(|(_, _, arches, _)| *arches);
        arches.for_each(|arch| assert_eq!(Arch::named(arch).name, *arch));
    }
}
