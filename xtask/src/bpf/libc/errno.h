/* For BPF programs, which have no libc: the kernel's numbers, and the one name that is libc's own. */
#pragma once
#include <linux/errno.h>
#ifndef ENOTSUP
#define ENOTSUP EOPNOTSUPP
#endif
