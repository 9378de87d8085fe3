// The same by CO-RE, from the vmlinux.h of each architecture.
#include "vmlinux.h"
#include "corpus.h"

int seen;

SEC("ksyscall/nanosleep")
int BPF_KSYSCALL(asked, void *time)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	seen = BPF_CORE_READ(task, real_parent, tgid) + (time != NULL);
	return 0;
}
