//! Crates that cannot be built for an architecture: what depends on one is refused before anything is built.

use crate::arch::Arch;
use crate::workspace::facts::Facts;
use crate::workspace::products::Product;

/// A crate, the architecture, and why.
type Unported = (&'static str, &'static str, &'static str);

const UNPORTED: [Unported; 2] = [
    ("aya-obj", "386", "aya has no bindings to the kernel for 32-bit x86"),
    ("aya-ebpf-bindings", "386", "aya-ebpf has no bindings to the kernel for 32-bit x86"),
];

fn reason(name: &str, arch: &Arch) -> Option<&'static str> {
    UNPORTED.iter().find(|(known, of, _)| *known == name && *of == arch.name).map(|(.., reason)| *reason)
}

/// Whether BPF programs in Rust can be compiled for an architecture.
pub fn has_rust_bpf(arch: &Arch) -> bool {
    reason("aya-ebpf-bindings", arch).is_none()
}

/// Why a product cannot be built for an architecture.
pub fn refusal(facts: &Facts, product: &Product, arch: &Arch) -> Option<String> {
    // For nearly all, nothing need be looked for.
    UNPORTED.iter().find(|(_, of, _)| *of == arch.name)?;
    let features = facts.features.get(&product.selection().join(" "))?.get(arch.triple)?;
    // Those of build scripts are for this machine.
    let mut used: Vec<_> = facts.members.iter().filter(|it| it.name == product.package).map(|it| &it.id).collect();
    let mut at = 0;
    while let Some(id) = used.get(at) {
        let more = facts.dependencies.get(*id).into_iter().flatten();
        let more: Vec<_> = more.filter(|id| !used.contains(id)).collect();
        used.extend(more);
        at += 1;
    }
    let used = facts.packages.iter().filter(|package| used.contains(&&package.id));
    used.filter(|package| features.contains_key(&format!("{} v{}", package.name, package.version))).find_map(
        |package| {
            let reason = reason(&package.name, arch)?;
            Some(format!(
                "{} cannot be built for {arch}, because it depends on {}: {reason}",
                product.package, package.name
            ))
        },
    )
}
