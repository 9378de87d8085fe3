/* Processes that begin and end in every odd way there is, for ci/compare: --rounds ROUNDS FOLDER-OF-32-BIT-PROGRAMS. After a line on
 * standard input it does all of it so often, and writes the number, the status as of wait(2) and the name of what was done of each of its children. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static char folder[64] = "/tmp/compare-XXXXXX";
static char self[128], *no_environment[] = {NULL}, *environment[2];

static void nap(double seconds)
{
	struct timespec time = {(time_t)seconds, (long)((seconds - (long)seconds) * 1e9)};

	nanosleep(&time, NULL);
}

/* A program whose first argument is a number ends with it as its code. */
static void run(const char *file, const char *code)
{
	char *args[] = {"odd \n\x1b[31m\xe2\x80\xae", (char *)code, "", "\xff", NULL};

	execve(file, args, environment);
	_exit(120);
}

static const char *path(const char *name)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void *sleeps(void *unused)
{
	nap(9);
	return unused;
}

static void *returns(void *unused)
{
	return unused;
}

static void *executes(void *unused)
{
	(void)unused;
	nap(0.005);
	run(self, "31");
	return NULL;
}

static void *ends_all(void *code)
{
	nap(0.005);
	_exit((int)(intptr_t)code);
}

static void *ends_itself(void *code)
{
	nap(0.005);
	syscall(SYS_exit, (int)(intptr_t)code);
	return NULL;
}

static pthread_t thread(void *(*does)(void *), intptr_t with)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, does, (void *)with))
		_exit(121);
	return thread;
}

