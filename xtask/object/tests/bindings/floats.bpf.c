// Floats that are in no struct, which aya 0.14 takes neither as a variable nor in a map.
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name

typedef unsigned int __u32;

struct {
	__uint(type, 2); /* BPF_MAP_TYPE_ARRAY */
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, double);
} average SEC(".maps");

struct {
	__uint(type, 1); /* BPF_MAP_TYPE_HASH */
	__uint(max_entries, 1);
	__type(key, float[2]);
	__type(value, float[3][2]);
} places SEC(".maps");

struct {
	__uint(type, 27); /* BPF_MAP_TYPE_RINGBUF */
	__uint(max_entries, 4096);
	__type(value, double);
} events SEC(".maps");

double half = 0.5;
const volatile float thirds[2] = { 1.0f / 3, 2.0f / 3 };

SEC("raw_tp/sys_enter") int nothing(void *context)
{
	return 0;
}

SEC("license") char LICENSE[] = "GPL";
