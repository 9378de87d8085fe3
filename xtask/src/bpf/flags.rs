//! How clang is called for a source and a target.

use crate::bpf::target::BpfTarget;
use crate::bpf::units::Unit;
use crate::workspace::config::Bpf;

/// Stands for the folder of the compiler in [`of`], whose flags go into the lock file and so must not contain its path.
pub const COMPILER_FOLDER: &str = "{compiler}";

/// The folders of headers beside those of the workspace, where clang runs: libbpf's, each architecture's vmlinux.h, and what
/// sources expect of a libc.
pub const LIBBPF: &str = "libbpf";
pub const VMLINUX: &str = "vmlinux";
pub const LIBC: &str = "libc";

/// What there is of a libc.
pub const LIBC_HEADERS: [(&str, &str); 6] = [
    ("endian.h", include_str!("libc/endian.h")),
    ("errno.h", include_str!("libc/errno.h")),
    ("netinet/in.h", include_str!("libc/netinet/in.h")),
    ("string.h", include_str!("libc/string.h")),
    ("sys/socket.h", include_str!("libc/sys/socket.h")),
    ("sys/types.h", include_str!("libc/sys/types.h")),
];

/// What newer versions of clang refuse, and older ones, with which much is written, only warn of.
const ONCE_WARNINGS: [&str; 3] =
    ["incompatible-pointer-types", "incompatible-function-pointer-types", "int-conversion"];

/// Where clang looks for the vmlinux.h of an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vmlinux {
    /// There is none.
    Nowhere,
    /// Before all other folders.
    First,
    /// Behind those of the workspace, in which another vmlinux.h includes it.
    Last,
}

/// clang's flags. All paths are relative, and the compile runs in a folder of ours, so no path gets into an object.
pub fn of(bpf: &Bpf, unit: &Unit, target: &BpfTarget, vmlinux: Vmlinux) -> Vec<String> {
    let mut flags: Vec<String> = [
        "-target",
        target.endian.bpf_target(),
        &format!("-mcpu={}", unit.cpu),
        "-O2",
        "-g",
        "-std=gnu11",
        // A vmlinux.h of Linux 6.19 or later has structs in structs without a name.
        "-fms-extensions",
        "-Wall",
        "-Wno-microsoft-anon-tag",
    ]
    .map(String::from)
    .to_vec();
    flags.extend(ONCE_WARNINGS.map(|warning| format!("-Wno-error={warning}")));
    flags.extend(
        [
            "-fno-ident",
            // A table for linkers that names symbols by their numbers, which change when debug information is dropped.
            "-fno-addrsig",
            "-fdebug-compilation-dir=.",
        ]
        .map(String::from),
    );
    let folder =
        |wanted: Vmlinux| target.arch_word.filter(|_| vmlinux == wanted).map(|word| format!("-I{VMLINUX}/{word}"));
    flags.extend(folder(Vmlinux::First));
    flags.extend(bpf.folders().map(|folder| format!("-I{folder}/include")));
    flags.extend(unit.nested.iter().map(|folder| format!("-I{folder}")));
    flags.extend(["-isystem".into(), LIBBPF.into()]);
    flags.extend(target.arch_word.map(|word| format!("-D__TARGET_ARCH_{word}")));
    flags.extend(target.macros.iter().map(|name| format!("-D{name}")));
    if bpf.image.is_none() {
        // The kernel's headers, and clang's own. An image of the user's brings these along where its clang finds them.
        flags.push("-nostdinc".into());
        for headers in ["include", &format!("libc/include/{}", target.headers), "libc/include/any-linux-any"] {
            flags.extend(["-isystem".into(), format!("{COMPILER_FOLDER}/lib/{headers}")]);
        }
        flags.extend(["-isystem".into(), LIBC.into()]);
    }
    flags.extend(bpf.cflags.iter().cloned());
    flags.extend(folder(Vmlinux::Last));
    flags.extend(unit.defines.iter().map(|define| format!("-D{define}")));
    // With a date in it, an object would not be what its source gives.
    flags.push("-Werror=date-time".into());
    flags
}

/// The time in an object whose source hides that error from clang.
pub const CLOCK: (&str, &str) = ("SOURCE_DATE_EPOCH", "0");
