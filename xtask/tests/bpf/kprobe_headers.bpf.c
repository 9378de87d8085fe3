// An argument out of the registers as the kernel's headers lay them out: another object for each architecture.
#include <linux/ptrace.h>
#include "corpus.h"

int seen;

SEC("kprobe/do_nanosleep")
int BPF_KPROBE(sleeping, void *timer, int mode)
{
	seen = mode;
	return 0;
}

SEC("kretprobe/do_nanosleep")
int BPF_KRETPROBE(slept, int result)
{
	seen = result;
	return 0;
}
