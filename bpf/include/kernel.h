/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The few kernel fields that exectrace reads, and the one way to read them. */
#ifndef KERNEL_H
#define KERNEL_H

#include "uapi.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* Only names and kinds matter here: the loader looks every field up in the BTF of the running kernel and puts the
 * real offset and size in its place. The whole of vmlinux.h would do no better, and costs 23 times the compile time. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernel_atomic {
	int counter;
};

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
};

struct tty_struct {
	char name[64];
};

struct signal_struct {
	struct kernel_atomic live; /* threads that have not begun to exit */
	unsigned int flags;
	int group_exit_code;
	struct tty_struct *tty;
};

struct hlist_bl_node {
	void *pprev;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct fs_struct {
	struct path root;
	struct path pwd;
};

struct task_struct {
	unsigned int flags;
	struct mm_struct *mm;
	int exit_code;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	__u64 start_time;
	char comm[16];
	struct fs_struct *fs;
	struct signal_struct *signal;
};

struct linux_binprm {
	const char *filename;
};

/* Only whether it is there. */
struct bpf_ringbuf {
};

#pragma clang attribute pop

/* Not in BTF, which holds no macros; the same from 5.10 to 7.2. */
#define PF_KTHREAD 0x00200000
#define SIGNAL_GROUP_EXIT 0x00000004

/* KREAD(pointer, field): the value of an integer or pointer, zero-extended to 64 bits.
 *
 * A pointer and a long have 8 bytes in BPF, but 4 in a 32-bit kernel: copying 8 there would take the next field along.
 * So as many bytes are copied as the kernel's own field has, which the loader puts in place of bpf_core_field_size(). On a
 * big-endian machine they are the upper ones of the variable. Where the field is neither integer nor pointer any more, the loader
 * leaves an instruction that the verifier refuses. */
#define KREAD(pointer, field) number_at(&(pointer)->field, bpf_core_field_size((pointer)->field))

static __always_inline __u64 number_at(const void *address, __u64 size)
{
	__u64 number = 0;

	bpf_probe_read_kernel(&number, size, address);
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? number >> (64 - 8 * size) : number;
}

/* A long of the kernel's, zero-extended, too. */
static __always_inline __u64 word_at(const void *address)
{
	return number_at(address, bpf_core_field_size(((struct mm_struct *)0)->arg_start));
}

#endif
