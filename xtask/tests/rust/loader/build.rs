fn main() {
    bpfship_embed::check("../bpf");
}
