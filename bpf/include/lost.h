/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What userspace will not see, counted. */
#ifndef LOST_H
#define LOST_H

#include "uapi.h"

#include <bpf/bpf_helpers.h>

/* Events for which there was no room, or no buffer of their processor. A counter for each CPU needs no atomics. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

static __always_inline void count_lost(void)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&lost, &zero);

	if (count)
		*count += 1;
}

#endif
