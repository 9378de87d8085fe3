// Ring buffers, defined in all the ways that C has.
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]

#define RING_BUFFER \
	{ \
		__uint(type, 27); /* BPF_MAP_TYPE_RINGBUF */ \
		__uint(max_entries, 4096); \
	}

typedef struct RING_BUFFER ring_buffer;
typedef volatile ring_buffer ring_buffer_again;

ring_buffer named SEC(".maps");
ring_buffer_again named_twice SEC(".maps");
struct shared RING_BUFFER one SEC(".maps"), other SEC(".maps");

struct {
	__uint(type, 27);
	__uint(max_entries, 4096);
	__uint(pinning, 1); /* LIBBPF_PIN_BY_NAME */
} pinned SEC(".maps");

// The same number, of something else.
struct {
	__uint(type, 1); /* BPF_MAP_TYPE_HASH */
	__uint(max_entries, 27);
	__uint(key_size, 27);
	__uint(value_size, 27);
} hash SEC(".maps");

SEC("raw_tp/sys_enter") int nothing(void *context)
{
	return 0;
}

SEC("license") char LICENSE[] = "GPL";
