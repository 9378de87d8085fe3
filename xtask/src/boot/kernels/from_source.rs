//! Kernels that nobody has as a package: built from Debian's sources, once, with the options that a proof needs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Error, Result, bail};
use serde::Serialize;

use crate::arch::{Arch, ConfigFile, config_file};
use crate::boot::facts::Mirror;
use crate::boot::kernels::debian::{IMAGE, RECORD};
use crate::boot::kernels::{Kernel, apt, build_tools, options};
use crate::sys::cache::Cache;
use crate::sys::command::Command;
use crate::sys::process::Runner;
use crate::sys::step::{Step, quote};
use crate::sys::{files, hash};
use crate::ui::error::Failed;
use crate::ui::screen::Line;

/// Debian's package of the kernel's sources, and the suite that has it.
const PACKAGE: &str = "linux-source-6.12";
const SUITE: &str = "trixie";

/// Whose list of packages is read: a package of sources is for all architectures.
const INDEX: &str = "amd64";

/// Stands for whatever is not said by the rest of a kernel's key: count it up when the way of building changes.
const RECIPE: u32 = 1;

/// The options of every kernel that is built.
const COMMON: ConfigFile = config_file!("common.config");

/// What makes the kernel that QEMU takes of the ELF file that make leaves.
const ELF: &[&str] = &["--strip-all"];
const RAW: &[&str] = &["--strip-all", "--output-target=binary", "--remove-section=.note*", "--remove-section=.comment"];

/// Folders of the sources whose code is for other hardware or other file systems, and left packed: unpacking and removing
/// files takes its time, and there are 90,000 of them. The configuration reads what else lies there.
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

/// How a kernel is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub arch: &'static Arch,
    label: &'static str,
    /// Its name in the cache.
    pub name: String,
    mirror: String,
    /// Where all of it happens; it goes away.
    work: PathBuf,
    /// What gets the package of the sources into `work/apt`.
    fetch: Vec<Step>,
    /// Takes the sources' archive out of the package, whose file is put behind `--extract`, into `work`.
    open: Command,
    unpack: Vec<Step>,
    /// What writes `configuration`.
    configure: Vec<Step>,
    configuration: PathBuf,
    /// The options that it must have then, and where they come from.
    #[serde(skip)]
    options: String,
    lists: Vec<&'static str>,
    build: Command,
    /// What leaves the kernel in `IMAGE`.
    strip: Command,
    /// The compiler, asked for nothing; and what asks for versions.
    compiler: Command,
    versions: [Command; 2],
}

/// Where a kernel in the cache comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    #[serde(flatten)]
    pub source: apt::Record,
    /// SHA-256 of the list of options.
    pub options: String,
    pub compiler: String,
    pub pahole: String,
}

/// All that a kernel is made from but the last numbers of versions, for its name in the cache.
pub fn key(arch: &Arch, own: &ConfigFile) -> String {
    format!("{RECIPE}\0{SUITE}\0{PACKAGE}\0clang {}\0{}", build_tools::LLVM, options(arch, own))
}

/// The files of a kernel's options.
fn option_files(arch: &Arch, own: &ConfigFile) -> Vec<ConfigFile> {
    [COMMON, *own].into_iter().chain(arch.kernel_build.as_ref().map(|build| build.options)).collect()
}

/// The options of a kernel, one a line, without the comments: those do not count for its name.
fn options(arch: &Arch, own: &ConfigFile) -> String {
    let files = option_files(arch, own);
    files.iter().flat_map(|file| options::wanted(file.text)).flat_map(|option| [option, "\n"]).collect()
}

