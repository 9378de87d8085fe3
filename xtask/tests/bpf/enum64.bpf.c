// Numbers that do not fit into 32 bits, asked for by CO-RE, and a struct in two flavours.
#include "corpus.h"

enum huge { SMALL = 1, HUGE = 0x123456789abcdefULL };
enum below { BELOW = -0x123456789LL, ABOVE = 1 };

struct task_struct___old {
	long state;
} __attribute__((preserve_access_index));

struct task_struct___new {
	unsigned __state;
} __attribute__((preserve_access_index));

unsigned long long found;

SEC("raw_tp/sys_enter")
int entered(void *context)
{
	void *task = (void *)bpf_get_current_task();

	if (bpf_core_enum_value_exists(enum huge, HUGE))
		found = bpf_core_enum_value(enum huge, HUGE) + bpf_core_enum_value(enum below, BELOW);
	if (bpf_core_field_exists(struct task_struct___new, __state))
		found += BPF_CORE_READ((struct task_struct___new *)task, __state);
	else
		found += BPF_CORE_READ((struct task_struct___old *)task, state);
	return 0;
}
