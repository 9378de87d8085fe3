// A raw tracepoint, whose arguments are numbers.
#include "corpus.h"

SEC("raw_tp/sys_enter")
int entered(struct bpf_raw_tracepoint_args *context)
{
	bpf_printk("%ld", context->args[1]);
	return 0;
}
