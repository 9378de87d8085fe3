// What the kernel says of itself, and what it has by name.
#include "corpus.h"

extern int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig __weak;
extern const void bpf_prog_fops __ksym;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;

unsigned long long at;

SEC("raw_tp/sys_enter")
int entered(void *context)
{
	if (LINUX_KERNEL_VERSION >= 0x050a00 && CONFIG_BPF_SYSCALL)
		at = (unsigned long long)&bpf_prog_fops;
	if (bpf_ksym_exists(bpf_rcu_read_lock)) {
		bpf_rcu_read_lock();
		bpf_rcu_read_unlock();
	}
	return 0;
}
