// A static probe, whose arguments libbpf finds at run time.
#include "vmlinux.h"
#include "corpus.h"
#include <bpf/usdt.bpf.h>

long value;

SEC("usdt//proc/self/exe:corpus:point")
int BPF_USDT(point, int first, void *second)
{
	value = first + (second != NULL);
	return 0;
}
