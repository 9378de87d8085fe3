// Sockets, and what is sent from one to another.
#include "corpus.h"

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

SEC("sockops")
int connected(struct bpf_sock_ops *context)
{
	__u32 key = context->local_port;

	if (context->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		bpf_sock_hash_update(context, &sockets, &key, BPF_ANY);
	return 0;
}

SEC("sk_msg")
int sent(struct sk_msg_md *message)
{
	__u32 key = message->remote_port;

	return bpf_msg_redirect_hash(message, &sockets, &key, BPF_F_INGRESS);
}
