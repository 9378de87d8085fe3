/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* As much of a vmlinux.h of this architecture as the programs here take. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct user_pt_regs { unsigned long regs[32], orig_a0, csr_era, csr_badv, reserved[10]; };
struct pt_regs { unsigned long regs[32], orig_a0, csr_era; };
struct task_struct { int pid, tgid; struct task_struct *real_parent; char comm[16]; };
#pragma clang attribute pop
#endif
