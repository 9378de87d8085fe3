//! The backends, each a way to see what happens, best first, and which of them a kernel allows.

mod co_re;
pub(crate) mod descendants;
pub(crate) mod terms;
mod tracepoints;
pub(crate) mod tracer;

use std::fmt;

use crate::{
    cli::BackendName,
    error::Error,
    features::{BtfFrom, Features, Support},
    perf_ring::stacks_are_cut,
};

/// A backend that this kernel allows, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backend {
    /// BPF programs that read the kernel's own structs, whose layout BTF describes.
    Structs { btf: BtfFrom, ring_buffer: bool },
    /// The records of tracepoints, by way of BPF programs or in perf's own samples.
    Tracepoints { bpf: bool, stacks: bool, codes: bool, cgroups: bool, users: UsersFrom, ends: Ends },
}

/// Where users are known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsersFrom {
    Bpf,
    /// The proc connector reports changes, with the new user.
    Connector,
    /// Tracepoints show that there was a change.
    Tracepoints,
    Nowhere,
}

/// How it is known how processes end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// taskstats reports it; since Linux 5.19 also which thread was the last one.
    Reported { marks_last: bool },
    /// From system calls and signals that were seen before: the last resort.
    Observed,
}

/// Something that a backend does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The name in the JSON.
    pub(crate) field: &'static str,
    /// None if it never can.
    pub(crate) when: Option<&'static str>,
}

/// An option that a backend cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Uid,
    Cgroup,
    Failed,
}

impl Refused {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uid => "--uid",
            Self::Cgroup => "--cgroup",
            Self::Failed => "--failed",
        }
    }
}

impl BackendName {
    /// Best first.
    pub(crate) const ALL: [Self; 4] = [Self::Btf, Self::BtfPerf, Self::Tracepoints, Self::Perf];

    /// The backend of this name, or in a sentence why there is none.
    pub(crate) fn find(self, features: &Features) -> Result<Backend, String> {
        let always = [&features.rights, &features.lockdown];
        let stable = [&features.perf, &features.tracefs, &features.tracepoints, &features.processes, &features.numbers];
        let needs: Vec<&Support> = match self {
            Self::Btf => vec![&features.bpf, &features.raw_tracepoints, &features.btf, &features.ring_buffer],
            Self::BtfPerf => vec![&features.bpf, &features.raw_tracepoints, &features.btf, &features.perf],
            Self::Tracepoints => [&[&features.bpf, &features.classic_tracepoints][..], &stable].concat(),
            Self::Perf => stable.to_vec(),
        };
        for offer in always.into_iter().chain(needs) {
            match offer {
                Support::Yes(_) => {}
                Support::No(error) => return Err(error.to_string()),
                Support::Unknown(why) => return Err(format!("it cannot be tried: {why}")),
            }
        }
        Ok(match self {
            Self::Btf | Self::BtfPerf => {
                Backend::Structs { btf: features.btf_from.clone(), ring_buffer: self == Self::Btf }
            }
            Self::Tracepoints | Self::Perf => Backend::Tracepoints {
                bpf: self == Self::Tracepoints,
                stacks: features.stacks.is_there(),
                codes: features.codes.is_there(),
                cgroups: if self == Self::Tracepoints { features.cgroups } else { features.perf_groups.is_there() },
                users: if self == Self::Tracepoints {
                    UsersFrom::Bpf
                } else if features.connector.is_there() {
                    UsersFrom::Connector
                } else if features.users.is_there() {
                    UsersFrom::Tracepoints
                } else {
                    UsersFrom::Nowhere
                },
                ends: if features.taskstats.is_there() {
                    Ends::Reported { marks_last: features.marks_last }
                } else {
                    Ends::Observed
                },
            },
        })
    }

    /// The backends to try, one after the other, and why none is better than the first.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn choose(forced: Option<Self>, features: &Features) -> Result<(Vec<Backend>, Option<String>), Error> {
        if let Some(name) = forced {
            return Ok((vec![name.find(features).map_err(Error::NoBackend)?], None));
        }
        let mut lacks = Vec::new();
        let mut backends = Vec::new();
        for name in Self::ALL {
            match name.find(features) {
                Ok(backend) => backends.push(backend),
                Err(lack) if backends.is_empty() && !lacks.contains(&lack) => lacks.push(lack),
                Err(_) => {}
            }
        }
        if backends.is_empty() {
            return Err(Error::NoBackend(lacks.join("; without that, ")));
        }
        Ok((backends, lacks.into_iter().next()))
    }
}

