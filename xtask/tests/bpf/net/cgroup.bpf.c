// Rules of a control group.
#include "corpus.h"

SEC("cgroup/connect4")
int no_dns(struct bpf_sock_addr *address)
{
	return address->user_port != __builtin_bswap16(53);
}

SEC("cgroup_skb/egress")
int passes(struct __sk_buff *packet)
{
	return packet->len < 1500;
}
