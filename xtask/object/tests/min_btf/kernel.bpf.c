// Types as a kernel has them, of which program.bpf.c wants some.
typedef unsigned long long u64;
typedef int __kernel_pid_t;
typedef __kernel_pid_t pid_t;
typedef struct {
	int counter;
} counter;
typedef const int number;

enum state {
	RUNNING = 1,
	PARKED,
	STOPPED = 7,
};
enum wide {
	NARROW = 1,
	WIDE = 0x200000000,
};

struct task;
typedef int (*callback)(struct task *, long);

struct unwanted {
	int a[100];
};
struct inner {
	long a;
	int b;
	long c;
	counter count;
	struct unwanted unwanted;
};
struct task {
	struct unwanted *first;
	char comm[16];
	unsigned int other : 5;
	unsigned int flag : 1;
	int level : 3;
	struct unwanted before;
	pid_t pid;
	struct task *parent;
	struct task *other_parent;
	const volatile struct inner inner[3];
	union {
		struct {
			long long unused;
			u64 start;
		};
		struct unwanted inside;
	};
	volatile enum state state;
	counter uses;
	callback call;
	unsigned char tail[];
};
struct changed {
	int field;
};
struct twice {
	int before;
	int a;
};
union either {
	int a;
	long b;
	struct unwanted c;
};
struct matched {
	struct task *task;
	union either either;
	struct unwanted *rest;
};

// A second one of this name, in a scope of its own.
#define SECOND                                                                                                                 \
	static struct twice {                                                                                                  \
		char before[4];                                                                                                \
		int a;                                                                                                         \
		int after;                                                                                                     \
	} *volatile second

struct matched *matched;
enum wide wide;
struct changed *changed;
struct twice *twice;
number a_number;
struct task *task;

// A function that BPF programs may call.
__attribute__((btf_decl_tag("bpf_kfunc"), noinline)) struct task *task_from_pid(pid_t pid, enum state *state)
{
	return pid ? task : 0;
}

// Which types come first makes no difference.
__attribute__((section("raw_tp/any"), used)) long any(void *context)
{
#ifdef OTHER_ORDER
	return (long)matched + wide + (long)changed + (long)twice + a_number + (long)task_from_pid(wide, 0);
}

__attribute__((section("raw_tp/second"), used)) long second_one(void *context)
{
	SECOND;

	return second->a;
#else
	SECOND;

	return second->a + (long)task_from_pid(wide, 0) + a_number + (long)twice + (long)changed + wide + (long)matched;
#endif
}
