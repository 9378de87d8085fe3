//! `cargo xtask boot`: released binaries on real kernels, and each way in which that can fail.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use bpfship::testing::boot_report::SCHEMA;
use bpfship::testing::kernels::{self, Source};
use bpfship::testing::pack::{self, Entry};
use bpfship::testing::{ARCHES, Arch};
use serde_json::{Value, json};

use super::exectrace::{arches as shipped, built};
use super::support::{Run, Workspace, has, list, own_root};

/// A copy of this workspace, with archives that were built in another one. `timeout` is in seconds.
fn workspace(name: &str, timeout: u32) -> Workspace {
    let copy = Workspace::copy_of_our_own(name);
    let table = "[workspace.metadata.bpfship.boot]\n";
    let config = copy.read("Cargo.toml");
    assert!(config.contains(table));
    let copy = copy.write("Cargo.toml", &config.replace(table, &format!("{table}timeout = {timeout}\n")));
    fs::create_dir_all(copy.path("dist")).unwrap();
    for name in list(&built().dist).iter().filter(|name| built().dist.join(name).is_file()) {
        fs::copy(built().dist.join(name), copy.path("dist").join(name)).unwrap();
    }
    copy
}

pub fn is_on_path(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap()).any(|folder| folder.join(program).is_file())
}

pub fn can_boot(arch: &Arch) -> bool {
    let emulator = arch.emulator();
    has(&emulator, "Debian: apt install qemu-system, version 10 from backports", is_on_path(&emulator))
        && has("apt-get", "a Debian machine", is_on_path("apt-get"))
}

/// Whether this machine can boot what was built for PCs.
pub fn can_boot_amd64() -> bool {
    can_boot(amd64())
}

/// Whether the kernel of an architecture is there, or can be built.
fn can_build(arch: &Arch) -> bool {
    let kernel = kernels::default_of(arch);
    let cache = bpfship::testing::Cache::find().unwrap();
    !matches!(kernel.source, Source::Built(_))
        || cache.path(&kernel.entry(None)).exists()
        || has(
            "clang-19",
            "docs/own-kernels.md shows how to build a kernel",
            is_on_path("clang-19") && is_on_path("pahole"),
        )
}

