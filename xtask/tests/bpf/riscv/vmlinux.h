/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* As much of a vmlinux.h of this architecture as the programs here take. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct user_regs_struct { unsigned long pc, ra, sp, gp, tp, t0, t1, t2, s0, s1, a0, a1, a2, a3, a4, a5, a6, a7; };
struct pt_regs { unsigned long epc, ra, sp, gp, tp, t0, t1, t2, s0, s1, a0, a1, a2, a3, a4, a5, a6, a7, orig_a0; };
struct task_struct { int pid, tgid; struct task_struct *real_parent; char comm[16]; };
#pragma clang attribute pop
#endif
