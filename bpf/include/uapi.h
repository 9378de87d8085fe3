/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The few constants of linux/bpf.h that are used here: reading all of it takes a tenth of the time in which all sources are compiled. */
#ifndef UAPI_H
#define UAPI_H

#include <linux/types.h>

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
};

#define BPF_F_CURRENT_CPU 0xffffffffULL

#endif
