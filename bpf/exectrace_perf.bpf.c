/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* For kernels without a ring buffer (before 5.8): sends events through a perf buffer for each CPU. */

#include "programs.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

static __always_inline long output(void *ctx, void *event, __u64 size)
{
	return bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, event, size);
}
