// What aya 0.14 cannot: an element of a flexible array, and whether a type is the kernel's in all of its parts.
#define SEC(name) __attribute__((section(name), used))

struct task {
	unsigned char tail[0];
} __attribute__((preserve_access_index));
union either {
	int a;
	long b;
};
struct matched {
	struct task *task;
	union either either;
};

volatile int sink;

SEC("raw_tp/matches") int matches(struct task *task)
{
	sink = __builtin_preserve_field_info(task->tail[5], 0);
	return __builtin_preserve_type_info(*(struct matched *)0, 2);
}

SEC("license") char LICENSE[] = "GPL";
