//! The script in a release that installs it on the machine that it runs on.

use crate::arch::{ARCHES, Arch};
use crate::release::manifest::{Archive, Manifest};
use crate::workspace::packaging::Install;

/// Its name in dist/.
pub const INSTALL: &str = "install.sh";

/// The script of a release: a function of the names and versions of its archives, of the programs in them, and of whom they
/// must be signed by. For which machines there are archives, it reads in the checksums.
pub fn script(manifest: &Manifest, demanded: &Install) -> String {
    let targets: Vec<String> =
        ARCHES.iter().map(|arch| format!("{}) triple={} ;;", words(arch), arch.triple)).collect();
    // Two a line, for it is to be short.
    let targets: Vec<String> = targets.chunks(2).map(|two| format!("    {}", two.join(" "))).collect();
    let names = manifest.archives.iter().map(|archive| format!("{} {}", archive.name, archive.version));
    let archives: Vec<String> = manifest.archives.iter().map(line).collect();
    include_str!("install.sh")
        .replace("@RELEASE@", &names.collect::<Vec<_>>().join(", "))
        .replace("@ARCHIVES@", &archives.join("\n"))
        .replace("@TARGETS@", &targets.join("\n"))
        .replace("@SIGNERS@", &demanded.signers.join("\n"))
        .replace("@REBUILDERS@", &demanded.rebuilders.map(|number| number.to_string()).unwrap_or_default())
        .replace("@ARMV6@", Arch::named("arm").triple)
        .replace("@MIPSLE@", Arch::named("mipsle").triple)
}

/// What is done with an archive: its stem, and its programs.
fn line(archive: &Archive) -> String {
    let programs = archive.products.iter().flat_map(|product| &product.bins);
    let words = std::iter::once(format!("{}-{}", archive.name, archive.version)).chain(programs.cloned());
    format!("    \"$@\" {}", words.collect::<Vec<_>>().join(" "))
}

/// What kernels may call its machines.
pub fn machines(arch: &Arch) -> impl Iterator<Item = &'static str> {
    std::iter::once(arch.name).chain(arch.aliases.iter().copied()).filter(|word| !word.contains('/'))
}

fn words(arch: &Arch) -> String {
    machines(arch).collect::<Vec<_>>().join(" | ")
}
