/* For BPF programs, which have no libc: the kernel's addresses and protocols. */
#pragma once
#include <linux/in.h>
#include <linux/in6.h>
