// Counts the programs that are started, in a map that user space reads.
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
