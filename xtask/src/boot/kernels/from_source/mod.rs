//! Kernels that nobody has as a package: built from Debian's sources, once, with the options that a proof needs.

mod options;
mod tools;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Error, Result, bail};
use serde::Serialize;

use crate::arch::Arch;
use crate::boot::facts::Mirror;
use crate::boot::kernels::apt;
use crate::boot::kernels::debian::{IMAGE, RECORD};
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

/// One kernel that is built.
#[derive(Debug)]
struct Row {
    arch: &'static str,
    /// The word for it on the command line.
    label: &'static str,
    /// The kernel's own word for the architecture.
    kernel_arch: &'static str,
    /// Its options besides those that all have.
    lists: [List; 2],
    /// What makes the kernel that QEMU takes of the ELF file that make leaves.
    strip: &'static [&'static str],
}

/// An ELF file.
const ELF: &[&str] = &["--strip-all"];
/// As arm64's `Image`: QEMU gives a device tree to no other.
const RAW: &[&str] = &["--strip-all", "--output-target=binary", "--remove-section=.note*", "--remove-section=.comment"];

/// A file of options, and what it says.
type List = (&'static str, &'static str);

const COMMON: List = ("common.config", include_str!("common.config"));
const BTF: List = ("btf.config", include_str!("btf.config"));
const NO_BPF_EVENTS: List = ("no-bpf-events.config", include_str!("no-bpf-events.config"));
const ARM64: List = ("arm64.config", include_str!("arm64.config"));
const LOONG64: List = ("loong64.config", include_str!("loong64.config"));
const MIPS: List = ("mips.config", include_str!("mips.config"));

#[rustfmt::skip]
const ROWS: [Row; 4] = [
    Row { arch: "arm64", label: "linux-6.12-no-bpf-events", kernel_arch: "arm64", lists: [NO_BPF_EVENTS, ARM64], strip: RAW },
    Row { arch: "loong64", label: "linux-6.12-btf", kernel_arch: "loongarch", lists: [BTF, LOONG64], strip: ELF },
    Row { arch: "mips", label: "linux-6.12-btf", kernel_arch: "mips", lists: [BTF, MIPS], strip: ELF },
    Row { arch: "mips", label: "linux-6.12-no-bpf-events", kernel_arch: "mips", lists: [NO_BPF_EVENTS, MIPS], strip: ELF },
];

