// A packet, parsed; in a folder below.
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include "corpus.h"
#include <bpf/bpf_endian.h>

SEC("xdp")
int drops_udp(struct xdp_md *context)
{
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = data + sizeof(*ethernet);

	if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	return ip->protocol == IPPROTO_UDP ? XDP_DROP : XDP_PASS;
}
