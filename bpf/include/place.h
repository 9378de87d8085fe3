/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Where a program is executed: the current directory of the process, and its controlling terminal. */
#ifndef PLACE_H
#define PLACE_H

/* So many folders and mounts are looked at by a program that then calls itself: the verifier follows each of these steps, which
 * takes it long if they are many. All kernels allow 32 such calls. */
#define STEPS 8
#define CALLS 16

#define NAME_SIZE 256 /* the longest name that a folder can have, and a NUL */

/* on_exec_place, at 0. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} places SEC(".maps");

static __always_inline void begin_place(struct exec_record *record, struct task_struct *task)
{
	struct fs_struct *fs = (struct fs_struct *)KREAD(task, fs);
	struct dentry *dentry = (struct dentry *)KREAD(fs, pwd.dentry);

	record->calls = 0;
	record->position.mnt = KREAD(fs, pwd.mnt);
	record->position.dentry = (__u64)dentry;
	record->root.mnt = KREAD(fs, root.mnt);
	record->root.dentry = KREAD(fs, root.dentry);
	/* As d_unlinked() has it. */
	if (!KREAD(dentry, d_hash.pprev) && KREAD(dentry, d_parent) != (__u64)dentry)
		record->event.flags |= EXEC_CWD_DELETED;
}

/* Adds the name of the folder, and goes on to the one that it is in; 0 at the root. The kernel frees neither folders nor
 * mounts while a program runs that is on a tracepoint. */
static __always_inline int step(struct exec_record *record)
{
	struct vfsmount *mnt = (struct vfsmount *)record->position.mnt;
	struct dentry *dentry = (struct dentry *)record->position.dentry;
	__u64 parent, before, length;
	struct mount *mount;
	long found;

	if ((__u64)mnt == record->root.mnt && (__u64)dentry == record->root.dentry)
		return 0;
	if ((__u64)dentry == KREAD(mnt, mnt_root)) {
		/* What is mounted here goes on where it is mounted. */
		mount = (struct mount *)((char *)mnt - bpf_core_field_offset(struct mount, mnt));
		parent = KREAD(mount, mnt_parent);
		if (parent == (__u64)mount) {
			record->event.flags |= EXEC_CWD_UNREACHABLE;
			return 0;
		}
		record->position.dentry = KREAD(mount, mnt_mountpoint);
		record->position.mnt = parent + bpf_core_field_offset(struct mount, mnt);
		return 1;
	}
	parent = KREAD(dentry, d_parent);
	if (parent == (__u64)dentry) {
		record->event.flags |= EXEC_CWD_UNREACHABLE;
		return 0;
	}

	before = record->event.file_len + record->event.args_len;
	barrier_var(before);
	if (before > FILE_MAX + ARGS_MAX)
		return 0;
	length = record->event.cwd_len;
	barrier_var(length);
	if (length > CWD_MAX - NAME_SIZE) {
		record->event.flags |= EXEC_CWD_CUT;
		return 0;
	}
	found = bpf_probe_read_kernel_str(record->data + before + length, NAME_SIZE,
					  (const void *)KREAD(dentry, d_name.name));
	if (found <= 0) {
		record->event.flags |= EXEC_CWD_CUT;
		return 0;
	}
	record->event.cwd_len = length + found;
	record->position.dentry = parent;
	return 1;
}

/* The name of the controlling terminal as its driver has it, such as "pts0" or "ttyS0", behind all else; its bytes. */
static __always_inline __u32 add_tty(char *end, struct task_struct *task)
{
	struct signal_struct *signal = (struct signal_struct *)KREAD(task, signal);
	struct tty_struct *tty = (struct tty_struct *)KREAD(signal, tty);
	long length;

	if (!tty)
		return 0;
	length = bpf_probe_read_kernel_str(end, TTY_SIZE, &tty->name);
	/* As long as it is the process's, it is there; it may just have been taken away. */
	return length > 0 && KREAD(signal, tty) == (__u64)tty ? length : 0;
}

/* The second half of on_exec, which adds all this behind file and arguments, and sends the record. */
SEC("raw_tp/sched_process_exec")
int on_exec_place(__u64 *args)
{
	__u32 zero = 0;
	struct exec_record *record = bpf_map_lookup_elem(&scratch, &zero);
	int is_unfinished = 1;
	__u64 size;

	if (!record)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < STEPS && is_unfinished; i++)
		is_unfinished = step(record);
	record->calls++;
	if (is_unfinished && record->calls < CALLS)
		/* Does not return. */
		bpf_tail_call(args, &places, 0);
	record->event.flags |= is_unfinished ? EXEC_PLACE | EXEC_CWD_CUT : EXEC_PLACE;

	size = record->event.file_len + record->event.args_len + record->event.cwd_len;
	barrier_var(size);
	if (size > FILE_MAX + ARGS_MAX + CWD_MAX)
		return 0;
	record->event.tty_len = add_tty(record->data + size, (struct task_struct *)args[0]);
	size += record->event.tty_len + sizeof(record->event);
	barrier_var(size);
	if (size > sizeof(record->event) + sizeof(record->data))
		return 0;
	send(args, record, size);
	return 0;
}

#endif
