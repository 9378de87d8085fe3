/* For BPF programs, which have no libc: the kernel's types. */
#pragma once
#include <linux/types.h>
