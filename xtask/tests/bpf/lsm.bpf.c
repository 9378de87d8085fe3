// A decision of security.
#include <errno.h>
#include "corpus.h"

struct linux_binprm;
bool locked;

SEC("lsm/bprm_check_security")
int BPF_PROG(runs, struct linux_binprm *program, int earlier)
{
	return earlier ? earlier : locked ? -EPERM : 0;
}
