//! Files that `init` adds, as they are written.

/// The program of the package that runs this tool.
pub const MAIN: &str = "//! `cargo xtask`: builds, checks and packs this workspace's application.

use std::process::ExitCode;

fn main() -> ExitCode {
    bpfship::main()
}
";

/// An example of a BPF program.
pub const PROGRAM: &str = r#"// Counts the programs that are started, in a map that user space reads.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} execs SEC(".maps");

SEC("raw_tp/sched_process_exec")
int count_exec(void *ctx)
{
    __u32 key = 0;
    __u64 *count = bpf_map_lookup_elem(&execs, &key);

    if (count)
        __sync_fetch_and_add(count, 1);
    return 0;
}
"#;

/// The build script of the BPF half.
pub const BUILD: &str = "//! Refuses BPF objects that do not match their sources.

fn main() {
    bpfship_embed::check(\".\");
}
";

/// The library of the BPF half.
pub const LIBRARY: &str = "//! The BPF half: its sources and the objects that are compiled from them.

/// Counts the programs that are started. The BPF object for the machine that this is built for.
pub fn hello() -> &'static [u8] {
    bpfship_embed::embed!(\"hello\")
}
";