/// Plans to build a kernel. `passed_on` is what a build sees of the user's environment.
pub fn plan(
    cache: &Cache,
    passed_on: &BTreeMap<String, String>,
    mirror: &Mirror,
    kernel: &'static Kernel,
    own: &ConfigFile,
) -> Result<Plan> {
    let Kernel { arch, label, .. } = kernel;
    let Some(build) = &arch.kernel_build else { bail!("no kernel can be built for {arch}") };
    let name = kernel.entry();
    let partial = cache.partial(&name);
    let text = |path: &Path| path.to_string_lossy().into_owned();
    if text(&partial).contains([' ', ':']) {
        bail!(
            "a kernel cannot be built in {}, for its makefiles know no spaces or colons in names: \
             set BPFSHIP_CACHE to another folder",
            cache.folder.display()
        );
    }
    let work = partial.join("work");
    let source = work.join("source");
    let apt = work.join("apt");
    let list = work.join("options");
    let configuration = source.join(".config");

    let mut fetch = apt::update(&apt, mirror, SUITE, INDEX);
    fetch.push(Step::Run(apt::command("apt-get", &apt).args(["--quiet", "download", PACKAGE])));
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

    let jobs = match passed_on.get("CARGO_BUILD_JOBS") {
        Some(jobs) => jobs.clone(),
        None => thread::available_parallelism().map_or(1, usize::from).to_string(),
    };
    let mut environment: BTreeMap<String, String> =
        ["PATH", "TMPDIR"].into_iter().filter_map(|name| Some((name.into(), passed_on.get(name)?.clone()))).collect();
    // What a kernel tells of who built it, and when.
    for (name, value) in [
        ("LC_ALL", "C"),
        ("KBUILD_BUILD_USER", crate::NAME),
        ("KBUILD_BUILD_HOST", crate::NAME),
        ("KBUILD_BUILD_TIMESTAMP", "1970-01-01"),
    ] {
        environment.insert(name.into(), value.into());
    }
    let tool = |program: &str, folder: &Path| Command::new(program, folder).only(environment.clone());
    let make = || {
        tool("nice", &source)
            .args(["make", "--jobs", &jobs])
            .arg(format!("ARCH={}", arch.linux))
            .arg(format!("LLVM=-{}", build_tools::LLVM))
    };
    let compiler = tool(&format!("clang-{}", build_tools::LLVM), Path::new("/"));
    Ok(Plan {
        arch,
        label,
        name,
        mirror: mirror.url.clone(),
        fetch,
        open: Command::new("dpkg-deb", &apt).arg("--extract"),
        unpack: vec![Step::Run(unpack)],
        configure: vec![
            Step::Write { file: list.clone(), text: options(arch, own) },
            // Nothing is on but what the list names and what that cannot be without.
            Step::Run(make().arg("allnoconfig").env("KCONFIG_ALLCONFIG", text(&list))),
        ],
        configuration,
        options: options(arch, own),
        lists: option_files(arch, own).iter().map(|file| file.name).collect(),
        build: make().arg("vmlinux"),
        strip: tool(&format!("llvm-objcopy-{}", build_tools::LLVM), &source)
            .args(if build.raw { RAW } else { ELF }.iter().copied())
            .arg("vmlinux")
            .arg(text(&partial.join(IMAGE))),
        versions: [compiler.clone(), tool("pahole", Path::new("/"))].map(|command| command.arg("--version")),
        compiler,
        work,
    })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# build the kernel {} for {} from Debian's {PACKAGE}, once", self.label, self.arch)?;
        for step in &self.fetch {
            writeln!(f, "{step}")?;
        }
        writeln!(f, "{}", self.open.clone().args(["PACKAGE.deb", &self.work.to_string_lossy()]))?;
        for step in self.unpack.iter().chain(&self.configure) {
            writeln!(f, "{step}")?;
        }
        writeln!(f, "# see that {} has every option\n{}", quote(&self.configuration), self.build)?;
        writeln!(f, "{}\n# keep {IMAGE} as {} in the cache", self.strip, self.name)
    }
}

/// Builds a kernel, unless it is in the cache, and tells where it is.
pub fn get(runner: Runner, cache: &Cache, plan: &Plan, line: &Line) -> Result<PathBuf> {
    let made = cache.get(runner, &plan.name, |folder| {
        build_tools::check(runner, &plan.compiler)?;
        runner.status(format!(
            "building the kernel {} for {}, once, into {}: some minutes of work, 1 GB of disk meanwhile",
            plan.label,
            plan.arch,
            cache.path(&plan.name).display()
        ));
        line.set(PACKAGE);
        runner.perform(&plan.fetch)?;
        let apt = plan.work.join("apt");
        let (package, source) = apt::downloaded(&apt, PACKAGE, SUITE, &plan.mirror)?;
        let record = record(runner, plan, source)?;
        line.set(&format!("unpacking {PACKAGE}"));
        runner.run(&plan.open.clone().args([&package, &*plan.work.to_string_lossy()]))?;
        runner.perform(&plan.unpack)?;
        line.set("configuring");
        runner.perform(&plan.configure)?;
        check_options(plan, &record)?;
        build(runner, &plan.build, line)?;
        line.set("stripping");
        runner.run(&plan.strip)?;
        files::write(&folder.join(RECORD), format!("{:#}\n", serde_json::to_value(record)?))?;
        files::remove_folder(&plan.work)
    });
    Ok(made.with_context(|| format!("cannot build the kernel {} for {}", plan.label, plan.arch))?.join(IMAGE))
}

fn record(runner: Runner, plan: &Plan, source: apt::Record) -> Result<Record> {
    let [compiler, pahole] = &plan.versions;
    let first_line = |command: &Command| -> Result<String> {
        Ok(runner.read(command)?.lines().next().unwrap_or_default().trim().to_owned())
    };
    Ok(Record {
        source,
        options: hash::bytes(plan.options.as_bytes()),
        compiler: first_line(compiler)?,
        pahole: first_line(pahole)?,
    })
}

/// The configuration leaves out without a word what cannot be had.
fn check_options(plan: &Plan, record: &Record) -> Result<()> {
    let configuration = files::read_if_there(&plan.configuration)?.unwrap_or_default();
    match options::unmet(&plan.options, &configuration) {
        Some(option) => bail!(
            "{PACKAGE} {} cannot be configured with `{option}`, as one of {} in boot/kernels/config asks: \
             give the list what that option depends on ({}, pahole {})",
            record.source.version,
            plan.lists.join(", "),
            record.compiler,
            record.pahole
        ),
        None => Ok(()),
    }
}

