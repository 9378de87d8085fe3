// What aya 0.14 has no types for, or does nothing with: an arena and variables in it, the kernel's configuration, its symbols, and
// maps that are full from the beginning. And a variable that is too large for a stack.
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]
#define __arena __attribute__((address_space(1)))

typedef unsigned char __u8;
typedef unsigned int __u32;
typedef unsigned long long __u64;

enum tristate {
	NO,
	YES,
	MODULE,
};

struct node {
	struct node __arena *next;
	__u64 value;
};

struct {
	__uint(type, 33); /* BPF_MAP_TYPE_ARENA */
	__uint(map_flags, 1 << 10); /* BPF_F_MMAPABLE */
	__uint(max_entries, 100);
} arena SEC(".maps");

struct {
	__uint(type, 31); /* BPF_MAP_TYPE_USER_RINGBUF */
	__uint(max_entries, 4096);
	__type(value, struct node);
} requests SEC(".maps");

extern int LINUX_KERNEL_VERSION __attribute__((section(".kconfig")));
extern enum tristate CONFIG_BPF_JIT __attribute__((section(".kconfig"), weak));

extern const void bpf_prog_fops __attribute__((section(".ksyms")));

__u8 large[1 << 17];
__u64 __arena in_arena = 5;
struct node __arena *list;
__u32 version;

SEC("raw_tp/sys_enter") int walks(void *context)
{
	struct node __arena *node = list;

	asm volatile("" ::"r"(&arena));
	version = LINUX_KERNEL_VERSION + CONFIG_BPF_JIT;
	if (node)
		in_arena += node->value;
	return large[version & 0xff] + ((__u64)&bpf_prog_fops > 1);
}

struct {
	__uint(type, 3); /* BPF_MAP_TYPE_PROG_ARRAY */
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, int(void *));
} jumps SEC(".maps") = { .values = { (void *)&walks } };

struct inner {
	__uint(type, 2); /* BPF_MAP_TYPE_ARRAY */
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} inner SEC(".maps");

struct {
	__uint(type, 12); /* BPF_MAP_TYPE_ARRAY_OF_MAPS */
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { &inner } };

SEC("license") char LICENSE[] = "GPL";
