/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What the BPF half of exectrace sends to userspace: one layout on every architecture. */
#ifndef EXECTRACE_H
#define EXECTRACE_H

#include <linux/types.h>

/* Fixed widths and hand-placed padding only: no long, no pointer, nothing whose place depends on the machine.
 * Numbers are in the byte order of the machine, which both halves share. */

enum limits {
	COMM_SIZE = 16,  /* TASK_COMM_LEN, the final NUL included */
	FILE_MAX = 4096, /* bytes of a file's name; PATH_MAX allows 4095, and /dev/fd/N/ may come before them */
	ARGS_MAX = 4096, /* bytes of all arguments together, the NUL after each included */
	CWD_MAX = 4096,  /* bytes of the names of the folders that the current directory is in, the NUL after each included */
	TTY_SIZE = 64,   /* bytes of a terminal's name, the final NUL included */
};

enum event_kind {
	EVENT_EXEC = 1,
	EVENT_EXIT = 2,
	EVENT_FAILED = 3,
};

enum exec_flags {
	EXEC_FILE_CUT = 1,        /* the file's name goes on beyond FILE_MAX */
	EXEC_ARGS_CUT = 2,        /* the arguments go on beyond ARGS_MAX */
	EXEC_ARGS_UNREADABLE = 4, /* the arguments could not be read: none are here */
	EXEC_PLACE = 8,           /* the current directory and the terminal are here */
	EXEC_CWD_CUT = 16,        /* the current directory is in more folders than are here */
	EXEC_CWD_DELETED = 32,    /* the current directory was deleted */
	EXEC_CWD_UNREACHABLE = 64,/* the current directory is not below the root of the process */
};

struct event_header {
	enum event_kind kind;
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
	enum exec_flags flags;
	__u32 cwd_len; /* bytes of the current directory: the names of it and of all that it is in, each with a NUL */
	__u32 tty_len; /* bytes of the name of the controlling terminal, the NUL included; 0 if there is none */
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
	enum exec_flags flags; /* EXEC_FILE_CUT */
	__u32 reserved; /* 0 */
};

#endif
