// Arguments by the kernel's own BTF: one object for all architectures of a byte order.
#include "corpus.h"

struct file;
unsigned long count;

SEC("fentry/vfs_read")
int BPF_PROG(reading, struct file *file, char *buffer, size_t size)
{
	count += size;
	return 0;
}

SEC("fexit/vfs_read")
int BPF_PROG(has_read, struct file *file, char *buffer, size_t size, void *at, long result)
{
	count += result;
	return 0;
}
