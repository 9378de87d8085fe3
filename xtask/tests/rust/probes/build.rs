//! Depends on the linker that it finds, as packages of BPF in aya's template do.

use std::env;

fn main() {
    let path = env::var_os("PATH").unwrap();
    let linker = env::split_paths(&path).map(|folder| folder.join("bpf-linker")).find(|file| file.is_file());
    println!("cargo:rerun-if-changed={}", linker.unwrap().display());
}
