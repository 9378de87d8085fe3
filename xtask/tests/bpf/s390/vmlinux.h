/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* As much of a vmlinux.h of this architecture as the programs here take. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__
typedef struct { unsigned long mask, addr; } psw_t;
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef struct { unsigned long args[1]; psw_t psw; unsigned long gprs[16]; } user_pt_regs;
struct pt_regs { unsigned long args[1]; psw_t psw; unsigned long gprs[16]; unsigned long orig_gpr2; };
struct task_struct { int pid, tgid; struct task_struct *real_parent; char comm[16]; };
#pragma clang attribute pop
#endif
