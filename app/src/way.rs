//! The ways to see what happens, best first, and which of them a kernel allows.

use std::{fmt, path::PathBuf};

use crate::{
    cli::Name,
    error::Error,
    kernel::{Kernel, Offer},
};

/// A way that this kernel allows, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// BPF programs that read the kernel's own structs, whose places BTF tells.
    Structs { btf: PathBuf, is_given: bool, ring_buffer: bool },
    /// The records of tracepoints, by way of BPF programs or in perf's own samples.
    Tracepoints { bpf: bool, stacks: bool, codes: bool, users: bool },
}

/// Something that a way cannot tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The name in the JSON.
    pub(crate) field: &'static str,
    /// None if it never can.
    pub(crate) when: Option<&'static str>,
}

impl Name {
    /// Best first.
    pub(crate) const ALL: [Self; 4] = [Self::Btf, Self::BtfPerf, Self::Tracepoints, Self::Perf];

    /// The way of this name, or in a sentence why there is none.
    pub(crate) fn find(self, kernel: &Kernel) -> Result<Way, String> {
        let always = [&kernel.rights, &kernel.lockdown];
        let stable = [&kernel.perf, &kernel.tracefs, &kernel.tracepoints, &kernel.processes, &kernel.numbers];
        let needs: Vec<&Offer> = match self {
            Self::Btf => vec![&kernel.bpf, &kernel.raw_tracepoints, &kernel.btf, &kernel.ring_buffer],
            Self::BtfPerf => vec![&kernel.bpf, &kernel.raw_tracepoints, &kernel.btf, &kernel.perf],
            Self::Tracepoints => [&[&kernel.bpf, &kernel.classic_tracepoints][..], &stable].concat(),
            Self::Perf => stable.to_vec(),
        };
        for offer in always.into_iter().chain(needs) {
            match offer {
                Offer::Yes(_) => {}
                Offer::No(error) => return Err(error.to_string()),
                Offer::Unknown(why) => return Err(format!("it cannot be tried: {why}")),
            }
        }
        Ok(match self {
            Self::Btf | Self::BtfPerf => Way::Structs {
                btf: kernel.btf_file.clone(),
                is_given: kernel.btf_is_given,
                ring_buffer: self == Self::Btf,
            },
            Self::Tracepoints | Self::Perf => Way::Tracepoints {
                bpf: self == Self::Tracepoints,
                stacks: kernel.stacks.is_there(),
                codes: kernel.codes.is_there(),
                users: kernel.users.is_there(),
            },
        })
    }

    /// The ways to try, one after the other, and why none is better than the first.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn choose(forced: Option<Self>, kernel: &Kernel) -> Result<(Vec<Way>, Option<String>), Error> {
        if let Some(name) = forced {
            return Ok((vec![name.find(kernel).map_err(Error::NoWay)?], None));
        }
        let mut lacks = Vec::new();
        let mut ways = Vec::new();
        for name in Self::ALL {
            match name.find(kernel) {
                Ok(way) => ways.push(way),
                Err(lack) if ways.is_empty() && !lacks.contains(&lack) => lacks.push(lack),
                Err(_) => {}
            }
        }
        if ways.is_empty() {
            return Err(Error::NoWay(lacks.join("; without that, ")));
        }
        Ok((ways, lacks.into_iter().next()))
    }
}

impl Way {
    /// Between the stack pointer and the arguments the kernel leaves as much free as chance will have it, so that the
    /// stack's place is harder to guess: less than a page, but on x86_64 up to two (arch_align_stack). Where a page in
    /// between was never touched, perf's copy of the stack ends.
    pub(crate) const STACKS_HAVE_HOLES: bool = cfg!(target_arch = "x86_64");

    /// Some architectures copy 64 bytes at a time, and give up on the last ones before the end of the stack. After the
    /// arguments come the environment and the file's name: where these are short, arguments are among the last bytes.
    const STACKS_END_EARLY: bool = cfg!(any(target_arch = "aarch64", target_arch = "riscv64"));

    /// The tracepoints of system calls leave out those of such programs.
    const HAS_32_BIT_PROGRAMS: bool = cfg!(target_pointer_width = "64");

    pub(crate) fn gaps(&self) -> Vec<Gap> {
        let Self::Tracepoints { bpf, stacks, codes, users } = *self else { return Vec::new() };
        let never = |field| Gap { field, when: None };
        let mut gaps = Vec::new();
        match (bpf, users) {
            (true, _) => {}
            (false, true) => {
                let when = if Self::HAS_32_BIT_PROGRAMS {
                    "of 32-bit programs, and right after a change of user"
                } else {
                    "right after a change of user"
                };
                gaps.push(Gap { field: "uid", when: Some(when) });
            }
            (false, false) => gaps.push(never("uid")),
        }
        if !stacks {
            gaps.push(never("args"));
        } else if Self::STACKS_HAVE_HOLES {
            let when =
                "of one program in four on x86_64, where chance leaves a hole in the stack that perf does not copy";
            gaps.push(Gap { field: "args", when: Some(when) });
        } else if Self::STACKS_END_EARLY {
            let when = "of a program with less than some 130 bytes of environment and file name together";
            gaps.push(Gap { field: "args", when: Some(when) });
        }
        if codes {
            gaps.push(Gap {
                field: "code",
                when: Some(if Self::HAS_32_BIT_PROGRAMS {
                    "of 32-bit programs, of processes whose threads end one by one, and where a signal comes at the \
                     same time"
                } else {
                    "of processes whose threads end one by one, and where a signal comes at the same time"
                }),
            });
        } else {
            gaps.push(never("code"));
        }
        gaps.push(Gap {
            field: "signal",
            when: Some("where several come at once, or one that is blocked has come before"),
        });
        gaps.push(Gap {
            field: "core_dumped",
            when: Some("after a signal that can make the kernel write a core dump"),
        });
        gaps.push(Gap { field: "ppid", when: Some("right after the parent has ended") });
        gaps
    }

