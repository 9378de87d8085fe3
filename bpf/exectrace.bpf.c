/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Sends events through a ring buffer, which all CPUs share and which keeps the order of events. */

#include "programs.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20); /* bytes; userspace sets its own */
} events SEC(".maps");

static __always_inline long output(void *ctx __attribute__((unused)), void *event, __u64 size)
{
	return bpf_ringbuf_output(&events, event, size, 0);
}
