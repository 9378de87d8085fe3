//! Where a repository has a vmlinux.h for each architecture: the ways that projects have to lay them out, and the words that
//! they have for an architecture.

use std::collections::BTreeMap;

use crate::arch::{ARCHES, Arch};
use crate::bpf::paths;

/// The vmlinux.h of each architecture, where there are several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layouts {
    /// By the name of the architecture; of those that are one to the kernel, the first.
    pub files: BTreeMap<&'static str, String>,
    /// Whether a vmlinux.h of the repository includes one of them by the architecture.
    pub are_chosen: bool,
}

/// How a file's name says whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// `x86/vmlinux.h`
    Folder,
    /// `vmlinux_x86.h`
    Underscore,
    /// `vmlinux-x86.h`
    Hyphen,
}

/// Whose words they are: the kernel's, Go's, Rust's, Debian's and others.
fn words(arch: &'static Arch) -> impl Iterator<Item = &'static str> {
    let of_triple = arch.triple.split('-').next().unwrap_or_default();
    [arch.linux, arch.name, of_triple].into_iter().chain(arch.debian).chain(arch.aliases.iter().copied())
}

impl Layouts {
    /// Out of all files there are. Of several for one architecture, the one nearest to the top counts.
    pub fn find<'a>(paths: impl Iterator<Item = &'a String>) -> Layouts {
        let mut files: BTreeMap<&'static str, String> = BTreeMap::new();
        for path in paths {
            let Some((arch, ..)) = parse(path) else { continue };
            let rank = |path: &str| (path.split('/').count(), path.to_owned());
            let nearest = files.entry(arch.name).or_insert_with(|| path.clone());
            if rank(path) < rank(nearest) {
                nearest.clone_from(path);
            }
        }
        Layouts { files, are_chosen: false }
    }

    /// Whether this file is a vmlinux.h that includes that of an architecture.
    pub fn chooses<'a>(path: &str, mut includes: impl Iterator<Item = &'a str>) -> bool {
        path.rsplit('/').next() == Some("vmlinux.h")
            && parse(path).is_none()
            && includes.any(|name| parse(name).is_some())
    }

    pub fn of(&self, arch: &Arch) -> Option<&String> {
        self.files.get(of_kernel(arch.linux)?.name)
    }

    /// Where the file of an architecture that has none would lie, if it were laid out as the others.
    pub fn missing(&self, arch: &'static Arch) -> Option<String> {
        let (other, folder, form, word) = self.files.values().find_map(|path| parse(path))?;
        // The same column of the table.
        let column = words(other).position(|it| it == word).unwrap_or_default();
        let word = words(arch).nth(column).unwrap_or(arch.linux);
        let name = match form {
            Form::Folder => format!("{word}/vmlinux.h"),
            Form::Underscore => format!("vmlinux_{word}.h"),
            Form::Hyphen => format!("vmlinux-{word}.h"),
        };
        paths::join(folder, &name)
    }
}

/// The architecture, the folder of the layout, the form, and the word.
fn parse(path: &str) -> Option<(&'static Arch, &str, Form, &str)> {
    let (folder, name) = (paths::folder_of(path), path.rsplit('/').next()?);
    let (form, folder, word) = match name.strip_suffix(".h")?.strip_prefix("vmlinux")? {
        "" => (Form::Folder, paths::folder_of(folder), folder.rsplit('/').next()?),
        rest => match (rest.strip_prefix('_'), rest.strip_prefix('-')) {
            (Some(word), _) => (Form::Underscore, folder, word),
            (_, Some(word)) => (Form::Hyphen, folder, word),
            _ => return None,
        },
    };
    let arch = ARCHES.iter().find(|arch| words(arch).any(|it| it == word))?;
    Some((of_kernel(arch.linux)?, folder, form, word))
}

/// The first architecture that the kernel calls so: it does not tell the generations of ARM from each other.
pub fn of_kernel(word: &str) -> Option<&'static Arch> {
    ARCHES.iter().find(|arch| arch.linux == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_is_known_by_every_word_and_no_other_file_is_taken() {
        for (path, arch) in [
            ("libbpf-tools/x86/vmlinux.h", "amd64"),
            ("include/x86_64/vmlinux.h", "amd64"),
            ("scheds/vmlinux/arch/riscv/vmlinux.h", "riscv64"),
            ("bpf/vmlinux_arm64.h", "arm64"),
            ("bpf/vmlinux-aarch64.h", "arm64"),
            ("loong64/vmlinux.h", "loong64"),
            ("vmlinux/s390/vmlinux.h", "s390x"),
            ("vmlinux/armhf/vmlinux.h", "arm"),
            ("vmlinux_armv7.h", "arm"),
            ("powerpc/vmlinux.h", "ppc64le"),
            // One word for both byte orders: relocations find where a field is.
            ("vmlinux_mipsel.h", "mips"),
        ] {
            assert_eq!(parse(path).map(|(arch, ..)| arch.name), Some(arch), "{path}");
        }
        for path in ["vmlinux.h", "bpf/vmlinux.h", "x86/vmlinux_614.h", "bpf/vmlinux_601.h", "sparc/vmlinux.h"] {
            assert!(parse(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_file_that_chooses_is_no_architectures_own() {
        let chooses = |path: &str, include: &str| Layouts::chooses(path, [include].into_iter());
        assert!(chooses("bpf/include/vmlinux.h", "x86_64/vmlinux.h"));
        assert!(chooses("vmlinux.h", "vmlinux_arm64.h"));
        assert!(!chooses("bpf/include/vmlinux.h", "vmlinux_614.h"));
        assert!(!chooses("bpf/x86/vmlinux.h", "../arm64/vmlinux.h"));
        assert!(!chooses("bpf/types.h", "x86_64/vmlinux.h"));
    }

    #[test]
    fn the_file_that_is_missing_is_named_as_the_others_are() {
        for (there, missing) in [
            ("k/x86_64/vmlinux.h", "k/aarch64/vmlinux.h"),
            ("k/x86/vmlinux.h", "k/arm64/vmlinux.h"),
            ("vmlinux_amd64.h", "vmlinux_arm64.h"),
        ] {
            let layouts = Layouts::find([there.to_owned()].iter());
            assert!(layouts.of(Arch::named("arm64")).is_none());
            assert_eq!(layouts.missing(Arch::named("arm64")).as_deref(), Some(missing));
        }
        let layouts = Layouts::find(["deep/er/x86/vmlinux.h".to_owned(), "x86/vmlinux.h".to_owned()].iter());
        assert_eq!(layouts.of(Arch::named("amd64")).map(String::as_str), Some("x86/vmlinux.h"));
        assert_eq!(Layouts::default().missing(Arch::named("arm64")), None);
    }
}
