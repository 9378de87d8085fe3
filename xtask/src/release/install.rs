//! The script in a release that installs it on the machine that it runs on.

use crate::arch::{ARCHES, Arch};
use crate::release::manifest::{Archive, Manifest};

/// Its name in dist/.
pub const INSTALL: &str = "install.sh";

/// The script of a release: a function of the names and versions of its archives, and of the programs in them. For which
/// machines there are archives, it reads in the checksums.
pub fn script(manifest: &Manifest) -> String {
    let targets: Vec<String> =
        ARCHES.iter().map(|arch| format!("    {}) triple={} ;;", words(arch), arch.triple)).collect();
    let names = manifest.archives.iter().map(|archive| format!("{} {}", archive.name, archive.version));
    let archives: Vec<String> = manifest.archives.iter().map(line).collect();
    include_str!("install.sh")
        .replace("@RELEASE@", &names.collect::<Vec<_>>().join(", "))
        .replace("@ARCHIVES@", &archives.join("\n"))
        .replace("@TARGETS@", &targets.join("\n"))
        .replace("@ARMV6@", Arch::named("arm").triple)
        .replace("@MIPSLE@", Arch::named("mipsle").triple)
}

/// What is done with an archive: its stem, and its programs.
fn line(archive: &Archive) -> String {
    let programs = archive.products.iter().flat_map(|product| &product.bins);
    let words = std::iter::once(format!("{}-{}", archive.name, archive.version)).chain(programs.cloned());
    format!("    \"$1\" {}", words.collect::<Vec<_>>().join(" "))
}

/// What kernels may call its machines.
pub fn machines(arch: &Arch) -> impl Iterator<Item = &'static str> {
    std::iter::once(arch.name).chain(arch.aliases.iter().copied()).filter(|word| !word.contains('/'))
}

fn words(arch: &Arch) -> String {
    machines(arch).collect::<Vec<_>>().join(" | ")
}
