/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Sees every exec, and the end of every process, and sends them to userspace. */

#include "exectrace.h"
#include "kernel.h"
#include "lost.h"

#define EEXIST 17 /* one of the errno numbers that are the same on every architecture */

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* --no-exits: nobody wants to know of them. */
const volatile __u32 no_exits = 0;

/* The kernel has control groups, and with them the helper that says which. */
const volatile __u32 with_cgroups = 0;

/* --pid: only processes in `tracked`, which userspace fills and fork extends. */
const volatile __u32 only_tracked = 0;

/* Where a program is executed is wanted, too: see place.h. */
const volatile __u32 with_places = 0;

/* Events go through a ring buffer, which all CPUs share and which keeps their order, or, with a 0 here, through perf buffers, one for
 * each CPU: then userspace has changed the type of the map. */
const volatile __u32 with_ring_buffer = 1;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20); /* bytes; userspace sets its own */
} events SEC(".maps");

/* A pid alone comes back; together with when its process began it does not. */
struct process {
	__u64 start_ns;
	__u32 pid;
	__u32 reserved;
};

/* The last exec of every living process, in CLOCK_MONOTONIC ns. When full, an exit comes without it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768); /* userspace sets as many as the machine can run */
	__type(key, struct process);
	__type(value, __u64);
} exec_times SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* with --pid, userspace sets as many as the machine can run */
	__type(key, __u32);
	__type(value, __u8);
} tracked SEC(".maps");

/* Processes whose end was sent lately: see first_to_end(). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct process);
	__type(value, __u8);
} ended SEC(".maps");

/* A place in the tree of folders of a mount. */
struct position {
	__u64 mnt; /* struct vfsmount * */
	__u64 dentry;
};

struct exec_record {
	struct exec_event event;
	char data[FILE_MAX + ARGS_MAX + CWD_MAX + TTY_SIZE];
	/* Not sent. */
	struct position position, root;
	__u64 calls;
};

/* A record is too large for the 512 bytes of stack. The kernel never runs a raw tracepoint's program twice at a time
 * on one CPU (it counts a miss instead), and only on_exec uses this. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_record);
} scratch SEC(".maps");

/* clang leaves what nothing mentions out of BTF, from which the Rust side is made. */
const struct exit_event *unused_exit_event __attribute__((unused));
const enum limits *unused_limits __attribute__((unused));

static __always_inline int is_ignored(__u32 pid)
{
	return only_tracked && !bpf_map_lookup_elem(&tracked, &pid);
}

static __always_inline void send(void *ctx, void *event, __u64 size)
{
	long error;

	/* The verifier does not look at a call that it knows is never reached. Before 5.5 it does not know the values of variables, but
	 * there is no ring buffer either, and so no such type. */
	if (bpf_core_type_exists(struct bpf_ringbuf) && with_ring_buffer)
		error = bpf_ringbuf_output(&events, event, size, 0);
	else
		error = bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, event, size);
	if (error)
		count_lost();
}

#include "place.h"

static __always_inline __u64 current_cgroup(void)
{
	return with_cgroups ? bpf_get_current_cgroup_id() : 0;
}

static __always_inline __u32 parent_of(struct task_struct *task)
{
	struct task_struct *parent = (struct task_struct *)KREAD(task, real_parent);

	return KREAD(parent, tgid);
}

/* The contexts are arrays of __u64, as every kernel passes them: aya-obj 0.3 cannot relocate the flexible array in
 * struct bpf_raw_tracepoint_args. */

/* sched_process_exec(struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm): the new program is in
 * place, its arguments lie in its memory, and none of its instructions has run. */
