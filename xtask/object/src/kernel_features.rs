//! The features of kernels that an object can need, and since when Linux has them. Facts, in tables; nothing is
//! computed here.
//!
//! Each row names its source: the release of mainline Linux, and the commit that brought it, by its first twelve
//! digits. What is not in a table is not known here, and must be reported as such. Distributions bring some of it to
//! older kernels.

use std::fmt;

use serde::{Serialize, Serializer};

/// When Linux got something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Since {
    pub major: u32,
    pub minor: u32,
    pub commit: &'static str,
}

/// Something that Linux has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feature {
    pub name: &'static str,
    pub since: Since,
}

/// What a loader makes of the name of a section that contains programs: libbpf's conventions, which aya follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Where it ends in `/…`, an attach point follows. After any other, `/` and a name of the program's own may.
    pub name: &'static str,
    /// The kernel's word for the type of such programs.
    pub kind: &'static str,
    /// None where the table does not know.
    pub since: Option<Since>,
    /// Whether it attaches through the kernel's own BTF, so that a kernel without BTF cannot load it.
    pub needs_btf: bool,
}

const fn row(name: &'static str, major: u32, minor: u32, commit: &'static str) -> Feature {
    Feature { name, since: Since { major, minor, commit } }
}

const fn section(name: &'static str, kind: &'static str, major: u32, minor: u32, commit: &'static str) -> Section {
    Section { name, kind, since: Some(Since { major, minor, commit }), needs_btf: false }
}

/// One that attaches through the kernel's BTF.
const fn typed(name: &'static str, kind: &'static str, major: u32, minor: u32, commit: &'static str) -> Section {
    Section { needs_btf: true, ..section(name, kind, major, minor, commit) }
}

impl Since {
    pub fn kernel(&self) -> (u32, u32) {
        (self.major, self.minor)
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{} {}", self.major, self.minor, self.commit)
    }
}

impl Serialize for Since {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Section {
    /// The row for a section, and the attach point in its name, if there is one.
    pub fn find(section: &str) -> Option<(&'static Section, Option<&str>)> {
        // libbpf's mark for a program that is not loaded unless it is asked for.
        let section = section.strip_prefix('?').unwrap_or(section);
        SECTIONS.iter().find_map(|row| {
            let name = row.name.strip_suffix("/…").unwrap_or(row.name);
            let rest = section.strip_prefix(name)?;
            let rest = rest.strip_prefix('/').or(rest.is_empty().then_some(rest))?;
            let attach = if name == row.name { name.split_once('/').map(|(_, attach)| attach) } else { Some(rest) };
            Some((row, attach.filter(|attach| !attach.is_empty())))
        })
    }
}

/// The type of maps with this number.
pub fn map(number: u32) -> Option<&'static Feature> {
    MAPS.get((number as usize).checked_sub(1)?)
}

/// The struct of this name, as one of functions that the kernel calls.
pub fn struct_ops(name: &str) -> Option<&'static Feature> {
    STRUCT_OPS.iter().find(|row| row.name == name)
}

/// The helper with this number.
pub fn helper(number: u32) -> Option<&'static Feature> {
    HELPERS.get((number as usize).checked_sub(1)?)
}

/// Releases of Linux with long support.
const LONG_SUPPORT: [(u32, u32); 8] = [(4, 19), (5, 4), (5, 10), (5, 15), (6, 1), (6, 6), (6, 12), (6, 18)];

