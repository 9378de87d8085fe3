//! An application that takes backtraces, in Rust alone, is linked for every architecture, and walks its stack there.

use std::process::Command;

use super::support::{Run, Workspace, has, own_root};
use bpfship::testing::ARCHES;

/// Calls itself to two depths, and prints how many frames more the deeper one has. Then fails as most applications do.
const DEEP: &str = r#"
#[inline(never)]
fn deep(depth: u32) -> anyhow::Error {
    match std::hint::black_box(depth) {
        0 => anyhow::anyhow!("deep down"),
        depth => deep(depth - 1).context("one further up"),
    }
}

fn frames(depth: u32) -> usize {
    deep(depth).backtrace().to_string().lines().count()
}

fn main() -> anyhow::Result<()> {
    println!("{} more", frames(25) - frames(5));
    Err(deep(0))
}
"#;

/// What Cargo.lock of this workspace has of a package that depends on nothing.
fn locked(name: &str) -> String {
    let lock = std::fs::read_to_string(own_root().join("Cargo.lock")).unwrap();
    let start = format!("name = \"{name}\"\n");
    let entry = lock.split("\n[[package]]\n").find(|entry| entry.starts_with(&start)).unwrap();
    format!("\n[[package]]\n{entry}")
}

#[test]
#[ignore = "long: --include-ignored runs it"]
fn a_backtrace_has_the_frames_of_the_stack_on_every_architecture() {
    let workspace = Workspace::usual("deep");
    let [manifest, main, lock] = ["tool/Cargo.toml", "tool/main.rs", "Cargo.lock"].map(|path| workspace.read(path));
    let (object, _) = main.split_once("fn main()").unwrap();
    let (head, tool) = lock.split_once("\n[[package]]\n").unwrap();
    let workspace = workspace
        .write("tool/Cargo.toml", &format!("{manifest}\n[dependencies]\nanyhow = \"1\"\n"))
        .write("tool/main.rs", &format!("{object}{DEEP}"))
        .write(
            "Cargo.lock",
            &format!("{head}{}\n[[package]]\n{tool}dependencies = [\n \"anyhow\",\n]\n", locked("anyhow")),
        );
    let all: Vec<&str> = ARCHES.iter().map(|arch| arch.name).collect();
    workspace.xtask(&format!("dist --arch {}", all.join(","))).succeeds();
    workspace.shell("cd dist && for archive in *.tar.gz; do tar xzf $archive; done").succeeds();
    for arch in &ARCHES {
        let emulator = format!("qemu-{}", arch.qemu);
        let found = Command::new(&emulator).arg("--version").output().is_ok();
        if !has(&emulator, "Debian: apt install qemu-user, version 10 from backports", found) {
            continue;
        }
        let binary = workspace.path(&format!("dist/tool-0.3.0-{}/probe", arch.triple));
        Run::of(Command::new(&emulator).args(["-cpu", arch.oldest_cpu]).arg(binary).env("RUST_BACKTRACE", "1"))
            .ends_with(1)
            .says("20 more\n")
            .says("Error: deep down\n\nStack backtrace:\n   0: ");
    }
}
