/* The kernel's types, from its BTF: written by `cargo xtask vmlinux`. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif

struct Bool;
struct U64;
struct bits;
struct bool;
struct empty;
struct enums;
struct fooBar;
struct foo_bar;
struct forward;
struct globals;
struct keywords;
struct looks_aligned;
struct numbers;
struct option;
struct packed;
struct packed_bits;
struct padded;
struct result;
struct u64;
struct unions;
struct wide;
struct with_packed;
struct with_wide;
union empty_union;
union number;

typedef unsigned char __u8;

typedef unsigned long long __u64;

typedef unsigned short __u16;

typedef unsigned int __u32;

struct padded {
	__u8 a;
	__u64 b;
	__u16 c;
	__u32 d[3];
	__u8 e;
};

struct wide {
	__u32 a;
	char bytes_4[60];
};

struct with_wide {
	__u8 a;
	char bytes_1[63];
	struct wide b;
	__u8 c;
	char bytes_129[63];
};

struct packed {
	__u8 a;
	__u32 b;
	__u64 c;
	struct padded d;
} __attribute__((packed));

struct looks_aligned {
	__u64 a;
	__u64 b;
};

struct with_packed {
	__u32 a;
	struct looks_aligned b;
	struct packed c[2];
	__u16 d;
} __attribute__((packed));

enum small {
	SMALL_A = 0,
	SMALL_B = 200,
} __attribute__((mode(QI)));

enum negative {
	NEGATIVE = -5,
	POSITIVE = 5,
};

enum unsigned_kind {
	KIND_EXEC = 1,
	KIND_EXIT = 2,
	KIND_MOST = 4294967295,
};

enum large {
	LARGE_A = 1ULL,
	LARGE_B = 1311768467463790320ULL,
} __attribute__((mode(DI)));

enum large_negative {
	LARGE_NEGATIVE = -1311768467463790320LL,
} __attribute__((mode(DI)));

enum of_STATE_OFF {
	STATE_OFF = 0,
	STATE_ON = 1,
};

struct enums {
	enum small a;
	enum negative b;
	enum unsigned_kind c;
	enum large d;
	enum large_negative e;
	enum of_STATE_OFF state;
	enum small list[3];
};

typedef int __s32;

struct bits {
	__u32 a : 3;
	__s32 b : 5;
	char : 4;
	_Bool c : 1;
	enum negative d : 4;
	__u32 e : 32;
	__u16 f;
	__u64 g : 40;
	__u64 h : 24;
	__u8 i;
	__u32 j : 7;
	_Bool k;
	__u8 last : 2;
};

typedef long long __s64;

struct packed_bits {
	__u8 a;
	__u64 b : 61;
	__s64 c : 59;
} __attribute__((packed));

union empty_union {
};

struct empty {
};

union number {
	__u64 whole;
	__u32 halves[2];
	__u8 bytes[8];
	struct padded padded;
};

struct unions {
	__u32 kind;
	union {
		struct {
			__u32 a;
			__u64 b;
		};
		__u8 address[16];
		__u32 word;
	};
	union {
		__u64 only;
	};
	union empty_union nothing;
	struct empty nothing_either;
	union number number;
	struct {
		__u8 x;
		__u16 y;
	} inner;
	struct {
		__u8 x;
		__u16 y;
	} list[2];
	struct {
		__u16 first;
		__u16 second;
	};
};

struct keywords {
	__u32 type;
	__u32 self;
	__u32 Self;
	__u32 super;
	__u32 crate;
	__u32 match;
	__u32 gen;
	__u32 _;
	union {
		__u32 fn;
		__u32 impl;
	};
	__u32 padding_36;
	__u64 align;
};

typedef struct {
	__u8 a;
} foo_bar;

struct fooBar {
	foo_bar a;
	__u64 b;
};

struct option {
	__u8 a;
};

struct result {
	struct option option;
};

struct u64 {
	__u32 a;
};

struct U64 {
	__u16 a;
};

struct globals {
	struct result result;
	struct u64 low;
	struct U64 high;
};

struct foo_bar {
	struct fooBar a;
	struct globals b;
};

typedef struct forward *handle;

struct numbers {
	char text[5];
	signed char s8;
	unsigned char u8;
	_Bool yes;
	_Bool answers[3];
	short s16;
	long s64;
	unsigned long long u64;
	float f32;
	double f64;
	__int128 wide;
	handle pointer;
	int (*function)(void *, struct forward *);
	const volatile __u32 *const list[2];
	__u16 table[2][3];
	__u8 nothing[0];
	__u32 after;
};

struct event {
	struct padded padded;
	char bytes_40[24];
	struct with_wide with_wide;
	struct packed packed;
	char : 8;
	short : 16;
	struct with_packed with_packed;
	struct enums enums;
	struct bits bits;
	struct packed_bits packed_bits;
	struct unions unions;
	struct keywords keywords;
	struct foo_bar foo_bar;
	struct numbers numbers;
	char bytes_800[32];
};

struct flexible {
	__u32 length;
	__u8 kind;
	struct padded data[0];
};

struct Bool {
	_Bool yes : 1;
};

struct bool {
	_Bool no : 1;
};

enum fixed {
	FIXED = 4294967295,
} __attribute__((mode(QI)));

struct odd_names {
	__u32 self;
	__u32 self_;
	__u32 a$b;
	__u32 a_b;
	struct Bool one;
	struct bool other;
	enum fixed fixed;
};

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif
