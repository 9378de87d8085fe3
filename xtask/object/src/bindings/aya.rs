//! What aya 0.14 makes of maps and sections: facts, in tables.

/// How aya's type for a map is made: from which of the map's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Plain,
    Value,
    Key,
    KeyValue,
    /// Of other maps, whose types only the kernel knows.
    Maps,
    KeyMaps,
    Ring,
}

/// aya's types for maps, by the numbers of the kernel's. What is missing, aya has no type for.
const MAPS: [(u32, &str, Shape); 27] = [
    (1, "HashMap", Shape::KeyValue),
    (2, "Array", Shape::Value),
    (3, "ProgramArray", Shape::Plain),
    (4, "PerfEventArray", Shape::Plain),
    (5, "PerCpuHashMap", Shape::KeyValue),
    (6, "PerCpuArray", Shape::Value),
    (7, "StackTraceMap", Shape::Plain),
    (8, "CgroupArray", Shape::Plain),
    (9, "HashMap", Shape::KeyValue),
    (10, "PerCpuHashMap", Shape::KeyValue),
    (11, "LpmTrie", Shape::KeyValue),
    (12, "ArrayOfMaps", Shape::Maps),
    (13, "HashOfMaps", Shape::KeyMaps),
    (14, "DevMap", Shape::Plain),
    (15, "SockMap", Shape::Plain),
    (16, "CpuMap", Shape::Plain),
    (17, "XskMap", Shape::Plain),
    (18, "SockHash", Shape::Key),
    (20, "ReusePortSockArray", Shape::Plain),
    (22, "Queue", Shape::Value),
    (23, "Stack", Shape::Value),
    (24, "SkStorage", Shape::Value),
    (25, "DevMapHash", Shape::Plain),
    (27, "RingBuf", Shape::Ring),
    (28, "InodeStorage", Shape::Value),
    (30, "BloomFilter", Shape::Value),
    (32, "CgrpStorage", Shape::Value),
];

/// Those that aya creates, but has no type for, or none that is to be used.
const ONLY_CREATED: [u32; 5] = [19, 21, 29, 31, 33];

/// aya's type for maps of this number.
pub fn map(kind: u32) -> Option<(&'static str, Shape)> {
    MAPS.iter().find(|(number, ..)| *number == kind).map(|(_, name, shape)| (*name, *shape))
}

/// Whether aya refuses an object with such a map, unless it is asked not to.
pub fn is_unsupported(kind: u32) -> bool {
    map(kind).is_none() && ONLY_CREATED[2..].contains(&kind)
}

/// How a program is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attach {
    /// Only the application knows to what.
    Unknown,
    /// By one call: its arguments, which are Rust.
    Call(String),
    /// By the kernel's BTF: of this function, hook or tracepoint.
    Btf(String),
}

/// aya's type for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub name: &'static str,
    /// The module that has the type of its links.
    pub module: &'static str,
    pub attach: Attach,
}

