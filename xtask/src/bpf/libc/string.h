/* For BPF programs, which have no libc: what clang replaces by instructions if the size is known. */
#pragma once
#define __need_NULL
#define __need_size_t
#include <stddef.h>
void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *one, const void *other, size_t size);
size_t strlen(const char *text);
