/* For BPF programs, which have no libc: what clang replaces by instructions if the size is known. */
#pragma once
void *memcpy(void *to, const void *from, __SIZE_TYPE__ size);
void *memmove(void *to, const void *from, __SIZE_TYPE__ size);
void *memset(void *to, int byte, __SIZE_TYPE__ size);
int memcmp(const void *one, const void *other, __SIZE_TYPE__ size);
__SIZE_TYPE__ strlen(const char *text);
