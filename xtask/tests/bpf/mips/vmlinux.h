/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* As much of a vmlinux.h of this architecture as the programs here take. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs { unsigned long pad0[8], regs[32], cp0_status, hi, lo, cp0_badvaddr, cp0_cause, cp0_epc; };
struct task_struct { int pid, tgid; struct task_struct *real_parent; char comm[16]; };
#pragma clang attribute pop
#endif