SEC("raw_tp/sched_process_exec")
int on_exec(__u64 *args)
{
	struct task_struct *task = (struct task_struct *)args[0];
	struct linux_binprm *bprm = (struct linux_binprm *)args[2];
	__u64 now = bpf_ktime_get_ns();
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct process process = {};
	__u32 zero = 0;
	struct exec_record *record;
	struct mm_struct *mm;
	const char *filename;
	__u64 start, file_len, args_len;
	char beyond = 0;
	long length;

	if (is_ignored(pid))
		return 0;
	/* By now the thread that executes is the first one of its process. */
	process.start_ns = KREAD(task, start_time);
	process.pid = pid;
	if (!no_exits)
		bpf_map_update_elem(&exec_times, &process, &now, BPF_ANY);

	record = bpf_map_lookup_elem(&scratch, &zero);
	if (!record)
		return 0;
	record->event.header.kind = EVENT_EXEC;
	record->event.header.pid = pid;
	record->event.header.ppid = parent_of(task);
	record->event.header.uid = bpf_get_current_uid_gid();
	record->event.header.time_ns = now;
	record->event.header.start_ns = process.start_ns;
	record->event.header.cgroup_id = current_cgroup();
	bpf_get_current_comm(record->event.header.comm, sizeof(record->event.header.comm));
	record->event.flags = 0;
	record->event.cwd_len = 0;
	record->event.tty_len = 0;
	record->event.reserved = 0;

	mm = (struct mm_struct *)KREAD(task, mm);
	start = KREAD(mm, arg_start);
	args_len = KREAD(mm, arg_end) - start;
	if (args_len > ARGS_MAX) {
		args_len = ARGS_MAX;
		record->event.flags |= EXEC_ARGS_CUT;
	}

	filename = (const char *)KREAD(bprm, filename);
	length = bpf_probe_read_kernel_str(record->data, FILE_MAX + 1, filename);
	file_len = length > 0 ? length - 1 : 0;
	if (file_len == FILE_MAX) {
		bpf_probe_read_kernel(&beyond, sizeof(beyond), filename + FILE_MAX);
		if (beyond)
			record->event.flags |= EXEC_FILE_CUT;
	}

	/* What is known to be in bounds has to be seen to be, by the verifiers of old kernels too, and right here:
	 * they forget the bounds of a number that went to the stack. */
	barrier_var(file_len);
	if (file_len > FILE_MAX)
		return 0;
	barrier_var(args_len);
	if (args_len > ARGS_MAX)
		return 0;
	if (bpf_probe_read_user(record->data + file_len, args_len, (const void *)start)) {
		args_len = 0;
		record->event.flags |= EXEC_ARGS_UNREADABLE;
	}

	record->event.file_len = file_len;
	record->event.args_len = args_len;
	if (with_places) {
		begin_place(record, task);
		/* Does not return. */
		bpf_tail_call(args, &places, 0);
	}
	args_len += file_len + sizeof(record->event);
	barrier_var(args_len);
	if (args_len > sizeof(record->event) + FILE_MAX + ARGS_MAX)
		return 0;
	send(args, record, args_len);
	return 0;
}

/* Two last threads may leave at once, and then each of them sees that none is left: true for one of them. */
static __always_inline int first_to_end(struct process *process)
{
	__u8 one = 1;
	/* Up to Linux 6.3 the upper half of the result is not that of a negative number (d7ba4cc900bf). */
	int result = bpf_map_update_elem(&ended, process, &one, BPF_NOEXIST);

	return result != -EEXIST;
}

/* sched_process_exit(struct task_struct *task, …), for every thread that ends. */
SEC("raw_tp/sched_process_exit")
int on_exit(__u64 *args)
{
	struct task_struct *task = (struct task_struct *)args[0];
	struct signal_struct *signal = (struct signal_struct *)KREAD(task, signal);
	struct exit_event event = {};
	struct process process = {};
	struct task_struct *leader;
	__u64 *exec_ns;
	__u32 pid;

	if (KREAD(signal, live.counter) != 0 || KREAD(task, flags) & PF_KTHREAD)
		return 0;
	pid = KREAD(task, tgid);
	if (is_ignored(pid))
		return 0;
	leader = (struct task_struct *)KREAD(task, group_leader);
	process.start_ns = KREAD(leader, start_time);
	process.pid = pid;
	if (!first_to_end(&process))
		return 0;
	if (only_tracked)
		bpf_map_delete_elem(&tracked, &pid);
	if (no_exits)
		return 0;

	event.header.kind = EVENT_EXIT;
	event.header.pid = pid;
	event.header.ppid = parent_of(leader);
	event.header.uid = bpf_get_current_uid_gid();
	event.header.time_ns = bpf_ktime_get_ns();
	event.header.start_ns = process.start_ns;
	event.header.cgroup_id = current_cgroup();
	bpf_probe_read_kernel(event.header.comm, sizeof(event.header.comm), &leader->comm);
	event.status = KREAD(signal, flags) & SIGNAL_GROUP_EXIT ? KREAD(signal, group_exit_code)
								: KREAD(leader, exit_code);

	exec_ns = bpf_map_lookup_elem(&exec_times, &process);
	if (exec_ns)
		event.exec_ns = *exec_ns;
	bpf_map_delete_elem(&exec_times, &process);
	send(args, &event, sizeof(event));
	return 0;
}

