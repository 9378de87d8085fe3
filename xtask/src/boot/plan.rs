//! What `boot` will do, as data: decided from the facts alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};

use crate::arch::Target;
use crate::boot::facts::Host;
use crate::boot::guest_package::{self, GUEST};
use crate::boot::kernels::plan::Means;
use crate::boot::kernels::{self, Btf, Source};
use crate::boot::machines::{self, Load};
use crate::boot::memory::Memory;
use crate::boot::run::{BootGuest, Booted, Outcome, PrepareImage, WriteCarried, WriteReport};
use crate::boot::select::{Guest, Origin};
use crate::build;
use crate::build::run::Built;
use crate::release::boot_report;
use crate::release::manifest::Artifact;
use crate::release::run::TakeBinaries;
use crate::sys::command::{Command, word};
use crate::sys::plan::{Slot, Step, Steps, Task};
use crate::sys::steps::{Copy, Run, Write};
use crate::workspace::facts::Facts;
use crate::workspace::products::{BTF, Product};

/// Where the first process moves BTF that it hides.
const BTF_FILE: &str = "/tmp/vmlinux.btf";

/// Everything that one run does, and where its results are afterwards.
#[derive(Debug)]
pub struct Plan {
    pub tasks: Vec<Task>,
    /// In the order of the guests.
    pub outcomes: Vec<Slot<Outcome>>,
    /// What is added to the report.
    pub added: Slot<Vec<boot_report::Boot>>,
}

/// What guests have in common.
struct Shared<'a> {
    facts: &'a Facts,
    host: &'a Host,
    memory: Arc<Memory>,
    /// The first process.
    built: Slot<Built>,
    /// By the names of their archives.
    binaries: BTreeMap<&'a str, Slot<BTreeMap<String, Vec<u8>>>>,
}

/// Plans to boot these guests. `released` is all that is in dist/.
pub fn plan(facts: &Facts, host: &Host, released: &[Artifact], guests: &[Guest]) -> Result<Plan> {
    let dist = facts.dist.clone();
    let kernels = kernels(facts, host, guests)?;
    let (build, built) = first_process(facts, host, guests)?;
    let binaries: BTreeMap<&str, Slot<_>> =
        guests.iter().map(|guest| (guest.artifact.file.as_str(), Slot::default())).collect();
    let taken = released.iter().filter_map(|artifact| {
        let binaries = binaries.get(artifact.file.as_str())?.clone();
        Some(Box::new(TakeBinaries { dist: dist.clone(), artifact: artifact.clone(), binaries }) as Box<dyn Step>)
    });
    let mut tasks = vec![Task::new("taking the binaries out of the archives", taken.collect())];
    tasks.extend(build);
    tasks.extend(kernels);

    let shared = Shared { facts, host, memory: Arc::new(Memory::new(host.memory)), built, binaries };
    let mut booted = Vec::new();
    for (number, guest) in guests.iter().enumerate() {
        let (task, result) = shared.boot(guest, number)?;
        tasks.push(task);
        booted.push(result);
    }
    let outcomes = booted.iter().map(|booted| booted.outcome.clone()).collect();
    let added = Slot::default();
    let archives = released.iter().map(|artifact| artifact.sha256).collect();
    let report = WriteReport { dist, archives, boots: booted, added: added.clone() };
    tasks.push(Task::new("writing the report", vec![Box::new(report)]));
    Ok(Plan { tasks, outcomes, added })
}

