/* The kernel's types, from its BTF: written by `cargo xtask vmlinux`. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif

struct bits;
struct numbers;
struct unions;

typedef int __s32;

typedef unsigned long long __u64;

struct bits {
	char : 3;
	__s32 b : 5;
	char : 8;
	short : 16;
	int : 32;
	short : 16;
	__u64 g : 40;
	char : 8;
	long long : 64;
};

typedef unsigned int __u32;

struct unions {
	__u32 kind;
	union {
		struct {
			long long : 64;
			__u64 b;
		};
	};
	char bytes_24[64];
};

struct numbers {
	char bytes_0[40];
	double f64;
	char bytes_48[64];
} __attribute__((aligned(16)));

struct event {
	char bytes_0[480];
	struct bits bits;
	long long : 64;
	long long : 64;
	struct unions unions;
	char bytes_608[80];
	struct numbers numbers;
	char bytes_800[32];
};

enum unsigned_kind {
	KIND_EXEC = 1,
	KIND_EXIT = 2,
	KIND_MOST = 4294967295,
};

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif
