// A map of operations without any program.
#include "corpus.h"

struct sched_ext_ops {
	char name[128];
};

SEC(".struct_ops.link")
struct sched_ext_ops nothing = { .name = "nothing" };
