// A tracepoint's record, a hash map and a ring buffer.
#include "corpus.h"

struct record {
	unsigned long long common;
	int number;
};

struct event {
	__u32 pid;
	__u64 time;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct event);
} begun SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_nanosleep")
int sleeping(struct record *record)
{
	struct event *event, now = { .pid = bpf_get_current_pid_tgid() >> 32, .time = bpf_ktime_get_ns() };

	bpf_map_update_elem(&begun, &now.pid, &now, BPF_ANY);
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (event) {
		*event = now;
		bpf_ringbuf_submit(event, 0);
	}
	return record->number;
}
