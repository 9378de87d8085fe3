//! The real thing: exectrace for all six architectures, started on the oldest processor that each promises, and put to
//! work on this machine's kernel.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::support::{Run, Workspace, has};
use xtask::arch::{ARCHES, Arch};

/// All six archives, made once from a copy of this workspace and unpacked.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let copy = Workspace::copy_of_our_own("exectrace");
        copy.xtask("dist --locked").succeeds();
        copy.shell("cd dist && sha256sum -c SHA256SUMS && for archive in *.tar.gz; do tar xzf $archive; done")
            .succeeds();
        copy.path("dist")
    })
}

fn binary(arch: &Arch) -> PathBuf {
    let stem = format!("exectrace-{}-{}", env!("CARGO_PKG_VERSION"), arch.triple);
    built().join(stem).join("exectrace")
}

fn this_arch() -> &'static Arch {
    ARCHES.iter().find(|arch| arch.triple.starts_with(env::consts::ARCH)).expect("this machine is in the table")
}

#[test]
fn every_binary_starts_on_the_oldest_processor_and_refuses_where_there_is_no_bpf() {
    for arch in &ARCHES {
        let emulator = format!("qemu-{}", arch.qemu);
        let found = Command::new(&emulator).arg("--version").output().is_ok();
        if !has(&emulator, "Debian: apt install qemu-user, version 10 from backports", found) {
            continue;
        }
        let run = |flags: &[&str]| {
            Run::of(Command::new(&emulator).args(["-cpu", arch.oldest_cpu]).arg(binary(arch)).args(flags))
        };
        let object = format!("exectrace_{}.o", arch.endian.bpf_target());
        let hash = xtask::hash::file(&super::support::own_root().join("bpf/objects").join(object)).unwrap();
        run(&["--version"]).succeeds().says(env!("CARGO_PKG_VERSION")).says(arch.triple).says(&hash);
        // bpf() is not to be had in user mode.
        run(&[]).without_lines("qemu-").ends_with(1).says("exectrace: there is no bpf() system call").in_one_line();
    }
}

#[test]
fn the_released_binary_passes_its_self_test_on_this_kernel() {
    let root = rustix::process::geteuid().is_root();
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    if has("root and a kernel with BTF", "run as root on such a kernel", root && btf) {
        Run::of(Command::new(binary(this_arch())).arg("--self-test")).succeeds().says("self-test: passed");
    }
}
