/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Types whose layout bindings have to keep, and what the compiler says of it: PROBE() writes sizes and offsets into the object,
 * where a test finds them. All that generators of bindings have been wrong with is here. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define OFFSET(type, member) __builtin_offsetof(type, member)
#define PROBE(name, type, ...) const __u32 probe_##name[] = { sizeof(type), _Alignof(type), ##__VA_ARGS__ }

/* Padding between and after members; 64 bits beside 32. */
struct padded {
	__u8 a;
	__u64 b;
	__u16 c;
	__u32 d[3];
	__u8 e;
};
PROBE(padded, struct padded, OFFSET(struct padded, a), OFFSET(struct padded, b), OFFSET(struct padded, c),
      OFFSET(struct padded, d), OFFSET(struct padded, e));

/* Larger alignment than its members need: of a whole, of a member, and within another. */
struct wide {
	__u32 a;
} __attribute__((aligned(64)));
PROBE(wide, struct wide, OFFSET(struct wide, a));

struct with_wide {
	__u8 a;
	struct wide b;
	__u8 c __attribute__((aligned(32)));
};
PROBE(with_wide, struct with_wide, OFFSET(struct with_wide, a), OFFSET(struct with_wide, b),
      OFFSET(struct with_wide, c));

/* Smaller alignment. */
struct packed {
	__u8 a;
	__u32 b;
	__u64 c;
	struct padded d;
} __attribute__((packed));
PROBE(packed, struct packed, OFFSET(struct packed, a), OFFSET(struct packed, b), OFFSET(struct packed, c),
      OFFSET(struct packed, d));

/* One that looks as if it were aligned, where it is not. */
struct looks_aligned {
	__u64 a;
	__u64 b;
} __attribute__((packed));

struct with_packed {
	__u32 a;
	struct looks_aligned b;
	struct packed c[2];
	__u16 d;
} __attribute__((packed, aligned(4)));
PROBE(looks_aligned, struct looks_aligned, OFFSET(struct looks_aligned, a), OFFSET(struct looks_aligned, b));
PROBE(with_packed, struct with_packed, OFFSET(struct with_packed, a), OFFSET(struct with_packed, b),
      OFFSET(struct with_packed, c), OFFSET(struct with_packed, d));

/* Enums of all sizes and signs. */
enum small { SMALL_A, SMALL_B = 200 } __attribute__((packed));
enum negative { NEGATIVE = -5, POSITIVE = 5 };
enum unsigned_kind { KIND_EXEC = 1, KIND_EXIT = 2, KIND_MOST = 0xffffffff };
enum large { LARGE_A = 1, LARGE_B = 0x123456789abcdef0 };
enum large_negative { LARGE_NEGATIVE = -0x123456789abcdef0 };

struct enums {
	enum small a;
	enum negative b;
	enum unsigned_kind c;
	enum large d;
	enum large_negative e;
	enum { STATE_OFF, STATE_ON } state;
	enum small list[3];
};
PROBE(enums, struct enums, OFFSET(struct enums, a), OFFSET(struct enums, b), OFFSET(struct enums, c),
      OFFSET(struct enums, d), OFFSET(struct enums, e), OFFSET(struct enums, state), OFFSET(struct enums, list));

/* Bit fields: beside others, signed, wide, at the end, whole numbers, without a name, of an enum, of a bool. */
struct bits {
	__u32 a : 3;
	__s32 b : 5;
	__u32 : 4;
	_Bool c : 1;
	enum negative d : 4;
	__u32 e : 32;
	__u16 f;
	__u64 g : 40;
	__u64 h : 24;
	__u8 i;
	__u32 : 0;
	__u32 j : 7;
	_Bool k;
	__u8 last : 2;
};
PROBE(bits, struct bits, OFFSET(struct bits, f), OFFSET(struct bits, i), OFFSET(struct bits, k));

struct packed_bits {
	__u8 a;
	__u64 b : 61;
	__s64 c : 59;
} __attribute__((packed));
PROBE(packed_bits, struct packed_bits, OFFSET(struct packed_bits, a));

/* Unions, with and without names, and nothing at all. */
union empty_union {};
struct empty {};

union number {
	__u64 whole;
	__u32 halves[2];
	__u8 bytes[8];
	struct padded padded;
};
PROBE(number, union number, OFFSET(union number, whole), OFFSET(union number, padded));

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
	} inner, list[2];
	struct {
		__u16 first;
		__u16 second;
	};
};
PROBE(unions, struct unions, OFFSET(struct unions, kind), OFFSET(struct unions, a), OFFSET(struct unions, b),
      OFFSET(struct unions, address), OFFSET(struct unions, word), OFFSET(struct unions, only),
      OFFSET(struct unions, number), OFFSET(struct unions, inner), OFFSET(struct unions, list),
      OFFSET(struct unions, first), OFFSET(struct unions, second));

/* Words that Rust has for other things. */
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
PROBE(keywords, struct keywords, OFFSET(struct keywords, type), OFFSET(struct keywords, self),
      OFFSET(struct keywords, Self), OFFSET(struct keywords, super), OFFSET(struct keywords, crate),
      OFFSET(struct keywords, match), OFFSET(struct keywords, gen), OFFSET(struct keywords, _),
      OFFSET(struct keywords, fn), OFFSET(struct keywords, impl), OFFSET(struct keywords, padding_36),
      OFFSET(struct keywords, align));

