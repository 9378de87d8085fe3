// Asks a kernel for all kinds of things, in the ways that aya knows.
#define SEC(name) __attribute__((section(name), used))
#define CORE __attribute__((preserve_access_index))

typedef unsigned long long u64;
struct task;
typedef int (*callback)(struct task *, long);
typedef struct {
	int counter;
} counter;
typedef int number;

enum state {
	RUNNING,
	STOPPED = 3,
	NEVER = 4,
};
enum wide {
	WIDE = 0x100000000,
};

struct inner {
	int b;
	counter count;
} CORE;
struct task {
	int pid;
	struct task *parent;
	char comm[8];
	struct inner inner[2];
	// The kernel has it in a union without a name.
	u64 start;
	enum state state;
	unsigned int flag : 1;
	signed int level : 3;
	counter uses;
	callback call;
} CORE;
// What it was like in older kernels: their state was a long.
struct task___old {
	long state_long;
} CORE;
struct inner___new {
	int later;
} CORE;
// There are two of them.
struct twice {
	int a;
} CORE;
struct nowhere {
	int a;
} CORE;
// Of another kind in the kernel.
struct changed {
	struct inner *field;
} CORE;
#define OFFSET(field) __builtin_preserve_field_info(field, 0)
#define SIZE(field) __builtin_preserve_field_info(field, 1)
#define EXISTS(field) __builtin_preserve_field_info(field, 2)
#define SIGNED(field) __builtin_preserve_field_info(field, 3)
#define LEFT(field) __builtin_preserve_field_info(field, 4)
#define RIGHT(field) __builtin_preserve_field_info(field, 5)
#define TYPE(type, kind) __builtin_preserve_type_info(*(type *)0, kind)
#define VALUE(type, value, kind) __builtin_preserve_enum_value(*(type *)value, kind)

volatile u64 sink;

SEC("raw_tp/fields") int fields(struct task *task)
{
	sink = OFFSET(task->pid) + OFFSET(task->parent->parent) + OFFSET(task->comm[3]) + OFFSET(task->inner[1].count.counter);
	sink = OFFSET(task->start) + SIZE(task->state) + OFFSET(task->uses.counter) + SIZE(task->call);
	sink = OFFSET(task->flag) + SIZE(task->flag) + LEFT(task->flag) + RIGHT(task->flag) + SIGNED(task->flag);
	sink = OFFSET(task->level) + SIZE(task->level) + LEFT(task->level) + RIGHT(task->level) + SIGNED(task->level);
	sink = SIZE(task->inner[0]) + OFFSET(task[1].pid);
	return 0;
}

SEC("raw_tp/other") int other(struct twice *twice, struct nowhere *nowhere, struct changed *changed)
{
	struct task___old *old = (void *)twice;
	struct inner___new *later = (void *)twice;

	if (EXISTS(old->state_long))
		sink = OFFSET(old->state_long);
	if (EXISTS(later->later))
		sink = SIZE(later->later);
	if (EXISTS(changed->field))
		sink = OFFSET(changed->field);
	if (TYPE(struct nowhere, 0))
		sink = OFFSET(nowhere->a);
	sink = OFFSET(twice->a);
	return 0;
}

SEC("raw_tp/types") int types(void *context)
{
	sink = TYPE(struct task, 1) + TYPE(callback, 0) + TYPE(number, 1) + TYPE(counter, 0) + TYPE(enum state, 1);
	sink = TYPE(struct nowhere, 0) + TYPE(u64, 0);
	return 0;
}

SEC("raw_tp/values") int values(void *context)
{
	sink = VALUE(enum state, STOPPED, 1) + VALUE(enum state, NEVER, 0) + VALUE(enum wide, WIDE, 1);
	return 0;
}

SEC("license") char LICENSE[] = "GPL";