impl Shared<'_> {
    /// Plans to boot one guest, and its entry in the report.
    fn boot(&self, guest: &Guest, number: usize) -> Result<(Task, Booted)> {
        let Guest { arch, artifact, label, machine, btf, kvm, .. } = guest;
        let config = &self.facts.config;
        let qemu_version = match self.host.qemu.get(arch.name) {
            Some(Ok(version)) => version.clone(),
            Some(Err(status)) => bail!("{}", status.sentence()),
            None => bail!("the version of {} was not read", arch.emulator()),
        };
        let folder = folder(self.facts, guest, number);
        let KernelFiles { image, device_tree } = kernel_files(self.facts, guest, &folder);
        let initramfs = folder.join("initramfs.gz");
        let load = Load { kernel: &image, initramfs: &initramfs, device_tree: device_tree.as_deref() };
        let qemu = Command::new(arch.emulator(), Path::new("/"))
            .only(self.facts.passed_on.clone())
            .args(machines::arguments(machine, arch, load, *kvm));
        let Some(archive) = config.archives.iter().find(|archive| archive.name == artifact.archive) else {
            bail!("dist/ has {}, which this workspace does not ship: run `cargo xtask dist` again", artifact.file);
        };
        let all = archive.products.iter().map(|product| (product, words(product, *btf)));
        let (mut words, mut commands): (Vec<Vec<String>>, Vec<String>) = (Vec::new(), Vec::new());
        for (product, own) in all {
            let end = product.boot.interrupt_after.iter().map(|text| format!(", interrupted after `{text}`"));
            let end: String = end.collect();
            let variables: String = product.boot.environment().map(|variable| word(&variable) + " ").collect();
            commands.extend(own.iter().map(|words| variables.clone() + &command_line(words) + &end));
            words.extend(own);
        }
        let has = |bin: &String| artifact.binaries.iter().any(|binary| binary.file == *bin);
        if let Some(missing) = words.iter().filter_map(|words| words.first()).find(|bin| !has(bin)) {
            bail!("{} has no binary {missing}: run `cargo xtask dist` again", artifact.file);
        }
        let outcome = Slot::default();
        let boot = BootGuest {
            guest: guest.clone(),
            words,
            commands: commands.clone(),
            hide_btf: (*btf == Btf::Hidden).then(|| BTF_FILE.into()),
            interrupt_after: archive
                .products
                .iter()
                .filter_map(|product| product.boot.interrupt_after.clone())
                .collect(),
            environment: archive.products.first().into_iter().flat_map(|it| it.boot.environment()).collect(),
            timeout: archive.products.iter().map(|product| product.boot.timeout).sum(),
            first_process: GUEST.into(),
            initramfs,
            qemu,
            memory: self.memory.clone(),
            built: self.built.clone(),
            binaries: self.binaries[artifact.file.as_str()].clone(),
            outcome: outcome.clone(),
        };
        let task = Task::new(format!("booting {} on {label}", artifact.file), vec![Box::new(boot)]);
        let booted = Booted { guest: guest.clone(), commands, image, qemu_version, outcome };
        Ok((task.live(arch.name).beside("guests"), booted))
    }
}

/// Plans to build the first process for the targets of the guests.
fn first_process(facts: &Facts, host: &Host, guests: &[Guest]) -> Result<(Vec<Task>, Slot<Built>)> {
    let mut targets: Vec<Target> = Vec::new();
    for guest in guests {
        if targets.iter().all(|(arch, _)| *arch != guest.arch) {
            targets.push((guest.arch, guest.route()));
        }
    }
    let folder = facts.work.join(GUEST);
    let mut tasks =
        vec![Task::new("writing the package of the guests' first process", package(facts, host, &folder, &targets)?)];
    let (build, built) = build::plan::helper(facts, &folder.join("Cargo.toml"), GUEST, &targets)?;
    tasks.extend(build);
    Ok((tasks, built))
}

