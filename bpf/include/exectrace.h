/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What the BPF half of exectrace sends to userspace: one layout on every architecture, mirrored by bpf/src/lib.rs. */
#ifndef EXECTRACE_H
#define EXECTRACE_H

#include <linux/types.h>

/* Fixed widths and hand-placed padding only: no long, no pointer, nothing whose place depends on the machine.
 * Numbers are in the byte order of the machine, which both halves share. */

#define COMM_SIZE 16     /* TASK_COMM_LEN, the final NUL included */
#define FILE_MAX 4096    /* bytes of a file's name; PATH_MAX allows 4095, and /dev/fd/N/ may come before them */
#define ARGS_MAX 4096    /* bytes of all arguments together, the NUL after each included */

enum event_kind {
	EVENT_EXEC = 1,
	EVENT_EXIT = 2,
	EVENT_FAILED = 3,
};

enum exec_flags {
	EXEC_FILE_CUT = 1,        /* the file's name goes on beyond FILE_MAX */
	EXEC_ARGS_CUT = 2,        /* the arguments go on beyond ARGS_MAX */
	EXEC_ARGS_UNREADABLE = 4, /* the arguments could not be read: none are here */
};

struct event_header {
	__u32 kind; /* enum event_kind */
	__u32 pid;  /* what userspace calls a pid and the kernel a tgid, in the first pid namespace, as is ppid */
	__u32 ppid;
	__u32 uid;     /* real, in the first user namespace */
	__u64 time_ns;  /* CLOCK_MONOTONIC */
	__u64 start_ns; /* the same, of the begin of the process */
	__u64 cgroup_id;/* in the unified hierarchy; 0 if the kernel has none */
	char comm[COMM_SIZE];
};

struct exec_event {
	struct event_header header;
	__u32 file_len; /* bytes of the file's name, which follow this struct, without a NUL */
	__u32 args_len; /* bytes of the arguments, which follow the name: as in /proc/PID/cmdline */
	__u32 flags;    /* enum exec_flags */
	__u32 reserved; /* 0 */
};

struct exit_event {
	struct event_header header;
	__u64 exec_ns; /* CLOCK_MONOTONIC of its last exec; 0 if none was seen */
	__u32 status;  /* as wait(2) reports it */
	__u32 reserved;/* 0 */
};

/* An exec that was refused. */
struct failed_event {
	struct event_header header; /* of the process that goes on as what it was */
	__u32 file_len; /* bytes of the file's name, which follow this struct, without a NUL */
	__u32 error;    /* errno */
	__u32 flags;    /* EXEC_FILE_CUT */
	__u32 reserved; /* 0 */
};

_Static_assert(sizeof(struct event_header) == 56, "layout of struct event_header");
_Static_assert(__builtin_offsetof(struct event_header, time_ns) == 16, "layout of struct event_header");
_Static_assert(__builtin_offsetof(struct event_header, comm) == 40, "layout of struct event_header");
_Static_assert(sizeof(struct exec_event) == 72, "layout of struct exec_event");
_Static_assert(__builtin_offsetof(struct exec_event, file_len) == 56, "layout of struct exec_event");
_Static_assert(__builtin_offsetof(struct exec_event, args_len) == 60, "layout of struct exec_event");
_Static_assert(__builtin_offsetof(struct exec_event, flags) == 64, "layout of struct exec_event");
_Static_assert(sizeof(struct exit_event) == 72, "layout of struct exit_event");
_Static_assert(__builtin_offsetof(struct exit_event, exec_ns) == 56, "layout of struct exit_event");
_Static_assert(__builtin_offsetof(struct exit_event, status) == 64, "layout of struct exit_event");
_Static_assert(sizeof(struct failed_event) == 72, "layout of struct failed_event");
_Static_assert(__builtin_offsetof(struct failed_event, file_len) == 56, "layout of struct failed_event");
_Static_assert(__builtin_offsetof(struct failed_event, error) == 60, "layout of struct failed_event");
_Static_assert(__builtin_offsetof(struct failed_event, flags) == 64, "layout of struct failed_event");

#endif
