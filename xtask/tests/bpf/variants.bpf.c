// One source, of which the configuration makes several objects.
#include "corpus.h"
#ifndef STEP
#define STEP 1
#endif

long count;

SEC("raw_tp/sys_enter")
int entered(void *context)
{
	count += STEP;
	return 0;
}