impl Backend {
    /// Between the stack pointer and the arguments the kernel leaves as much free as chance will have it, so that the
    /// stack's place is harder to guess: less than a page, but on x86_64 up to two (arch_align_stack). Where a page in
    /// between was never touched, perf's copy of the stack ends.
    const STACKS_HAVE_HOLES: bool = cfg!(target_arch = "x86_64");

    /// Some architectures copy 64 bytes at a time, and give up on the last ones before the end of the stack. After the
    /// arguments come the environment and the file's name: where these are short, arguments are among the last bytes.
    const STACKS_END_EARLY: bool = cfg!(any(target_arch = "aarch64", target_arch = "riscv64"));

    /// The tracepoints of system calls leave out those of such programs.
    const HAS_32_BIT_PROGRAMS: bool = cfg!(target_pointer_width = "64");

    /// Whether chance decides if the arguments of a program are known.
    pub(crate) fn has_args_by_chance(&self) -> bool {
        matches!(self, Self::Tracepoints { stacks: true, .. }) && (Self::STACKS_HAVE_HOLES || stacks_are_cut())
    }

    pub(crate) fn gaps(&self) -> Vec<Gap> {
        let Self::Tracepoints { stacks, codes, cgroups, users, ends, .. } = *self else { return Vec::new() };
        let gap = |field, when| Gap { field, when: Some(when) };
        let never = |field| Gap { field, when: None };
        let mut gaps = Vec::new();
        match (users, ends) {
            (UsersFrom::Bpf | UsersFrom::Connector, _) => {}
            (UsersFrom::Tracepoints, _) if Self::HAS_32_BIT_PROGRAMS => {
                gaps.push(gap("uid", "of 32-bit programs, and right after a change of user"));
            }
            (UsersFrom::Tracepoints, _) => gaps.push(gap("uid", "right after a change of user")),
            (UsersFrom::Nowhere, Ends::Reported { .. }) => gaps.push(gap("uid", "of an exec")),
            (UsersFrom::Nowhere, Ends::Observed) => gaps.push(never("uid")),
        }
        if !stacks {
            gaps.push(never("args"));
        } else if Self::STACKS_HAVE_HOLES {
            gaps.push(gap(
                "args",
                "of up to one program in four on x86_64, where chance leaves a hole in the stack that perf does not copy",
            ));
        } else if stacks_are_cut() {
            let when = "of up to one program in ten, where pages have 64 KiB and chance puts them too far from the stack pointer";
            gaps.push(gap("args", when));
        } else if Self::STACKS_END_EARLY {
            let when = "of a program with less than some 130 bytes of environment and file name together";
            gaps.push(gap("args", when));
        }
        match ends {
            Ends::Reported { marks_last: true } => {}
            Ends::Reported { marks_last: false } => {
                let when = match (codes, Self::HAS_32_BIT_PROGRAMS) {
                    (false, _) => "of processes with several threads whose first one ends first",
                    (true, false) => "of processes whose threads end one by one, the first one first",
                    (true, true) => {
                        "of processes whose threads end one by one, the first one first, and of 32-bit programs with several"
                    }
                };
                gaps.push(gap("code", when));
                gaps.push(gap("core_dumped", "of processes with several threads"));
            }
            Ends::Observed => {
                gaps.push(match (codes, Self::HAS_32_BIT_PROGRAMS) {
                    (false, _) => never("code"),
                    (true, false) => gap(
                        "code",
                        "of processes whose threads end one by one, and where a signal comes at the same time",
                    ),
                    (true, true) => gap(
                        "code",
                        "of 32-bit programs, of processes whose threads end one by one, and where a signal comes at the \
                         same time",
                    ),
                });
                gaps.push(gap("signal", "where several come at once, or one that is blocked has come before"));
                gaps.push(gap("core_dumped", "after a signal that can make the kernel write a core dump"));
            }
        }
        if !cgroups {
            gaps.push(never("cgroup"));
        }
        gaps.extend(["cwd", "tty"].map(never));
        gaps.push(match ends {
            Ends::Reported { .. } => gap("ppid", "of an exec right after the parent has ended"),
            Ends::Observed => {
                gap("ppid", "of an exec, and before Linux 5.7 of an exit, right after the parent has ended")
            }
        });
        gaps
    }

