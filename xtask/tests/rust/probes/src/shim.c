// The members are not where the kernel has them: whoever loads this finds out where they are.
struct task_struct {
    int tgid;
    int pid;
} __attribute__((preserve_access_index));

int task_tgid(struct task_struct *task) {
    return task->tgid;
}
