//! Kernels that exist as no package: built from Debian's sources, once, with the options that a proof needs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::arch::ConfigFile;
use crate::boot::kernels::recipe::{self, LLVM, PACKAGE, SUITE};
use crate::boot::kernels::run::{CheckOptions, DownloadPinned, ExtractPackage, Make, WriteRecord};
use crate::boot::kernels::{IMAGE, Kernel, RECORD};
use crate::debian::apt::{self, BuildRecord, Mirror};
use crate::debian::deb::Deb;
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::hash;
use crate::sys::plan::Task;
use crate::sys::steps::{CacheEntry, Download, Remove, Run, Write};

/// Whose list of packages is read: a package of sources is for all architectures.
pub const INDEX: &str = "amd64";

/// What makes the kernel that QEMU takes of the ELF file that make leaves.
const ELF: &[&str] = &["--strip-all"];
const RAW: &[&str] = &["--strip-all", "--output-target=binary", "--remove-section=.note*", "--remove-section=.comment"];

/// Folders of the sources whose code is for other hardware or other file systems, and left packed: unpacking and
/// removing files takes its time, and there are 90,000 of them. The configuration reads the rest of that folder.
const OTHER_CODE: [&str; 38] = [
    "drivers/accel",
    "drivers/ata",
    "drivers/clk/*",
    "drivers/comedi",
    "drivers/crypto",
    "drivers/dma",
    "drivers/gpu",
    "drivers/hid",
    "drivers/hwmon",
    "drivers/i2c",
    "drivers/iio",
    "drivers/infiniband",
    "drivers/input",
    "drivers/leds",
    "drivers/md",
    "drivers/media",
    "drivers/misc",
    "drivers/mmc",
    "drivers/mtd",
    "drivers/net/*",
    "drivers/phy",
    "drivers/pinctrl",
    "drivers/platform",
    "drivers/regulator",
    "drivers/scsi",
    "drivers/soc",
    "drivers/spi",
    "drivers/staging",
    "drivers/thermal",
    "drivers/usb",
    "drivers/video",
    "drivers/watchdog",
    "fs/bcachefs",
    "fs/btrfs",
    "fs/ocfs2",
    "fs/smb",
    "fs/xfs",
    "sound",
];

/// What else is left packed.
const OTHER_FILES: [&str; 4] = ["Documentation/[!K]*", "tools/net/*", "tools/perf/*", "tools/testing/*"];

/// The folders in `arch/` of the sources. What is not the architecture's own is left packed, too.
const ARCH_FOLDERS: [&str; 21] = [
    "alpha",
    "arc",
    "arm",
    "arm64",
    "csky",
    "hexagon",
    "loongarch",
    "m68k",
    "microblaze",
    "mips",
    "nios2",
    "openrisc",
    "parisc",
    "powerpc",
    "riscv",
    "s390",
    "sh",
    "sparc",
    "um",
    "x86",
    "xtensa",
];

/// What builds kernels. One compiler serves all architectures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildTools {
    /// The first lines that they print of their versions.
    pub compiler: String,
    pub pahole: String,
    /// Processes that make starts at once.
    pub jobs: usize,
}

/// A program that takes part in the build, in the environment that all of them have. `passed_on` is what a build sees
/// of the user's environment.
pub fn tool(program: &str, folder: &Path, passed_on: &BTreeMap<String, String>) -> Command {
    let mut environment: BTreeMap<String, String> =
        ["PATH", "TMPDIR"].into_iter().filter_map(|name| Some((name.into(), passed_on.get(name)?.clone()))).collect();
    // What a kernel records of who built it, and when.
    for (name, value) in [
        ("LC_ALL", "C"),
        ("KBUILD_BUILD_USER", crate::NAME),
        ("KBUILD_BUILD_HOST", crate::NAME),
        ("KBUILD_BUILD_TIMESTAMP", "1970-01-01"),
    ] {
        environment.insert(name.into(), value.into());
    }
    Command::new(program, folder).only(environment)
}