    /// The options that it refuses.
    pub(crate) fn refuses(&self) -> Vec<Refused> {
        let Self::Tracepoints { .. } = self else { return Vec::new() };
        let mut refused = vec![Refused::Failed];
        if !self.knows_users() {
            refused.push(Refused::Uid);
        }
        if self.never_knows("cgroup") {
            refused.push(Refused::Cgroup);
        }
        refused
    }

    /// Whether it knows users of execs at all.
    pub(crate) fn knows_users(&self) -> bool {
        !matches!(self, Self::Tracepoints { users: UsersFrom::Nowhere, .. })
    }

    /// As --backend names it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Structs { ring_buffer: true, .. } => "btf",
            Self::Structs { ring_buffer: false, .. } => "btf-perf",
            Self::Tracepoints { bpf: true, .. } => "tracepoints",
            Self::Tracepoints { bpf: false, .. } => "perf",
        }
    }

    pub(crate) fn never_knows(&self, field: &str) -> bool {
        self.gaps().iter().any(|gap| gap.field == field && gap.when.is_none())
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Structs { ring_buffer: true, .. } => "BPF reads the kernel's structs",
            Self::Structs { ring_buffer: false, .. } => {
                "BPF reads the kernel's structs, and perf buffers carry the events"
            }
            Self::Tracepoints { bpf: true, .. } => "BPF hands over the records of tracepoints",
            Self::Tracepoints { bpf: false, .. } => "perf records tracepoints, without BPF",
        })
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            Some(when) => write!(f, "{} is not always known: not {when}", self.field),
            None => write!(f, "{} is never known", self.field),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn yes() -> Support {
        Support::Yes(String::new())
    }

    /// A kernel that has everything.
    fn everything() -> Features {
        Features {
            release: "6.12".into(),
            machine: "riscv64".into(),
            page: 4096,
            jit: "on",
            locked_memory: "unlimited".into(),
            rights: yes(),
            numbers: yes(),
            lockdown: yes(),
            bpf: yes(),
            raw_tracepoints: yes(),
            classic_tracepoints: yes(),
            btf: yes(),
            btf_from: BtfFrom::Kernel,
            ring_buffer: yes(),
            perf: yes(),
            stacks: yes(),
            cgroups: true,
            perf_groups: yes(),
            tracefs: yes(),
            processes: yes(),
            tracepoints: yes(),
            codes: yes(),
            users: yes(),
            taskstats: yes(),
            marks_last: true,
            connector: yes(),
        }
    }

    const RING: Backend = structs(true);
    const fn structs(ring_buffer: bool) -> Backend {
        Backend::Structs { btf: BtfFrom::Kernel, ring_buffer }
    }
    const REPORTED: Ends = Ends::Reported { marks_last: true };
    const BPF: Backend = tracepoints(UsersFrom::Bpf, REPORTED);
    const PERF: Backend = tracepoints(UsersFrom::Connector, REPORTED);
    const fn tracepoints(users: UsersFrom, ends: Ends) -> Backend {
        let bpf = matches!(users, UsersFrom::Bpf);
        Backend::Tracepoints { bpf, stacks: true, codes: true, cgroups: true, users, ends }
    }

    #[track_caller]
    fn assert_backends(features: &Features, expected: &[Backend], lack: Option<&str>) {
        let (backends, why) = BackendName::choose(None, features).unwrap();
        let without_file = |backend: Backend| match backend {
            Backend::Structs { ring_buffer, .. } => structs(ring_buffer),
            backend => backend,
        };
        assert_eq!(backends.into_iter().map(without_file).collect::<Vec<_>>(), expected);
        match (why, lack) {
            (Some(why), Some(lack)) => assert!(why.starts_with(lack), "{why}"),
            (why, lack) => assert_eq!(why.as_deref(), lack),
        }
    }

    #[test]
    fn the_best_backend_is_the_first_that_lacks_nothing() {
        assert_backends(&everything(), &[RING, structs(false), BPF, PERF], None);
        let old = Features { ring_buffer: Support::No(Error::NoRingBuffer { release: "5.4".into() }), ..everything() };
        assert_backends(&old, &[structs(false), BPF, PERF], Some("Linux 5.4 has no BPF ring buffer"));
        let no_btf = Features { btf: Support::No(Error::NoBtf), ..everything() };
        assert_backends(&no_btf, &[BPF, PERF], Some("this kernel does not describe its types"));
        let raspberry_pi = Features {
            raw_tracepoints: Support::No(Error::NoBpfEvents),
            classic_tracepoints: Support::No(Error::NoBpfEvents),
            btf: Support::No(Error::NoBtf),
            connector: Support::No(Error::Connector(io::ErrorKind::Unsupported.into())),
            ..everything()
        };
        assert_backends(
            &raspberry_pi,
            &[tracepoints(UsersFrom::Tracepoints, REPORTED)],
            Some("this kernel runs no BPF programs on tracepoints"),
        );
        let no_perf = Features { perf: Support::No(Error::Perf(io::ErrorKind::Unsupported.into())), ..everything() };
        assert_backends(&no_perf, &[RING], None);
    }

    #[test]
    fn where_there_is_no_backend_each_reason_is_shown_once() {
        let refused = |features: &Features, forced| BackendName::choose(forced, features).unwrap_err().to_string();
        let nobody = Features { rights: Support::No(Error::NotPrivileged { root: false }), ..everything() };
        let sentence = "tracing needs root, or the capabilities CAP_BPF and CAP_PERFMON: run it with sudo";
        assert_eq!(refused(&nobody, None), sentence);
        let nothing = Features {
            bpf: Support::No(Error::NoBpf),
            perf: Support::No(Error::Perf(io::ErrorKind::Unsupported.into())),
            ..everything()
        };
        let sentence = refused(&nothing, None);
        assert!(sentence.starts_with("there is no bpf() system call here: "), "{sentence}");
        assert!(sentence.contains("; without that, the kernel refuses perf_event_open()"), "{sentence}");
        assert_eq!(sentence.matches("bpf() system call").count(), 1, "{sentence}");
        // Another backend is no answer to who asks for one.
        let no_btf = Features { btf: Support::No(Error::NoBtf), ..everything() };
        assert!(refused(&no_btf, Some(BackendName::Btf)).starts_with("this kernel does not describe its types"));
    }

    #[test]
    fn what_a_backend_does_not_know_is_named() {
        let fields = |backend: &Backend, never: bool| -> Vec<&str> {
            backend.gaps().iter().filter(|gap| gap.when.is_none() == never).map(|gap| gap.field).collect()
        };
        assert_eq!((RING.gaps(), RING.refuses()), (vec![], vec![]));
        assert_eq!(BPF.refuses(), [Refused::Failed]);
        // What is reported leaves little to be guessed.
        for backend in [&BPF, &PERF] {
            assert_eq!(fields(backend, true), ["cwd", "tty"]);
            assert!(fields(backend, false).iter().all(|field| ["args", "ppid"].contains(field)));
            assert!(backend.knows_users());
        }
        let old = tracepoints(UsersFrom::Bpf, Ends::Reported { marks_last: false });
        assert!(fields(&old, false).contains(&"core_dumped"));
        let observed = tracepoints(UsersFrom::Tracepoints, Ends::Observed);
        for field in ["uid", "code", "signal", "core_dumped"] {
            assert!(fields(&observed, false).contains(&field), "{field}");
        }
        let ends = Ends::Observed;
        let poor = Backend::Tracepoints {
            bpf: false,
            stacks: false,
            codes: false,
            cgroups: false,
            users: UsersFrom::Nowhere,
            ends,
        };
        assert_eq!(fields(&poor, true), ["uid", "args", "code", "cgroup", "cwd", "tty"]);
        assert!(poor.never_knows("uid") && !poor.knows_users());
        assert_eq!(
            poor.refuses().into_iter().map(Refused::name).collect::<Vec<_>>(),
            ["--failed", "--uid", "--cgroup"]
        );
        let at_exit = tracepoints(UsersFrom::Nowhere, REPORTED);
        assert!(!at_exit.never_knows("uid") && !at_exit.knows_users());
    }
}