/* sched_process_fork(struct task_struct *parent, struct task_struct *child), before the child runs. Attached with
 * --pid only. */
SEC("raw_tp/sched_process_fork")
int on_fork(__u64 *args)
{
	struct task_struct *child = (struct task_struct *)args[1];
	__u32 parent = bpf_get_current_pid_tgid() >> 32;
	__u32 pid = KREAD(child, tgid);
	__u8 one = 1;

	/* A new thread has the pid of its process, which is tracked already or not to be. */
	if (pid != parent && bpf_map_lookup_elem(&tracked, &parent))
		bpf_map_update_elem(&tracked, &pid, &one, BPF_ANY);
	return 0;
}

/* --failed: the programs below are on the tracepoints of system calls. Where the words lie in their records, userspace knows
 * from tracefs. */
const volatile __u32 execve_file = 0;
const volatile __u32 execveat_file = 0;
const volatile __u32 returned = 0;

/* 1 lets perf's own users of the tracepoint have it, too: 0 would keep it from them. */
#define DONE 1

/* Where the name is of the file that a thread wants to execute. A thread that is killed meanwhile leaves its entry behind. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u64);
} attempts SEC(".maps");

struct failed_record {
	struct failed_event event;
	char data[FILE_MAX + 1 /* NUL */ + 7 /* to a multiple of 8 */];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct failed_record);
} failed_scratch SEC(".maps");

static __always_inline int begin_attempt(void *ctx, __u32 file_offset)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u64 file;

	if (is_ignored(id >> 32))
		return DONE;
	file = word_at(ctx + file_offset);
	bpf_map_update_elem(&attempts, &id, &file, BPF_ANY);
	return DONE;
}

SEC("tracepoint/syscalls/sys_enter_execve")
int on_execve(void *ctx)
{
	return begin_attempt(ctx, execve_file);
}

SEC("tracepoint/syscalls/sys_enter_execveat")
int on_execveat(void *ctx)
{
	return begin_attempt(ctx, execveat_file);
}

/* On sys_exit_execveat, too. */
SEC("tracepoint/syscalls/sys_exit_execve")
int on_execve_end(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 error = -(__u32)word_at(ctx + returned);
	__u64 *attempt = bpf_map_lookup_elem(&attempts, &id);
	struct task_struct *task, *leader;
	struct failed_record *record;
	__u32 zero = 0;
	__u64 file, length;
	long found;

	if (!attempt)
		return DONE;
	file = *attempt;
	bpf_map_delete_elem(&attempts, &id);
	if (!error)
		return DONE;
	record = bpf_map_lookup_elem(&failed_scratch, &zero);
	if (!record)
		return DONE;
	task = (struct task_struct *)bpf_get_current_task();
	leader = (struct task_struct *)KREAD(task, group_leader);
	record->event.header.kind = EVENT_FAILED;
	record->event.header.pid = id >> 32;
	record->event.header.ppid = parent_of(leader);
	record->event.header.uid = bpf_get_current_uid_gid();
	record->event.header.time_ns = bpf_ktime_get_ns();
	record->event.header.start_ns = KREAD(leader, start_time);
	record->event.header.cgroup_id = current_cgroup();
	bpf_probe_read_kernel(record->event.header.comm, sizeof(record->event.header.comm), &leader->comm);
	record->event.error = error;
	record->event.reserved = 0;
	/* Where it cannot be read, that may be why it was refused. */
	found = bpf_probe_read_user_str(record->data, FILE_MAX + 1, (const void *)file);
	length = found > 0 ? found - 1 : 0;
	record->event.file_len = length;
	record->event.flags = length == FILE_MAX ? EXEC_FILE_CUT : 0;
	length += sizeof(record->event);
	barrier_var(length);
	if (length > sizeof(*record))
		return DONE;
	send(ctx, record, length);
	return DONE;
}
