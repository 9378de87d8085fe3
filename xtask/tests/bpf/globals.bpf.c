// Data that the application sets before load and reads after, in all sections there are; and a weak function.
#include "corpus.h"

enum kind { NONE, SOME = 7 };

const volatile int limit = 3;
const volatile enum kind kind = SOME;
int zero, one = 1;
char name[5] = "four";
unsigned long long own SEC(".data.own") = 1;

__weak int counted(int number)
{
	return number < limit ? number : limit;
}

static __noinline int twice(int number)
{
	return number * 2 + one;
}

SEC("raw_tp/sys_exit")
int left(void *context)
{
	zero += counted(one) + twice(kind) + name[1] + own;
	return 0;
}
