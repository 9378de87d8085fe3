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
    Tracepoints { bpf: bool, stacks: bool, codes: bool },
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
        let stable = [&kernel.perf, &kernel.tracefs, &kernel.tracepoints, &kernel.numbers];
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

    pub(crate) fn gaps(&self) -> Vec<Gap> {
        let Self::Tracepoints { bpf, stacks, codes } = *self else { return Vec::new() };
        let never = |field| Gap { field, when: None };
        let mut gaps = Vec::new();
        if !bpf {
            gaps.push(never("uid"));
        }
        if !stacks {
            gaps.push(never("args"));
        } else if Self::STACKS_HAVE_HOLES {
            let when =
                "of one program in four on x86_64, where chance leaves a hole in the stack that perf does not copy";
            gaps.push(Gap { field: "args", when: Some(when) });
        }
        if codes {
            gaps.push(Gap {
                field: "code",
                when: Some(
                    "of 32-bit programs on a 64-bit kernel, of processes whose threads end one by one, \
                     and where a signal comes at the same time",
                ),
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
