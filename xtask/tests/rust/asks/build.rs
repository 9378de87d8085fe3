//! Asks for BPF as aya-build does, and puts what it is given where its own program finds it.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    let out = env::var("OUT_DIR").unwrap();
    let target = match env::var("CARGO_CFG_TARGET_ENDIAN").unwrap().as_str() {
        "big" => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    let output = Command::new("rustup")
        .args(["run", "nightly", "cargo", "build", "--package", "probes", "-Z", "build-std=core", "--bins"])
        .args(["--message-format=json", "--release", "--target", target, "--features", "", "--target-dir"])
        .arg(Path::new(&out).join("probes"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let executables = said.lines().filter_map(|line| Some(line.split_once("\"executable\":\"")?.1.split_once('"')?.0));
    for executable in executables.map(Path::new) {
        fs::copy(executable, Path::new(&out).join(executable.file_name().unwrap())).unwrap();
    }
}