static void plain(void) { _exit(7); }
static void exec_plain(void) { run(self, "8"); }
static void killed(void) { kill(getpid(), SIGKILL); nap(9); }
static void terminated(void) { thread(sleeps, 0); kill(getpid(), SIGTERM); nap(9); }
static void aborted(void) { struct rlimit none = {0, 0}; setrlimit(RLIMIT_CORE, &none); abort(); }
static void dumps(void)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	if (chdir(folder))
		_exit(122);
	setrlimit(RLIMIT_CORE, &all);
	*(volatile int *)8 = 1;
}
static void real_time_signal(void) { kill(getpid(), SIGRTMIN + 3); nap(9); }
static void broken_pipe(void)
{
	int ends[2];

	signal(SIGPIPE, SIG_DFL);
	if (!pipe(ends))
		close(ends[0]);
	if (write(ends[1], "x", 1) != 1)
		_exit(122);
}
static void alarmed(void) { ualarm(3000, 0); nap(9); }
static void too_long(void) { struct rlimit one = {1, 1}; setrlimit(RLIMIT_CPU, &one); raise(SIGXCPU); }
static void stopped(void)
{
	pid_t own = getpid();

	if (!fork()) {
		nap(0.02);
		kill(own, SIGCONT);
		_exit(23);
	}
	raise(SIGSTOP);
	wait(NULL);
	_exit(24);
}
static void blocked_signal(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	kill(getpid(), SIGTERM);
	kill(getpid(), SIGINT);
	_exit(25);
}
static void thread_executes(void) { thread(sleeps, 0); thread(executes, 0); nap(9); }
static void leader_ends_then_thread_executes(void) { thread(executes, 0); thread(sleeps, 0); syscall(SYS_exit, 3); }
static void leader_ends_then_thread_ends_all(void) { thread(ends_all, 26); syscall(SYS_exit, 0); }
static void leader_ends_last(void) { pthread_join(thread(returns, 0), NULL); nap(0.03); syscall(SYS_exit, 27); }
static void thread_ends_last(void) { thread(ends_itself, 28); syscall(SYS_exit, 0); }
static void threads_pending(void) { for (int n = 0; n < 8; n++) thread(sleeps, 0); _exit(29); }
static void threads_race(void) { for (int n = 0; n < 8; n++) thread(n % 2 ? ends_all : returns, 30); nap(9); }
static void threads_race_exec(void) { for (int n = 0; n < 8; n++) thread(n % 2 ? executes : returns, 0); nap(9); }
static void thread_renames(void)
{
	char name[64];
	int file;

	thread(sleeps, 0);
	snprintf(name, sizeof name, "/proc/self/task/%d/comm", getpid());
	file = open(name, O_WRONLY);
	if (write(file, "re\nname\x1b\xff", 9) < 0)
		_exit(122);
	_exit(32);
}
static void renames(void) { prctl(PR_SET_NAME, "\xe2\x80\xae" "bidi\nx"); _exit(33); }
static void vfork_fails(void)
{
	pid_t child = vfork();

	if (!child) {
		execve("/no/such/file", no_environment, no_environment);
		execve(folder, no_environment, no_environment);
		_exit(34);
	}
	waitpid(child, NULL, 0);
	run(self, "35");
}
static void by_descriptor(void)
{
	char *args[] = {"fd", "36", NULL};
	int file = open(self, O_RDONLY);

	syscall(SYS_execveat, file, "", args, no_environment, AT_EMPTY_PATH);
	_exit(120);
}
static void by_descriptor_of_a_folder(void)
{
	char *args[] = {"at", "37", NULL};
	int place = open(folder, O_PATH);

	syscall(SYS_execveat, place, "plain", args, environment, 0);
	_exit(120);
}
static void from_memory(void)
{
	char *args[] = {"memory", "38", NULL}, block[65536];
	int from = open(self, O_RDONLY), to = memfd_create("a\nname", MFD_CLOEXEC);
	ssize_t length;

	while ((length = read(from, block, sizeof block)) > 0)
		if (write(to, block, length) != length)
			_exit(122);
	syscall(SYS_execveat, to, "", args, environment, AT_EMPTY_PATH);
	_exit(120);
}
static void chain_of_scripts(void) { run(path("script3"), "39"); }
static void odd_name(void) { run(path("o\xe2\x80\xae\n\x1b[2J\xff"), "40"); }
static void long_name(void)
{
	char name[4096];

	strcpy(name, folder);
	while (strlen(name) < 1500)
		strcat(name, "/.");
	strcat(name, "/plain");
	run(name, "41");
}
static void no_arguments(void) { execve(self, no_environment, environment); _exit(120); }
static void null_arguments(void) { syscall(SYS_execve, self, NULL, NULL); _exit(120); }
static void many_arguments(void)
{
	static char *args[3000] = {"many", "42"};

	for (int n = 2; n < 2999; n++)
		args[n] = "x";
	execve(self, args, environment);
	_exit(120);
}
static void large_arguments(void)
{
	static char *args[20] = {"large", "43"}, text[100001];

	memset(text, 'l', 100000);
	for (int n = 2; n < 19; n++)
		args[n] = text;
	execve(self, args, environment);
	_exit(120);
}
static void large_environment(void)
{
	static char *args[] = {"environment", "44", NULL}, *many[20], text[100001];

	memset(text, 'e', 100000);
	for (int n = 0; n < 19; n++)
		many[n] = text;
	execve(self, args, many);
	_exit(120);
}
static void no_format(void) { execve(path("text"), no_environment, no_environment); _exit(45); }
static void fails_late(void) { run(path("cut"), "46"); }
static void in_namespaces(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS) && unshare(CLONE_NEWPID))
		_exit(47);
	if (!fork()) {
		if (!fork())
			run(self, "48");
		wait(NULL);
		run(self, "49");
	}
	wait(NULL);
	_exit(50);
}
static void in_another_time(void)
{
	int file;

	if (unshare(CLONE_NEWTIME))
		_exit(51);
	file = open("/proc/self/timens_offsets", O_WRONLY);
	if (write(file, "monotonic 86400 0\n", 18) < 0)
		_exit(51);
	if (!fork())
		run(self, "52");
	wait(NULL);
	_exit(53);
}
static void in_another_root(void)
{
	if (chroot(folder) || chdir("/"))
		_exit(54);
	run("/plain", "55");
}
static void other_user(void) { if (setresuid(65534, 65534, 65534)) _exit(56); run(self, "57"); }
static void other_effective_user(void) { if (seteuid(65534)) _exit(56); run(self, "58"); }
static void unreadable(void) { if (setresuid(65534, 65534, 65534)) _exit(56); run(path("unreadable"), "-80"); }
static void set_user(void) { if (setresuid(65534, 65534, 65534)) _exit(56); run(path("setuid"), "-81"); }
static void set_user_from_thread(void)
{
	if (setresuid(65534, 65534, 65534))
		_exit(56);
	snprintf(self, sizeof self, "%s", path("setuid"));
	thread(executes, 0);
	syscall(SYS_exit, 0);
}
static void set_user_fails_late(void) { if (seteuid(65534)) _exit(56); run(path("cut"), "46"); }
static void other_user_at_the_end(void) { if (setuid(1234)) _exit(56); _exit(59); }
static void thread_of_another_user(void)
{
	thread(sleeps, 0);
	syscall(SYS_setresuid, 1234, 1234, 1234);
	run(self, "60");
}
static void orphan(void)
{
	if (!fork()) {
		nap(0.05);
		run(self, "61");
	}
	_exit(62);
}
static void sibling(void)
{
	if (!syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0))
		run(self, "63");
	nap(0.01);
	_exit(64);
}
static int shares(void *unused)
{
	(void)unused;
	run(self, "65");
	return 0;
}
static void shared_memory(void)
{
	static char stack[65536];
	pid_t child = clone(shares, stack + sizeof stack, CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD, NULL);

	waitpid(child, NULL, 0);
	_exit(66);
}
static void traced(void)
{
	pid_t child = fork();
	int status;

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		run(self, "67");
	}
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status))
		ptrace(PTRACE_CONT, child, 0, 0);
	child = fork();
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(68);
	}
	waitpid(child, &status, 0);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	_exit(69);
}
static void refuse_getppid(unsigned action)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, filter};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(122);
}
static void *asks(void *unused)
{
	syscall(SYS_getppid);
	return unused;
}
static void thread_refused(void) { refuse_getppid(SECCOMP_RET_KILL_THREAD); thread(asks, 0); nap(0.05); _exit(87); }
static void last_thread_refused(void)
{
	refuse_getppid(SECCOMP_RET_KILL_THREAD);
	thread(ends_itself, 108);
	syscall(SYS_getppid);
}
static void process_refused(void) { refuse_getppid(SECCOMP_RET_KILL_PROCESS); thread(sleeps, 0); thread(asks, 0); nap(9); }
static void thread_fails(void) { thread(ends_itself, 88); nap(0.05); _exit(0); }
static void subreaper(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (!fork()) {
		if (!fork()) {
			nap(0.03);
			run(self, "89");
		}
		_exit(90);
	}
	while (wait(NULL) > 0)
		;
	_exit(91);
}
/* The number comes back at once. */
static void same_number(void)
{
	pid_t number = 0, child;
	char code[16];

	for (int n = 0; n < 8; n++) {
		struct clone_args with = {.exit_signal = SIGCHLD, .set_tid_size = number != 0};

		with.set_tid = number ? (uintptr_t)&number : 0;
		child = syscall(SYS_clone3, &with, sizeof with);
		if (child < 0)
			_exit(122);
		if (!child) {
			if (n % 3 == 2)
				_exit(92 + n);
			if (n % 3 == 1) {
				thread(ends_all, 92 + n);
				nap(9);
			}
			snprintf(code, sizeof code, "%d", 92 + n);
			run(self, code);
		}
		waitpid(child, NULL, 0);
		number = child;
	}
	_exit(100);
}
static void vfork_killed(void)
{
	pid_t child = vfork();

	if (!child) {
		kill(getpid(), SIGKILL);
		_exit(122);
	}
	waitpid(child, NULL, 0);
	_exit(101);
}
static void killed_while_it_executes(void)
{
	pid_t child;

	for (int n = 0; n < 10; n++) {
		child = fork();
		if (!child)
			run(self, "102");
		nap(n * 0.0001);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	_exit(103);
}
static void endless_stack(void)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	setrlimit(RLIMIT_STACK, &all);
	run(self, "104");
}
static void without_chance(void) { personality(ADDR_NO_RANDOMIZE); run(self, "105"); }
static void deleted(void)
{
	char name[160];

	snprintf(name, sizeof name, "%s/deleted-%d", folder, getpid());
	if (link(self, name) || !fork())
		run(name, "-106");
	nap(0.02);
	unlink(name);
	wait(NULL);
	_exit(107);
}
/* Threads of the kernel's own in this process: one that polls, or one that waits for a pipe. */
static void worker(int polls)
{
	struct io_uring_params params = {.flags = polls ? IORING_SETUP_SQPOLL : 0, .sq_thread_idle = 2000};
	int ring = syscall(SYS_io_uring_setup, 4, &params), ends[2];
	struct io_uring_sqe *entry;
	static char byte;
	char *queue;

	if (ring < 0 || polls || pipe(ends))
		return;
	queue = mmap(NULL, params.sq_off.array + 16, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	entry = mmap(NULL, 4 * sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	if (queue == MAP_FAILED || entry == MAP_FAILED)
		return;
	entry->opcode = IORING_OP_READ;
	entry->flags = IOSQE_ASYNC;
	entry->fd = ends[0];
	entry->addr = (uintptr_t)&byte;
	entry->len = 1;
	__atomic_store_n((unsigned *)(queue + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0);
	nap(0.01);
}
static void worker_polls(void) { worker(1); _exit(82); }
static void worker_waits(void) { worker(0); _exit(83); }
static void worker_and_threads(void) { thread(sleeps, 0); worker(0); thread(ends_all, 84); nap(9); }
static void worker_is_left(void) { worker(0); syscall(SYS_exit, 85); }
static void worker_terminated(void) { worker(0); kill(getpid(), SIGTERM); nap(9); }
static void worker_dumps(void) { worker(0); dumps(); }
static void worker_executes(void) { worker(0); worker(1); run(self, "86"); }
static void seccomp(void) { prctl(PR_SET_SECCOMP, 1); getppid(); }
static void session(void) { if (fork()) _exit(70); setsid(); run(self, "71"); }
static void elsewhere(void) { if (chdir("/proc/self")) _exit(72); run(self, "73"); }
static void word_32(void) { run(path("word32"), "0"); }
static void word_x32(void) { run(path("x32"), "0"); }
static void many_at_once(void)
{
	for (int n = 0; n < 20; n++)
		if (!fork())
			run(self, "74");
	while (wait(NULL) > 0)
		;
	_exit(75);
}
static void child_outlives(void)
{
	if (!fork()) {
		if (!fork()) {
			nap(0.03);
			_exit(76);
		}
		_exit(77);
	}
	wait(NULL);
	_exit(78);
}

#define DEED(name) {#name, name}
static const struct {
	const char *name;
	void (*does)(void);
} deeds[] = {
	DEED(plain), DEED(exec_plain), DEED(killed), DEED(terminated), DEED(aborted), DEED(dumps), DEED(real_time_signal),
	DEED(broken_pipe), DEED(alarmed), DEED(too_long), DEED(stopped), DEED(blocked_signal), DEED(thread_executes),
	DEED(leader_ends_then_thread_executes), DEED(leader_ends_then_thread_ends_all), DEED(leader_ends_last),
	DEED(thread_ends_last), DEED(threads_pending), DEED(threads_race), DEED(threads_race_exec), DEED(thread_renames),
	DEED(renames), DEED(vfork_fails), DEED(by_descriptor), DEED(by_descriptor_of_a_folder), DEED(from_memory),
	DEED(chain_of_scripts), DEED(odd_name), DEED(long_name), DEED(no_arguments), DEED(null_arguments),
	DEED(many_arguments), DEED(large_arguments), DEED(large_environment), DEED(no_format), DEED(fails_late),
	DEED(in_namespaces), DEED(in_another_time), DEED(in_another_root), DEED(other_user), DEED(other_effective_user),
	DEED(unreadable), DEED(set_user), DEED(set_user_from_thread), DEED(set_user_fails_late),
	DEED(other_user_at_the_end), DEED(thread_of_another_user), DEED(orphan), DEED(sibling), DEED(shared_memory),
	DEED(traced), DEED(seccomp), DEED(session), DEED(elsewhere), DEED(word_32), DEED(word_x32), DEED(many_at_once),
	DEED(child_outlives), DEED(worker_polls), DEED(worker_waits), DEED(worker_and_threads), DEED(worker_is_left),
	DEED(worker_terminated), DEED(worker_dumps), DEED(worker_executes),
	DEED(thread_refused), DEED(last_thread_refused), DEED(process_refused), DEED(thread_fails), DEED(subreaper),
	DEED(same_number), DEED(vfork_killed), DEED(killed_while_it_executes), DEED(endless_stack), DEED(without_chance),
	DEED(deleted),
};

static void copy(const char *from, const char *to, size_t most, const char *text)
{
	char block[4096];
	ssize_t length;
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755), in;

	if (text && write(out, text, strlen(text)) < 0)
		_exit(122);
	in = from ? open(from, O_RDONLY) : -1;
	while (in >= 0 && most && (length = read(in, block, most < sizeof block ? most : sizeof block)) > 0) {
		if (write(out, block, length) != length)
			_exit(122);
		most -= length;
	}
	close(in);
	close(out);
}

static void set_up(const char *words)
{
	char text[256];

	if (!mkdtemp(folder) || chmod(folder, 0755))
		exit(1);
	snprintf(self, sizeof self, "%s/plain", folder);
	copy("/proc/self/exe", self, -1, NULL);
	copy(self, path("o\xe2\x80\xae\n\x1b[2J\xff"), -1, NULL);
	copy(self, path("unreadable"), -1, NULL);
	copy(self, path("setuid"), -1, NULL);
	if (chmod(path("unreadable"), 0711) || chmod(path("setuid"), 04755))
		exit(1);
	/* Its headers are those of a program, and what they name is not there. */
	copy(self, path("cut"), 3000, NULL);
	copy(NULL, path("text"), 0, "no program");
	snprintf(text, sizeof text, "#!%s 39\n", self);
	copy(NULL, path("script1"), 0, text);
	snprintf(text, sizeof text, "#!%s/script1 two words\n", folder);
	copy(NULL, path("script2"), 0, text);
	snprintf(text, sizeof text, "#! %s/script2\n", folder);
	copy(NULL, path("script3"), 0, text);
	for (int n = 0; n < 2; n++) {
		const char *name = n ? "x32" : "word32";

		snprintf(text, sizeof text, "%s/%s", words, name);
		copy(text, path(name), -1, NULL);
	}
}

int main(int argc, char **argv)
{
	static char variable[200] = "COMPARE=";
	char line[8];
	int rounds, status;
	pid_t child;

	/* What is executed here ends with the code that it is told, a while later if that is negative. */
	if (argc != 4 || strcmp(argv[1], "--rounds")) {
		int code = argc > 1 ? atoi(argv[1]) : 79;

		if (code < 0)
			nap(0.05);
		return abs(code);
	}
	rounds = atoi(argv[2]);
	set_up(argv[3]);
	memset(variable + strlen(variable), 'v', 150);
	environment[0] = variable;
	if (!fgets(line, sizeof line, stdin))
		return 1;
	for (int round = 0; round < rounds; round++)
		for (size_t deed = 0; deed < sizeof deeds / sizeof *deeds; deed++) {
			fflush(stdout);
			child = fork();
			if (!child) {
				deeds[deed].does();
				_exit(123);
			}
			/* Those of children's children come here, too. */
			while (waitpid(child, &status, 0) < 0 && errno == EINTR)
				;
			printf("%d %d %s\n", child, status, deeds[deed].name);
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
		}
	nap(0.3);
	return 0;
}
