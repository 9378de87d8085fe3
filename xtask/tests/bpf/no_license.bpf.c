// A program that calls no helper for GPL programs only, and says nothing about its license.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("socket")
int passes(struct __sk_buff *packet)
{
	return packet->len;
}