    pub(crate) fn never_tells(&self, field: &str) -> bool {
        self.gaps().iter().any(|gap| gap.field == field && gap.when.is_none())
    }
}

impl fmt::Display for Way {
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

    fn yes() -> Offer {
        Offer::Yes(String::new())
    }

    /// A kernel that has everything.
    fn kernel() -> Kernel {
        Kernel {
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
            btf_file: "/btf".into(),
            btf_is_given: false,
            ring_buffer: yes(),
            perf: yes(),
            stacks: yes(),
            tracefs: yes(),
            processes: yes(),
            tracepoints: yes(),
            codes: yes(),
            users: yes(),
        }
    }

    const RING: Way = structs(true);
    const fn structs(ring_buffer: bool) -> Way {
        Way::Structs { btf: PathBuf::new(), is_given: false, ring_buffer }
    }
    const BPF: Way = Way::Tracepoints { bpf: true, stacks: true, codes: true, users: true };
    const PERF: Way = Way::Tracepoints { bpf: false, stacks: true, codes: true, users: true };

    #[track_caller]
    fn assert_ways(kernel: &Kernel, expected: &[Way], lack: Option<&str>) {
        let (ways, why) = Name::choose(None, kernel).unwrap();
        let without_file = |way: Way| match way {
            Way::Structs { ring_buffer, .. } => structs(ring_buffer),
            way => way,
        };
        assert_eq!(ways.into_iter().map(without_file).collect::<Vec<_>>(), expected);
        match (why, lack) {
            (Some(why), Some(lack)) => assert!(why.starts_with(lack), "{why}"),
            (why, lack) => assert_eq!(why.as_deref(), lack),
        }
    }

    #[test]
    fn the_best_way_is_the_first_that_lacks_nothing() {
        assert_ways(&kernel(), &[RING, structs(false), BPF, PERF], None);
        let old = Kernel { ring_buffer: Offer::No(Error::NoRingBuffer { release: "5.4".into() }), ..kernel() };
        assert_ways(&old, &[structs(false), BPF, PERF], Some("Linux 5.4 has no BPF ring buffer"));
        let no_btf = Kernel { btf: Offer::No(Error::NoBtf), ..kernel() };
        assert_ways(&no_btf, &[BPF, PERF], Some("this kernel does not describe its types"));
        let raspberry_pi = Kernel {
            raw_tracepoints: Offer::No(Error::NoBpfEvents),
            classic_tracepoints: Offer::No(Error::NoBpfEvents),
            btf: Offer::No(Error::NoBtf),
            ..kernel()
        };
        assert_ways(&raspberry_pi, &[PERF], Some("this kernel runs no BPF programs on tracepoints"));
        let no_perf = Kernel { perf: Offer::No(Error::Perf(io::ErrorKind::Unsupported.into())), ..kernel() };
        assert_ways(&no_perf, &[RING], None);
    }

    #[test]
    fn where_there_is_no_way_each_reason_is_told_once() {
        let refused = |kernel: &Kernel, forced| Name::choose(forced, kernel).unwrap_err().to_string();
        let nobody = Kernel { rights: Offer::No(Error::NotPrivileged { root: false }), ..kernel() };
        let sentence = "tracing needs root, or the capabilities CAP_BPF and CAP_PERFMON: run it with sudo";
        assert_eq!(refused(&nobody, None), sentence);
        let nothing = Kernel {
            bpf: Offer::No(Error::NoBpf),
            perf: Offer::No(Error::Perf(io::ErrorKind::Unsupported.into())),
            ..kernel()
        };
        let sentence = refused(&nothing, None);
        assert!(sentence.starts_with("there is no bpf() system call here: "), "{sentence}");
        assert!(sentence.contains("; without that, the kernel refuses perf_event_open()"), "{sentence}");
        assert_eq!(sentence.matches("bpf() system call").count(), 1, "{sentence}");
        // Another way is no answer to who asks for one.
        let no_btf = Kernel { btf: Offer::No(Error::NoBtf), ..kernel() };
        assert!(refused(&no_btf, Some(Name::Btf)).starts_with("this kernel does not describe its types"));
    }

    #[test]
    fn what_a_way_cannot_tell_is_named() {
        let fields = |way: &Way, never: bool| -> Vec<&str> {
            way.gaps().iter().filter(|gap| gap.when.is_none() == never).map(|gap| gap.field).collect()
        };
        assert_eq!(RING.gaps(), []);
        assert_eq!(fields(&BPF, true), [""; 0]);
        let poor = Way::Tracepoints { bpf: false, stacks: false, codes: false, users: false };
        assert_eq!(fields(&poor, true), ["uid", "args", "code"]);
        assert!(poor.never_tells("uid") && !PERF.never_tells("uid") && !BPF.never_tells("uid"));
        assert!(fields(&PERF, false).contains(&"uid") && !fields(&BPF, false).contains(&"uid"));
    }
}