/// Runs make, and shows what it is at.
fn build(runner: Runner, command: &Command, line: &Line) -> Result<()> {
    let mut said = String::new();
    let mut files = 0;
    let status = runner.lines(command, |text| {
        if let Some(file) = object_of(text) {
            files += 1;
            line.set(&format!("{files} files, {file}"));
        } else {
            // Without the others, among which what is wrong would not be seen.
            said.push_str(text);
            said.push('\n');
        }
    })?;
    if !status.success() {
        return Err(Error::new(Failed::of("make", status, said)));
    }
    Ok(())
}

/// What make makes, in a line like `  CC      mm/slub.o`. The kernel's own tools have their whole paths.
fn object_of(line: &str) -> Option<&str> {
    let mut words = line.strip_prefix("  ")?.split_whitespace();
    let (Some(_), Some(object), None) = (words.next(), words.next(), words.next()) else { return None };
    object.rsplit('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::kernels::{KERNELS, Source};
    use crate::sys::command::Environment;

    /// The kernels that are built, each with its own options.
    fn built() -> impl Iterator<Item = (&'static Kernel, &'static ConfigFile)> {
        KERNELS.iter().filter_map(|kernel| match &kernel.source {
            Source::Built(own) => Some((kernel, own)),
            Source::Debian(_) => None,
        })
    }

    fn planned(folder: &str, arch: &str, label: &str) -> Result<Plan> {
        let mirror = Mirror {
            url: "http://mirror.example/debian".into(),
            keyring: "/keys.gpg".into(),
            acquire: "Acquire::http::Proxy \"http://proxy.example\";\n".into(),
        };
        let passed_on = [("PATH".to_owned(), "/usr/bin".to_owned()), ("CARGO_BUILD_JOBS".to_owned(), "3".to_owned())];
        let (kernel, own) = built().find(|(kernel, _)| kernel.arch.name == arch && kernel.label == label).unwrap();
        plan(&Cache { folder: folder.into() }, &passed_on.into(), &mirror, kernel, own)
    }

    #[test]
    fn the_code_of_other_architectures_is_left_packed_and_its_own_is_not() {
        let printed = planned("/cache", "loong64", "linux-6.12-btf").unwrap().to_string();
        for (folder, excluded) in [("loongarch", false), ("mips", true), ("arm64", true), ("x86", true)] {
            assert_eq!(
                printed.contains(&format!("--exclude=linux-source-6.12/arch/{folder}/*.[chS]")),
                excluded,
                "{folder}"
            );
        }
        for (kernel, _) in built() {
            assert!(ARCH_FOLDERS.contains(&kernel.arch.linux), "{}", kernel.arch);
        }
    }

    #[test]
    fn a_kernel_is_built_by_one_compiler_in_a_known_environment_and_gently() {
        let plan = planned("/cache", "loong64", "linux-6.12-btf").unwrap();
        assert_eq!(plan.build.args, ["make", "--jobs", "3", "ARCH=loongarch", "LLVM=-19", "vmlinux"], "{}", plan.build);
        assert_eq!(plan.build.program, Path::new("nice"));
        let Environment::Only(environment) = &plan.build.environment else { panic!("the user's environment") };
        let names: Vec<&str> = environment.keys().map(String::as_str).collect();
        let told = ["KBUILD_BUILD_HOST", "KBUILD_BUILD_TIMESTAMP", "KBUILD_BUILD_USER"];
        assert_eq!(names, [&told[..], &["LC_ALL", "PATH"]].concat());
    }

    #[test]
    fn all_of_it_happens_in_a_folder_that_goes_away() {
        let plan = planned("/cache", "mips", "linux-6.12-btf").unwrap();
        let name = &plan.name;
        assert_eq!(plan.work, Path::new("/cache").join(format!("{name}.partial/work")));
        for folder in [&plan.open.folder, &plan.build.folder, &plan.strip.folder] {
            assert!(folder.starts_with(&plan.work), "{}", folder.display());
        }
        let printed = plan.to_string();
        for part in [
            "deb [signed-by=/keys.gpg] http://mirror.example/debian trixie main",
            "Acquire::http::Proxy",
            "apt-get --quiet download linux-source-6.12",
            "KCONFIG_ALLCONFIG=",
            "CONFIG_CPU_BIG_ENDIAN=y",
            "allnoconfig",
            &format!("{name}.partial/kernel)"),
        ] {
            assert!(printed.contains(part), "{part} is not in\n{printed}");
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
            let options = options(kernel.arch, own);
            let mut names: Vec<&str> = options::wanted(&options).filter_map(|line| line.split('=').next()).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{} {}", kernel.arch, kernel.label);
        }
    }

    #[test]
    fn what_make_is_at_is_told_by_its_lines() {
        assert_eq!(object_of("  CC      mm/slub.o"), Some("slub.o"));
        assert_eq!(object_of("make[1]: Entering directory"), None);
        assert_eq!(object_of("  mm/slub.c: In function"), None);
    }
}
