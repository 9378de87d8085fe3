// What aya 0.14 has no types for: an arena and variables in it, the kernel's configuration, and operations of the kernel's.
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name
#define __arena __attribute__((address_space(1)))

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
	return 0;
}

SEC("license") char LICENSE[] = "GPL";
