// Reads the arguments of a function of the kernel's out of the registers: one object for each architecture.
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* On riscv64, ftrace has the first 8 bytes of each function to itself, and Linux 6.12 answers EINVAL to a kprobe there (7.2 does not).
   They do nothing, so the arguments are still where they were. */
#ifdef __TARGET_ARCH_riscv
#define BEGIN "+8"
#else
#define BEGIN ""
#endif

struct open_how {
    __u64 flags;
    __u64 mode;
    __u64 resolve;
};

/* Whose calls are read. */
const volatile __u32 pid;

__u32 calls;
__s32 folder;
__u64 flags;
char name[32];

SEC("kprobe/do_sys_openat2" BEGIN)
int BPF_KPROBE(opening, int dfd, const char *filename, struct open_how *how)
{
    if (bpf_get_current_pid_tgid() >> 32 != pid)
        return 0;
    calls++;
    folder = dfd;
    bpf_probe_read_user_str(name, sizeof(name), filename);
    bpf_probe_read_kernel(&flags, sizeof(flags), &how->flags);
    return 0;
}
