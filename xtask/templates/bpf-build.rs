//! Refuses BPF objects that do not match their sources.

fn main() {
    bpfship_embed::check(".");
}