/// Writes the package of the first process. The versions of its dependencies are those of the workspace's Cargo.lock, if
/// that has them, or of this tool's; cargo reduces either to what is needed.
fn package(facts: &Facts, host: &Host, folder: &Path, targets: &[Target]) -> Result<Steps> {
    let manifest = folder.join("Cargo.toml");
    let fetch = Command::new(facts.rust.cargo(), &facts.root)
        .env("RUSTC", facts.rust.rustc().to_string_lossy())
        .env("CARGO_HOME", facts.cargo_home.to_string_lossy())
        .args(["fetch", "--quiet", "--manifest-path"])
        .arg(manifest.to_string_lossy())
        .args(facts.offline.then_some("--offline"))
        .args(targets.iter().flat_map(|(arch, _)| ["--target", arch.triple]));
    let to = folder.join("Cargo.lock");
    let lock: Box<dyn Step> = match host.lock {
        Some(sha256) => Box::new(Copy { from: facts.sources.workspace.join("Cargo.lock"), to, sha256 }),
        None => Box::new(WriteCarried { folder: folder.into(), files: &[("Cargo.lock", guest_package::LOCK)] }),
    };
    Ok(vec![
        Box::new(Write { file: manifest, text: guest_package::manifest()? }),
        Box::new(WriteCarried { folder: folder.into(), files: &guest_package::SOURCES }),
        lock,
        Box::new(Run(fetch)),
    ])
}

/// Plans to have the kernels at the paths of [`kernel_files`], and to keep them there.
fn kernels(facts: &Facts, host: &Host, guests: &[Guest]) -> Result<Vec<Task>> {
    let means = Means {
        cache: &facts.cache,
        passed_on: &facts.passed_on,
        offline: facts.offline,
        mirror: host.mirror.as_ref(),
        build_tools: host.build_tools.as_ref(),
        instead: "boot one of your own with --kernel FILE",
    };
    let mut tasks = Vec::new();
    let mut wanted = Vec::new();
    for (number, guest) in guests.iter().enumerate() {
        match &guest.origin {
            Origin::Table(kernel, pin) => wanted.push((*kernel, pin.as_ref())),
            Origin::File(file) => {
                let to = kernel_files(facts, guest, &folder(facts, guest, number)).image;
                let step = PrepareImage { from: file.clone(), arch: guest.arch, to };
                tasks.push(
                    Task::new(format!("preparing the kernel {}", guest.label), vec![Box::new(step)]).beside("kernels"),
                );
            }
        }
    }
    tasks.extend(kernels::plan::get(&means, &facts.installed.cached, wanted)?);
    Ok(tasks)
}

/// The folder with the files of one guest.
fn folder(facts: &Facts, guest: &Guest, number: usize) -> PathBuf {
    facts.work.join("boot").join(format!("{}-{number}", guest.arch))
}

/// What QEMU is given of a kernel.
struct KernelFiles {
    image: PathBuf,
    device_tree: Option<PathBuf>,
}

fn kernel_files(facts: &Facts, guest: &Guest, folder: &Path) -> KernelFiles {
    match &guest.origin {
        Origin::File(_) => KernelFiles { image: folder.join("kernel"), device_tree: None },
        Origin::Table(kernel, pin) => {
            let entry = facts.cache.path(&kernel.entry(pin.as_ref()));
            let device_tree = match &kernel.source {
                Source::Debian(package) => package.device_tree.map(|_| entry.join(kernels::DEVICE_TREE)),
                Source::Built(_) => None,
            };
            KernelFiles { image: entry.join(kernels::IMAGE), device_tree }
        }
    }
}

/// What is run of a product in a guest, one command after the other: its first binary, and what that is given.
fn words(product: &Product, btf: Btf) -> Vec<Vec<String>> {
    let mut commands = product.boot.commands.clone();
    if btf == Btf::Hidden {
        let with_file = |words: &Vec<String>| words.iter().map(|word| word.replace(BTF, BTF_FILE)).collect();
        commands.extend(product.boot.btf_commands.iter().map(with_file));
    }
    commands.into_iter().map(|words| product.bins.iter().take(1).cloned().chain(words).collect()).collect()
}

