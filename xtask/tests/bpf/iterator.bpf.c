// All tasks, one line each.
#include "corpus.h"

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

SEC("iter/task")
int tasks(struct bpf_iter__task *context)
{
	if (context->task)
		BPF_SEQ_PRINTF(context->meta->seq, "%d\n", context->task->pid);
	return 0;
}