/// What a reader looks for, in a table of features by kernels.
#[rustfmt::skip]
fn looked_for() -> Vec<(&'static str, Since)> {
    let section = |name: &str| SECTIONS.iter().find(|row| row.name == name).and_then(|row| row.since);
    let named = |rows: &[Feature], name: &str| rows.iter().find(|row| row.name == name).map(|row| row.since);
    let rows = [
        ("kprobes, uprobes", section("kprobe/…")),
        ("traffic control (tc)", section("tc")),
        ("perf buffers (`bpf_perf_event_output`)", named(&HELPERS, "perf_event_output")),
        ("stacks (`bpf_get_stackid`)", named(&HELPERS, "get_stackid")),
        ("tracepoints", section("tp/…")),
        ("XDP", section("xdp")),
        ("LRU hash", named(&MAPS, "lru_hash")),
        ("longest prefix match (`lpm_trie`)", named(&MAPS, "lpm_trie")),
        ("instructions of cpu `v2`", Some(CPU_V2.since)),
        ("functions that programs call", Some(FUNCTIONS.since)),
        ("raw tracepoints", section("raw_tp/…")),
        ("`bpf_get_current_cgroup_id`", named(&HELPERS, "get_current_cgroup_id")),
        ("instructions of cpu `v3`", Some(CPU_V3.since)),
        ("global variables", Some(GLOBAL_DATA.since)),
        ("more than 4096 instructions", Some(MANY_INSTRUCTIONS.since)),
        ("loops", Some(LOOPS.since)),
        ("`bpf_probe_read_kernel`, `_user`", named(&HELPERS, "probe_read_kernel")),
        ("raw tracepoints with types (`tp_btf`)", section("tp_btf/…")),
        ("fentry, fexit (with BTF)", section("fentry/…")),
        ("struct_ops (with BTF)", section("struct_ops/…")),
        ("LSM (with BTF)", section("lsm/…")),
        ("process ids of a namespace", named(&HELPERS, "get_ns_current_pid_tgid")),
        ("ring buffers", named(&MAPS, "ringbuf")),
        ("iterators (with BTF)", section("iter/…")),
        ("programs that may sleep", section("fentry.s/…")),
        ("the kernel's variables", Some(KERNEL_VARIABLES.since)),
        ("`bpf_d_path`", named(&HELPERS, "d_path")),
        ("storage in tasks", named(&MAPS, "task_storage")),
        ("`bpf_get_current_task_btf`", named(&HELPERS, "get_current_task_btf")),
        ("atomics other than a plain add", Some(ATOMICS.since)),
        ("the kernel's functions (kfuncs)", Some(KERNEL_FUNCTIONS.since)),
        ("timers", named(&HELPERS, "timer_init")),
        ("attach cookies", named(&HELPERS, "get_attach_cookie")),
        ("`bpf_loop`", named(&HELPERS, "loop")),
        ("kprobes on many functions", section("kprobe.multi/…")),
        ("ring buffers from user space", named(&MAPS, "user_ringbuf")),
        ("netfilter", section("netfilter")),
        ("instructions of cpu `v4`", Some(CPU_V4.since)),
        ("uprobes on many functions", section("uprobe.multi/…")),
        ("tcx", section("tcx/ingress")),
        ("arenas", named(&MAPS, "arena")),
        ("schedulers (sched_ext)", named(&STRUCT_OPS, "sched_ext_ops")),
    ];
    let known = |(name, since): (&'static str, Option<Since>)| (name, since.unwrap_or_else(|| panic!("no row of {name}")));
    let mut rows: Vec<(&str, Since)> = rows.into_iter().map(known).collect();
    rows.sort_by_key(|(_, since)| since.kernel());
    rows
}

/// The table of features by kernels in docs/portable-ebpf.md.
pub fn markdown_table() -> String {
    let releases = LONG_SUPPORT.map(|(major, minor)| format!("{major}.{minor}"));
    let mut table = format!("| feature | Linux | commit | {} |\n", releases.join(" | "));
    table += &format!("|---|---|---|{}\n", ":-:|".repeat(LONG_SUPPORT.len()));
    for (name, since) in looked_for() {
        let has = LONG_SUPPORT.map(|release| if release >= since.kernel() { "●" } else { "" });
        let Since { major, minor, commit } = since;
        table += &format!("| {name} | {major}.{minor} | {commit} | {} |\n", has.join(" | "));
    }
    table
}

/// The types of programs that a kernel without CONFIG_BPF_EVENTS does not have: include/linux/bpf_types.h.
pub const TRACING: [&str; 6] =
    ["kprobe", "tracepoint", "perf_event", "raw_tracepoint", "raw_tracepoint_writable", "tracing"];

/// Helpers that any type of program may call, and which such a kernel does not have either: those that
/// kernel/bpf/core.c and kernel/bpf/helpers.c declare as weak, for kernel/trace/bpf_trace.c has them.
pub const TRACING_HELPERS: [&str; 10] = [
    "trace_printk",
    "get_current_task",
    "probe_read_user",
    "probe_read_kernel",
    "probe_read_user_str",
    "probe_read_kernel_str",
    "snprintf_btf",
    "get_current_task_btf",
    "task_pt_regs",
    "trace_vprintk",
];

/// The structs of registers that programs are given or find in a task: each architecture has its own.
pub const REGISTERS: [&str; 3] = ["pt_regs", "user_pt_regs", "user_regs_struct"];

/// The kernel's words for architectures, and the fields of those structs there: arch/*/include/asm/ptrace.h, and uapi/asm/ptrace.h.
pub const REGISTER_FIELDS: [(&str, &[&str]); 7] = [
    (
        "x86",
        &[
            "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di", "orig_ax",
            "ip", "cs", "flags", "sp", "ss",
        ],
    ),
    ("arm64", &["regs", "sp", "pc", "pstate", "orig_x0", "syscallno"]),
    (
        "riscv",
        &[
            "epc", "pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "s0", "s1", "s2", "s3",
            "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "status",
            "cause", "orig_a0",
        ],
    ),
    (
        "loongarch",
        &["regs", "orig_a0", "csr_era", "csr_badvaddr", "csr_crmd", "csr_prmd", "csr_euen", "csr_ecfg", "csr_estat"],
    ),
    ("s390", &["args", "psw", "gprs", "orig_gpr2", "flags"]),
    ("mips", &["regs", "cp0_status", "hi", "lo", "cp0_badvaddr", "cp0_cause", "cp0_epc"]),
    (
        "powerpc",
        &["gpr", "nip", "msr", "orig_gpr3", "ctr", "link", "xer", "ccr", "softe", "trap", "dar", "dsisr", "result"],
    ),
];

/// Instructions of an earlier cpu need none of these.
pub const CPU_V2: Feature = row("instructions of cpu v2", 4, 14, "92b31a9af73b");
pub const CPU_V3: Feature = row("instructions of cpu v3 (32-bit jumps)", 5, 1, "092ed0968bb6");
pub const CPU_V4: Feature = row("instructions of cpu v4", 6, 6, "1f9a1ea821ff");
pub const ATOMICS: Feature = row("atomics other than a plain add", 5, 12, "5ca419f2864a");
pub const ACQUIRE_RELEASE: Feature = row("load-acquire and store-release", 6, 15, "880442305a39");
pub const ADDRESS_SPACES: Feature = row("casts between address spaces", 6, 9, "6082b6c328b5");
pub const MAY_GOTO: Feature = row("may_goto", 6, 9, "011832b97b31");
pub const FUNCTIONS: Feature = row("functions that programs call", 4, 16, "cc8b0b92a169");
pub const CALLBACKS: Feature = row("functions that helpers call", 5, 13, "69c087ba6225");
pub const KERNEL_FUNCTIONS: Feature = row("calls of the kernel's functions", 5, 13, "e6ac2450d6de");
pub const KERNEL_VARIABLES: Feature = row("the kernel's variables", 5, 10, "4976b718c355");
pub const GLOBAL_DATA: Feature = row("global variables", 5, 2, "d8eca5bbb2be");
pub const MANY_INSTRUCTIONS: Feature = row("more than 4096 instructions", 5, 2, "c04c0d2b968a");
pub const LOOPS: Feature = row("loops", 5, 3, "2589726d12a1");
pub const STRUCT_OPS_LINK: Feature = row("struct_ops with a link", 6, 4, "68b04864ca42");

/// The longer names come before those that they begin with.
static SECTIONS: [Section; 106] = [
    section("socket", "socket_filter", 3, 19, "ddd872bc3098"),
    section("sk_reuseport/migrate", "sk_reuseport", 5, 14, "d5e4ddaeb6ab"),
    section("sk_reuseport", "sk_reuseport", 4, 19, "2dbb9b9e6df6"),
    section("kprobe/…", "kprobe", 4, 1, "2541517c32be"),
    section("kretprobe/…", "kprobe", 4, 1, "2541517c32be"),
    section("uprobe/…", "kprobe", 4, 1, "2541517c32be"),
    section("uretprobe/…", "kprobe", 4, 1, "2541517c32be"),
    section("uprobe.s/…", "kprobe", 6, 0, "8c7dcb84e3b7"),
    section("uretprobe.s/…", "kprobe", 6, 0, "8c7dcb84e3b7"),
    section("kprobe.multi/…", "kprobe", 5, 18, "0dcac2725406"),
    section("kretprobe.multi/…", "kprobe", 5, 18, "0dcac2725406"),
    section("kprobe.session/…", "kprobe", 6, 10, "535a3692ba72"),
    section("uprobe.multi/…", "kprobe", 6, 6, "89ae89f53d20"),
    section("uretprobe.multi/…", "kprobe", 6, 6, "89ae89f53d20"),
    section("uprobe.multi.s/…", "kprobe", 6, 6, "89ae89f53d20"),
    section("uretprobe.multi.s/…", "kprobe", 6, 6, "89ae89f53d20"),
    section("uprobe.session/…", "kprobe", 6, 13, "d920179b3d48"),
    section("uprobe.session.s/…", "kprobe", 6, 13, "d920179b3d48"),
    section("ksyscall/…", "kprobe", 4, 1, "2541517c32be"),
    section("kretsyscall/…", "kprobe", 4, 1, "2541517c32be"),
    section("usdt/…", "kprobe", 4, 1, "2541517c32be"),
    section("usdt.s/…", "kprobe", 6, 0, "8c7dcb84e3b7"),
    section("tc/ingress", "sched_cls", 4, 1, "96be4325f443"),
    section("tc/egress", "sched_cls", 4, 1, "96be4325f443"),
    section("tcx/ingress", "sched_cls", 6, 6, "e420bed02507"),
    section("tcx/egress", "sched_cls", 6, 6, "e420bed02507"),
    section("tc", "sched_cls", 4, 1, "96be4325f443"),
    section("classifier", "sched_cls", 4, 1, "96be4325f443"),
    section("action", "sched_act", 4, 1, "94caee8c312d"),
    section("netkit/primary", "sched_cls", 6, 7, "35dfaad7188c"),
    section("netkit/peer", "sched_cls", 6, 7, "35dfaad7188c"),
    section("tracepoint/…", "tracepoint", 4, 7, "98b5c2c65c29"),
    section("tp/…", "tracepoint", 4, 7, "98b5c2c65c29"),
    section("raw_tracepoint/…", "raw_tracepoint", 4, 17, "c4f6699dfcb8"),
    section("raw_tp/…", "raw_tracepoint", 4, 17, "c4f6699dfcb8"),
    section("raw_tracepoint.w/…", "raw_tracepoint_writable", 5, 2, "9df1c28bb752"),
    section("raw_tp.w/…", "raw_tracepoint_writable", 5, 2, "9df1c28bb752"),
    typed("tp_btf/…", "tracing", 5, 5, "f1b9509c2fb0"),
    typed("fentry/…", "tracing", 5, 5, "fec56f5890d9"),
    typed("fexit/…", "tracing", 5, 5, "fec56f5890d9"),
    typed("fmod_ret/…", "tracing", 5, 7, "ae24082331d9"),
    typed("fentry.s/…", "tracing", 5, 10, "1e6c62a88215"),
    typed("fexit.s/…", "tracing", 5, 10, "1e6c62a88215"),
    typed("fmod_ret.s/…", "tracing", 5, 10, "1e6c62a88215"),
    Section { name: "fsession/…", kind: "tracing", since: None, needs_btf: true },
    Section { name: "fsession.s/…", kind: "tracing", since: None, needs_btf: true },
    // Through the types of another program.
    section("freplace/…", "ext", 5, 6, "be8704ff07d2"),
    typed("lsm/…", "lsm", 5, 7, "fc611f47f218"),
    typed("lsm.s/…", "lsm", 5, 10, "1e6c62a88215"),
    typed("lsm_cgroup/…", "lsm", 6, 0, "69fd337a975c"),
    typed("iter/…", "tracing", 5, 8, "15d83c4d7cef"),
    Section { name: "iter.s/…", kind: "tracing", since: None, needs_btf: true },
    typed("struct_ops/…", "struct_ops", 5, 6, "27ae7997a661"),
    Section { name: "struct_ops.s/…", kind: "struct_ops", since: None, needs_btf: true },
    section("syscall", "syscall", 5, 14, "79a7f8bdb159"),
    section("xdp.frags/devmap", "xdp", 5, 18, "c2f2cdbeffda"),
    section("xdp.frags/cpumap", "xdp", 5, 18, "c2f2cdbeffda"),
    section("xdp.frags", "xdp", 5, 18, "c2f2cdbeffda"),
    section("xdp/devmap", "xdp", 5, 8, "fbee97feed9b"),
    section("xdp/cpumap", "xdp", 5, 9, "9216477449f3"),
    section("xdp", "xdp", 4, 8, "6a773a15a1e8"),
    section("perf_event", "perf_event", 4, 9, "0515e5999a46"),
    section("lwt_in", "lwt_in", 4, 10, "3a0af8fd61f9"),
    section("lwt_out", "lwt_out", 4, 10, "3a0af8fd61f9"),
    section("lwt_xmit", "lwt_xmit", 4, 10, "3a0af8fd61f9"),
    section("lwt_seg6local", "lwt_seg6local", 4, 18, "004d4b274e2a"),
    section("sockops", "sock_ops", 4, 13, "40304b2a1567"),
    section("sk_skb/stream_parser", "sk_skb", 4, 14, "464bc0fd6273"),
    section("sk_skb/stream_verdict", "sk_skb", 4, 14, "464bc0fd6273"),
    section("sk_skb/verdict", "sk_skb", 5, 13, "a7ba4558e69a"),
    section("sk_skb", "sk_skb", 4, 14, "b005fd189cec"),
    section("sk_msg", "sk_msg", 4, 17, "4f738adba30a"),
    section("lirc_mode2", "lirc_mode2", 4, 18, "f4364dcfc86d"),
    section("flow_dissector", "flow_dissector", 4, 20, "d58e468b1112"),
    section("cgroup_skb/ingress", "cgroup_skb", 4, 10, "0e33661de493"),
    section("cgroup_skb/egress", "cgroup_skb", 4, 10, "0e33661de493"),
    section("cgroup/skb", "cgroup_skb", 4, 10, "0e33661de493"),
    section("cgroup_skb", "cgroup_skb", 4, 10, "0e33661de493"),
    section("cgroup/sock_create", "cgroup_sock", 4, 10, "610236587600"),
    section("cgroup/sock_release", "cgroup_sock", 5, 9, "f5836749c9c0"),
    section("cgroup/sock", "cgroup_sock", 4, 10, "610236587600"),
    section("cgroup/post_bind4", "cgroup_sock", 4, 17, "aac3fc320d94"),
    section("cgroup/post_bind6", "cgroup_sock", 4, 17, "aac3fc320d94"),
    section("cgroup/bind4", "cgroup_sock_addr", 4, 17, "4fbac77d2d09"),
    section("cgroup/bind6", "cgroup_sock_addr", 4, 17, "4fbac77d2d09"),
    section("cgroup/connect4", "cgroup_sock_addr", 4, 17, "d74bad4e74ee"),
    section("cgroup/connect6", "cgroup_sock_addr", 4, 17, "d74bad4e74ee"),
    section("cgroup/connect_unix", "cgroup_sock_addr", 6, 7, "859051dd165e"),
    section("cgroup/sendmsg4", "cgroup_sock_addr", 4, 18, "1cedee13d25a"),
    section("cgroup/sendmsg6", "cgroup_sock_addr", 4, 18, "1cedee13d25a"),
    section("cgroup/sendmsg_unix", "cgroup_sock_addr", 6, 7, "859051dd165e"),
    section("cgroup/recvmsg4", "cgroup_sock_addr", 5, 2, "983695fa6765"),
    section("cgroup/recvmsg6", "cgroup_sock_addr", 5, 2, "983695fa6765"),
    section("cgroup/recvmsg_unix", "cgroup_sock_addr", 6, 7, "859051dd165e"),
    section("cgroup/getpeername4", "cgroup_sock_addr", 5, 8, "1b66d253610c"),
    section("cgroup/getpeername6", "cgroup_sock_addr", 5, 8, "1b66d253610c"),
    section("cgroup/getpeername_unix", "cgroup_sock_addr", 6, 7, "859051dd165e"),
    section("cgroup/getsockname4", "cgroup_sock_addr", 5, 8, "1b66d253610c"),
    section("cgroup/getsockname6", "cgroup_sock_addr", 5, 8, "1b66d253610c"),
    section("cgroup/getsockname_unix", "cgroup_sock_addr", 6, 7, "859051dd165e"),
    section("cgroup/sysctl", "cgroup_sysctl", 5, 2, "7b146cebe30c"),
    section("cgroup/getsockopt", "cgroup_sockopt", 5, 3, "0d01da6afc54"),
    section("cgroup/setsockopt", "cgroup_sockopt", 5, 3, "0d01da6afc54"),
    section("cgroup/dev", "cgroup_device", 4, 15, "ebc614f68736"),
    section("sk_lookup", "sk_lookup", 5, 9, "e9ddbb7707ff"),
    section("netfilter", "netfilter", 6, 4, "84601d6ee68a"),
];

/// Types of maps, by their numbers from 1 on: enum bpf_map_type in include/uapi/linux/bpf.h.
static MAPS: [Feature; 34] = [
    row("hash", 3, 19, "0f8e4bd8a1fc"),
    row("array", 3, 19, "28fbcfa08d8e"),
    row("prog_array", 4, 2, "04fd61ab36ec"),
    row("perf_event_array", 4, 3, "ea317b267e9d"),
    row("percpu_hash", 4, 6, "824bd0ce6c7c"),
    row("percpu_array", 4, 6, "a10423b87a7e"),
    row("stack_trace", 4, 6, "d5a3b1f69186"),
    row("cgroup_array", 4, 8, "4ed8ec521ed5"),
    row("lru_hash", 4, 10, "29ba732acbee"),
    row("lru_percpu_hash", 4, 10, "8f8449384ec3"),
    row("lpm_trie", 4, 11, "b95a5c4db09b"),
    row("array_of_maps", 4, 12, "56f668dfe00d"),
    row("hash_of_maps", 4, 12, "bcc6b1b7ebf8"),
    row("devmap", 4, 14, "546ac1ffb70d"),
    row("sockmap", 4, 14, "174a79ff9515"),
    row("cpumap", 4, 15, "6710e1126934"),
    row("xskmap", 4, 18, "fbfc504a24f5"),
    row("sockhash", 4, 18, "81110384441a"),
    row("cgroup_storage", 4, 19, "de9cbbaadba5"),
    row("reuseport_sockarray", 4, 19, "5dc4c4b7d4e8"),
    row("percpu_cgroup_storage", 4, 20, "b741f1630346"),
    row("queue", 4, 20, "f1a2e44a3aec"),
    row("stack", 4, 20, "f1a2e44a3aec"),
    row("sk_storage", 5, 2, "6ac99e8f23d4"),
    row("devmap_hash", 5, 4, "6f9d451ab1a3"),
    row("struct_ops", 5, 6, "85d33df357b6"),
    row("ringbuf", 5, 8, "457f44363a88"),
    row("inode_storage", 5, 10, "8ea636848aca"),
    row("task_storage", 5, 11, "4cf1bc1f1045"),
    row("bloom_filter", 5, 16, "9330986c0300"),
    row("user_ringbuf", 6, 1, "583c1f420173"),
    row("cgrp_storage", 6, 2, "c4bcfb38a95e"),
    row("arena", 6, 9, "317460317a02"),
    row("insn_array", 6, 19, "b4ce5923e780"),
];

/// Structs of functions that programs can implement.
static STRUCT_OPS: [Feature; 4] = [
    row("tcp_congestion_ops", 5, 6, "0baf26b0fcd7"),
    row("hid_bpf_ops", 6, 11, "ebc0d8093e8c"),
    row("sched_ext_ops", 6, 12, "f0e1a0643a59"),
    row("Qdisc_ops", 6, 16, "c8240344956e"),
];

/// Helpers, by their numbers from 1 on: ___BPF_FUNC_MAPPER in include/uapi/linux/bpf.h. Linux gets no new ones.
static HELPERS: [Feature; 211] = [
    row("map_lookup_elem", 3, 19, "d0003ec01c66"),
    row("map_update_elem", 3, 19, "d0003ec01c66"),
    row("map_delete_elem", 3, 19, "d0003ec01c66"),
    row("probe_read", 4, 1, "2541517c32be"),
    row("ktime_get_ns", 4, 1, "d9847d310ab4"),
    row("trace_printk", 4, 1, "9c959c863f82"),
    row("get_prandom_u32", 4, 1, "03e69b508b6f"),
    row("get_smp_processor_id", 4, 1, "c04167ce2ca0"),
    row("skb_store_bytes", 4, 1, "608cd71a9c7c"),
    row("l3_csum_replace", 4, 1, "91bc4822c3d6"),
    row("l4_csum_replace", 4, 1, "91bc4822c3d6"),
    row("tail_call", 4, 2, "04fd61ab36ec"),
    row("clone_redirect", 4, 2, "3896d655f4d4"),
    row("get_current_pid_tgid", 4, 2, "ffeedafbf023"),
    row("get_current_uid_gid", 4, 2, "ffeedafbf023"),
    row("get_current_comm", 4, 2, "ffeedafbf023"),
    row("get_cgroup_classid", 4, 3, "8d20aabe1c76"),
    row("skb_vlan_push", 4, 3, "4e10df9a60d9"),
    row("skb_vlan_pop", 4, 3, "4e10df9a60d9"),
    row("skb_get_tunnel_key", 4, 3, "d3aa45ce6b94"),
    row("skb_set_tunnel_key", 4, 3, "d3aa45ce6b94"),
    row("perf_event_read", 4, 3, "35578d798400"),
    row("redirect", 4, 4, "27b29f63058d"),
    row("get_route_realm", 4, 4, "c46646d0484f"),
    row("perf_event_output", 4, 4, "a43eec304259"),
    row("skb_load_bytes", 4, 5, "05c74e5e53f6"),
    row("get_stackid", 4, 6, "d5a3b1f69186"),
    row("csum_diff", 4, 6, "7d672345ed29"),
    row("skb_get_tunnel_opt", 4, 6, "14ca0751c96f"),
    row("skb_set_tunnel_opt", 4, 6, "14ca0751c96f"),
    row("skb_change_proto", 4, 8, "6578171a7ff0"),
    row("skb_change_type", 4, 8, "d2485c4242a8"),
    row("skb_under_cgroup", 4, 8, "4a482f34afcc"),
    row("get_hash_recalc", 4, 8, "13c5c240f789"),
    row("get_current_task", 4, 8, "606274c5abd8"),
    row("probe_write_user", 4, 8, "96ae52279594"),
    row("current_task_under_cgroup", 4, 9, "60d20f9195b2"),
    row("skb_change_tail", 4, 9, "5293efe62df8"),
    row("skb_pull_data", 4, 9, "36bbef52c7eb"),
    row("csum_update", 4, 9, "36bbef52c7eb"),
    row("set_hash_invalid", 4, 9, "7a4b28c6cc9f"),
    row("get_numa_node_id", 4, 10, "2d0e30c30f84"),
    row("skb_change_head", 4, 10, "3a0af8fd61f9"),
    row("xdp_adjust_head", 4, 10, "17bedab27231"),
    row("probe_read_str", 4, 11, "a5e8c07059d0"),
    row("get_socket_cookie", 4, 12, "91b8270f2a4d"),
    row("get_socket_uid", 4, 12, "6acc5c291068"),
    row("set_hash", 4, 13, "ded092cd73c2"),
    row("setsockopt", 4, 13, "8c4b4c7e9ff0"),
    row("skb_adjust_room", 4, 13, "2be7e212d541"),
    row("redirect_map", 4, 14, "97f91a7cf04f"),
    row("sk_redirect_map", 4, 14, "174a79ff9515"),
    row("sock_map_update", 4, 14, "174a79ff9515"),
    row("xdp_adjust_meta", 4, 15, "de8f3a83b0a0"),
    row("perf_event_read_value", 4, 15, "908432ca84fc"),
    row("perf_prog_read_value", 4, 15, "4bebdc7a85aa"),
    row("getsockopt", 4, 15, "cd86d1fd2102"),
    row("override_return", 4, 16, "9802d86585db"),
    row("sock_ops_cb_flags_set", 4, 16, "b13d88072172"),
    row("msg_redirect_map", 4, 17, "4f738adba30a"),
    row("msg_apply_bytes", 4, 17, "2a100317c9eb"),
    row("msg_cork_bytes", 4, 17, "91843d540a13"),
    row("msg_pull_data", 4, 17, "015632bb30da"),
    row("bind", 4, 17, "d74bad4e74ee"),
    row("xdp_adjust_tail", 4, 18, "b32cc5b9a346"),
    row("skb_get_xfrm_state", 4, 18, "12bed760a78d"),
    row("get_stack", 4, 18, "c195651e565a"),
    row("skb_load_bytes_relative", 4, 18, "4e1ec56cdc59"),
    row("fib_lookup", 4, 18, "87f5fc7e48dd"),
    row("sock_hash_update", 4, 18, "81110384441a"),
    row("msg_redirect_hash", 4, 18, "81110384441a"),
    row("sk_redirect_hash", 4, 18, "81110384441a"),
    row("lwt_push_encap", 4, 18, "fe94cc290f53"),
    row("lwt_seg6_store_bytes", 4, 18, "fe94cc290f53"),
    row("lwt_seg6_adjust_srh", 4, 18, "fe94cc290f53"),
    row("lwt_seg6_action", 4, 18, "fe94cc290f53"),
    row("rc_repeat", 4, 18, "f4364dcfc86d"),
    row("rc_keydown", 4, 18, "f4364dcfc86d"),
    row("skb_cgroup_id", 4, 18, "cb20b08ead40"),
    row("get_current_cgroup_id", 4, 18, "bf6fa2c893c5"),
    row("get_local_storage", 4, 19, "cd3394317653"),
    row("sk_select_reuseport", 4, 19, "2dbb9b9e6df6"),
    row("skb_ancestor_cgroup_id", 4, 19, "7723628101aa"),
    row("sk_lookup_tcp", 4, 20, "6acc9b432e67"),
    row("sk_lookup_udp", 4, 20, "6acc9b432e67"),
    row("sk_release", 4, 20, "6acc9b432e67"),
    row("map_push_elem", 4, 20, "f1a2e44a3aec"),
    row("map_pop_elem", 4, 20, "f1a2e44a3aec"),
    row("map_peek_elem", 4, 20, "f1a2e44a3aec"),
    row("msg_push_data", 4, 20, "6fff607e2f14"),
    row("msg_pop_data", 5, 0, "7246d8ed4dcc"),
    row("rc_pointer_rel", 5, 0, "01d3240a04f4"),
    row("spin_lock", 5, 1, "d83525ca62cf"),
    row("spin_unlock", 5, 1, "d83525ca62cf"),
    row("sk_fullsock", 5, 1, "46f8bc92758c"),
    row("tcp_sock", 5, 1, "655a51e536c0"),
    row("skb_ecn_set_ce", 5, 1, "f7c917ba11a6"),
    row("get_listener_sock", 5, 1, "dbafd7ddd623"),
    row("skc_lookup_tcp", 5, 2, "edbf8c01de5a"),
    row("tcp_check_syncookie", 5, 2, "399040847084"),
    row("sysctl_get_name", 5, 2, "808649fb787d"),
    row("sysctl_get_current_value", 5, 2, "1d11b3016cec"),
    row("sysctl_get_new_value", 5, 2, "4e63acdff864"),
    row("sysctl_set_new_value", 5, 2, "4e63acdff864"),
    row("strtol", 5, 2, "d7a4cb9b6705"),
    row("strtoul", 5, 2, "d7a4cb9b6705"),
    row("sk_storage_get", 5, 2, "6ac99e8f23d4"),
    row("sk_storage_delete", 5, 2, "6ac99e8f23d4"),
    row("send_signal", 5, 3, "8b401f9ed244"),
    row("tcp_gen_syncookie", 5, 4, "70d66244317e"),
    row("skb_output", 5, 5, "a7658e1a4164"),
    row("probe_read_user", 5, 5, "6ae08ae3dea2"),
    row("probe_read_kernel", 5, 5, "6ae08ae3dea2"),
    row("probe_read_user_str", 5, 5, "6ae08ae3dea2"),
    row("probe_read_kernel_str", 5, 5, "6ae08ae3dea2"),
    row("tcp_send_ack", 5, 6, "206057fe020a"),
    row("send_signal_thread", 5, 6, "8482941f0906"),
    row("jiffies64", 5, 6, "5576b991e9c1"),
    row("read_branch_records", 5, 7, "fff7b64355ea"),
    row("get_ns_current_pid_tgid", 5, 7, "b4490c5c4e02"),
    row("xdp_output", 5, 7, "d831ee84bfc9"),
    row("get_netns_cookie", 5, 7, "f318903c0bf4"),
    row("get_current_ancestor_cgroup_id", 5, 7, "0f09abd105da"),
    row("sk_assign", 5, 7, "cf7fbe660f2d"),
    row("ktime_get_boot_ns", 5, 8, "71d19214776e"),
    row("seq_printf", 5, 8, "492e639f0c22"),
    row("seq_write", 5, 8, "492e639f0c22"),
    row("sk_cgroup_id", 5, 8, "f307fa2cb4c9"),
    row("sk_ancestor_cgroup_id", 5, 8, "f307fa2cb4c9"),
    row("ringbuf_output", 5, 8, "457f44363a88"),
    row("ringbuf_reserve", 5, 8, "457f44363a88"),
    row("ringbuf_submit", 5, 8, "457f44363a88"),
    row("ringbuf_discard", 5, 8, "457f44363a88"),
    row("ringbuf_query", 5, 8, "457f44363a88"),
    row("csum_level", 5, 8, "7cdec54f9713"),
    row("skc_to_tcp6_sock", 5, 9, "af7ec1383361"),
    row("skc_to_tcp_sock", 5, 9, "478cfbdf5f13"),
    row("skc_to_tcp_timewait_sock", 5, 9, "478cfbdf5f13"),
    row("skc_to_tcp_request_sock", 5, 9, "478cfbdf5f13"),
    row("skc_to_udp6_sock", 5, 9, "0d4fad3e57df"),
    row("get_task_stack", 5, 9, "fa28dcb82a38"),
    row("load_hdr_opt", 5, 10, "0813a841566f"),
    row("store_hdr_opt", 5, 10, "0813a841566f"),
    row("reserve_hdr_opt", 5, 10, "0813a841566f"),
    row("inode_storage_get", 5, 10, "8ea636848aca"),
    row("inode_storage_delete", 5, 10, "8ea636848aca"),
    row("d_path", 5, 10, "6e22ab9da793"),
    row("copy_from_user", 5, 10, "07be4c4a3e7a"),
    row("snprintf_btf", 5, 10, "c4d0bfb45068"),
    row("seq_printf_btf", 5, 10, "eb411377aed9"),
    row("skb_cgroup_classid", 5, 10, "b426ce83baa7"),
    row("redirect_neigh", 5, 10, "b4ab31414970"),
    row("per_cpu_ptr", 5, 10, "eaa6bcb71ef6"),
    row("this_cpu_ptr", 5, 10, "63d9b80dcf2c"),
    row("redirect_peer", 5, 10, "9aa1206e8f48"),
    row("task_storage_get", 5, 11, "4cf1bc1f1045"),
    row("task_storage_delete", 5, 11, "4cf1bc1f1045"),
    row("get_current_task_btf", 5, 11, "3ca1032ab7ab"),
    row("bprm_opts_set", 5, 11, "3f6719c7b62f"),
    row("ktime_get_coarse_ns", 5, 11, "d05512618056"),
    row("ima_inode_hash", 5, 11, "27672f0d280a"),
    row("sock_from_file", 5, 11, "4f19cab76136"),
    row("check_mtu", 5, 12, "34b2021cc616"),
    row("for_each_map_elem", 5, 13, "69c087ba6225"),
    row("snprintf", 5, 13, "7b15523a989b"),
    row("sys_bpf", 5, 14, "79a7f8bdb159"),
    row("btf_find_by_name_kind", 5, 14, "3d78417b60fb"),
    row("sys_close", 5, 14, "3abea089246f"),
    row("timer_init", 5, 15, "b00628b1c7d5"),
    row("timer_set_callback", 5, 15, "b00628b1c7d5"),
    row("timer_start", 5, 15, "b00628b1c7d5"),
    row("timer_cancel", 5, 15, "b00628b1c7d5"),
    row("get_func_ip", 5, 15, "9b99edcae5c8"),
    row("get_attach_cookie", 5, 15, "7adfc6c9b315"),
    row("task_pt_regs", 5, 15, "dd6e10fbd9fb"),
    row("get_branch_snapshot", 5, 16, "856c02dbce4f"),
    row("trace_vprintk", 5, 16, "10aceb629e19"),
    row("skc_to_unix_sock", 5, 16, "9eeb3aa33ae0"),
    row("kallsyms_lookup_name", 5, 16, "d6aef08a872b"),
    row("find_vma", 5, 17, "7c7e3d31e785"),
    row("loop", 5, 17, "e6f2dd0f8067"),
    row("strncmp", 5, 17, "c5fb19937455"),
    row("get_func_arg", 5, 17, "f92c1e183604"),
    row("get_func_ret", 5, 17, "f92c1e183604"),
    row("get_func_arg_cnt", 5, 17, "f92c1e183604"),
    row("get_retval", 5, 18, "b44123b4a3dc"),
    row("set_retval", 5, 18, "b44123b4a3dc"),
    row("xdp_get_buff_len", 5, 18, "0165cc817075"),
    row("xdp_load_bytes", 5, 18, "3f364222d032"),
    row("xdp_store_bytes", 5, 18, "3f364222d032"),
    row("copy_from_user_task", 5, 18, "376040e47334"),
    row("skb_set_tstamp", 5, 18, "9bb984f28d5b"),
    row("ima_file_hash", 5, 18, "174b16946e39"),
    row("kptr_xchg", 5, 19, "c0a5a21c25f3"),
    row("map_lookup_percpu_elem", 5, 19, "07343110b293"),
    row("skc_to_mptcp_sock", 5, 19, "3bc253c2e652"),
    row("dynptr_from_mem", 5, 19, "263ae152e962"),
    row("ringbuf_reserve_dynptr", 5, 19, "bc34dee65a65"),
    row("ringbuf_submit_dynptr", 5, 19, "bc34dee65a65"),
    row("ringbuf_discard_dynptr", 5, 19, "bc34dee65a65"),
    row("dynptr_read", 5, 19, "13bbbfbea759"),
    row("dynptr_write", 5, 19, "13bbbfbea759"),
    row("dynptr_data", 5, 19, "34d4ef5775f7"),
    row("tcp_raw_gen_syncookie_ipv4", 6, 0, "33bf9885040c"),
    row("tcp_raw_gen_syncookie_ipv6", 6, 0, "33bf9885040c"),
    row("tcp_raw_check_syncookie_ipv4", 6, 0, "33bf9885040c"),
    row("tcp_raw_check_syncookie_ipv6", 6, 0, "33bf9885040c"),
    row("ktime_get_tai_ns", 6, 1, "c8996c98f703"),
    row("user_ringbuf_drain", 6, 1, "205715673844"),
    row("cgrp_storage_get", 6, 2, "c4bcfb38a95e"),
    row("cgrp_storage_delete", 6, 2, "c4bcfb38a95e"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(section: &str) -> Option<(&str, &str, Option<&str>)> {
        Section::find(section).map(|(row, attach)| (row.name, row.kind, attach))
    }

    #[test]
    fn a_section_is_named_after_type_and_attach_point() {
        assert_eq!(
            found("raw_tp/sched_process_exec"),
            Some(("raw_tp/…", "raw_tracepoint", Some("sched_process_exec")))
        );
        assert_eq!(found("tp/syscalls/sys_enter"), Some(("tp/…", "tracepoint", Some("syscalls/sys_enter"))));
        assert_eq!(found("?fentry.s/do_exit"), Some(("fentry.s/…", "tracing", Some("do_exit"))));
        assert_eq!(found("kprobe"), Some(("kprobe/…", "kprobe", None)));
        assert_eq!(found("xdp"), Some(("xdp", "xdp", None)));
        assert_eq!(found("xdp/main"), Some(("xdp", "xdp", None)));
        assert_eq!(found("xdp/devmap"), Some(("xdp/devmap", "xdp", Some("devmap"))));
        assert_eq!(found("cgroup/sock_create"), Some(("cgroup/sock_create", "cgroup_sock", Some("sock_create"))));
        assert_eq!(
            found("sk_skb/stream_verdict/main"),
            Some(("sk_skb/stream_verdict", "sk_skb", Some("stream_verdict")))
        );
        for unknown in ["", "?", "/", "xdpx", "kprobes/a", "maps"] {
            assert_eq!(found(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_kernel() {
        let names = |find: fn(u32) -> Option<&'static Feature>, numbers: &[u32]| -> Vec<Option<&str>> {
            numbers.iter().map(|number| find(*number).map(|row| row.name)).collect()
        };
        assert_eq!(names(map, &[0, 1, 27, 34, 35]), [None, Some("hash"), Some("ringbuf"), Some("insn_array"), None]);
        assert_eq!(
            names(helper, &[0, 1, 113, 130, 211, 212]),
            [
                None,
                Some("map_lookup_elem"),
                Some("probe_read_kernel"),
                Some("ringbuf_output"),
                Some("cgrp_storage_delete"),
                None
            ]
        );
    }

    #[test]
    fn every_row_has_a_source_that_can_be_looked_up() {
        let sections = SECTIONS.iter().filter_map(|row| row.since);
        for since in sections.chain(MAPS.iter().chain(&STRUCT_OPS).chain(&HELPERS).map(|row| row.since)) {
            let is_commit = since.commit.len() == 12 && since.commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_commit && since.kernel() >= (3, 18), "{since}");
        }
        // One commit is in one release.
        let mut all: Vec<Since> = SECTIONS.iter().filter_map(|row| row.since).collect();
        all.extend(MAPS.iter().chain(&STRUCT_OPS).chain(&HELPERS).map(|row| row.since));
        all.sort_unstable_by_key(|since| since.commit);
        for pair in all.windows(2).filter(|pair| pair[0].commit == pair[1].commit) {
            assert_eq!(pair[0], pair[1]);
        }
    }

    #[test]
    fn what_the_tables_name_twice_is_the_same() {
        for name in TRACING_HELPERS {
            assert!(HELPERS.iter().any(|row| row.name == name), "{name}");
        }
        for name in TRACING {
            assert!(SECTIONS.iter().any(|row| row.kind == name), "{name}");
        }
    }
}