/// A command as a user would type it.
fn command_line(words: &[String]) -> String {
    words.iter().map(|it| word(it)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::boot::kernels::from_source::BuildTools;
    use crate::boot::kernels::lock::Lock;
    use crate::boot::select::tests::{artifact, label};
    use crate::boot::select::{self, KernelArg, Selection};
    use crate::debian::apt::Mirror;
    use crate::release::plan::tests::{facts, product};
    use crate::sys::{self, hash};
    use crate::ui::status::{State, Status};
    use crate::workspace::products::Boot;

    /// A machine that has everything.
    fn host() -> Host {
        Host {
            qemu: ["amd64", "arm64", "mips"].map(|arch| (arch, Ok("10.0.2".into()))).into(),
            mirror: Some(Ok(Mirror {
                url: "http://mirror.example/debian".into(),
                keyring: "/keys.gpg".into(),
                acquire: String::new(),
            })),
            build_tools: Some(Ok(BuildTools { compiler: "clang 19".into(), pahole: "v1".into(), jobs: 2 })),
            memory: None,
            lock: Some(hash::bytes(b"9")),
        }
    }

    fn lack(detail: &str) -> Status {
        Status::new(State::NeedsYou, detail)
    }

    fn planned(facts: &Facts, host: &Host, arches: &[&str], selection: &Selection) -> Result<Plan> {
        let released: Vec<Artifact> = arches.iter().map(|arch| artifact(arch)).collect();
        let guests = select::guests(&released, &[], selection, &Lock::default())?;
        plan(facts, host, &released, &guests)
    }

    fn script(arches: &[&str], selection: &Selection) -> String {
        sys::plan::script(&planned(&facts(), &host(), arches, selection).unwrap().tasks)
    }

    #[track_caller]
    fn refused(facts: &Facts, host: &Host, arch: &str, sentence: &str) {
        let error = planned(facts, host, &[arch], &Selection::Defaults).unwrap_err().to_string();
        assert!(error.contains(sentence), "{error}");
    }

    /// How often a line of a script begins so.
    fn count(script: &str, start: &str) -> usize {
        script.lines().filter(|line| line.starts_with(start)).count()
    }

    #[test]
    fn binaries_are_checked_before_anything_is_built_and_the_report_is_written_last() {
        let plan = planned(&facts(), &host(), &["amd64", "mips"], &Selection::Defaults).unwrap();
        let titles: Vec<&str> = plan.tasks.iter().map(|task| task.title.as_str()).collect();
        assert_eq!(titles.first(), Some(&"taking the binaries out of the archives"));
        let boots = [
            "booting tool-1.0.0-x86_64-unknown-linux-musl.tar.gz on debian-13-6.12",
            "booting tool-1.0.0-mips-unknown-linux-musl.tar.gz on linux-6.12-btf",
            "writing the report",
        ];
        assert_eq!(titles[titles.len() - 3..], boots);
        assert_eq!(plan.outcomes.len(), 2);
    }

    #[test]
    fn the_first_process_is_one_package_for_all_targets_with_the_versions_of_the_workspace() {
        let script = script(&["amd64", "arm64"], &Selection::All);
        let folder = "/home/ann/tool/target/bpfship/guest";
        let sources = format!("# write to {folder} what this program carries: src/main.rs, src/lib.rs");
        assert!(script.contains(&sources), "{script}");
        assert!(
            script
                .contains(&format!("cp /home/ann/tool/target/bpfship/snapshot/source/Cargo.lock {folder}/Cargo.lock")),
            "{script}"
        );
        let builds: Vec<&str> =
            script.lines().filter(|line| line.starts_with('(') && line.contains("--bin guest")).collect();
        let targets = "--target x86_64-unknown-linux-musl --target aarch64-unknown-linux-musl";
        assert!(builds.len() == 1 && builds[0].contains(targets) && builds[0].contains("--offline"), "{builds:?}");
    }

    #[test]
    fn a_kernel_is_fetched_once_and_not_at_all_if_it_is_in_the_cache() {
        let both = Selection::Named(["debian-13-6.12", "debian-13-6.12-hidden-btf"].map(label).into());
        let text = script(&["amd64"], &both);
        assert_eq!(count(&text, "# fetching the kernel debian-13-6.12 for amd64"), 1, "{text}");
        assert_eq!(count(&text, "# booting"), 2, "{text}");
        let mut cached = facts();
        cached.installed.cached.insert(kernels::default_of(Arch::named("amd64")).entry(None));
        let nothing = Host { mirror: None, build_tools: None, ..host() };
        let text = sys::plan::script(&planned(&cached, &nothing, &["amd64"], &both).unwrap().tasks);
        assert_eq!(count(&text, "# fetching"), 0, "{text}");
        assert_eq!(count(&text, "# checking kernel-amd64-debian-13-6.12-"), 1, "{text}");
    }

    #[test]
    fn a_file_of_the_users_is_booted_in_the_form_that_qemu_takes() {
        let text = script(&["mips"], &Selection::Named(vec![KernelArg::File("/tmp/vmlinux".into())]));
        let image = "/home/ann/tool/target/bpfship/boot/mips-0/kernel";
        assert_eq!(count(&text, &format!("# write /tmp/vmlinux to {image}")), 1, "{text}");
        assert!(text.contains(&format!("-kernel {image}")) && count(&text, "# fetching") == 0, "{text}");
    }

    #[test]
    fn what_is_missing_is_named_with_the_kernel_that_needs_it() {
        let offline = Facts { offline: true, ..facts() };
        refused(&offline, &host(), "amd64", "--offline, but the kernel debian-13-6.12 for amd64 is not in the cache");
        let no_apt = Host { mirror: Some(Err(lack("there is no apt-get"))), ..host() };
        refused(&facts(), &no_apt, "arm64", "for arm64 comes from Debian's packages, and there is no apt-get; or boot");
        let no_tools = Host { build_tools: Some(Err(lack("there is no flex"))), ..host() };
        refused(&facts(), &no_tools, "mips", "the kernel linux-6.12-btf for mips must be built, and there is no flex");
        let no_qemu = Host { qemu: [("amd64", Err(lack("there is no QEMU")))].into(), ..host() };
        refused(&facts(), &no_qemu, "amd64", "there is no QEMU");
    }

    #[test]
    fn the_file_of_btf_is_for_guests_in_which_btf_is_hidden() {
        let words = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        let btf_commands = vec![words("--self-test --btf={btf}")];
        let product = product("tool", &["probe", "other"]);
        let product = Product { boot: Boot { btf_commands, ..product.boot.clone() }, ..product };
        let with_file = [words("probe --version"), words("probe --self-test --btf=/tmp/vmlinux.btf")];
        assert_eq!(super::words(&product, Btf::Hidden), with_file);
        for btf in [Btf::Yes, Btf::None] {
            assert_eq!(super::words(&product, btf), with_file[..1]);
        }
    }

    #[test]
    fn every_product_of_an_archive_is_started_and_what_is_not_shipped_any_more_is_refused() {
        let mut facts = facts();
        facts.config.archives[0].products.push(product("more", &["probe2"]));
        let error = planned(&facts, &host(), &["amd64"], &Selection::Defaults).unwrap_err().to_string();
        assert_eq!(
            error,
            "tool-1.0.0-x86_64-unknown-linux-musl.tar.gz has no binary probe2: run `cargo xtask dist` again"
        );
        facts.config.archives[0].products[1].bins = vec!["probe".into()];
        let plan = planned(&facts, &host(), &["amd64"], &Selection::Defaults).unwrap();
        let script = sys::plan::script(&plan.tasks);
        assert!(script.contains("what to run: probe --version; probe --version\n"), "{script}");
        facts.config.archives[0].name = "other".into();
        refused(&facts, &host(), "amd64", "which this workspace does not ship: run `cargo xtask dist` again");
    }
}
