//! The real thing: exectrace for all architectures, started on the oldest processor that each promises, and put to
//! work on this machine's kernel.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::support::{Run, Workspace, follow_links, has, own_root};
use bpfship::testing::{ARCHES, Arch};

/// What it is shipped for: all but the architecture that aya has no bindings for.
pub fn arches() -> impl Iterator<Item = &'static Arch> {
    ARCHES.iter().filter(|arch| arch.name != "386")
}

/// All archives, those that must be named included, made once from a copy of this workspace and unpacked.
pub struct Built {
    pub dist: PathBuf,
    /// What the run printed that made those of the usual architectures.
    text: String,
}

pub fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let copy = Workspace::copy_of_our_own("exectrace");
        let text = copy.xtask("dist --locked").succeeds().text();
        let others: Vec<&str> = arches().filter(|arch| !arch.by_default).map(|arch| arch.name).collect();
        assert!(others.iter().all(|arch| !text.contains(&format!("-{arch}-"))), "{text}");
        copy.xtask(&format!("dist --locked --arch {}", others.join(","))).succeeds();
        copy.shell("cd dist && sha256sum -c SHA256SUMS && for archive in *.tar.gz; do tar xzf $archive; done")
            .succeeds();
        Built { dist: copy.path("dist"), text }
    })
}

fn binary(arch: &Arch) -> PathBuf {
    let stem = format!("exectrace-{}-{}", env!("CARGO_PKG_VERSION"), arch.triple);
    built().dist.join(stem).join("exectrace")
}

/// The words of a line, with `#` for every number and hash.
fn shape(line: &str) -> String {
    let is_number = |word: &str| word.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '.');
    line.split_whitespace().map(|word| if is_number(word) { "#" } else { word }).collect::<Vec<_>>().join(" ")
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_documentation_shows_what_dist_prints() {
    let page = std::fs::read_to_string(own_root().join("docs/commands.md")).unwrap();
    let (_, after) = page.split_once("$ cargo xtask dist\n").expect("no block that shows it");
    let printed: Vec<String> = built().text.lines().map(shape).collect();
    for line in after.lines().take_while(|line| *line != "```") {
        let shown = shape(line);
        assert!(printed.iter().any(|printed| printed.ends_with(&shown)), "{line} is not among:\n{}", built().text);
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_commands_for_a_raspberry_pi_fit_the_archive() {
    let readme = std::fs::read_to_string(own_root().join("README.md")).unwrap();
    let words = readme.lines().filter_map(|line| line.strip_prefix("$ ")).flat_map(str::split_whitespace);
    let named: Vec<&str> = words.filter(|word| word.starts_with("exectrace-")).collect();
    assert_eq!(named.len(), 3, "{named:?}");
    for word in named {
        assert!(built().dist.join(word).is_file(), "{word} is not there");
    }
}

/// Whoever unpacks an archive has nothing else of ours.
#[test]
#[ignore = "long: --include-ignored runs it"]
fn what_the_documents_of_an_archive_name_is_in_it() {
    for arch in arches() {
        let folder = binary(arch).parent().unwrap().to_owned();
        for page in ["README.md", "CHANGELOG.md"] {
            follow_links(&folder.join(page), &folder);
        }
        let manual = std::fs::read_to_string(folder.join("README.md")).unwrap();
        let installed = manual.lines().filter(|line| line.starts_with("$ sudo install "));
        let files: Vec<&str> = installed.filter_map(|line| line.split(' ').nth_back(1)).collect();
        assert_eq!(files.len(), 6, "{files:?}");
        for file in files {
            assert!(folder.join(file).is_file(), "{file}");
        }
    }
}

fn this_arch() -> &'static Arch {
    ARCHES.iter().find(|arch| arch.triple.starts_with(env::consts::ARCH)).expect("this machine is in the table")
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn every_binary_starts_on_the_oldest_processor_and_refuses_where_there_is_no_bpf() {
    for arch in arches() {
        let emulator = format!("qemu-{}", arch.qemu);
        let found = Command::new(&emulator).arg("--version").output().is_ok();
        if !has(&emulator, "Debian: apt install qemu-user, version 10 from backports", found) {
            continue;
        }
        let run = |flags: &[&str]| {
            Run::of(Command::new(&emulator).args(["-cpu", arch.oldest_cpu]).arg(binary(arch)).args(flags))
        };
        let object = format!("exectrace_{}.o", arch.endian.bpf_target());
        let hash = bpfship::testing::hash::file(&own_root().join("bpf/objects").join(object)).unwrap();
        run(&["--version"]).succeeds().says(env!("CARGO_PKG_VERSION")).says(arch.triple).says(&hash.to_string());
        // bpf() is not to be had in user mode.
        run(&[]).without_lines("qemu-").ends_with(1).says("exectrace: there is no bpf() system call").in_one_line();
    }
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn the_released_binary_passes_its_self_test_on_this_kernel() {
    let root = rustix::process::geteuid().is_root();
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    if has("root and a kernel with BTF", "run as root on such a kernel", root && btf) {
        Run::of(Command::new(binary(this_arch())).arg("--self-test")).succeeds().says("self-test: passed");
    }
}
