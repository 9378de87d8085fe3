//! What a kernel is built from: sources, compiler and options. Options stand in lists, in the form of a kernel's
//! configuration.

use crate::arch::{Arch, ConfigFile, config_file};

/// The release of LLVM that builds kernels, as in the names of Debian's packages and programs. One compiler serves all
/// architectures.
pub const LLVM: &str = "19";

/// Debian's package of the kernel's sources, and the suite that has it.
pub const PACKAGE: &str = "linux-source-6.12";
pub const SUITE: &str = "trixie";

/// Stands for everything that is not in the rest of a kernel's key: count it up when the way of building changes.
const RECIPE: u32 = 1;

/// The options of every kernel that is built.
const COMMON: ConfigFile = config_file!("common.config");

/// All that a kernel is made from but the last numbers of versions, for its name in the cache.
pub fn key(arch: &Arch, own: &ConfigFile) -> String {
    format!("{RECIPE}\0{SUITE}\0{PACKAGE}\0clang {}\0{}", LLVM, options(arch, own))
}

/// The files of a kernel's options.
pub fn option_files(arch: &Arch, own: &ConfigFile) -> Vec<ConfigFile> {
    [COMMON, *own].into_iter().chain(arch.kernel_build.as_ref().map(|build| build.options)).collect()
}

/// The options of a kernel, one a line, without the comments: those do not count for its name.
pub fn options(arch: &Arch, own: &ConfigFile) -> String {
    let files = option_files(arch, own);
    files.iter().flat_map(|file| listed(file.text)).flat_map(|option| [option, "\n"]).collect()
}

/// The first option of a list that a configuration lacks or sets otherwise.
pub fn unmet<'a>(list: &'a str, configuration: &str) -> Option<&'a str> {
    let set = |option: &str| configuration.lines().any(|line| line == option);
    listed(list).find(|option| match name_of_unset(option) {
        // An option whose conditions are not met is not there at all.
        Some(name) => configuration.lines().any(|line| line.starts_with(&format!("{name}="))),
        None => !set(option),
    })
}

/// The options of a list, without its comments.
pub fn listed(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|line| line.starts_with("CONFIG_") || name_of_unset(line).is_some())
}

fn name_of_unset(line: &str) -> Option<&str> {
    line.strip_prefix("# ")?.strip_suffix(" is not set").filter(|name| name.starts_with("CONFIG_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# Why.\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"-x\"\n\n# CONFIG_D matters.\n";

    #[test]
    fn comments_are_no_options() {
        assert_eq!(listed(LIST).collect::<Vec<_>>(), ["CONFIG_A=y", "# CONFIG_B is not set", "CONFIG_C=\"-x\""]);
    }

    #[test]
    fn the_first_option_that_differs_is_found() {
        assert_eq!(unmet(LIST, "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"-x\"\n"), None);
        // One whose conditions are not met is left out.
        assert_eq!(unmet(LIST, "CONFIG_A=y\nCONFIG_C=\"-x\"\n"), None);
        assert_eq!(unmet(LIST, "CONFIG_A=m\nCONFIG_C=\"-x\"\n"), Some("CONFIG_A=y"));
        assert_eq!(unmet(LIST, "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=\"-x\"\n"), Some("# CONFIG_B is not set"));
        assert_eq!(unmet(LIST, "CONFIG_A=y\nCONFIG_CC=\"-x\"\n"), Some("CONFIG_C=\"-x\""));
    }
}