/* Names that Rust's own meet. */
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
typedef struct {
	__u8 a;
} foo_bar;
struct fooBar {
	foo_bar a;
	__u64 b;
};
struct foo_bar {
	struct fooBar a;
	struct globals b;
};
PROBE(foo_bar, struct foo_bar, OFFSET(struct foo_bar, a), OFFSET(struct foo_bar, b));

/* Everything that is a number, or is to become one. */
struct forward;
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
PROBE(numbers, struct numbers, OFFSET(struct numbers, text), OFFSET(struct numbers, s8), OFFSET(struct numbers, u8),
      OFFSET(struct numbers, yes), OFFSET(struct numbers, answers), OFFSET(struct numbers, s16),
      OFFSET(struct numbers, s64), OFFSET(struct numbers, u64), OFFSET(struct numbers, f32),
      OFFSET(struct numbers, f64), OFFSET(struct numbers, wide), OFFSET(struct numbers, pointer),
      OFFSET(struct numbers, function), OFFSET(struct numbers, list), OFFSET(struct numbers, table),
      OFFSET(struct numbers, after));

struct flexible {
	__u32 length;
	__u8 kind;
	struct padded data[];
};
PROBE(flexible, struct flexible, OFFSET(struct flexible, length), OFFSET(struct flexible, kind));

/* Everything in one event of a ring buffer. */
struct event {
	struct padded padded;
	struct with_wide with_wide;
	struct packed packed;
	struct with_packed with_packed;
	struct enums enums;
	struct bits bits;
	struct packed_bits packed_bits;
	struct unions unions;
	struct keywords keywords;
	struct foo_bar foo_bar;
	struct numbers numbers;
};
PROBE(event, struct event, OFFSET(struct event, padded), OFFSET(struct event, with_wide), OFFSET(struct event, packed),
      OFFSET(struct event, with_packed), OFFSET(struct event, enums), OFFSET(struct event, bits),
      OFFSET(struct event, packed_bits), OFFSET(struct event, unions), OFFSET(struct event, keywords),
      OFFSET(struct event, foo_bar), OFFSET(struct event, numbers));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
	__type(value, struct event);
} events SEC(".maps");

/* A map called as a keyword, with types that have no name. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct {
		__u32 pid;
		__u8 cpu;
	});
	__type(value, union {
		__u64 count;
		__u32 pair[2];
	});
} match SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct {
		__u32 length;
		__u8 address[4];
	});
	__type(value, struct flexible);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} samples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, 6);
	__uint(value_size, 10);
} untyped SEC(".maps");

/* What the other side must see, whatever the byte order. */
struct bits bits_value = { .a = 5, .b = -7, .c = 1, .d = NEGATIVE, .e = 0x89abcdef, .f = 0x1234, .g = 0xfedcba9876,
			   .h = 0xabcdef, .i = 0x5a, .j = 0x55, .k = 1, .last = 2 };
struct packed_bits packed_bits_value = { .a = 0xa5, .b = 0x123456789abcdef, .c = -0x123456789abcdef };
struct packed packed_value = { .a = 1, .b = 0x23456789, .c = 0x0123456789abcdef, .d = { .b = 7, .d = { 1, 2, 3 } } };
struct unions unions_value = { .kind = 9, .a = 0x01020304, .b = 0x1122334455667788, .only = 4, .second = 77 };
struct enums enums_value = { SMALL_B, NEGATIVE, KIND_MOST, LARGE_B, LARGE_NEGATIVE, STATE_ON, { SMALL_A, SMALL_B } };
struct numbers numbers_value = { .text = "text", .s8 = -8, .u8 = 200, .yes = 1, .answers = { 0, 1, 1 }, .s16 = -16,
				 .s64 = -64, .u64 = -1ull, .f32 = 1.5f, .f64 = -2.25, .wide = -3,
				 .table = { { 1, 2, 3 }, { 4, 5, 6 } }, .after = 12 };
struct keywords keywords_value = { .type = 1, .self = 2, .impl = 3, .align = 4 };
const volatile __u32 limit __attribute__((aligned(16))) = 10;
const volatile _Bool verbose = 1;
__u8 odd = 3;
__u64 counters[3] __attribute__((aligned(64)));
__u32 own_section SEC(".data.own") = 5;
static volatile __u32 hidden = 1;
/* With more bytes than its type has. */
const struct flexible long_value = { .length = 1, .kind = 2, .data = { { .a = 3 } } };

const struct flexible *unused_flexible __attribute__((unused));
const struct wide *unused_wide __attribute__((unused));

static __always_inline void count(void)
{
	static volatile __u32 calls;

	calls += hidden;
}

/* Two names in C that are one in Rust, types called as those that macros name, and an enum of a type that has a name. */
enum fixed : __s8 {
	FIXED = -1,
};

struct odd_names {
	__u32 self;
	__u32 self_;
	__u32 a$b;
	__u32 a_b;
	struct Bool {
		_Bool yes : 1;
	} one;
	struct bool {
		_Bool no : 1;
	} other;
	enum fixed fixed;
} odd_names_value;

SEC("raw_tp/sys_enter")
int loop(void *ctx)
{
	static volatile __u32 calls;
	__u32 zero = 0;

	calls += limit + verbose;
	count();
	bpf_map_lookup_elem(&untyped, &zero);
	return 0;
}

SEC("kprobe/do_unlinkat")
int type(void *ctx)
{
	return 0;
}
