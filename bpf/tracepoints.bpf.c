/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* For kernels without BTF: hands over what tracepoints record, as it is, and adds the user and the control group, which they do not contain.
 *
 * No struct of the kernel's is read here. Userspace knows from tracefs where each field of a record lies; what else it
 * needs (pid, time, the top of the user's stack with the arguments of a program) comes with a sample of perf's. */

#include "lost.h"
#include "tracepoints.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Where in the record of sched_process_exec the word is that holds offset and length of the file's name. */
const volatile __u32 file_word = 0;
/* The kernel has control groups: else there is no helper to ask for one. */
const volatile __u32 with_cgroups = 0;

/* What comes with a sample is a setting of the buffer's: the user's stack in the first, nothing in the second. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} execs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} others SEC(".maps");

/* Too large for the 512 bytes of stack. The kernel runs no second program of this kind on a CPU meanwhile. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct record);
} scratch SEC(".maps");

/* 1 lets perf's own users of the tracepoint have it, too: 0 would keep it from them. */
#define DONE 1

static __always_inline int hand_over(void *ctx, void *map, __u32 tracepoint, __u64 size)
{
	__u32 zero = 0;
	struct record *record = bpf_map_lookup_elem(&scratch, &zero);

	if (!record)
		return DONE;
	record->tracepoint = tracepoint;
	record->uid = bpf_get_current_uid_gid();
	record->cgroup_id = with_cgroups ? bpf_get_current_cgroup_id() : 0;
	/* The verifier has to see the bound right here. */
	barrier_var(size);
	if (size > RECORD_MAX)
		size = RECORD_MAX;
	bpf_probe_read_kernel(record->data, size, ctx);
	if (bpf_perf_event_output(ctx, map, BPF_F_CURRENT_CPU, record, RECORD_HEADER + size) &&
	    tracepoint == SCHED_PROCESS_EXEC)
		count_lost();
	return DONE;
}

SEC("tracepoint/sched/sched_process_exec")
int on_exec(void *ctx)
{
	__u32 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), ctx + file_word);
	return hand_over(ctx, &execs, SCHED_PROCESS_EXEC, (word & 0xffff) + (word >> 16));
}

/* The others' records are shorter than that, and what lies behind them in the kernel's buffer does no harm. */
#define HAND_OVER(program, number)                                        \
	int program(void *ctx)                                            \
	{                                                                 \
		return hand_over(ctx, &others, number, RECORD_USUAL_MAX); \
	}

SEC("tracepoint/task/task_newtask") HAND_OVER(on_new_task, TASK_NEWTASK)
SEC("tracepoint/sched/sched_process_exit") HAND_OVER(on_exit, SCHED_PROCESS_EXIT)
SEC("tracepoint/syscalls/sys_enter_exit_group") HAND_OVER(on_exit_group, SYS_ENTER_EXIT_GROUP)
SEC("tracepoint/syscalls/sys_enter_exit") HAND_OVER(on_exit_thread, SYS_ENTER_EXIT)
SEC("tracepoint/signal/signal_generate") HAND_OVER(on_signal_sent, SIGNAL_GENERATE)
SEC("tracepoint/signal/signal_deliver") HAND_OVER(on_signal_taken, SIGNAL_DELIVER)