/// Plans to build a kernel in the cache. `own` are its options in addition to those of all kernels and of the
/// architecture.
pub fn build(
    cache: &Cache,
    passed_on: &BTreeMap<String, String>,
    mirror: &Mirror,
    tools: &BuildTools,
    kernel: &Kernel,
    own: &ConfigFile,
    pin: Option<&Deb>,
) -> Result<Task> {
    let Kernel { arch, label, .. } = kernel;
    let kernel_build = arch.kernel_build.as_ref().with_context(|| format!("no kernel can be built for {arch}"))?;
    let name = kernel.entry(pin);
    let partial = cache.partial(&name);
    let text = |path: &Path| path.to_string_lossy().into_owned();
    if text(&partial).contains([' ', ':']) {
        bail!(
            "a kernel cannot be built in {}, because its makefiles know no spaces or colons in names: \
             set BPFSHIP_CACHE to another folder",
            cache.folder.display()
        );
    }
    let work = partial.join("work");
    let source = work.join("source");
    let apt = work.join("apt");
    let list = work.join("options");
    let options = recipe::options(arch, own);
    let record = BuildRecord {
        options: hash::bytes(options.as_bytes()),
        compiler: tools.compiler.clone(),
        pahole: tools.pahole.clone(),
    };

    let mut steps = apt::update(&apt, mirror, SUITE, INDEX);
    let download = apt::command("apt-get", &apt).args(["--quiet", "download"]);
    steps.push(match pin {
        Some(deb) => Box::new(DownloadPinned { mirror: mirror.url.clone(), deb: deb.clone(), download }),
        None => Box::new(Download { command: download.arg(PACKAGE), folder: apt.clone() }),
    });
    steps.push(Box::new(ExtractPackage { apt: apt.clone(), into: work.clone() }));
    let unpack = Command::new("tar", &work)
        .args(["--extract", "--file", &format!("usr/src/{PACKAGE}.tar.xz"), "--wildcards"])
        .args(OTHER_CODE.map(|folder| format!("--exclude={PACKAGE}/{folder}/*.[chS]")))
        .args(
            ARCH_FOLDERS
                .iter()
                .filter(|folder| **folder != arch.linux)
                .flat_map(|folder| ["[chS]", "dts*"].map(|kind| format!("--exclude={PACKAGE}/arch/{folder}/*.{kind}"))),
        )
        .args(OTHER_FILES.map(|pattern| format!("--exclude={PACKAGE}/{pattern}")))
        .arg(format!("--transform=s,^{PACKAGE},source,"));
    steps.push(Box::new(Run(unpack)));

    let make = || {
        tool("nice", &source, passed_on)
            .args(["make", "--jobs", &tools.jobs.to_string()])
            .arg(format!("ARCH={}", arch.linux))
            .arg(format!("LLVM=-{LLVM}"))
    };
    steps.push(Box::new(Write { file: list.clone(), text: options.clone() }));
    // Nothing is on but what the list names and what that depends on.
    steps.push(Box::new(Run(make().arg("allnoconfig").env("KCONFIG_ALLCONFIG", text(&list)))));
    steps.push(Box::new(CheckOptions {
        configuration: source.join(".config"),
        options,
        files: recipe::option_files(arch, own).iter().map(|file| file.name).collect(),
        record: record.clone(),
    }));
    steps.push(Box::new(Make(make().arg("vmlinux"))));
    let strip = tool(&format!("llvm-objcopy-{LLVM}"), &source, passed_on)
        .args(if kernel_build.raw { RAW } else { ELF }.iter().copied())
        .arg("vmlinux")
        .arg(text(&partial.join(IMAGE)));
    steps.push(Box::new(Run(strip)));
    steps.push(Box::new(WriteRecord {
        apt,
        suite: SUITE,
        mirror: mirror.url.clone(),
        build: Some(record),
        file: partial.join(RECORD),
    }));
    steps.push(Box::new(Remove { folder: work }));
    let title = format!(
        "building the kernel {label} for {arch}, once, into {}: some minutes of work, 1 GB of disk meanwhile",
        cache.path(&name).display()
    );
    Ok(Task::new(title, vec![Box::new(CacheEntry::new(cache.clone(), name, steps))]).live(arch.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::kernels::{KERNELS, Source};
    use crate::sys::plan;

    /// The kernels that are built, each with its own options.
    fn built() -> impl Iterator<Item = (&'static Kernel, &'static ConfigFile)> {
        KERNELS.iter().filter_map(|kernel| match &kernel.source {
            Source::Built(own) => Some((kernel, own)),
            Source::Debian(_) => None,
        })
    }

    fn planned(folder: &str, arch: &str, label: &str) -> Result<String> {
        let mirror = Mirror {
            url: "http://mirror.example/debian".into(),
            keyring: "/keys.gpg".into(),
            acquire: "Acquire::http::Proxy \"http://proxy.example\";\n".into(),
        };
        let tools = BuildTools { compiler: "clang".into(), pahole: "v1".into(), jobs: 3 };
        let passed_on = [("PATH".to_owned(), "/usr/bin".to_owned()), ("CARGO_BUILD_JOBS".to_owned(), "3".to_owned())];
        let (kernel, own) = built().find(|(kernel, _)| kernel.arch.name == arch && kernel.label == label).unwrap();
        let cache = Cache { folder: folder.into() };
        Ok(plan::script(&[build(&cache, &passed_on.into(), &mirror, &tools, kernel, own, None)?]))
    }

    #[test]
    fn the_code_of_other_architectures_is_left_packed_and_its_own_is_not() {
        let script = planned("/cache", "loong64", "linux-6.12-btf").unwrap();
        for (folder, excluded) in [("loongarch", false), ("mips", true), ("arm64", true), ("x86", true)] {
            let option = format!("--exclude=linux-source-6.12/arch/{folder}/*.[chS]");
            assert_eq!(script.contains(&option), excluded, "{folder}");
        }
        for (kernel, _) in built() {
            assert!(ARCH_FOLDERS.contains(&kernel.arch.linux), "{}", kernel.arch);
        }
    }

    #[test]
    fn a_kernel_is_built_by_one_compiler_in_a_known_environment_and_gently() {
        let script = planned("/cache", "loong64", "linux-6.12-btf").unwrap();
        let build = script.lines().find(|line| line.ends_with(" vmlinux)")).unwrap();
        let environment = "env -i KBUILD_BUILD_HOST=bpfship KBUILD_BUILD_TIMESTAMP=1970-01-01 \
                           KBUILD_BUILD_USER=bpfship LC_ALL=C PATH=/usr/bin";
        assert!(build.contains(environment), "{build}");
        assert!(build.ends_with(" nice make --jobs 3 'ARCH=loongarch' 'LLVM=-19' vmlinux)"), "{build}");
    }

    #[test]
    fn all_of_it_happens_in_a_folder_that_goes_away() {
        let script = planned("/cache", "mips", "linux-6.12-btf").unwrap();
        let (kernel, _) = built().find(|(kernel, _)| kernel.arch.name == "mips").unwrap();
        let partial = format!("/cache/{}.partial", kernel.entry(None));
        for line in script.lines().filter(|line| line.starts_with("(cd ")) {
            assert!(line.starts_with(&format!("(cd {partial}/work")), "{line}");
        }
        for part in [
            "deb [signed-by=/keys.gpg] http://mirror.example/debian trixie main",
            "Acquire::http::Proxy",
            "apt-get --quiet download linux-source-6.12",
            "KCONFIG_ALLCONFIG=",
            "CONFIG_CPU_BIG_ENDIAN=y",
            "allnoconfig",
            &format!("vmlinux {partial}/kernel)"),
            &format!("rm -rf {partial}/work\n"),
        ] {
            assert!(script.contains(part), "{part} is not in\n{script}");
        }
    }

    #[test]
    fn a_folder_that_makefiles_do_not_take_is_refused() {
        let error = planned("/my cache", "mips", "linux-6.12-btf").unwrap_err().to_string();
        assert!(error.ends_with("set BPFSHIP_CACHE to another folder"), "{error}");
    }

    #[test]
    fn no_option_is_asked_for_twice() {
        for (kernel, own) in built() {
            let options = recipe::options(kernel.arch, own);
            let mut names: Vec<&str> = recipe::listed(&options).filter_map(|line| line.split('=').next()).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{} {}", kernel.arch, kernel.label);
        }
    }
}
