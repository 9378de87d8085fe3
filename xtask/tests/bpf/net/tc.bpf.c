// A classifier, and an array of maps.
#include "corpus.h"
#include "marks.inc"

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} first SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} counters SEC(".maps") = { .values = { [0] = &first } };

SEC("tc")
int marks(struct __sk_buff *packet)
{
	__u32 key = 0;
	void *map = bpf_map_lookup_elem(&counters, &key);
	__u64 *count = map ? bpf_map_lookup_elem(map, &key) : NULL;

	if (count)
		*count += packet->len;
	packet->mark = MARK;
	return 0;
}
