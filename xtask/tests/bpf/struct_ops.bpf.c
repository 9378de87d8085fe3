// Operations of the kernel's that a program has, and a map of some that has none.
#include "corpus.h"

struct sock;

struct tcp_congestion_ops {
	unsigned (*ssthresh)(struct sock *sk);
	char name[16];
} __attribute__((preserve_access_index));

SEC("struct_ops/threshold")
unsigned BPF_PROG(threshold, struct sock *sk)
{
	return 2;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops corpus = { .ssthresh = (void *)threshold, .name = "corpus" };
