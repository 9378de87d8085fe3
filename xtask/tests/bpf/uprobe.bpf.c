// An argument and a result of a function of a library.
#include "vmlinux.h"
#include "corpus.h"

unsigned long sizes;

SEC("uprobe//proc/self/exe:malloc")
int BPF_UPROBE(allocating, unsigned long size)
{
	__sync_fetch_and_add(&sizes, size);
	return 0;
}

SEC("uretprobe//proc/self/exe:malloc")
int BPF_URETPROBE(allocated, void *memory)
{
	return memory == NULL;
}
