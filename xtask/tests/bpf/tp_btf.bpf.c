// A tracepoint with typed arguments, and bit fields read by CO-RE.
#include "corpus.h"

struct task_struct {
	int pid;
	unsigned in_execve : 1;
	unsigned in_iowait : 1;
} __attribute__((preserve_access_index));

int waiting;

SEC("tp_btf/sched_switch")
int BPF_PROG(switched, bool preempted, struct task_struct *previous, struct task_struct *next)
{
	waiting += BPF_CORE_READ_BITFIELD(previous, in_iowait) + BPF_CORE_READ_BITFIELD_PROBED(next, in_execve);
	return 0;
}
