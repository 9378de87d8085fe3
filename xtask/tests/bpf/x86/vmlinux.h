/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* As much of a vmlinux.h of this architecture as the programs here take. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs { unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss; };
struct task_struct { int pid, tgid; struct task_struct *real_parent; char comm[16]; };
#pragma clang attribute pop
#endif
