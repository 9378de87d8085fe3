//! Depends on the linker that it finds, as packages of BPF in aya's template do, and links C, by which Rust gets CO-RE.

use std::process::Command;
use std::{env, fs};

const SHIM: &str = "src/shim.c";

fn main() {
    let path = env::var_os("PATH").unwrap();
    let linker = env::split_paths(&path).map(|folder| folder.join("bpf-linker")).find(|file| file.is_file());
    println!("cargo:rerun-if-changed={}", linker.unwrap().display());
    println!("cargo:rerun-if-changed={SHIM}");
    if env::var("CARGO_CFG_TARGET_ARCH").unwrap() != "bpf" {
        return;
    }
    let object = format!("{}/shim.o", env::var("OUT_DIR").unwrap());
    let words = ["-target", "bpf", "-g", "-O2", "-emit-llvm", "-c", SHIM, "-o", &object];
    assert!(Command::new("clang").args(words).status().unwrap().success());
    assert!(fs::metadata(&object).unwrap().len() > 0);
    println!("cargo:rustc-link-arg-bin=forked={object}");
}