/// Folders of the sources whose code is for other hardware or other file systems, and left packed: unpacking and removing
/// files takes its time, and there are 90,000 of them. The configuration reads what else lies there.
const OTHER_CODE: [&str; 44] = [
    "arch/[!alm]*",
    "arch/alpha",
    "arch/arc",
    "arch/arm",
    "arch/m68k",
    "arch/microblaze",
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
const OTHER_FILES: [&str; 5] =
    ["Documentation/[!K]*", "arch/[!lm]*/*.dts*", "tools/net/*", "tools/perf/*", "tools/testing/*"];

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
    lists: [&'static str; 3],
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

/// The name of a kernel in the cache, which says all that it is made from but the last numbers of versions; none if no such
/// kernel is built for this architecture.
pub fn name(arch: &str, label: &str) -> Option<String> {
    let row = row(arch, label)?;
    let key = format!("{RECIPE}\0{SUITE}\0{PACKAGE}\0clang {}\0{}", tools::LLVM, options(row));
    Some(format!("kernel-{arch}-{label}-{}", &hash::bytes(key.as_bytes())[..16]))
}

fn row(arch: &str, label: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.arch == arch && row.label == label)
}

/// The options of a kernel, one a line, without the comments: those do not count for its name.
fn options(row: &Row) -> String {
    let [own, machine] = row.lists;
    let lists = [COMMON, own, machine].into_iter();
    lists.flat_map(|(_, list)| options::wanted(list)).flat_map(|option| [option, "\n"]).collect()
}

/// Plans to build a kernel. `passed_on` is what a build sees of the user's environment.
pub fn plan(
    cache: &Cache,
    passed_on: &BTreeMap<String, String>,
    mirror: &Mirror,
    arch: &'static Arch,
    label: &str,
) -> Result<Plan> {
    let (Some(row), Some(name)) = (row(arch.name, label), name(arch.name, label)) else {
        bail!("there is no list of options to build a kernel {label} for {arch} with");
    };
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
            .arg(format!("ARCH={}", row.kernel_arch))
            .arg(format!("LLVM=-{}", tools::LLVM))
    };
    let compiler = tool(&format!("clang-{}", tools::LLVM), Path::new("/"));
    Ok(Plan {
        arch,
        label: row.label,
        name,
        mirror: mirror.url.clone(),
        fetch,
        open: Command::new("dpkg-deb", &apt).arg("--extract"),
        unpack: vec![Step::Run(unpack)],
        configure: vec![
            Step::Write { file: list.clone(), text: options(row) },
            // Nothing is on but what the list names and what that cannot be without.
            Step::Run(make().arg("allnoconfig").env("KCONFIG_ALLCONFIG", text(&list))),
        ],
        configuration,
        options: options(row),
        lists: [COMMON, row.lists[0], row.lists[1]].map(|(file, _)| file),
        build: make().arg("vmlinux"),
        strip: tool(&format!("llvm-objcopy-{}", tools::LLVM), &source)
            .args(row.strip.iter().copied())
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
        tools::check(runner, &plan.compiler)?;
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
            "{PACKAGE} {} cannot be configured with `{option}`, as one of {} in xtask/src/boot asks: \
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
    use std::collections::BTreeSet;
    use std::str::FromStr;

    use super::*;
    use crate::sys::command::Environment;

    fn arch(name: &str) -> &'static Arch {
        <&Arch>::from_str(name).unwrap()
    }

    fn planned(folder: &str, arch: &'static Arch, label: &str) -> Result<Plan> {
        let mirror = Mirror {
            url: "http://mirror.example/debian".into(),
            keyring: "/keys.gpg".into(),
            acquire: "Acquire::http::Proxy \"http://proxy.example\";\n".into(),
        };
        let passed_on = [("PATH".to_owned(), "/usr/bin".to_owned()), ("CARGO_BUILD_JOBS".to_owned(), "3".to_owned())];
        plan(&Cache { folder: folder.into() }, &passed_on.into(), &mirror, arch, label)
    }

    #[test]
    fn a_kernel_without_a_list_of_options_is_not_built() {
        assert_eq!(name("amd64", "linux-6.12-btf"), None);
        let error = planned("/cache", arch("amd64"), "linux-6.12-btf").unwrap_err().to_string();
        assert_eq!(error, "there is no list of options to build a kernel linux-6.12-btf for amd64 with");
    }

    #[test]
    fn each_has_a_name_of_its_own() {
        let mips = name("mips", "linux-6.12-btf").unwrap();
        assert!(mips.starts_with("kernel-mips-linux-6.12-btf-") && mips.len() == 27 + 16, "{mips}");
        let hash = |row: &Row| name(row.arch, row.label).unwrap().rsplit('-').next().map(String::from);
        assert_eq!(ROWS.iter().map(hash).collect::<BTreeSet<_>>().len(), ROWS.len());
    }

    #[test]
    fn a_kernel_is_built_by_one_compiler_in_a_known_environment_and_gently() {
        let plan = planned("/cache", arch("loong64"), "linux-6.12-btf").unwrap();
        assert_eq!(plan.build.args, ["make", "--jobs", "3", "ARCH=loongarch", "LLVM=-19", "vmlinux"], "{}", plan.build);
        assert_eq!(plan.build.program, Path::new("nice"));
        let Environment::Only(environment) = &plan.build.environment else { panic!("the user's environment") };
        let names: Vec<&str> = environment.keys().map(String::as_str).collect();
        let told = ["KBUILD_BUILD_HOST", "KBUILD_BUILD_TIMESTAMP", "KBUILD_BUILD_USER"];
        assert_eq!(names, [&told[..], &["LC_ALL", "PATH"]].concat());
    }

    #[test]
    fn all_of_it_happens_in_a_folder_that_goes_away() {
        let plan = planned("/cache", arch("mips"), "linux-6.12-btf").unwrap();
        let name = name("mips", "linux-6.12-btf").unwrap();
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
        let error = planned("/my cache", arch("mips"), "linux-6.12-btf").unwrap_err().to_string();
        assert!(error.ends_with("set BPFSHIP_CACHE to another folder"), "{error}");
    }

    #[test]
    fn no_option_is_asked_for_twice() {
        for row in &ROWS {
            let options = options(row);
            let mut names: Vec<&str> = options::wanted(&options).filter_map(|line| line.split('=').next()).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{} {}", row.arch, row.label);
        }
    }

    #[test]
    fn what_make_is_at_is_told_by_its_lines() {
        assert_eq!(object_of("  CC      mm/slub.o"), Some("slub.o"));
        assert_eq!(object_of("make[1]: Entering directory"), None);
        assert_eq!(object_of("  mm/slub.c: In function"), None);
    }
}
