//! A PKGBUILD for Arch Linux's user repository, which installs what was released.

use anyhow::Result;

use crate::emit::Packaged;
use crate::emit::plan::File;
use crate::package::contents::Role;
use crate::sys::command::word;
use crate::sys::hash;
use crate::ui::error::bad_request;

/// The PKGBUILD, and beside it the units, by their names.
pub fn files(it: &Packaged, maintainer: &str, units: Vec<(String, String)>) -> Result<Vec<File>> {
    let Packaged { name, about, version, artifacts, .. } = it;
    let (mut arches, mut sources) = (Vec::new(), String::new());
    for artifact in artifacts {
        let Some(arch) = artifact.arch.packages.arch else { continue };
        arches.push(arch);
        sources +=
            &format!("source_{arch}=({})\nsha256sums_{arch}=({})\n", word(&it.url(&artifact.file)), artifact.sha256);
    }
    if arches.is_empty() {
        bad_request!("Arch Linux and its ports run on no machine that there is an archive for");
    }
    let list = |words: &mut dyn Iterator<Item = String>| words.collect::<Vec<_>>().join(" ");
    let license = about.license.as_deref().unwrap_or("custom");
    let mut text = format!(
        "# Maintainer: {maintainer}\npkgname={name}-bin\npkgver={}\npkgrel=1\npkgdesc={}\narch=({})\n",
        version.replace('-', "_"),
        word(&about.description),
        arches.join(" ")
    );
    text += &about.website().map(|url| format!("url={}\n", word(url))).unwrap_or_default();
    text += &format!("license=({})\nprovides=({name})\nconflicts=({name})\noptions=(!strip)\n", word(license));
    if !units.is_empty() {
        text += &format!("source=({})\n", list(&mut units.iter().map(|(file, _)| word(file))));
        let sums = units.iter().map(|(_, unit)| hash::bytes(unit.as_bytes()).to_string());
        text += &format!("sha256sums=({})\n", list(&mut sums.into_iter()));
    }
    text += &sources;
    text += &format!("\npackage() {{\n  cd {}-*/\n", word(&format!("{}-{version}", it.archive)));
    for (path, role) in it.roles() {
        let base = path.rsplit('/').next().unwrap_or(path);
        let (mode, place) = match role {
            Role::Program => (755, format!("bin/{path}")),
            Role::License => (644, format!("share/licenses/{name}-bin/{path}")),
            Role::Manual(section) => (644, format!("share/man/man{section}/{base}")),
            Role::Bash(bin) => (644, format!("share/bash-completion/completions/{bin}")),
            Role::Fish => (644, format!("share/fish/vendor_completions.d/{base}")),
            Role::Zsh => (644, format!("share/zsh/site-functions/{base}")),
            Role::Other => continue,
        };
        text += &format!("  install -Dm{mode} {} \"$pkgdir\"/usr/{}\n", word(path), word(&place));
    }
    for (file, _) in &units {
        let file = word(file);
        text += &format!("  install -Dm644 ../{file} \"$pkgdir\"/usr/lib/systemd/system/{file}\n");
    }
    text += "}\n";
    let mut files = vec![File::text("PKGBUILD", text)];
    files.extend(units.into_iter().map(|(file, unit)| File::text(file, unit)));
    Ok(files)
}