/// aya's type for the programs in a section, and what its name says of attaching them. None for what aya refuses: the whole
/// object, then.
pub fn program(section: &str) -> Option<Program> {
    let (kind, rest) = section.split_once('/').map_or((section, None), |(kind, rest)| (kind, Some(rest)));
    let known = |name, module| Some(Program { name, module, attach: Attach::Unknown });
    let word = rest.filter(|rest| !rest.is_empty());
    let call = |name, module, arguments: Option<String>| {
        Some(Program { name, module, attach: arguments.map_or(Attach::Unknown, Attach::Call) })
    };
    let btf = |name, module| {
        Some(Program { name, module, attach: word.map_or(Attach::Unknown, |word| Attach::Btf(word.into())) })
    };
    match (kind, rest) {
        ("kprobe" | "kretprobe", _) => call("KProbe", "kprobe", word.and_then(function)),
        ("uprobe" | "uprobe.s" | "uretprobe" | "uretprobe.s", _) => {
            call("UProbe", "uprobe", word.and_then(user_function))
        }
        ("tracepoint" | "tp", _) => {
            let arguments = word.and_then(|word| word.split_once('/')).filter(|(_, name)| !name.contains('/'));
            call("TracePoint", "trace_point", arguments.map(|(category, name)| format!("{category:?}, {name:?}")))
        }
        ("raw_tp" | "raw_tracepoint", _) => {
            call("RawTracePoint", "raw_trace_point", word.map(|word| format!("{word:?}")))
        }
        ("tp_btf", _) => btf("BtfTracePoint", "tp_btf"),
        ("fentry" | "fentry.s", _) => btf("FEntry", "fentry"),
        ("fexit" | "fexit.s", _) => btf("FExit", "fexit"),
        ("lsm" | "lsm.s", _) => btf("Lsm", "lsm"),
        ("iter" | "iter.s", _) => btf("Iter", "iter"),
        ("lsm_cgroup", _) => known("LsmCgroup", "lsm_cgroup"),
        ("xdp" | "xdp.frags", None | Some("cpumap" | "devmap")) => known("Xdp", "xdp"),
        ("socket", _) => known("SocketFilter", "socket_filter"),
        ("sk_msg", _) => known("SkMsg", "sk_msg"),
        ("sk_skb", Some("stream_parser" | "stream_verdict")) => known("SkSkb", "sk_skb"),
        ("sockops", _) => known("SockOps", "sock_ops"),
        ("classifier", _) => known("SchedClassifier", "tc"),
        ("cgroup_skb", Some("ingress" | "egress")) | ("cgroup", Some("skb")) => known("CgroupSkb", "cgroup_skb"),
        ("cgroup", Some(rest)) => match rest {
            "sysctl" => known("CgroupSysctl", "cgroup_sysctl"),
            "dev" => known("CgroupDevice", "cgroup_device"),
            "getsockopt" | "setsockopt" => known("CgroupSockopt", "cgroup_sockopt"),
            "sock" | "post_bind4" | "post_bind6" | "sock_create" | "sock_release" => known("CgroupSock", "cgroup_sock"),
            "bind4" | "bind6" | "connect4" | "connect6" | "getpeername4" | "getpeername6" | "getsockname4"
            | "getsockname6" | "sendmsg4" | "sendmsg6" | "recvmsg4" | "recvmsg6" => {
                known("CgroupSockAddr", "cgroup_sock_addr")
            }
            _ => None,
        },
        ("lirc_mode2", _) => known("LircMode2", "lirc_mode2"),
        ("perf_event", _) => known("PerfEvent", "perf_event"),
        ("flow_dissector", _) => known("FlowDissector", "flow_dissector"),
        ("freplace", _) => known("Extension", "extension"),
        ("sk_lookup", _) => known("SkLookup", "sk_lookup"),
        ("sk_reuseport", None | Some("migrate")) => known("SkReuseport", "sk_reuseport"),
        _ => None,
    }
}

/// `do_unlinkat`, or `do_unlinkat+0x8`.
fn function(word: &str) -> Option<String> {
    let (name, offset) = word.split_once('+').unwrap_or((word, "0"));
    let offset = match offset.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        // In libbpf, as in C, such a number is octal.
        None if offset.len() > 1 && offset.starts_with('0') => return None,
        None => offset.parse::<u64>().ok()?,
    };
    Some(format!("{name:?}, {offset}"))
}

/// `/bin/bash:readline`. Without a path of its own, libbpf looks for the file in the machine's folders, and aya does not.
fn user_function(word: &str) -> Option<String> {
    let (file, name) = word.rsplit_once(':').filter(|(file, name)| file.starts_with('/') && !name.contains('+'))?;
    Some(format!("{name:?}, {file:?}, ::aya::programs::uprobe::UProbeScope::AllProcesses"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_says_what_its_program_is_attached_to() {
        let of = |section| program(section).map(|found| (found.name, found.attach));
        let call = |arguments: &str| Attach::Call(arguments.into());
        assert_eq!(of("kprobe/do_unlinkat"), Some(("KProbe", call("\"do_unlinkat\", 0"))));
        assert_eq!(of("kretprobe/f+0x10"), Some(("KProbe", call("\"f\", 16"))));
        assert_eq!(of("kprobe"), Some(("KProbe", Attach::Unknown)));
        assert_eq!(of("kprobe/f+010"), Some(("KProbe", Attach::Unknown)));
        assert_eq!(of("kprobe/f+x"), Some(("KProbe", Attach::Unknown)));
        assert_eq!(of("tp/sched/sched_switch"), Some(("TracePoint", call("\"sched\", \"sched_switch\""))));
        assert_eq!(of("tracepoint/sched"), Some(("TracePoint", Attach::Unknown)));
        assert_eq!(of("raw_tp/sys_enter"), Some(("RawTracePoint", call("\"sys_enter\""))));
        assert_eq!(of("fentry.s/f"), Some(("FEntry", Attach::Btf("f".into()))));
        let uprobe = "\"readline\", \"/bin/bash\", ::aya::programs::uprobe::UProbeScope::AllProcesses";
        assert_eq!(of("uretprobe//bin/bash:readline"), Some(("UProbe", call(uprobe))));
        assert_eq!(of("uprobe/libc.so.6:malloc"), Some(("UProbe", Attach::Unknown)));
        assert_eq!(of("xdp"), Some(("Xdp", Attach::Unknown)));
    }

    /// Seen in aya-obj 0.3: one such section, and it refuses the object.
    #[test]
    fn what_aya_refuses_has_no_type() {
        for section in
            ["?kprobe/f", "ksyscall/open", "kprobe.multi/f", "usdt", "tc", "tcx/ingress", "xdp/pass", "syscall"]
        {
            assert_eq!(program(section), None, "{section}");
        }
    }
}
