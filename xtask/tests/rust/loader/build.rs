//! Refuses objects that are not what `probes` gives.

fn main() {
    bpfship_embed::check("../bpf");
}