/// What the report says, by architecture and label.
pub fn verdicts(workspace: &Workspace) -> BTreeMap<(String, String), Value> {
    let report: Value = serde_json::from_str(&workspace.read("dist/boot-report.json")).unwrap();
    let boots = report["boots"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    boots.map(|boot| ((text(&boot["arch"]), text(&boot["kernel"]["label"])), boot["verdict"]["is"].clone())).collect()
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn every_released_binary_works_on_a_kernel_of_its_architecture() {
    let arches: Vec<&Arch> = shipped().filter(|arch| can_boot(arch) && can_build(arch)).collect();
    if arches.is_empty() {
        return;
    }
    let copy = workspace("boot", 180);
    let _ = fs::remove_file(copy.path("dist/boot-report.json"));
    let flags: String = arches.iter().map(|arch| format!(" --arch {arch}")).collect();
    copy.xtask(&format!("boot{flags}")).succeeds().says("artifact").says("verdict");
    let pass = |arch: &&Arch| {
        let kernel = kernels::default_of(arch);
        let verdict = if kernel.btf == kernels::Btf::Yes { "pass" } else { "gaps" };
        ((arch.name.to_owned(), kernel.label.to_owned()), verdict.into())
    };
    assert_eq!(verdicts(&copy), arches.iter().map(pass).collect());

    copy.xtask("verify --require-boot dist").ends_with(if arches.len() == shipped().count() { 0 } else { 1 });
    let archive = |arch: &Arch| format!("exectrace-{}-{}.tar.gz", env!("CARGO_PKG_VERSION"), arch.triple);
    copy.xtask(&format!("verify --require-boot dist/{}", archive(arches[0]))).succeeds().says("boot-report.json");

    // What is booted again takes the place of what was known, and the rest stays.
    copy.xtask(&format!("boot --offline --arch {}", arches[0])).succeeds();
    assert_eq!(verdicts(&copy).len(), arches.len());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_workspace_that_depends_on_the_tool_boots_its_own_application() {
    if !can_boot_amd64() {
        return;
    }
    let workspace = with_tool(Workspace::usual("boot adopter"));
    workspace.xtask("dist --arch amd64").succeeds();
    let result = workspace.xtask("boot --json").succeeds().json();
    assert!(result["schema"] == 1 && result["boots"][0]["verdict"]["is"] == "pass", "{result}");
    let verdicts: Vec<_> = verdicts(&workspace).into_values().collect();
    assert_eq!(verdicts, ["pass"]);

    // Its dependencies are those of the workspace, and no others.
    let lock: toml::Table = workspace.read("Cargo.lock").parse().unwrap();
    let reduced: toml::Table = workspace.read("target/bpfship/guest/Cargo.lock").parse().unwrap();
    let versions = |lock: &toml::Table| -> BTreeSet<(String, String)> {
        let text = |package: &toml::Value, key: &str| package[key].as_str().unwrap().to_owned();
        let packages = lock["package"].as_array().unwrap().iter();
        packages.map(|package| (text(package, "name"), text(package, "version"))).collect()
    };
    let own = ("guest".to_owned(), "0.0.0".to_owned());
    let foreign: Vec<_> = versions(&reduced).into_iter().filter(|package| *package != own).collect();
    assert!(foreign.len() > 2 && foreign.len() < 30, "{foreign:?}");
    assert!(foreign.iter().all(|package| versions(&lock).contains(package)), "{foreign:?}");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_guest_whose_btf_is_hidden_is_given_it_as_a_file() {
    if !can_boot_amd64() {
        return;
    }
    let copy = workspace("boot-hidden", 180);
    copy.xtask("boot --arch amd64 --kernel debian-13-6.12-hidden-btf").succeeds().says("hidden");
    let report: Value = serde_json::from_str(&copy.read("dist/boot-report.json")).unwrap();
    let boot = &report["boots"][0];
    assert!(boot["kernel"]["btf"].is_null(), "{boot}");
    assert!(boot["kernel"]["hidden_btf"].as_u64().unwrap() > 1_000_000, "{boot}");
    let commands = ["exectrace --version", "exectrace --self-test", "exectrace --self-test --btf /tmp/vmlinux.btf"];
    assert_eq!(boot["commands"], json!(commands));
}

fn amd64() -> &'static Arch {
    ARCHES.iter().find(|arch| arch.name == "amd64").unwrap()
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_binary_with_the_object_of_the_other_byte_order_fails_and_so_does_a_damaged_initramfs() {
    if !can_boot_amd64() {
        return;
    }
    let copy = workspace("boot-altered", 180);
    // The initramfs is damaged behind the tool's back.
    let path = env::var_os("PATH").unwrap();
    let mut programs = env::split_paths(&path).map(|folder| folder.join("qemu-system-x86_64"));
    let real = programs.find(|file| file.is_file()).unwrap();
    let damage = format!(
        "for word; do [ \"$last\" = -initrd ] && file=$word; last=$word; done\n\
         [ -n \"$file\" ] && dd if=/dev/zero of=\"$file\" bs=1 seek=5000 count=3000 conv=notrunc 2>/dev/null\n\
         exec '{}' \"$@\"",
        real.display()
    );
    let damaged = |line| Run::of(copy.command(line).env("PATH", path_with(&copy, "damage", &damage)));
    damaged("boot --arch amd64")
        .ends_with(1)
        .says("FAIL")
        .says("1 of 1 boots failed:\n  amd64 on debian-13-6.12: kernel panic: ");

    swap_object(&copy);
    copy.xtask("boot --arch amd64")
        .ends_with(1)
        .says("the console of amd64 on debian-13-6.12:\n  init: ")
        .says("amd64 on debian-13-6.12: `exectrace --self-test` failed (exit code 1)");
    assert!(verdicts(&copy).values().all(|verdict| verdict == "fail"));
    copy.xtask("verify --require-boot dist")
        .ends_with(1)
        .says("boot-report.json has a failure on debian-13-6.12")
        .says("boot-report.json contains no kernel on which it passed: run `cargo xtask boot`");
}

/// Gives the released binary the BPF object of the other byte order.
fn swap_object(copy: &Workspace) {
    let mut manifest: Value = serde_json::from_str(&copy.read("dist/release.json")).unwrap();
    let artifacts = manifest["artifacts"].as_array_mut().unwrap();
    let artifact = artifacts.iter_mut().find(|artifact| artifact["arch"] == "amd64").unwrap();
    let file = artifact["file"].as_str().unwrap().to_owned();
    let top = file.strip_suffix(".tar.gz").unwrap();
    let mut binary = fs::read(built().dist.join(top).join("exectrace")).unwrap();
    let object = |suffix: &str| fs::read(own_root().join(format!("bpf/objects/exectrace_{suffix}.o"))).unwrap();
    let (right, wrong) = (object("bpfel"), object("bpfeb"));
    let at = binary.windows(right.len()).position(|bytes| bytes == right).unwrap();
    let length = right.len().min(wrong.len());
    binary[at..at + length].copy_from_slice(&wrong[..length]);

    artifact["binaries"][0]["sha256"] = bpfship::testing::hash::bytes(&binary).to_string().into();
    let files = [("exectrace".to_owned(), Entry { bytes: binary, executable: true })].into();
    let archive = pack::gzip(&pack::tar(top, &files, 0).unwrap()).unwrap();
    artifact["sha256"] = bpfship::testing::hash::bytes(&archive).to_string().into();
    fs::write(copy.path("dist").join(&file), archive).unwrap();
    fs::write(copy.path("dist/release.json"), manifest.to_string()).unwrap();
}

/// A PATH on which a script stands in for QEMU.
fn path_with(copy: &Workspace, name: &str, script: &str) -> String {
    let folder = copy.path("stubs").join(name);
    fs::create_dir_all(&folder).unwrap();
    let version = "[ \"$1\" = --version ] && { echo 'QEMU emulator version 10.0.0 (none)'; exit; }";
    write_program(&folder, "qemu-system-x86_64", &format!("{version}\n{script}"));
    format!("{}:{}", folder.display(), env::var("PATH").unwrap())
}

fn write_program(folder: &Path, name: &str, script: &str) {
    let program = folder.join(name);
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Writes a file called `image` that is taken for a kernel of amd64.
fn write_image(workspace: &Workspace) {
    let magic = amd64().kernel_magic.as_ref().unwrap();
    let image = [&vec![0; magic.offset], magic.bytes, &[0; 100]].concat();
    fs::write(workspace.path("image"), image).unwrap();
}

/// A workspace for QEMUs that are none, with something that is taken for a kernel, called `image`.
fn stub() -> &'static Workspace {
    static STUB: OnceLock<Workspace> = OnceLock::new();
    STUB.get_or_init(|| {
        let copy = workspace("boot-stub", 3);
        write_image(&copy);
        copy
    })
}

const STUB: &str = "boot --arch amd64 --kernel image";

fn with_stub(name: &str, script: &str) -> Run {
    Run::of(stub().command(STUB).env("PATH", path_with(stub(), name, script)))
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_kernel_that_hangs_is_ended_and_nothing_of_it_is_left() {
    let pid = stub().path("hangs.pid");
    let script = format!("echo 'Linux version 6'; echo $$ >'{}'; exec sleep 1000", pid.display());
    with_stub("hangs", &script)
        .ends_with(1)
        .says("the console of amd64 on image:\n  Linux version 6\n")
        .says("amd64 on image: nothing came from init within 3 s: the kernel hangs");
    assert!(!is_running(&pid));
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_package_that_the_mirror_lists_and_has_not_got_gives_way_to_the_one_before_it() {
    if !has("apt-get", "a Debian machine", is_on_path("apt-get")) {
        return;
    }
    let path = path_with(stub(), "apt", "exit 1");
    let folder = stub().path("stubs/apt");
    fs::create_dir_all(folder.join("boot")).unwrap();
    // An earlier run has left the kernel in it.
    let cache = stub().path("cache");
    let _ = fs::remove_dir_all(&cache);
    fs::copy(stub().path("image"), folder.join("boot/vmlinuz-6.1.0-9-cloud-amd64")).unwrap();
    let download = "case \"$*\" in\n\
                    *download*-50-*) echo 'Err:1'; echo '  404  Not Found [IP: 192.0.2.1 80]'; exit 100;;\n\
                    *download*) touch linux-image-6.1.0-9-cloud-amd64_6.1.9-1_amd64.deb;;\n\
                    esac";
    write_program(&folder, "apt-get", download);
    write_program(&folder, "apt-cache", "echo linux-image-6.1.0-9-cloud-amd64\necho linux-image-6.1.0-50-cloud-amd64");
    write_program(&folder, "dpkg-deb", &format!("tar --create --directory='{}' boot", folder.display()));
    let mut boot = stub().command("boot --arch amd64 --kernel debian-12-6.1");
    boot.env("PATH", path).env("BPFSHIP_CACHE", cache);
    boot.env("BPFSHIP_DEBIAN_MIRROR", "http://mirror.example/debian");
    Run::of(&mut boot)
        .ends_with(1)
        .says("lists linux-image-6.1.0-50-cloud-amd64 and does not have it: taking the one before it")
        .says("amd64 on debian-12-6.1: QEMU failed (exit code 1) before init started");
    let report: Value = serde_json::from_str(&stub().read("dist/boot-report.json")).unwrap();
    let mut boots = report["boots"].as_array().unwrap().iter();
    let boot = boots.find(|boot| boot["kernel"]["label"] == "debian-12-6.1").unwrap();
    assert_eq!(boot["kernel"]["source"]["package"], "linux-image-6.1.0-9-cloud-amd64");
    assert_eq!(boot["kernel"]["source"]["version"], "6.1.9-1");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_pinned_kernel_is_booted_and_no_other() {
    if !has("apt-get", "a Debian machine", is_on_path("apt-get")) {
        return;
    }
    let workspace = small("boot pins");
    write_image(&workspace);
    let path = path_with(&workspace, "apt", "exit 1");
    let folder = workspace.path("stubs/apt");
    fs::create_dir_all(folder.join("boot")).unwrap();
    fs::copy(workspace.path("image"), folder.join("boot/vmlinuz-6.1.0-9-cloud-amd64")).unwrap();
    let download = "case \"$*\" in\n\
                    *=6.1.9-1) touch linux-image-6.1.0-9-cloud-amd64_6.1.9-1_amd64.deb;;\n\
                    *download*) echo 'E: there is no such version'; exit 100;;\n\
                    esac";
    write_program(&folder, "apt-get", download);
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let cache = format!(
        "case $1 in\n\
         pkgnames) for version in 5.10.0-1 6.1.0-9 6.1.0-8 6.12.3 6.18.3; do echo linux-image-$version-cloud-amd64; done\n\
           echo linux-binary-7.1-cloud-amd64;;\n\
         show) printf 'Version: 6.1.9-1\\nSHA256: {empty}\\n';;\n\
         esac"
    );
    write_program(&folder, "apt-cache", &cache);
    write_program(&folder, "dpkg-deb", &format!("tar --create --directory='{}' boot", folder.display()));
    let run = |line: &str| {
        let mut command = workspace.command(line);
        command.env("PATH", &path).env("BPFSHIP_DEBIAN_MIRROR", "http://mirror.example/debian");
        Run::of(&mut command)
    };

    run("kernels --update --arch amd64").succeeds().says("kernels.lock: 5 pins have changed");
    run("kernels --update --arch amd64").succeeds().says("kernels.lock pins the newest packages already");
    let pinned = format!("kernel amd64 debian-12-6.1 linux-image-6.1.0-9-cloud-amd64 6.1.9-1 {empty}\n");
    let lock = workspace.read("kernels.lock");
    assert!(lock.contains(&pinned) && lock.lines().count() == 6, "{lock}");

    let boot = "boot --arch amd64 --kernel debian-12-6.1";
    run(boot).ends_with(1).says("amd64 on debian-12-6.1: QEMU failed (exit code 1) before init started");
    let report: Value = serde_json::from_str(&workspace.read("dist/boot-report.json")).unwrap();
    assert_eq!(report["boots"][0]["kernel"]["source"]["version"], "6.1.9-1");

    // So do other verbs.
    let vmlinux = "vmlinux amd64 --kernel debian-12-6.1 --offline";
    run(vmlinux).ends_with(1).says("/kernel-amd64-debian-12-6.1-pinned-");
    let listed = run("cache --json").succeeds().json();
    let entries: Vec<&Value> = listed["entries"].as_array().unwrap().iter().collect();
    let pinned_entry = entries.iter().find(|entry| entry["name"].as_str().unwrap().contains("-pinned-")).unwrap();
    assert_eq!(pinned_entry["state"], "in-use");

    for (altered, sentence) in [
        (
            pinned.replace("6.1.9-1", "6.1.8-1"),
            "pins linux-image-6.1.0-9-cloud-amd64 6.1.8-1, which http://mirror.example/debian",
        ),
        (pinned.replace("e3b0", "e3b1"), "and what was downloaded has e3b0c442"),
    ] {
        fs::remove_dir_all(workspace.path("cache")).unwrap();
        fs::write(workspace.path("kernels.lock"), altered).unwrap();
        run(boot).ends_with(1).says(sentence);
    }
    fs::write(workspace.path("kernels.lock"), "kernel amd64\n").unwrap();
    run(boot).ends_with(2).says("kernels.lock cannot be read: `kernel amd64` is not understood").in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn garbage_and_what_a_program_forges_are_no_pass() {
    let script = "printf 'x\\000\\377\\033[2J<init 0 0 done>\\n<init 9 0123456789abcdef done>\\n\\033[31mred'";
    with_stub("garbage", script)
        .ends_with(1)
        .says("FAIL")
        .says("QEMU ended before init started")
        .says_nothing_of("\x1b[2J");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_qemu_itself_complains_of_is_shown() {
    with_stub("complains", "echo 'qemu-system-x86_64: unsupported machine type' >&2; exit 1")
        .ends_with(1)
        .says("amd64 on image: QEMU failed (exit code 1): unsupported machine type");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn qemu_ends_with_the_tool_even_if_that_is_killed() {
    let pid = stub().path("killed.pid");
    let _ = fs::remove_file(&pid);
    let script =
        format!("echo $$ >'{}.new' && mv '{}.new' '{}'; exec sleep 1000", pid.display(), pid.display(), pid.display());
    let mut tool = stub().command(STUB).env("PATH", path_with(stub(), "killed", &script)).spawn().unwrap();
    let begin = Instant::now();
    while !pid.exists() {
        // The build of init comes first, and other tests in this workspace.
        assert!(begin.elapsed() < Duration::from_secs(300) && tool.try_wait().unwrap().is_none());
        thread::sleep(Duration::from_millis(10));
    }
    assert!(is_running(&pid));
    tool.kill().unwrap();
    tool.wait().unwrap();
    let killed = Instant::now();
    while is_running(&pid) {
        assert!(killed.elapsed() < Duration::from_secs(2), "it is left behind");
        thread::sleep(Duration::from_millis(10));
    }
}

fn is_running(pid: &Path) -> bool {
    let pid = fs::read_to_string(pid).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

/// A small workspace with one archive, ready to be booted but for what a test takes away. Nothing is built for that.
fn small(name: &str) -> Workspace {
    let workspace = Workspace::usual(name);
    workspace.xtask("dist --arch amd64").succeeds();
    let cache = workspace.path("cache").to_str().unwrap().to_owned();
    workspace.env("BPFSHIP_CACHE", &cache)
}

/// The workspace with a member that depends on the tool, as that of whoever ships with it.
pub fn with_tool(workspace: Workspace) -> Workspace {
    let members = "members = [\"tool\"";
    let config = workspace.read("Cargo.toml");
    assert!(config.contains(members));
    let manifest = format!(
        "[package]\nname = \"xtask\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [dependencies]\nbpfship = {{ path = '{}' }}\n",
        own_root().join("xtask").display()
    );
    let main = "fn main() -> std::process::ExitCode {\n    bpfship::main()\n}\n";
    let workspace = workspace
        .write("Cargo.toml", &config.replace(members, &format!("{members}, \"xtask\"")))
        .write("xtask/Cargo.toml", &manifest)
        .write("xtask/src/main.rs", main)
        .write("Cargo.lock", &fs::read_to_string(own_root().join("Cargo.lock")).unwrap());
    workspace.shell("cargo update --workspace --offline --quiet").succeeds();
    workspace
}

/// A PATH with all programs of this machine but those whose names begin so.
fn path_without(workspace: &Workspace, start: &str) -> String {
    let folder = workspace.path("without");
    fs::create_dir_all(&folder).unwrap();
    let mut programs: BTreeMap<String, PathBuf> = BTreeMap::new();
    for part in env::split_paths(&env::var_os("PATH").unwrap()).filter(|part| part.is_dir()) {
        for name in list(&part) {
            programs.entry(name.clone()).or_insert(part.join(name));
        }
    }
    for (name, program) in programs.iter().filter(|(name, _)| !name.starts_with(start)) {
        symlink(program, folder.join(name)).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

#[test]
fn without_the_emulator_one_sentence_shows_how_to_install_it() {
    let workspace = with_tool(small("boot no qemu"));
    write_image(&workspace);
    Run::of(workspace.command("boot --kernel image").env("PATH", path_without(&workspace, "qemu-system-")))
        .ends_with(1)
        .says("there is no qemu-system-x86_64 on this machine: apt install qemu-system (Debian)")
        .in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn without_apt_one_sentence_names_the_other_way() {
    let workspace = small("boot no apt");
    Run::of(workspace.command("boot").env("PATH", path_without(&workspace, "apt-get")))
        .ends_with(1)
        .says(
            "the kernel debian-13-6.12 for amd64 comes from Debian's packages, and there is no apt-get on this machine",
        )
        .says("--kernel FILE")
        .in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn offline_a_kernel_must_be_there() {
    small("boot offline")
        .xtask("boot --offline")
        .ends_with(1)
        .says("--offline, but the kernel debian-13-6.12 for amd64 is not in the cache: run this once without --offline")
        .in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_cannot_be_booted_is_refused_before_any_work() {
    let workspace = small("boot requests").write("text", "#!/bin/sh\n");
    write_image(&workspace);
    for (line, sentence) in [
        ("boot --kernel text", "cannot be booted: it is no kernel for amd64, nor one in a form that is known"),
        ("boot --kernel debain-13-6.12", "did you mean `debian-13-6.12`?"),
        ("boot --kernel debian-13-6.12-16k", "there is no `debian-13-6.12-16k` for amd64"),
        ("boot --kernel dist", "dist is a folder"),
        ("boot --arch mips", "dist/ has no tarball for mips: run `cargo xtask dist --arch mips`"),
    ] {
        workspace.xtask(line).ends_with(2).says(sentence).in_one_line();
    }
    fs::remove_file(workspace.path("dist/release.json")).unwrap();
    workspace.xtask("boot").ends_with(2).says("there is no release yet").says("run `cargo xtask dist`").in_one_line();
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_pass_with_gaps_is_a_pass_and_a_failure_or_the_report_of_another_version_is_none() {
    let workspace = small("boot verified");
    let manifest: Value = serde_json::from_str(&workspace.read("dist/release.json")).unwrap();
    let artifact = &manifest["artifacts"][0];
    let report = |schema: u32, verdict: Value| {
        let boot = json!({
            "arch": "amd64", "file": artifact["file"], "sha256": artifact["sha256"],
            "binaries": { "probe": artifact["binaries"][0]["sha256"] }, "qemu": "10.0", "machine": "q35", "cpu": "qemu64",
            "kernel": { "label": "a-kernel", "sha256": "0".repeat(64), "release": "6.12" },
            "commands": [], "verdict": verdict, "seconds": 1.0, "date": "2026-11-22T10:00:00Z",
        });
        fs::write(workspace.path("dist/boot-report.json"), json!({ "schema": schema, "boots": [boot] }).to_string())
            .unwrap();
        workspace.xtask("verify --require-boot dist")
    };
    report(SCHEMA, json!({ "is": "gaps", "why": ["the uid"] })).succeeds();
    report(SCHEMA, json!({ "is": "fail", "why": "it hung" })).ends_with(1).says("has a failure on a-kernel: it hung");
    // There, a gap was a program that refused the kernel.
    report(1, json!({ "is": "gap", "why": "no BTF" }))
        .ends_with(1)
        .says("boot-report.json is none that this version understands");
}

#[test]
fn a_wrong_configuration_is_refused() {
    for (value, sentence) in [
        ("commands = []", "`commands` in [workspace.metadata.bpfship.boot] of Cargo.toml is empty"),
        ("commands = [\"--name 'x\"]", "has `--name 'x`, which no shell would take as one line"),
        (
            "btf-commands = [\"--btf\"]",
            "`btf-commands` in [workspace.metadata.bpfship.boot] of Cargo.toml has a command without {btf}",
        ),
        (
            "timeout = 0",
            "`timeout` in [workspace.metadata.bpfship.boot] of Cargo.toml is 0; a number of seconds from 1 to 86400",
        ),
        ("comands = []", "did you mean `commands`?"),
    ] {
        let config = format!("package = \"tool\"\nbpf.folder = \"kernel\"\nboot.{value}\n");
        Workspace::new("boot config", &config).xtask("boot").ends_with(2).says(sentence).in_one_line();
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn an_archive_that_was_altered_is_not_booted() {
    let copy = stub();
    // Only this test reads this one.
    let archive =
        copy.path("dist").join(format!("exectrace-{}-mips-unknown-linux-musl.tar.gz", env!("CARGO_PKG_VERSION")));
    fs::write(&archive, "altered").unwrap();
    let image = copy.path("mips-image");
    fs::copy(
        built().dist.join(format!("exectrace-{}-mips-unknown-linux-musl/exectrace", env!("CARGO_PKG_VERSION"))),
        &image,
    )
    .unwrap();
    let path = path_with(copy, "mips", "exit 1");
    let folder = copy.path("stubs/mips");
    fs::copy(folder.join("qemu-system-x86_64"), folder.join("qemu-system-mips")).unwrap();
    Run::of(copy.command("boot --arch mips --kernel mips-image").env("PATH", path))
        .ends_with(1)
        .says("does not match release.json: run `cargo xtask dist` again");
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_plan_has_every_command_and_nothing_of_it_is_done() {
    // It does not depend on the tool.
    let workspace = small("boot plan");
    if can_boot(amd64()) {
        workspace
            .xtask("boot --plan")
            .succeeds()
            .says("what this program carries: src/main.rs")
            .says("what this program carries: Cargo.lock")
            .says("--package guest --bin guest --target x86_64-unknown-linux-musl")
            .says("apt-get --quiet update")
            .says("PACKAGE=$( (cd ")
            .says(" | sort -V | tail -n 1)\n")
            .says("-M q35 -accel tcg -cpu qemu64 -m 512");
        let plan = workspace.xtask("boot --plan --json").succeeds().json();
        let tasks = plan["tasks"].as_array().unwrap();
        let boot = &tasks[tasks.len() - 2]["steps"][0]["boot-guest"];
        assert_eq!(boot["kernel"], "debian-13-6.12");
        assert_eq!(boot["run"]["args"][1], "-M");
    }
    assert!(!workspace.path("cache").exists() && !workspace.path("target/bpfship/boot").exists());
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_shell_that_runs_the_printed_plan_fetches_a_kernel() {
    if !can_boot_amd64() {
        return;
    }
    let workspace = small("boot script");
    let plan = workspace.xtask("boot --plan").succeeds().text();
    let fetch = plan.lines().skip_while(|line| !line.starts_with("# fetching the kernel"));
    let fetch = fetch.take_while(|line| !line.starts_with("# keep ")).filter(|line| !line.starts_with("rm -rf"));
    let script: String = fetch.map(|line| format!("{line}\n")).collect();
    workspace.shell(&format!("set -e\n{script}")).succeeds();
    let entry = kernels::default_of(amd64()).entry(None);
    let kernel = fs::read(workspace.path("cache").join(format!("{entry}.partial/kernel"))).unwrap();
    let magic = amd64().kernel_magic.as_ref().unwrap();
    assert_eq!(&kernel[magic.offset..][..magic.bytes.len()], magic.bytes);
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_kernels_are_listed_for_people_and_as_json() {
    let workspace = Workspace::empty("boot kernels");
    workspace
        .xtask("kernels")
        .succeeds()
        .says("debian-13-6.12")
        .says("debian-13-6.12-hidden-btf  hidden")
        .says("raspi3b")
        .says("built from Debian's linux-source");
    let kernels = workspace.xtask("kernels --json").succeeds().json();
    let kernels = &kernels["kernels"];
    assert_eq!(kernels.as_array().unwrap().len(), kernels::KERNELS.len());
    assert_eq!(kernels[0]["label"], "debian-13-6.12");
    assert_eq!(kernels[0]["arch"], "amd64");
    workspace.xtask("boot --list").ends_with(2).says("cargo xtask kernels");
}

#[test]
fn the_list_in_the_guide_is_the_one_in_the_code() {
    let guide = fs::read_to_string(own_root().join("docs/kernels.md")).unwrap();
    let mut table = String::from(
        "| `--arch` | `--kernel` | from | QEMU's machine | processor | BTF |\n|---|---|---|---|---|---|\n",
    );
    for kernel in &kernels::KERNELS {
        let from = match &kernel.source {
            Source::Debian(package) => format!("Debian {}: `{}`", package.suite, package.name),
            Source::Built(_) => "Debian's `linux-source`, built here".into(),
        };
        let default = if kernel.default { ", the default" } else { "" };
        let (arch, label, btf) = (kernel.arch, kernel.label, kernel.btf.word());
        let (machine, cpu) = (kernel.machine.name, kernel.machine.cpu(arch));
        table += &format!("| `{arch}` | `{label}`{default} | {from} | `{machine}` | `{cpu}` | {btf} |\n");
    }
    assert!(guide.contains(&table), "docs/kernels.md wants this table:\n{table}");
    super::support::knows_the_commands(&guide);
}
