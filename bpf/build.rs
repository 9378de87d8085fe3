//! Refuses to embed BPF objects that do not match their sources, so that a plain `cargo build` needs no clang.

fn main() {
    bpfship_embed::check(".");
}
