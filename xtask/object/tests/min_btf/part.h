/* The kernel's types, from its BTF: written by `cargo xtask vmlinux`. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif

struct inner;
struct task;
struct unwanted;
union either;

typedef int (*callback)(struct task *, long);

typedef struct {
	int counter;
} counter;

struct unwanted {
	int a[100];
};

union either {
	int a;
	long b;
	struct unwanted c;
};

struct matched {
	struct task *task;
	union either either;
	struct unwanted *rest;
};

typedef const int number;

enum state {
	STOPPED = 7,
};

typedef int __kernel_pid_t;

typedef __kernel_pid_t pid_t;

struct inner {
	char bytes_0[24];
	counter count;
	char bytes_28[404];
};

typedef unsigned long long u64;

struct task {
	long long : 64;
	char comm[16];
	char : 5;
	unsigned int flag : 1;
	int level : 3;
	char : 7;
	char bytes_26[402];
	pid_t pid;
	struct task *parent;
	long long : 64;
	const volatile struct inner inner[3];
	union {
		struct {
			long long : 64;
			u64 start;
		};
		char bytes_0[400];
	};
	volatile enum state state;
	counter uses;
	callback call;
	unsigned char tail[0];
};

struct twice {
	int : 32;
	int a;
};

struct twice___2 {
	int : 32;
	int a;
	int : 32;
};

enum wide {
	WIDE = 8589934592ULL,
} __attribute__((mode(DI)));

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif
