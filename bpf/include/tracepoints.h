/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What tracepoints.bpf.c sends to userspace. */
#ifndef TRACEPOINTS_H
#define TRACEPOINTS_H

#include <linux/types.h>

enum tracepoint {
	TASK_NEWTASK = 1,
	SCHED_PROCESS_EXEC = 3,
	SCHED_PROCESS_EXIT = 4,
	SYS_ENTER_EXIT_GROUP = 5,
	SYS_ENTER_EXIT = 6,
	SIGNAL_GENERATE = 7,
	SIGNAL_DELIVER = 8,
};

#define RECORD_HEADER 16      /* bytes before the tracepoint's own record */
#define RECORD_MAX 4352       /* bytes of that record: a file's name of 4096 and what comes before it */
#define RECORD_USUAL_MAX 128  /* the same, where there is no file's name */

struct record {
	enum tracepoint tracepoint;
	__u32 uid;        /* of the process that ran: real, in the first user namespace */
	__u64 cgroup_id;  /* of the same, in the unified hierarchy; 0 if the kernel has none */
	char data[RECORD_MAX];
};

_Static_assert(__builtin_offsetof(struct record, data) == RECORD_HEADER, "layout of struct record");

#endif
